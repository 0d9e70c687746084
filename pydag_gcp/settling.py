"""Runs whose processes are gone are settled before another one starts: no job of theirs may land after it wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydag_gcp.dag import DAG
from pydag_gcp.errors import DefinitionError, SettingsError
from pydag_gcp.planner import Plan
from pydag_gcp.result import RunResult
from pydag_gcp.resumption import INTERRUPTED, Past, check_jobs, load_past, plan_again
from pydag_gcp.states import RunState, TaskState
from pydag_gcp.store import Store


def settle(plan: Plan, store: Store, cancel: Callable[[Plan, Past], RunResult], told: Callable[[str], None]) -> None:
    """Settle the open runs of a plan's DAG on its target, whose processes are gone: the plan's own excepted.

    Called while the lease is held. What has no job in the cloud and nothing to clean up is only marked as cancelled.

    Args:
        plan: The run that is to start.
        store: Where the others are recorded.
        cancel: Executes one of them again, as cancelled: it ends its jobs, and runs its teardowns.
        told: Called with what was done.

    Raises:
        DefinitionError: A job may still run, but no task of the pipeline can look after it; names the way out.
        KeyboardInterrupt: A signal came meanwhile.
    """
    for row in store.open_runs(plan.dag.dag_id, plan.clients.target.name):
        if row["run_id"] != plan.run_id:
            _settle(plan, store, row["run_id"], cancel, told)


def forget(store: Store, run_id: str) -> None:
    """End a run on record only: its jobs, if any, go on, and nothing is cleaned up."""
    _mark(store, load_past(store, run_id))


def _settle(
    plan: Plan, store: Store, run_id: str, cancel: Callable[[Plan, Past], RunResult], told: Callable[[str], None]
) -> None:
    past = load_past(store, run_id)
    if not _has_jobs(past) and not _has_teardowns(past):
        _mark(store, past)
        told(f"run {run_id} was interrupted, and is given up for this one ({_resumable(run_id)})")
        return
    row = store.run(run_id) or {}
    with _named(run_id):
        again = plan_again(_dag(plan, row), plan.settings, row)
    check_jobs(again, past)
    told(f"run {run_id} was interrupted: its jobs are cancelled before this one begins")
    with _named(run_id):
        result = cancel(again, past)
    if result.signal is not None:
        raise KeyboardInterrupt
    told(f"run {run_id} is {result.state.value} ({_resumable(run_id)})")


def _resumable(run_id: str) -> str:
    return f"`pydag resume {run_id}` would have gone on with it"


@contextmanager
def _named(run_id: str) -> Iterator[None]:
    """Say of which run an error is, and how to get on without it."""
    try:
        yield
    except (DefinitionError, SettingsError) as error:
        what = f"was interrupted, and cannot be cancelled: {error}"
        hint = f"mend that, or end it on record only: pydag cancel --forget {run_id}"
        raise DefinitionError(what, where=f"run {run_id}", hint=hint) from error


def _dag(plan: Plan, row: Mapping[str, Any]) -> DAG:
    """The pipeline of an earlier run, as it now stands."""
    from pydag_gcp import loader

    path = Path(row["file"] or plan.file)
    dag = plan.dag if path == plan.file else loader.load(path)
    if dag.dag_id != plan.dag.dag_id:
        raise DefinitionError(f"defines another DAG now, {dag.dag_id!r}", where=str(path))
    return dag


def _has_jobs(past: Past) -> bool:
    return any(one.has_job for one in past.open.values())


def _has_teardowns(past: Past) -> bool:
    """Whether something was started that a task which has not ended cleans up after."""
    tasks = past.definition["tasks"]
    waiting = [task for task_id, task in tasks.items() if task_id not in past.ended]
    return any(setup in past.begun for task in waiting for setup in task.get("teardown_of") or ())


def _mark(store: Store, past: Past) -> None:
    """End a run, and the tries that are open, on record."""
    now = datetime.now(UTC)
    with store.together():
        for task_id, one in past.open.items():
            if not one.over:
                store.end_try(past.run_id, task_id, one.number, TaskState.CANCELLED, error=INTERRUPTED, at=now)
            store.end_task(past.run_id, task_id, TaskState.CANCELLED, at=now)
        store.end_run(past.run_id, RunState.CANCELLED, at=now, error=INTERRUPTED)
