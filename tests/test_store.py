"""The metadata database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from pydag_gcp.errors import StoreError
from pydag_gcp.states import RunState, TaskState
from pydag_gcp.store import Store

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LATER = NOW + timedelta(microseconds=1)


def url(folder: Path) -> str:
    return f"sqlite:///{folder / 'nested' / 'pydag.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a new database, of each kind there is."""
    if request.param == "sqlite":
        return url(tmp_path)
    found: str = request.getfixturevalue("postgresql_url")
    return found


def start(store: Store, run_id: str = "run1", *, at: datetime = NOW) -> None:
    store.start_run(
        run_id=run_id, dag_id="dag", target="local", logical_date=NOW, definition={"tasks": {}}, pid=1, host="h", at=at
    )


# on every database ---------------------------------------------------------------------------------------------------


def test_a_run_from_start_to_end(store_url: str) -> None:
    with Store(store_url) as store:
        start(store)
        store.start_try(
            "run1", "task", 1, job_id="pydag-1", at=NOW, reads={"table p.d.t": "1", "object gs://b/n": None}
        )
        store.submitted("run1", "task", 1, handle={"job_id": "pydag-1"}, at=NOW)
        assert [(row["try_number"], row["ended"]) for row in store.tries("run1")] == [(1, None)]
        store.end_try("run1", "task", 1, TaskState.SUCCESS, error=None, at=NOW)
        store.end_task("run1", "task", TaskState.SUCCESS, result={"rows": 7}, at=NOW, reason="SQL changed")
        store.end_run("run1", RunState.SUCCESS, at=NOW)
    with Store(store_url) as store:
        run = store.run("run1")
        assert run is not None
        assert (run["state"], run["ended"], run["cancel_requested"]) == ("success", NOW.isoformat(), False)
        assert [(row["state"], row["result"], row["reason"]) for row in store.tasks("run1")] == [
            ("success", '{"rows": 7}', "SQL changed")
        ]
        tries = store.tries("run1")
        assert [(row["state"], row["handle"], row["ended"]) for row in tries] == [
            ("success", '{"job_id": "pydag-1"}', NOW.isoformat())
        ]
        assert json.loads(tries[0]["reads"]) == {"table p.d.t": "1", "object gs://b/n": None}
        assert store.run("other") is None


def test_a_run_is_taken_up_again_by_another_process(store_url: str) -> None:
    with Store(store_url) as store:
        store.start_run(
            run_id="run1",
            dag_id="dag",
            target="local",
            logical_date=NOW,
            definition={"tasks": {"a": 1}},
            pid=1,
            host="h",
            at=NOW,
            file=Path("/p/daily.py"),
            options={"params": {"day": "x"}},
        )
        store.request_cancel("run1")
        store.end_run("run1", RunState.INTERRUPTED, at=NOW, error="gone")
        assert store.cancel_requested("run1")
        assert [row["run_id"] for row in store.open_runs("dag", "local")] == ["run1"]
        assert store.open_runs("dag", "other") == store.open_runs("other", "local") == []
        # When another process goes on with it
        store.reopen_run("run1", pid=2, host="i", at=LATER)
        # Then it keeps what it is, and is driven by that one
        run = store.run("run1")
        assert run is not None
        assert (run["pid"], run["host"], run["driven_since"]) == (2, "i", LATER.isoformat())
        assert (run["state"], run["ended"], run["error"], run["started"]) == ("running", None, None, NOW.isoformat())
        assert (run["file"], json.loads(run["options"])) == ("/p/daily.py", {"params": {"day": "x"}})
        assert json.loads(run["definition"]) == {"tasks": {"a": 1}}
        assert not store.cancel_requested("run1")
        # When it is given another definition
        store.reopen_run("run1", pid=2, host="i", at=LATER, definition={"tasks": {}}, options={})
        run = store.run("run1")
        assert run is not None
        assert (run["definition"], run["options"], run["file"]) == ('{"tasks": {}}', "{}", "/p/daily.py")


def test_a_task_may_end_again(store_url: str) -> None:
    with Store(store_url) as store:
        start(store)
        store.end_task("run1", "a", TaskState.FAILED, error="boom", at=NOW)
        store.end_task("run1", "b", TaskState.FAILED, error="boom", at=NOW)
        store.end_task("run1", "a", TaskState.CACHED, result=1, at=NOW, cached_from="run0", reason="nothing changed")
        store.forget_task("run1", "b")
        rows = [(row["task_id"], row["state"], row["error"], row["cached_from"]) for row in store.tasks("run1")]
        assert rows == [("a", "cached", None, "run0")]


