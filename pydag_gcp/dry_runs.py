"""Dry runs of the queries that a run would send: how many bytes they would be billed for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from pydag_gcp.access import Access, access_of
from pydag_gcp.decision import Decision, Verdict
from pydag_gcp.edges import topological
from pydag_gcp.errors import PydagError, TargetUnreachable
from pydag_gcp.operator import Operator
from pydag_gcp.resources import Resource
from pydag_gcp.retry import asking_again, is_transient
from pydag_gcp.secret import Secrets

if TYPE_CHECKING:
    from pydag_gcp.planner import Plan

#: Dry runs at a time.
_THREADS = 16
#: A run makes a missing dataset before its first task: https://cloud.google.com/bigquery/docs/error-messages#notFound
_DATASET = re.compile(r"Not found: Dataset (\S+)")


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a task would be billed for.

    Attributes:
        bytes: None if it is not known.
        unknown: Why it is not: ``unknown until ingest runs``.
    """

    bytes: int | None = None
    unknown: str | None = None


def costs(plan: Plan, decisions: Mapping[str, Decision]) -> dict[str, Cost]:
    """Task id -> what it would be billed for: of tasks that may run, and are billed by bytes at all.

    Raises:
        TargetUnreachable: The cloud does not answer.
    """
    return _DryRuns(plan, decisions).costs()


class _DryRuns:
    def __init__(self, plan: Plan, decisions: Mapping[str, Decision]) -> None:
        context = replace(plan.context, outputs=self._output_of, secrets=Secrets(plan.clients).value)
        self._plan = replace(plan, context=context)
        self._decisions = decisions
        self._order = {task_id: place for place, task_id in enumerate(topological(plan.upstream))}
        self._access = cache(self._accessed)

    def costs(self) -> dict[str, Cost]:
        billed = [task_id for task_id, task in self._plan.tasks.items() if _is_billed(task) and self._may_run(task_id)]
        awaited = {task_id: self._awaited(task_id) for task_id in billed}
        known = [task_id for task_id, other in awaited.items() if other is None]
        found = {task_id: _until(other) for task_id, other in awaited.items() if other is not None}
        with ThreadPoolExecutor(_THREADS, "pydag-dry-run") as threads:
            dry = zip(known, threads.map(self._dry_run, known), strict=True)
            found.update((task_id, cost) for task_id, cost in dry if cost is not None)
        return found

    def _dry_run(self, task_id: str) -> Cost | None:
        from google.api_core.exceptions import GoogleAPIError
        from google.auth.exceptions import GoogleAuthError

        ctx = self._plan.context_of(task_id)
        try:
            task = self._plan.tasks[task_id].resolved(ctx)
            estimate = asking_again(self._plan.clients.revive)(task.estimate, ctx)
        except (PydagError, GoogleAPIError, GoogleAuthError, OSError) as error:
            if is_transient(error):
                raise TargetUnreachable(f"its dry run gets no answer: {error}", where=f"task {task_id!r}") from error
            return self._refused(task_id, error)
        return None if estimate is None else Cost(bytes=estimate.bytes)

    def _refused(self, task_id: str, error: Exception) -> Cost:
        """Say why there is no estimate: as a rule, because something has to be made first."""
        wanted = _touched(self._access(task_id))
        maker = self._last(task_id, lambda other: _overlap(self._access(other).writes or (), wanted))
        if maker is not None:
            return _until(maker)
        missing = _DATASET.search(str(error))
        if missing and self._plan.clients.target.create_datasets:
            return Cost(unknown=f"unknown until the run makes dataset {missing[1]}")
        return Cost(unknown=f"unknown: {' '.join(str(error).split())}")

    def _awaited(self, task_id: str) -> str | None:
        """The last task that may run before this one and decides how much it processes."""
        return self._last(task_id, lambda other: self._feeds(other, task_id))

    def _last(self, task_id: str, matters: Callable[[str], bool]) -> str | None:
        """The last of the tasks upstream that may run and matter."""
        found = (other for other in self._above(task_id) if self._may_run(other) and matters(other))
        return max(found, key=lambda other: self._order[other], default=None)

    def _feeds(self, other: str, task_id: str) -> bool:
        """Tell whether a task upstream decides what another one reads."""
        if any(value.upstream == other for value in self._plan.tasks[task_id].runtime_values):
            return True
        reads, writes = self._access(task_id).reads, self._access(other).writes
        if reads is None or writes is None:
            return other in self._plan.upstream[task_id]
        return _overlap(writes, reads)

    def _above(self, task_id: str) -> Iterator[str]:
        """Every task upstream."""
        seen, waiting = {task_id}, [task_id]
        while waiting:
            fresh = [other for other in self._plan.upstream[waiting.pop()] if other not in seen]
            seen.update(fresh)
            waiting.extend(fresh)
            yield from fresh

    def _may_run(self, task_id: str) -> bool:
        return self._decisions[task_id].verdict is not Verdict.CACHED

    def _accessed(self, task_id: str) -> Access:
        return access_of(self._plan.tasks[task_id], self._plan.context_of(task_id))

    def _output_of(self, task_id: str) -> Any:
        """What a task that is cached, or that the run leaves out, has returned."""
        if task_id not in self._decisions:
            return self._plan.recorded.get(task_id)
        record = self._decisions[task_id].record
        return None if record is None else record.result


def _is_billed(task: Operator) -> bool:
    return type(task).estimate is not Operator.estimate


def _until(task_id: str) -> Cost:
    return Cost(unknown=f"unknown until {task_id} runs")


def _touched(access: Access) -> Iterable[Resource]:
    return (access.reads or frozenset()) | (access.writes or frozenset())


def _overlap(some: Iterable[Resource], others: Iterable[Resource]) -> bool:
    others = list(others)
    return any(one.overlaps(other) for one in some for other in others)
