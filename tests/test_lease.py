"""At most one active run per DAG and target, on each kind of store."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from pydag_gcp import database, journal, lease, liveness
from pydag_gcp.errors import LeaseLost, RunHeld, StoreError
from pydag_gcp.lease import Lease, acquire, holder
from pydag_gcp.states import RunState
from pydag_gcp.store import Store
from pydag_gcp.tables import leases
from tests.conftest import reaped
from tests.servers import PostgreSQL
from tests.test_bulk import statements

NOW = datetime(2026, 1, 2, tzinfo=UTC)

#: Does what it is told, line by line, and says how that went.
DRIVER = """
import contextlib
import sys
from datetime import UTC, datetime
from pydag_gcp import lease
from pydag_gcp.errors import PydagError
from pydag_gcp.store import Store

lease._MOMENT = 0.01
now = datetime(2026, 1, 2, tzinfo=UTC)

def take(url, ttl):
    global store, held
    store = Store(url)
    held = lease.acquire(store, dag_id="dag", target="local", run_id="theirs", ttl=float(ttl))
    store.guarded(held)
    store.start_run(
        run_id="theirs", dag_id="dag", target="local", logical_date=now, definition={}, pid=1, host="h", at=now
    )

def release():
    global store, held
    if held is not None:
        held.release()
    if store is not None:
        with contextlib.suppress(PydagError):
            store.close()
    store = held = None

store = held = None
for number, line in enumerate(sys.stdin):
    what, *arguments = line.split()
    do = {
        "take": take,
        "release": release,
        "write": lambda: (store.start_try("theirs", "task", number, job_id=None, at=now), store.settled()),
        "check": lambda: held.check(),
        "renew": lambda: held.renew(),
    }[what]
    try:
        do(*arguments)
    except PydagError as error:
        print(f"{type(error).__name__}: {error}", flush=True)
    else:
        print("done", flush=True)
"""


class Driver:
    """Another process that drives runs."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def does(self, *words: object) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()


@contextmanager
def driver_process() -> Iterator[Driver]:
    pipe = subprocess.PIPE
    with reaped(subprocess.Popen([sys.executable, "-c", DRIVER], text=True, stdin=pipe, stdout=pipe)) as process:
        yield Driver(process)


@pytest.fixture(scope="module")
def driver_for_all() -> Iterator[Driver]:
    with driver_process() as driver:
        yield driver


@pytest.fixture
def other(driver_for_all: Driver) -> Iterator[Driver]:
    """Another process, which holds nothing yet."""
    yield driver_for_all
    driver_for_all.process.send_signal(signal.SIGCONT)
    driver_for_all.does("release")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "_LOOK", 0.02)
    monkeypatch.setattr(lease, "_MOMENT", 0.01)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a new store, of each kind there is."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'pydag.db'}"
    found: str = request.getfixturevalue("postgresql_url")
    return found


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with Store(url) as store:
        yield store


@pytest.fixture
def shared(postgresql_url: str) -> Iterator[Store]:
    """A store that machines share."""
    with Store(postgresql_url) as store:
        yield store


def take(store: Store, run_id: str = "ours", *, ttl: float = 30, target: str = "local") -> Lease:
    held = acquire(store, dag_id="dag", target=target, run_id=run_id, ttl=ttl)
    store.settled()  # so that others see at once who it is
    return held


def start(store: Store, run_id: str = "ours") -> None:
    store.start_run(
        run_id=run_id, dag_id="dag", target="local", logical_date=NOW, definition={}, pid=1, host="h", at=NOW
    )


def elapse(held: Lease) -> None:
    """Make as if the lease had expired: here and by the database's clock."""
    assert isinstance(held, lease._TimedLease)
    held._until = lease._clock() - 1
    held._database.alone(lease._GIVE_BACK, {**held._whose.key, "of_epoch": held.epoch})


# on every store ------------------------------------------------------------------------------------------------------


def test_a_second_run_is_told_who_drives(url: str, store: Store, other: Driver) -> None:
    assert other.does("take", url, 30) == "done"
    pid = other.process.pid
    assert str(holder(store, dag_id="dag", target="local")).startswith(f"pid {pid} on host ")
    message = rf"run theirs of DAG dag on target local is active \(pid {pid} on host \S+, since 20.* UTC\)"
    with pytest.raises(RunHeld, match=message):
        take(store)
    take(store, target="other").release()


def test_a_lease_is_free_once_it_was_given_back(url: str, store: Store, other: Driver) -> None:
    first = take(store)
    assert other.does("take", url, 30).startswith("RunHeld: run ours of DAG dag on target local is active")
    first.release()
    first.release()
    assert holder(store, dag_id="dag", target="local") is None
    assert other.does("take", url, 30) == "done"
    with pytest.raises(RunHeld):
        take(store)


