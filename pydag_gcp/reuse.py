"""Which tasks of a plan need not run: the decisions of :mod:`.decider`, with the cloud and the records behind them.

:mod:`.lineage` says what binds the tasks, :mod:`.findings` what is known of each, :mod:`.recorder` what they read and
wrote. This is what the executor and ``pydag plan`` use of all that. None of it is imported for a run in which nothing
can be cached.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING

from pydag_gcp import reasons
from pydag_gcp.access import access_of
from pydag_gcp.decision import Decision, Verdict, may_be_cached
from pydag_gcp.function import BranchTask
from pydag_gcp.record import Record, Records, Success
from pydag_gcp.resources import Resource, Version, resource_key
from pydag_gcp.retry import asking_again
from pydag_gcp.selection import of_kind
from pydag_gcp.teardown import rules_of

if TYPE_CHECKING:
    from pydag_gcp.chains import Chain
    from pydag_gcp.findings import Findings
    from pydag_gcp.judgement import Facts
    from pydag_gcp.lineage import Lineage
    from pydag_gcp.operator import Json
    from pydag_gcp.planner import Plan
    from pydag_gcp.recorder import Known, Recorder, Versions

#: What is decided about most tasks of a run in which nothing can be cached.
_RUNS = Decision(verdict=Verdict.RUN, reason=reasons.NEVER_CACHED)
#: Of a run that begins, no task has ended.
_NOTHING: Mapping[str, datetime] = MappingProxyType({})


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Reuse:
    """Decides, for one run, which tasks run and which are cached, and makes the records of those that ran.

    One call at a time, from any thread; only :meth:`before` and :meth:`needs_observation` may come in between.

    Args:
        plan: What the run would do. What its tasks have in buckets has been read before the first call.
        records: Of earlier runs.
        versions: Of what tasks read and wrote.
        cache: False: every task runs, save for members of accumulating chains that have nothing new to add.
        clock: Tells the time.
    """

    def __init__(
        self,
        plan: Plan,
        records: Records,
        versions: Versions,
        *,
        cache: bool = True,
        clock: Callable[[], datetime] = _utc_now,
    ) -> None:
        #: What the author should know: ``table x was modified outside; its rows are left alone``.
        self.warnings: list[str] = []
        self._plan, self._records, self._versions = plan, records, versions
        self._cache, self._clock = cache, clock
        self._decisions: dict[str, Decision] = {}
        self._ended = _NOTHING

    @cached_property
    def idle(self) -> bool:
        """Whether no task is worth looking at: all of them run, nothing is recorded, and nobody is asked anything."""
        return not any(map(may_be_cached, self._plan.tasks.values()))

    def decide(
        self, known: Known | None = None, *, ended: Mapping[str, datetime] = _NOTHING, since: datetime | None = None
    ) -> dict[str, Decision]:
        """Decide about all tasks. Asks nobody if every task is one that always runs.

        Args:
            known: The current successes of tasks of a run that goes on.
            ended: When those of its tasks ended that have.
            since: When it was begun: as of then it is decided how old a record may be.

        Raises:
            TargetUnreachable: The cloud is silent.
            DefinitionError: A recorded result cannot be used, and its task cannot run again without adding rows twice.
        """
        if self.idle:
            decisions = dict.fromkeys(self._plan.tasks, _RUNS)
            for task_id in (*self._plan.requested, *self._plan.teardowns):
                decisions[task_id] = self._always(task_id)
            return decisions
        from pydag_gcp import decider

        self._ended = ended
        facts = self._findings.beforehand()
        found = (record for one in facts.values() for record in (one.newest, one.last, one.record))
        self._recorder.recall(filter(None, found))
        versions = self._recorder.see(self._lineage.order, {})
        stands = {t for t in ended if t in facts and self._stands(t, facts[t], (known or {}).get(t))}
        now = since or self._clock()
        self._decisions = decider.decide(self._lineage, facts, versions, now=now, stands=stands)
        for task_id, decision in self._decisions.items():
            if decision.record is not None:
                self._recorder.holds(decision.record)
            self._decisions[task_id] = self._unless_there(task_id, decision)
        self.warnings += self._modified(versions)
        return dict(self._decisions)

    def decide_now(self, task_id: str, known: Known) -> Decision:
        """Decide about a task that was left for later: RUN or CACHED.

        Args:
            task_id: :meth:`decide` left it open, and all its upstreams have ended.
            known: At least its ancestors that have ended.

        Raises:
            TargetUnreachable: The cloud is silent.
            DefinitionError: As of :meth:`decide`.
        """
        if self.idle:
            return self._always(task_id)
        from pydag_gcp import decider
        from pydag_gcp.judgement import AtRunTime

        found, ties = self._findings.at_run_time(task_id), self._lineage.ties[task_id]
        facts = self._as_it_stands(found)
        left = self._recorder.left(ties.built_on, known)
        view = AtRunTime(self._lineage, known, left, ended=self._ended)
        versions = self._recorder.see([task_id], known)
        decision = decider.decide_now(
            task_id, self._lineage, facts, versions, now=self._clock(), view=view, decisions=self._decisions
        )
        if decision.record is not None:
            self._recorder.holds(decision.record)
            if decision.record != found.record:
                self._records.put([decision.record])  # nobody knew before that it would count
        self._decisions[task_id] = self._unless_there(task_id, decision)
        return self._decisions[task_id]

    def made_with(self, task_id: str) -> frozenset[str]:
        """The tasks that have to run if this one does, as together they replace what is there.

        A task that only makes tables is none of them: where one is there, it has nothing to do.
        """
        if self.idle or self._lineage.ties[task_id].shaper:
            return frozenset()
        others = {other for chain in self._lineage.bound_to(task_id) for other in self._lineage.together[chain]}
        return frozenset(other for other in others if other != task_id and not self._lineage.ties[other].shaper)

    def newest_run(self, task_id: str) -> str | None:
        """The run of the newest recorded success of a task, if there is any."""
        newest = {} if self.idle else self._findings.newest([task_id])
        return newest[task_id].success.run_id if newest else None

    def before(self, task_id: str) -> Mapping[str, str | None]:
        """What the task will read, as it was seen last; stored with the try, see :meth:`restore`. Asks nobody."""
        return {} if self.idle else self._recorder.before(task_id)

    def restore(self, task_id: str, reads: Mapping[str, str | None]) -> None:
        """Take over, on resume, what :meth:`before` said before the first submit: best before it is decided."""
        if not self.idle:
            self._recorder.restore(task_id, reads)

    def needs_observation(self, task_id: str) -> bool:
        """Tell whether a success of the task is worth a look at the cloud. If not, :meth:`record` returns nothing."""
        return not self.idle and self._recorder.needed(task_id)

    def record(
        self, task_id: str, try_number: int, result: Json, known: Known, *, last: bool = False
    ) -> tuple[Record, ...]:
        """Make the records that a success gives: that of the task, and those of others that it completes or changes.

        Args:
            task_id: It has just succeeded.
            try_number: Which try did.
            result: What it returned, without secrets.
            known: At least its ancestors, and the members of its chain, that have ended.
            last: The cloud has been asked for long enough: what was seen before counts.

        Raises:
            TargetUnreachable: The cloud did not say what versions there are now: ask again.
        """
        if not self.needs_observation(task_id):
            return ()
        return self._recorder.record(task_id, try_number, result, known, blind=last)

    def finish(self, known: Known) -> tuple[Record, ...]:
        """Make the records that follow once all tasks have ended. Asks the cloud nothing."""
        return () if self.idle else self._recorder.finish(known)

    # what it works with -------------------------------------------------------------------------------------------

    @cached_property
    def _lineage(self) -> Lineage:
        from pydag_gcp.lineage import Lineage

        plan = self._plan
        sources = {
            task_id: tuple(dict.fromkeys(v.upstream for v in task.runtime_values if v.upstream in plan.tasks))
            for task_id, task in plan.tasks.items()
            if task.runtime_values
        }
        return Lineage(
            {task_id: access_of(task, plan.context_of(task_id)) for task_id, task in plan.tasks.items()},
            plan.upstream,
            sources={task_id: tuple(filter(None, found)) for task_id, found in sources.items()},
            rules=rules_of(plan.tasks),
            branches={task_id: plan.branches.picks(task_id) for task_id in of_kind(plan.tasks, BranchTask)},
            teardowns=plan.teardowns,
        )

    @cached_property
    def _findings(self) -> Findings:
        from pydag_gcp.findings import Findings

        return Findings(self._plan, self._lineage, self._records, cache=self._cache)

    @cached_property
    def _recorder(self) -> Recorder:
        from pydag_gcp.recorder import Recorder

        return Recorder(self._plan, self._lineage, self._findings, self._versions, self._clock)

    def _stands(self, task_id: str, facts: Facts, success: Success | None) -> bool:
        """Tell whether a run that goes on has taken a task from a record of another run that still is the newest.

        What the task had read may then have changed since, as later tasks of the very run write it.
        """
        ties = self._lineage.ties[task_id]
        if success is None or success.run_id == self._plan.run_id or ties.conditional:
            return False
        counting = (facts.record,) if ties.accumulating else (facts.record, facts.newest)
        return all(record is not None and record.success == success for record in counting)

    def _as_it_stands(self, facts: Facts) -> Facts:
        ask = self._recorder.as_it_stands
        record, newest, last = (one and ask(one) for one in (facts.record, facts.newest, facts.last))
        return replace(facts, record=record, newest=newest, last=last)

    # what the decider leaves open -----------------------------------------------------------------------------------

    def _always(self, task_id: str) -> Decision:
        setups = self._plan.teardowns.get(task_id)
        if setups:
            return Decision(verdict=Verdict.RUN, reason=reasons.runs_if_started(setups))
        return Decision(verdict=Verdict.RUN, reason=reasons.REQUESTED) if task_id in self._plan.requested else _RUNS

    def _unless_there(self, task_id: str, decision: Decision) -> Decision:
        """A service that is needed and there already need not be started; one whose output is taken has to say it."""
        service = self._lineage.ties[task_id].service
        if service is None or task_id in self._plan.teardowns or decision.verdict is not Verdict.RUN:
            return decision
        before = any(self._decisions[other].verdict is not Verdict.CACHED for other in service.before)
        taken = any(self._runs(taker) for taker in self._lineage.takers.get(task_id, ()))
        asked = task_id in self._plan.requested or not self._cache
        if not service.starts or before or taken or asked:
            return decision
        ask = asking_again(self._plan.clients.revive)
        if ask(self._plan.tasks[task_id].fulfilled, self._plan.context_of(task_id)):
            return Decision(verdict=Verdict.CACHED, reason=reasons.IS_RUNNING)
        return decision

    def _runs(self, task_id: str) -> bool:
        return task_id not in self._plan.teardowns and self._decisions[task_id].verdict is not Verdict.CACHED

    def _modified(self, versions: Mapping[Resource, Version]) -> Iterator[str]:
        """What accumulating chains wrote and others changed: told, not repaired."""
        chains = {chain: None for chain in self._lineage.chains.values() if not chain.replacing}
        watched = [chain for chain in chains if all(map(self._findings.recordable, chain.members))]
        newest = self._findings.newest([member for chain in watched for member in chain.members])
        for chain in watched:
            found = [newest[member] for member in chain.members if member in newest]
            if found:  # what a run did not finish has been changed by that run
                yield from _differences(chain, max(found, key=lambda record: record.at), versions)


def _differences(chain: Chain, record: Record, versions: Mapping[Resource, Version]) -> Iterator[str]:
    from pydag_gcp.equivalence import WRITERS, stored, writers

    if record.writes is None or record.writes.get(WRITERS) != writers(chain):
        return
    for resource in chain.resources:
        old, new = record.writes.get(resource_key(resource)), stored(versions[resource])
        if None not in (old, new) and old != new:
            yield reasons.left_alone(chain, resource, old, new)
