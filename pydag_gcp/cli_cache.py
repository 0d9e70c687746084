"""``pydag cache``: what earlier runs recorded, so that tasks need not run again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from pydag_gcp import complete
from pydag_gcp.cli_exit import print_document
from pydag_gcp.cli_options import json_option, stdout_for
from pydag_gcp.errors import SettingsError, did_you_mean

if TYPE_CHECKING:
    from pydag_gcp.record import Record, Records

_pipeline = click.argument("pipeline", required=False, metavar="[PIPELINE]", shell_complete=complete.pipelines)
_target = click.option("--target", metavar="local|PROJECT", help="Only what ran there.")
_task = click.option("--task", "task_id", metavar="TASK", shell_complete=complete.tasks, help="Only this task.")


@click.group()
def cache() -> None:
    """List or clear what tasks came to in earlier runs.

    A task whose definition, inputs and outputs have not changed since is not run again.
    """


@cache.command()
@_pipeline
@_task
@_target
@json_option
def ls(*, pipeline: str | None, task_id: str | None, target: str | None, as_json: bool) -> int:
    """List what is recorded, the newest first."""
    with stdout_for(as_json=as_json) as stdout, _opened() as records:
        found = records.all(dag_id=_dag_id(records, pipeline), target=target)
        found = [record for record in found if task_id in (None, record.task_id)]
        _check_task(records, task_id)
        now = datetime.now(UTC)
        if as_json:
            print_document({"records": [_document(record, now) for record in found]}, stdout)
            return 0
        from pydag_gcp.records_table import list_records

        list_records(found, now, stdout)
    return 0


@cache.command()
@_pipeline
@_task
@_target
@click.option("--appended", is_flag=True, help="Also of tasks that add rows, which will then add them again.")
@json_option
def clear(*, pipeline: str | None, task_id: str | None, target: str | None, appended: bool, as_json: bool) -> int:
    """Forget what is recorded, so that tasks run again.

    What is known of tasks that add rows is kept, lest they add them twice.
    """
    with stdout_for(as_json=as_json) as stdout, _opened() as records:
        dag_id = _dag_id(records, pipeline)
        _check_task(records, task_id)
        cleared = records.clear(dag_id=dag_id, target=target, task_id=task_id, appended=appended)
        rest = records.all(dag_id=dag_id, target=target)
        kept = sum(task_id in (None, record.task_id) for record in rest)
        if as_json:
            print_document({"cleared": cleared, "kept": kept}, stdout)
            return 0
    more = f"; kept {kept} of tasks that add rows, which --appended clears, too" if kept else ""
    click.echo(f"cleared {cleared} result{'s' * (cleared != 1)}{more}")
    return 0


@contextmanager
def _opened() -> Iterator[Records]:
    """The records of this project. One in which nothing has run is left as it is."""
    from pydag_gcp import cache as shared
    from pydag_gcp import settings
    from pydag_gcp.project_store import opened

    known = settings.load()
    with opened(known) as store:
        yield shared.records(store, known, lambda warning: click.echo(f"warning: {warning}", err=True))


def _dag_id(records: Records, pipeline: str | None) -> str | None:
    """The id of the DAG that is meant; its file may be gone."""
    if pipeline is None or any(record.dag_id == pipeline for record in records.all()):
        return pipeline
    from pydag_gcp import loader

    return loader.load(loader.find(pipeline)).dag_id


def _check_task(records: Records, task_id: str | None) -> None:
    known = {record.task_id for record in records.all()}
    if task_id is not None and task_id not in known:
        raise SettingsError(f"nothing is recorded of a task {task_id!r}", hint=did_you_mean(task_id, known))


def _document(record: Record, now: datetime) -> dict[str, Any]:
    return {
        "dag_id": record.dag_id,
        "task_id": record.task_id,
        "target": record.target,
        "run_id": record.success.run_id,
        "try_number": record.success.try_number,
        "succeeded": record.at.isoformat(),
        "logical_date": record.date or None,
        "appends": record.accumulating,
        "expires": record.expires.isoformat() if record.expires else None,
        "expired": record.expires is not None and not record.accumulating and record.expires <= now,
        "fingerprint": record.fingerprint,
    }
