"""Which task next: a pure, single-threaded object with no threads, no clock and no I/O.

The caller asks :meth:`Scheduler.ready`, says :meth:`Scheduler.start` and :meth:`Scheduler.finish`, until
:meth:`Scheduler.done`. A task is ready the moment its trigger rule is met; there are no waves. Given the same calls in
the same order the answers are the same. Every edge is looked at once: a whole run is O((tasks + edges) log tasks).

A teardown has no trigger rule: once all its upstreams have ended it starts if one of its setups was started, and is
skipped if none was. Cancelling leaves these alone.

A run that another process left goes on with :meth:`Scheduler.restore`.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pydag_gcp.states import BAD, TaskState, TriggerRule

_GOOD = frozenset({TaskState.SUCCESS, TaskState.CACHED})
_WAITING = frozenset({TaskState.SCHEDULED, TaskState.QUEUED})
#: Rules that may be met before all upstreams have ended.
_IMPATIENT = frozenset({TriggerRule.ONE_SUCCESS, TriggerRule.ONE_FAILED, TriggerRule.ALWAYS})


@dataclass(slots=True)
class _Node:
    rule: TriggerRule
    rank: tuple[float, int]
    total: int
    downstream: list[str] = field(default_factory=list)
    state: TaskState = TaskState.SCHEDULED
    good: int = 0
    bad: int = 0
    skipped: int = 0
    setups: tuple[_Node, ...] = ()
    started: bool = False
    surely: bool = False  # it was started, and is to be started once more whatever its upstreams come to
    doom: TaskState | None = None

    def count(self, upstream: TaskState) -> None:
        self.good += upstream in _GOOD
        self.bad += upstream in BAD
        self.skipped += upstream is TaskState.SKIPPED

    @property
    def ended(self) -> bool:
        """Whether every upstream has."""
        return self.good + self.bad + self.skipped == self.total

    @property
    def has_work(self) -> bool:
        """Whether it is a teardown of something that was started."""
        return any(setup.started for setup in self.setups)

    @property
    def waits_for_all(self) -> bool:
        """Whether it starts only after the end of all its upstreams."""
        return bool(self.setups) or self.rule not in _IMPATIENT

    def never_start(self, doom: TaskState) -> None:
        """Let it end so once all its upstreams have ended; what follows from it must not start earlier."""
        if self.state in _WAITING and not self.surely and self.doom is None:
            self.state, self.doom = TaskState.SCHEDULED, doom

    def verdict(self) -> TaskState | None:
        """QUEUED: start it; UPSTREAM_FAILED, SKIPPED, CANCELLED: it never will; None: not decided yet."""
        if self.doom is not None:
            return self.doom if self.ended else None
        if self.surely:
            return TaskState.QUEUED if self.ended or not self.waits_for_all else None
        if self.setups:
            return _teardown(self)
        if self.total == 0 or self.rule is TriggerRule.ALWAYS:
            return TaskState.QUEUED
        return _RULES[self.rule](self)


def _teardown(node: _Node) -> TaskState | None:
    if not node.ended:
        return None
    return TaskState.QUEUED if node.has_work else TaskState.SKIPPED


# The rules that wait for all upstreams wait also when the verdict is clear: whether another fails must not depend on
# which ends first, and what comes after must not start while an upstream of an upstream still runs.


def _all_success(node: _Node) -> TaskState | None:
    if not node.ended:
        return None
    if node.bad:
        return TaskState.UPSTREAM_FAILED
    return TaskState.SKIPPED if node.skipped else TaskState.QUEUED


def _all_done(node: _Node) -> TaskState | None:
    return TaskState.QUEUED if node.ended else None


def _one_success(node: _Node) -> TaskState | None:
    if node.good:
        return TaskState.QUEUED
    if not node.ended:
        return None
    return TaskState.SKIPPED if node.skipped == node.total else TaskState.UPSTREAM_FAILED


def _one_failed(node: _Node) -> TaskState | None:
    if node.bad:
        return TaskState.QUEUED
    return TaskState.SKIPPED if node.ended else None


def _none_failed(node: _Node) -> TaskState | None:
    if not node.ended:
        return None
    return TaskState.UPSTREAM_FAILED if node.bad else TaskState.QUEUED


def _none_failed_min_one_success(node: _Node) -> TaskState | None:
    if node.ended and node.skipped == node.total:
        return TaskState.SKIPPED
    return _none_failed(node)


# Airflow comes to the same states: airflow/ti_deps/deps/trigger_rule_dep.py
_RULES = {
    TriggerRule.ALL_SUCCESS: _all_success,
    TriggerRule.ALL_DONE: _all_done,
    TriggerRule.ONE_SUCCESS: _one_success,
    TriggerRule.ONE_FAILED: _one_failed,
    TriggerRule.NONE_FAILED: _none_failed,
    TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS: _none_failed_min_one_success,
}


class Scheduler:
    """Orders the tasks of one run.

    Args:
        upstream: Task id -> ids of its upstreams, acyclic; its order breaks ties.
        rules: Trigger rules other than ``all_success``.
        priority: Of two ready tasks the one with the higher priority comes first; default 0.
        teardowns: Teardown -> the setups that it cleans up after, at least one.

    Raises:
        KeyError: An upstream or a setup is no task.
    """

    def __init__(
        self,
        upstream: Mapping[str, Iterable[str]],
        *,
        rules: Mapping[str, TriggerRule] | None = None,
        priority: Mapping[str, float] | None = None,
        teardowns: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        rules, priority = rules or {}, priority or {}
        self._nodes: dict[str, _Node] = {}
        edges = {task_id: set(above) for task_id, above in upstream.items()}
        for position, (task_id, above) in enumerate(edges.items()):
            rank = (-priority.get(task_id, 0), position)
            self._nodes[task_id] = _Node(rules.get(task_id, TriggerRule.ALL_SUCCESS), rank, len(above))
        for task_id, above in edges.items():
            for other in above:
                self._nodes[other].downstream.append(task_id)
        for task_id, setups in (teardowns or {}).items():
            self._nodes[task_id].setups = tuple(self._nodes[setup] for setup in setups)
        self._ready: list[tuple[tuple[float, int], str]] = []
        self._unfinished = len(self._nodes)
        for task_id, node in self._nodes.items():
            if node.verdict() is TaskState.QUEUED:
                self._queue(task_id)

    def restore(
        self,
        ended: Mapping[str, TaskState],
        started: Collection[str] = (),
        *,
        skip: Iterable[str] = (),
        repeat: Collection[str] = (),
    ) -> list[tuple[str, TaskState]]:
        """Go on where another scheduler of the same tasks stopped. Call it before any other method.

        Args:
            ended: The final states of the tasks that have ended.
            started: The tasks that have been started, whether or not they have ended. One that has not is running: it
                is finished, or started :meth:`again`.
            skip: What the branches among ``ended`` leave out; see :meth:`finish`.
            repeat: Tasks that had ended and are started once more, so not among ``ended``. They are ready at once;
                what is downstream of one of them, however far, waits for its end.

        Returns:
            The tasks that end with it because they never start, in order.

        Raises:
            ValueError: A state is not final, or a task to be repeated has ended.
        """
        for task_id, state in ended.items():
            if not state.final or task_id in repeat:
                raise ValueError(f"task {task_id!r} cannot be restored as {state.value}")
            self._nodes[task_id].state = state
        for task_id in {*started, *repeat}:
            node = self._nodes[task_id]
            node.started = True
            node.state = node.state if task_id in ended else TaskState.RUNNING
        for task_id, state in ended.items():
            for below in self._nodes[task_id].downstream:
                self._nodes[below].count(state)
        self._unfinished -= len(ended)
        for name in skip:
            self._nodes[name].never_start(TaskState.SKIPPED)
        for task_id in repeat:
            self._hold_back_behind(task_id)
        for task_id in repeat:
            self.again(task_id)
        return self._settle_waiting()

    def ready(self) -> str | None:
        """The task to start next, or None if none is ready now."""
        while self._ready and self._nodes[self._ready[0][1]].state is not TaskState.QUEUED:
            heapq.heappop(self._ready)
        return self._ready[0][1] if self._ready else None

    def start(self, task_id: str) -> None:
        """Say that a ready task has been started.

        Raises:
            ValueError: It is not ready.
        """
        node = self._nodes[task_id]
        if node.state is not TaskState.QUEUED:
            raise ValueError(f"task {task_id!r} is {node.state.value}, not ready")
        node.state = TaskState.RUNNING
        node.started, node.surely = True, False

    def hold(self, task_id: str) -> None:
        """Say that a ready task waits for a decision: it is finished, or ready :meth:`again`. It was not started.

        Raises:
            ValueError: It is not ready.
        """
        node = self._nodes[task_id]
        if node.state is not TaskState.QUEUED:
            raise ValueError(f"task {task_id!r} is {node.state.value}, not ready")
        node.state = TaskState.RUNNING

    def again(self, task_id: str, *, surely: bool = False) -> None:
        """Say that a started task wants to be started once more; it is ready at once, unless something is repeated.

        Args:
            task_id: The task.
            surely: Whether it is started also after :meth:`cancel`: what an earlier process began must be looked at.

        Raises:
            ValueError: It has not been started.
        """
        node = self._nodes[task_id]
        if node.state is not TaskState.RUNNING:
            raise ValueError(f"task {task_id!r} is {node.state.value}, not started")
        node.state, node.surely = TaskState.SCHEDULED, surely
        if node.ended or not node.waits_for_all:
            self._queue(task_id)

    def finish(self, task_id: str, state: TaskState, skip: Iterable[str] = ()) -> list[tuple[str, TaskState]]:
        """Say how a task ended; return the tasks that end with it because they never start, in order.

        Args:
            task_id: The task.
            state: Its final state.
            skip: Tasks that end as ``skipped`` once their upstreams have ended, whatever their trigger rule, unless
                they were started: what comes after must not start while an upstream of theirs still runs.

        Raises:
            ValueError: ``state`` is not final, or the task has ended already.
        """
        if not state.final or self._nodes[task_id].state.final:
            raise ValueError(f"task {task_id!r}: {self._nodes[task_id].state.value} -> {state.value}")
        for name in skip:
            self._nodes[name].never_start(TaskState.SKIPPED)
        ended: list[tuple[str, TaskState]] = []
        self._end(task_id, state, ended)
        self._spread(ended)
        return ended[1:]

    def cancel(self) -> list[tuple[str, TaskState]]:
        """Let no task start any more, except the teardowns of what was started.

        The others end as ``cancelled``, each once its upstreams have ended: a teardown comes after all of these.

        Returns:
            The tasks that end at once, in order.
        """
        spared = {name for name, node in self._nodes.items() if node.has_work or node.surely}
        doomed = {n: node for n, node in self._nodes.items() if node.state in _WAITING and n not in spared}
        for node in doomed.values():
            node.never_start(TaskState.CANCELLED)
        ended: list[tuple[str, TaskState]] = []
        for name, node in doomed.items():
            if node.ended and (verdict := node.verdict()) is not None:
                self._end(name, verdict, ended)
        self._spread(ended)
        return ended

    def done(self) -> bool:
        """Tell whether every task has ended."""
        return self._unfinished == 0

    def _hold_back_behind(self, task_id: str) -> None:
        """Have what comes after a task only by way of tasks that were started wait for its end, too."""
        direct = set(self._nodes[task_id].downstream)
        seen, ways = set(direct), list(direct)
        while ways:
            node = self._nodes[way := ways.pop()]
            if not node.waits_for_all:
                continue
            if not node.state.final and way not in direct:
                node.total += 1
                self._nodes[task_id].downstream.append(way)
            if node.started or node.state.final:
                ways += [below for below in node.downstream if below not in seen]
                seen.update(node.downstream)

    def _settle_waiting(self) -> list[tuple[str, TaskState]]:
        """Queue what is ready by what is known now, and end what never will be."""
        ended: list[tuple[str, TaskState]] = []
        for task_id, node in self._nodes.items():
            if node.state is TaskState.SCHEDULED:
                self._decide(task_id, ended)
        self._spread(ended)
        return ended

    def _queue(self, task_id: str) -> None:
        node = self._nodes[task_id]
        node.state = TaskState.QUEUED
        heapq.heappush(self._ready, (node.rank, task_id))

    def _spread(self, ended: list[tuple[str, TaskState]]) -> None:
        for name, outcome in ended:  # grows while we go
            self._unfinished -= 1
            for below in self._nodes[name].downstream:
                self._propagate(below, outcome, ended)

    def _propagate(self, task_id: str, outcome: TaskState, ended: list[tuple[str, TaskState]]) -> None:
        node = self._nodes[task_id]
        node.count(outcome)
        if node.state is TaskState.SCHEDULED:
            self._decide(task_id, ended)

    def _decide(self, task_id: str, ended: list[tuple[str, TaskState]]) -> None:
        verdict = self._nodes[task_id].verdict()
        if verdict is TaskState.QUEUED:
            self._queue(task_id)
        elif verdict is not None:
            self._end(task_id, verdict, ended)

    def _end(self, task_id: str, state: TaskState, ended: list[tuple[str, TaskState]]) -> None:
        self._nodes[task_id].state = state  # at once, so that a second upstream does not end it twice
        ended.append((task_id, state))
