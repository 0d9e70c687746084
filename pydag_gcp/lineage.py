"""What binds the tasks of a run to one another: who reads what others write, who writes the same, who uses a service.

Of what a task reads, some follows from tasks before it, which have replaced it as a whole: there their successes tell
whether it has changed. Of all else the version tells.
"""

from __future__ import annotations

import bisect
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from pydag_gcp.access import Access
from pydag_gcp.arms import Arms, Picks
from pydag_gcp.chains import Chain, Overlaps, chains_of, replaces, rows_of, written
from pydag_gcp.conflicts import Mode, touches
from pydag_gcp.edges import downstream_of
from pydag_gcp.ordering import Ordering, Pair
from pydag_gcp.resources import Cluster, Resource, Table
from pydag_gcp.services import Service, services_of
from pydag_gcp.states import TriggerRule

#: Skipped if one upstream is, or only if all are.
_IF_ANY = frozenset({TriggerRule.ALL_SUCCESS})
_IF_ALL = frozenset({TriggerRule.ONE_SUCCESS, TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS})


@dataclass(frozen=True, kw_only=True)
class Read:
    """Something that a task reads, itself or through a view that the run makes.

    Attributes:
        writers: The tasks before it that write it.
        settled: What it holds follows from these: one that surely ran has replaced it as a whole.
        appended: An accumulating chain writes it.
        own: The reader's own accumulating chain does.
    """

    resource: Resource
    writers: tuple[str, ...] = ()
    settled: bool = False
    appended: bool = False
    own: bool = False


@dataclass(frozen=True, kw_only=True)
class Ties:
    """What binds one task to others.

    Attributes:
        opaque: It may touch more than it says.
        reads: What it reads.
        dependencies: The tasks that make what it is built on: if one of them runs, that may have changed.
        built_on: Those of them of which only the success tells whether it has; of what the others write, the version.
        chain: The tasks that write what it writes; None if it writes nothing.
        between: Replacing chains of which it reads what a later member writes over.
        shaper: It only makes tables, and touches no row.
        conditional: It may be skipped although no task fails.
        sources: The tasks of the run whose outputs it takes.
        service: Of a service task.
    """

    opaque: bool = False
    reads: tuple[Read, ...] = ()
    dependencies: tuple[str, ...] = ()
    built_on: tuple[str, ...] = ()
    chain: Chain | None = None
    between: tuple[Chain, ...] = ()
    shaper: bool = False
    conditional: bool = False
    sources: tuple[str, ...] = ()
    service: Service | None = None

    @property
    def accumulating(self) -> bool:
        """Whether running it again adds its rows once more."""
        return self.chain is not None and not self.chain.replacing

    @cached_property
    def tracked(self) -> tuple[Resource, ...]:
        """What it reads of which the version counts."""
        return tuple(r.resource for r in self.reads if not r.own and (self.accumulating or not r.settled))


