"""Who holds and who waits for processors, for people: a table, drawn once or again and again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TextIO

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pydag_gcp.board import duration, one_line
from pydag_gcp.console import console_for, console_on
from pydag_gcp.pool_census import Census, Resident, Wait

#: Seconds between two looks.
INTERVAL = 0.5


def print_census(census: Census, stream: TextIO) -> None:
    """Print who is in the pool."""
    console_on(stream).print(_drawn(census, datetime.now(UTC), None))


def follow(look: Callable[[], Census], stream: TextIO) -> None:
    """Draw who is in the pool again and again, on a terminal, until Ctrl-C."""
    frame = _Frame(look())
    try:
        with Live(frame, console=console_for(stream), screen=True, auto_refresh=False) as live:
            while True:
                live.refresh()
                time.sleep(INTERVAL)
                frame.census = look()
    except KeyboardInterrupt:
        return


class _Frame:
    """The whole screen."""

    def __init__(self, census: Census) -> None:
        self.census = census

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield _drawn(self.census, datetime.now(UTC), max(options.size.height - 4, 1))


def _drawn(census: Census, now: datetime, rows: int | None) -> Group | Text:
    """The head and the table, of which at most so many rows are shown."""
    if census.size is None or not census.runs:
        return Text("no run is in the pool of processors")
    waiting = f", {_count(census.waiting, 'task')} {'waits' if census.waiting == 1 else 'wait'}"
    head = f"{census.held} of {_count(census.size, 'processor')} held by {_count(len(census.runs), 'run')}"
    shown = census.runs[:rows]
    hidden = len(census.runs) - len(shown)
    foot = [Text(f"and {_count(hidden, 'run')} more", style="dim")] if hidden else []
    return Group(Text(head + (waiting if census.waiting else "")), _table(shown, now), *foot)


def _table(runs: Sequence[Resident], now: datetime) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("pipeline", "run"):
        table.add_column(column, no_wrap=True)
    for column in ("pid", "weight", "held"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("waits", overflow="fold")
    table.add_column("runs for", justify="right", no_wrap=True)
    for run in runs:
        table.add_row(
            one_line(run.dag_id),
            one_line(run.run_id),
            str(run.pid),
            f"{run.weight:g}",
            f"{run.held} of {run.most}",
            Text(_waits(run), style="yellow" if run.waits else ""),
            duration((now - run.since).total_seconds()),
        )
    return table


def _waits(run: Resident) -> str:
    return "; ".join([*map(_wait, run.waits), *(["stopped"] if run.stopped else [])])


def _wait(wait: Wait) -> str:
    slots = f" of {wait.slots} processors" if wait.slots > 1 else ""
    reserved = ", next" if wait.reserved else ""
    return f"{_count(wait.tasks, 'task')}{slots} for {duration(wait.seconds)}{reserved}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
