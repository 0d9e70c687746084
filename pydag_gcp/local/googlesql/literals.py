"""Expressions that make values: literals, arrays, structs.

Reference: https://cloud.google.com/bigquery/docs/reference/standard-sql/lexical#literals and
https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types#constructing_a_struct.
"""

from __future__ import annotations

from sqlglot import exp

from pydag_gcp.local.googlesql import operators
from pydag_gcp.local.googlesql.analyzer import Analyzer
from pydag_gcp.local.googlesql.coercion import coerce, coerces, unify
from pydag_gcp.local.googlesql.lexical import bytes_value, string_value
from pydag_gcp.local.googlesql.scope import Scope
from pydag_gcp.local.googlesql.syntax import InvalidQuery, Unsupported
from pydag_gcp.local.googlesql.typed import Literal, Typed, blob, text
from pydag_gcp.local.googlesql.types import BOOL, BYTES, FLOAT64, INT64, NULL, STRING, Type, array, quoted

_MAX_INT64 = 2**63 - 1


def literal(analyzer: Analyzer, node: exp.Expr, _: Scope) -> Typed:
    """Read a number or a string."""
    if isinstance(node, exp.RawString) or node.args.get("is_string"):
        value = string_value(node, analyzer.statement)
        return Typed(text(value), STRING, constant=value, coercible=True)
    return number(str(node.this))


def number(digits: str) -> Typed:
    """Return a number as written: a whole one is an INT64.

    Raises:
        InvalidQuery: It is too large.
    """
    if digits.isdecimal():
        if int(digits) > _MAX_INT64:
            raise InvalidQuery(f"Invalid integer literal: {digits}")
        return whole(int(digits))
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise InvalidQuery(f"Invalid floating point literal: {digits}")
    return Typed(f"CAST('{digits}' AS DOUBLE)", FLOAT64, constant=value, coercible=True, exact=True)


def whole(value: int) -> Typed:
    """Return an INT64 as a literal."""
    return Typed(f"CAST({value} AS BIGINT)", INT64, constant=value, coercible=True, exact=True)


def hexadecimal(_: Analyzer, node: exp.Expr, __: Scope) -> Typed:
    """Read 0x1F."""
    return number(str(int(str(node.this), 16)))


def bytes_literal(analyzer: Analyzer, node: exp.Expr, _: Scope) -> Typed:
    """Read b'...'."""
    value = bytes_value(node, analyzer.statement)
    return Typed(blob(value), BYTES, constant=value, coercible=True)


def null_literal(_: Analyzer, __: exp.Expr, ___: Scope) -> Typed:
    """Read NULL."""
    return Typed("CAST(NULL AS BIGINT)", NULL, constant=None, coercible=True)


def truth(_: Analyzer, node: exp.Expr, __: Scope) -> Typed:
    """Read TRUE and FALSE."""
    return Typed("TRUE" if node.this else "FALSE", BOOL, constant=bool(node.this), coercible=True)


def minus(analyzer: Analyzer, node: exp.Expr, scope: Scope) -> Typed:
    """Read -a; the smallest INT64 can only be written so."""
    if isinstance(node.this, exp.Literal) and str(node.this.this) == str(_MAX_INT64 + 1):
        return whole(-_MAX_INT64 - 1)
    inner = analyzer.read(node.this, scope)
    if isinstance(node.this, exp.Literal) and isinstance(inner.constant, int):
        return whole(-inner.constant)
    if isinstance(node.this, exp.Literal) and isinstance(inner.constant, float):
        return number(f"-{node.this.this}")
    value = operators.negate(inner)
    return Typed(value.sql, value.type, Literal.NOT, value.stable, exact=value.exact)


def constructed(analyzer: Analyzer, node: exp.Expr, kind: Type, scope: Scope) -> Typed:
    """Read ARRAY<T>[...] and STRUCT<...>(...): elements are coerced, not cast."""
    values = [analyzer.read(each, scope) for each in node.expressions]
    wanted = [kind.element] * len(values) if kind.element is not None else [member for _, member in kind.members]
    if len(wanted) != len(values):
        raise InvalidQuery(f"{kind} has {len(wanted)} fields, but {len(values)} values are given")
    for value, want in zip(values, wanted, strict=True):
        if not coerces(value, want):
            raise InvalidQuery(f"Element of type {value.type} does not coerce to {want}")
    done = [coerce(value, want) for value, want in zip(values, wanted, strict=True)]
    return make_array(done, kind) if kind.element is not None else make_struct(done, kind)


def make_array(values: list[Typed], kind: Type) -> Typed:
    """Return an ARRAY of values that already have its element type."""
    inner = ", ".join(value.sql for value in values)
    literal = all(value.is_literal or value.coercible for value in values)
    return Typed(f"CAST([{inner}] AS {kind.duckdb})", kind, stable=all(v.stable for v in values), coercible=literal)


def make_struct(values: list[Typed], kind: Type) -> Typed:
    """Return a STRUCT of values that already have its fields' types."""
    names = [name or f"_field_{place}" for place, (name, _) in enumerate(kind.members, 1)]
    if len({name.lower() for name in names}) < len(names):
        raise Unsupported("a STRUCT with two fields of one name")
    parts = ", ".join(f"{quoted(name)} := {value.sql}" for name, value in zip(names, values, strict=True))
    literal = all(value.is_literal or value.coercible for value in values)
    return Typed(f"struct_pack({parts})", kind, stable=all(v.stable for v in values), coercible=literal)


def array_literal(analyzer: Analyzer, node: exp.Expr, scope: Scope) -> Typed:
    """Read [a, b] and ARRAY(SELECT ...)."""
    first = node.expressions[0] if node.expressions else None
    if isinstance(first, exp.Query):
        return analyzer.array_of(first, scope)
    if not node.expressions:
        kind = array(INT64)
        return Typed(f"CAST([] AS {kind.duckdb})", kind, coercible=True)
    values = [analyzer.read(each, scope) for each in node.expressions]
    if any(value.type.element for value in values):
        raise InvalidQuery("Cannot construct array with element type ARRAY because nested arrays are not supported")
    kind, values = unify(values, "array constructor")
    return make_array(values, array(kind))


def implied_name(node: exp.Expr) -> str:
    """Return the name that an expression gives to a column or field: of AS, of the column it is; else ""."""
    if isinstance(node, exp.Alias):
        return str(node.alias)
    if isinstance(node, exp.Dot) and isinstance(node.expression, exp.Identifier):
        return str(node.expression.name)
    return str(node.name) if isinstance(node, exp.Column) else ""