class Lineage:
    """The ties of all tasks of a run. Pure: it is told what tasks touch, and asks nobody.

    The graph has no races: of two tasks that touch the same, one comes before the other, or only one of them runs.

    Args:
        accesses: What each task touches, in the order of definition.
        upstream: Task id -> its upstreams. No cycle.
        sources: Task id -> the tasks whose outputs it takes, where it takes some.
        rules: Task id -> its trigger rule.
        branches: What each branch picks from.
        teardowns: Teardown -> its setups.
    """

    def __init__(
        self,
        accesses: Mapping[str, Access],
        upstream: Mapping[str, Sequence[str]],
        *,
        sources: Mapping[str, tuple[str, ...]],
        rules: Mapping[str, TriggerRule],
        branches: Picks,
        teardowns: Mapping[str, Sequence[str]],
    ) -> None:
        self.accesses, self.upstream, self.teardowns = accesses, upstream, teardowns
        self._sources = sources
        self.downstream = downstream_of(upstream)
        arms = Arms(upstream, rules=rules, branches=branches, teardowns=teardowns)
        self.apart = arms.apart
        strict = {task: rule if rule in _IF_ANY else TriggerRule.ALWAYS for task, rule in rules.items()}
        sure = Ordering(accesses, upstream, rules=strict, teardowns=())
        self.position = sure.position
        self.order = tuple(sure.tasks)
        found = touches(accesses, sure.position)
        self._reads: dict[str, frozenset[Resource]] = dict.fromkeys(accesses, frozenset())
        for touch in found:
            if touch.mode is Mode.READ and not isinstance(touch.resource, Cluster):
                self._reads[self.order[touch.task]] |= {touch.resource}
        self._overlaps = Overlaps(touch.resource for touch in found)
        self.chains = chains_of(accesses, sure, self._overlaps, self._reads)
        self._writers = self._all_writers()
        self._settled = self._all_settled(sure)
        self._services = services_of(accesses, upstream)
        conditional = self._conditional(rules, branches)
        self.ties = {task: self._ties(task, conditional=task in conditional) for task in self.order}

    def moved_by(self, task: str) -> frozenset[Resource]:
        """What a task does not write, but whose version changes when it writes.

        Other partitions of a table, whose version is the table's; and views that the run makes over what it writes.
        """
        return self._moves(task)

    def overlapping(self, task: str, among: Collection[Resource]) -> set[Resource]:
        """Those of some resources that overlap what a task writes."""
        if not among:
            return set()
        return {r for own in written(self.accesses[task]) for r in self._overlaps.of(own) if r in among}

    @cached_property
    def takers(self) -> Mapping[str, Sequence[str]]:
        """Task -> the tasks that take its output."""
        found: dict[str, list[str]] = defaultdict(list)
        for task, sources in self._sources.items():
            for source in sources:
                found[source].append(task)
        return found

    def bound_to(self, task: str) -> tuple[Chain, ...]:
        """The replacing chains that have to run if the task does."""
        ties = self.ties[task]
        return (ties.chain, *ties.between) if ties.chain is not None and ties.chain.replacing else ties.between

    @cached_property
    def together(self) -> Mapping[Chain, tuple[str, ...]]:
        """Replacing chain -> its members, and those that read in between, in order."""
        found: dict[Chain, list[str]] = defaultdict(list)
        for task in self.order:
            for chain in dict.fromkeys(self.bound_to(task)):
                found[chain].append(task)
        return {chain: tuple(tasks) for chain, tasks in found.items()}

    # how it is found out --------------------------------------------------------------------------------------------

    def _all_writers(self) -> dict[Resource, list[tuple[int, str]]]:
        """Each resource that is read -> who writes it, with positions, in order."""
        by_resource: dict[Resource, list[str]] = defaultdict(list)
        for task in self.order:
            for resource in written(self.accesses[task]):
                by_resource[resource].append(task)
        wanted = frozenset().union(*self._reads.values())
        return {
            resource: sorted(
                {
                    (self.position[task], task)
                    for other in self._overlaps.of(resource)
                    for task in by_resource.get(other, ())
                }
            )
            for resource in wanted
        }

    def _all_settled(self, sure: Ordering) -> dict[tuple[str, Resource], int]:
        """What tasks read that a replacing chain has surely replaced as a whole before -> who did so last."""
        asked: dict[Pair, list[tuple[str, Resource]]] = defaultdict(list)
        for task, reads in self._reads.items():
            for resource in reads:
                for place, writer in self._before(task, resource):
                    if self.chains[writer].replacing and replaces(self.accesses[writer], resource):
                        asked[place, self.position[task]].append((task, resource))
        loose = sure.unordered(asked)
        return {read: pair[0] for pair in sorted(asked.keys() - loose) for read in asked[pair]}

    def _before(self, task: str, resource: Resource) -> list[tuple[int, str]]:
        writers = self._writers[resource]
        return writers[: bisect.bisect_left(writers, (self.position[task], ""))]

    def _ties(self, task: str, *, conditional: bool) -> Ties:
        access, chain = self.accesses[task], self.chains.get(task)
        reads = tuple(self._read(task, resource, chain) for resource in sorted(self._reads[task], key=str))
        known = not access.opaque and chain is not None and not chain.replacing
        near = () if known else self.upstream[task]
        edges = [t for t in near if (access.opaque or self.accesses[t].opaque) and not self._aside(t)]
        writers = [writer for read in reads for writer in read.writers]
        if known:  # what touches no row gives it nothing new to add
            writers = [writer for writer in writers if rows_of(self.accesses[writer])]
        between = tuple(chain for chain in self._between(task, reads) if chain.replacing)
        settling = [
            writer
            for read in reads
            for writer in read.writers
            if read.settled or self.chains[writer] in between  # its version is that of what comes after the task
        ]
        return Ties(
            opaque=access.opaque,
            reads=reads,
            dependencies=self._sorted({*writers, *edges}),
            built_on=self._sorted({*(writers if known else settling), *edges}),
            chain=chain,
            between=between,
            shaper=chain is not None and not rows_of(access),
            conditional=conditional,
            sources=self._sources.get(task, ()),
            service=self._services.get(task),
        )

    def _sorted(self, tasks: Iterable[str]) -> tuple[str, ...]:
        return tuple(sorted(tasks, key=self.position.__getitem__))

    def _aside(self, task: str) -> bool:
        return task in self._services or task in self.teardowns

    def _read(self, task: str, resource: Resource, chain: Chain | None) -> Read:
        first = self._settled.get((task, resource), 0)  # what was before has no part in it
        before = self._before(task, resource)
        writers = [writer for place, writer in before if place >= first and not self.apart(writer, task)]
        other = [self.chains[writer] for _, writer in self._writers[resource]]
        own = chain is not None and not chain.replacing and chain in other
        return Read(
            resource=resource,
            writers=tuple(writers),
            settled=(task, resource) in self._settled,
            appended=any(not one.replacing for one in other),
            own=own,
        )

    def _between(self, task: str, reads: Sequence[Read]) -> Iterator[Chain]:
        own, place = self.chains.get(task), self.position[task]
        for read in reads:
            before = {self.chains[w] for w in read.writers if rows_of(self.accesses[w])}
            if before:
                after = (self.chains[writer] for where, writer in self._writers[read.resource] if where > place)
                yield from (chain for chain in dict.fromkeys(after) if chain in before and chain is not own)

    def _conditional(self, rules: Mapping[str, TriggerRule], branches: Collection[str]) -> set[str]:
        found: set[str] = set()
        for task in self.order:
            above = [other in found for other in self.upstream[task]]
            if task in self.teardowns:
                continue
            if (
                rules[task] is TriggerRule.ONE_FAILED
                or any(other in branches for other in self.upstream[task])
                or (rules[task] in _IF_ANY and any(above))
                or (rules[task] in _IF_ALL and above and all(above))
            ):
                found.add(task)
        return found

    @cached_property
    def _moves(self) -> Callable[[str], frozenset[Resource]]:
        parts: dict[str, set[Resource]] = defaultdict(set)
        for resource in {*self._writers, *(r for chain in self.chains.values() for r in chain.resources)}:
            if isinstance(resource, Table):
                parts[whole_of(resource)].add(resource)
        over: dict[str, set[Table]] = defaultdict(set)
        for access in self.accesses.values():
            for view, reads in access.views.items():
                for read in reads:
                    over[whole_of(read)].add(view)

        def moves(task: str) -> frozenset[Resource]:
            own = written(self.accesses[task])
            found: set[Resource] = set()
            stack = [whole_of(resource) for resource in own]
            while stack:
                whole = stack.pop()
                fresh = {*parts[whole], *over[whole]} - found
                found |= fresh
                stack += [whole_of(view) for view in fresh & over[whole]]
            return frozenset(r for r in found if not any(r.overlaps(mine) for mine in own))

        return moves


def whole_of(resource: Resource) -> str:
    """The name of the table of which something is a partition, or its own."""
    return str(resource).partition("$")[0] if isinstance(resource, Table) else str(resource)
