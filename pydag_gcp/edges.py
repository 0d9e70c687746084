"""The edges of a graph of tasks, the other way round."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def downstream_of(upstream: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """Task id -> the tasks directly downstream; all in the order of ``upstream``, which names every task."""
    downstream: dict[str, list[str]] = {task_id: [] for task_id in upstream}
    for task_id, above in upstream.items():
        for other in above:
            downstream[other].append(task_id)
    return downstream
