"""What a rehearsal came to, for people and as a document."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pydag_gcp.board import duration
from pydag_gcp.console import console_on
from pydag_gcp.rehearsal.boundary import Boundary
from pydag_gcp.rehearsal.disturbance import DISTURBANCES, Disturbance
from pydag_gcp.rehearsal.rehearser import Rehearsal, Round
from pydag_gcp.streams import is_terminal, speaks_unicode

#: Most differences of one round that are listed.
_MOST = 5


def print_round(played: Round, number: int, of: int, stream: TextIO) -> None:
    """Say what came of one round, in a line."""
    came_of_it = played.differences[0] if played.differences else "the same" if played.reached else "not reached"
    line = f"round {number} of {of}: {played.boundary}, {played.disturbance.meaning}: {came_of_it}"
    if is_terminal(stream):  # what went well is written over
        width = shutil.get_terminal_size().columns - 1
        line = f"\r\x1b[2K{line}\n" if played.differences else f"\r\x1b[2K{line[:width]}"
        stream.write(line)
    else:
        stream.write(f"{line}\n")
    stream.flush()


def print_report(rehearsal: Rehearsal, stream: TextIO) -> None:
    """Print the table of boundaries and disturbances, what differs, and the verdict."""
    console = console_on(stream)
    signs = _Signs(unicode=speaks_unicode(stream))
    console.print()
    console.print(_table(rehearsal, signs))
    console.print(Text(signs.legend, "dim"))
    for warning in rehearsal.warnings:
        console.print(Text(f"warning: {warning}", "yellow"))
    for played in rehearsal.differing:
        _print_differences(console, played)
    console.print(Text(verdict(rehearsal), "bold red" if rehearsal.differing else "bold green"))


def verdict(rehearsal: Rehearsal) -> str:
    """Say in one line whether the pipeline can be trusted."""
    rounds, differing = len(rehearsal.rounds), len(rehearsal.differing)
    what = f"{rehearsal.dag_id}: {rounds} rounds at {len(rehearsal.boundaries)} calls in {duration(rehearsal.seconds)}"
    missed = sum(not played.reached for played in rehearsal.rounds)
    note = f", {missed} not reached" if missed else ""
    if differing:
        return f"{what}{note}: {differing} did not come to what an undisturbed run comes to"
    return f"{what}{note}: each came to what an undisturbed run comes to"


def to_json(rehearsal: Rehearsal) -> dict[str, Any]:
    """Return the document of ``--json``."""
    return {
        "dag_id": rehearsal.dag_id,
        "rounds": [
            {
                "call": played.boundary.kind,
                "about": played.boundary.about,
                "disturbance": played.disturbance.name,
                "reached": played.reached,
                "differences": list(played.differences),
            }
            for played in rehearsal.rounds
        ],
        "differing": len(rehearsal.differing),
        "warnings": list(rehearsal.warnings),
        "seconds": round(rehearsal.seconds, 3),
        "verdict": verdict(rehearsal),
    }


class _Signs:
    """What a cell holds."""

    def __init__(self, *, unicode: bool) -> None:
        self.good, self.bad, self.same = ("✓", "✗", "·") if unicode else ("ok", "X", ".")
        self.legend = (
            f"{self.good} as undisturbed  {self.bad} different  {self.same} for this call the same as another column  "
            "? not reached"
        )

    def of(self, played: Round | None, *, meant: bool) -> Text:
        if played is None:
            return Text("" if meant else self.same, "dim")
        if played.differences:
            return Text(self.bad, "bold red")
        return Text(self.good, "green") if played.reached else Text("?", "yellow")


def _table(rehearsal: Rehearsal, signs: _Signs) -> Table:
    played: Mapping[tuple[Boundary, Disturbance], Round] = {
        (found.boundary, found.disturbance): found for found in rehearsal.rounds
    }
    table = Table("task or resource", "call", box=None, pad_edge=False, header_style="bold")
    for disturbance in DISTURBANCES:
        table.add_column(disturbance.title, justify="center", no_wrap=True)
    above = None
    for boundary in rehearsal.boundaries:
        cells = [
            signs.of(played.get((boundary, disturbance)), meant=disturbance.differs_at(boundary))
            for disturbance in DISTURBANCES
        ]
        table.add_row(Text("" if boundary.about == above else boundary.about), Text(boundary.kind), *cells)
        above = boundary.about
    return table


def _print_differences(console: Console, played: Round) -> None:
    console.print(Text(f"{played.boundary}, {played.disturbance.meaning}:", "red"))
    for difference in played.differences[:_MOST]:
        console.print(Text(f"  {difference}"))
    if len(played.differences) > _MOST:
        console.print(Text(f"  ... and {len(played.differences) - _MOST} more"))
