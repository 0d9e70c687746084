"""Values on their way into columns: assignment coercion, REQUIRED, lengths, and what an array may hold.

Reference: https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types (arrays with NULL, parameterized
types) and https://cloud.google.com/bigquery/docs/reference/standard-sql/dml-syntax.
"""

from __future__ import annotations

from pydag_gcp.local.googlesql.coercion import coerce, coerces
from pydag_gcp.local.googlesql.syntax import InvalidQuery
from pydag_gcp.local.googlesql.typed import Typed, let, text
from pydag_gcp.local.googlesql.types import Field, Type, member_names, quoted


def stored(value: Typed, field: Field) -> Typed:
    """Return ``value`` as column ``field`` keeps it; what does not fit raises while it runs.

    Raises:
        InvalidQuery: The value's type does not go into the column.
    """
    kind = field.value_type
    if not coerces(value, kind):
        what = f"Value has type {value.type} which cannot be inserted into column {field.name}"
        raise InvalidQuery(f"{what}, which has type {kind}")
    return checked(coerce(value, kind), field)


def checked(value: Typed, field: Field) -> Typed:
    """Return ``value``, which has the column's type, or the error that it does not fit."""
    if field.mode == "REPEATED":
        return Typed(let([value], lambda x: whole_array(x, value.type, field.name)), value.type)
    tests = _limits(field)
    if field.mode == "REQUIRED":
        tests.append(("$1 IS NULL", f"Required field {field.name} cannot be null"))
    if field.fields:
        inner = _struct(value, field)
        value = Typed(inner, value.type)
    rounded = value
    if field.precision is not None:
        scale = field.scale or 0
        rounded = Typed(f"CAST(CAST({value.sql} AS DECIMAL(38,{scale})) AS DECIMAL(38,9))", value.type)
    if not tests:
        return rounded

    def body(x: str) -> str:
        arms = " ".join(f"WHEN {test.replace('$1', x)} THEN error({text(complaint)})" for test, complaint in tests)
        return f"CASE {arms} ELSE {x} END"

    return Typed(let([rounded], body), value.type)


def _limits(field: Field) -> list[tuple[str, str]]:
    if field.max_length is not None:
        measure = "length" if field.type == "STRING" else "octet_length"
        complaint = f"Value is too long for field {field.name}: maximum length {field.max_length}"
        return [(f"{measure}($1) > {field.max_length}", complaint)]
    if field.precision is not None:
        scale = field.scale or 0
        complaint = f"Field {field.name}: value is out of range of NUMERIC({field.precision}, {scale})"
        return [(f"abs($1) >= {10 ** (field.precision - scale)}", complaint)]
    return []


def _struct(value: Typed, field: Field) -> str:
    names = member_names(value.type)

    def body(x: str) -> str:
        parts = []
        for name, child in zip(names, field.fields, strict=True):
            member = Typed(f"struct_extract({x}, {text(name)})", child.value_type)
            parts.append(f"{quoted(name)} := {checked(member, child).sql}")
        return f"CASE WHEN {x} IS NOT NULL THEN struct_pack({', '.join(parts)}) END"

    return let([value], body)


def whole_array(elements: str, kind: Type, name: str) -> str:
    """Return an array as a table or result holds it: NULL is empty, and no element is NULL."""
    complaint = text(f"Array cannot have a null element; error in writing field {name}")
    holes = f"list_aggregate({elements}, 'count') < len({elements})"
    return f"CASE WHEN {holes} THEN error({complaint}) ELSE coalesce({elements}, CAST([] AS {kind.duckdb})) END"


def shown(value: Typed, name: str) -> Typed:
    """Return ``value`` as a result shows it."""
    if value.type.element is None:
        return value
    return Typed(let([value], lambda x: whole_array(x, value.type, name)), value.type)
