"""``pydag runs`` and ``pydag show``: what ran, and what is running."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import click

from pydag_gcp import complete
from pydag_gcp.cli_exit import print_document
from pydag_gcp.cli_options import json_option
from pydag_gcp.states import RunState


@click.command()
@click.option("--dag", "dag_id", metavar="ID", help="Only runs of this DAG.")
@click.option("--state", type=click.Choice([state.value for state in RunState]), help="Only runs in this state.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=20, show_default=True, metavar="N", help="At most so many."
)
@json_option
def runs(*, dag_id: str | None, state: str | None, limit: int, as_json: bool) -> int:
    """List the runs of this project, the newest first."""
    from pydag_gcp import settings
    from pydag_gcp.history import History

    with History(settings.load()) as history:
        found = history.runs(dag_id=dag_id, state=RunState(state) if state else None, limit=limit)
        if not found and dag_id:
            history.check_dag(dag_id)
    now = datetime.now(UTC)
    if as_json:
        print_document({"runs": [run.to_json(now) for run in found]}, sys.stdout)
        return 0
    from pydag_gcp.report import list_runs

    list_runs(found, now, sys.stdout)
    return 0


@click.command()
@click.argument("run_id", required=False, metavar="[RUN_ID]", shell_complete=complete.runs)
@json_option
def show(*, run_id: str | None, as_json: bool) -> int:
    """Show a run: its tasks, their tries and jobs, errors, log files, and when each of them ran.

    RUN_ID may be cut short as long as only one run begins with it; without it, the newest run is shown.
    """
    from pydag_gcp import settings
    from pydag_gcp.history import History

    with History(settings.load()) as history:
        found = history.find(run_id)
        tasks = history.tasks(found)
    now = datetime.now(UTC)
    if as_json:
        each = {task_id: task.to_json() for task_id, task in tasks.items()}
        print_document({**found.to_json(now), "tasks": each}, sys.stdout)
        return 0
    from pydag_gcp.report import show_run

    show_run(found, tasks, now, sys.stdout)
    return 0
