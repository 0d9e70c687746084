"""Which tasks of a DAG a run takes: ``--only`` and ``--from``, and what these cannot do without."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from pydag_gcp.access import Access
from pydag_gcp.edges import downstream_of
from pydag_gcp.errors import DefinitionError, did_you_mean_one_of
from pydag_gcp.operator import Operator
from pydag_gcp.resources import Cluster


def select(
    tasks: Mapping[str, Operator],
    upstream: Mapping[str, Sequence[str]],
    accesses: Mapping[str, Access],
    only: Sequence[str] = (),
    start_from: Sequence[str] = (),
) -> frozenset[str]:
    """Choose the tasks of a run: all of them, unless some are named.

    The tasks upstream that write a cluster which a chosen one uses come along, and so do the teardowns of these.

    Args:
        tasks: Task id -> the rendered task.
        upstream: Task id -> ids of its upstreams, of every kind.
        accesses: Task id -> what it touches.
        only: Ids of tasks to run.
        start_from: Ids of tasks to run together with everything downstream of them.

    Raises:
        DefinitionError: No task has one of these ids.
    """
    only, start_from = ([ids] if isinstance(ids, str) else ids for ids in (only, start_from))
    if not only and not start_from:
        return frozenset(tasks)
    for task_id in (*only, *start_from):
        if task_id not in tasks:
            raise DefinitionError(f"no task {task_id!r} in the DAG", hint=did_you_mean_one_of(task_id, tasks))
    below = downstream_of(upstream)
    services = _Services(tasks, below, accesses)
    chosen, fresh = set[str](), set(only) | reach(start_from, below)
    while fresh:  # what comes along may need something itself
        chosen |= fresh
        fresh = services.needed_by(fresh, chosen)
    return frozenset(chosen)


class _Services:
    """The tasks that write clusters, and their teardowns."""

    def __init__(
        self,
        tasks: Mapping[str, Operator],
        downstream: Mapping[str, Sequence[str]],
        accesses: Mapping[str, Access],
    ) -> None:
        self._downstream = downstream
        self._written: dict[str, set[Cluster]] = {}
        self._users = defaultdict[Cluster, set[str]](set)
        for task_id, access in accesses.items():
            if not access.named:
                continue
            if written := clusters(access.writes):
                self._written[task_id] = written
            # Who writes a cluster does not need it: deleting one must not create it first.
            for cluster in clusters(access.uses) - written:
                self._users[cluster].add(task_id)
        self._teardowns = defaultdict[str, set[str]](set)
        for task_id, task in tasks.items():
            for setup in task.teardown_of:
                self._teardowns[setup].add(task_id)

    def needed_by(self, fresh: set[str], chosen: set[str]) -> set[str]:
        """The services that tasks use, and the teardowns of these, without those that are chosen already."""
        needed: set[str] = set()
        for service, clusters in self._written.items():
            users = {task_id for cluster in clusters for task_id in self._users[cluster] & fresh}
            if users and not users.isdisjoint(reach([service], self._downstream)):
                needed |= {service} | self._teardowns[service]
        return needed - chosen


def of_kind(tasks: Mapping[str, Operator], kind: type[Any]) -> list[str]:
    """The ids of the tasks of a class. Looks at each class once: to ask 100,000 models for theirs takes a while."""
    kinds = {found for found in set(map(type, tasks.values())) if issubclass(found, kind)}
    return [task_id for task_id, task in tasks.items() if type(task) in kinds] if kinds else []


def clusters(resources: Iterable[object] | None) -> set[Cluster]:
    """The clusters among resources."""
    return {resource for resource in resources or () if isinstance(resource, Cluster)}


def is_service(written: Collection[object] | None) -> bool:
    """Whether these are clusters and nothing else: whoever writes them starts, or ends, what deletes itself in time."""
    return bool(written) and len(clusters(written)) == len(written or ())


def reach(starts: Iterable[str], edges: Mapping[str, Sequence[str]]) -> set[str]:
    """Follow edges from some tasks; these are reached, too."""
    reached, waiting = set(starts), list(starts)
    while waiting:
        fresh = [other for other in edges[waiting.pop()] if other not in reached]
        reached.update(fresh)
        waiting.extend(fresh)
    return reached
