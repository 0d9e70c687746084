"""The command ``pydag``: run, validate, local.

Nothing heavy is imported before a command is chosen, so that ``pydag --version`` and completion are quick.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import click

from pydag_gcp import __version__
from pydag_gcp.cli_exit import INTERRUPTED, exit_code_of, print_document, say
from pydag_gcp.cli_local import local
from pydag_gcp.errors import PydagError
from pydag_gcp.streams import reserved_stdout

if TYPE_CHECKING:
    from pydag_gcp.dag import DAG
    from pydag_gcp.events import Event, Listener
    from pydag_gcp.planner import Plan
    from pydag_gcp.result import RunResult

_CONTEXT = {"help_option_names": ["-h", "--help"]}

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _parameters(_ctx: click.Context, _option: click.Parameter, given: Sequence[str]) -> dict[str, str]:
    """Split every NAME=VALUE."""
    values: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise click.BadParameter(f"expected NAME=VALUE, got {text!r}; write for instance --param year=2022")
        if name in values:
            raise click.BadParameter(f"{name!r} is given twice")
        values[name] = value
    return values


def _moment(_ctx: click.Context, _option: click.Parameter, given: str | None) -> datetime | None:
    """Read a date, or a date and time."""
    try:
        return datetime.fromisoformat(given) if given is not None else None
    except ValueError:
        what = f"expected a date such as 2022-01-31 or 2022-01-31T06:00:00, got {given!r}"
        raise click.BadParameter(what) from None


@dataclass(frozen=True, kw_only=True)
class Options:
    """What was asked for beside the pipelines."""

    target: str | None
    params: Mapping[str, str]
    logical_date: datetime | None
    as_json: bool
    max_processors: int | None = None

    def stdout(self) -> contextlib.AbstractContextManager[TextIO]:
        """Stdout, which with ``--json`` nobody else may write to."""
        return reserved_stdout() if self.as_json else contextlib.nullcontext(sys.stdout)

    def plan(self, dag: DAG) -> Plan:
        """Plan a run of a pipeline.

        Raises:
            DefinitionError: The pipeline is wrong.
            SettingsError: The settings or the target are.
        """
        from pydag_gcp import planner, settings

        return planner.plan(
            dag, settings.load(dag.file), target=self.target, params=self.params, logical_date=self.logical_date
        )


def _planned(command: _Command) -> _Command:
    """Add the options that every command which plans has in common."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout; all else goes to stderr."),
        click.option(
            "--logical-date",
            callback=_moment,
            metavar="ISO",
            help="Start of the data interval; default: the last complete.",
        ),
        click.option(
            "--param",
            "params",
            callback=_parameters,
            multiple=True,
            metavar="NAME=VALUE",
            help="Value of a param; repeatable.",
        ),
        click.option("--target", metavar="local|PROJECT", help="Where it goes; default: the setting, else local."),
    ):
        command = option(command)
    return command


def _executed(command: _Command) -> _Command:
    """Add the options of commands that run pipelines."""
    least_one = click.IntRange(min=1)
    option = click.option("--max-processors", type=least_one, metavar="N", help="Most processors the run may hold.")
    return option(_planned(command))


@click.group(context_settings=_CONTEXT)
@click.version_option(__version__, message="pydag %(version)s")
def pydag() -> None:
    """Data pipelines on Google Cloud, from one Python file.

    PIPELINE is a path, or the name of a file under pipelines/ without its ending.

    Exit codes: 0 success; 1 the run failed or was cancelled; 2 the definition, options or settings are wrong and
    nothing ran; 3 the target could not be reached; 130 interrupted.
    """


pydag.add_command(local)


@pydag.command()
@click.argument("pipelines", nargs=-1, required=True, metavar="PIPELINE...")
@_executed
def run(pipelines: tuple[str, ...], **given: Any) -> int:
    """Run pipelines, one after another.

    All of them are checked before the first one starts. The exit code is that of the first that did not succeed.
    """
    from pydag_gcp import loader

    options = Options(**given)
    with options.stdout() as stdout:
        return _run([loader.load(loader.find(name)) for name in pipelines], options, stdout)


@pydag.command()
@click.argument("pipelines", nargs=-1, required=True, metavar="PIPELINE...")
@_planned
def validate(pipelines: tuple[str, ...], **given: Any) -> int:
    """Check pipelines without running them: graph, fields, templates, SQL, files. Asks nothing of the cloud."""
    options = Options(**given)
    documents = []
    with options.stdout() as stdout:
        for name in pipelines:
            documents.append(_validate(name, options))
            if not options.as_json and "tasks" in documents[-1]:
                count = documents[-1]["tasks"]
                click.echo(f"{name}: ok ({count} task{'s' * (count != 1)})")
        code = max(int(document["exit_code"]) for document in documents)
        if options.as_json:
            print_document({"pipelines": documents, "exit_code": code}, stdout)
    return code


def _validate(name: str, options: Options) -> dict[str, Any]:
    from pydag_gcp import loader

    try:
        plan = options.plan(loader.load(loader.find(name)))
    except PydagError as error:
        text = say(error if name in str(error) else f"{name}: {error}")
        return {"pipeline": name, "error": text, "exit_code": error.exit_code}
    return {"pipeline": name, "dag_id": plan.dag.dag_id, "tasks": len(plan.tasks), "exit_code": 0}


def run_dag(dag: DAG) -> int:
    """Run a DAG the way ``pydag run`` does, with options from the command line; return the exit code."""

    @click.command(context_settings=_CONTEXT, help=dag.description or f"Run the pipeline {dag.dag_id}.")
    @_executed
    def command(**given: Any) -> int:
        options = Options(**given)
        with options.stdout() as stdout:
            return _run([dag], options, stdout)

    return exit_code_of(command, sys.argv[1:], prog_name=f"python {sys.argv[0]}")


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
    from pydag_gcp import executor
    from pydag_gcp.progress import watch
    from pydag_gcp.summary import summarise

    stream = sys.stderr if options.as_json else sys.stdout
    try:
        with watch(stream) as progress:
            listeners = (progress, _announcing(plan))
            result = executor.execute(plan, max_processors=options.max_processors, listeners=listeners)
    except PydagError as error:
        code = error.exit_code
        return {"dag_id": plan.dag.dag_id, "run_id": plan.run_id, "error": say(error), "exit_code": code}
    with contextlib.suppress(BrokenPipeError):
        summarise(result, plan.settings.home / "logs" / result.dag_id / result.run_id, stream)
    return {**result.to_json(), "exit_code": _exit_code(result)}


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


def main(args: Sequence[str] | None = None, *, prog_name: str = "pydag") -> int:
    """Be the command ``pydag``; return its exit code.

    Args:
        args: The words after the program's name; default: those of this process.
        prog_name: What help and messages call it.
    """
    return exit_code_of(pydag, sys.argv[1:] if args is None else args, prog_name=prog_name)
