"""Whether a task may start, by what has become of its upstreams: trigger rules, teardowns, and what overrides them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pydag_gcp.states import BAD, TaskState, TriggerRule

# To look up a member of an enum takes longer than to use it, and this is done for every edge.
_SCHEDULED, _QUEUED, _SUCCESS = TaskState.SCHEDULED, TaskState.QUEUED, TaskState.SUCCESS
_WAITING = (_SCHEDULED, _QUEUED)
#: Rules that may be met before all upstreams have ended.
_IMPATIENT = frozenset({TriggerRule.ONE_SUCCESS, TriggerRule.ONE_FAILED, TriggerRule.ALWAYS})


@dataclass(slots=True, eq=False)
class Node:
    """A task among its neighbours; there is one for every task, so that it is small.

    Attributes:
        task_id: The task.
        rule: Its trigger rule, as a function of it.
        rank: Its place in the order in which ready tasks start.
        patient: Whether it starts only after the end of all its upstreams.
        total: How many upstreams it has.
        waiting: How many of them have not ended.
        bad: How many have failed, or were never started for that.
        skipped: How many were skipped.
        setups: Of a teardown, what it cleans up after.
        surely: It was started, and is to be started once more whatever its upstreams come to.
        doom: How it ends although it has not started, whatever its upstreams come to.
    """

    task_id: str
    rank: int
    rule: Callable[[Node], TaskState | None]
    patient: bool = True
    total: int = 0
    waiting: int = 0
    downstream: list[Node] = field(default_factory=list)
    state: TaskState = TaskState.SCHEDULED
    bad: int = 0
    skipped: int = 0
    setups: tuple[Node, ...] = ()
    started: bool = False
    surely: bool = False
    doom: TaskState | None = None

    @classmethod
    def of(cls, task_id: str, rank: int, rule: TriggerRule) -> Node:
        """A task without upstreams, so far."""
        return cls(task_id, rank, _RULES[rule], rule not in _IMPATIENT)

    def clean_up_after(self, setups: tuple[Node, ...]) -> None:
        """Make it a teardown."""
        self.setups, self.rule, self.patient = setups, _teardown, True

    def count(self, upstream: TaskState) -> bool:
        """Take in how an upstream ended; tell whether that may decide what becomes of it."""
        self.waiting -= 1
        if upstream is not _SUCCESS:
            self.bad += upstream in BAD
            self.skipped += upstream is TaskState.SKIPPED
        return self.state is _SCHEDULED and not (self.waiting and self.patient)

    @property
    def open(self) -> bool:
        """Whether it can be decided now whether it starts."""
        return not (self.waiting and self.patient)

    @property
    def has_work(self) -> bool:
        """Whether it is a teardown of something that was started."""
        return any(setup.started for setup in self.setups)

    def never_start(self, doom: TaskState) -> None:
        """Let it end so once all its upstreams have ended; what follows from it must not start earlier."""
        if self.state in _WAITING and not self.surely and self.doom is None:
            self.state, self.doom = TaskState.SCHEDULED, doom

    def verdict(self) -> TaskState | None:
        """QUEUED: start it; UPSTREAM_FAILED, SKIPPED, CANCELLED: it never will; None: not decided yet."""
        if self.doom is not None:
            return None if self.waiting else self.doom
        if self.waiting and self.patient:
            return None
        return _QUEUED if self.surely or not (self.total or self.setups) else self.rule(self)


def _teardown(node: Node) -> TaskState:
    return TaskState.QUEUED if node.has_work else TaskState.SKIPPED


# The rules that wait for all upstreams wait also when the verdict is clear: whether another fails must not depend on
# which ends first, and what comes after must not start while an upstream of an upstream still runs.


def _all_success(node: Node) -> TaskState:
    if node.bad:
        return TaskState.UPSTREAM_FAILED
    return TaskState.SKIPPED if node.skipped else _QUEUED


def _all_done(_node: Node) -> TaskState:
    return TaskState.QUEUED


def _one_success(node: Node) -> TaskState | None:
    if node.total > node.waiting + node.bad + node.skipped:
        return TaskState.QUEUED
    if node.waiting:
        return None
    return TaskState.SKIPPED if node.skipped == node.total else TaskState.UPSTREAM_FAILED


def _one_failed(node: Node) -> TaskState | None:
    if node.bad:
        return TaskState.QUEUED
    return None if node.waiting else TaskState.SKIPPED


def _none_failed(node: Node) -> TaskState:
    return TaskState.UPSTREAM_FAILED if node.bad else TaskState.QUEUED


def _none_failed_min_one_success(node: Node) -> TaskState:
    return TaskState.SKIPPED if node.skipped == node.total else _none_failed(node)


# Airflow comes to the same states: airflow/ti_deps/deps/trigger_rule_dep.py
_RULES: Mapping[TriggerRule, Callable[[Node], TaskState | None]] = {
    TriggerRule.ALL_SUCCESS: _all_success,
    TriggerRule.ALL_DONE: _all_done,
    TriggerRule.ONE_SUCCESS: _one_success,
    TriggerRule.ONE_FAILED: _one_failed,
    TriggerRule.NONE_FAILED: _none_failed,
    TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS: _none_failed_min_one_success,
    TriggerRule.ALWAYS: _all_done,
}
