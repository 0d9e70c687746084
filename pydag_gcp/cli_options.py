"""The options that commands have in common."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import click

from pydag_gcp import complete
from pydag_gcp.streams import reserved_stdout

if TYPE_CHECKING:
    from pydag_gcp.dag import DAG
    from pydag_gcp.planner import Plan

_Command = TypeVar("_Command", bound=Callable[..., Any])

#: ``--json``, for every command that prints what it knows.
json_option = click.option(
    "--json", "as_json", is_flag=True, help="One JSON document on stdout; all else goes to stderr."
)

#: ``--log-format``, for every command that drives runs.
log_format_option = click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    help="What is logged: text for people, or lines of JSON on stderr for Cloud Logging; default: the setting.",
)


def stdout_for(*, as_json: bool) -> contextlib.AbstractContextManager[TextIO]:
    """Stdout, which with ``--json`` nobody else may write to."""
    return reserved_stdout() if as_json else contextlib.nullcontext(sys.stdout)


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
    """Read a date, or a date and time; without an offset it is in UTC."""
    if given is None:
        return None
    try:
        moment = datetime.fromisoformat(given)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        what = f"expected a date such as 2022-01-31 or 2022-01-31T06:00:00+01:00, got {given!r}"
        raise click.BadParameter(what) from None


def _size(_ctx: click.Context, _option: click.Parameter, given: str | None) -> int | None:
    from pydag_gcp import size

    try:
        return None if given is None else size.parse(given)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@dataclass(frozen=True, kw_only=True)
class Options:
    """What was asked for beside the pipelines."""

    target: str | None
    params: Mapping[str, str]
    logical_date: datetime | None
    only: tuple[str, ...]
    start_from: tuple[str, ...]
    as_json: bool
    cache: bool = True
    max_bytes: int | None = None
    max_processors: int | None = None
    log_format: str | None = None
    wait: bool = False
    retry_failed: str | None = None

    def stdout(self) -> contextlib.AbstractContextManager[TextIO]:
        """Stdout, which with ``--json`` nobody else may write to."""
        return stdout_for(as_json=self.as_json)

    def check(self, pipelines: int) -> None:
        """Check what options mean for so many pipelines.

        Raises:
            click.UsageError: ``--only`` or ``--from`` is given for several; or what was asked for in the first place
                is asked for again where a run goes on.
        """
        if pipelines > 1 and (self.only or self.start_from):
            raise click.UsageError("--only and --from go with one pipeline")
        if self.retry_failed is None:
            return
        if pipelines > 1:
            raise click.UsageError("--retry-failed goes with one pipeline at most")
        again = (self.target, self.params, self.logical_date, self.only, self.start_from, self.max_bytes)
        if any(again) or not self.cache:
            what = "--target, --param, --logical-date, --only, --from, --no-cache and --max-bytes"
            raise click.UsageError(f"--retry-failed goes without {what}: they are those of that run")

    def plan(self, dag: DAG) -> Plan:
        """Plan a run of a pipeline.

        Raises:
            DefinitionError: The pipeline is wrong.
            SettingsError: The settings or the target are.
        """
        from pydag_gcp import planner, settings

        return planner.plan(
            dag,
            settings.load(dag.file),
            target=self.target,
            params=self.params,
            logical_date=self.logical_date,
            only=self.only,
            start_from=self.start_from,
            cache=self.cache,
            max_bytes=self.max_bytes,
        )


def planned(command: _Command) -> _Command:
    """Add the options that every command which plans has in common."""
    for option in (
        json_option,
        click.option(
            "--from",
            "start_from",
            multiple=True,
            shell_complete=complete.tasks,
            metavar="TASK",
            help="Only this task and all downstream of it; repeatable.",
        ),
        click.option(
            "--only",
            multiple=True,
            shell_complete=complete.tasks,
            metavar="TASK",
            help="Only this task; repeatable. A cluster that it uses is started.",
        ),
        click.option(
            "--logical-date",
            callback=_moment,
            metavar="ISO",
            help="Start of the data interval, in UTC unless it has an offset; default: the last complete.",
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


def costed(command: _Command) -> _Command:
    """Add the options of commands that look at what earlier runs recorded, and at what a run costs."""
    for option in (
        click.option(
            "--max-bytes",
            callback=_size,
            metavar="N",
            help="Most bytes that queries may process in all, such as 500M, 10G or 1.5T; refused if they would.",
        ),
        click.option("--no-cache", "cache", flag_value=False, default=True, help="Take no results of earlier runs."),
    ):
        command = option(command)
    return planned(command)


def driven(command: _Command) -> _Command:
    """Add the options of commands that execute a run, new or not."""
    for option in (
        click.option("--wait", is_flag=True, help="Wait while another run of the DAG is active on the target."),
        log_format_option,
        click.option(
            "--max-processors", type=click.IntRange(min=1), metavar="N", help="Most processors the run may hold."
        ),
    ):
        command = option(command)
    return command


def executed(command: _Command) -> _Command:
    """Add the options of commands that run pipelines."""
    retry_failed = click.option(
        "--retry-failed",
        metavar="RUN_ID",
        shell_complete=complete.failed_runs,
        help="In this run, which has ended, run again what did not succeed; with the pipeline as it now is.",
    )
    return costed(retry_failed(driven(command)))
