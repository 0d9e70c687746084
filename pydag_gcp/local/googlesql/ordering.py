# ruff: noqa: S608 - writing SQL is what this module does; values come as literals or parameters
"""ORDER BY and LIMIT: NULL is the least, then NaN.

Reference: https://cloud.google.com/bigquery/docs/reference/standard-sql/query-syntax#order_by_clause.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

from sqlglot import exp

from pydag_gcp.local.googlesql.analyzer import Analyzer, Relation, only
from pydag_gcp.local.googlesql.scope import Scope, column_of
from pydag_gcp.local.googlesql.syntax import InvalidQuery, Unsupported
from pydag_gcp.local.googlesql.typed import Typed
from pydag_gcp.local.googlesql.types import FLOAT64, INT64

#: Gives a column of the outermost query its last form: (place, name, value) -> (SQL, DuckDB's column name).
Finish: TypeAlias = Callable[[int, str, Typed], tuple[str, str]]
Item: TypeAlias = tuple[str, Typed]


def plain(place: int, _: str, value: Typed) -> tuple[str, str]:
    """Leave a column as it is: the form of every inner query."""
    return value.sql, f"c{place}"


def order_terms(analyzer: Analyzer, terms: Sequence[exp.Expr], scope: Scope) -> list[str]:
    """Return DuckDB's terms of an ORDER BY over expressions."""
    written = []
    for term in terms:
        value = analyzer.read(term.this if isinstance(term, exp.Ordered) else term, scope)
        written += order_term(value, term)
    return written


def order_term(value: Typed, term: exp.Expr) -> list[str]:
    """Return DuckDB's terms for one of ours; NaN, the least number here, needs a term of its own.

    Raises:
        InvalidQuery: Values of this type have no order.
    """
    if value.type.element or value.type.name in ("STRUCT", "JSON"):
        raise InvalidQuery(f"ORDER BY does not support expressions of type {value.type}")
    if not isinstance(term, exp.Ordered):
        return [f"{value.sql} ASC NULLS FIRST"]
    only(term, "this", "desc", "nulls_first")
    direction = "DESC" if term.args.get("desc") else "ASC"
    nulls = "NULLS FIRST" if term.args.get("nulls_first") else "NULLS LAST"
    if value.type == FLOAT64 and not value.exact:
        nan = f"isnan({value.sql}) {'ASC' if direction == 'DESC' else 'DESC'} {nulls}"
        return [nan, f"{value.sql} {direction} {nulls}"]
    return [f"{value.sql} {direction} {nulls}"]


def modified(node: exp.Expr) -> bool:
    """Whether ORDER BY, LIMIT or OFFSET follow a query."""
    return any(node.args.get(part) is not None for part in ("order", "limit", "offset"))


def column(finish: Finish, place: int, item: Item) -> str:
    """Return a column of a select list in its last form."""
    sql, name = finish(place, *item)
    return f"{sql} AS {name}"


def ordinal(node: exp.Expr, size: int) -> int | None:
    """Return the column that ORDER BY 1 means, or None if ``node`` is no number.

    Raises:
        InvalidQuery: There is no such column.
    """
    if not (isinstance(node, exp.Literal) and not node.is_string and str(node.this).isdecimal()):
        return None
    place = int(str(node.this))
    if not 1 <= place <= size:
        raise InvalidQuery(f"ORDER BY is out of SELECT clause range: {place}")
    return place


def limit(analyzer: Analyzer, node: exp.Expr) -> str:
    """Return LIMIT and OFFSET of a query.

    Raises:
        InvalidQuery: They are no whole numbers.
    """
    sql = ""
    for part in ("limit", "offset"):
        clause = node.args.get(part)
        if clause is None:
            continue
        if not isinstance(clause, (exp.Limit, exp.Offset)):
            raise Unsupported(f"{type(clause).__name__} as {part.upper()}")
        only(clause, "expression")
        value = analyzer.read(clause.expression, Scope())
        if value.type != INT64 or not (value.is_literal or value.coercible) or (value.is_literal and _negative(value)):
            raise InvalidQuery(f"{part.upper()} expects a non-negative integer literal or parameter")
        sql += f" {part.upper()} {value.sql}"
    return sql


def _negative(value: Typed) -> bool:
    return isinstance(value.constant, int) and value.constant < 0


def ordered(analyzer: Analyzer, node: exp.Expr, inner: Relation, finish: Finish) -> Relation:
    """Return ``inner`` under the ORDER BY and LIMIT of ``node``, which see its columns only."""
    short = analyzer.fresh("t")
    columns = [(name, column_of(f"{short}.c{at}", value)) for at, (name, value) in enumerate(inner.columns, 1)]
    names: dict[str, Typed] = {name.lower(): value for name, value in columns if name}
    terms: list[str] = []
    order = node.args.get("order")
    for term in order.expressions if order is not None else []:
        each = term.this if isinstance(term, exp.Ordered) else term
        place = ordinal(each, len(columns))
        value = columns[place - 1][1] if place else analyzer.read(each, Scope(aliases=names))
        terms += order_term(value, term)
    listed = ", ".join(column(finish, at, item) for at, item in enumerate(columns, 1))
    sql = f"SELECT {listed} FROM ({inner.sql}) AS {short}"
    sql += (f" ORDER BY {', '.join(terms)}" if terms else "") + limit(analyzer, node)
    return replace(inner, sql=sql, columns=tuple(columns))
