"""``pydag cancel``: a run is ended from outside, whether its process lives or not."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from pydag_gcp import complete
from pydag_gcp.cli_execution import Execution, choose_log_format
from pydag_gcp.cli_exit import print_document
from pydag_gcp.cli_options import json_option, log_format_option, stdout_for
from pydag_gcp.errors import RunHeld, SettingsError
from pydag_gcp.states import RunState

if TYPE_CHECKING:
    from pydag_gcp.history import History
    from pydag_gcp.past_run import PastRun
    from pydag_gcp.settings import Settings

#: Seconds between two looks at a run that is to end.
_EVERY = 0.2


@click.command()
@click.argument("run_id", metavar="RUN_ID", shell_complete=complete.open_runs)
@click.option(
    "--forget", is_flag=True, help="Only mark it as cancelled; its jobs go on. For when its pipeline is gone."
)
@log_format_option
@json_option
def cancel(*, run_id: str, forget: bool, log_format: str | None, as_json: bool) -> int:
    """Cancel a run: end its jobs in the cloud, wait for their ends, and clean up.

    If its process lives, that does so, and this command waits; if not, this command does. RUN_ID may be cut short as
    long as only one run begins with it.
    """
    from pydag_gcp import settings
    from pydag_gcp.history import History

    known = settings.load()
    with stdout_for(as_json=as_json) as stdout, History(known) as history:
        run = history.find(run_id)
        if not run.is_open:
            document = _told(run, f"run {run.run_id} of {run.dag_id} had ended already: {run.state.value}")
        elif forget:
            document = _forgotten(history, run)
        else:
            document = _Cancel(known, history, as_json=as_json, log_format=log_format).of(run)
        if as_json:
            print_document(document, stdout)
    return int(document["exit_code"])


def _forgotten(history: History, run: PastRun) -> dict[str, Any]:
    if run.state is RunState.RUNNING:
        what = f"run {run.run_id} is driven by process {run.pid} on {run.host}"
        raise SettingsError(what, hint="cancel it without --forget")
    jobs = [one.job_id for tries in history.tries(run).values() for one in tries if one.job_id and not one.ended]
    try:
        history.forget(run)
    except RunHeld as error:
        raise RunHeld(error.what, hint="wait for its end, or cancel that run") from error
    left = f"; not ended: {', '.join(jobs)}" if jobs else ""
    return _told(history.find(run.run_id), f"run {run.run_id} of {run.dag_id} is marked as cancelled{left}")


class _Cancel:
    """Has a run ended by its own process, or does so in its place."""

    def __init__(self, known: Settings, history: History, *, as_json: bool, log_format: str | None) -> None:
        self._known = known
        self._history = history
        self._as_json = as_json
        self._log_format = log_format

    def of(self, run: PastRun) -> dict[str, Any]:
        """Cancel a run; return the document that says what came of it."""
        while True:
            if run.state is RunState.RUNNING:
                run = self._awaited(run)
            if run.state is not RunState.INTERRUPTED:
                return _told(run, f"run {run.run_id} of {run.dag_id} has ended: {run.state.value}")
            document = self._take_over(run)
            run = self._history.find(run.run_id)
            if run.state is not RunState.RUNNING:  # else somebody was quicker to go on with it
                return document

    def _awaited(self, run: PastRun) -> PastRun:
        """Ask the process that drives a run to cancel it; return what it is when none does any more."""
        self._history.request_cancel(run)
        click.echo(f"asked process {run.pid} on {run.host} to cancel run {run.run_id}; waiting for its end", err=True)
        while run.state is RunState.RUNNING:
            time.sleep(_EVERY)
            run = self._history.find(run.run_id)
        return run

    def _take_over(self, run: PastRun) -> dict[str, Any]:
        """Go on with a run that no process drives, to end it."""
        from pydag_gcp import reopening

        found = reopening.reopen(self._known, run.run_id)
        choose_log_format(found.plan.dag.file, self._log_format)
        document = Execution(as_json=self._as_json, past=found.past, cancel=True).of(found.plan)
        ended = document.get("state") not in (None, RunState.INTERRUPTED)
        return {**document, "exit_code": 0} if ended else document


def _told(run: PastRun, text: str) -> dict[str, Any]:
    click.echo(text)
    return {**run.to_json(datetime.now(UTC)), "exit_code": 0}
