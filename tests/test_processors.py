"""A run's share of the pool: taking, giving, waiting; and a table that is not as it should be."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pydag_gcp import pool, pool_table, processors
from pydag_gcp.pool_memory import PoolFile, file_in
from pydag_gcp.processors import Share, default_size
from tests.conftest import reaped

Join = Callable[..., Share]


class Bell:
    """Hears that it is worth asking again."""

    def __init__(self) -> None:
        self._rung = threading.Semaphore(0)

    def __call__(self) -> None:
        self._rung.release()

    def heard(self) -> bool:
        """Wait for it."""
        return self._rung.acquire(timeout=10)

    def silent(self) -> bool:
        """Whether nobody has rung."""
        return not self._rung.acquire(blocking=False)


@pytest.fixture
def join(tmp_path: Path) -> Iterator[Join]:
    """Let runs join the pool in this test's folder; they all leave in the end."""
    joined = []

    def join(
        name: str = "a", *, folder: Path = tmp_path, granted: Callable[[], object] | None = None, **options: Any
    ) -> Share:
        share = processors.join(name, run_id=f"run-of-{name}", folder=folder, granted=granted or Bell(), **options)
        joined.append(share)
        return share

    yield join
    for share in joined:
        share.leave()


def take(share: Share, tasks: int, slots: int = 1) -> int:
    """Ask for so many tasks, as a driving thread does that has so many ready; return how many may begin."""
    for begun in range(tasks):
        if not share.take(slots, tasks - begun):
            return begun
    return tasks


def give(share: Share, tasks: int, slots: int = 1) -> None:
    for _ in range(tasks):
        share.give(slots)
    share.rest()


# one run -------------------------------------------------------------------------------------------------------------


def test_a_run_alone_may_hold_the_whole_pool(join: Join) -> None:
    share = join(size=3)
    assert (share.size, share.warnings) == (3, ())
    assert take(share, 5) == 3
    assert share.held == 3
    share.give(1)
    assert share.held == 2
    assert take(share, 2) == 1


def test_a_run_holds_no_more_than_it_may(join: Join) -> None:
    share = join(size=4, most=2)
    assert share.size == 2
    assert take(share, 4) == 2


def test_a_task_that_wants_more_than_there_is_gets_all(join: Join) -> None:
    share = join(size=3)
    assert share.take(8)
    assert share.held == 3
    share.give(8)
    assert share.held == 0
    assert share.take(1)


def test_several_are_taken_at_once_or_not_at_all(join: Join) -> None:
    share = join(size=4)
    assert share.take(3)
    assert not share.take(2)
    assert share.held == 3
    share.give(3)
    assert share.take(2)


def test_a_chain_passes_its_processor_on_without_a_word_to_anybody(join: Join, monkeypatch: pytest.MonkeyPatch) -> None:
    share = join(size=4)
    assert share.take(1)
    share.rest()
    monkeypatch.delattr(pool.Pool, "locked")  # every change to what processes share goes through it
    for _ in range(100):
        share.give(1)
        assert share.take(1)
        share.rest()
    monkeypatch.undo()


def test_leaving_again_does_nothing_and_nothing_can_be_taken_then(join: Join) -> None:
    share = join(size=2)
    assert share.take(1)
    share.leave()
    share.leave()
    assert not share.take(1)
    share.give(1)
    share.rest()
    assert share.held == 0


# several runs in a process -------------------------------------------------------------------------------------------


def test_what_one_does_not_use_is_the_others(join: Join) -> None:
    one, other = join("one", size=4), join("other")
    assert take(one, 1) == 1
    one.rest()
    assert take(other, 9) == 3
    give(one, 1)
    assert take(other, 6) == 1, "an idle processor goes at once to whoever waits"


def test_whoever_waits_is_told_and_finds_it_granted(join: Join) -> None:
    bell = Bell()
    one, other = join("one", size=2), join("other", granted=bell)
    assert take(one, 2) == 2
    one.rest()
    assert take(other, 1) == 0
    other.rest()
    assert bell.silent()
    give(one, 1)
    assert bell.heard()
    assert take(one, 1) == 0, "it is the other's"
    assert take(other, 1) == 1


