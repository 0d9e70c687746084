"""``pydag init``: begin a project."""

from __future__ import annotations

import shlex
from pathlib import Path

import click


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
def init(*, folder: Path) -> int:
    """Write a small project into DIR that works: a pipeline, SQL, data, a test and a Makefile.

    DIR is made if it is missing, and must be empty otherwise. The pipeline gets its name.
    """
    from pydag_gcp.init import create

    made = create(folder)
    click.echo(f"{folder}: a project with the pipeline {made.dag_id}. Next:\n")
    for command, what in (
        (f"cd {shlex.quote(str(folder))}", ""),
        ("make test", "its test, on a local cloud of its own"),
        ("make run", "the pipeline, on the local cloud of the project"),
    ):
        click.echo(f"  {command:<12}  # {what}" if what else f"  {command}")
    return 0
