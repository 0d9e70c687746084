"""Progress on a terminal: one line a task, redrawn in place; one block a run where there are several."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Self

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.control import Control
from rich.live import Live
from rich.segment import ControlType
from rich.text import Text

from pydag_gcp.board import Board, Row, duration, headline, one_line
from pydag_gcp.events import Event, RunEnded, RunStarted, RunWarned, TaskChanged
from pydag_gcp.states import TaskState
from pydag_gcp.styles import STYLES

#: How often the terminal is redrawn, per second.
REDRAWS = 6

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


class LiveLines:
    """One line a task, redrawn until the context ends; then nothing is left of them if all runs have ended.

    Args:
        console: A terminal.
        names: Run id -> the name that stands above its lines, where several runs go on at the same time.
        clock: The time, for what has not ended.
    """

    def __init__(
        self,
        console: Console,
        *,
        names: Mapping[str, str] | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._console = console
        self._names = names or {}
        self._clock = clock
        self._boards: dict[str, Board] = {}
        self._lock = threading.Lock()
        self._frame = _Frame(self._lines)
        self._live = Live(
            self._frame, console=console, refresh_per_second=REDRAWS, transient=False, vertical_overflow="crop"
        )
        self._column, self._ellipsis = (0, "…") if console.encoding.startswith("utf") else (1, "~")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._live.transient = all(board.ended for board in self._boards.values())  # the tables say it all
        self._live.stop()

    def __call__(self, event: Event) -> None:
        """Take in an event; from any thread."""
        match event:
            case RunStarted():
                self._console.print(Text(headline(event), style="bold"), soft_wrap=True)
                with self._lock:
                    self._boards[event.run_id] = Board(event)
                self._live.start()
            case TaskChanged() if event.run_id in self._boards:
                with self._lock:
                    self._boards[event.run_id].apply(event)
                if event.state is TaskState.UP_FOR_RETRY and event.error:  # the next try's line takes its place
                    self._note(event, f"{event.task_id}: try {event.try_number} failed: {one_line(event.error)}")
            case RunWarned():
                self._note(event, f"{event.task_id or 'run'}: {one_line(event.message)}")
            case RunEnded() if event.run_id in self._boards:
                with self._lock:
                    self._boards[event.run_id].ended = event.at

    def _note(self, event: Event, text: str) -> None:
        """Print whole lines above the live ones."""
        name = self._names.get(event.run_id)
        self._console.print(Text(f"{name}: {text}" if name else text, style="yellow"))

    def _lines(self, width: int, height: int) -> list[Text]:
        now = self._clock()
        with self._lock:
            if not self._names:
                return [line for board in self._boards.values() for line in self._block(board, now, width, height - 3)]
            lines: list[Text] = []
            for board, most in self._rooms(height - 2):
                lines += self._titled(board, now, width, most)
        return lines

    def _rooms(self, height: int) -> list[tuple[Board, int]]:
        """The runs that there is room for, and to how many tasks of each; those that have ended come last."""
        boards = sorted(self._boards.values(), key=lambda board: board.ended is not None)[: max(height, 1)]
        left, most = max(height - len(boards), 0), dict[str, int]()
        for board in sorted(boards, key=lambda board: len(board.rows)):  # what one does not need is the others'
            most[board.started.run_id] = min(len(board.rows), left // (len(boards) - len(most)))
            left -= most[board.started.run_id]
        return [(board, most[board.started.run_id]) for board in boards]

    def _titled(self, board: Board, now: datetime, width: int, most: int) -> list[Text]:
        """The lines of one of several runs."""
        *rows, foot = self._block(board, now, width - 2, most)
        title = Text(self._cut(self._names[board.started.run_id], max(width // 3, 10)), style="bold")
        title.append(f" {self._cut(foot.plain, width - title.cell_len - 2)}", style="not bold dim")
        return [title, *(Text("  ").append_text(row) for row in rows)]

    def _block(self, board: Board, now: datetime, width: int, most: int) -> list[Text]:
        """The lines of a run: at most so many tasks, and a sum below."""
        shown, hidden = board.pick(most)
        times = [_time(row, now) for row in shown]
        widths = (max(map(len, times), default=0), max((len(row.task_id) for row in shown), default=0))
        lines = [self._line(board, row, time, widths, width) for row, time in zip(shown, times, strict=True)]
        seconds = ((board.ended or now) - board.started.at).total_seconds()
        foot = f"{duration(seconds)}: {f'{hidden} not shown, ' if hidden else ''}{board.summary}"
        return [*lines, Text(self._cut(foot, width - 1), style="dim")]

    def _line(self, board: Board, row: Row, time: str, widths: Sequence[int], width: int) -> Text:
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
