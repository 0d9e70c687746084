"""``pydag resume``: a run that was interrupted goes on."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from pydag_gcp import complete
from pydag_gcp.cli_execution import Execution, choose_log_format
from pydag_gcp.cli_exit import print_document
from pydag_gcp.cli_options import driven, json_option, stdout_for
from pydag_gcp.states import RunState

if TYPE_CHECKING:
    from pydag_gcp.past_run import PastRun
    from pydag_gcp.settings import Settings


@click.command()
@click.argument("run_id", required=False, metavar="[RUN_ID]", shell_complete=complete.open_runs)
@driven
@json_option
def resume(*, run_id: str | None, max_processors: int | None, log_format: str | None, wait: bool, as_json: bool) -> int:
    """Let a run that was interrupted go on where it stopped.

    Jobs that are still running are taken up again; what has succeeded is not run again. A task that has not ended must
    be what it was when the run began. RUN_ID may be cut short; without it, the newest run that has not ended is meant.
    Where none is open, the exit code is that of the newest run.
    """
    from pydag_gcp import reopening, settings
    from pydag_gcp.resumption import refuse_changes

    with stdout_for(as_json=as_json) as stdout:
        known = settings.load()
        run = _meant(known, run_id)
        if not run.is_open:
            document = _ended(run)
        else:
            found = reopening.reopen(known, run.run_id)
            refuse_changes(found.plan, found.past)
            choose_log_format(found.plan.dag.file, log_format)
            how = Execution(as_json=as_json, max_processors=max_processors, wait=wait, past=found.past)
            document = how.of(found.plan)
        if as_json:
            print_document(document, stdout)
    return int(document["exit_code"])


def _meant(known: Settings, run_id: str | None) -> PastRun:
    """The run with this id; without one, the newest that was interrupted, else one that is active, else the newest."""
    from pydag_gcp.history import History

    with History(known) as history:
        if run_id is not None:
            return history.find(run_id)
        for state in (RunState.INTERRUPTED, RunState.RUNNING):
            if found := history.runs(state=state, limit=1):
                return found[0]
        return history.find()


def _ended(run: PastRun) -> dict[str, Any]:
    """Say that a run needs nothing any more."""
    succeeded = run.state is RunState.SUCCESS
    more = "" if succeeded else f"; `pydag run --retry-failed {run.run_id}` runs again what did not succeed"
    click.echo(f"run {run.run_id} of {run.dag_id} has ended: {run.state.value}{more}")
    return {**run.to_json(datetime.now(UTC)), "exit_code": 0 if succeeded else 1}
