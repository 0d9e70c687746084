"""Copies of tasks in which templates or runtime values are replaced, and everything is checked again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from pydag_gcp import templates
from pydag_gcp.errors import DefinitionError, TaskError
from pydag_gcp.owner import current_dag
from pydag_gcp.resources import as_rendered
from pydag_gcp.runtime_value import RuntimeValue, replaced
from pydag_gcp.source import defined_at

if TYPE_CHECKING:
    from pydag_gcp.context import Context
    from pydag_gcp.operator import Operator

_Task = TypeVar("_Task", bound="Operator")


def holds_template(task: Operator) -> bool:
    """Tell whether anything that was given to a task still has to be rendered."""
    return any(map(templates.holds_template, map(task.__dict__.__getitem__, task.model_fields_set)))


def rendered(task: _Task, ctx: Context) -> _Task:
    """Replace every ``{{ }}``; see :meth:`pydag_gcp.operator.Operator.rendered`."""

    def render(name: str, value: Any) -> Any:
        where = task.source.place(task=task.task_id, field=name)
        return templates.render_value(value, ctx.variables, where=where)

    return _copy(task, render)


def substituted(task: _Task, known: Mapping[RuntimeValue, Any]) -> _Task:
    """Replace runtime values; see :meth:`pydag_gcp.operator.Operator.substituted`."""
    try:
        copy = _copy(task, lambda _, value: replaced(value, lambda part: known.get(part, part)))
    except DefinitionError as error:
        nothing = ", ".join(repr(value.upstream) for value in known if value.upstream and known[value] is None)
        hint = f"nothing came of {nothing}" if nothing and not error.hint else error.hint
        raise TaskError(error.what, where=error.where, hint=hint) from None
    object.__setattr__(copy, "__pydantic_private__", task.__pydantic_private__)
    return copy


def _copy(task: _Task, change: Callable[[str, Any], Any]) -> _Task:
    """Construct a task anew from what was given, changed by field name and value."""
    given = {}
    for name in sorted(task.model_fields_set):
        field = type(task).model_fields[name].alias or name
        given[field] = change(field, getattr(task, name))
    with _copying(task):
        return type(task)(**given)


@contextlib.contextmanager
def _copying(task: Operator) -> Iterator[None]:
    """Construct copies of a task that join no DAG and stand at the same line."""
    dag = current_dag.set(None)
    try:
        with defined_at(task.source), as_rendered():
            yield
    finally:
        current_dag.reset(dag)
