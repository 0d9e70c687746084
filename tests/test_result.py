"""Results and the critical path."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pydag_gcp.errors import RunFailed
from pydag_gcp.result import RunResult, TaskResult, longest_path
from pydag_gcp.states import RunState, TaskState

START = datetime(2026, 1, 1, tzinfo=UTC)


def task(task_id: str, begin: float, seconds: float, state: TaskState = TaskState.SUCCESS) -> TaskResult:
    started = START + timedelta(seconds=begin)
    error = "ValueError: no" if state is TaskState.FAILED else None
    ended = started + timedelta(seconds=seconds)
    return TaskResult(task_id=task_id, state=state, tries=1, error=error, started=started, ended=ended)


def result(*tasks: TaskResult, state: RunState = RunState.SUCCESS) -> RunResult:
    return RunResult(
        run_id="run1",
        dag_id="dag",
        target="local",
        state=state,
        logical_date=START,
        started=START,
        ended=START + timedelta(seconds=9),
        tasks={one.task_id: one for one in tasks},
        upstream={"a": (), "b": (), "c": ("a", "b")},
    )


def test_makespan_beside_critical_path() -> None:
    # a takes 5 s, b 2 s, c follows both and takes 3 s: 5 + 3 = 8 s of the run's 9
    found = result(task("a", 0, 5), task("b", 0, 2), task("c", 6, 3))
    assert found.makespan == 9
    assert found.critical_path == ("a", "c")
    assert found.critical_seconds == 8


def test_the_document_is_json() -> None:
    document = json.loads(json.dumps(result(task("a", 0, 5), task("b", 0, 2), task("c", 6, 3)).to_json()))
    assert document["state"] == "success"
    assert document["tasks"]["a"]["seconds"] == 5
    assert document["critical_path"] == ["a", "c"]


def test_raise_for_state_names_the_first_failure() -> None:
    good = result(task("a", 0, 1), task("b", 0, 1), task("c", 1, 1))
    assert good.raise_for_state() is good
    bad = result(
        task("a", 0, 2, TaskState.FAILED), task("b", 0, 1, TaskState.FAILED), task("c", 1, 1), state=RunState.FAILED
    )
    with pytest.raises(RunFailed, match=r"run run1 of 'dag': failed: task 'b': ValueError: no"):
        bad.raise_for_state()


@given(st.dictionaries(st.integers(0, 12), st.sets(st.integers(0, 11), max_size=3), max_size=12), st.data())
def test_no_path_is_longer_than_the_longest(edges: dict[int, set[int]], data: st.DataObject) -> None:
    upstream = {str(n): tuple(str(m) for m in sorted(edges.get(n, ())) if m < n) for n in range(13)}
    seconds = {name: data.draw(st.integers(0, 9)) for name in upstream}

    def brute(name: str) -> float:
        return seconds[name] + max((brute(other) for other in upstream[name]), default=0)

    path = longest_path(upstream, dict(seconds))
    assert sum(seconds[name] for name in path) == max(brute(name) for name in upstream)
    assert all(one in upstream[other] for one, other in pairwise(path))
