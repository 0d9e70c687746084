"""``pydag local``: start, look at and stop the local cloud of a project."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pydag_gcp.cli_exit import print_document
from pydag_gcp.cli_secret import secret
from pydag_gcp.errors import LocalCloudError

if TYPE_CHECKING:
    from pydag_gcp.local.daemon import Endpoints

_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout; all else goes to stderr.")


@click.group(short_help="Start, look at and stop the local cloud.")
def local() -> None:
    """The local cloud of this project: BigQuery, Cloud Storage, Dataproc and Secret Manager on this machine.

    Runs on the target `local` start it when they need it; its data lies under .pydag/local.
    """


local.add_command(secret)


@local.command()
@click.option(
    "--seed",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder whose sub-folders are copied in as buckets, where they differ.",
)
@click.option("--host", metavar="ADDRESS", help="Address to listen on; default: 127.0.0.1.")
@click.option(
    "--idle", type=click.FloatRange(min=0), metavar="SECONDS", help="Stop if not called for so long; 0: never."
)
@_JSON
def up(*, seed: Path | None, host: str | None, idle: float | None, as_json: bool) -> int:
    """Make sure that the local cloud runs, and say where."""
    from pydag_gcp.local import daemon

    started: list[bool] = []

    def starting() -> None:
        started.append(True)
        click.echo("starting the local cloud ...", err=True)

    patience = daemon.IDLE if idle is None else idle or None
    found = daemon.up(home(), seed=seed, host=host or "127.0.0.1", idle=patience, on_start=starting)
    if not started and (host, idle) != (None, None):
        click.echo("it runs already: --host and --idle hold when it is started; `pydag local down` stops it", err=True)
    _print_endpoints(found, as_json=as_json)
    return 0


@local.command()
def down() -> int:
    """Stop the local cloud; its data stays."""
    from pydag_gcp.local import daemon

    click.echo("the local cloud has stopped" if daemon.down(home()) else "the local cloud was not running")
    return 0


@local.command()
@_JSON
def status(*, as_json: bool) -> int:
    """Say where the local cloud runs; exit code 3 if it does not."""
    _print_endpoints(running(), as_json=as_json)
    return 0


@local.command()
def env() -> int:
    """Print the exports that lead Google's clients to the local cloud: eval "$(pydag local env)"."""
    for name, value in running().environment().items():
        click.echo(f"export {name}={shlex.quote(value)}")
    return 0


def home() -> Path:
    """The folder of the local cloud of the project that the working directory is in.

    Raises:
        SettingsError: The settings are wrong.
    """
    from pydag_gcp import settings

    return settings.load().home / "local"


def running() -> Endpoints:
    """Where the local cloud is.

    Raises:
        LocalCloudError: Nowhere.
    """
    from pydag_gcp.local import daemon

    found = daemon.status(home())
    if found is None:
        raise LocalCloudError("the local cloud is not running", hint="start it with `pydag local up`")
    return found


def _print_endpoints(found: Endpoints, *, as_json: bool) -> None:
    if as_json:
        print_document(found.to_json(), sys.stdout)
        return
    click.echo(f"the local cloud is up, process {found.pid}, project {found.project}")
    for name in ("bigquery", "bigquery_storage", "storage", "dataproc", "buckets"):
        click.echo(f"  {name:<17} {getattr(found, name)}")
