"""Run, cached, or decided at run time: what becomes of every task of a run.

Pure: facts in, decisions out. A task that has a reason of its own to run (:mod:`.judgement`) makes those run that are
built on it, and those that write the same; each tie is followed once, so the work is linear in tasks and ties.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from datetime import datetime

from pydag_gcp import reasons
from pydag_gcp.chains import Chain
from pydag_gcp.decision import Decision, Verdict
from pydag_gcp.judgement import AtRunTime, Beforehand, Facts, Judge
from pydag_gcp.lineage import Lineage
from pydag_gcp.resources import Resource, Version

_RANK = {Verdict.CACHED: 0, Verdict.LATER: 1, Verdict.RUN: 2}
_CACHED = Decision(verdict=Verdict.CACHED, reason=reasons.UNCHANGED)


def decide(
    lineage: Lineage,
    facts: Mapping[str, Facts],
    versions: Mapping[Resource, Version],
    *,
    now: datetime,
    stands: Collection[str] = (),
) -> dict[str, Decision]:
    """Decide about every task before the first one starts.

    Args:
        lineage: What binds the tasks.
        facts: Of every task.
        versions: Of what tasks read and write, as far as it counts.
        now: The time.
        stands: Tasks that the run has taken from their records, which still count: what was before them is no matter
            any more. They have to run only with others that write the same.

    Returns:
        Task id -> decision, in the order of the tasks. A service that starts clusters runs if a task will use it;
        whether it is there already is for the caller to ask.
    """
    judge = Judge(lineage, facts, versions, now=now, view=Beforehand(lineage, facts))
    spread = _Spread(lineage, facts, stands)
    for task in lineage.order:
        spread.begin(task, "" if task in stands else judge.reason(task))
    spread.settle()
    for task in lineage.order:  # what an accumulating task reads is what its upstreams leave, if these do not run
        if lineage.ties[task].accumulating and task not in stands and spread.of(task).verdict is Verdict.CACHED:
            spread.rise(task, Verdict.RUN, judge.new_input(task))
            spread.settle()
    return _finished(lineage, facts, spread)


def decide_now(
    task: str,
    lineage: Lineage,
    facts: Facts,
    versions: Mapping[Resource, Version],
    *,
    now: datetime,
    view: AtRunTime,
    decisions: Mapping[str, Decision],
) -> Decision:
    """Decide about a task that was left for later: run or cached.

    Args:
        task: All its upstreams have ended.
        lineage: What binds the tasks.
        facts: Of the task.
        versions: Of what it reads and its chain writes, asked for just now.
        now: The time.
        view: What has become of the tasks before it.
        decisions: About all tasks, as they stand.
    """
    if (aside := _aside(task, lineage, facts, decisions, ended=view.known)) is not None:
        return aside if aside.verdict is Verdict.CACHED else replace(aside, verdict=Verdict.RUN)
    judge = Judge(lineage, {task: facts}, versions, now=now, view=view)
    reason = judge.reason(task)
    if not reason:
        accumulating = lineage.ties[task].accumulating
        reason = judge.new_input(task) if accumulating else _with_chain(task, lineage, view, decisions)
    return Decision(verdict=Verdict.RUN, reason=reason) if reason else _cached(task, lineage, facts)


def _with_chain(task: str, lineage: Lineage, view: AtRunTime, decisions: Mapping[str, Decision]) -> str:
    """Why a member of a replacing chain runs with the others."""
    ties = lineage.ties[task]
    if ties.chain is None:
        return ""
    for other in lineage.together[ties.chain]:
        ended_badly = other in view.known and view.known[other] is None
        if other == task or ended_badly or lineage.apart(task, other):
            continue
        if decisions[other].verdict is Verdict.RUN:
            return reasons.with_member(other, ties.chain)
        if decisions[other].verdict is Verdict.LATER and other not in lineage.teardowns and not ties.shaper:
            return reasons.with_later(other, ties.chain)
    return ""


class _Spread:
    """Verdicts that rise from cached over later to run, and what rises with them."""

    def __init__(self, lineage: Lineage, facts: Mapping[str, Facts], stands: Collection[str]) -> None:
        self._lineage, self._facts, self._stands = lineage, facts, stands
        self._verdicts: dict[str, Decision] = {}
        self._queue: deque[str] = deque()
        self._chains: deque[Chain] = deque()
        self._dependents: dict[str, list[str]] = defaultdict(list)
        for task, ties in lineage.ties.items():
            for other in ties.dependencies if task not in stands else ():
                self._dependents[other].append(task)
        self._blind = [task for task, ties in lineage.ties.items() if ties.opaque and not facts[task].always]
        #: The tasks after an opaque one that will or may run.
        self.shaded: set[str] = set()
        self._above: dict[Verdict, set[str]] = {Verdict.RUN: set(), Verdict.LATER: set()}
        self._running: set[Chain] = set()

    def of(self, task: str) -> Decision:
        """The verdict so far."""
        return self._verdicts[task]

    def begin(self, task: str, reason: str) -> None:
        """Start from what a task itself gives reason for."""
        ties, facts = self._lineage.ties[task], self._facts[task]
        self._verdicts[task] = _CACHED
        if ties.service is not None or task in self._lineage.teardowns:
            return
        if ties.conditional and not facts.always:
            self.rise(task, Verdict.LATER, reasons.MAY_BE_SKIPPED)
        elif facts.fingerprint is None and not facts.always:
            self.rise(task, Verdict.LATER, reasons.output_of(ties.sources[0]))
        else:
            self.rise(task, Verdict.RUN, reason)

    def rise(self, task: str, verdict: Verdict, reason: str) -> None:
        """Let a task have a verdict for a reason, unless it has a stronger one."""
        ties = self._lineage.ties[task]
        if not reason or ties.service is not None or _RANK[verdict] <= _RANK[self._verdicts[task].verdict]:
            return
        if ties.conditional and not self._facts[task].always:
            verdict = Verdict.LATER
            if self._verdicts[task].verdict is verdict:
                return
        self._verdicts[task] = Decision(verdict=verdict, reason=reason)
        self._queue.append(task)

    def settle(self) -> None:
        """Let everything rise that has to."""
        while self._queue or self._chains:
            if self._queue:
                self._rise_with(self._queue.popleft())
            else:
                self._rise_before_later(self._chains.popleft())

    def _rise_with(self, task: str) -> None:
        verdict, runs = self.of(task).verdict, self.of(task).verdict is Verdict.RUN
        words = reasons.will_run(task) if runs else reasons.is_later(task)
        for other in self._dependents[task]:
            self._rise_after(other, verdict, words)
        for taker in self._lineage.takers.get(task, ()):
            if taker in self._stands:
                continue
            self.rise(taker, Verdict.LATER, reasons.output_of(task) if runs else words)
        for chain in self._lineage.bound_to(task):
            if runs:
                self._run_all(chain, task)
            else:
                self._chains.append(chain)
        if self._lineage.ties[task].opaque:
            self._shade(task)
        if self._blind:
            self._tell_blind(task, verdict, words)

    def _run_all(self, chain: Chain, task: str) -> None:
        if chain not in self._running:
            self._running.add(chain)
            words = reasons.with_member if task in chain.members else reasons.with_reader
            for member in chain.members:
                self.rise(member, Verdict.RUN, words(task, chain))

    def _rise_before_later(self, chain: Chain) -> None:
        """What comes before a task that may run has to run, for that one to find what it builds on."""
        tasks = self._lineage.together[chain]
        later = [task for task in tasks if self.of(task).verdict is Verdict.LATER]
        if not later:
            return
        for task in chain.members:
            early = self._lineage.position[task] < self._lineage.position[later[0]]
            if self.of(task).verdict is not Verdict.CACHED or (early and task in chain.shapers):
                continue  # a table that is there is not made again
            if self._lineage.position[task] < self._lineage.position[later[-1]]:
                self.rise(task, Verdict.RUN, reasons.with_later(later[-1], chain))
            else:
                self.rise(task, Verdict.LATER, reasons.is_later(later[0]))

    def _shade(self, opaque: str) -> None:
        for task in self._fresh_below(opaque, self.shaded):
            self.rise(task, Verdict.LATER, reasons.below_opaque(opaque))

    def _tell_blind(self, task: str, verdict: Verdict, words: str) -> None:
        """Of what an opaque task reads it is only known that it comes from before it."""
        for other in self._fresh_below(task, self._above[verdict]):
            if self._lineage.ties[other].opaque:
                self._rise_after(other, verdict, words)

    def _rise_after(self, task: str, verdict: Verdict, words: str) -> None:
        """What adds rows does so again only if what ran before it has come to something else."""
        self.rise(task, Verdict.LATER if self._lineage.ties[task].accumulating else verdict, words)

    def _fresh_below(self, task: str, seen: set[str]) -> Iterator[str]:
        stack = [task]
        while stack:
            for other in self._lineage.downstream[stack.pop()]:
                if other not in seen:
                    seen.add(other)
                    stack.append(other)
                    if other not in self._stands:
                        yield other


def _finished(lineage: Lineage, facts: Mapping[str, Facts], spread: _Spread) -> dict[str, Decision]:
    found = {task: spread.of(task) for task in lineage.order}
    for task in lineage.order:
        aside = _aside(task, lineage, facts[task], found)
        if aside is not None:
            found[task] = aside
        elif found[task].verdict is Verdict.CACHED:
            found[task] = _cached(task, lineage, facts[task])
        elif not facts[task].always and _better_seen_late(task, lineage, spread):
            found[task] = replace(found[task], verdict=Verdict.LATER)
    return found


def _better_seen_late(task: str, lineage: Lineage, spread: _Spread) -> bool:
    """Tell whether what a task is or reads may be another when its turn comes: then it is looked at right before."""
    ties = lineage.ties[task]
    changing = (source for source in ties.sources if spread.of(source).verdict is not Verdict.CACHED)
    return next(changing, None) is not None or (task in spread.shaded and bool(ties.tracked))


def _cached(task: str, lineage: Lineage, facts: Facts) -> Decision:
    reason = reasons.ADDED if lineage.ties[task].accumulating else reasons.UNCHANGED
    return Decision(verdict=Verdict.CACHED, reason=reason, record=facts.record)


def _aside(
    task: str,
    lineage: Lineage,
    facts: Facts,
    decisions: Mapping[str, Decision],
    *,
    ended: Collection[str] = (),
) -> Decision | None:
    """What becomes of a teardown or a service, which follows from others; None of any other task."""
    if task in lineage.teardowns:
        setups = lineage.teardowns[task]
        may = any(decisions[setup].verdict is not Verdict.CACHED for setup in setups)
        return Decision(verdict=Verdict.RUN if may else Verdict.LATER, reason=reasons.runs_if_started(setups))
    service = lineage.ties[task].service
    if service is None:
        return None
    if facts.always:
        return Decision(verdict=Verdict.RUN, reason=facts.always)
    takers = [taker for taker in lineage.takers.get(task, ()) if taker not in lineage.teardowns]
    using = [*service.users, *takers, *(() if service.starts else service.before)]
    for verdict in (Verdict.RUN, Verdict.LATER):
        for user in using:
            skipped = user in ended and decisions[user].verdict is Verdict.LATER  # else it would have been decided
            if decisions[user].verdict is verdict and not skipped:
                return _needed(user, verdict, starts=service.starts)
    return Decision(verdict=Verdict.CACHED, reason=reasons.UNUSED)


def _needed(user: str, verdict: Verdict, *, starts: bool) -> Decision:
    if verdict is Verdict.RUN:
        return Decision(verdict=verdict, reason=reasons.used_by(user))
    # A cluster has to be there before it is known whether it is needed; to delete it there is time.
    return Decision(verdict=Verdict.RUN if starts else Verdict.LATER, reason=reasons.may_be_used_by(user))
