"""A run is planned, then executed: every task rendered and checked before anything happens or costs money."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from pydag_gcp.dag import DAG
from pydag_gcp.errors import DefinitionError
from pydag_gcp.gcp import Clients
from pydag_gcp.operator import Context, Operator
from pydag_gcp.resources import Table
from pydag_gcp.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run will do.

    Attributes:
        run_id: The run's random id.
        tasks: Task id -> the task with every template replaced.
        context: What every task may know; see :meth:`context_of`.
    """

    dag: DAG
    settings: Settings
    run_id: str
    tasks: Mapping[str, Operator]
    upstream: Mapping[str, tuple[str, ...]]
    context: Context

    @property
    def clients(self) -> Clients:
        """The clients of the target."""
        return self.context.clients

    def context_of(self, task_id: str, try_number: int = 0, log: logging.Logger | None = None) -> Context:
        """The context of one try of a task."""
        return replace(self.context, task_id=task_id, try_number=try_number, log=log or self.context.log)

    def written_tables(self) -> frozenset[Table]:
        """Every table that a task is known to write."""
        tables: set[Table] = set()
        for task_id, task in self.tasks.items():
            writes = task.writes(self.context_of(task_id)) or frozenset()
            tables.update(resource for resource in writes if isinstance(resource, Table))
        return frozenset(tables)


def plan(
    dag: DAG,
    settings: Settings,
    *,
    target: str | None = None,
    params: Mapping[str, Any] | None = None,
    logical_date: datetime | None = None,
) -> Plan:
    """Plan a run; talks to nobody unless a file of the pipeline lies in a bucket.

    Raises:
        DefinitionError: The graph, a field, a template, a file or a statement is wrong; names the place.
        SettingsError: The target's settings contradict each other.
    """
    dag.check()
    start, end = dag.interval(logical_date)
    context = Context(
        dag_id=dag.dag_id,
        run_id=new_run_id(),
        task_id="",
        try_number=0,
        logical_date=start,
        data_interval_start=start,
        data_interval_end=end,
        params=dag.resolve_params(params),
        folder=dag.file.resolve().parent,
        project_folder=settings.project_folder,
        clients=Clients(settings.target(target)),
    )
    tasks = {}
    for task_id, task in dag.tasks.items():
        own = replace(context, task_id=task_id)
        rendered = task.rendered(own)
        if rendered.task_id != task_id:
            raise DefinitionError(f"task {task_id!r}: field 'task_id' cannot be a template")
        rendered.check(own)
        tasks[task_id] = rendered
    return Plan(dag=dag, settings=settings, run_id=context.run_id, tasks=tasks, upstream=dag.upstream, context=context)


def new_run_id() -> str:
    """A random id of 12 characters, in which none is mistaken for another."""
    return "".join(secrets.choice("23456789abcdefghjkmnpqrstvwxyz") for _ in range(12))
