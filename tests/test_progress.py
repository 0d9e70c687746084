"""Progress: plain lines, and live lines on a terminal."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from pydag_gcp.events import Event, RunEnded, RunStarted, RunWarned, TaskChanged
from pydag_gcp.live_lines import LiveLines
from pydag_gcp.progress import PlainLines, watch
from pydag_gcp.states import RunState, TaskState
from pydag_gcp.streams import is_terminal

START = datetime(2022, 1, 31, 6, tzinfo=UTC)
UPSTREAM = {"startup_dataproc_1": (), "create_table_stg_1": (), "ingest": ("startup_dataproc_1", "create_table_stg_1")}


def started(upstream: Mapping[str, tuple[str, ...]]) -> RunStarted:
    return RunStarted(
        at=START, run_id="r2d2", dag_id="daily", target="local", logical_date=START, upstream=upstream, processors=2,
        logs=Path("logs"),
    )  # fmt: skip


def changed(
    task_id: str, state: TaskState, number: int = 1, *, at: float = 0, detail: str = "", error: str | None = None
) -> TaskChanged:
    moment = START + timedelta(seconds=at)
    return TaskChanged(
        at=moment, run_id="r2d2", task_id=task_id, state=state, try_number=number, detail=detail, error=error
    )


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def plain(*events: Event) -> list[str]:
    """What plain lines say, without the times."""
    stream = io.StringIO()
    listener = PlainLines(stream)
    for event in (started(UPSTREAM), *events):
        listener(event)
    return [line.split(" ", 1)[1] for line in stream.getvalue().splitlines()]


def test_the_first_plain_line_has_the_local_time_and_the_run_id() -> None:
    stream = io.StringIO()
    PlainLines(stream)(started(UPSTREAM))
    local = f"{START.astimezone():%H:%M:%S}"
    assert stream.getvalue() == f"{local} run r2d2 of daily on local, logical date 2022-01-31T06:00:00, 3 tasks\n"


def test_plain_lines_tell_a_task_from_its_first_try_to_its_end() -> None:
    lines = plain(
        changed("ingest", TaskState.RUNNING),
        changed("ingest", TaskState.DEFERRED, detail="job pydag-1", at=1),
        changed("ingest", TaskState.UP_FOR_RETRY, detail="tries again in 2.1 s", error="no quota", at=2),
        changed("ingest", TaskState.QUEUED, at=3),
        changed("ingest", TaskState.RUNNING, 2, at=3),
        changed("ingest", TaskState.SUCCESS, 2, at=4.5),
    )
    assert lines[1:] == [
        "ingest running (try 1)",
        "ingest deferred (try 1): job pydag-1",
        "ingest up_for_retry (try 1): no quota; tries again in 2.1 s",
        "ingest running (try 2)",
        "ingest success in 4.5 s",
    ]


def test_a_long_error_is_one_whole_plain_line() -> None:
    reason = "gs://bucket/file.csv: row 17: [red]bad[/red] " + "very " * 100 + "long\nsecond line"
    lines = plain(changed("ingest", TaskState.FAILED, error=reason))
    assert lines[1:] == ["ingest failed: " + reason.replace("\n", " ")]


def test_details_that_keep_changing_are_told_every_ten_seconds() -> None:
    polls = [changed("ingest", TaskState.DEFERRED, detail=f"stage {second}", at=second) for second in range(25)]
    assert plain(*polls)[1:] == [f"ingest deferred (try 1): stage {second}" for second in (0, 10, 20)]


def test_plain_lines_tell_warnings_blame_and_the_end() -> None:
    lines = plain(
        RunWarned(at=START, run_id="r2d2", message="created missing dataset x"),
        changed("startup_dataproc_1", TaskState.FAILED, error="no quota"),
        changed("ingest", TaskState.UPSTREAM_FAILED, 0),
        RunEnded(at=START, run_id="r2d2", state=RunState.FAILED),
    )
    assert lines[1:] == [
        "run: created missing dataset x",
        "startup_dataproc_1 failed: no quota",
        "ingest upstream_failed: not run: startup_dataproc_1 did not succeed",
        "run r2d2 failed: 2 of 3 ended, 1 failed, 1 upstream_failed",
    ]


def test_a_reader_that_goes_away_does_not_end_the_run() -> None:
    # Given a pipe whose reader has gone
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        listener = PlainLines(stream)
        # When the run goes on, then nothing is raised, neither now nor when the stream is closed
        listener(started(UPSTREAM))
        listener(changed("ingest", TaskState.RUNNING))


@pytest.mark.parametrize("term", ["", "dumb"])
def test_a_terminal_that_cannot_redraw_gets_plain_lines(term: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", term)
    with watch(Terminal()) as listener:
        assert isinstance(listener, PlainLines)


def test_a_terminal_gets_live_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert is_terminal(Terminal())
    with watch(Terminal()) as listener:
        assert isinstance(listener, LiveLines)


def frame(
    *events: Event,
    upstream: Mapping[str, tuple[str, ...]] = UPSTREAM,
    width: int = 80,
    height: int = 24,
    at: float = 0,
    terminal: type[Terminal] = Terminal,
) -> list[str]:
    """What a terminal shows after these events."""
    console = Console(file=terminal(), force_terminal=True, width=width, height=height, markup=False)
    with LiveLines(console, clock=lambda: START + timedelta(seconds=at)) as live:
        for event in (started(upstream), *events):
            live(event)
        return [line.plain for line in live._lines(width, height)]


def test_live_lines_tell_what_runs_how_long_and_what_waits_for_what() -> None:
    lines = frame(
        changed("startup_dataproc_1", TaskState.DEFERRED, detail="job pydag-1", at=1),
        changed("create_table_stg_1", TaskState.RUNNING, at=1),
        changed("create_table_stg_1", TaskState.SUCCESS, at=1.5),
        at=13.3,
    )
    assert lines == [
        "◐ 12.3 s  startup_dataproc_1  job pydag-1",
        "✓ 0.50 s  create_table_stg_1",
        "·         ingest              waits for startup_dataproc_1",
        "13.3 s: 1 of 3 ended, 1 active",
    ]


def test_live_lines_do_without_unicode() -> None:
    class Old(Terminal):
        encoding = "latin-1"

    lines = frame(changed("startup_dataproc_1", TaskState.FAILED, error="long " * 50), terminal=Old, width=60)
    assert lines[0].startswith("x ")
    assert lines[0].endswith("~")
    assert all(line.isascii() for line in lines)


TEXTS = st.text(max_size=200)


@given(
    width=st.integers(20, 200),
    height=st.integers(3, 60),
    detail=TEXTS,
    error=TEXTS,
    states=st.lists(st.sampled_from(list(TaskState)), min_size=1, max_size=40),
)
def test_a_frame_always_fits_the_terminal(
    width: int, height: int, detail: str, error: str, states: list[TaskState]
) -> None:
    upstream = {f"a_task_with_a_rather_long_name_{i}": () for i in range(len(states))}
    events: list[Event] = [started(upstream)]
    events += [changed(name, state, detail=detail, error=error) for name, state in zip(upstream, states, strict=True)]
    console = Console(file=Terminal(), force_terminal=True, width=width, height=height)
    live = LiveLines(console)
    live._live.auto_refresh = False
    with live:
        for event in events:
            live(event)
        lines = live._lines(width, height)
    assert len(lines) < height
    assert all(line.cell_len < width for line in lines)


def two_runs(width: int, height: int, tasks: tuple[int, int], *, at: float = 0, over: bool = False) -> list[str]:
    """What a terminal shows of two runs that go on at the same time."""
    console = Console(file=Terminal(), force_terminal=True, width=width, height=height, markup=False)
    names = {"r2d2": "daily", "c3po": "hourly"}
    with LiveLines(console, names=names, clock=lambda: START + timedelta(seconds=at)) as live:
        live._live.auto_refresh = False
        for run_id, count in zip(names, tasks, strict=True):
            live(replace(started({f"t{number}": () for number in range(count)}), run_id=run_id, dag_id=names[run_id]))
        live(changed("t0", TaskState.RUNNING, at=1))
        if over:
            live(RunEnded(at=START + timedelta(seconds=2), run_id="r2d2", state=RunState.SUCCESS))
        lines = live._lines(width, height)
    assert len(lines) < max(height, 3)
    assert all(line.cell_len < width for line in lines)
    return [line.plain for line in lines]


def test_of_several_runs_each_has_a_block() -> None:
    assert two_runs(80, 24, (2, 1), at=3) == [
        "daily 3.0 s: 0 of 2 ended, 1 active",
        "  ● 2.0 s  t0  running",
        "  ·        t1  waits for its turn",
        "hourly 3.0 s: 0 of 1 ended",
        "  ·   t0  waits for its turn",
    ]


def test_of_several_runs_the_clock_of_one_that_has_ended_stands_still_and_it_comes_last() -> None:
    lines = [line for line in two_runs(80, 24, (1, 1), at=9, over=True) if not line.startswith(" ")]
    assert lines == ["hourly 9.0 s: 0 of 1 ended", "daily 2.0 s: 0 of 1 ended, 1 active"]


@settings(max_examples=30)
@given(width=st.integers(24, 200), height=st.integers(3, 30), tasks=st.tuples(st.integers(1, 30), st.integers(1, 30)))
def test_the_blocks_of_several_runs_fit_the_terminal(width: int, height: int, tasks: tuple[int, int]) -> None:
    two_runs(width, height, tasks)  # asserts that


def test_room_that_one_run_does_not_need_is_the_other_ones() -> None:
    # 10 lines, of which one stays free and one is the cursor's; 2 titles and 6 tasks
    assert len(two_runs(80, 10, (1, 5))) == 8
    assert len(two_runs(80, 10, (5, 1))) == 8


def test_plain_lines_name_the_run_where_there_are_several() -> None:
    stream = io.StringIO()
    lines = PlainLines(stream, {"r2d2": "daily", "c3po": "hourly"})
    for event in (
        started(UPSTREAM),
        replace(started({"ingest": ()}), run_id="c3po", dag_id="hourly"),
        RunWarned(at=START, run_id="c3po", message="created missing dataset x"),
        changed("ingest", TaskState.RUNNING),
        changed("ingest", TaskState.RUNNING)._replace(run_id="c3po"),
    ):
        lines(event)
    assert [line.split(" ", 1)[1] for line in stream.getvalue().splitlines()][2:] == [
        "hourly: run: created missing dataset x",
        "daily: ingest running (try 1)",
        "hourly: ingest running (try 1)",
    ]


def test_brackets_are_no_markup() -> None:
    lines = frame(changed("ingest", TaskState.FAILED, error="expected [bold]x[/nonsense]"))
    assert lines[2].endswith("expected [bold]x[/nonsense]")


def screen_after(*events: Event) -> str:
    stream = Terminal()
    with LiveLines(Console(file=stream, force_terminal=True, width=80, height=24, markup=False)) as live:
        live(started(UPSTREAM))
        for event in events:
            live(event)
    return stream.getvalue()


def test_the_run_id_is_the_first_thing_on_the_screen() -> None:
    assert "run r2d2 of daily" in screen_after().splitlines()[0]


def test_the_error_of_a_try_that_another_follows_is_kept_in_full() -> None:
    words = [f"word{i}" for i in range(50)]
    written = screen_after(changed("ingest", TaskState.UP_FOR_RETRY, error=" ".join(words)))
    assert "ingest: try 1 failed: word0" in written
    assert all(word in written for word in words)


def test_the_cursor_comes_back_whatever_happens() -> None:
    with pytest.raises(RuntimeError):  # noqa: PT012 - the context is what is tested
        stream = Terminal()
        with LiveLines(Console(file=stream, force_terminal=True, width=80, height=24)) as live:
            live(started(UPSTREAM))
            raise RuntimeError
    show_cursor = "\x1b[?25h"
    assert stream.getvalue().rstrip("\n").endswith(show_cursor)


def test_lines_that_others_print_stay_above_the_live_ones(capsys: pytest.CaptureFixture[str]) -> None:
    stream = Terminal()
    with LiveLines(Console(file=stream, force_terminal=True, width=80, height=24, markup=False)) as live:
        live(started(UPSTREAM))
        sys.stdout.write("said by a [red]task\n")
    assert "said by a [red]task\n" in stream.getvalue()
    assert "task" not in capsys.readouterr().out


@given(before=st.integers(30, 200), after=st.integers(20, 200))
def test_a_narrowed_window_is_cleared_of_what_it_wrapped(before: int, after: int) -> None:
    # Given a frame drawn at one width
    stream = Terminal()
    console = Console(file=stream, force_terminal=True, width=before, height=24)
    live = LiveLines(console, clock=lambda: START)
    live._live.auto_refresh = False
    with live:
        live(started(UPSTREAM))
        live._live.refresh()
        drawn = [line.cell_len for line in live._lines(before, 24)]
        stream.truncate(0)
        # When it is drawn again at another
        console.width = after
        live._live.refresh()
        # Then the cursor goes up over every line of the old frame, as the terminal shows it now
        lines = sum(max(1, -(-cells // after)) for cells in drawn) if after < before else len(drawn)
        up = "\x1b[1A"
        assert stream.getvalue().count(up) == lines - 1


def test_plain_lines_say_why_a_task_did_not_run() -> None:
    # Given a branch that was not taken, what follows it, and a task that was cancelled before it began
    upstream = {"choose": (), "left": ("choose",), "after": ("left",), "never": ("choose",)}
    stream = io.StringIO()
    listener = PlainLines(stream)
    for event in (
        started(upstream),
        changed("choose", TaskState.SUCCESS),
        changed("left", TaskState.SKIPPED, 0),
        changed("after", TaskState.SKIPPED, 0),
        changed("never", TaskState.CANCELLED, 0),
    ):
        listener(event)
    assert [line.split(" ", 1)[1] for line in stream.getvalue().splitlines()[2:]] == [
        "left skipped: not run: not chosen upstream, or its trigger rule was not met",
        "after skipped: not run: left did not run",
        "never cancelled: cancelled before it began",
    ]


def test_a_failed_teardown_is_counted_by_itself() -> None:
    stream = io.StringIO()
    listener = PlainLines(stream)
    for event in (
        replace(started({"a": (), "delete": ("a",)}), teardowns=["delete"]),
        changed("a", TaskState.SUCCESS),
        changed("delete", TaskState.FAILED, error="no permission"),
        RunEnded(at=START, run_id="r2d2", state=RunState.SUCCESS),
    ):
        listener(event)
    assert stream.getvalue().splitlines()[-1].endswith("run r2d2 success: 2 of 2 ended, 1 teardown failed")


def test_a_run_that_goes_on_says_so_and_a_cached_task_where_it_comes_from() -> None:
    stream = io.StringIO()
    lines = PlainLines(stream)
    lines(replace(started(UPSTREAM), resumed=True, ended={"startup_dataproc_1": TaskState.SUCCESS}))
    lines(changed("create_table_stg_1", TaskState.CACHED, 0, detail="nothing has changed, from run c3po"))
    assert [line.split(" ", 1)[1] for line in stream.getvalue().splitlines()] == [
        "run r2d2 of daily on local goes on, logical date 2022-01-31T06:00:00, 3 tasks, 1 of them ended before",
        "create_table_stg_1 cached: nothing has changed, from run c3po",
    ]
