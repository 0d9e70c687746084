"""A model of the cloud, of tasks in it, and of a driver that runs them: what the laws of reuse are tried on.

Tables are rows by partition, with a version that every write changes. A row says which task wrote it, as what, and what
that had read: so two tables are equal only if they were made in the same way of the same data.
"""

from __future__ import annotations

import copy
import hashlib
import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from pydag_gcp.decision import Decision, Verdict
from pydag_gcp.function import BranchTask
from pydag_gcp.operator import Context, Operator
from pydag_gcp.planner import Plan
from pydag_gcp.record import Record, Success
from pydag_gcp.resources import MISSING, Cluster, Resource, Table, Version
from pydag_gcp.reuse import Reuse
from pydag_gcp.runtime_value import Param
from pydag_gcp.scheduler import Scheduler
from pydag_gcp.states import TaskState

P = "acme-1.d"
START = datetime(2026, 1, 1, tzinfo=UTC)
Contents = dict[str, dict[str, list[Any]]]


class Step(Operator):
    """Replaces or adds to a table, from what it reads; or makes sure that it is there."""

    inputs: tuple[Table, ...] = ()
    into: Table | None = None
    mode: str = "replace"
    salt: str = ""
    steady: bool = True
    known: bool = True
    hidden: tuple[Table, ...] = ()
    needs: Cluster | None = None
    starts: Cluster | None = None
    value: Param[Any] = None

    def reads(self, ctx: Context) -> frozenset[Resource] | None:
        return frozenset(self.inputs) if self.known else None

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
    #: Table -> partition -> of what it was made: of the versions of data from outside.
    traces: dict[str, dict[str, str]] = field(default_factory=dict)

    def of(self, resources: Iterable[Resource]) -> Mapping[Resource, Version]:
        return {r: str(self.versions[name(r)]) if name(r) in self.versions else MISSING for r in resources}

    def touched(self, table: str) -> None:
        self.versions[table] = next(self.ticks)

    def modify(self, table: str, row: Any) -> None:
        """Somebody else adds a row."""
        self.tables.setdefault(table, {}).setdefault("", []).append(("foreign", row))
        self.touched(table)
        self.traces.setdefault(table, {})[""] = digest([self.traces.get(table), row])

    def trace(self, table: Table) -> Any:
        """Of what a table, or a partition of it, was made."""
        found = self.traces.get(name(table))
        if found is None:
            return f"missing since {self.gone.get(name(table))}"
        return sorted((part, one) for part, one in found.items() if part in ("", table.partition or part))

    def made(self, step: Step, reads: Any) -> None:
        """A task has written a table: note of what."""
        if step.into is None or step.mode == "create":
            self.traces.setdefault(name(step.into), {}) if step.into else None
            return
        found, part = self.traces.setdefault(name(step.into), {}), step.into.partition or ""
        if step.mode == "replace" and not part:
            found.clear()
        older = found.get(part) if step.mode == "append" else None
        found[part] = digest([older, step.task_id, step.salt, reads])

    def drop(self, table: str) -> None:
        self.tables.pop(table, None)
        self.gone[table] = next(self.ticks)
        self.versions.pop(table, None)
        self.traces.pop(table, None)


def name(resource: Resource) -> str:
    return str(resource).partition("$")[0]


def content(tables: Contents, resource: Table, *, without: str = "") -> Any:
    """What a table or a partition of it holds."""
    rows = tables.get(name(resource))
    if rows is None and not resource.partition:
        return None
    rows = rows or {}
    if resource.partition:
        rows = {resource.partition: rows.get(resource.partition, [])}
    return sorted(repr((part, row)) for part, all_rows in rows.items() for row in all_rows if row[0] != without)


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


