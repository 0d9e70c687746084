"""What a run would do, and what its queries would cost: asked of the cloud and the records, changing nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pydag_gcp.decision import Decision, Verdict
from pydag_gcp.edges import topological
from pydag_gcp.errors import SettingsError
from pydag_gcp.size import written_size

if TYPE_CHECKING:
    from pydag_gcp.dry_runs import Cost
    from pydag_gcp.planner import Plan
    from pydag_gcp.store import Store

_TIB = 2**40
#: A query that reads anything is billed for so many bytes: https://cloud.google.com/bigquery/pricing#on_demand_pricing
_LEAST_BILLED = 10 * 2**20


@dataclass(frozen=True, kw_only=True)
class TaskForecast:
    """What would become of a task.

    Attributes:
        decision: Whether it would run, and why.
        bytes: What its query would be billed for; None where nothing is billed by bytes, or it is not known.
        unknown: Why it is not known: ``unknown until ingest runs``.
    """

    decision: Decision
    bytes: int | None = None
    unknown: str | None = None


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a run would do.

    Attributes:
        tasks: Task id -> what would become of it, in topological order.
        bigquery_tib: Price of a TiB that queries process, in US dollars.
        warnings: What the author should know.
    """

    dag_id: str
    target: str
    logical_date: datetime
    tasks: Mapping[str, TaskForecast]
    bigquery_tib: float
    warnings: tuple[str, ...] = ()

    def bytes_of(self, verdict: Verdict) -> int:
        """The bytes of all tasks with a verdict, as far as they are known."""
        return sum(task.bytes or 0 for task in self.tasks.values() if task.decision.verdict is verdict)

    def count(self, verdict: Verdict) -> int:
        """How many tasks have a verdict."""
        return sum(task.decision.verdict is verdict for task in self.tasks.values())

    @property
    def unknown(self) -> tuple[str, ...]:
        """The tasks whose bytes are not known."""
        return tuple(task_id for task_id, task in self.tasks.items() if task.unknown)

    def price(self, count: int) -> float:
        """What so many bytes cost, in US dollars."""
        return count / _TIB * self.bigquery_tib

    def check(self, max_bytes: int | None) -> None:
        """Refuse a run that would be billed for more bytes than it may.

        What is decided at run time is left out, and so is what is not known yet: the run is capped for these.

        Raises:
            SettingsError: It would; names the task with the most.
        """
        running = {name: task for name, task in self.tasks.items() if task.decision.verdict is Verdict.RUN}
        billed = {name: max(task.bytes, _LEAST_BILLED) for name, task in running.items() if task.bytes}
        total = sum(billed.values())
        if max_bytes is None or total <= max_bytes:
            return
        most = max(billed, key=lambda name: billed[name])
        allowed = f"more than the {written_size(max_bytes)} of --max-bytes"
        what = f"its queries would be billed for {written_size(total)}, {allowed}"
        hint = f"allow more, or read less: task {most!r} alone comes to {written_size(billed[most])}"
        raise SettingsError(what, where=f"DAG {self.dag_id!r}", hint=hint)

    def to_json(self) -> dict[str, Any]:
        """The document that ``--json`` prints."""
        running, later = self.bytes_of(Verdict.RUN), self.bytes_of(Verdict.LATER)
        return {
            "dag_id": self.dag_id,
            "target": self.target,
            "logical_date": self.logical_date.isoformat(),
            "tasks": {task_id: self._task_json(task) for task_id, task in self.tasks.items()},
            "bytes": running,
            "price": self.price(running),
            "decided_at_run_time": {"bytes": later, "price": self.price(later)},
            "price_per_tib": self.bigquery_tib,
            "unknown": list(self.unknown),
            "warnings": list(self.warnings),
        }

    def _task_json(self, task: TaskForecast) -> dict[str, Any]:
        record = task.decision.record
        return {
            "verdict": task.decision.verdict.value,
            "reason": task.decision.reason,
            "cached_from": record.success.run_id if record else None,
            "bytes": task.bytes,
            "price": None if task.bytes is None else self.price(task.bytes),
            "unknown": task.unknown,
        }


def forecast(plan: Plan) -> Forecast:
    """Find out what a run would do. Nothing is made, but for a local cloud that has to be started.

    Raises:
        DefinitionError: What the pipeline has in buckets is missing or wrong.
        TargetUnreachable: The target does not answer.
        StoreError: The metadata database cannot be read.
    """
    from pydag_gcp.dry_runs import Cost, costs

    warnings, decisions = _decided(plan)
    known = costs(plan, decisions)
    return Forecast(
        dag_id=plan.dag.dag_id,
        target=plan.clients.target.name,
        logical_date=plan.context.logical_date,
        tasks={
            task_id: _task(decisions[task_id], known.get(task_id, Cost())) for task_id in topological(plan.upstream)
        },
        bigquery_tib=plan.settings.prices.bigquery_tib,
        warnings=tuple(warnings),
    )


def _task(decision: Decision, cost: Cost) -> TaskForecast:
    return TaskForecast(decision=decision, bytes=cost.bytes, unknown=cost.unknown)


def _decided(plan: Plan) -> tuple[list[str], dict[str, Decision]]:
    """What the author should know, and what becomes of each task."""
    from pydag_gcp import cache
    from pydag_gcp.fetching import fetch
    from pydag_gcp.operator import RemoteOperator
    from pydag_gcp.project_store import opened
    from pydag_gcp.reuse import Reuse
    from pydag_gcp.versions import Versions

    warnings = list(plan.warnings)
    if any(isinstance(task, RemoteOperator) for task in plan.tasks.values()):
        plan.clients.check()
        warnings = list(fetch(plan))
    with opened(plan.settings) as store:
        records = cache.records(store, plan.settings, warnings.append)
        reuse = Reuse(plan, records, Versions(plan.clients), cache=plan.cache)
        decisions = reuse.decide()
        warnings += _beside(plan, store)
    return [*warnings, *reuse.warnings], decisions


def _beside(plan: Plan, store: Store) -> Iterator[str]:
    """Tell of the runs of the same DAG on the same target that have not ended."""
    from pydag_gcp.lease import holder

    dag_id, target = plan.dag.dag_id, plan.clients.target.name
    rows = store.open_runs(dag_id, target)
    held = holder(store, dag_id=dag_id, target=target) if rows else None
    for run_id in [row["run_id"] for row in rows]:
        if held is not None and held.run_id == run_id:
            yield f"run {run_id} is active ({held}): a new one would be refused, or wait with --wait"
        else:
            ends = "a new run ends it first, and may then find more cached"
            yield f"run {run_id} was interrupted: `pydag resume {run_id}` goes on with it, {ends}"
