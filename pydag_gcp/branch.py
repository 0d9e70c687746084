"""What a branch may pick, and what ends with its choice."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from pydag_gcp.edges import downstream_of, topological
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
        self._upstream, self._teardowns = upstream, teardowns

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
        followed = self._follow(chosen, max(self._depth[name] for name in rest))
        return [name for name in rest if name not in followed]

    def picks(self, task_id: str) -> dict[str, Collection[str]]:
        """Each task that a branch may pick, and those that it skips if it picks this one alone."""
        choices = dict.fromkeys(self.choices(task_id))
        deepest = max((self._depth[name] for name in choices), default=0)
        return {name: _AllBut(choices, choices.keys() & self._follow([name], deepest)) for name in choices}

    def _follow(self, chosen: Collection[str], deepest: int) -> set[str]:
        """Some tasks, and what is downstream of them down to a depth."""
        seen, waiting = set(chosen), list(chosen)
        while waiting:
            below = self._downstream[waiting.pop()]
            fresh = [name for name in below if name not in seen and self._depth[name] <= deepest]
            seen.update(fresh)
            waiting += fresh
        return seen

    @cached_property
    def _downstream(self) -> Mapping[str, Sequence[str]]:
        return downstream_of({t: () if t in self._teardowns else above for t, above in self._upstream.items()})

    @cached_property
    def _depth(self) -> Mapping[str, int]:
        """Edges on the longest way to each task: it grows along every edge, so no search has to look below a depth."""
        depth: dict[str, int] = {}
        for task_id in topological(self._upstream):
            depth[task_id] = 1 + max((depth[other] for other in self._upstream[task_id]), default=0)
        return depth


class _AllBut(Collection[str]):
    """Most of many names: of a branch with 1,000 arms there is one for each, so it holds only what is missing."""

    def __init__(self, names: Collection[str], missing: Collection[str]) -> None:
        self._names, self._missing = names, missing

    def __contains__(self, name: object) -> bool:
        return name in self._names and name not in self._missing

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._names if name not in self._missing)

    def __len__(self) -> int:
        return len(self._names) - len(self._missing)
