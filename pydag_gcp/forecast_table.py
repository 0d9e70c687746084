"""A forecast, for people: a table of what would become of each task, and what that would cost."""

from __future__ import annotations

from typing import TextIO

from rich.table import Table
from rich.text import Text

from pydag_gcp.board import name_some, one_line
from pydag_gcp.console import console_on
from pydag_gcp.decision import Verdict
from pydag_gcp.forecast import Forecast, TaskForecast
from pydag_gcp.size import written_size

_STYLES = {Verdict.RUN: "cyan", Verdict.CACHED: "green", Verdict.LATER: "yellow"}
#: A terminal of so many columns has room for words in the column of bytes.
_ROOMY = 140
#: Elsewhere a verdict takes no more than "decided at", so that there is room for reasons.
_NARROW = len("decided at")
#: A reason is not squeezed further than this: on a narrow terminal names are folded before it is.
_REASON = 24


def print_forecast(found: Forecast, stream: TextIO) -> None:
    """Print what a run would do.

    Args:
        found: The forecast.
        stream: Where to print. Off a terminal every task has one line.
    """
    console = console_on(stream)
    head = f"plan of {found.dag_id} on {found.target}, logical date {found.logical_date:%Y-%m-%dT%H:%M:%S}"
    console.print(head, soft_wrap=True)
    console.print()
    console.print(_table(found, roomy=console.width >= _ROOMY))
    console.print()
    console.print(_tally(found))
    if total := _total(found):
        console.print(total)


def dollars(price: float) -> str:
    """Write a price: a hundredth of a dollar at the least, if it is any."""
    return "<$0.01" if 0 < price < 0.005 else f"${price:,.2f}"


def _table(found: Forecast, *, roomy: bool) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("task", overflow="fold")
    table.add_column("decision", no_wrap=roomy, max_width=None if roomy else _NARROW)
    table.add_column("reason", overflow="fold", min_width=_REASON)
    priced = any(task.bytes is not None or task.unknown for task in found.tasks.values())
    if priced:
        table.add_column("bytes", justify="right", overflow="fold", no_wrap=not roomy)
        table.add_column("price", justify="right", no_wrap=True)
    for task_id, task in found.tasks.items():
        verdict = task.decision.verdict
        cells: list[str | Text] = [task_id, Text(verdict.value, _STYLES[verdict]), _reason(task, roomy=roomy)]
        table.add_row(*cells, *(_cost(found, task, roomy=roomy) if priced else ()))
    return table


def _reason(task: TaskForecast, *, roomy: bool) -> Text:
    reason = Text(one_line(task.decision.reason))
    if task.decision.record is not None:
        reason.append(f", from run {task.decision.record.success.run_id}")
    if task.unknown and not roomy:
        reason.append(f"\nbytes {one_line(task.unknown)}", "dim")
    return reason


def _cost(found: Forecast, task: TaskForecast, *, roomy: bool) -> tuple[str | Text, str]:
    if task.bytes is not None:
        return written_size(task.bytes), dollars(found.price(task.bytes))
    if task.unknown:
        return Text(one_line(task.unknown) if roomy else "unknown", "dim"), ""
    return "", ""


def _tally(found: Forecast) -> str:
    count = len(found.tasks)
    counts = [f"{number} {verdict.value}" for verdict in Verdict if (number := found.count(verdict))]
    return f"{count} task{'s' * (count != 1)}: {', '.join(counts)}"


def _total(found: Forecast) -> str:
    """Say what all queries cost together; nothing where none does."""
    if not any(task.bytes is not None or task.unknown for task in found.tasks.values()):
        return ""
    running, later = found.bytes_of(Verdict.RUN), found.bytes_of(Verdict.LATER)
    text = f"total: {written_size(running)}, {dollars(found.price(running))}"
    if later:
        text += f"; up to {written_size(later)}, {dollars(found.price(later))} more, decided at run time"
    return f"{text}; not known yet: {name_some(found.unknown)}" if found.unknown else text
