"""The Gantt chart in text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pydag_gcp.gantt import chart
from pydag_gcp.past_run import PastTask, PastTry
from pydag_gcp.states import TaskState

START = datetime(2026, 1, 2, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def attempt(
    task_id: str,
    number: int,
    began: float,
    ended: float | None,
    *,
    submitted: float | None = None,
    state: TaskState = TaskState.SUCCESS,
) -> PastTry:
    return PastTry(
        task_id=task_id, number=number, state=state, job_id=None, handle=None, error=None, started=at(began),
        submitted=None if submitted is None else at(submitted), ended=None if ended is None else at(ended),
        log=Path("nowhere"),
    )  # fmt: skip


def task(task_id: str, *tries: PastTry, state: TaskState = TaskState.SUCCESS, upstream: str = "") -> PastTask:
    ended = tries[-1].ended if tries and state.final else None
    return PastTask(
        task_id=task_id, operator="Step", upstream=tuple(upstream.split()), state=state, tries=tries, ended=ended
    )


def drawn(*tasks: PastTask, end: float, width: int, ascii_only: bool = False) -> list[str]:
    return [line.plain for line in chart(tasks, start=START, end=at(end), width=width, ascii_only=ascii_only)]


def test_bars_tell_what_waited_ran_and_was_deferred() -> None:
    # Given a run of 10 s in a terminal with 10 characters for bars: 1 s each
    lines = drawn(
        task("first", attempt("first", 1, 0, 4)),
        task("second", attempt("second", 1, 6, 10, submitted=7), upstream="first"),
        task("third", state=TaskState.SKIPPED),
        end=10,
        width=6 + 1 + 10 + 7,
    )
    # Then the second waits 2 s for its turn, submits for 1 s, and its job runs for 3 s
    assert lines == [
        "first  ████        4.0 s",
        "second     ··█▒▒▒  4.0 s",
        "third  skipped",
        "       0   10.0 s",
        "· waits  █ runs  ▒ its j",
    ]


def test_further_tries_are_numbered_and_what_lies_between_is_marked() -> None:
    tries = [
        attempt("a", 1, 0, 2, state=TaskState.FAILED),
        attempt("a", 2, 5, 7, state=TaskState.FAILED),
        attempt("a", 3, 8, 10),
    ]
    bar, _, legend = drawn(task("a", *tries), end=10, width=60, ascii_only=True)
    # 60 characters less the name (2) and the duration (8): 5 for every second
    assert bar == f"a {'#' * 10}{'-' * 15}2{'#' * 9}{'-' * 5}3{'#' * 9}  10.0 s"
    assert legend == "# runs  - waits before it is tried again"


def test_a_retry_is_visible_however_short_everything_is() -> None:
    tries = [attempt("a", 1, 0, 0.001, state=TaskState.FAILED), attempt("a", 2, 0.002, 0.003)]
    assert "2" in drawn(task("a", *tries), task("b", attempt("b", 1, 0, 3600)), end=3600, width=40)[0]


def test_what_goes_on_is_drawn_until_now() -> None:
    running = task("a", attempt("a", 1, 5, None, state=TaskState.RUNNING), state=TaskState.RUNNING)
    assert drawn(running, end=10, width=2 + 10 + 7)[0] == "a ·····█████  5.0 s"


def test_no_tasks_no_chart() -> None:
    assert drawn(end=1, width=80) == []


MOMENTS = st.floats(0, 1e5, allow_nan=False)


@given(
    names=st.lists(st.text("abc_", min_size=1, max_size=60), min_size=1, max_size=8, unique=True),
    moments=st.lists(MOMENTS, min_size=4, max_size=4),
    width=st.integers(1, 200),
    ascii_only=st.booleans(),
)
def test_a_chart_always_fits_and_shows_every_task_that_began(
    names: list[str], moments: list[float], width: int, ascii_only: bool
) -> None:
    began, submitted, ended, end = sorted(moments)
    tasks = [task(name, attempt(name, 1, began, ended, submitted=submitted)) for name in names]
    lines = drawn(*tasks, end=end, width=width, ascii_only=ascii_only)
    assert all(len(line) <= width for line in lines)
    if width >= 30:
        assert all(set(line) & set("█▒#=") for line in lines[: len(names)])
