"""Jinja templates in fields: strings with ``{{ }}`` become values when a run begins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from pydag_gcp.errors import DefinitionError
from pydag_gcp.resources import Resource, is_template

if TYPE_CHECKING:
    from pydag_gcp.jinja import Prepared, Sandbox

_Render = Callable[[str], Any]


def render_value(value: Any, variables: Mapping[str, Any], *, where: str) -> Any:
    """Replace every ``{{ }}`` in a field's value, at any depth of lists, tuples, sets, dicts and resources.

    A string that is exactly one ``{{ expression }}`` gives the expression's own value, any other template gives text.
    What a template gives is never rendered again.

    Raises:
        DefinitionError: A template is wrong, names an unknown variable, or gives no text where text is needed.
    """
    return _rendered(value, partial(_string, variables=variables, where=where), where)


def _rendered(value: Any, render: _Render, where: str) -> Any:
    if isinstance(value, str):
        return render(value)
    if isinstance(value, Resource):
        return _resource(value, render, where)
    if type(value) is dict:
        return {_rendered(key, render, where): _rendered(part, render, where) for key, part in value.items()}
    if type(value) in (list, tuple, set, frozenset):
        return type(value)(_rendered(part, render, where) for part in value)
    return value


def _resource(resource: Resource, render: _Render, where: str) -> Resource:
    """Render the names inside a resource, and check them again."""
    fields = {name: getattr(resource, name) for name in type(resource).model_fields}
    templates = {name: part for name, part in fields.items() if isinstance(part, str) and is_template(part)}
    if not templates:
        return resource
    for name, part in templates.items():
        value = render(part)
        if value is None or isinstance(value, (bool, list, tuple, dict, set)):
            raise DefinitionError(f"{part} gives {value!r}", where=where, hint="a name must be text")
        if is_template(str(value)):
            raise DefinitionError(f"{part} gives {value!r}", where=where, hint="a value is not rendered again")
        fields[name] = str(value)
    try:
        return type(resource)(**fields)
    except DefinitionError as error:
        raise DefinitionError(error.what, where=where, hint=error.hint) from error


def _string(text: str, *, variables: Mapping[str, Any], where: str) -> Any:
    if not is_template(text):
        return text
    from pydag_gcp.jinja import TemplateFault

    try:
        prepared = _prepared(text)
        pieces = list(prepared.pieces(variables))
    except TemplateFault as fault:
        line = f": line {fault.line}" if fault.line and "\n" in text else ""
        raise DefinitionError(fault.what, where=where + line, hint=fault.hint) from fault
    if prepared.is_one_placeholder:
        return pieces[0].value
    if any(piece.value is None for piece in pieces):
        raise DefinitionError(f"a part of {text!r} is None", where=where, hint="text cannot hold None")
    return "".join(str(piece.value) for piece in pieces)


@lru_cache(maxsize=1024)
def _prepared(text: str) -> Prepared:
    return _sandbox().prepare(text)


@lru_cache(maxsize=1)
def _sandbox() -> Sandbox:
    from pydag_gcp.jinja import Sandbox

    return Sandbox()
