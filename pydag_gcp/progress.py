"""Progress of a run: live lines on a terminal, plain lines everywhere else. Both are listeners of events."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime, timedelta
from typing import Self, TextIO

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.control import Control
from rich.live import Live
from rich.segment import ControlType
from rich.text import Text

from pydag_gcp.board import Board, Row, duration, one_line
from pydag_gcp.events import Event, Listener, RunEnded, RunStarted, RunWarned, TaskChanged
from pydag_gcp.states import TaskState
from pydag_gcp.streams import discard

#: How often the terminal is redrawn, per second.
REDRAWS = 6
#: Seconds between two plain lines that differ only in what a task is doing.
QUIET = timedelta(seconds=10)

STYLES = {
    TaskState.SCHEDULED: "dim",
    TaskState.QUEUED: "dim",
    TaskState.RUNNING: "cyan",
    TaskState.DEFERRED: "cyan",
    TaskState.UP_FOR_RETRY: "yellow",
    TaskState.SUCCESS: "green",
    TaskState.CACHED: "green",
    TaskState.FAILED: "bold red",
    TaskState.UPSTREAM_FAILED: "red",
    TaskState.SKIPPED: "dim",
    TaskState.CANCELLED: "yellow",
}
#: How a state is marked, where the terminal knows Unicode and where it does not.
_MARKS = {
    TaskState.SCHEDULED: "·.",
    TaskState.QUEUED: "○o",
    TaskState.RUNNING: "●>",
    TaskState.DEFERRED: "◐~",
    TaskState.UP_FOR_RETRY: "↻r",
    TaskState.SUCCESS: "✓+",
    TaskState.CACHED: "==",
    TaskState.FAILED: "✗x",
    TaskState.UPSTREAM_FAILED: "-/",
    TaskState.SKIPPED: "--",
    TaskState.CANCELLED: "■c",
}


class _Console(Console):
    """A console that outlives its reader: a run goes on when nobody looks any more."""

    def on_broken_pipe(self) -> None:
        discard(self.file)


def console_for(stream: TextIO, *, width: int | None = None) -> Console:
    """Make a console that prints text as it is: no markup, no highlighting, no emoji codes."""
    return _Console(
        file=stream, force_terminal=is_terminal(stream), markup=False, highlight=False, emoji=False, width=width
    )


def is_terminal(stream: TextIO) -> bool:
    """Tell whether lines that were written there can be redrawn."""
    return stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb", "unknown")


def watch(stream: TextIO) -> AbstractContextManager[Listener]:
    """Choose the listener that fits a stream; it stops drawing when the context ends."""
    return LiveLines(console_for(stream)) if is_terminal(stream) else nullcontext(PlainLines(stream))


def headline(started: RunStarted) -> str:
    """Say what has begun: the first line of every run."""
    count = len(started.upstream)
    ended = f", {len(started.ended)} of them ended before" if started.ended else ""
    return (
        f"run {started.run_id} of {started.dag_id} on {started.target}{' goes on' if started.resumed else ''}, "
        f"logical date {started.logical_date:%Y-%m-%dT%H:%M:%S}, {count} task{'s' * (count != 1)}{ended}"
    )


class PlainLines:
    """One line for everything that happens, with the local time, for pipes and files.

    Args:
        stream: Where they go. A reader that goes away, or a full disk, is no reason to end a run.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._board: Board | None = None
        self._said: dict[str, tuple[TaskState, int, datetime]] = {}

    def __call__(self, event: Event) -> None:
        """Take in an event."""
        match event:
            case RunStarted():
                self._board = Board(event)
                self._say(event, headline(event))
            case TaskChanged() if self._board is not None:
                if self._board.apply(event) and self._tells(event):
                    self._say(event, self._line(self._board, self._board.rows[event.task_id], event))
            case RunWarned():
                self._say(event, f"{event.task_id or 'run'}: {one_line(event.message)}")
            case RunEnded() if self._board is not None:
                self._say(event, f"run {event.run_id} {event.state.value}: {self._board.summary}")

    def _tells(self, event: TaskChanged) -> bool:
        """Keep quiet about waiting, and about details that keep changing."""
        if event.state in (TaskState.SCHEDULED, TaskState.QUEUED):
            return False
        state, number, at = self._said.get(event.task_id, (None, 0, event.at))
        if (state, number) == (event.state, event.try_number) and event.at - at < QUIET and event.error is None:
            return False
        self._said[event.task_id] = (event.state, event.try_number, event.at)
        return True

    @staticmethod
    def _line(board: Board, row: Row, event: TaskChanged) -> str:
        seconds = row.elapsed(event.at)
        if row.state.final:
            told = f" in {duration(seconds)}" if seconds is not None else ""
        else:
            told = f" (try {row.try_number})"
        words = "; ".join(filter(None, (row.error, row.detail)))
        if row.state.final and not row.try_number:
            words = board.words(row)
        return f"{row.task_id} {row.state.value}{told}{': ' if words else ''}{words}"

    def _say(self, event: Event, text: str) -> None:
        try:
            print(f"{event.at.astimezone():%H:%M:%S} {text}", file=self._stream, flush=True)
        except OSError:
            discard(self._stream)


