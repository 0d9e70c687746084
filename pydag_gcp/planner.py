"""A run is planned, then executed: every task rendered and checked before anything happens or costs money."""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from pydag_gcp import dependencies
from pydag_gcp.access import Access, access_of
from pydag_gcp.branch import Branches
from pydag_gcp.dag import DAG
from pydag_gcp.dependencies import Dependencies, place_of
from pydag_gcp.errors import DefinitionError
from pydag_gcp.function import twin_of
from pydag_gcp.garbage import seldom
from pydag_gcp.gcp import Clients
from pydag_gcp.operator import Context, Operator
from pydag_gcp.redaction import MASK
from pydag_gcp.resources import Table
from pydag_gcp.secret import Secret, Secrets
from pydag_gcp.selection import select
from pydag_gcp.settings import Settings
from pydag_gcp.states import TriggerRule
from pydag_gcp.store import Store
from pydag_gcp.teardown import special_rules_of, teardowns_of


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run will do.

    Attributes:
        run_id: The run's random id.
        tasks: Task id -> the task with every template replaced; only the tasks that the run takes.
        upstream: Task id -> the tasks that it waits for: edges written, of outputs, of teardowns, and inferred.
        context: What every task may know; see :meth:`context_of`.
        branches: What branches pick from.
        teardowns: Teardown -> its setups, where the run takes one.
        rules: Task id -> its trigger rule, where that is not ``all_success``.
        recorded: Task id -> the output, recorded by an earlier run, of a task that this run does not take.
        recorded_by: Task id -> that earlier run.
        warnings: What the author should know, and what fails nothing.
        requested: The tasks that were asked for by name; these run whatever is recorded of them.
        dated: Whether runs are told apart by logical date: the DAG has a schedule, or a date was given.
        cache: Whether what earlier runs recorded may stand for a task.
        max_bytes: Most bytes that the run's queries may be billed for.
        options: What was asked for, as JSON: with it a run can be planned again, see :mod:`pydag_gcp.resumption`.
    """

    dag: DAG
    settings: Settings
    run_id: str
    tasks: Mapping[str, Operator]
    upstream: Mapping[str, tuple[str, ...]]
    context: Context
    branches: Branches
    teardowns: Mapping[str, tuple[str, ...]]
    rules: Mapping[str, TriggerRule]
    recorded: Mapping[str, Any] = field(default_factory=dict)
    recorded_by: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    requested: frozenset[str] = frozenset()
    dated: bool = False
    cache: bool = True
    max_bytes: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def file(self) -> Path:
        """The pipeline file, which a resumed run is loaded from."""
        return self.dag.file.resolve()

    @property
    def logs(self) -> Path:
        """The folder of the run's log files."""
        return self.settings.home / "logs" / self.dag.dag_id / self.run_id

    @property
    def clients(self) -> Clients:
        """The clients of the target."""
        return self.context.clients

    def context_of(self, task_id: str, try_number: int = 0) -> Context:
        """The context of one try of a task."""
        return self.context.of_try(task_id, try_number)

    def written_tables(self, task_ids: Iterable[str] | None = None) -> frozenset[Table]:
        """Every table that a task is known to write; with ids, that one of these is."""
        tables: set[Table] = set()
        for task_id in self.tasks if task_ids is None else task_ids:
            writes = self.tasks[task_id].writes(self.context_of(task_id)) or frozenset()
            tables.update(resource for resource in writes if isinstance(resource, Table))
        return frozenset(tables)


@seldom()
def plan(
    dag: DAG,
    settings: Settings,
    *,
    target: str | None = None,
    params: Mapping[str, Any] | None = None,
    logical_date: datetime | None = None,
    only: Sequence[str] = (),
    start_from: Sequence[str] = (),
    cache: bool = True,
    max_bytes: int | None = None,
    run_id: str | None = None,
) -> Plan:
    """Plan a run; talks to nobody. What lies in a bucket is read when the run starts.

    Args:
        dag: The pipeline.
        settings: Of its project.
        target: Where the run goes; default: the setting.
        params: Values over the DAG's defaults.
        logical_date: Start of the data interval.
        only: The tasks to run; default: all.
        start_from: Tasks to run with all that is downstream of them.
        cache: False: run every task, whatever is recorded; only rows that are there are not added again.
        max_bytes: Most bytes that its queries may be billed for.
        run_id: Of the run that goes on; default: a new one.

    Raises:
        DefinitionError: The graph, a field, a template, a file or a statement is wrong, or two tasks race; names the
            place. Or a task needs the output of one that is not run and was never.
        SettingsError: The target's settings contradict each other.
    """
    dag.check()
    context = _context(dag, settings, run_id, target=target, params=params, logical_date=logical_date)
    tasks, found, branches = _chosen(dag, context, only, start_from)
    late = [task for task in tasks.values() if task.runtime_values]
    _check_secrets(late, context.clients)
    recorded = _recorded(late, tasks, settings, context)
    return Plan(
        dag=dag,
        settings=settings,
        run_id=context.run_id,
        tasks=tasks,
        upstream=found.upstream,
        context=replace(context, choices=branches.choices),
        branches=branches,
        teardowns=teardowns_of(tasks),
        rules=special_rules_of(tasks),
        recorded={task_id: json.loads(row["result"]) for task_id, row in recorded.items()},
        recorded_by={task_id: row["run_id"] for task_id, row in recorded.items()},
        warnings=found.warnings,
        requested=frozenset(_named(only, start_from)),
        dated=dag.schedule is not None or logical_date is not None,
        cache=cache,
        max_bytes=max_bytes,
        options=_options(params or {}, only, start_from, cache=cache, max_bytes=max_bytes),
    )


