"""Edges that follow from what tasks read and write.

With them, a run gives what the tasks give when they run one after another, in the order written.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from pydag_gcp.access import Access
from pydag_gcp.arms import Arms, Picks
from pydag_gcp.conflicts import pairs, touches
from pydag_gcp.ordering import Ordering, Pair
from pydag_gcp.states import TriggerRule


def infer(
    tasks: Mapping[str, Access],
    upstream: Mapping[str, Sequence[str]],
    *,
    rules: Mapping[str, TriggerRule],
    branches: Picks,
    teardowns: Mapping[str, Sequence[str]],
) -> dict[str, tuple[str, ...]]:
    """Find the edges that are missing.

    The order written is the order of definition, as far as the edges that are there allow; a teardown comes as late as
    they allow. Two tasks that must not run at the same time, and that nothing orders yet, get an edge in that order,
    unless other edges amount to it. A task whose trigger rule does not wait for all upstreams gets none, because it
    would not wait; nor does a task of which nothing is known.

    Args:
        tasks: Task id -> what it touches, in the order of definition.
        upstream: Task id -> its upstreams so far. No cycle.
        rules: Task id -> its trigger rule.
        branches: What each branch picks from (see :meth:`pydag_gcp.branch.Branches.picks`); their arms get no edges
            between them.
        teardowns: Teardown -> the setups it belongs to.

    Returns:
        Task id -> its further upstreams, only for tasks that get some.
    """
    order = Ordering(tasks, upstream, rules=rules, teardowns=teardowns)
    found = touches({task: access for task, access in tasks.items() if access.named}, order.position)
    wanted: set[Pair] = set()
    while True:
        edges = order.without_detours(wanted)
        further = _named(edges, order)
        together = {task: (*above, *further.get(task, ())) for task, above in upstream.items()}
        arms = Arms(together, rules=rules, branches=branches, teardowns=teardowns)
        missing = order.unordered(pairs(found, arms.between(order.tasks)), edges)
        missing = {pair for pair in missing if order.waits[pair[1]]}
        if not missing:
            return further
        wanted |= missing  # with these, other tasks may be skipped with a branch's arm: look again


def _named(edges: Collection[Pair], order: Ordering) -> dict[str, tuple[str, ...]]:
    named: dict[str, list[str]] = {}
    for first, second in sorted(edges):
        named.setdefault(order.tasks[second], []).append(order.tasks[first])
    return {task: tuple(above) for task, above in named.items()}
