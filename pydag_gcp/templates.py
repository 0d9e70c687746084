"""Jinja templates in fields: strings with ``{{ }}`` become values when a run begins."""

from __future__ import annotations

import dataclasses
import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache, partial
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from pydag_gcp.errors import DefinitionError
from pydag_gcp.model import complaint, dotted, names
from pydag_gcp.resources import GCSObject, Resource, Table, is_template
from pydag_gcp.runtime_value import RuntimeValue

if TYPE_CHECKING:
    from pydag_gcp.jinja import Piece, Prepared, Sandbox

_Render = Callable[..., Any]

#: What has a meaning in a name: a value put into a part of it must not bring that along.
_MARKS: Mapping[type[Resource], str] = {Table: ".$*`", GCSObject: "*?["}


def render_value(value: Any, variables: Mapping[str, Any], *, where: str) -> Any:
    """Replace every ``{{ }}`` in a field's value, at any depth of lists, tuples, sets, dicts and models.

    A string that is exactly one ``{{ expression }}`` gives the expression's own value, any other template gives text.
    What a template gives is never rendered again.

    Raises:
        DefinitionError: A template is wrong, names an unknown variable, or gives no text where text is needed;
            or it stands inside an object of a kind that is not rendered.
    """
    return _rendered(value, partial(_string, variables=variables, where=where), where)


def check_file_name(template: str, name: str, *, where: str) -> None:
    """Make sure that values in a file's name choose among files, but neither another folder nor another text.

    Raises:
        DefinitionError: The name leads elsewhere than its template says.
    """
    moved = any(name.startswith(mark) != template.startswith(mark) for mark in ("/", "gs://"))
    climbs = name.split("/").count("..") > template.split("/").count("..")
    if name != template and (moved or climbs or re.search(r"[\s\x00]", name)):
        hint = "write the folder in the pipeline, and only a plain name in {{ }}"
        raise DefinitionError(f"{template} gives {name!r}, which is no file of that folder", where=where, hint=hint)


def _rendered(value: Any, render: _Render, where: str) -> Any:
    if isinstance(value, str):
        return render(value)
    if isinstance(value, Resource):
        return _resource(value, render, where)
    if type(value) is dict:
        return {_rendered(key, render, where): _rendered(part, render, where) for key, part in value.items()}
    if type(value) in (list, tuple, set, frozenset):
        return type(value)(_rendered(part, render, where) for part in value)
    if not holds_template(value):
        return value
    if isinstance(value, BaseModel):
        return _model(value, render, where)
    raise DefinitionError(f"a template inside a {type(value).__name__} is not rendered", where=where)


def holds_template(value: Any) -> bool:
    """Tell whether anything in a value still has to be rendered."""
    kind: Any = type(value)
    look = _inside(kind)
    return look is not None and look(value)


@cache
def _inside(kind: type[Any]) -> Callable[[Any], bool] | None:
    """How to look for templates in values of a kind; None: there are none in it."""
    if issubclass(kind, RuntimeValue):  # an output knows its task, whose fields are not part of the value
        return None
    if issubclass(kind, str):
        return is_template
    if issubclass(kind, Mapping):
        return lambda value: bool(value) and any(map(holds_template, (*value.keys(), *value.values())))
    if issubclass(kind, (list, tuple, set, frozenset, deque)):
        return lambda value: any(map(holds_template, value))
    if issubclass(kind, BaseModel):
        return lambda value: any(holds_template(part) for _, part in value)
    if dataclasses.is_dataclass(kind):
        return lambda value: any(
            holds_template(getattr(value, field.name, None)) for field in dataclasses.fields(value)
        )
    return None


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
        bare = complaint(error, given=given, known=names(type(model)))
        what = f"{dotted(bare.loc)}: {bare.what}" if bare.loc else bare.what
        raise DefinitionError(what, where=where, hint=bare.hint) from error
    if holds_template(rendered):
        raise DefinitionError(f"a template gives {rendered!r}", where=where, hint="a value is not rendered again")
    return rendered


def _resource(resource: Resource, render: _Render, where: str) -> Resource:
    """Render the names inside a resource, and check them again."""
    fields = {name: getattr(resource, name) for name in type(resource).model_fields}
    templates = {name: part for name, part in fields.items() if isinstance(part, str) and is_template(part)}
    if not templates:
        return resource
    for name, part in templates.items():
        value = render(part, marks=_MARKS.get(type(resource), ""))
        if value is None or isinstance(value, (bool, list, tuple, dict, set)):
            raise DefinitionError(f"{part} gives {value!r}", where=where, hint="a name must be text")
        if is_template(str(value)):
            raise DefinitionError(f"{part} gives {value!r}", where=where, hint="a value is not rendered again")
        fields[name] = str(value)
    try:
        return type(resource)(**fields)
    except DefinitionError as error:
        raise DefinitionError(error.what, where=where, hint=error.hint) from error


def _check_parts(text: str, pieces: Sequence[Piece], marks: str, where: str) -> None:
    """Refuse a value that would make another name of the text around it: ``shop.{{ x }}`` with x = ``other.table``."""
    dots = 0
    for piece in reversed(pieces):
        span, value = piece.span, str(piece.value)
        if span.is_text:
            dots += value.count(".")
            continue
        allowed = "." if dots >= 2 else ""  # a project's id may hold dots
        found = next((mark for mark in marks if mark in value and mark not in allowed), None)
        if found is not None:
            what = f"{text[span.start : span.end]} gives {value!r}, whose {found!r} would change what the name means"
            hint = "write that in the pipeline, or pass the whole name as one value"
            raise DefinitionError(what, where=where, hint=hint)


def _string(text: str, *, variables: Mapping[str, Any], where: str, marks: str = "") -> Any:
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
    _check_parts(text, pieces, marks, where)
    return "".join(str(piece.value) for piece in pieces)


@lru_cache(maxsize=1024)
def _prepared(text: str) -> Prepared:
    return _sandbox().prepare(text)


@lru_cache(maxsize=1)
def _sandbox() -> Sandbox:
    from pydag_gcp.jinja import Sandbox

    return Sandbox()
