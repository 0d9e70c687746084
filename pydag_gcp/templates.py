"""Jinja templates in fields: strings with ``{{ }}`` become values when a run begins."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from pydag_gcp.errors import DefinitionError
from pydag_gcp.resources import Resource, is_template

if TYPE_CHECKING:
    from pydag_gcp.jinja import Prepared, Sandbox

_Render = Callable[[str], Any]


def render_value(value: Any, variables: Mapping[str, Any], *, where: str) -> Any:
    """Replace every ``{{ }}`` in a field's value, at any depth of lists, tuples, sets, dicts and models.

    A string that is exactly one ``{{ expression }}`` gives the expression's own value, any other template gives text.
    What a template gives is never rendered again.

    Raises:
        DefinitionError: A template is wrong, names an unknown variable, or gives no text where text is needed;
            or it stands inside an object of a kind that is not rendered.
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
    if not _holds_template(value):
        return value
    if isinstance(value, BaseModel):
        return _model(value, render, where)
    raise DefinitionError(f"a template inside a {type(value).__name__} is not rendered", where=where)


def _holds_template(value: Any) -> bool:
    if isinstance(value, str):
        return is_template(value)
    if isinstance(value, Mapping):
        return any(map(_holds_template, (*value.keys(), *value.values())))
    if isinstance(value, (list, tuple, set, frozenset, deque)):
        return any(map(_holds_template, value))
    if isinstance(value, BaseModel):
        return any(_holds_template(part) for _, part in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return any(_holds_template(getattr(value, field.name, None)) for field in dataclasses.fields(value))
    return False


def _model(model: BaseModel, render: _Render, where: str) -> BaseModel:
    """Render what was set in a model, and check it again."""
    known = type(model).model_fields
    given = {
        (known[name].alias or name) if name in known else name: _rendered(value, render, where)
        for name, value in model
        if name in model.model_fields_set
    }
    try:
        rendered = type(model).model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        name, message = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
        what = f"{name}: {message[:1].lower()}{message[1:]}, got {first['input']!r}"
        raise DefinitionError(what, where=where) from error
    if _holds_template(rendered):
        raise DefinitionError(f"a template gives {rendered!r}", where=where, hint="a value is not rendered again")
    return rendered


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
