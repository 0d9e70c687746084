"""The edges of a graph of tasks: the other way round, whether they only lead forward, an order in which they do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from graphlib import TopologicalSorter


def downstream_of(upstream: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """Task id -> the tasks directly downstream; all in the order of ``upstream``, which names every task."""
    downstream: dict[str, list[str]] = {task_id: [] for task_id in upstream}
    for task_id, above in upstream.items():
        for other in above:
            downstream[other].append(task_id)
    return downstream


def in_order(upstream: Mapping[str, Iterable[str]]) -> bool:
    """Tell whether each task stands after all its upstreams; if so, all of these are there, and there is no cycle."""
    seen: set[str] = set()
    for task_id, above in upstream.items():
        if not seen.issuperset(above):
            return False
        seen.add(task_id)
    return True


def topological(upstream: Mapping[str, Iterable[str]]) -> list[str]:
    """The tasks of an acyclic graph, each after all its upstreams: as they stand, if they stand so."""
    if in_order(upstream):  # as in nearly every DAG that is written
        return list(upstream)
    return list(TopologicalSorter(upstream).static_order())