def test_text_that_a_database_would_refuse_is_spelt_out(store_url: str) -> None:
    text, nested = "nul \0, half \udc80, ÿ, 日本, '; DROP TABLE runs; --", {"k\0": ["\0", "\udc80"]}
    with Store(store_url) as store:
        start(store)
        store.start_try("run1", "task", 1, job_id=None, at=NOW, reads={"object gs://b/\0": "1"})
        store.end_try("run1", "task", 1, TaskState.FAILED, error=text, at=NOW)
        store.end_task("run1", "task", TaskState.FAILED, result=nested, error=text, at=NOW, reason=text)
        store.end_run("run1", RunState.FAILED, at=NOW, error=text)
        task, said = store.tasks("run1")[0], r"nul \x00, half \udc80, ÿ, 日本, '; DROP TABLE runs; --"
        assert (task["error"], task["reason"], json.loads(task["result"])) == (said, said, nested)
        assert store.tries("run1")[0]["error"] == said


def test_moments_and_ids_sort_by_code_points(store_url: str) -> None:
    # Given moments that a locale which skips punctuation would sort the other way round
    with Store(store_url) as store:
        start(store, "Z", at=NOW)
        start(store, "a", at=NOW)
        start(store, "later", at=LATER)
        assert [row["run_id"] for row in store.runs()] == ["later", "Z", "a"]
        assert [row["run_id"] for row in store.runs(prefix="l")] == ["later"]
        assert [row["run_id"] for row in store.runs(limit=1)] == ["later"]


def test_what_is_written_together_is_there_as_a_whole_or_not_at_all(store_url: str) -> None:
    done: list[str] = []
    with Store(store_url) as store:
        start(store)
        with pytest.raises(ZeroDivisionError), store.together():  # noqa: PT012 - what is inside is the point
            store.start_try("run1", "task", 1, job_id=None, at=NOW)
            store.end_run("run1", RunState.SUCCESS, at=NOW)
            store.afterwards(lambda: done.append("never"))
            raise ZeroDivisionError
        assert store.tries("run1") == []
        run = store.run("run1")
        assert run is not None
        assert run["state"] == "running"
        with store.together():
            with store.together():
                store.end_run("run1", RunState.SUCCESS, at=NOW)
                store.afterwards(lambda: done.append("then"))
            assert done == []
        store.settled()
        assert done == ["then"]


def test_a_try_number_is_never_used_twice(store_url: str) -> None:
    with Store(store_url) as store:
        start(store)
        store.start_try("run1", "task", 1, job_id=None, at=NOW)
        store.start_try("run1", "task", 1, job_id=None, at=NOW)
        with pytest.raises(StoreError, match=r"UNIQUE constraint|duplicate key") as raised:
            store.settled()
        assert "\n" not in str(raised.value)


def test_any_thread_may_read_while_one_writes(store_url: str) -> None:
    with Store(store_url) as store, ThreadPoolExecutor(4) as threads, store.together():
        start(store)
        assert list(threads.map(lambda _: store.run("run1"), range(8))) == [None] * 8


def test_two_processes_may_write(store_url: str) -> None:
    with Store(store_url) as one, Store(store_url) as other:
        for number in range(20):
            start(one, f"a{number}")
            start(other, f"b{number}")
        assert one.run("b19") is not None


def test_a_row_survives_a_kill_right_after_the_call(store_url: str) -> None:
    # Given a process that is killed the moment after it said "about to submit"
    program = (
        "import os, signal, sys; sys.path.insert(0, 'tests')\n"
        "from test_store import *\n"
        f"store = Store({store_url!r}); start(store)\n"
        "store.start_try('run1', 'task', 1, job_id='pydag-1', at=NOW); store.settled()\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    environ = {**os.environ, "PYTHONPATH": "."}
    done = subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[1], env=environ, check=False)
    assert done.returncode == -9
    # Then the row is there
    with Store(store_url) as store:
        assert [row["job_id"] for row in store.tries("run1")] == ["pydag-1"]


def test_two_stores_on_one_database_both_write(store_url: str) -> None:
    def drive(run_id: str) -> None:
        with Store(store_url) as store:
            start(store, run_id)
            for number in range(150):
                with store.together():
                    store.start_try(run_id, str(number), 1, job_id=None, at=NOW)
                    store.end_task(run_id, str(number), TaskState.SUCCESS, at=NOW)
                if number % 10 == 0:
                    store.settled()

    with Store(store_url) as store, ThreadPoolExecutor(3) as threads:
        list(threads.map(drive, ["run1", "run2", "run3"]))
        for run_id in ("run1", "run2", "run3"):
            assert len(store.tasks(run_id)) == len(store.tries(run_id)) == 150


def test_what_is_changed_after_it_was_written_is_written_as_it_was(store_url: str) -> None:
    result, reads, handle = {"rows": 7}, {"table p.d.t": "1"}, {"job_id": "j"}
    with Store(store_url) as store:
        start(store)
        store.start_try("run1", "a", 1, job_id=None, at=NOW, reads=reads)
        store.submitted("run1", "a", 1, handle=handle, at=NOW)
        store.end_task("run1", "a", TaskState.SUCCESS, result=result, at=NOW)
        for known in (result, reads, handle):
            known.clear()
        assert [row["result"] for row in store.tasks("run1")] == ['{"rows": 7}']
        assert [(row["handle"], row["reads"]) for row in store.tries("run1")] == [
            ('{"job_id": "j"}', '{"table p.d.t": "1"}')
        ]