def test_a_process_does_not_hold_the_same_lease_twice(url: str, store: Store, other: Driver) -> None:
    held = take(store)
    with Store(url) as again, pytest.raises(RunHeld, match=r"run ours .* is active"):
        take(again, "another")
    # And looking at it does not lose it
    assert str(holder(store, dag_id="dag", target="local")).startswith(f"pid {os.getpid()} ")
    held.renew()
    assert other.does("take", url, 30).startswith("RunHeld: run ours")
    held.release()


def test_a_lease_is_free_as_soon_as_its_process_is_gone(url: str, store: Store) -> None:
    with driver_process() as driver:
        assert driver.does("take", url, 30) == "done"
        driver.process.kill()
        driver.process.wait()
    assert holder(store, dag_id="dag", target="local") is None
    assert take(store).epoch == 2


def test_each_lease_has_a_higher_epoch_which_its_runs_know(store: Store) -> None:
    for epoch in (1, 2, 3):
        held = take(store)
        assert held.epoch == epoch
        held.release()
    held = take(store)
    store.guarded(held)
    start(store)
    run = store.run("ours")
    assert run is not None
    assert run["epoch"] == 4
    held.release()


def test_nothing_is_written_under_a_lease_that_was_given_back(url: str, store: Store) -> None:
    held = take(store)
    store.guarded(held)
    held.release()
    with pytest.raises(LeaseLost, match="run ours is not driven by this process any more"):
        start(store)
    with Store(url) as again:
        assert again.runs() == []


def test_who_waits_is_told_once_for_whom(url: str, store: Store, other: Driver) -> None:
    told: list[str] = []

    def tell(message: str) -> None:
        told.append(message)
        other.does("release")

    assert other.does("take", url, 30) == "done"
    held = acquire(store, dag_id="dag", target="local", run_id="ours", wait=True, told=tell)
    assert held.epoch == 2
    assert [message.split(" (")[0] for message in told] == ["run theirs of DAG dag on target local is active"]
    assert told[0].endswith("; waiting for its end")
    held.release()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # nothing but system calls
def test_a_forked_child_neither_holds_a_lease_nor_loses_it(url: str, store: Store, other: Driver) -> None:
    held = take(store)
    child = os.fork()
    if child == 0:
        os.closerange(3, 256)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    held.renew()
    assert other.does("take", url, 30).startswith("RunHeld: run ours")
    held.release()


# kernel locks --------------------------------------------------------------------------------------------------------


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Store]:
    with Store(f"sqlite:///{tmp_path / 'pydag.db'}") as store:
        yield store


def test_a_stopped_process_keeps_its_lock(local: Store, other: Driver) -> None:
    assert other.does("take", local.database._engine.url, 0.1) == "done"
    other.process.send_signal(signal.SIGSTOP)
    with pytest.raises(RunHeld):
        take(local)
    other.process.send_signal(signal.SIGCONT)
    assert other.does("write") == "done"


def test_a_lock_whose_file_was_removed_is_lost(local: Store, tmp_path: Path) -> None:
    held = take(local)
    local.guarded(held)
    next((tmp_path / "leases").iterdir()).unlink()
    with pytest.raises(LeaseLost, match=r"run ours is not driven by this process any more; the file .* was removed"):
        held.renew()
    with pytest.raises(LeaseLost):
        held.check()
    with pytest.raises(LeaseLost):
        start(local)
    with Store(f"sqlite:///{tmp_path / 'pydag.db'}") as another:
        take(another, "another").release()


def test_who_holds_a_lease_is_written_down_with_the_first_that_is_written_under_it(
    local: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "_LINGER", 30.0)
    for number in (1, 2):
        held = acquire(local, dag_id="dag", target="local", run_id=f"r{number}")
        local.guarded(held)
        sent = statements(local.database)
        start(local, f"r{number}")
        assert [text.split(" (")[0] for text in sent] == ["BEGIN IMMEDIATE", "INSERT INTO leases", "INSERT INTO runs"]
        assert held.epoch == number
        written = local.database.read(sa.select(leases.c.run_id, leases.c.epoch))
        assert written == [{"run_id": f"r{number}", "epoch": number}]
        held.release()


@pytest.mark.parametrize("linger", [0.0, 30.0])
def test_who_holds_a_lease_is_written_down_although_nothing_follows(
    local: Store, linger: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "_LINGER", linger)
    for number in range(1, 6):
        acquire(local, dag_id="dag", target="local", run_id="ours").release()
        assert [row["epoch"] for row in local.database.read(sa.select(leases))] == [number]
    local.settled()


def test_a_folder_that_cannot_hold_locks_is_one_clear_error(local: Store, tmp_path: Path) -> None:
    (tmp_path / "leases").write_text("a file where the folder should be")
    message = r"leases/.*\.lock: cannot be locked: .*; put the metadata database into a writable folder"
    with pytest.raises(StoreError, match=message):
        take(local)


