"""``pydag plan``: what a run would do, why, and what it would cost."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import click

from pydag_gcp import complete
from pydag_gcp.cli_execution import announce_local_cloud
from pydag_gcp.cli_exit import print_document, say
from pydag_gcp.cli_options import Options, costed
from pydag_gcp.errors import SettingsError


@click.command()
@click.argument("pipeline", metavar="PIPELINE", shell_complete=complete.pipelines)
@costed
def plan(pipeline: str, **given: Any) -> int:
    """Tell what a run would do with every task, why, and what its queries would cost.

    A task is run, cached, or decided at run time. Dry runs tell how many bytes a query would process. Nothing is made
    but the local cloud, if it does not run yet.
    """
    from pydag_gcp import loader
    from pydag_gcp.forecast import forecast

    options = Options(**given)
    with options.stdout() as stdout:
        planned_run = options.plan(loader.load(loader.find(pipeline)))
        announce_local_cloud(planned_run)
        with closing(planned_run.clients):
            found = forecast(planned_run)
        for warning in found.warnings:
            click.echo(f"warning: {warning}", err=True)
        document = found.to_json()
        if not options.as_json:
            from pydag_gcp.forecast_table import print_forecast

            print_forecast(found, stdout)
        try:
            found.check(options.max_bytes)
        except SettingsError as error:
            document.update(error=say(error), exit_code=error.exit_code)
        if options.as_json:
            print_document({"exit_code": 0, **document}, stdout)
    return int(document.get("exit_code", 0))
