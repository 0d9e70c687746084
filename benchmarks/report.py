"""What a benchmark found: tables, targets, remarks; as text, Markdown and JSON."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a figure should not exceed.

    Attributes:
        what: Of what, in words.
        found: The figure.
        most: What it should not exceed.
        unit: Of both.
    """

    what: str
    found: float
    most: float
    unit: str = ""

    @property
    def met(self) -> bool:
        """Whether it does not."""
        return self.found <= self.most

    def cells(self) -> tuple[str, str, str, str]:
        """It as the row of a table."""
        return self.what, _figure(self.found, self.unit), _figure(self.most, self.unit), "yes" if self.met else "**no**"


@dataclass(frozen=True, kw_only=True)
class Table:
    """Figures, laid out."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """It in Markdown, without the title."""
        head = [self.columns, tuple("---" if not i else "--:" for i in range(len(self.columns)))]
        return "\n".join(f"| {' | '.join(row)} |" for row in [*head, *self.rows])

    def text(self) -> str:
        """It with columns in line, for a terminal."""
        rows = [self.columns, *self.rows]
        widths = [max(len(row[i]) for row in rows) for i in range(len(self.columns))]
        cells = (
            [f"{c:<{w}}" if not i else f"{c:>{w}}" for i, (c, w) in enumerate(zip(r, widths, strict=True))]
            for r in rows
        )
        return "\n".join([self.title, *("  " + "  ".join(row).rstrip() for row in cells)])


@dataclass(frozen=True, kw_only=True)
class Report:
    """What one benchmark found.

    Attributes:
        part: Its name, that of its script.
        title: What it measures.
        method: How, in one paragraph of Markdown.
        tables: What it found.
        targets: What should hold.
        notes: What one should know to read the figures.
        samples: Every measurement, by name.
        quick: Whether it was run only to see that it works.
        began: When.
        took: Seconds that it all took.
    """

    part: str
    title: str
    method: str
    tables: Sequence[Table]
    targets: Sequence[Target] = ()
    notes: Sequence[str] = ()
    samples: Mapping[str, Sequence[float]] = field(default_factory=dict)
    quick: bool = False
    began: str = ""
    took: float = 0.0

    def text(self) -> str:
        """It for a terminal."""
        parts = [table.text() for table in self.tables]
        if self.targets:
            parts.append(targets_table(self.targets).text().replace("**", ""))
        return "\n\n".join([*parts, *(f"- {note}" for note in self.notes)])

    def to_json(self) -> dict[str, Any]:
        """What :meth:`from_json` reads."""
        return asdict(self)

    @staticmethod
    def from_json(found: Mapping[str, Any]) -> Report:
        """Read what :meth:`to_json` made."""
        tables = [
            Table(title=t["title"], columns=tuple(t["columns"]), rows=tuple(tuple(row) for row in t["rows"]))
            for t in found["tables"]
        ]
        return Report(**{**found, "tables": tables, "targets": [Target(**target) for target in found["targets"]]})


def targets_table(targets: Sequence[Target]) -> Table:
    """Lay out targets."""
    columns = ("target", "found", "at most", "met")
    return Table(title="Targets", columns=columns, rows=tuple(target.cells() for target in targets))


def progress(message: str) -> None:
    """Tell whoever waits what is being done."""
    print(f"  {message}", file=sys.stderr, flush=True)


def main(measure: Callable[[bool], Report], description: str | None) -> None:
    """Be a benchmark's command: measure, print, and write JSON where it is asked for.

    Args:
        measure: Makes the report; True: quickly, to see that it works.
        description: The docstring of the script.
    """
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few and small: to see that it works, not to measure")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report here, too")
    args = parser.parse_args()
    at, began = datetime.now(UTC), time.perf_counter()
    report = measure(args.quick)
    # What the targets are about is not measured quickly.
    report = replace(report, targets=() if args.quick else report.targets)
    report = replace(report, quick=args.quick, began=f"{at:%Y-%m-%d %H:%M} UTC", took=time.perf_counter() - began)
    print(report.text())
    if args.json is not None:
        args.json.write_text(json.dumps(report.to_json(), indent=1) + "\n", encoding="utf-8")


def _figure(value: float, unit: str) -> str:
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f} {unit}".rstrip()
