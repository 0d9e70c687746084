"""``pydag run``, and what a pipeline file does that ends with ``dag.cli()``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TextIO

import click

from pydag_gcp import complete
from pydag_gcp.cli_execution import Execution, choose_log_format
from pydag_gcp.cli_exit import INTERRUPTED, exit_code_of, print_document
from pydag_gcp.cli_options import Options, executed
from pydag_gcp.garbage import kept

if TYPE_CHECKING:
    from pathlib import Path

    from pydag_gcp.dag import DAG
    from pydag_gcp.planner import Plan


@click.command()
@click.argument("pipelines", nargs=-1, metavar="PIPELINE...", shell_complete=complete.pipelines)
@executed
def run(pipelines: tuple[str, ...], **given: Any) -> int:
    """Run pipelines, all at the same time: what has changed in each, and what depends on that.

    All of them are checked before the first one starts. The exit code is that of the first, in the order given, that
    did not succeed; 130 if one was interrupted. --max-processors holds for each. With --retry-failed PIPELINE may be
    left out, where it has not moved since.
    """
    options = Options(**given)
    options.check(len(pipelines))
    if not pipelines and options.retry_failed is None:
        raise click.UsageError("Missing argument 'PIPELINE...'")
    with kept():
        from pydag_gcp import executor, loader  # noqa: F401 - the executor is needed later, in any case

    if options.retry_failed is not None:
        return _retry(options.retry_failed, options, loader.find(pipelines[0]) if pipelines else None)
    paths = [loader.find(name) for name in pipelines]
    choose_log_format(paths[0], options.log_format)
    with options.stdout() as stdout:
        with kept():
            dags = [loader.load(path) for path in paths]
        return _run(dags, options, stdout)


def run_dag(dag: DAG) -> int:
    """Run a DAG the way ``pydag run`` does, with options from the command line; return the exit code."""

    @click.command(
        context_settings={"help_option_names": ["-h", "--help"]}, help=dag.description or f"Run {dag.dag_id}."
    )
    @executed
    def command(**given: Any) -> int:
        options = Options(**given)
        options.check(1)
        if options.retry_failed is not None:
            return _retry(options.retry_failed, options, dag.file)
        choose_log_format(dag.file, options.log_format)
        with options.stdout() as stdout:
            return _run([dag], options, stdout)

    return exit_code_of(command, sys.argv[1:], prog_name=f"python {sys.argv[0]}")


def _run(dags: Sequence[DAG], options: Options, stdout: TextIO) -> int:
    with kept():
        plans = [options.plan(dag) for dag in dags]
    how = Execution(as_json=options.as_json, max_processors=options.max_processors, wait=options.wait)
    document = how.of(plans[0]) if len(plans) == 1 else _together(plans, how)
    if options.as_json:
        print_document(document, stdout)
    return int(document["exit_code"])


def _together(plans: Sequence[Plan], how: Execution) -> dict[str, Any]:
    """Run several pipelines at the same time."""
    from pydag_gcp import together

    together.refuse_twins(plans)
    documents = together.run(plans, how)
    codes = [document["exit_code"] for document in documents]
    code = INTERRUPTED if INTERRUPTED in codes else next(filter(None, codes), 0)
    return {"runs": documents, "exit_code": code}


def _retry(run_id: str, options: Options, file: Path | None) -> int:
    """Run again, in a run that has ended, what did not succeed."""
    from pydag_gcp import reopening, settings
    from pydag_gcp.history import History
    from pydag_gcp.resumption import run_again

    known = settings.load(file)
    with options.stdout() as stdout:
        with History(known) as history:
            run_id = history.find(run_id).run_id
        found = reopening.reopen(known, run_id, file=file)
        past = run_again(found.past, found.plan)
        choose_log_format(found.plan.dag.file, options.log_format)
        how = Execution(as_json=options.as_json, max_processors=options.max_processors, wait=options.wait, past=past)
        document = how.of(found.plan)
        if options.as_json:
            print_document(document, stdout)
    return int(document["exit_code"])
