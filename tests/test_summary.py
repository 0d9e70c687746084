"""The table that ends a run."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pydag_gcp.result import RunResult, TaskResult
from pydag_gcp.states import RunState, TaskState
from pydag_gcp.summary import ROWS, summarise

START = datetime(2022, 1, 31, 6, tzinfo=UTC)


def task(
    task_id: str, began: float, ended: float, *, state: TaskState = TaskState.SUCCESS, error: str | None = None
) -> TaskResult:
    return TaskResult(
        task_id=task_id, state=state, tries=1, error=error,
        started=START + timedelta(seconds=began), ended=START + timedelta(seconds=ended),
    )  # fmt: skip


def run(*tasks: TaskResult, upstream: dict[str, tuple[str, ...]] | None = None) -> RunResult:
    good = all(one.state is TaskState.SUCCESS for one in tasks)
    return RunResult(
        run_id="r2d2", dag_id="daily", target="local", state=RunState.SUCCESS if good else RunState.FAILED,
        logical_date=START, started=START, ended=max(one.ended or START for one in tasks),
        tasks={one.task_id: one for one in tasks}, upstream=upstream or {one.task_id: () for one in tasks},
    )  # fmt: skip


def said(result: RunResult, logs: Path = Path("nowhere")) -> list[str]:
    stream = io.StringIO()
    summarise(result, logs, stream)
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def test_a_table_of_tasks_then_the_makespan_beside_the_critical_path() -> None:
    # Given a -> c and b -> c, where b takes 1.5 s less than a
    chain = {"a": (), "b": (), "c": ("a", "b")}
    result = run(task("a", 0, 2.5), task("b", 0, 1), task("c", 2.7, 5.2), upstream=chain)
    # Then the makespan is 5.2 s and the critical path 2.5 + 2.5 = 5.0 s
    assert said(result) == [
        "",
        "task  state    tries  duration",
        "a     success      1     2.5 s",
        "b     success      1     1.0 s",
        "c     success      1     2.5 s",
        "run r2d2 success: makespan 5.2 s, critical path 5.0 s: a > c",
    ]


def test_of_several_runs_each_is_named() -> None:
    stream = io.StringIO()
    summarise(run(task("a", 0, 1)), Path("nowhere"), stream, name="daily")
    assert stream.getvalue().splitlines()[:2] == ["", "daily"]


def test_a_task_that_never_started_has_no_duration() -> None:
    never = TaskResult(task_id="b", state=TaskState.UPSTREAM_FAILED, ended=START)
    lines = said(run(task("a", 0, 1, state=TaskState.FAILED, error="no quota"), never))
    assert lines[3] == "b     upstream_failed      0"


def test_the_errors_of_failed_tasks_stand_below_with_their_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    log = tmp_path / "logs" / "a" / "1.log"
    log.parent.mkdir(parents=True)
    log.touch()
    reason = "row 17: [red]bad[/red]\nvalue " + "very " * 100 + "long"
    lines = said(run(task("a", 0, 1, state=TaskState.FAILED, error=reason)), tmp_path / "logs")
    assert f"a: {reason}".replace("\n", " ") in lines
    assert "  log: logs/a/1.log" in lines


def test_of_many_tasks_those_that_tell_most_are_shown() -> None:
    # Given 200 tasks, of which the 4th took longest and the 7th failed
    tasks = [task(f"t{i}", 0, 100 if i == 3 else 1) for i in range(200)]
    tasks[6] = task("t6", 0, 0.1, state=TaskState.FAILED, error="no quota")
    lines = said(run(*tasks))
    table = [line.split()[0] for line in lines if line.startswith("t") and "1" in line]
    assert {"t3", "t6"} <= set(table)
    assert f"({ROWS} of 200 tasks: those that failed or took longest)" in lines


def test_a_long_critical_path_is_shortened() -> None:
    tasks = [task(f"t{i}", i, i + 1) for i in range(30)]
    chain = {"t0": (), **{f"t{i}": (f"t{i - 1}",) for i in range(1, 30)}}
    assert said(run(*tasks, upstream=chain))[-1].endswith("t10 > t11 > ... (30 tasks)")


def test_on_a_terminal_a_long_error_wraps_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    words = [f"word{i}" for i in range(100)]
    summarise(run(task("a", 0, 1, state=TaskState.FAILED, error=" ".join(words))), Path("nowhere"), stream)
    text = stream.getvalue()
    assert all(word in text for word in words)
    assert "\x1b[31m" not in text


def test_a_teardown_that_failed_is_told_apart_from_what_fails_the_run() -> None:
    # Given a run that succeeded though its teardown failed, and a branch that was not taken
    torn = replace(task("delete", 1, 2, state=TaskState.FAILED, error="no permission"), teardown=True)
    idle = TaskResult(task_id="other", state=TaskState.SKIPPED, ended=START)
    lines = said(replace(run(task("a", 0, 1), torn, idle), state=RunState.SUCCESS))
    assert lines[4] == "other   skipped      0"
    assert "teardown delete: no permission" in lines
    assert lines[-1].startswith("run r2d2 success: makespan 2.0 s")
    assert lines[-1].endswith("; what delete should have cleaned up may be left")


def test_skipped_tasks_do_not_crowd_out_those_that_took_long() -> None:
    idle = [TaskResult(task_id=f"s{i}", state=TaskState.SKIPPED, ended=START) for i in range(2 * ROWS)]
    assert "t0" in {line.split()[0] for line in said(run(task("t0", 0, 9), *idle)) if line}


def test_cached_tasks_say_which_run_they_come_from() -> None:
    cached = TaskResult(task_id="b", state=TaskState.CACHED, ended=START, cached_from="c3po")
    lines = said(run(task("a", 0, 1), cached, upstream={"a": (), "b": ()}))
    assert lines[1:4] == [
        "task  state    tries  duration  from run",
        "a     success      1     1.0 s",
        "b     cached       0            c3po",
    ]
