"""Per-try log files, with secrets redacted.

Every try has one file, ``<home>/logs/<dag>/<run>/<task>/<try>.log``, made when the first line is logged. It is open
only while a line is written: a thousand deferred jobs hold no file descriptor. A try that logs nothing costs nothing.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pydag_gcp.redaction import MASK, Redactor

_KEY_EDGE = re.compile(r"-----(BEGIN|END) [A-Z ]*PRIVATE KEY-----")
#: A key of 16384 bits has about so many lines; after these, what looked like a key's beginning was none.
_LONGEST_KEY = 210


class Formatter(logging.Formatter):
    """Time, level and message; the message without secrets, also where a key comes line by line."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self, redact: Redactor) -> None:
        super().__init__("%(message)s")
        self._redact = redact
        self._key_lines = 0

    def format(self, record: logging.LogRecord) -> str:
        """Return the whole line, or lines."""
        return f"{self.formatTime(record)} {record.levelname} {self.message(record)}"

    def message(self, record: logging.LogRecord) -> str:
        """Return the message alone, with the traceback if there is one; arguments that do not fit stand behind it."""
        try:
            text = super().format(record)
        except (TypeError, ValueError, KeyError):
            record.msg, record.args = f"{record.msg} {record.args!r}", None
            text = super().format(record)
        return self._without_key(text)

    def _without_key(self, text: str) -> str:
        edges = list(_KEY_EDGE.finditer(text))
        if self._key_lines:
            if not edges or edges[0][1].upper() != "END":
                self._key_lines -= 1
                return MASK
            text = MASK + text[edges[0].end() :]
        if edges:
            self._key_lines = _LONGEST_KEY if edges[-1][1] == "BEGIN" else 0
        return self._redact(text)


class TryLog:
    """The log of one try: a logger that belongs to nobody else, writing to one file.

    Args:
        file: Where it goes; its folder is made with the first line.
        redact: Takes the secrets out.
        also: Is handed everything, too.
    """

    def __init__(self, file: Path, redact: Redactor, also: logging.Handler | None = None) -> None:
        self.file = file
        self.logger = logging.Logger("pydag_gcp.task", level=logging.DEBUG)  # noqa: LOG001 - not in the global tree
        handler = _Appender(file)
        handler.setFormatter(Formatter(redact))
        self.logger.addHandler(handler)
        if also is not None:
            self.logger.addHandler(also)

    def close(self) -> None:
        """Drop what is logged from now on, for instance by a thread that was given up."""
        for handler in self.logger.handlers:
            handler.close()


class RunLogs:
    """The logs of a run's tries: each is made when something is logged, by whatever thread, which is rare.

    Args:
        folder: Of the run.
        redact: Takes the secrets out.
        also: Makes a handler for a try, beside its file.
        over: Tells whether a try has ended: what its thread logs then is dropped.
    """

    def __init__(
        self,
        folder: Path,
        redact: Redactor,
        also: Callable[[str, int], logging.Handler] | None,
        over: Callable[[str, int], bool],
    ) -> None:
        self._folder = folder
        self._redact = redact
        self._also = also
        self._over = over
        self._made: dict[tuple[str, int], TryLog] = {}

    def of(self, task_id: str, try_number: int) -> logging.Logger:
        """The log of a try."""
        also = self._also(task_id, try_number) if self._also else None
        log = TryLog(self._folder / task_id / f"{try_number}.log", self._redact, also)
        self._made[task_id, try_number] = log
        if self._over(task_id, try_number):  # looked at last, so that either this or close() sees the other
            log.close()
        return log.logger

    def close(self, task_id: str, try_number: int) -> None:
        """Drop what a try, which is over, logs from now on."""
        log = self._made.pop((task_id, try_number), None) if self._made else None
        if log is not None:
            log.close()

    def close_all(self) -> None:
        """Drop what is logged from now on."""
        for log in list(self._made.values()):
            log.close()


class _Appender(logging.Handler):
    """Appends every record to a file that is open only meanwhile. Never raises: a log must not fail its task."""

    #: The folders of runs whose logs cannot be written, which was told.
    _told: set[Path] = set()  # noqa: RUF012 - shared by all tries of a run on purpose

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file
        self._over = False

    def emit(self, record: logging.LogRecord) -> None:
        if self._over:
            return
        try:
            self._append(self._line(record))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is not the task's fault
            self._tell(error)

    def close(self) -> None:
        self._over = True
        super().close()

    def _line(self, record: logging.LogRecord) -> bytes:
        return f"{self.format(record)}\n".encode(errors="backslashreplace")

    def _append(self, line: bytes) -> None:
        try:
            file = self._file.open("ab")
        except FileNotFoundError:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            file = self._file.open("ab")
        with file:
            file.write(line)

    def _tell(self, error: Exception) -> None:
        run = self._file.parent.parent
        if run in self._told or sys.stderr is None:
            return
        self._told.add(run)
        reason = error.strerror if isinstance(error, OSError) else repr(error)
        sys.stderr.write(f"warning: logs in {run} are incomplete: {reason}\n")
