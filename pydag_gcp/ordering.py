"""Tasks in the order written, and which of them always wait for which."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from pydag_gcp.edges import downstream_of
from pydag_gcp.states import TriggerRule

#: Rules that let a task start while an upstream may still run.
_IMPATIENT = frozenset({TriggerRule.ONE_SUCCESS, TriggerRule.ONE_FAILED, TriggerRule.ALWAYS})

#: Tasks whose downstreams are followed at once, as the bits of one integer.
_AT_ONCE = 4096

#: Two positions, the earlier one first.
Pair = tuple[int, int]


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
        self.tasks = _sorted(list(tasks), upstream, teardowns)
        self.position = {task: position for position, task in enumerate(self.tasks)}
        self.waits = [task in teardowns or rules[task] not in _IMPATIENT for task in self.tasks]
        self._above = [
            frozenset(self.position[above] for above in upstream[task]) if waits else frozenset()
            for task, waits in zip(self.tasks, self.waits, strict=True)
        ]

    def unordered(self, pairs: Iterable[Pair], added: Collection[Pair] = ()) -> set[Pair]:
        """Those pairs of which the second does not always wait for the first, also with ``added`` edges."""
        above = self._with(added)
        far = {(first, second) for first, second in pairs if first not in above[second]}
        return far - _indirect(above, far)

    def without_detours(self, pairs: Collection[Pair]) -> set[Pair]:
        """Those of ``pairs``, added to the edges, that no path of other edges makes superfluous."""
        return set(pairs) - _indirect(self._with(pairs), pairs)

    def _with(self, added: Collection[Pair]) -> Sequence[frozenset[int]]:
        more: dict[int, set[int]] = {}
        for first, second in added:
            more.setdefault(second, set()).add(first)
        return [edges | more[task] if task in more else edges for task, edges in enumerate(self._above)]


def _sorted(tasks: Sequence[str], upstream: Mapping[str, Sequence[str]], teardowns: Collection[str]) -> list[str]:
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


def _indirect(above: Sequence[Collection[int]], pairs: Iterable[Pair]) -> set[Pair]:
    """Find the pairs that a path of at least two edges connects.

    Takes the sources in blocks, each of which costs one look at the edges between its first source and its last target.
    """
    targets: dict[int, list[int]] = {}
    for source, target in pairs:
        targets.setdefault(source, []).append(target)
    sources = sorted(targets)
    found: set[Pair] = set()
    for start in range(0, len(sources), _AT_ONCE):
        found.update(_connected(above, {source: targets[source] for source in sources[start : start + _AT_ONCE]}))
    return found


def _connected(above: Sequence[Collection[int]], targets: Mapping[int, Sequence[int]]) -> Iterator[Pair]:
    first, last = min(targets), max(max(ends) for ends in targets.values())
    bits = {source: 1 << number for number, source in enumerate(targets)}
    wanted: dict[int, list[int]] = {}
    for source, ends in targets.items():
        for end in ends:
            wanted.setdefault(end, []).append(source)
    reached = [0] * (last + 1 - first)
    for task in range(first + 1, last + 1):
        near = far = 0
        for before in above[task]:
            if before >= first:
                near |= bits.get(before, 0)
                far |= reached[before - first]
        reached[task - first] = near | far
        yield from ((source, task) for source in wanted.get(task, ()) if far & bits[source])
