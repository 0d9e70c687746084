"""What a branch may pick, and what ends with its choice."""

from __future__ import annotations

import graphlib
from collections.abc import Collection, Iterable, Mapping
from functools import cached_property
from typing import Any

from pydag_gcp.edges import downstream_of
from pydag_gcp.errors import TaskError, did_you_mean_one_of

_EXPECTED = "return the id of a task directly downstream, a list of such ids, or None"


def picked(returned: Any, choices: Collection[str], *, by: str) -> list[str]:
    """Check what a branch returned.

    Args:
        returned: A task id, several, or None.
        choices: The ids that there are.
        by: The branch's function, for messages.

    Raises:
        TaskError: It is something else, or an id that cannot be picked.
    """
    ids = [returned] if isinstance(returned, str) else [] if returned is None else returned
    if not isinstance(ids, (list, tuple, set, frozenset)) or not all(isinstance(name, str) for name in ids):
        raise TaskError(f"{by}() returned {returned!r}", hint=_EXPECTED)
    for name in ids:
        if name not in choices:
            hint = did_you_mean_one_of(name, choices) if choices else "nothing is downstream of it"
            what = f"{by}() picked {name!r}, which is not directly downstream of it"
            raise TaskError(what, hint=hint)
    return list(ids)


class Branches:
    """The edges that branches pick from: those that the author wrote, teardowns left out.

    Args:
        upstream: Task id -> ids of its upstreams, acyclic.
        teardowns: Tasks that no branch picks, and no branch skips.
    """

    def __init__(self, upstream: Mapping[str, Iterable[str]], teardowns: Collection[str]) -> None:
        self._upstream = upstream
        self._downstream = downstream_of({t: () if t in teardowns else above for t, above in upstream.items()})

    def choices(self, task_id: str) -> tuple[str, ...]:
        """What a branch may pick: the tasks directly downstream."""
        return tuple(self._downstream[task_id])

    def not_picked(self, task_id: str, chosen: Collection[str]) -> list[str]:
        """The tasks directly downstream that are skipped: not those that also follow from a chosen one.

        As Airflow does: airflow/providers/standard/utils/skipmixin.py, skip_all_except.
        """
        rest = [name for name in self._downstream[task_id] if name not in chosen]
        if not rest or not chosen:
            return rest
        deepest = max(self._depth[name] for name in rest)
        seen, waiting = set(chosen), list(chosen)
        while waiting:
            below = self._downstream[waiting.pop()]
            fresh = [name for name in below if name not in seen and self._depth[name] <= deepest]
            seen.update(fresh)
            waiting += fresh
        return [name for name in rest if name not in seen]

    def picks(self, task_id: str) -> dict[str, frozenset[str]]:
        """Each task that a branch may pick, and those that it skips if it picks this one alone."""
        return {name: frozenset(self.not_picked(task_id, [name])) for name in self.choices(task_id)}

    @cached_property
    def _depth(self) -> Mapping[str, int]:
        """Edges on the longest way to each task: it grows along every edge, so no search has to look below a depth."""
        depth: dict[str, int] = {}
        for task_id in graphlib.TopologicalSorter(self._upstream).static_order():
            depth[task_id] = 1 + max((depth[other] for other in self._upstream[task_id]), default=0)
        return depth