class LiveLines:
    """One line a task, redrawn in place until the context ends; then nothing is left of them if the run has ended.

    Args:
        console: A terminal.
        clock: The time, for what has not ended.
    """

    def __init__(self, console: Console, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._console = console
        self._clock = clock
        self._board: Board | None = None
        self._lock = threading.Lock()
        self._frame = _Frame(self._lines)
        self._live = Live(
            self._frame, console=console, refresh_per_second=REDRAWS, transient=False, vertical_overflow="crop"
        )
        self._column, self._ellipsis = (0, "…") if console.encoding.startswith("utf") else (1, "~")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def __call__(self, event: Event) -> None:
        """Take in an event."""
        match event:
            case RunStarted():
                self._console.print(Text(headline(event), style="bold"), soft_wrap=True)
                self._board = Board(event)
                self._live.start()
            case TaskChanged() if self._board is not None:
                with self._lock:
                    self._board.apply(event)
                if event.state is TaskState.UP_FOR_RETRY and event.error:  # the next try's line takes its place
                    self._note(f"{event.task_id}: try {event.try_number} failed: {one_line(event.error)}")
            case RunWarned():
                self._note(f"{event.task_id or 'run'}: {one_line(event.message)}")
            case RunEnded():
                self._live.transient = True  # the table that follows says it all
                self._live.stop()

    def _note(self, text: str) -> None:
        """Print whole lines above the live ones."""
        self._console.print(Text(text, style="yellow"))

    def _lines(self, width: int, height: int) -> list[Text]:
        if self._board is None:
            return []
        now = self._clock()
        with self._lock:
            shown, hidden = self._board.pick(max(height - 3, 1))
            times = [_time(row, now) for row in shown]
            widths = (max(map(len, times), default=0), max((len(row.task_id) for row in shown), default=0))
            lines = [self._line(self._board, row, time, widths, width) for row, time in zip(shown, times, strict=True)]
            seconds = (now - self._board.started.at).total_seconds()
            foot = f"{duration(seconds)}: {f'{hidden} not shown, ' if hidden else ''}{self._board.summary}"
        return [*lines, Text(self._cut(foot, width - 1), style="dim")]

    def _line(self, board: Board, row: Row, time: str, widths: tuple[int, int], width: int) -> Text:
        style = STYLES[row.state]
        line = Text(_MARKS[row.state][self._column], style=style, no_wrap=True, overflow="crop")
        line.append(f" {time:>{widths[0]}} ", style="dim" if row.state.final else "")
        room = width - line.cell_len - 2
        room = min(widths[1], max(room // 2, 12), room)
        line.append(f" {self._cut(row.task_id, room):<{room}}", style=style)
        words = self._cut(board.words(row), width - line.cell_len - 3)
        return line.append(f"  {words}" if words else "", style="red" if row.error else "dim")

    def _cut(self, text: str, cells: int) -> str:
        """Shorten to a width on the terminal, with an ellipsis where something is missing."""
        if cell_len(text) <= cells:
            return text
        return f"{set_cell_size(text, cells - 1).rstrip()}{self._ellipsis}" if cells > 1 else ""


def _time(row: Row, now: datetime) -> str:
    seconds = row.elapsed(now)
    return "" if seconds is None else duration(seconds)


class _Frame:
    """What is drawn. It also clears away what a narrowed window has made of the frame before.

    rich goes up as many lines as it drew; where the terminal has wrapped these since, that is too few.
    """

    def __init__(self, lines: Callable[[int, int], list[Text]]) -> None:
        self._lines = lines
        self._drawn: list[int] = []
        self._width = 0

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width, height = options.size
        if width < self._width:
            extra = sum(-(-cells // width) - 1 for cells in self._drawn if cells)
            yield Control(*((ControlType.CURSOR_UP, 1), (ControlType.ERASE_IN_LINE, 2)) * extra)
        lines = self._lines(width, height)
        self._drawn, self._width = [line.cell_len for line in lines], width
        yield from lines