def test_a_run_that_came_first_gives_way_to_its_share(join: Join) -> None:
    # Given a run of weight 1 that holds all eight, and one of weight 3 that comes
    one, other = join("one", size=8), join("other", weight=3.0)
    assert take(one, 20) == 8
    one.rest()
    other.take(1, 20)
    other.rest()
    # When its tasks end one by one, and it has more
    for _ in range(8):
        give_and_take(one)
        take(other, 20)
        other.rest()
    # Then it keeps 8 * 1/4
    assert (one.held, other.held) == (2, 6)
    for _ in range(8):
        give_and_take(one)
        give_and_take(other)
    assert (one.held, other.held) == (2, 6)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def give_and_take(share: Share) -> None:
    share.give(1)
    take(share, 20)
    share.rest()


def test_a_claim_that_is_not_renewed_is_withdrawn(join: Join) -> None:
    bell = Bell()
    one, other = join("one", size=1), join("other", granted=bell)
    assert one.take(1)
    assert not other.take(1)
    other.rest()
    other.rest()  # nothing was asked for since the last rest
    give(one, 1)
    assert bell.silent()
    assert one.take(1)


def test_what_was_granted_and_is_not_wanted_any_more_goes_back(join: Join) -> None:
    one, other = join("one", size=3), join("other")
    assert take(one, 3) == 3
    one.rest()
    assert take(other, 2) == 0
    other.rest()
    give(one, 2)  # both are granted to the other
    assert take(other, 1) == 1
    other.rest()  # which has but one ready task now
    assert take(one, 2) == 1


def test_two_kinds_of_tasks_that_need_as_many_do_not_withdraw_each_others_claim(join: Join) -> None:
    # Given a run that is refused one for a task of a first kind,
    bell = Bell()
    one, other = join("one", size=2), join("other", granted=bell)
    assert take(one, 2) == 2
    one.rest()
    assert not other.take(1, 5)
    # and is granted one right before it asks for a task of a second kind
    give(one, 1)
    assert bell.heard()
    assert other.take(1, 1)
    other.rest()
    # Then the first one waits still, and the next is its own
    give(one, 1)
    assert not one.take(1)
    assert other.take(1, 5)


