"""Consoles: streams that know how wide a terminal is, and which colours it has."""

from __future__ import annotations

from typing import TextIO

from rich.console import Console

from pydag_gcp.streams import discard, is_terminal

#: Off a terminal nothing wraps: one error, one line.
_WIDE = 100_000


class _Console(Console):
    """A console that outlives its reader: a run goes on when nobody looks any more."""

    def on_broken_pipe(self) -> None:
        discard(self.file)


def console_for(stream: TextIO, *, width: int | None = None) -> Console:
    """Make a console that prints text as it is: no markup, no highlighting, no emoji codes."""
    return _Console(
        file=stream, force_terminal=is_terminal(stream), markup=False, highlight=False, emoji=False, width=width
    )


def console_on(stream: TextIO) -> Console:
    """Print to a stream: on a terminal as wide as this is, elsewhere without an end."""
    return console_for(stream, width=None if is_terminal(stream) else _WIDE)
