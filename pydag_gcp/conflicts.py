"""Which tasks must not run at the same time, because one writes what the other touches.

Never all pairs of tasks are looked at: resources are indexed by name, and where a writer comes between two tasks, it
stands for the earlier one: who is ordered behind it is ordered behind what it waits for.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pydag_gcp.access import Access
from pydag_gcp.ordering import Pair
from pydag_gcp.resources import Cluster, GCSObject, Resource, Table


class Mode(enum.Enum):
    """How a task touches a resource. Two tasks may both read it, or both append to it, at the same time."""

    READ = "reads"
    APPEND = "appends to"
    WRITE = "writes"


@dataclass(slots=True, eq=False)
class Touch:
    """A task touches a resource.

    Attributes:
        task: Its position.
        via: The view through which it reads.
        key: A text such that of two resources that overlap, one's begins with the other's.
    """

    task: int
    resource: Resource
    mode: Mode
    via: Table | None = None
    key: str = field(init=False)

    def __post_init__(self) -> None:
        self.key = key_of(self.resource)

    def clashes(self, other: Touch) -> bool:
        """Tell whether it matters which of the two is first."""
        return (
            self.task != other.task
            and (self.mode is not other.mode or self.mode is Mode.WRITE)
            and self.resource.overlaps(other.resource)
        )

    def covers(self, other: Touch) -> bool:
        """Tell whether whatever clashes with the other clashes with this one too."""
        if self.mode is not Mode.WRITE or not self.resource.overlaps(other.resource):
            return False
        if isinstance(self.resource, GCSObject) and self.resource.is_glob:
            return self.resource == other.resource
        return other.key.startswith(self.key)


def touches(accesses: Mapping[str, Access], position: Mapping[str, int]) -> list[Touch]:
    """List what tasks touch, in the order of their positions.

    Who reads a view that a task makes reads what the view reads.
    """
    views = _views(accesses)
    found = [touch for task, access in accesses.items() for touch in _touches(position[task], access, views)]
    return sorted(found, key=lambda touch: touch.task)


def _touches(task: int, access: Access, views: Mapping[str, frozenset[Resource]]) -> Iterator[Touch]:
    for resource in access.uses or ():
        yield Touch(task, resource, Mode.READ)
    for resource in access.reads or ():
        yield Touch(task, resource, Mode.READ)
        if isinstance(resource, Table) and resource.table in views:
            yield from (Touch(task, below, Mode.READ, resource) for below in _behind(resource, views))
    for resource in access.writes or ():
        shared = isinstance(resource, Table) and resource.shared
        appends = shared and not any(resource.overlaps(replaced) for replaced in access.replaces)
        yield Touch(task, resource, Mode.APPEND if appends else Mode.WRITE)


def _views(accesses: Mapping[str, Access]) -> dict[str, frozenset[Resource]]:
    views: dict[str, frozenset[Resource]] = {}
    for access in accesses.values():
        for view, reads in access.views.items():
            views[view.table] = views.get(view.table, frozenset()) | reads
    return views


def _behind(view: Table, views: Mapping[str, frozenset[Resource]]) -> set[Resource]:
    """What a view reads, also through other views."""
    found: set[Resource] = set()
    stack: list[Resource] = [view]
    while stack:
        reads = views.get(str(stack.pop()), frozenset()) - found
        found |= reads
        stack.extend(resource for resource in reads if isinstance(resource, Table))
    return found


def pairs(found: Sequence[Touch], apart: Callable[[int, int], bool]) -> set[Pair]:
    """Find pairs of tasks such that, if in each the second waits for the first, no two tasks can race.

    Args:
        found: What :func:`touches` lists.
        apart: Whether two tasks never both run.
    """
    index = Index(touch.key for touch in found)
    written = {index.numbers[touch.key] for touch in found if touch.mode is not Mode.READ}
    contested = {number for own in written for number in index.related(own)}
    live: dict[int, dict[Mode, list[Touch]]] = {number: {} for number in contested}
    search = _Search(apart)
    for touch in found:
        own = index.numbers[touch.key]
        if own not in contested:
            continue
        for number in contested.intersection(index.related(own)):
            for mode, others in live[number].items():
                if mode is not touch.mode or mode is Mode.WRITE:
                    live[number][mode] = [other for other in others if not search.stands_for(touch, other)]
        live[own].setdefault(touch.mode, []).append(touch)
    return search.wanted


class _Search:
    """The pairs found so far, and which earlier touches each later one stands for."""

    def __init__(self, apart: Callable[[int, int], bool]) -> None:
        self.wanted: set[Pair] = set()
        self._apart = apart
        self._replaced: dict[Touch, list[Touch]] = {}

    def stands_for(self, touch: Touch, earlier: Touch) -> bool:
        """Note what the later touch has to wait for; tell whether it stands for the earlier one from now on."""
        stack = [earlier]
        while stack:
            other = stack.pop()
            if touch.clashes(other):
                if self._apart(other.task, touch.task):
                    stack.extend(self._replaced.get(other, ()))
                else:
                    self.wanted.add((other.task, touch.task))
        covered = (earlier.task, touch.task) in self.wanted and touch.covers(earlier)
        if covered:
            self._replaced.setdefault(touch, []).append(earlier)
        return covered


class Index:
    """The keys of resources, sorted, so that those below a key follow it.

    Args:
        keys: See :func:`key_of`.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        self.keys = sorted(set(keys))
        self.numbers = {key: number for number, key in enumerate(self.keys)}
        self._parent: list[int | None] = []
        self._end = [0] * len(self.keys)
        above: list[int] = []
        for number, key in enumerate(self.keys):
            while above and not key.startswith(self.keys[above[-1]]):
                self._end[above.pop()] = number
            self._parent.append(above[-1] if above else None)
            above.append(number)
        for number in above:
            self._end[number] = len(self.keys)

    def related(self, number: int) -> Iterator[int]:
        """The keys that begin with this one, itself included, and those it begins with: no others may overlap."""
        yield from range(number, self._end[number])
        above = self._parent[number]
        while above is not None:
            yield above
            above = self._parent[above]


def contains(one: Resource, other: Resource) -> bool:
    """Tell whether all that the other stands for is a part of the one; where that is not known, it is not."""
    return Touch(0, one, Mode.WRITE).covers(Touch(0, other, Mode.READ))


def key_of(resource: Resource) -> str:
    """Make a text such that of two resources that overlap, one's begins with the other's."""
    match resource:
        case Table():
            dataset, _, last = resource.table.rpartition(".")
            stem, star, _ = last.partition("*")
            name, _, partition = last.partition("$")
            return f"table\0{dataset}\0{stem}" if star else f"table\0{dataset}\0{name}\0{partition}"
        case GCSObject():
            return "\0".join(["object", resource.bucket, resource.fixed if resource.many else f"{resource.name}\0"])
        case Cluster():
            return "\0".join(["cluster", resource.region, resource.name, ""])
        case _:
            return f"{type(resource).__qualname__}\0"
