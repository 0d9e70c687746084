"""What earlier runs recorded, for people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TextIO

from rich.table import Table

from pydag_gcp.board import duration
from pydag_gcp.console import console_on
from pydag_gcp.record import Record


def list_records(records: Sequence[Record], now: datetime, stream: TextIO) -> None:
    """Print a table of records.

    Args:
        records: The records.
        now: What those that expire are compared with.
        stream: Where to print.
    """
    console = console_on(stream)
    if not records:
        console.print("nothing is recorded")
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("dag", "task", "target", "succeeded", "run", "logical date", "reused"):
        table.add_column(column, overflow="fold", no_wrap=column == "run")
    for record in records:
        table.add_row(
            record.dag_id,
            record.task_id,
            record.target,
            f"{record.at.astimezone():%Y-%m-%d %H:%M:%S}",
            record.success.run_id,
            f"{datetime.fromisoformat(record.date):%Y-%m-%dT%H:%M:%S}" if record.date else "",
            _reuse_of(record, now),
        )
    console.print(table)


def _reuse_of(record: Record, now: datetime) -> str:
    """Say for how long a record stands for its task, as long as nothing changes."""
    if record.accumulating:
        return "always: it adds rows"
    if record.expires is None:
        return "until something changes"
    left = (record.expires - now).total_seconds()
    return f"for {duration(left)}" if left > 0 else f"expired {duration(-left)} ago"
