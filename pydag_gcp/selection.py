"""Which tasks of a DAG a run takes: ``--only`` and ``--from``, and what these cannot do without."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from pydag_gcp.edges import downstream_of
from pydag_gcp.errors import DefinitionError, did_you_mean_one_of
from pydag_gcp.operator import Context, Operator
from pydag_gcp.resources import Cluster


def select(
    tasks: Mapping[str, Operator],
    upstream: Mapping[str, Sequence[str]],
    ctx_of: Callable[[str], Context],
    only: Sequence[str] = (),
    start_from: Sequence[str] = (),
) -> frozenset[str]:
    """Choose the tasks of a run: all of them, unless some are named.

    The tasks upstream that write a cluster which a chosen one uses come along, and so do the teardowns of these.

    Args:
        tasks: Task id -> the rendered task.
        upstream: Task id -> ids of its upstreams, of every kind.
        ctx_of: The context of a task, by its id.
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
    services = _Services(tasks, below, ctx_of)
    chosen, fresh = set[str](), set(only) | reach(start_from, below)
    while fresh:  # what comes along may need something itself
        chosen |= fresh
        fresh = services.needed_by(fresh) - chosen
    return frozenset(chosen)


class _Services:
    """The tasks that write clusters, and their teardowns."""

    def __init__(
        self,
        tasks: Mapping[str, Operator],
        downstream: Mapping[str, Sequence[str]],
        ctx_of: Callable[[str], Context],
    ) -> None:
        self._downstream = downstream
        written = {task_id: clusters(task.writes(ctx_of(task_id))) for task_id, task in tasks.items()}
        # Who writes a cluster does not need it: deleting one must not create it first.
        used = {task_id: clusters(task.uses(ctx_of(task_id))) - written[task_id] for task_id, task in tasks.items()}
        self._written = {task_id: clusters for task_id, clusters in written.items() if clusters}
        self._used = {task_id: clusters for task_id, clusters in used.items() if clusters}
        self._teardowns = defaultdict[str, set[str]](set)
        for task_id, task in tasks.items():
            for setup in task.teardown_of:
                self._teardowns[setup].add(task_id)

    def needed_by(self, chosen: set[str]) -> set[str]:
        """The services that tasks use, and the teardowns of these."""
        needed: set[str] = set()
        for service, clusters in self._written.items():
            users = {task_id for task_id in chosen if not clusters.isdisjoint(self._used.get(task_id, ()))}
            if users and not users.isdisjoint(reach([service], self._downstream)):
                needed |= {service} | self._teardowns[service]
        return needed


def clusters(resources: Iterable[object] | None) -> set[Cluster]:
    """The clusters among resources."""
    return {resource for resource in resources or () if isinstance(resource, Cluster)}


def reach(starts: Iterable[str], edges: Mapping[str, Sequence[str]]) -> set[str]:
    """Follow edges from some tasks; these are reached, too."""
    reached, waiting = set(starts), list(starts)
    while waiting:
        fresh = [other for other in edges[waiting.pop()] if other not in reached]
        reached.update(fresh)
        waiting.extend(fresh)
    return reached