def test_databases_in_one_folder_and_ways_to_one_database(local: Store, tmp_path: Path) -> None:
    held = take(local)
    (tmp_path / "link").symlink_to(tmp_path)
    with Store(f"sqlite:///{tmp_path / 'link' / 'pydag.db'}") as same, pytest.raises(RunHeld):
        take(same, "another")
    with Store(f"sqlite:///{tmp_path / 'other.db'}") as other:
        take(other).release()
    held.release()


# leases that expire --------------------------------------------------------------------------------------------------


def test_a_process_that_was_stopped_for_too_long_does_nothing_more(
    shared: Store, postgresql_url: str, other: Driver
) -> None:
    # Given a process that is stopped for longer than its lease lasts
    assert other.does("take", postgresql_url, 0.3) == other.does("write") == "done"
    before = shared.tries("theirs")
    other.process.send_signal(signal.SIGSTOP)
    # When somebody else takes over
    held = acquire(shared, dag_id="dag", target="local", run_id="theirs", wait=True)
    # Then it notices whatever it does, and has written nothing
    other.process.send_signal(signal.SIGCONT)
    message = f"LeaseLost: run theirs is not driven by this process any more: it was taken over (pid {os.getpid()} "
    for what in ("write", "check", "renew", "write"):
        assert other.does(what).startswith(message)
    assert len(before) == 1
    assert shared.tries("theirs") == before
    held.release()


def test_what_is_queued_when_the_lease_is_lost_is_not_written(shared: Store, postgresql_url: str) -> None:
    # Given a lease that somebody else takes over, with what was settled before
    held = take(shared, "theirs")
    shared.guarded(held)
    start(shared, "theirs")
    shared.start_try("theirs", "before", 1, job_id=None, at=NOW)
    shared.settled()
    elapse(held)
    told: list[BaseException] = []
    shared.on_failure(told.append)
    with Store(postgresql_url) as another:
        acquire(another, dag_id="dag", target="local", run_id="theirs", wait=True).release()
    # When more is written
    shared.start_try("theirs", "after", 1, job_id=None, at=NOW)
    # Then whoever waits for it is told who has the lease, and so is whoever writes more
    for write in (shared.settled, lambda: shared.end_run("theirs", RunState.SUCCESS, at=NOW)):
        with pytest.raises(LeaseLost, match="it was taken over"):
            write()
    assert [type(error) for error in told] == [LeaseLost]
    with Store(postgresql_url) as again:
        assert [row["task_id"] for row in again.tries("theirs")] == ["before"]
    held.release()


def test_a_live_process_keeps_a_lease_that_nobody_took_over(shared: Store, postgresql_url: str) -> None:
    held = take(shared)
    shared.guarded(held)
    elapse(held)
    held.check()
    start(shared)
    with Store(postgresql_url) as other, pytest.raises(RunHeld):
        take(other, "another")
    held.release()


def test_only_one_of_many_takes_over(postgresql_url: str, shared: Store) -> None:
    # Given an expired lease and eight who want it
    elapse(take(shared))
    taken: list[str] = []

    def want(run_id: str) -> None:
        with Store(postgresql_url) as store:
            try:
                take(store, run_id)
            except RunHeld:
                return
            taken.append(run_id)

    threads = [threading.Thread(target=want, args=[f"run{number}"]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Then one gets it
    found = holder(shared, dag_id="dag", target="local")
    assert found is not None
    assert taken == [found.run_id]


def test_a_process_of_another_machine_is_not_taken_for_dead(
    postgresql_url: str, shared: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a holder with a process id that nobody has here, on a machine of the same name
    monkeypatch.setattr(liveness, "_machine", lambda: "another boot")
    monkeypatch.setattr(os, "getpid", lambda: 2**22 + 1)
    monkeypatch.setattr(liveness, "_fields", lambda pid: ["R"] * 20)
    held = take(shared)
    monkeypatch.undo()
    with pytest.raises(RunHeld, match=f"pid {2**22 + 1}"):
        take(shared, "another")
    held.release()


def test_a_lease_outlives_a_server_that_is_restarted(
    postgresql_server: PostgreSQL, shared: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = take(shared)
    shared.guarded(held)
    start(shared)
    monkeypatch.setattr(database, "_PATIENCE", 0.1)
    postgresql_server.stop()
    try:
        held.renew()  # there is time left
        held.check()
        assert isinstance(held, lease._TimedLease)
        held._until = lease._clock() - 1
        with pytest.raises(
            LeaseLost, match=r"may be driven by another process by now, .* metadata database postgresql:"
        ):
            held.check()
        with pytest.raises(StoreError):
            held.renew()
    finally:
        postgresql_server.start()
    held.check()
    shared.end_run("ours", RunState.SUCCESS, at=NOW)
    held.release()
