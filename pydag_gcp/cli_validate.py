"""``pydag validate``: checks pipelines without running them."""

from __future__ import annotations

from typing import Any

import click

from pydag_gcp import complete
from pydag_gcp.cli_exit import print_document, say
from pydag_gcp.cli_options import Options, planned
from pydag_gcp.errors import PydagError


@click.command()
@click.argument("pipelines", nargs=-1, required=True, metavar="PIPELINE...", shell_complete=complete.pipelines)
@planned
def validate(pipelines: tuple[str, ...], **given: Any) -> int:
    """Check pipelines without running them: graph, races, fields, templates, SQL, files. Asks nothing of the cloud."""
    options = Options(**given)
    options.check(len(pipelines))
    with options.stdout() as stdout:
        documents = [_validate(name, options) for name in pipelines]
        code = max(int(document["exit_code"]) for document in documents)
        if options.as_json:
            print_document({"pipelines": documents, "exit_code": code}, stdout)
    return code


def _validate(name: str, options: Options) -> dict[str, Any]:
    from pydag_gcp import loader

    try:
        plan = options.plan(loader.load(loader.find(name)))
    except PydagError as error:
        if name not in str(error):
            error.where = f"{name}: {error.where}" if error.where else name
        text = say(error)
        return {"pipeline": name, "error": text, "exit_code": error.exit_code}
    for warning in plan.warnings:
        click.echo(f"warning: {name}: {warning}", err=True)
    count = len(plan.tasks)
    if not options.as_json:
        click.echo(f"{name}: ok ({count} task{'s' * (count != 1)})")
    warned = {"warnings": list(plan.warnings)} if plan.warnings else {}
    return {"pipeline": name, "dag_id": plan.dag.dag_id, "tasks": count, **warned, "exit_code": 0}
