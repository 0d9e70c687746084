"""``pydag rehearse``: what becomes of a pipeline's data when the cloud, or its own process, fails it."""

from __future__ import annotations

import os
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

import click

from pydag_gcp import complete
from pydag_gcp.cli_exit import print_document
from pydag_gcp.cli_options import Options, planned
from pydag_gcp.errors import SettingsError

if TYPE_CHECKING:
    from pydag_gcp.planner import Plan
    from pydag_gcp.rehearsal.rehearser import Choice, Rehearsal
    from pydag_gcp.settings import Settings

#: Those of :data:`pydag_gcp.rehearsal.disturbance.DISTURBANCES`, which --help need not import.
NAMES = ("429", "503", "accepted-503", "lost-answer", "reset", "kill-before", "kill-after")

#: More are not started unless told to: each may have a Java machine of its own.
_MOST_CLOUDS = 4


@click.command()
@click.argument("pipeline", metavar="PIPELINE", shell_complete=complete.pipelines)
@click.option(
    "--seed",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Begin with these buckets, each a sub-folder; default: with a copy of the project's local cloud.",
)
@click.option(
    "--boundary",
    "boundaries",
    multiple=True,
    metavar="TEXT",
    help="Only calls whose task, resource or method holds this (* stands for anything); repeatable.",
)
@click.option(
    "--disturbance", "disturbances", multiple=True, type=click.Choice(NAMES), help="Only this one; repeatable."
)
@click.option(
    "--clouds",
    type=click.IntRange(min=1, max=64),
    metavar="N",
    help="How many local clouds to rehearse on at once; default: one for each processor, at most 4.",
)
@planned
def rehearse(
    *,
    pipeline: str,
    seed: Path | None,
    boundaries: tuple[str, ...],
    disturbances: tuple[str, ...],
    clouds: int | None,
    **given: Any,
) -> int:
    """Run a pipeline again and again on throw-away local clouds, each time with one disturbance at one of its calls.

    A call is refused, its answer is lost, the connection reset, or the process killed right before or after it and the
    run resumed. Tables, objects and jobs must be those of an undisturbed run, and nothing may be left running. The exit
    code is 1 if anything differs.
    """
    from pydag_gcp import loader
    from pydag_gcp.rehearsal.rehearser import Choice
    from pydag_gcp.rehearsal.report import print_report, to_json

    options = Options(**given)
    if options.target not in (None, "local"):
        raise SettingsError(f"a rehearsal goes to throw-away local clouds, not to target {options.target!r}")
    with options.stdout() as stdout:
        path = loader.find(pipeline)
        plan = replace(options, target="local").plan(loader.load(path))
        choice = Choice(boundaries=boundaries, disturbances=disturbances)
        with closing(plan.clients):
            found = _rehearsed(
                plan, path, options, choice, seed=seed, clouds=clouds or min(os.cpu_count() or 1, _MOST_CLOUDS)
            )
        code = int(bool(found.differing))
        if options.as_json:
            print_document({**to_json(found), "exit_code": code}, stdout)
        else:
            print_report(found, stdout)
    return code


def _rehearsed(
    plan: Plan, path: Path, options: Options, choice: Choice, *, seed: Path | None, clouds: int
) -> Rehearsal:
    from pydag_gcp.rehearsal.rehearser import Rehearser
    from pydag_gcp.rehearsal.report import print_round
    from pydag_gcp.rehearsal.round import Command
    from pydag_gcp.signals import handled

    if seed is None:
        _check_idle(plan.settings)
    stream: TextIO = sys.stderr
    rehearser = Rehearser(
        plan=plan,
        command=Command(folder=plan.settings.project_folder, arguments=_arguments(plan, path, options)),
        seed=seed.resolve() if seed else None,
        clouds=clouds,
        choice=choice,
        told=lambda played, number, of: print_round(played, number, of, stream),
    )
    click.echo("at first undisturbed ...", err=True)
    with handled(_interrupt):
        return rehearser.rehearse()


def _interrupt(_number: int) -> NoReturn:
    """SIGTERM, too, stops what the rehearsal has started."""
    raise KeyboardInterrupt


def _arguments(plan: Plan, path: Path, options: Options) -> list[str]:
    """What each round's ``pydag run`` is told: the same logical date, whatever time it is meanwhile."""
    return [
        str(path.resolve()),
        "--target=local",
        f"--logical-date={plan.context.logical_date.isoformat()}",
        *(f"--param={name}={value}" for name, value in options.params.items()),
        *(f"--only={task}" for task in options.only),
        *(f"--from={task}" for task in options.start_from),
    ]


def _check_idle(settings: Settings) -> None:
    """Make sure that nobody needs the project's local cloud, which has to stop while it is copied.

    Raises:
        SettingsError: A run is active.
    """
    from pydag_gcp.history import History
    from pydag_gcp.states import RunState

    with History(settings) as history:
        active = [run for run in history.runs(state=RunState.RUNNING, limit=20) if run.target == "local"]
    if active:
        what = f"run {active[0].run_id} of {active[0].dag_id!r} is active on the local cloud that is to be copied"
        raise SettingsError(what, hint="wait for its end, or begin with other data: --seed DIR")