def test_a_task_that_needs_several_is_waited_for_after_a_second(join: Join, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a run with small tasks that hold everything, and one with a task that needs all
    small, large = join("small", size=3), join("large")
    assert take(small, 9) == 3
    small.rest()
    assert not large.take(3)
    large.rest()
    give_and_take(small)
    assert small.held == 3, "within the first second small ones pass by"
    # When it has waited for long enough
    monkeypatch.setattr("pydag_gcp.shares.PATIENCE", 0.0)
    for held in (2, 1, 0):
        give_and_take(small)
        assert small.held == held
    # Then it begins
    assert large.take(3)


def test_many_kinds_of_tasks_wait_in_turn(join: Join) -> None:
    one, other = join("one", size=12), join("other")
    assert one.take(12)
    one.rest()
    kinds = list(range(1, 11))  # more than an entry has room for
    assert not any(other.take(slots) for slots in kinds)
    other.rest()
    give(one, 1, 12)
    begun: list[int] = []
    while len(begun) < len(kinds):
        started = [slots for slots in kinds if slots not in begun and other.take(slots)]
        assert started
        for slots in started:
            other.give(slots)
        begun += started
        other.rest()


def test_a_thousand_runs_come_and_go_and_leave_nothing_behind(join: Join, tmp_path: Path) -> None:
    stays = join("stays", size=2)
    descriptors = open_files()
    for _ in range(1000):
        one = join("one")
        assert one.take(2)
        one.leave()
    assert stays.take(2)
    assert open_files() == descriptors
    assert len(list(tmp_path.iterdir())) < 10
    stays.leave()
    assert not pool._pools.shared, "the file is closed when nobody of the process is in the pool"


def test_more_runs_than_the_table_has_room_for_share_the_pool_of_the_process(join: Join) -> None:
    shares = [join(f"run{number}", size=2) for number in range(pool_table.ENTRIES + 1)]
    assert shares[-1].warnings == ("processors are not shared with other processes: too many runs are in the pool",)
    assert not shares[-2].warnings
    assert shares[-1].take(1)


class Driver:
    """Drives a run as an executor does: it acts only when a task of it has ended, or when it is told to."""

    def __init__(self, join: Join, name: str, tasks: list[tuple[str, int]], **options: Any) -> None:
        self.told = True
        self.left = tasks
        self.running: list[int] = []
        self.share = join(name, granted=self._tell, **options)

    def _tell(self) -> None:
        self.told = True

    def step(self) -> None:
        """Begin what can begin; ask once for each lane that has ready tasks."""
        self.told = False
        for lane in dict.fromkeys(self.left):
            ready = self.left.count(lane)
            while ready and self.share.take(lane[1], ready):
                self.left.remove(lane)
                self.running.append(lane[1])
                ready -= 1
        self.share.rest()

    def end(self, chance: random.Random) -> None:
        """Let a task end."""
        self.share.give(self.running.pop(chance.randrange(len(self.running))))
        self.told = True


LANES = st.tuples(st.sampled_from(["local", "cloud"]), st.sampled_from([1, 1, 1, 2, 3, 5, 9]))


@settings(deadline=None, max_examples=int(os.environ.get("PYDAG_TEST_EXAMPLES", "25")))
@given(
    size=st.integers(1, 5),
    runs=st.lists(st.tuples(st.lists(LANES, max_size=12), st.sampled_from([1.0, 3.0])), min_size=1, max_size=4),
    patience=st.sampled_from([0.0, 1000.0]),
    seed=st.integers(0, 1000),
)
def test_no_run_is_ever_stuck(
    size: int, runs: list[tuple[list[tuple[str, int]], float]], patience: float, seed: int
) -> None:
    chance = random.Random(seed)
    with ExitStack() as stack:
        # Given runs with tasks of all sizes
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr("pydag_gcp.shares.PATIENCE", patience)
        folder = Path(stack.enter_context(TemporaryDirectory()))

        def join(name: str, **options: Any) -> Share:
            share = processors.join(name, run_id=name, folder=folder, **options)
            stack.callback(share.leave)
            return share

        drivers = [
            Driver(join, f"run{number}", list(tasks), size=size, weight=weight)
            for number, (tasks, weight) in enumerate(runs)
        ]
        # When they act in any order
        while any(driver.left or driver.running for driver in drivers):
            told = [driver for driver in drivers if driver.told]
            busy = [driver for driver in drivers if driver.running]
            assert told or busy, "nobody is told that there are free processors"
            if told and (not busy or chance.random() < 0.6):
                chance.choice(told).step()
            else:
                chance.choice(busy).end(chance)
            # Then no more is held than there is
            assert sum(min(slots, size) for driver in drivers for slots in driver.running) <= size
            assert [driver.share.held for driver in drivers] == [
                sum(min(slots, size) for slots in driver.running) for driver in drivers
            ]


# sizes ---------------------------------------------------------------------------------------------------------------


def test_the_first_run_fixes_the_size_as_long_as_somebody_is_there(join: Join) -> None:
    one, other, third = join("one", size=2), join("other", size=5), join("third")
    assert other.size == third.size == 2
    assert other.warnings == (
        "the pool has 2 processors, not 5, until the runs end that were there before; `pydag top` shows them",
    )
    assert not third.warnings, "it did not ask for a size"
    for share in (one, other, third):
        share.leave()
    assert join("later", size=5).size == 5


def test_the_default_size_is_that_of_the_machine(join: Join) -> None:
    assert join().size == default_size()
    assert 5 <= default_size() <= 32


# a table that is not as it should be ---------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"\xff" * 200_000, b"pydag", bytes(1000), os.urandom(100_000)])
def test_a_damaged_table_that_nobody_uses_is_begun_anew(join: Join, tmp_path: Path, content: bytes) -> None:
    file_in(tmp_path).write_bytes(content)
    share = join(size=3)
    assert (share.size, share.warnings, take(share, 4)) == (3, (), 3)


def test_a_table_of_the_machines_last_life_is_begun_anew(join: Join, tmp_path: Path) -> None:
    # Given what a machine that lost its power has left: runs that hold everything
    share = join(size=3)
    assert share.take(3)
    left = file_in(tmp_path).read_bytes()
    share.leave()
    file_in(tmp_path).write_bytes(left)
    # When somebody comes, whose process ids are given again
    assert take(join(size=3), 4) == 3


def test_a_system_without_posix_fallocate_has_a_pool_too(
    join: Join, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "posix_fallocate", raising=False)  # as macOS
    assert join(size=2).warnings == ()
    assert file_in(tmp_path).stat().st_size == pool_table.BYTES


def test_a_disk_that_is_full_leaves_the_process_its_own_pool(
    join: Join, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    share = join(size=2)
    assert share.warnings == ("processors are not shared with other processes: No space left on device",)
    assert take(share, 3) == 2


def test_who_comes_at_the_same_time_does_not_wipe_the_table(join: Join, tmp_path: Path) -> None:
    # Given a process that has the table's lock, as it is about to make the file as long as it has to be
    file_in(tmp_path).touch()
    program = (
        "import fcntl, os, sys, time; file = os.open(sys.argv[1], os.O_RDWR); fcntl.lockf(file, fcntl.LOCK_EX, 1, 0);"
        "print(flush=True); time.sleep(0.3);"
        "os.pwrite(file, b'x' * int(sys.argv[2]), 0); os.fsync(file)"
    )
    command = [sys.executable, "-c", program, str(file_in(tmp_path)), str(pool_table.BYTES)]
    with reaped(subprocess.Popen(command, stdout=subprocess.PIPE)) as process:
        assert process.stdout is not None
        process.stdout.readline()
        # When another one opens it
        memory = PoolFile(tmp_path)
        # Then what was written there stays
        assert bytes(memory.memory) == b"x" * pool_table.BYTES
        memory.close()


def test_a_folder_that_cannot_be_used_leaves_the_process_its_own_pool(
    join: Join, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    one, other = join("one", folder=tmp_path / "file", size=2), join("other", folder=tmp_path / "none")
    assert [warning.partition(": ")[0] for warning in (*one.warnings, *other.warnings)] == [
        "processors are not shared with other processes"
    ] * 2
    assert take(one, 2) == 2
    one.rest()
    assert take(other, 1) == 0, "both are in the same one"
    # And however long it takes
    monkeypatch.setattr("pydag_gcp.pool_table.AWAKE", 0.0)
    give(one, 1)
    assert take(other, 1) == 1


def test_a_file_that_is_removed_while_a_run_uses_it_is_made_again_for_the_next(join: Join, tmp_path: Path) -> None:
    one = join("one", size=2)
    file_in(tmp_path).unlink()
    other = join("other", size=3)
    assert (one.size, other.size) == (2, 3)
    assert take(one, 2) == 2
    assert take(other, 3) == 3


# forks ---------------------------------------------------------------------------------------------------------------


def test_a_forked_child_holds_nothing_and_gives_nothing_back(join: Join) -> None:
    share = join("parent", size=2)
    assert share.take(2)
    share.rest()
    child = os.fork()
    if child == 0:
        share.give(2)
        share.rest()
        taken = share.take(2) and share.take(1)
        share.leave()
        own = processors.join("child", run_id="r", folder=None, granted=Bell())
        os._exit(0 if not taken and own.take(1) else 1)
    assert os.waitpid(child, 0)[1] == 0
    other = join("other")
    assert not other.take(1), "the parent holds them still"
    share.give(2)
    share.rest()
    assert other.take(1)
