"""What ran, as the metadata database tells it."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pydag_gcp import settings
from pydag_gcp.errors import SettingsError
from pydag_gcp.history import History
from pydag_gcp.lease import acquire
from pydag_gcp.states import RunState, TaskState
from pydag_gcp.store import Store

NOW = datetime.now(UTC)
DEFINITION = {
    "tasks": {
        "a": {"operator": "Step", "teardown_of": []},
        "b": {"operator": "Step", "teardown_of": ["a"]},
        "c": {"operator": "Step"},
    },
    "upstream": {"a": [], "b": ["a"], "c": ["b"]},
}


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


@pytest.fixture
def store(project: Path) -> Iterator[Store]:
    with Store(settings.load(project).store_url) as opened:
        yield opened


@pytest.fixture
def history(project: Path, store: Store) -> Iterator[History]:
    with History(settings.load(project)) as opened:
        yield opened


def start(store: Store, run_id: str, *, dag_id: str = "daily", seconds: float = 0) -> None:
    store.start_run(
        run_id=run_id, dag_id=dag_id, target="local", logical_date=NOW, definition=DEFINITION,
        pid=os.getpid(), host=platform.node(), at=at(seconds), file="/here/daily.py",
    )  # fmt: skip


@contextmanager
def driven(store: Store, run_id: str) -> Iterator[None]:
    """A run that this process drives."""
    lease = acquire(store, dag_id="daily", target="local", run_id=run_id)
    store.settled()
    try:
        yield
    finally:
        lease.release()


def dead() -> int:
    """The id of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def ids(history: History, **filters: object) -> list[str]:
    return [run.run_id for run in history.runs(**filters)]  # type: ignore[arg-type]


def test_runs_come_newest_first_and_can_be_filtered(history: History, store: Store) -> None:
    # Given three runs, of which one goes on and one has failed
    for number, (run_id, dag_id) in enumerate([("r1", "daily"), ("r2", "hourly"), ("r3", "daily")]):
        start(store, run_id, dag_id=dag_id, seconds=number)
    store.end_run("r1", RunState.FAILED, at=at(9), error="no disk")
    store.end_run("r2", RunState.SUCCESS, at=at(9))
    assert ids(history) == ["r3", "r2", "r1"]
    assert ids(history, limit=2) == ["r3", "r2"]
    assert ids(history, dag_id="daily") == ["r3", "r1"]
    assert ids(history, state=RunState.FAILED) == ["r1"]
    with driven(store, "r3"):
        assert ids(history, state=RunState.RUNNING) == ["r3"]
    assert history.find("r1").error == "no disk"


def test_a_run_that_no_process_drives_is_interrupted(history: History, store: Store) -> None:
    # Given two runs that did not end, of which one is driven by the process that holds the lease
    start(store, "left", seconds=0)
    start(store, "driven", seconds=1)
    with driven(store, "driven"):
        assert {run.run_id: run.state.value for run in history.runs()} == {"driven": "running", "left": "interrupted"}
        assert ids(history, state=RunState.INTERRUPTED) == ["left"]
        assert ids(history, state=RunState.RUNNING, limit=1) == ["driven"]
        assert (history.find("left").seconds(NOW), history.find("left").is_open) == (None, True)
    # When that one lets go, then nobody drives it, either
    assert history.find("driven").state is RunState.INTERRUPTED


def test_a_run_is_found_by_the_beginning_of_its_id(history: History, store: Store) -> None:
    for number, run_id in enumerate(["abcd", "abxy", "ab"]):
        start(store, run_id, seconds=number)
    assert history.find("abc").run_id == "abcd"
    assert history.find("ab").run_id == "ab"
    assert history.find().run_id == "ab"
    with pytest.raises(SettingsError, match="more than one run begins with 'a'; for instance ab and ab"):
        history.find("a")
    with pytest.raises(SettingsError, match=r"no run 'abcf'; did you mean 'abcd'\?"):
        history.find("abcf")
    with pytest.raises(SettingsError, match="no run '%'; `pydag runs` lists them"):
        history.find("%")


def test_nothing_is_made_where_nothing_has_run(project: Path) -> None:
    with History(settings.load(project)) as history:
        assert history.runs() == []
        with pytest.raises(SettingsError, match="nothing has run in this project; start with `pydag run PIPELINE`"):
            history.find()
    assert not (project / ".pydag").exists()


def test_tasks_and_tries_are_told_in_every_state(history: History, store: Store) -> None:
    # Given a task that succeeded on its second try, one whose job runs, and one that is cached
    start(store, "r1")
    store.start_try("r1", "a", 1, job_id=None, at=at(1))
    store.end_try("r1", "a", 1, TaskState.FAILED, error="no quota", at=at(2))
    store.settled()
    assert history.tasks(history.find())["a"].state is TaskState.UP_FOR_RETRY
    store.start_try("r1", "a", 2, job_id=None, at=at(3))
    store.end_try("r1", "a", 2, TaskState.SUCCESS, error=None, at=at(4))
    store.end_task("r1", "a", TaskState.SUCCESS, result={"rows": 7}, at=at(4))
    store.end_task("r1", "c", TaskState.CACHED, result=7, at=at(4), cached_from="r0", reason="nothing changed")
    store.start_try("r1", "b", 1, job_id="pydag-1", at=at(5))
    store.submitted("r1", "b", 1, handle={"job_id": "pydag-1", "location": "US"}, at=at(6))
    store.settled()
    # When the run is looked at
    run = history.find()
    tasks = history.tasks(run)
    # Then all of it is there, in the order of definition
    assert [(task.task_id, task.state.value, len(task.tries)) for task in tasks.values()] == [
        ("a", "success", 2),
        ("b", "deferred", 1),
        ("c", "cached", 0),
    ]
    assert (tasks["c"].cached_from, tasks["c"].reason) == ("r0", "nothing changed")
    assert tasks["a"].result == {"rows": 7}
    assert tasks["a"].tries[0].error == "no quota"
    assert tasks["a"].tries[1].log == run.logs / "a" / "2.log"
    assert (tasks["b"].teardown, tasks["a"].teardown, tasks["c"].upstream) == (True, False, ("b",))
    job = tasks["b"].tries[0]
    assert (job.job_id, job.handle, job.submitted) == ("pydag-1", {"job_id": "pydag-1", "location": "US"}, at(6))


def test_the_newest_success_of_a_task_is_found(store: Store) -> None:
    for number, (run_id, dag_id, state) in enumerate(
        [
            ("r1", "daily", TaskState.SUCCESS),
            ("r2", "daily", TaskState.CACHED),
            ("r3", "hourly", TaskState.SUCCESS),
            ("r4", "daily", TaskState.FAILED),
        ]
    ):
        start(store, run_id, dag_id=dag_id, seconds=number)
        store.end_task(run_id, "a", state, result=run_id, at=at(number))
    found = store.last_result("daily", "local", "a")
    assert found is not None
    assert found["result"] == '"r2"'
    assert store.last_result("daily", "my-project", "a") is None
    assert store.last_result("daily", "local", "b") is None


def test_reading_waits_for_nobody_who_writes(history: History, store: Store) -> None:
    start(store, "r1")
    with driven(store, "r1"), store.together():
        store.end_run("r1", RunState.SUCCESS, at=NOW)
        assert history.find("r1").state is RunState.RUNNING
    assert history.find("r1").state is RunState.SUCCESS
