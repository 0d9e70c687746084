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


@dataclass(frozen=True, kw_only=True)
class Options:
    """What was asked for beside the pipelines."""

    target: str | None
    params: Mapping[str, str]
    logical_date: datetime | None
    only: tuple[str, ...]
    start_from: tuple[str, ...]
    as_json: bool
    max_processors: int | None = None
    log_format: str | None = None

    def stdout(self) -> contextlib.AbstractContextManager[TextIO]:
        """Stdout, which with ``--json`` nobody else may write to."""
        return reserved_stdout() if self.as_json else contextlib.nullcontext(sys.stdout)

    def check(self, pipelines: int) -> None:
        """Check what options mean for so many pipelines.

        Raises:
            click.UsageError: ``--only`` or ``--from`` is given for several.
        """
        if pipelines > 1 and (self.only or self.start_from):
            raise click.UsageError("--only and --from go with one pipeline")

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


def executed(command: _Command) -> _Command:
    """Add the options of commands that run pipelines."""
    for option in (
        click.option(
            "--log-format",
            type=click.Choice(["text", "json"]),
            help="What is logged: text for people, or lines of JSON on stderr for Cloud Logging; default: the setting.",
        ),
        click.option(
            "--max-processors", type=click.IntRange(min=1), metavar="N", help="Most processors the run may hold."
        ),
    ):
        command = option(command)
    return planned(command)
