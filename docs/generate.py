"""Write the pages of ``docs/`` that come from the code: ``python docs/generate.py``. A test keeps them true."""

from __future__ import annotations

import enum
import inspect
import re
import sys
import types
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from pydag_gcp import operators, schema
from pydag_gcp.operator import Operator
from pydag_gcp.resources import Cluster, GCSObject, Table
from pydag_gcp.retry import Retry
from pydag_gcp.runtime_value import RuntimeValue

DOCS = Path(__file__).parent

INTRODUCTION = """\
# Operators

Every field of every operator, made from their definitions by `make docs`. The names are the same in Python and in
[YAML](yaml.md), where a duration is a number of seconds or a mapping such as `{minutes: 30}`, a table or an object its
name. Where a field takes *outputs*, a value may also be what another [task](tasks.md) came to.
"""

_WORDS: dict[Any, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    bytes: "bytes",
    timedelta: "duration",
    Table: "table",
    GCSObject: "object",
    Cluster: "cluster",
    Any: "any value",
}


def pages() -> dict[Path, str]:
    """File -> what belongs in it."""
    return {DOCS / "operators.md": operators_page(), DOCS / "pipeline.schema.json": schema.text()}


def operators_page() -> str:
    """The reference of operators, with what all of them have in common first."""
    classes = [getattr(operators, name) for name in operators.__all__]
    own = [found for found in classes if issubclass(found, Operator)]
    values = [Retry, *(found for found in classes if not issubclass(found, Operator))]
    sections = [INTRODUCTION, section(Operator, "Fields of every operator", Operator.model_fields)]
    for found in own:
        fields = {name: info for name, info in found.model_fields.items() if name not in Operator.model_fields}
        sections.append(section(found, found.__name__, fields))
    sections.append("## Values\n")
    sections.extend(section(found, found.__name__, found.model_fields, level=3) for found in values)
    return "\n".join(sections)


def section(model: type[BaseModel], title: str, fields: dict[str, FieldInfo], *, level: int = 2) -> str:
    """Describe a model and its fields; required ones first."""
    takes = model.param_fields() if issubclass(model, Operator) else frozenset()
    words = "" if model is Operator else f"{prose(model)}\n\n"
    rows = ["| field | what it takes | default | |", "|---|---|---|---|"]
    for name, info in sorted(fields.items(), key=lambda field: not field[1].is_required()):
        shown = info.alias or name
        kind = "; ".join(filter(None, (described(info.annotation), limits(info), "outputs" if shown in takes else "")))
        default = "**required**" if info.is_required() else default_of(info)
        rows.append(f"| `{shown}` | {cell(kind)} | {cell(default)} | {cell(info.description or '')} |")
    return f"{'#' * level} {title}\n\n{words}" + "\n".join(rows) + "\n"


def prose(model: type[BaseModel]) -> str:
    """The docstring of a model, without its sections, as Markdown."""
    text = inspect.getdoc(model) or ""
    kept = re.split(r"\n(?:Args|Attributes|Raises|Returns):\n", text)[0].strip()
    return kept.replace("``", "`")


def described(annotation: Any) -> str:
    """Say a type in words."""
    origin = get_origin(annotation)
    if annotation in _WORDS:
        return _WORDS[annotation]
    if origin is Annotated:
        return described(get_args(annotation)[0])
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in get_args(annotation))
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(map(described, choices(annotation))))
    if origin in (tuple, list):
        item = get_args(annotation)[0]
        return "list of errors" if item is type or get_origin(item) is type else f"list of {described(item)}"
    if origin is dict:
        return f"mapping of names to {described(get_args(annotation)[1])}"
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return ", ".join(f"`{member.value}`" for member in annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    return getattr(annotation, "__name__", str(annotation))


def choices(union: Any) -> Iterator[Any]:
    """The members of a union that an author can write down."""
    for member in get_args(union):
        runtime = isinstance(member, type) and issubclass(member, RuntimeValue)
        if member is not type(None) and not runtime:
            yield member


def limits(info: FieldInfo) -> str:
    """Say what bounds a field has."""
    found = {name: value for part in info.metadata for name, value in bounds(part)}
    words = {"ge": "at least", "gt": "more than", "le": "at most"}
    return ", ".join(f"{words[name]} {plain(value)}" for name, value in found.items())


def bounds(part: Any) -> Iterator[tuple[str, Any]]:
    """The bounds that one piece of metadata holds."""
    for name in ("ge", "gt", "le"):
        if hasattr(part, name):
            yield name, getattr(part, name)


def default_of(info: FieldInfo) -> str:
    """Say what holds where nothing is given."""
    value = info.get_default(call_default_factory=True, validated_data={})
    if value is PydanticUndefined or value is None or value in ((), {}, []):
        return ""
    return f"`{plain(value)}`"


def plain(value: Any) -> str:
    """A value as an author would write it."""
    if isinstance(value, timedelta):
        return str(value)
    if isinstance(value, bool):
        return str(value).lower()
    return str(value.value if isinstance(value, enum.Enum) else value)


def cell(text: str) -> str:
    """Text inside a table."""
    return " ".join(text.split()).replace("|", "\\|")


def main() -> int:
    """Write what has changed."""
    for file, text in pages().items():
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")
            print(f"wrote {file}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
