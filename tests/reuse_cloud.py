"""A model of the cloud, and of tasks in it.

Tables are rows by partition, with a version that every write changes. A row says which task wrote it, as what, and what
that had read: so two tables are equal only if they were made in the same way of the same data.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

from pydag_gcp.operator import Context, Operator
from pydag_gcp.resources import MISSING, Cluster, Resource, Table, Version
from pydag_gcp.runtime_value import Param

P = "acme-1.d"
Contents = dict[str, dict[str, list[Any]]]


class Step(Operator):
    """Replaces or adds to a table, from what it reads; or makes sure that it is there."""

    inputs: tuple[Table, ...] = ()
    into: Table | None = None
    mode: str = "replace"
    salt: str = ""
    steady: bool = True
    known: bool = True
    blind: bool = False
    hidden: tuple[Table, ...] = ()
    needs: Cluster | None = None
    starts: Cluster | None = None
    value: Param[Any] = None

    def reads(self, ctx: Context) -> frozenset[Resource] | None:
        return frozenset(self.inputs) if self.known and not self.blind else None

    def writes(self, ctx: Context) -> frozenset[Resource] | None:
        return frozenset({x for x in (self.into, self.starts) if x is not None}) if self.known else None

    def uses(self, ctx: Context) -> frozenset[Resource]:
        return frozenset() if self.needs is None else frozenset({self.needs})

    def replaces(self, ctx: Context) -> frozenset[Resource]:
        return frozenset({self.into}) if self.into and self.mode == "replace" and self.known else frozenset()

    def shapes(self, ctx: Context) -> frozenset[Resource]:
        return frozenset({self.into}) if self.into and self.mode == "create" else frozenset()

    def deterministic(self, ctx: Context) -> bool:
        return self.steady

    def fulfilled(self, ctx: Context) -> bool:
        return str(self.starts) in RUNNING

    def execute(self, ctx: Context) -> Any:
        raise NotImplementedError


class Plain(Step):
    """The same, but never cached unless it says so."""

    cached_by_default: ClassVar[bool] = False


#: The clusters that run.
RUNNING: set[str] = set()


@dataclass
class Cloud:
    """Tables by name: their rows by partition, and a version that every write changes."""

    tables: Contents = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    ticks: Any = field(default_factory=lambda: itertools.count(1))
    #: When tables were dropped.
    gone: dict[str, int] = field(default_factory=dict)
    #: Table -> partition and task -> of what that task made it: of the versions of data from outside.
    traces: dict[str, dict[tuple[str, str], str]] = field(default_factory=dict)
    #: Table -> partition, and the logical date of the run that wrote to it -> when one did last.
    written: dict[str, dict[tuple[str, datetime | None], int]] = field(default_factory=dict)

    def of(self, resources: Iterable[Resource]) -> Mapping[Resource, Version]:
        return {r: str(self.versions[name(r)]) if name(r) in self.versions else MISSING for r in resources}

    def touched(self, table: str, part: str = "", date: datetime | None = None) -> None:
        self.versions[table] = next(self.ticks)
        self.written.setdefault(table, {})[part, date] = self.versions[table]

    def modify(self, table: str, row: Any) -> None:
        """Somebody else adds a row."""
        self.tables.setdefault(table, {}).setdefault("", []).append(("foreign", row))
        self.touched(table)

    def trace(self, table: Table, tasks: Collection[str]) -> dict[Any, str]:
        """Of what each of these tasks made a table, or a partition of it, since that was last replaced as a whole."""
        found = self.traces.get(name(table), {})
        return {
            (name(table), part, task): one
            for (part, task), one in found.items()
            if task in tasks and (not table.partition or part in ("", table.partition))
        }

    def news(self, table: Table, date: datetime | None) -> int:
        """When somebody wrote to a table, or a partition of it, last.

        Of what runs of another date do to other partitions it cannot be told that it does not change this one.
        """
        found = self.written.get(name(table), {}).items()
        ticks = (tick for (part, of), tick in found if part in ("", table.partition or part) or of != date)
        return max(0, self.gone.get(name(table), 0), *ticks)

    def made(self, step: Step, reads: Any) -> None:
        """A task has written a table: note of what."""
        if step.into is None or step.mode == "create":
            return
        found, part = self.traces.setdefault(name(step.into), {}), step.into.partition or ""
        if step.mode == "replace" and not part:
            found.clear()
        found[part, step.task_id] = digest([step.salt, reads])

    def drop(self, table: str) -> None:
        self.tables.pop(table, None)
        self.gone[table] = next(self.ticks)
        self.versions.pop(table, None)
        self.traces.pop(table, None)


def name(resource: Resource) -> str:
    return str(resource).partition("$")[0]


def content(tables: Contents, resource: Table) -> Any:
    """What a table or a partition of it holds."""
    rows = tables.get(name(resource))
    if rows is None and not resource.partition:
        return None
    rows = rows or {}
    if resource.partition:
        rows = {resource.partition: rows.get(resource.partition, [])}
    return sorted(repr((part, row)) for part, all_rows in rows.items() for row in all_rows)


def digest(value: Any) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:10]


def perform(tables: Contents, step: Step, run_id: str, value: Any) -> None:
    """What a task does to the tables."""
    if step.into is None:
        return
    read = digest([content(tables, table) for table in (*step.inputs, *step.hidden)])
    row = (step.task_id, step.salt, read, value, "" if step.steady else run_id)
    rows = tables.setdefault(name(step.into), {})
    part = step.into.partition or ""
    if step.mode == "replace" and step.into.partition:
        rows[part] = [row]
    elif step.mode == "replace":
        tables[name(step.into)] = {"": [row]}
    elif step.mode == "append":
        rows.setdefault(part, []).append(row)