# durations -----------------------------------------------------------------------------------------------------------


def took(store: Store, run_id: str, state: TaskState = TaskState.SUCCESS, **seconds: float) -> None:
    """A try of each task that took so long."""
    for task_id, some in seconds.items():
        store.start_try(run_id, task_id, 1, job_id=None, at=NOW)
        store.end_try(run_id, task_id, 1, state, error=None, at=NOW + timedelta(seconds=some))


def test_a_task_takes_as_long_as_the_median_of_its_last_successes(store_url: str) -> None:
    with Store(store_url) as store:
        # Given runs from the oldest to the newest, of which some have no successes, or are of something else
        for number, a in enumerate([1000, 1, 5, 2, 3]):
            start(store, f"run{number}", at=NOW + timedelta(seconds=number))
            took(store, f"run{number}", a=a)
        took(store, "run4", b=0.25, back_in_time=-1)
        start(store, "failed", at=NOW + timedelta(seconds=8))
        took(store, "failed", TaskState.FAILED, a=7, never=7)
        store.start_try("failed", "open", 1, job_id=None, at=NOW)
        start(store, "cached", at=NOW + timedelta(seconds=9))
        store.end_task("cached", "a", TaskState.CACHED, at=NOW)
        for run_id, dag_id, target in (("other", "another", "local"), ("project", "dag", "my-project")):
            store.start_run(
                run_id=run_id, dag_id=dag_id, target=target, logical_date=NOW, definition={}, pid=1, host="h", at=LATER
            )
            took(store, run_id, a=500)
        # Then the newest with successes count: 1, 5, 2 and 3
        assert store.durations("dag", "local", most_runs=4) == {"a": 2.5, "b": 0.25, "back_in_time": 0.0}
        assert store.durations("dag", "local", most_runs=3)["a"] == 3  # of 5, 2 and 3
        assert store.durations("dag", "local", enough=3)["a"] == 3  # the newest run has so many
        assert store.durations("dag", "local", enough=4)["a"] == 2.5  # of 3 and 2
        assert store.durations("dag", "local", most_tries=4)["a"] == 2.5  # of 3 and 2, beside b and back_in_time
        assert store.durations("dag", "elsewhere") == {}


# SQLite --------------------------------------------------------------------------------------------------------------


def test_writes_are_durable_and_readers_do_not_block(tmp_path: Path) -> None:
    with Store(url(tmp_path)) as store, store.database._engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "nested").mkdir()
    (tmp_path / "nested" / "pydag.db").write_bytes(b"not a database at all, but a long text " * 100)
    with pytest.raises(StoreError, match=r"pydag.db: file is not a database; move the file away"):
        Store(url(tmp_path))


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "nested").write_text("a file where the folder should be")
    with pytest.raises(StoreError, match=r"metadata database .*pydag.db: File exists; set PYDAG_HOME elsewhere"):
        Store(url(tmp_path))


def test_a_full_disk_ends_all_writing_and_is_told(tmp_path: Path) -> None:
    told: list[tuple[str, str]] = []
    with Store(url(tmp_path)) as store:
        start(store)
        store.on_failure(lambda error: told.append((str(error), threading.current_thread().name)))
        # Given tasks that are durable, and a disk that has no room for more
        for number in range(100):
            store.end_task("run1", f"before{number}", TaskState.SUCCESS, at=NOW)
        store.settled()
        store.database._engine.dispose()
        sa.event.listen(store.database._engine, "connect", lambda raw, _: raw.execute("PRAGMA max_page_count=1"))
        # When more is written
        for number in range(100):
            store.end_task("run1", f"after{number}", TaskState.SUCCESS, result="x" * 1000, at=NOW)
        for _ in range(2):
            with pytest.raises(StoreError, match=r"pydag.db: database or disk is full; make room on the disk"):
                store.settled()
        # Then nothing is any more, even if it is small
        with pytest.raises(StoreError, match="full"):
            store.end_run("run1", RunState.SUCCESS, at=NOW)
    assert [(text.split("; ")[1], thread) for text, thread in told] == [("make room on the disk", "pydag-journal")]
    with Store(url(tmp_path)) as store:
        assert {row["task_id"] for row in store.tasks("run1")} == {f"before{number}" for number in range(100)}


def test_a_failure_that_nobody_was_told_is_raised_when_the_store_is_closed(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="FOREIGN KEY"), Store(url(tmp_path)) as store:
        store.end_task("no such run", "a", TaskState.SUCCESS, at=NOW)
    # But it does not stand before what was raised first
    with pytest.raises(ZeroDivisionError), Store(url(tmp_path)) as store:  # noqa: PT012 - what is inside is the point
        store.end_task("no such run", "a", TaskState.SUCCESS, at=NOW)
        raise ZeroDivisionError


def test_a_store_that_is_only_read_has_no_thread(tmp_path: Path) -> None:
    before = threading.active_count()
    with Store(url(tmp_path)) as store:
        assert store.runs() == []
        assert threading.active_count() <= before  # who closes an idle database may end just now
