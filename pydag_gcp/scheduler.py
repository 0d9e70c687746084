"""Which task next: a pure, single-threaded object with no threads, no clock and no I/O.

The caller asks :meth:`Scheduler.ready`, says :meth:`Scheduler.start` and :meth:`Scheduler.finish`, until
:meth:`Scheduler.done`. A task is ready the moment its trigger rule is met; there are no waves. Given the same calls in
the same order the answers are the same. Every edge is looked at once: a whole run is O((tasks + edges) log tasks).

Ready tasks stand in lanes, each in the order of priority, then of the longest way to the end. A lane may be shut: what
needs more processors than are free, or a service that is full, holds up only what needs the same.

A teardown has no trigger rule: once all its upstreams have ended it starts if one of its setups was started, and is
skipped if none was. Cancelling leaves these alone.

A run that another process left goes on with :meth:`Scheduler.restore`.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from pydag_gcp.readiness import Node, Terms
from pydag_gcp.states import FINAL, TaskState, TriggerRule

# To look up a member of an enum takes longer than to use it, and this is done for every event.
_SCHEDULED, _QUEUED, _RUNNING = TaskState.SCHEDULED, TaskState.QUEUED, TaskState.RUNNING
_SUCCESS, _CACHED = TaskState.SUCCESS, TaskState.CACHED
#: What is left of tasks that have ended, by how: they are not asked any more, and they are many.
_ENDED = {state: Node("", -1, [], state=state) for state in FINAL}


class Lane(NamedTuple):
    """Where a ready task stands: in line with those that need the same to start.

    Attributes:
        slots: Processors that its local work holds; 0: it needs none.
        service: The service that its job goes to, if it is remote.
    """

    slots: int
    service: str | None = None


#: For tasks that need nothing but the decision what becomes of them.
FREE = Lane(0)


class Scheduler:
    """Orders the tasks of one run.

    Args:
        upstream: Task id -> ids of its upstreams, acyclic; its order breaks ties.
        rules: Trigger rules other than ``all_success``.
        priority: Of two ready tasks the one with the higher priority comes first; default 0.
        remaining: Of two of the same priority the one with the longer way to the end of the run: the seconds that it
            and what is downstream of it will take; default 0.
        teardowns: Teardown -> the setups that it cleans up after, at least one.
        lane_of: Tells in which lane a task stands that has become ready; by default all stand in one.

    Raises:
        KeyError: An upstream, a setup, or what has a rule is no task.
    """

    def __init__(
        self,
        upstream: Mapping[str, Collection[str]],
        *,
        rules: Mapping[str, TriggerRule] | None = None,
        priority: Mapping[str, float] | None = None,
        remaining: Mapping[str, float] | None = None,
        teardowns: Mapping[str, Sequence[str]] | None = None,
        lane_of: Callable[[str], Lane] = lambda _: FREE,
    ) -> None:
        self._nodes = _linked(upstream, _ranked(upstream, priority or {}, remaining or {}), rules or {})
        self._ranked = list(self._nodes.values())
        for task_id, setups in (teardowns or {}).items():
            self._nodes[task_id].terms = Terms.of_teardown(tuple(self._nodes[setup] for setup in setups))
        self._lane_of = lane_of
        self._arrived: list[Node] = []
        self._lanes = defaultdict[Lane, list[int]](list)
        self._first: list[int] | None = None  # the line that the last answer came from
        #: The lane in which the task stands that :meth:`ready` named last.
        self.lane = FREE
        #: How many stand in that lane, the task counted.
        self.waiting = 0
        self._unfinished = len(self._nodes)
        for node in self._nodes.values():
            if (not node.waiting or node.terms is not None) and node.verdict() is _QUEUED:
                self._queue(node)

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
            node.state = node.state if task_id in ended else _RUNNING
        for task_id, state in ended.items():
            for below in self._nodes[task_id].downstream:
                below.count(state)
        self._unfinished -= len(ended)
        for name in skip:
            self._nodes[name].never_start(TaskState.SKIPPED)
        for task_id in repeat:
            self._hold_back_behind(task_id)
        for task_id in repeat:
            self.again(task_id)
        return self._settle(self._nodes.values())

    def ready(self, shut: Collection[Lane] = ()) -> str | None:
        """The task to start next, or None if none is ready now.

        Args:
            shut: Lanes in which nothing can start now.
        """
        if self._arrived:
            self._line_up()
        ranked, first = self._ranked, None
        for lane, line in self._lanes.items():
            while line and ranked[line[0]].state is not _QUEUED:
                heapq.heappop(line)
            if line and (first is None or line[0] < first[0]) and not (shut and lane in shut):
                first, self.lane = line, lane
        self._first = first
        if first is None:
            return None
        self.waiting = len(first)
        return ranked[first[0]].task_id

    def start(self, task_id: str) -> None:
        """Say that a ready task has been started.

        Raises:
            ValueError: It is not ready.
        """
        node = self._nodes[task_id]
        if node.state is not _QUEUED:
            raise ValueError(f"task {task_id!r} is {node.state.value}, not ready")
        node.state, node.started = _RUNNING, True
        if node.terms is not None:
            node.terms.surely = False
        if self._first and self._first[0] == node.rank:
            heapq.heappop(self._first)  # or it might be found there when it is ready again, in another lane

    def hold(self, task_id: str) -> None:
        """Say that a ready task waits for a decision: it is finished, or ready :meth:`again`. It was not started.

        Raises:
            ValueError: It is not ready.
        """
        node = self._nodes[task_id]
        before = node.started
        self.start(task_id)
        node.started = before

    def again(self, task_id: str, *, surely: bool = False) -> None:
        """Say that a started task wants to be started once more; it is ready at once, unless something is repeated.

        Args:
            task_id: The task.
            surely: Whether it is started also after :meth:`cancel`: what an earlier process began must be looked at.

        Raises:
            ValueError: It has not been started.
        """
        node = self._nodes[task_id]
        if node.state is not _RUNNING:
            raise ValueError(f"task {task_id!r} is {node.state.value}, not started")
        node.state = _SCHEDULED
        if surely:
            node.own_terms().surely = True
        if node.open:
            self._queue(node)

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
        node = self._nodes[task_id]
        if state not in FINAL or node.state in FINAL:
            raise ValueError(f"task {task_id!r}: {node.state.value} -> {state.value}")
        for name in skip:
            self._nodes[name].never_start(TaskState.SKIPPED)
        node.state = state
        ended = [node]
        self._spread(ended)
        return [(other.task_id, other.state) for other in ended[1:]] if len(ended) > 1 else []

    def cancel(self) -> list[tuple[str, TaskState]]:
        """Let no task start any more, except the teardowns of what was started.

        The others end as ``cancelled``, each once its upstreams have ended: a teardown comes after all of these.

        Returns:
            The tasks that end at once, in order.
        """
        doomed = [node for node in self._nodes.values() if not (node.has_work or node.surely)]
        for node in doomed:
            node.never_start(TaskState.CANCELLED)
        return self._settle(doomed)

    def done(self) -> bool:
        """Tell whether every task has ended."""
        return self._unfinished == 0

    def _hold_back_behind(self, task_id: str) -> None:
        """Have what comes after a task only by way of tasks that were started wait for its end, too."""
        repeated = self._nodes[task_id]
        direct = set(repeated.downstream)
        seen, ways = set(direct), list(direct)
        while ways:
            node = ways.pop()
            if not node.patient:
                continue
            if not node.state.final and node not in direct:
                node.waiting += 1
                if node.terms is not None:
                    node.terms.total += 1
                repeated.downstream.append(node)
            if node.started or node.state.final:
                ways += [below for below in node.downstream if below not in seen]
                seen.update(node.downstream)

    def _settle(self, nodes: Iterable[Node]) -> list[tuple[str, TaskState]]:
        """Queue which of these is ready by what is known now, and end which never will be."""
        ended: list[Node] = []
        for node in nodes:
            if node.state is _SCHEDULED:
                self._decide(node, ended)
        self._spread(ended)
        return [(node.task_id, node.state) for node in ended]

    def _queue(self, node: Node) -> None:
        node.state = _QUEUED
        self._arrived.append(node)

    def _line_up(self) -> None:
        """Put those that have become ready into their lanes."""
        for node in self._arrived:
            heapq.heappush(self._lanes[self._lane_of(node.task_id)], node.rank)
        self._arrived.clear()

    def _spread(self, ended: list[Node]) -> None:
        """Tell those downstream of tasks that have ended; add those that end with them."""
        nodes, ranked = self._nodes, self._ranked
        for node in ended:  # grows while we go
            state = node.state
            nodes[node.task_id] = ranked[node.rank] = _ENDED[state]
            good = state is _SUCCESS or state is _CACHED
            for below in node.downstream:
                if good and below.terms is None:  # as nearly all are: the same as below, with fewer calls
                    below.waiting -= 1
                    if not below.waiting and below.state is _SCHEDULED:
                        self._queue(below)
                elif below.count(state):
                    self._decide(below, ended)
        self._unfinished -= len(ended)

    def _decide(self, node: Node, ended: list[Node]) -> None:
        verdict = node.verdict()
        if verdict is _QUEUED:
            self._queue(node)
        elif verdict is not None:
            node.state = verdict  # at once, so that a second upstream does not end it twice
            ended.append(node)


def _ranked(upstream: Iterable[str], priority: Mapping[str, float], remaining: Mapping[str, float]) -> list[str]:
    """The tasks in the order in which they start if they are ready at the same time."""
    order = list(upstream)
    for known in filter(None, (remaining, priority)):  # by the last one first, as to sort keeps the order of equals
        worth = {**dict.fromkeys(order, 0.0), **known}
        order.sort(key=worth.__getitem__, reverse=True)
    return order


def _linked(
    upstream: Mapping[str, Collection[str]], order: Iterable[str], rules: Mapping[str, TriggerRule]
) -> dict[str, Node]:
    """A node for every task, in order, each of which knows what is downstream of it."""
    nodes = {task_id: Node(task_id, rank, [], len(upstream[task_id])) for rank, task_id in enumerate(order)}
    for task_id, above in upstream.items():
        node = nodes[task_id]
        for other in above:  # if one is there twice, it is counted and told twice
            nodes[other].downstream.append(node)
    for task_id, rule in rules.items():
        node = nodes[task_id]
        if node.waiting and rule is not TriggerRule.ALL_SUCCESS:
            node.terms = Terms.of(rule, node.waiting)
    return nodes
