"""Whether a task may start, by what has become of its upstreams: trigger rules, teardowns, and what overrides them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pydag_gcp.states import BAD, TaskState, TriggerRule

# To look up a member of an enum takes longer than to use it, and this is done for every edge.
_SCHEDULED, _QUEUED, _SKIPPED = TaskState.SCHEDULED, TaskState.QUEUED, TaskState.SKIPPED
_WAITING = (_SCHEDULED, _QUEUED)
#: Rules that may be met before all upstreams have ended.
_IMPATIENT = frozenset({TriggerRule.ONE_SUCCESS, TriggerRule.ONE_FAILED, TriggerRule.ALWAYS})


@dataclass(slots=True, eq=False)
class Node:
    """A task among its neighbours; there is one for every task, so that it is small.

    Attributes:
        task_id: The task.
        rank: Its place in the order in which ready tasks start.
        downstream: Who is told of its end.
        waiting: How many of its upstreams have not ended.
        terms: What else decides about it; None: it starts once all its upstreams have done what they should.
    """

    task_id: str
    rank: int
    downstream: list[Node]
    waiting: int = 0
    state: TaskState = _SCHEDULED
    started: bool = False
    terms: Terms | None = None

    def own_terms(self) -> Terms:
        """Its terms; it is given some if it has none."""
        if self.terms is None:
            self.terms = Terms()
        return self.terms

    def count(self, upstream: TaskState) -> bool:
        """Take in how an upstream ended; tell whether that may decide what becomes of it."""
        self.waiting -= 1
        if upstream in BAD:
            self.own_terms().bad += 1
        elif upstream is _SKIPPED:
            self.own_terms().skipped += 1
        return self.state is _SCHEDULED and self.open

    @property
    def patient(self) -> bool:
        """Whether it starts only after the end of all its upstreams."""
        return self.terms is None or self.terms.patient

    @property
    def open(self) -> bool:
        """Whether it can be decided now whether it starts."""
        return not (self.waiting and self.patient)

    @property
    def surely(self) -> bool:
        """Whether it was started, and is to be started once more whatever its upstreams come to."""
        return self.terms is not None and self.terms.surely

    @property
    def has_work(self) -> bool:
        """Whether it is a teardown of something that was started."""
        return self.terms is not None and any(setup.started for setup in self.terms.setups)

    def never_start(self, doom: TaskState) -> None:
        """Let it end so once all its upstreams have ended; what follows from it must not start earlier."""
        if self.state not in _WAITING or self.surely:
            return
        terms = self.own_terms()
        if terms.doom is None:
            self.state, terms.doom = _SCHEDULED, doom

    def verdict(self) -> TaskState | None:
        """QUEUED: start it; UPSTREAM_FAILED, SKIPPED, CANCELLED: it never will; None: not decided yet."""
        terms = self.terms
        if terms is not None and terms.doom is not None:
            return None if self.waiting else terms.doom
        if not self.open:
            return None
        return _QUEUED if terms is None or terms.surely else terms.rule(terms, self.waiting)


# The rules that wait for all upstreams wait also when the verdict is clear: whether another fails must not depend on
# which ends first, and what comes after must not start while an upstream of an upstream still runs.


def _all_success(terms: Terms, _waiting: int) -> TaskState:
    if terms.bad:
        return TaskState.UPSTREAM_FAILED
    return TaskState.SKIPPED if terms.skipped else TaskState.QUEUED


def _all_done(_terms: Terms, _waiting: int) -> TaskState:
    return TaskState.QUEUED


def _one_success(terms: Terms, waiting: int) -> TaskState | None:
    if terms.total > waiting + terms.bad + terms.skipped:
        return TaskState.QUEUED
    if waiting:
        return None
    return TaskState.SKIPPED if terms.skipped == terms.total else TaskState.UPSTREAM_FAILED


def _one_failed(terms: Terms, waiting: int) -> TaskState | None:
    if terms.bad:
        return TaskState.QUEUED
    return None if waiting else TaskState.SKIPPED


def _none_failed(terms: Terms, _waiting: int) -> TaskState:
    return TaskState.UPSTREAM_FAILED if terms.bad else TaskState.QUEUED


def _none_failed_min_one_success(terms: Terms, waiting: int) -> TaskState:
    return TaskState.SKIPPED if terms.skipped == terms.total else _none_failed(terms, waiting)


def _teardown(terms: Terms, _waiting: int) -> TaskState:
    return TaskState.QUEUED if any(setup.started for setup in terms.setups) else TaskState.SKIPPED


@dataclass(slots=True, eq=False)
class Terms:
    """What decides whether a task starts, where it is not enough that its upstreams have ended.

    Attributes:
        rule: The trigger rule, as a function of the terms and of how many upstreams have not ended.
        patient: Whether the task starts only after the end of all its upstreams.
        total: How many upstreams it has; 0 if its rule does not ask.
        bad: How many have failed, or were never started for that.
        skipped: How many were skipped.
        setups: Of a teardown, what it cleans up after.
        surely: It was started, and is to be started once more whatever its upstreams come to.
        doom: How it ends although it has not started, whatever its upstreams come to.
    """

    rule: Callable[[Terms, int], TaskState | None] = _all_success
    patient: bool = True
    total: int = 0
    bad: int = 0
    skipped: int = 0
    setups: tuple[Node, ...] = ()
    surely: bool = False
    doom: TaskState | None = None

    @classmethod
    def of(cls, rule: TriggerRule, total: int) -> Terms:
        """Those of a task that has upstreams: without any, every rule is met."""
        return cls(_RULES[rule], rule not in _IMPATIENT, total)

    @classmethod
    def of_teardown(cls, setups: tuple[Node, ...]) -> Terms:
        """Those of a task that cleans up after others."""
        return cls(_teardown, setups=setups)


# Airflow comes to the same states: airflow/ti_deps/deps/trigger_rule_dep.py
_RULES: Mapping[TriggerRule, Callable[[Terms, int], TaskState | None]] = {
    TriggerRule.ALL_SUCCESS: _all_success,
    TriggerRule.ALL_DONE: _all_done,
    TriggerRule.ONE_SUCCESS: _one_success,
    TriggerRule.ONE_FAILED: _one_failed,
    TriggerRule.NONE_FAILED: _none_failed,
    TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS: _none_failed_min_one_success,
    TriggerRule.ALWAYS: _all_done,
}
