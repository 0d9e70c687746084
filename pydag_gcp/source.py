"""The line of a pipeline file that something was defined at."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

_PACKAGE = str(Path(__file__).parent)
_OPERATORS = str(Path(__file__).parent.parent / "operators")


@dataclass(frozen=True, kw_only=True)
class Source:
    """A line of a pipeline file."""

    file: str
    line: int


_defined_at: ContextVar[Source | None] = ContextVar("_defined_at", default=None)


@contextlib.contextmanager
def defined_at(source: Source) -> Iterator[None]:
    """Have everything that is constructed inside stand at this place, whoever calls the constructors."""
    token = _defined_at.set(source)
    try:
        yield
    finally:
        _defined_at.reset(token)


def calling_line() -> Source:
    """The place that :func:`defined_at` says, else the nearest caller outside this package."""
    told = _defined_at.get()
    if told is not None:
        return told
    frame = sys._getframe(1)  # noqa: SLF001 - inspect.stack() would read every source file
    while frame.f_back is not None and frame.f_code.co_filename.startswith((_PACKAGE, _OPERATORS)):
        frame = frame.f_back
    return Source(file=frame.f_code.co_filename, line=frame.f_lineno)
