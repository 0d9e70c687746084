"""What a shell offers when the tab key is pressed. It has to be quick, so nothing of a pipeline is executed."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pydag_gcp.errors import PydagError
from pydag_gcp.states import RunState

if TYPE_CHECKING:
    import click
    from click.shell_completion import CompletionItem

#: How many of the newest runs are offered.
_RUNS = 50


def pipelines(_ctx: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Offer pipeline files, folders, and the names of files under ``pipelines/``."""
    from pydag_gcp.loader import ENDINGS, FOLDER

    folder, _, _ = typed.rpartition("/")
    found = [path for path in Path(folder or ".").glob("*") if not path.name.startswith(".")]
    names = {f"{path}/" for path in found if path.is_dir()} | {str(path) for path in found if path.suffix in ENDINGS}
    if not folder:
        names.update(path.stem for path in Path(FOLDER).glob("*") if path.suffix in ENDINGS)
    return _offer(sorted(names), typed)


def tasks(ctx: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Offer the ids of tasks that are written down in the pipelines named so far."""
    from pydag_gcp import loader

    ids: dict[str, None] = {}
    # An option that waits for its value ends click's parsing before it has told arguments apart.
    named = (*(ctx.params.get("pipelines") or ()), *filter(None, [ctx.params.get("pipeline")]), *ctx.args)
    for name in named:
        try:
            path = loader.find(name)
            ids.update(dict.fromkeys(_in_python(path) if path.suffix == ".py" else _in_document(path)))
        except (PydagError, OSError, ValueError, SyntaxError, RecursionError):
            continue  # what is wrong with it, the command will say
    return _offer(ids, typed)


def runs(_ctx: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Offer the newest runs."""
    return _offer_runs(typed)


def open_runs(_ctx: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Offer the runs that have not ended."""
    return _offer_runs(typed, RunState.RUNNING, RunState.INTERRUPTED)


def failed_runs(_ctx: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Offer the runs that ended otherwise than well."""
    return _offer_runs(typed, RunState.FAILED, RunState.CANCELLED)


def tasks_of_run(ctx: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Offer the tasks of the run named before."""
    from pydag_gcp import settings
    from pydag_gcp.history import History

    try:
        with History(settings.load()) as history:
            return _offer(history.tasks(history.find(ctx.params.get("run_id"))), typed)
    except PydagError:
        return []


def _offer_runs(typed: str, *states: RunState) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    from pydag_gcp import settings
    from pydag_gcp.history import History

    try:
        with History(settings.load()) as history:
            found = history.runs(limit=_RUNS)
    except PydagError:
        return []
    return [
        CompletionItem(run.run_id, help=f"{run.dag_id} {run.state.value}")
        for run in found
        if run.run_id.startswith(typed) and (not states or run.state in states)
    ]


def _offer(names: Iterable[str], typed: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    return [CompletionItem(name) for name in names if name.startswith(typed)]


def _in_python(path: Path) -> Iterator[str]:
    """Ids that stand in a file: ``task_id="..."``, and the names of functions under ``@task``."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        match node:
            case ast.keyword(arg="task_id", value=ast.Constant(value=str() as task_id)):
                yield task_id
            case ast.FunctionDef(name=name, decorator_list=decorators) if any(map(_is_task, decorators)):
                yield name


def _is_task(decorator: ast.expr) -> bool:
    match decorator:
        case ast.Call(func=function):
            return _is_task(function)
        case ast.Attribute(value=ast.Name(id="task")) | ast.Name(id="task"):
            return True
    return False


def _in_document(path: Path) -> Iterator[str]:
    from pydag_gcp import document

    match document.read(path).value:
        case {"dag": {"tasks": list() as given}}:
            yield from (task["task_id"] for task in given if isinstance(task, dict) and "task_id" in task)
        case {"tasks": dict() as given}:
            yield from given
