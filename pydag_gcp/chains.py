"""Write chains: the tasks that write the same thing, one after another, and whether they begin by replacing it.

The rows of a *replacing* chain follow from its tasks alone: running all of them again gives what is there. To run an
*accumulating* chain again is to add its rows once more.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from pydag_gcp.access import Access
from pydag_gcp.conflicts import Index, contains, key_of
from pydag_gcp.ordering import Ordering, Pair
from pydag_gcp.resources import Cluster, Resource, Table, resource_key


@dataclass(frozen=True, kw_only=True, eq=False)
class Chain:
    """Tasks whose writes overlap.

    Attributes:
        members: In the order in which they run.
        resources: What they write.
        replacing: Whatever rows they write, one of them that surely ran before has replaced what was there.
        shapers: Those members that only make tables, and touch no row.
    """

    members: tuple[str, ...]
    resources: tuple[Resource, ...]
    replacing: bool
    shapers: frozenset[str]

    @property
    def named(self) -> str:
        """What it writes, in words."""
        return ", ".join(str(resource) for resource in self.resources)


class Overlaps:
    """Which of many resources overlap, without looking at all pairs.

    Args:
        resources: All there are.
    """

    def __init__(self, resources: Iterable[Resource]) -> None:
        self._by_key: dict[str, list[Resource]] = defaultdict(list)
        for resource in sorted(set(resources), key=resource_key):
            self._by_key[key_of(resource)].append(resource)
        self._index = Index(self._by_key)
        self._known: dict[Resource, tuple[Resource, ...]] = {}

    def of(self, resource: Resource) -> tuple[Resource, ...]:
        """Those that overlap one of them, itself included."""
        if resource not in self._known:
            near = self._index.related(self._index.numbers[key_of(resource)])
            others = (other for number in near for other in self._by_key[self._index.keys[number]])
            self._known[resource] = tuple(other for other in others if other.overlaps(resource))
        return self._known[resource]


def written(access: Access) -> frozenset[Resource]:
    """The tables and objects that a task writes."""
    return frozenset(resource for resource in access.writes or () if not isinstance(resource, Cluster))


def rows_of(access: Access) -> frozenset[Resource]:
    """Of these, what it writes rows to."""
    shaped = {resource_key(resource) for resource in access.shapes}
    return frozenset(resource for resource in written(access) if resource_key(resource) not in shaped)


def chains_of(
    accesses: Mapping[str, Access], sure: Ordering, overlaps: Overlaps, reads: Mapping[str, frozenset[Resource]]
) -> dict[str, Chain]:
    """Find the chain of every task that writes tables or objects.

    Args:
        accesses: What each task touches.
        sure: Its order is that of the tasks; a task waits for another there only if it runs only after its success.
        overlaps: Knows at least all that is written and read.
        reads: What each task reads, also through views.
    """
    groups = _grouped(accesses, sure, overlaps)
    wanted: dict[str, dict[Resource, bool]] = {}
    for members in _distinct(groups):
        mine = {resource for task in members for resource in written(accesses[task])}
        wanted |= {task: _needed(accesses[task], reads[task], mine, overlaps) for task in members}
    covered = _covered(wanted, accesses, groups, sure)
    found: dict[str, Chain] = {}
    for members in _distinct(groups):
        resources = {resource for task in members for resource in written(accesses[task])}
        chain = Chain(
            members=tuple(members),
            resources=tuple(sorted(resources, key=resource_key)),
            replacing=all((task, r) in covered for task in members for r in wanted[task]),
            shapers=frozenset(task for task in members if not rows_of(accesses[task])),
        )
        found.update(dict.fromkeys(members, chain))
    return found


def _grouped(accesses: Mapping[str, Access], sure: Ordering, overlaps: Overlaps) -> dict[str, list[str]]:
    """Task -> the tasks of its chain, which are the same list for all of them."""
    groups = {task: [task] for task in sure.tasks if written(accesses[task])}
    writers: dict[Resource, list[str]] = defaultdict(list)
    for task in groups:
        rows = rows_of(accesses[task])
        for resource in written(accesses[task]):
            if resource in rows or not _is_dataset(resource):  # who makes a dataset has no part in its tables
                writers[resource].append(task)
    for resource, tasks in writers.items():
        near = [tasks[0], *(writers[other][0] for other in overlaps.of(resource) if other in writers)]
        for task in [*tasks[1:], *near[1:]]:
            _join(groups, near[0], task)
    for members in _distinct(groups):
        members.sort(key=sure.position.__getitem__)
    return groups


def _join(groups: dict[str, list[str]], one: str, other: str) -> None:
    larger, smaller = sorted((groups[one], groups[other]), key=len, reverse=True)
    if larger is not smaller:
        larger += smaller
        groups.update(dict.fromkeys(smaller, larger))


def _is_dataset(resource: Resource) -> bool:
    return isinstance(resource, Table) and resource.name == "*"


def _distinct(groups: Mapping[str, list[str]]) -> list[list[str]]:
    return list({id(members): members for members in groups.values()}.values())


def _needed(
    access: Access, reads: frozenset[Resource], mine: Collection[Resource], overlaps: Overlaps
) -> dict[Resource, bool]:
    """What must have been replaced for a member to build on nothing old -> whether the member may do so itself."""
    needed: dict[Resource, bool] = dict.fromkeys(rows_of(access), True)
    if needed:
        own = [resource for resource in reads if any(other in mine for other in overlaps.of(resource))]
        needed.update(dict.fromkeys(own, False))
    return needed


def _covered(
    wanted: Mapping[str, Mapping[Resource, bool]],
    accesses: Mapping[str, Access],
    groups: Mapping[str, list[str]],
    sure: Ordering,
) -> set[tuple[str, Resource]]:
    """Those of the wanted that have been replaced: by the task itself, if it may, or by a member that surely ran.

    An idempotent task adds nothing when it runs again. It covers only itself: what others add to may stay.
    """
    found: set[tuple[str, Resource]] = set()
    asked: dict[Pair, list[tuple[str, Resource]]] = defaultdict(list)
    for members in _distinct(groups):
        replacers = [task for task in members if accesses[task].replaces]
        for task in members:
            for resource, itself in wanted[task].items():
                if accesses[task].idempotent or (itself and replaces(accesses[task], resource)):
                    found.add((task, resource))
                    continue
                for other in _before(task, replacers, sure):
                    if replaces(accesses[other], resource):
                        asked[sure.position[other], sure.position[task]].append((task, resource))
    loose = sure.unordered(asked)
    return found.union(*(wants for pair, wants in asked.items() if pair not in loose))


def _before(task: str, others: Iterable[str], sure: Ordering) -> Iterator[str]:
    return itertools.takewhile(lambda other: sure.position[other] < sure.position[task], others)


def replaces(access: Access, resource: Resource) -> bool:
    """Tell whether a task replaces all that a resource stands for."""
    return any(contains(replaced, resource) for replaced in access.replaces)
