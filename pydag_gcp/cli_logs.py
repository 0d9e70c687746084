"""``pydag logs``: what the tasks of a run have logged, also while it goes on."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from pydag_gcp import complete
from pydag_gcp.cli_exit import INTERRUPTED, print_document
from pydag_gcp.cli_options import json_option
from pydag_gcp.errors import SettingsError, did_you_mean

if TYPE_CHECKING:
    from pydag_gcp.history import History
    from pydag_gcp.past_run import PastRun, PastTask


@click.command()
@click.argument("run_id", required=False, metavar="[RUN_ID]", shell_complete=complete.runs)
@click.argument("task_id", required=False, metavar="[TASK]", shell_complete=complete.tasks_of_run)
@click.option("--try", "number", type=click.IntRange(min=1), metavar="N", help="Only this try.")
@click.option("-f", "--follow", is_flag=True, help="Go on until the run has ended.")
@json_option
def logs(*, run_id: str | None, task_id: str | None, number: int | None, follow: bool, as_json: bool) -> int:
    """Print what the tasks of a run have logged, try after try.

    RUN_ID may be cut short as long as only one run begins with it; without it, the newest run is meant. A TASK of
    the newest run may be named without it.
    """
    if follow and as_json:
        raise click.UsageError("--json goes without --follow")
    from pydag_gcp import settings
    from pydag_gcp.history import History
    from pydag_gcp.log_reader import LogReader

    with History(settings.load()) as history:
        run, task_id = _meant(history, run_id, task_id)
        _check(history.tasks(run), task_id, None if follow else number)
        reader = LogReader(history, run, task_id=task_id, number=number)
        if as_json:
            print_document(reader.to_json(), sys.stdout)
            return 0
        try:
            reader.follow(sys.stdout) if follow else reader.print(sys.stdout)
        except KeyboardInterrupt:
            return INTERRUPTED
    return 0


def _meant(history: History, run_id: str | None, task_id: str | None) -> tuple[PastRun, str | None]:
    """The run that is meant; a single word may also be a task of the newest one."""
    if run_id is None or task_id is not None:
        return history.find(run_id), task_id
    newest = history.find()
    tasks = history.tasks(newest)
    if run_id in tasks:
        return newest, run_id
    try:
        return history.find(run_id), None
    except SettingsError as error:
        near = did_you_mean(run_id, tasks)
        if near is None:
            raise
        raise SettingsError(f"{error.what}, and no task of this name in the newest one", hint=near) from None


def _check(tasks: dict[str, PastTask], task_id: str | None, number: int | None) -> None:
    if task_id is None:
        return
    if task_id not in tasks:
        hint = did_you_mean(task_id, tasks) or "`pydag show` lists them"
        raise SettingsError(f"no task {task_id!r} in this run", hint=hint)
    known = [one.number for one in tasks[task_id].tries]
    if number is not None and number not in known:
        hint = f"it has {', '.join(map(str, known))}" if known else "it has not begun"
        raise SettingsError(f"task {task_id!r} has no try {number}", hint=hint)
