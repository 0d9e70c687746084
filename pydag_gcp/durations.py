"""How long it takes from a task to the end of its run: of two ready tasks, the one with the longer way starts first.

So a long chain does not wait behind many short tasks. A schedule of this kind takes at most (2 - 1/processors) times as
long as the best one: R. L. Graham, Bounds on Multiprocessing Timing Anomalies, 1969, https://doi.org/10.1137/0117039
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from pydag_gcp.edges import topological

if TYPE_CHECKING:
    from pydag_gcp.planner import Plan
    from pydag_gcp.store import Store

#: The seconds of what is known to take less than a millisecond: more of it, one after another, takes longer still.
_SHORTEST = 0.0005


def known(plan: Plan, store: Store) -> Mapping[str, float]:
    """The seconds that tasks took in earlier runs, as far as there are any; nothing where a single task needs no order.

    Raises:
        StoreError: The store does not say.
    """
    return store.durations(plan.dag.dag_id, plan.clients.target.name) if len(plan.upstream) > 1 else {}


def remaining(
    upstream: Mapping[str, Iterable[str]], known: Mapping[str, float], *, cached: Collection[str] = ()
) -> dict[str, float]:
    """The seconds from the start of each task to the end of all that is downstream of it, with processors for all.

    Args:
        upstream: Task id -> ids of its upstreams, acyclic.
        known: Task id -> the seconds that it usually takes, to the millisecond. One that is unknown takes the median of
            these; if none is known, every task takes one second.
        cached: Tasks that take no time.
    """
    usual = median(known.values())
    longest = dict.fromkeys(upstream, 0.0)
    for task_id in reversed(topological(upstream)):
        own = 0.0 if task_id in cached else known.get(task_id, usual) or _SHORTEST
        longest[task_id] = seconds = longest[task_id] + own
        for above in upstream[task_id]:
            if longest[above] < seconds:
                longest[above] = seconds
    return longest


def median(seconds: Iterable[float]) -> float:
    """The one in the middle, or half-way between both; 1 if there is none."""
    values = sorted(seconds) or [1.0]
    middle = len(values) // 2
    return (values[middle] + values[~middle]) / 2
