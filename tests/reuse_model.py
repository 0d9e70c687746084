"""Records, and a driver that runs tasks in a model of the cloud: what the laws of reuse are tried on."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from pydag_gcp.decision import Decision, Verdict
from pydag_gcp.function import BranchTask
from pydag_gcp.planner import Plan
from pydag_gcp.record import Record, Success
from pydag_gcp.resources import Table
from pydag_gcp.reuse import Reuse
from pydag_gcp.scheduler import Scheduler
from pydag_gcp.selection import reach
from pydag_gcp.states import TaskState
from tests.reuse_cloud import RUNNING, Cloud, Contents, Step, name, perform

START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class InMemory:
    """Records by task, fingerprint and date, as the store keeps them."""

    records: dict[tuple[str, str, str], Record] = field(default_factory=dict)

    def matching(self, dag_id: str, target: str, wanted: Mapping[str, tuple[str, str]]) -> dict[str, Record]:
        found = {task_id: self.records.get((task_id, *key)) for task_id, key in wanted.items()}
        return {task_id: record for task_id, record in found.items() if record is not None}

    def newest(
        self, dag_id: str, target: str, task_ids: Iterable[str], *, date: str | None = None
    ) -> dict[str, Record]:
        ids, found = set(task_ids), dict[str, Record]()
        for record in sorted(self.records.values(), key=lambda record: record.at):
            stands = date in (None, record.date) or (not record.date and not record.accumulating)
            if record.task_id in ids and stands:
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
    #: (task, salt, value, date) of every addition to a table -> what it had read, see :meth:`Drive._as_it_counts`.
    added: dict[tuple[Any, ...], dict[Any, Any]] = field(default_factory=dict)
    #: (table, partition, task, date) -> when a task of an accumulating chain last wrote there.
    additions: dict[tuple[Any, ...], int] = field(default_factory=dict)
    #: Additions of what had just been added.
    doubled: list[tuple[Any, ...]] = field(default_factory=list)

    def adds(self, what: tuple[Any, ...], read: Mapping[Any, Any]) -> None:
        """Take note of an addition; what it does not read this time, as a branch was skipped, it has read before."""
        if what in self.added and read.items() <= self.added[what].items():
            self.doubled.append((*what, read))
        self.added.setdefault(what, {}).update(read)

    def replaces(self, task_id: str) -> None:
        """A task that may have added before belongs to a chain that replaces now: nothing is left of what it added."""
        self.additions = {what: tick for what, tick in self.additions.items() if what[2] != task_id}

    @property
    def now(self) -> datetime:
        return START + timedelta(minutes=self.minutes)

    def clock(self) -> datetime:
        self.minutes += 1
        return self.now


@dataclass
class Drive:
    """One run, which may crash and be resumed.

    Args:
        accumulates: Whether a task belongs to an accumulating chain.
        how_read: What tells whether something that a task reads is new: of what tasks before it ``made`` it, what these
            have ``added`` for the date, the ``news`` of all who wrote to just that; else whatever changes its version.
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
    started: datetime | None = None
    #: When tasks ended.
    moments: dict[str, datetime] = field(default_factory=dict)
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
        self.decisions = reuse.decide(dict(self.known), ended=dict(self.moments), since=self.started)
        self.started = self.started or world.now
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

    def written(self) -> set[str]:
        """The tables that tasks have written."""
        steps = [self.plan.tasks[task_id] for task_id in self.executed]
        return {name(step.into) for step in steps if isinstance(step, Step) and step.into is not None}

    def still_touches(self) -> set[str]:
        """The tables that tasks which have not ended read or write."""
        over = {task_id for task_id, *_ in self.ended}
        steps = [step for task_id, step in self.plan.tasks.items() if task_id not in over and isinstance(step, Step)]
        return {name(table) for step in steps for table in (*step.inputs, step.into) if table is not None}

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
            moments={task_id: moment for task_id, moment in self.moments.items() if task_id in over},
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
        self.moments.setdefault(task_id, self.world.now)
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
        reads = self._all_before(task_id) if step.blind else {}
        for table in (*step.inputs, *step.hidden):
            reads |= self._as_it_counts(task_id, table)
        if self.accumulates(task_id) and step.mode == "append":
            self.world.adds((task_id, step.salt, repr(value), self._date), reads)
        if self.accumulates(task_id) and step.mode != "create":
            self.world.additions[name(step.into), step.into.partition or "", task_id, self._date] = next(cloud.ticks)
        else:
            self.world.replaces(task_id)
            told = step.steady and (type(step).cached_by_default or step.cache) and (step.known or step.cache)
            cloud.made(step, [sorted(reads.items(), key=repr), value, "" if told else self.plan.run_id])
        if step.mode != "create" or name(step.into) not in cloud.tables:
            perform(cloud.tables, step, self.plan.run_id, value)
            cloud.touched(name(step.into), step.into.partition or "", self._date)

    @property
    def _date(self) -> datetime | None:
        return self.plan.context.logical_date if self.plan.dated else None

    def _as_it_counts(self, task_id: str, table: Table) -> dict[Any, Any]:
        """What decides whether the task reads something new, see ``how_read``."""
        cloud, how = self.world.cloud, self.how_read(task_id, table)
        before = [t for t in reach(self.plan.upstream[task_id], self.plan.upstream) if self.known.get(t) is not None]
        if how == "made":
            return cloud.trace(table, before)
        if how == "added":
            return {**cloud.trace(table, before), **self._additions(table, before)}
        if how == "news":
            return {table: cloud.news(table, self._date)}
        return {table: cloud.versions.get(name(table), cloud.gone.get(name(table)))}

    def _all_before(self, task_id: str) -> dict[Any, Any]:
        """Of what it reads it is only known that it comes from before it."""
        before = reach(self.plan.upstream[task_id], self.plan.upstream)
        steps = {t: self.plan.tasks[t] for t in before}
        return {t: self.known.get(t) for t, step in steps.items() if not (isinstance(step, Step) and step.starts)}

    def _additions(self, table: Table, tasks: Collection[str]) -> dict[Any, int]:
        """What these tasks have added to a table for this date: not what was added for others, nor by others."""
        return {
            (into, part, task): tick
            for (into, part, task, date), tick in self.world.additions.items()
            if (into, date) == (name(table), self._date) and task in tasks
            if not table.partition or part in ("", table.partition)
        }

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