@dataclass
class InMemory:
    """Records by task, fingerprint and date, as the store keeps them."""

    records: dict[tuple[str, str, str], Record] = field(default_factory=dict)

    def matching(self, dag_id: str, target: str, wanted: Mapping[str, tuple[str, str]]) -> dict[str, Record]:
        found = {task_id: self.records.get((task_id, *key)) for task_id, key in wanted.items()}
        return {task_id: record for task_id, record in found.items() if record is not None}

    def newest(self, dag_id: str, target: str, task_ids: Iterable[str]) -> dict[str, Record]:
        ids, found = set(task_ids), dict[str, Record]()
        for record in sorted(self.records.values(), key=lambda record: record.at):
            if record.task_id in ids:
                found[record.task_id] = record
        return found

    def put(self, records: Iterable[Record]) -> None:
        for record in records:
            again = Record.from_json(record.to_json())
            self.records[record.task_id, record.fingerprint, record.date] = again

    def all(self, *, dag_id: str | None = None, target: str | None = None) -> list[Record]:
        return list(self.records.values())

    def clear(self, **_: Any) -> int:
        return 0


class Crash(Exception):
    """The driver is killed."""


@dataclass
class World:
    """The cloud, what is recorded, the time, and what was executed."""

    cloud: Cloud = field(default_factory=Cloud)
    records: InMemory = field(default_factory=InMemory)
    minutes: int = 0
    picks: dict[str, str] = field(default_factory=dict)
    #: (task, salt, value, date) of every addition to a table -> what it had read the last time.
    added: dict[tuple[Any, ...], str] = field(default_factory=dict)
    #: Additions of what had just been added.
    doubled: list[tuple[Any, ...]] = field(default_factory=list)

    def adds(self, what: tuple[Any, ...], read: str) -> None:
        """Take note of an addition."""
        if self.added.get(what) == read:
            self.doubled.append((*what, read))
        self.added[what] = read

    def clock(self) -> datetime:
        self.minutes += 1
        return START + timedelta(minutes=self.minutes)


