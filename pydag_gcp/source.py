"""The line of a pipeline file that something was defined at."""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pydag_gcp import errors

_PACKAGE = str(Path(__file__).parent)
_OPERATORS = str(Path(__file__).parent.parent / "operators")


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A line of a pipeline file."""

    file: str
    line: int

    def place(self, *, task: str | None = None, field: str | None = None) -> str:
        """Name the line, and a task and its field there, the way every message does."""
        return errors.place(file=self.file, line=self.line, task=task, field=field)


_defined_at: ContextVar[Source | None] = ContextVar("_defined_at", default=None)


@contextlib.contextmanager
def defined_at(source: Source) -> Iterator[None]:
    """Have everything that is constructed inside stand at this place, whoever calls the constructors."""
    token = _defined_at.set(source)
    try:
        yield
    finally:
        _defined_at.reset(token)


def line_in(file: str, error: BaseException) -> int | None:
    """Return the last line of a file that an exception came through, if it came through any."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return lines[-1] if lines else None


def calling_line() -> Source:
    """The place that :func:`defined_at` says, else the nearest caller outside this package."""
    told = _defined_at.get()
    if told is not None:
        return told
    frame = sys._getframe(1)  # noqa: SLF001 - inspect.stack() would read every source file
    while frame.f_back is not None and _is_ours(frame.f_code.co_filename):
        frame = frame.f_back
    return _line(frame.f_code.co_filename, frame.f_lineno)


@lru_cache(maxsize=1024)
def _is_ours(file: str) -> bool:
    return file.startswith((_PACKAGE, _OPERATORS))


@lru_cache(maxsize=1024)
def _line(file: str, line: int) -> Source:
    """The same line is one object, however many tasks a loop defines there."""
    return Source(file=file, line=line)
