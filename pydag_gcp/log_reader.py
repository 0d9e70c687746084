"""Reads the log files of a run, in the order in which its tries began; without secrets, as they were written."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TextIO

from pydag_gcp.history import History
from pydag_gcp.past_run import PastRun, PastTry
from pydag_gcp.redaction import Redactor
from pydag_gcp.states import RunState

#: Seconds between two looks at a run that is followed.
PAUSE = 0.25


class LogReader:
    """The logs of a run.

    Args:
        history: Knows the run.
        run: The run.
        task_id: Only those of this task.
        number: Only those of this try.
    """

    def __init__(self, history: History, run: PastRun, *, task_id: str | None, number: int | None) -> None:
        self._history = history
        self._run = run
        self._task_id = task_id
        self._number = number
        self._redact = Redactor()
        #: How far each try has been read.
        self._read: dict[tuple[str, int], int] = {}
        self._drained: set[tuple[str, int]] = set()
        self._last: tuple[str, int] | None = None

    def to_json(self) -> dict[str, Any]:
        """The document that ``--json`` prints."""
        return {
            "run_id": self._run.run_id,
            "tries": [
                {"task_id": one.task_id, **one.to_json(), "lines": self._lines(one, whole=True)}
                for one in self._tries()
            ],
        }

    def print(self, stream: TextIO) -> None:
        """Print all that there is, with a head for every try."""
        for one in self._tries():
            self._head(one, stream)
            self._tail(one, stream, whole=True)

    def follow(self, stream: TextIO, *, sleep: Callable[[float], None] = time.sleep) -> None:
        """Print what there is and what comes, until the run, or the task, has ended.

        Args:
            stream: Where to print.
            sleep: Waits for so many seconds.
        """
        while True:
            over = self._over()  # before the last look: what was logged by then is there now
            for one in self._tries():
                self._tail(one, stream, whole=over)
            stream.flush()
            if over:
                return
            sleep(PAUSE)

    def _over(self) -> bool:
        if self._history.find(self._run.run_id).state is not RunState.RUNNING:
            return True
        return self._task_id is not None and self._history.tasks(self._run)[self._task_id].state.final

    def _tries(self) -> list[PastTry]:
        found = self._history.tries(self._run)
        chosen = found.values() if self._task_id is None else [found[self._task_id]]
        tries = [one for each in chosen for one in each if self._number in (None, one.number)]
        return sorted(tries, key=lambda one: (one.started, one.task_id))

    def _tail(self, one: PastTry, stream: TextIO, *, whole: bool) -> None:
        """Print what a try has logged since."""
        key = one.task_id, one.number
        if key in self._drained:
            return
        lines = self._lines(one, whole=whole or one.ended is not None)
        if lines and self._last != key:
            self._head(one, stream)
        for line in lines:
            print(line, file=stream)
        if one.ended is not None:
            self._drained.add(key)

    def _head(self, one: PastTry, stream: TextIO) -> None:
        first = self._last is None
        self._last = one.task_id, one.number
        print(f"{'' if first else chr(10)}==> {one.task_id}, try {one.number}: {one.state.value} <==", file=stream)

    def _lines(self, one: PastTry, *, whole: bool) -> list[str]:
        """The lines since the last look; the last of them only if it is complete, or will not get longer."""
        key = one.task_id, one.number
        try:
            with one.log.open("rb") as file:
                file.seek(self._read.get(key, 0))
                data = file.read()
        except FileNotFoundError:
            return []
        if not whole:
            data = data[: data.rfind(b"\n") + 1]
        self._read[key] = self._read.get(key, 0) + len(data)
        text = self._redact(data.decode(errors="replace"))
        return text.removesuffix("\n").split("\n") if text else []
