"""What the tasks of a plan wait for: edges written and inferred, with the proof that no two tasks race."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from pydag_gcp import inference, races
from pydag_gcp.access import Access, access_of
from pydag_gcp.arms import Picks
from pydag_gcp.branch import Branches
from pydag_gcp.edges import topological
from pydag_gcp.errors import DefinitionError
from pydag_gcp.function import BranchTask
from pydag_gcp.operator import Context, Operator
from pydag_gcp.selection import of_kind
from pydag_gcp.teardown import rules_of, teardowns_of

#: Task id -> ids of its upstreams.
Edges = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class Dependencies:
    """What tasks wait for.

    Attributes:
        upstream: Task id -> the tasks that it waits for, of every kind.
        warnings: What the author should know of tasks that do not wait for each other.
    """

    upstream: Edges
    warnings: tuple[str, ...]


def accesses_of(tasks: Mapping[str, Operator], context: Context) -> dict[str, Access]:
    """Ask rendered tasks what they touch.

    Raises:
        DefinitionError: One names a table without a dataset.
    """
    found = {}
    for task_id, task in tasks.items():
        try:
            found[task_id] = access_of(task, context.of_try(task_id))
        except DefinitionError as error:
            error.where = error.where or place_of(task)
            raise
    return found


def find(
    tasks: Mapping[str, Operator],
    upstream: Edges,
    accesses: Mapping[str, Access],
    branches: Branches,
    *,
    infer: bool,
) -> Dependencies:
    """Add the edges that are to be inferred, and make sure that what races is ordered.

    Args:
        tasks: Task id -> the rendered task.
        upstream: The edges that are written.
        accesses: What each task touches.
        branches: What branches pick from.
        infer: Whether edges are inferred.

    Raises:
        DefinitionError: Two tasks race.
    """
    if infer:
        rules, teardowns, picks = rules_of(tasks), teardowns_of(tasks), _picks(tasks, branches)
        more = inference.infer(accesses, upstream, rules=rules, branches=picks, teardowns=teardowns)
        upstream = {task_id: (*above, *more.get(task_id, ())) for task_id, above in upstream.items()}
    return Dependencies(upstream=upstream, warnings=warnings_of(tasks, upstream, accesses, branches))


def of_part(
    tasks: Mapping[str, Operator],
    whole: Edges,
    accesses: Mapping[str, Access],
    branches: Branches,
    *,
    infer: bool,
) -> Dependencies:
    """The same for a part of a DAG: without the branch that picks one of them, two arms may both run.

    Raises:
        DefinitionError: Two tasks race.
    """
    touched = {task_id: accesses[task_id] for task_id in tasks}
    try:
        return find(tasks, restricted(whole, tasks.keys()), touched, branches, infer=infer)
    except DefinitionError as error:
        hint = "run one of them, or all from the branch on that picks between them"
        raise DefinitionError(error.what, where=error.where, hint=hint) from None


def warnings_of(
    tasks: Mapping[str, Operator], upstream: Edges, accesses: Mapping[str, Access], branches: Branches
) -> tuple[str, ...]:
    """Look for races; return the warnings.

    Raises:
        DefinitionError: Two tasks race.
    """
    return races.check(
        accesses,
        upstream,
        rules=rules_of(tasks),
        branches=_picks(tasks, branches),
        teardowns=teardowns_of(tasks),
        place_of=lambda task_id: place_of(tasks[task_id]),
    )


def restricted(upstream: Edges, chosen: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Leave tasks out of a graph: what waited for one of these waits for what that one waited for."""
    nearest: dict[str, dict[str, None]] = {}
    for task_id in topological(upstream):
        nearest[task_id] = {}
        for other in upstream[task_id]:
            nearest[task_id].update({other: None} if other in chosen else nearest[other])
    return {task_id: tuple(nearest[task_id]) for task_id in upstream if task_id in chosen}


def place_of(task: Operator) -> str:
    """Where a task is defined."""
    return task.source.place(task=task.task_id)


def _picks(tasks: Mapping[str, Operator], branches: Branches) -> Picks:
    return {task_id: branches.picks(task_id) for task_id in of_kind(tasks, BranchTask)}