@dataclass
class Drive:
    """One run, which may crash and be resumed.

    Args:
        accumulates: Whether a task belongs to an accumulating chain.
        how_read: Whether tasks before it make what a task reads (``made``), its own chain does (``own``), or neither.
        fate: Told the task and the moment (``start``, ``effect``, ``record``); may raise Crash, or say ``fail``.
    """

    world: World
    plan: Plan
    fate: Callable[[str, str], str | None] = lambda task_id, moment: None
    ended: list[tuple[str, TaskState, tuple[str, ...]]] = field(default_factory=list)
    known: dict[str, Success | None] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    executed: list[str] = field(default_factory=list)
    decisions: dict[str, Decision] = field(default_factory=dict)
    #: What was decided before anything started.
    first: dict[str, Verdict] = field(default_factory=dict)
    open: dict[str, Mapping[str, str | None]] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)
    abandoned: bool = False
    warnings: list[str] = field(default_factory=list)
    number: int = 1
    accumulates: Callable[[str], bool] = lambda task_id: False
    how_read: Callable[[str, Table], str] = lambda task_id, table: "made"

    def go(self) -> bool:
        """Run to the end, from where it stands; tell whether every task ended well."""
        context = replace(self.plan.context, outputs=self.results.get)
        planned = replace(self.plan, context=context)
        world = self.world
        reuse = Reuse(planned, world.records, world.cloud, cache=planned.cache, clock=world.clock)
        for task_id, reads in self.open.items():
            reuse.restore(task_id, reads)
        self.decisions = reuse.decide()
        self.first = {task_id: decision.verdict for task_id, decision in self.decisions.items()}
        self.warnings = list(reuse.warnings)
        scheduler = self._replayed()
        over = {task_id for task_id, *_ in self.ended}
        taken = [task_id for task_id, state, _ in self.ended if state is TaskState.CACHED]
        changed = [task_id for task_id in taken if self.decisions[task_id].verdict is Verdict.RUN]
        mates = {other for task_id in changed for other in reuse.made_with(task_id)} - over
        if any(self.decisions[task_id].verdict is not Verdict.CACHED for task_id in mates):
            self.abandoned = True  # what would be written over no longer holds: the run cannot go on
        while not self.abandoned and (ready := scheduler.ready()) is not None:
            scheduler.start(ready)
            self._one(ready, reuse, scheduler)
        if not self.abandoned:
            world.records.put(reuse.finish(dict(self.known)))
        else:
            for task_id in [t for t in self.open if t in self.done]:
                self._record(task_id, reuse)
        return not self.abandoned and all(
            state not in (TaskState.FAILED, TaskState.UPSTREAM_FAILED) for _, state, _ in self.ended
        )

    def again(self, plan: Plan) -> Drive | None:
        """The same run with what had failed tried again, as ``run --retry-failed``; None: what has ended hangs on that.

        Args:
            plan: Of the pipeline as it now stands: the same run, tasks and edges.
        """
        ended = [one for one in self.ended if one[1] in (TaskState.SUCCESS, TaskState.CACHED)]
        over = {task_id for task_id, *_ in ended}
        if any(not over.issuperset(plan.upstream[task_id]) for task_id in over):
            return None
        return replace(
            self,
            plan=plan,
            fate=lambda task_id, moment: None,
            ended=ended,
            known={task_id: success for task_id, success in self.known.items() if task_id in over},
            executed=[],
            done=set(),
            number=self.number + 1,
        )

    def settle(self) -> None:
        """Another run comes first: what this one had begun is waited for, and recorded."""
        planned = replace(self.plan, context=replace(self.plan.context, outputs=self.results.get))
        reuse = Reuse(planned, self.world.records, self.world.cloud, cache=planned.cache, clock=self.world.clock)
        for task_id, reads in self.open.items():
            reuse.restore(task_id, reads)
        for task_id in [task_id for task_id in self.open if task_id in self.done]:
            self._record(task_id, reuse)

    def _replayed(self) -> Scheduler:
        scheduler = Scheduler(self.plan.upstream, rules=self.plan.rules, teardowns=self.plan.teardowns)
        replay, self.ended = self.ended, []
        for task_id, state, skip in replay:
            if state in (TaskState.SUCCESS, TaskState.CACHED, TaskState.FAILED):
                while scheduler.ready() != task_id:
                    scheduler.start(scheduler.ready() or "")
                scheduler.start(task_id)
                self._end(task_id, state, skip, scheduler)
        return self._fresh(scheduler)

    def _fresh(self, scheduler: Scheduler) -> Scheduler:
        """Tasks that were only ready, not ended, are ready again."""
        gone = {task_id for task_id, _, _ in self.ended}
        for task_id in self.plan.tasks:
            if task_id not in gone and scheduler._nodes[task_id].state is TaskState.RUNNING:
                scheduler.again(task_id)
        return scheduler

    def _end(self, task_id: str, state: TaskState, skip: tuple[str, ...], scheduler: Scheduler) -> None:
        self.ended.append((task_id, state, skip))
        if state is TaskState.FAILED:
            self.known[task_id] = None
        for other, outcome in scheduler.finish(task_id, state, skip):
            self.ended.append((other, outcome, ()))
            self.known[other] = None

    def _one(self, task_id: str, reuse: Reuse, scheduler: Scheduler) -> None:
        begun = task_id in self.open
        decision = self.decisions[task_id]
        if decision.verdict is Verdict.LATER and not begun:
            decision = self.decisions[task_id] = reuse.decide_now(task_id, dict(self.known))
            assert decision.verdict is not Verdict.LATER
        if decision.verdict is Verdict.CACHED and not begun:
            record = decision.record
            self.known[task_id] = record.success if record else Success(run_id="service", try_number=0)
            self.results[task_id] = record.result if record else None
            self._end(task_id, TaskState.CACHED, self._skipped(task_id), scheduler)
            return
        if not begun:
            self.open[task_id] = dict(reuse.before(task_id))
        if self.fate(task_id, "start") == "fail" and task_id not in self.done:
            del self.open[task_id]
            self._end(task_id, TaskState.FAILED, (), scheduler)
            return
        if task_id not in self.done:
            self._perform(task_id)
            self.fate(task_id, "effect")
        self._record(task_id, reuse)
        self._end(task_id, TaskState.SUCCESS, self._skipped(task_id), scheduler)
        self.fate(task_id, "record")

    def _skipped(self, task_id: str) -> tuple[str, ...]:
        if not isinstance(self.plan.tasks[task_id], BranchTask):
            return ()
        return tuple(self.plan.branches.not_picked(task_id, self.results[task_id]))

    def _perform(self, task_id: str) -> None:
        self.executed.append(task_id)
        self.done.add(task_id)
        step = self.plan.tasks[task_id]
        if isinstance(step, BranchTask):
            choices = self.plan.branches.choices(task_id)
            self.results[task_id] = [self.world.picks.get(task_id, choices[0])] if choices else []
            return
        assert isinstance(step, Step)
        value = step.resolved(replace(self.plan.context, outputs=self.results.get)).value
        self.results[task_id] = step.salt
        if step.starts is not None:
            RUNNING.add(str(step.starts))
        if step.into is None:
            return
        cloud = self.world.cloud
        reads = [self._as_it_counts(task_id, table) for table in (*step.inputs, *step.hidden)]
        if self.accumulates(task_id) and step.mode == "append":
            date = self.plan.context.logical_date if self.plan.dated else None
            self.world.adds((task_id, step.salt, repr(value), date), digest(reads))
        told = step.steady and (type(step).cached_by_default or step.cache) and (step.known or step.cache)
        cloud.made(step, [reads, value, "" if told else self.plan.run_id])
        if step.mode != "create" or name(step.into) not in cloud.tables:
            perform(cloud.tables, step, self.plan.run_id, value)
            cloud.touched(name(step.into))

    def _as_it_counts(self, task_id: str, table: Table) -> Any:
        """Of what tasks before it make, that of what they made it; of all else the version."""
        cloud, how = self.world.cloud, self.how_read(task_id, table)
        if how == "own":
            ran = [t for t in self.executed if t != task_id and self._adds_rows_to(t, name(table))]
            return content(cloud.tables, Table(name(table)), without=task_id), ran and self.plan.run_id
        if how == "made":
            return cloud.trace(table)
        return cloud.versions.get(name(table), cloud.gone.get(name(table)))

    def _adds_rows_to(self, task_id: str, table: str) -> bool:
        step = self.plan.tasks[task_id]
        return isinstance(step, Step) and step.into is not None and name(step.into) == table and step.mode != "create"

    def _record(self, task_id: str, reuse: Reuse) -> None:
        if reuse.needs_observation(task_id):
            self.world.records.put(reuse.record(task_id, self.number, self.results.get(task_id), dict(self.known)))
        else:
            assert reuse.record(task_id, self.number, None, dict(self.known)) == ()
        self.known[task_id] = Success(run_id=self.plan.run_id, try_number=self.number)
        del self.open[task_id]


def from_scratch(before: Contents, drive: Drive) -> Contents:
    """What the tables would hold, had every task run that was not skipped; only additions are made as they were."""
    tables = copy.deepcopy(before)
    for task_id, state, _ in drive.ended:
        step = drive.plan.tasks[task_id]
        if state not in (TaskState.SUCCESS, TaskState.CACHED) or not isinstance(step, Step):
            continue
        if drive.accumulates(task_id) and task_id not in drive.executed:
            continue
        if step.mode != "create" or (step.into and name(step.into) not in tables):
            value = step.resolved(replace(drive.plan.context, outputs=drive.results.get)).value
            perform(tables, step, drive.plan.run_id, value)
    return tables
