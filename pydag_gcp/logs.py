"""Per-try log files, with secrets redacted.

Every try has one file, ``<home>/logs/<dag>/<run>/<task>/<try>.log``, made when the first line is logged. It is open
only while a line is written: a thousand deferred jobs hold no file descriptor.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydag_gcp.errors import PydagError

_MASK = "[redacted]"

# Shapes of secrets that reach messages by accident: key files, OAuth and bearer tokens, passwords in URLs and options.
# What a shape needs in front of a secret, but is none, is its first group.
_NAMES = r"(?:password|passwd|secret|token|api[_-]?key|private[_-]?key)"
_SHAPES = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|\bya29\.[\w.-]+"
    r"|(?<=AIza)[\w-]{35}"
    r"|(?<=bearer )[\w.~+/=-]{8,}"
    r"|(?P<scheme>authorization\\?[\"']?\s*[:=]\s*\\?[\"']?basic\s+)[\w~+/=-]+"
    r"|(?<=://)[^/\s:@]*:[^/\s\"']+(?=@)"
    # A slash in a password; digits before a slash are rather a port, and a bracket begins an IPv6 address.
    r"|(?<=://)[^/\s:@\[]*:(?!\d+/)[^\s\"'<>]+(?=@)"
    rf"|(?P<key>\\?[\"'][\w-]*{_NAMES}\\?[\"']\s*:\s*)(?P<quote>\\?[\"'])(?:\\.|(?!(?P=quote)).)*?(?:(?P=quote)|\Z)"
    rf"|(?P<option>{_NAMES}=)(?:\"[^\"]*\"?|'[^']*'?|[^\s&;,'\"]+)",
    re.IGNORECASE | re.DOTALL,
)
_SECRET_NAME = re.compile(r"PASSWORD|PASSWD|SECRET|TOKEN|API_?KEY|PRIVATE_?KEY", re.IGNORECASE)

_KEY_EDGE = re.compile(r"-----(BEGIN|END) [A-Z ]*PRIVATE KEY-----")
#: A key of 16384 bits has about so many lines; after these, what looked like a key's beginning was none.
_LONGEST_KEY = 210


class Redactor:
    """Replaces secrets in text: well-known shapes, and the values of environment variables with a telling name.

    Args:
        environ: The variables; values under six characters are not taken for secrets.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        values = {value for name, value in environ.items() if _SECRET_NAME.search(name) and len(value) >= 6}
        longest_first = sorted(values, key=len, reverse=True)
        self._values = re.compile("|".join(map(re.escape, longest_first))) if values else None

    def __call__(self, text: str) -> str:
        """Return ``text`` without its secrets."""
        if self._values is not None:
            text = self._values.sub(_MASK, text)
        return _SHAPES.sub(_masked, text)

    def within(self, value: Any) -> Any:
        """Return a JSON value without the secrets in its texts."""
        match value:
            case str():
                return self(value)
            case dict():
                telling = {
                    key for key, item in value.items() if isinstance(item, str) and _SECRET_NAME.search(str(key))
                }
                return {key: _MASK if key in telling else self.within(item) for key, item in value.items()}
            case list() | tuple():
                return [self.within(item) for item in value]
        return value

    def said(self, error: BaseException) -> str:
        """Say an error of any kind in one line, without secrets and without what cannot be written down."""
        text = " ".join(self(str(error)).encode(errors="backslashreplace").decode().split())
        if isinstance(error, PydagError):
            return text
        return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _masked(found: re.Match[str]) -> str:
    before = found["scheme"] or found["key"] or found["option"] or ""
    quote = found["quote"] or ""
    return f"{before}{quote}{_MASK}{quote}"


class _Formatter(logging.Formatter):
    """Time, level and message; the message without secrets, also where a key comes line by line."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self, redact: Redactor) -> None:
        super().__init__("%(message)s")
        self._redact = redact
        self._key_lines = 0

    def format(self, record: logging.LogRecord) -> str:
        return f"{self.formatTime(record)} {record.levelname} {self._without_key(super().format(record))}"

    def _without_key(self, text: str) -> str:
        edges = list(_KEY_EDGE.finditer(text))
        if self._key_lines:
            if not edges or edges[0][1].upper() != "END":
                self._key_lines -= 1
                return _MASK
            text = _MASK + text[edges[0].end() :]
        if edges:
            self._key_lines = _LONGEST_KEY if edges[-1][1] == "BEGIN" else 0
        return self._redact(text)


class TryLog:
    """The log of one try: a logger that belongs to nobody else, writing to one file.

    Args:
        file: Where it goes; its folder is made with the first line.
        redact: Takes the secrets out.
    """

    def __init__(self, file: Path, redact: Redactor) -> None:
        self.file = file
        self.logger = logging.Logger("pydag_gcp.task", level=logging.DEBUG)  # noqa: LOG001 - not in the global tree
        handler = _Appender(file)
        handler.setFormatter(_Formatter(redact))
        self.logger.addHandler(handler)

    def close(self) -> None:
        """Drop what is logged from now on, for instance by a thread that was given up."""
        for handler in self.logger.handlers:
            handler.close()


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
        try:
            text = self.format(record)
        except (TypeError, ValueError, KeyError):  # arguments that do not fit the message
            record.msg, record.args = f"{record.msg} {record.args!r}", None
            text = self.format(record)
        return f"{text}\n".encode(errors="backslashreplace")

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
