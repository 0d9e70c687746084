"""``pydag run``, and what a pipeline file does that ends with ``dag.cli()``."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from pydag_gcp import complete
from pydag_gcp.cli_exit import INTERRUPTED, exit_code_of, print_document, say
from pydag_gcp.cli_options import Options, executed
from pydag_gcp.errors import PydagError

if TYPE_CHECKING:
    from pydag_gcp.dag import DAG
    from pydag_gcp.events import Event, Listener
    from pydag_gcp.planner import Plan
    from pydag_gcp.result import RunResult


@click.command()
@click.argument("pipelines", nargs=-1, required=True, metavar="PIPELINE...", shell_complete=complete.pipelines)
@executed
def run(pipelines: tuple[str, ...], **given: Any) -> int:
    """Run pipelines, one after another.

    All of them are checked before the first one starts. The exit code is that of the first that did not succeed.
    """
    from pydag_gcp import loader

    options = Options(**given)
    options.check(len(pipelines))
    paths = [loader.find(name) for name in pipelines]
    _choose_log_format(paths[0], options)
    with options.stdout() as stdout:
        return _run([loader.load(path) for path in paths], options, stdout)


def run_dag(dag: DAG) -> int:
    """Run a DAG the way ``pydag run`` does, with options from the command line; return the exit code."""

    @click.command(
        context_settings={"help_option_names": ["-h", "--help"]}, help=dag.description or f"Run {dag.dag_id}."
    )
    @executed
    def command(**given: Any) -> int:
        options = Options(**given)
        _choose_log_format(dag.file, options)
        with options.stdout() as stdout:
            return _run([dag], options, stdout)

    return exit_code_of(command, sys.argv[1:], prog_name=f"python {sys.argv[0]}")


def _choose_log_format(path: Path, options: Options) -> None:
    from pydag_gcp import log_format, settings

    if (options.log_format or settings.load(path).log_format) == log_format.JSON:
        log_format.structure()


def _run(dags: Sequence[DAG], options: Options, stdout: TextIO) -> int:
    plans = [options.plan(dag) for dag in dags]
    code, documents = 0, []
    for plan in plans:
        document = _execute(plan, options)
        documents.append(document)
        code = code or document["exit_code"]
        if document["exit_code"] == INTERRUPTED:
            break
    if options.as_json:
        print_document(documents[0] if len(dags) == 1 else {"runs": documents, "exit_code": code}, stdout)
    return code


def _execute(plan: Plan, options: Options) -> dict[str, Any]:
    """Execute a plan and show its progress; return the document that says what came of it."""
    try:
        result = _logged(plan, options) or _watched(plan, options)
    except PydagError as error:
        code = error.exit_code
        return {"dag_id": plan.dag.dag_id, "run_id": plan.run_id, "error": say(error), "exit_code": code}
    return {**result.to_json(), "exit_code": _exit_code(result)}


def _logged(plan: Plan, options: Options) -> RunResult | None:
    """Execute a plan where stderr holds lines of JSON: these say it all."""
    from pydag_gcp import executor, log_format

    log = log_format.structured()
    if log is None:
        return None
    from pydag_gcp.log_events import LogEvents

    events = LogEvents(log, plan)
    return executor.execute(
        plan,
        max_processors=options.max_processors,
        listeners=(events, _announcing(plan)),
        log_handler=events.handler,
    )


def _watched(plan: Plan, options: Options) -> RunResult:
    """Execute a plan where people look on."""
    from pydag_gcp import executor
    from pydag_gcp.progress import watch
    from pydag_gcp.summary import summarise

    stream = sys.stderr if options.as_json else sys.stdout
    with watch(stream) as progress:
        listeners = (progress, _announcing(plan))
        result = executor.execute(plan, max_processors=options.max_processors, listeners=listeners)
    with contextlib.suppress(BrokenPipeError):
        summarise(result, plan.settings.home / "logs" / result.dag_id / result.run_id, stream)
    return result


def _exit_code(result: RunResult) -> int:
    if result.state == "success":
        return 0
    return 1 if result.signal is None else INTERRUPTED


def _announcing(plan: Plan) -> Listener:
    """Say that the local cloud is being started: the first run of a project has to wait for that."""
    from pydag_gcp.events import RunStarted
    from pydag_gcp.operator import RemoteOperator

    home = plan.clients.target.local_home
    remote = any(isinstance(task, RemoteOperator) for task in plan.tasks.values())

    def announce(event: Event) -> None:
        if isinstance(event, RunStarted) and remote and home is not None and plan.clients.target.endpoints is None:
            from pydag_gcp.local import daemon

            if daemon.status(home) is None:
                click.echo("starting the local cloud ...", err=True)

    return announce
