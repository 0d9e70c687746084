"""Progress of runs: live lines on a terminal, plain lines everywhere else. Both are listeners of events."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime, timedelta
from typing import TextIO

from pydag_gcp.board import Board, Row, duration, headline, one_line
from pydag_gcp.events import Event, Listener, RunEnded, RunStarted, RunWarned, TaskChanged
from pydag_gcp.states import TaskState
from pydag_gcp.streams import discard, is_terminal

#: Seconds between two plain lines that differ only in what a task is doing.
QUIET = timedelta(seconds=10)


def watch(stream: TextIO, names: Mapping[str, str] | None = None) -> AbstractContextManager[Listener]:
    """Choose the listener that fits a stream; it stops drawing when the context ends.

    Args:
        stream: Where people look on.
        names: Run id -> what it is called, where several runs go on at the same time.
    """
    if not is_terminal(stream):
        return nullcontext(PlainLines(stream, names))
    from pydag_gcp.console import console_for
    from pydag_gcp.live_lines import LiveLines

    return LiveLines(console_for(stream), names=names)


class PlainLines:
    """One line for everything that happens, with the local time, for pipes and files.

    Args:
        stream: Where they go. A reader that goes away, or a full disk, is no reason to end a run.
        names: Run id -> the name that its lines begin with, where several runs go on at the same time.
    """

    def __init__(self, stream: TextIO, names: Mapping[str, str] | None = None) -> None:
        self._stream = stream
        self._names = names or {}
        self._boards: dict[str, Board] = {}
        self._said: dict[tuple[str, str], tuple[TaskState, int, datetime]] = {}
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        """Take in an event; from any thread."""
        with self._lock:
            board = self._boards.get(event.run_id)
            match event:
                case RunStarted():
                    self._boards[event.run_id] = Board(event)
                    self._say(event, headline(event))
                case TaskChanged() if board is not None:
                    if board.apply(event) and self._tells(event):
                        self._say(event, self._line(board, board.rows[event.task_id], event))
                case RunWarned():
                    self._say(event, f"{event.task_id or 'run'}: {one_line(event.message)}")
                case RunEnded() if board is not None:
                    self._say(event, f"run {event.run_id} {event.state.value}: {board.summary}")

    def _tells(self, event: TaskChanged) -> bool:
        """Keep quiet about waiting, and about details that keep changing."""
        if event.state in (TaskState.SCHEDULED, TaskState.QUEUED):
            return False
        key = event.run_id, event.task_id
        state, number, at = self._said.get(key, (None, 0, event.at))
        if (state, number) == (event.state, event.try_number) and event.at - at < QUIET and event.error is None:
            return False
        self._said[key] = (event.state, event.try_number, event.at)
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
        name = self._names.get(event.run_id)
        try:
            print(
                f"{event.at.astimezone():%H:%M:%S} {f'{name}: ' if name else ''}{text}", file=self._stream, flush=True
            )
        except OSError:
            discard(self._stream)
