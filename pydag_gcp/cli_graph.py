"""``pydag graph``: draws a pipeline."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pydag_gcp import complete
from pydag_gcp.cli_exit import print_document
from pydag_gcp.cli_options import json_option
from pydag_gcp.errors import SettingsError
from pydag_gcp.streams import reserved_stdout, speaks_unicode

if TYPE_CHECKING:
    from pydag_gcp.graph import Graph

#: The format of a file whose name ends so, unless it is given.
_BY_ENDING = {".svg": "svg", ".dot": "dot", ".gv": "dot", ".mmd": "mermaid", ".mermaid": "mermaid"}


@click.command()
@click.argument("pipeline", metavar="PIPELINE", shell_complete=complete.pipelines)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "mermaid", "dot", "svg"]),
    help="How it is drawn; default: by the ending of FILE, else text. SVG needs Graphviz.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Where to; default: stdout.")
@json_option
def graph(*, pipeline: str, form: str | None, output: Path | None, as_json: bool) -> int:
    """Draw the graph of a pipeline: its tasks, and which waits for which."""
    if as_json and (form or output):
        raise click.UsageError("--json goes without --format and --output")
    with reserved_stdout() as stdout:
        found = _load(pipeline)
        if as_json:
            print_document(found.to_json(), stdout)
            return 0
        form = form or _BY_ENDING.get(output.suffix if output else "", "text")
        text = _drawn(found, form, unicode=output is not None or speaks_unicode(sys.stdout))
        if output is None:
            stdout.write(text)
    if output is not None:
        _write(output, text)
    return 0


def _load(pipeline: str) -> Graph:
    from pydag_gcp import loader, planner, settings
    from pydag_gcp.graph import graph_of

    dag = loader.load(loader.find(pipeline))
    # Only a plan knows the edges that follow from what tasks read and write.
    return graph_of(dag, planner.plan(dag, settings.load(dag.file)).upstream if dag.infer else None)


def _drawn(found: Graph, form: str, *, unicode: bool) -> str:
    from pydag_gcp import graph as drawing

    if form == "text":
        return drawing.text(found, ascii_only=not unicode)
    return {"mermaid": drawing.mermaid, "dot": drawing.dot, "svg": drawing.svg}[form](found)


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"cannot be written: {error.strerror}", where=str(file)) from error