def recheck(planned: Plan) -> tuple[str, ...]:
    """Look for races again, now that what tasks have in buckets is known; return the warnings.

    Raises:
        DefinitionError: Two tasks race.
    """
    accesses = dependencies.accesses_of(planned.tasks, planned.context)
    return dependencies.warnings_of(planned.tasks, planned.upstream, accesses, planned.branches)


def new_run_id() -> str:
    """A random id of 12 characters, in which none is mistaken for another."""
    return "".join(secrets.choice("23456789abcdefghjkmnpqrstvwxyz") for _ in range(12))


def _named(*names: str | Sequence[str]) -> list[str]:
    return [name for given in names for name in ([given] if isinstance(given, str) else given)]


def _options(
    params: Mapping[str, Any], only: Sequence[str], start_from: Sequence[str], *, cache: bool, max_bytes: int | None
) -> dict[str, Any]:
    """What was asked for, as JSON; a param is read again by the type of its default."""
    return {
        "params": json.loads(json.dumps(dict(params), default=_as_plain)),
        "only": _named(only),
        "start_from": _named(start_from),
        "cache": cache,
        "max_bytes": max_bytes,
    }


def _as_plain(value: Any) -> Any:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else str(value)


def _context(
    dag: DAG,
    settings: Settings,
    run_id: str | None,
    *,
    target: str | None,
    params: Mapping[str, Any] | None,
    logical_date: datetime | None,
) -> Context:
    start, end = dag.interval(logical_date)
    return Context(
        dag_id=dag.dag_id,
        run_id=run_id or new_run_id(),
        task_id="",
        try_number=0,
        logical_date=start,
        data_interval_start=start,
        data_interval_end=end,
        params=dag.resolve_params(params),
        folder=dag.file.resolve().parent,
        project_folder=settings.project_folder,
        clients=Clients(settings.target(target, written_for=dag.project)),
    )


def _chosen(
    dag: DAG, context: Context, only: Sequence[str], start_from: Sequence[str]
) -> tuple[Mapping[str, Operator], Dependencies, Branches]:
    """The tasks that a run takes, rendered and checked, what they wait for, and what its branches pick from."""
    tasks, accesses = _looked_at(dag.tasks, context)
    written = dag.upstream
    branches = Branches(written, teardowns_of(tasks))
    found = dependencies.find(tasks, written, accesses, branches, infer=dag.infer)
    if not only and not start_from:
        return tasks, found, branches
    chosen = select(tasks, found.upstream, accesses, only, start_from)
    taken = {task_id: task for task_id, task in tasks.items() if task_id in chosen}
    if len(taken) < len(tasks):
        found = dependencies.of_part(taken, found.upstream, accesses, branches, infer=dag.infer)
    return taken, found, branches


def _looked_at(tasks: Mapping[str, Operator], context: Context) -> tuple[dict[str, Operator], dict[str, Access]]:
    """Render and check each task, and ask what it touches."""
    rendered: dict[str, Operator] = {}
    accesses: dict[str, Access] = {}
    of_twins: dict[int, Access] = {}
    for task_id, task in tasks.items():
        first = twin_of(task)
        if first is not None and id(first) in of_twins:
            rendered[task_id], accesses[task_id] = task, of_twins[id(first)]
            continue
        rendered[task_id], accesses[task_id] = _look_at(task, context.of_try(task_id))
        if first is not None and rendered[task_id] is task:
            of_twins[id(first)] = accesses[task_id]
    return rendered, accesses


def _look_at(task: Operator, ctx: Context) -> tuple[Operator, Access]:
    try:
        rendered = task.rendered(ctx)
        rendered.check(ctx)
        access = access_of(rendered, ctx)
    except DefinitionError as error:
        error.where = error.where or place_of(task)
        raise
    if rendered.task_id != task.task_id:
        raise DefinitionError("field 'task_id' cannot be a template", where=place_of(task))
    return rendered, access


def _check_secrets(tasks: Iterable[Operator], clients: Clients) -> None:
    values = Secrets(clients)
    for task in tasks:
        for secret in [value for value in task.runtime_values if isinstance(value, Secret)]:
            try:
                values.check(secret.reference)
            except DefinitionError as error:
                raise DefinitionError(error.what, where=place_of(task), hint=error.hint) from None


def _recorded(
    late: Iterable[Operator], tasks: Collection[str], settings: Settings, context: Context
) -> dict[str, Mapping[str, Any]]:
    """Look up what earlier runs recorded of the tasks whose outputs are needed, but which are not run."""
    needed = {
        value.upstream: task
        for task in late
        for value in task.runtime_values
        if value.upstream is not None and value.upstream not in tasks
    }
    if not needed:
        return {}
    target = context.target.name
    with Store(settings.store_url) as store:
        rows = {task_id: store.last_result(context.dag_id, target, task_id) for task_id in needed}
    for task_id, row in rows.items():
        if row is None or MASK in row["result"]:
            why = "never succeeded" if row is None else "returned a secret, which is not recorded"
            what = f"needs the output of {task_id!r}, which is not in this run and {why} on target {target!r}"
            raise DefinitionError(what, where=place_of(needed[task_id]), hint=f"run it too: --from {task_id}")
    return {task_id: row for task_id, row in rows.items() if row is not None}
