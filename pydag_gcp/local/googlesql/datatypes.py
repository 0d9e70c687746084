"""Types as a query writes them: ``NUMERIC(10, 2)``, ``ARRAY<STRUCT<a INT64>>``."""

from __future__ import annotations

from sqlglot import exp

from pydag_gcp.local.googlesql.syntax import InvalidQuery, Unsupported
from pydag_gcp.local.googlesql.types import Field, Type, UnsupportedType, array

_NAMES = {
    "BIGINT": "INT64", "INT": "INT64", "SMALLINT": "INT64", "TINYINT": "INT64",
    "DOUBLE": "FLOAT64", "BOOLEAN": "BOOL", "TEXT": "STRING", "VARCHAR": "STRING",
    "BINARY": "BYTES", "VARBINARY": "BYTES", "DATE": "DATE", "TIME": "TIME", "DATETIME": "DATETIME",
    "TIMESTAMP": "DATETIME", "TIMESTAMPTZ": "TIMESTAMP", "DECIMAL": "NUMERIC", "JSON": "JSON",
}  # fmt: skip


def read_field(name: str, node: exp.Expr) -> Field:
    """Return the column that a definition declares.

    Raises:
        InvalidQuery: The type is wrong.
        Unsupported: The local cloud does not hold it.
    """
    if not isinstance(node, exp.DataType):
        raise Unsupported(f"type {node.sql(dialect='bigquery')}")
    if node.this == exp.DType.ARRAY:
        if len(node.expressions) != 1:
            raise InvalidQuery("ARRAY must have an element type")
        inner = read_field(name, node.expressions[0])
        if inner.mode == "REPEATED":
            raise InvalidQuery("Arrays of arrays are not supported")
        return Field(**{**vars(inner), "mode": "REPEATED"})
    if node.this == exp.DType.STRUCT:
        return Field(name=name, type="STRUCT", fields=tuple(_member(each) for each in node.expressions))
    kind = _NAMES.get(node.this.name)
    if kind is None:
        raise Unsupported(f"type {node.sql(dialect='bigquery')}")
    sizes = [int(str(each.name)) for each in node.expressions]
    return _sized(name, kind, sizes)


def _sized(name: str, kind: str, sizes: list[int]) -> Field:
    if not sizes:
        return Field(name=name, type=kind)
    if kind in ("STRING", "BYTES") and len(sizes) == 1:
        return Field(name=name, type=kind, max_length=sizes[0])
    if kind == "NUMERIC" and len(sizes) <= 2:
        precision, scale = sizes[0], sizes[1] if len(sizes) > 1 else 0
        if not (0 <= scale <= 9 and max(1, scale) <= precision <= scale + 29):
            raise InvalidQuery(f"In NUMERIC(P, {scale}), P must be between {max(1, scale)} and {scale + 29}")
        return Field(name=name, type=kind, precision=precision, scale=scale if len(sizes) > 1 else None)
    raise InvalidQuery(f"{kind} does not take the parameters {sizes}")


def _member(node: exp.Expr) -> Field:
    if isinstance(node, exp.ColumnDef) and isinstance(node.args.get("kind"), exp.DataType):
        return read_field(str(node.name), node.args["kind"])
    return read_field("", node)


def read_type(node: exp.Expr) -> Type:
    """Return the type that a CAST names.

    Raises:
        InvalidQuery: The type is wrong.
        Unsupported: The local cloud does not hold it, or it has parameters.
    """
    field = read_field("", node)
    if _parameterised(field):
        raise Unsupported(f"parameters of type {node.sql(dialect='bigquery')} in an expression")
    kind = field.value_type
    try:
        _ = kind.duckdb
    except UnsupportedType as error:
        raise Unsupported(str(error)) from None
    return kind


def _parameterised(field: Field) -> bool:
    own = field.precision is not None or field.max_length is not None
    return own or any(_parameterised(child) for child in field.fields)


__all__ = ["array", "read_field", "read_type"]
