"""Of which resources the versions count for each task of a run: what it reads and writes, and what moves with that."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import cached_property

from pydag_gcp.lineage import Lineage, whole_of
from pydag_gcp.resources import Resource


class Tracking:
    """The resources of which it is asked what version they have. Pure.

    Args:
        lineage: What binds the tasks.
        recordable: Tells of a task whether its successes are recorded.
    """

    def __init__(self, lineage: Lineage, recordable: Callable[[str], bool]) -> None:
        self._lineage, self._recordable = lineage, recordable

    def read(self, task_id: str) -> set[Resource]:
        """What it reads, as far as the version tells whether that has changed."""
        return set(self._lineage.ties[task_id].tracked) if self._recordable(task_id) else set()

    def written(self, task_id: str) -> set[Resource]:
        """What its chain writes."""
        chain = self._lineage.ties[task_id].chain
        if chain is None or not any(map(self._recordable, chain.members)):
            return set()
        return set(chain.resources)

    def watched(self, task_id: str) -> set[Resource]:
        """What it writes, and tasks after it read by version."""
        return self._readers.get(task_id, set())

    def moved(self, task_id: str) -> frozenset[Resource]:
        """What it does not write, but whose version changes when it writes, where records have that version."""
        return self._lineage.moved_by(task_id) & self._counting

    def beside(self, task_id: str) -> Mapping[str, list[Resource]]:
        """The same by what they are parts of, under names that no resource has: these have one version in all."""
        found: dict[str, list[Resource]] = defaultdict(list)
        for resource in self.moved(task_id):
            found[f"beside {whole_of(resource)}"].append(resource)
        return found

    def kin(self, task_id: str) -> set[Resource]:
        """Of what can be so moved by some task, all that this one changes, so that each change has its author."""
        return {*self.moved(task_id), *self._lineage.overlapping(task_id, self._movable)}

    @cached_property
    def _readers(self) -> Mapping[str, set[Resource]]:
        found: dict[str, set[Resource]] = defaultdict(set)
        for task_id in self._lineage.order:
            tracked = self.read(task_id)
            for read in self._lineage.ties[task_id].reads if tracked else ():
                for writer in read.writers if read.resource in tracked else ():
                    found[writer].add(read.resource)
        return found

    @cached_property
    def _movable(self) -> frozenset[Resource]:
        return frozenset().union(*map(self.moved, self._lineage.order))

    @cached_property
    def _counting(self) -> frozenset[Resource]:
        """Everything of which a version is in records."""
        return frozenset().union(*(self.read(t) | self.written(t) for t in self._lineage.order))
