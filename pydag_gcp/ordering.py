"""Tasks in the order written, and which of them always wait for which."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property

from pydag_gcp.edges import downstream_of, in_order
from pydag_gcp.states import TriggerRule

#: Rules that let a task start while an upstream may still run.
_IMPATIENT = frozenset({TriggerRule.ONE_SUCCESS, TriggerRule.ONE_FAILED, TriggerRule.ALWAYS})

#: Tasks whose downstreams are followed at once, as the bits of one integer.
_AT_ONCE = 4096

#: Two positions, the earlier one first.
Pair = tuple[int, int]

#: Tells the positions of the tasks that the one at a position waits for directly.
Above = Callable[[int], Sequence[int]]


class Ordering:
    """A topological order, and the edges that make one task wait for another.

    The order is the one in which the tasks were written, as far as the edges allow; a teardown comes as late as they
    allow. Tasks are known by their position in it.

    Args:
        tasks: Task ids, in the order of definition.
        upstream: Task id -> its upstreams; no cycle.
        rules: Task id -> its trigger rule.
        teardowns: These wait for all upstreams.
    """

    def __init__(
        self,
        tasks: Iterable[str],
        upstream: Mapping[str, Sequence[str]],
        *,
        rules: Mapping[str, TriggerRule],
        teardowns: Collection[str],
    ) -> None:
        self._upstream, self._rules, self._teardowns = upstream, rules, teardowns
        self.tasks = _sorted(list(tasks), upstream, teardowns)

    @cached_property
    def position(self) -> dict[str, int]:
        """Task id -> its position."""
        return {task: position for position, task in enumerate(self.tasks)}

    @cached_property
    def waits(self) -> list[bool]:
        """Which tasks, by position, wait for all their upstreams."""
        return [task in self._teardowns or self._rules[task] not in _IMPATIENT for task in self.tasks]

    def unordered(self, pairs: Iterable[Pair], added: Collection[Pair] = ()) -> set[Pair]:
        """Those pairs of which the second does not always wait for the first, also with ``added`` edges."""
        tasks, upstream, waits, more = self.tasks, self._upstream, self.waits, frozenset(added)
        unordered, far = set[Pair](), dict[int, list[int]]()
        for pair in pairs:
            first, second = pair
            if second - first > 1:
                far.setdefault(second, []).append(first)
            elif not (waits[second] and tasks[first] in upstream[tasks[second]]) and pair not in more:
                unordered.add(pair)  # no task stands between the two, so that no path can lead there
        if not far:
            return unordered
        above = self._with(added)
        indirect = {
            (first, second) for second, firsts in far.items() for first in set(firsts).difference(above(second))
        }
        return unordered | (indirect - _indirect(above, indirect))

    def without_detours(self, pairs: Collection[Pair]) -> set[Pair]:
        """Those of ``pairs``, added to the edges, that no path of other edges makes superfluous."""
        return set(pairs) - _indirect(self._with(pairs), pairs)

    def _with(self, added: Collection[Pair]) -> Above:
        """Tell what a task waits for directly, by position."""
        more: dict[int, list[int]] = {}
        for first, second in added:
            more.setdefault(second, []).append(first)
        tasks, upstream, position, waits = self.tasks, self._upstream, self.position, self.waits

        def above(task: int) -> Sequence[int]:
            edges = [position[other] for other in upstream[tasks[task]]] if waits[task] else []
            return edges + more[task] if task in more else edges

        return above


def _sorted(tasks: list[str], upstream: Mapping[str, Sequence[str]], teardowns: Collection[str]) -> list[str]:
    if not teardowns and tasks == [*upstream] and in_order(upstream):
        return tasks  # as nearly every DAG is written
    rank = {task: (task in teardowns, index) for index, task in enumerate(tasks)}
    downstream = downstream_of(upstream)
    missing = {task: len(upstream[task]) for task in tasks}
    ready = [(rank[task], task) for task in tasks if not missing[task]]
    heapq.heapify(ready)
    found: list[str] = []
    while ready:
        _, task = heapq.heappop(ready)
        found.append(task)
        for below in downstream[task]:
            missing[below] -= 1
            if not missing[below]:
                heapq.heappush(ready, (rank[below], below))
    return found


def _indirect(above: Above, pairs: Iterable[Pair]) -> set[Pair]:
    """Find the pairs that a path of at least two edges connects.

    Takes the sources in blocks, each of which costs one look at the edges between its first source and its last target;
    or the targets, if these are fewer: of one writer and 100,000 readers the writer.
    """
    ends: dict[int, list[int]] = {}
    starts: dict[int, list[int]] = {}
    for source, target in pairs:
        ends.setdefault(source, []).append(target)
        starts.setdefault(target, []).append(source)
    connected, sides = (_connected, ends) if len(ends) <= len(starts) else (_connected_back, starts)
    found: set[Pair] = set()
    tasks = sorted(sides)
    for start in range(0, len(tasks), _AT_ONCE):
        found.update(connected(above, {task: sides[task] for task in tasks[start : start + _AT_ONCE]}))
    return found


def _connected(above: Above, targets: Mapping[int, Sequence[int]]) -> Iterator[Pair]:
    """Follow the edges from each source."""
    first, last = min(targets), max(max(ends) for ends in targets.values())
    bits = {source: 1 << number for number, source in enumerate(targets)}
    wanted: dict[int, list[int]] = {}
    for source, ends in targets.items():
        for end in ends:
            wanted.setdefault(end, []).append(source)
    reached = [0] * (last + 1 - first)
    for task in range(first + 1, last + 1):
        near = far = 0
        for before in above(task):
            if before >= first:
                near |= bits.get(before, 0)
                far |= reached[before - first]
        reached[task - first] = near | far
        yield from ((source, task) for source in wanted.get(task, ()) if far & bits[source])


def _connected_back(above: Above, sources: Mapping[int, Sequence[int]]) -> Iterator[Pair]:
    """Follow the edges back from each target."""
    first, last = min(min(starts) for starts in sources.values()), max(sources)
    bits = {target: 1 << number for number, target in enumerate(sources)}
    near, far = [0] * (last + 1 - first), [0] * (last + 1 - first)
    for task in range(last, first, -1):
        own, reached = bits.get(task, 0), near[task - first] | far[task - first]
        if own or reached:
            for before in above(task):
                if before >= first:
                    near[before - first] |= own
                    far[before - first] |= reached
    for target, starts in sources.items():
        yield from ((source, target) for source in starts if far[source - first] & bits[target])
