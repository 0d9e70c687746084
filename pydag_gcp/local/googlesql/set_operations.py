# ruff: noqa: S608 - writing SQL is what this module does; values come as literals or parameters
"""UNION, INTERSECT and EXCEPT.

Reference: https://cloud.google.com/bigquery/docs/reference/standard-sql/query-syntax#set_operators.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlglot import exp

from pydag_gcp.local.googlesql.analyzer import Analyzer, Relation, only
from pydag_gcp.local.googlesql.coercion import coerce, supertype
from pydag_gcp.local.googlesql.ordering import Finish, Item, modified, ordered, plain
from pydag_gcp.local.googlesql.scope import Scope
from pydag_gcp.local.googlesql.syntax import InvalidQuery, Unsupported
from pydag_gcp.local.googlesql.typed import Typed
from pydag_gcp.local.googlesql.types import Type


def set_operation(analyzer: Analyzer, node: exp.Expr, outer: Scope | None, finish: Finish) -> Relation:
    """Read a set operation: columns go by place, and take a common type.

    Raises:
        InvalidQuery: The sides do not fit together.
        Unsupported: DISTINCT on types that DuckDB compares in another way.
    """
    only(node, "this", "expression", "distinct", "order", "limit", "offset", "with_")
    word = type(node).__name__.upper()
    distinct = bool(node.args.get("distinct"))
    if word != "UNION" and not distinct:
        raise InvalidQuery(f"{word} ALL is not supported")
    left, right = (analyzer.query(node.args[side], outer) for side in ("this", "expression"))
    if len(left.columns) != len(right.columns):
        raise InvalidQuery(
            f"Queries in {word} {'DISTINCT' if distinct else 'ALL'} have mismatched column count; query 1 has "
            f"{len(left.columns)} columns, query 2 has {len(right.columns)} columns"
        )
    pairs = zip(left.columns, right.columns, strict=True)
    kinds = [_common(word, place, a, b) for place, (a, b) in enumerate(pairs, 1)]
    if distinct and any(kind.element or kind.name in ("JSON", "STRUCT") for kind in kinds):
        raise Unsupported(f"{word} DISTINCT on ARRAY, STRUCT or JSON")
    names = [name for name, _ in left.columns]
    columns = tuple((name, Typed("", kind)) for name, kind in zip(names, kinds, strict=True))
    operator = word if distinct else f"{word} ALL"
    sql = f"({_side(analyzer, left, kinds)}) {operator} ({_side(analyzer, right, kinds)})"
    if finish is plain and not modified(node):
        return Relation(sql, columns, is_value=left.is_value)
    return ordered(analyzer, node, Relation(sql, columns, is_value=left.is_value), finish)


def _common(word: str, place: int, left: Item, right: Item) -> Type:
    kind = supertype([_unmarked(left[1]), _unmarked(right[1])])
    if kind is None:
        raise InvalidQuery(f"Column {place} in {word} has incompatible types: {left[1].type}, {right[1].type}")
    return kind


def _unmarked(value: Typed) -> Typed:
    return value if value.is_null else Typed("", value.type)


def _side(analyzer: Analyzer, relation: Relation, kinds: Sequence[Type]) -> str:
    if list(relation.types) == list(kinds):
        return relation.sql
    short = analyzer.fresh("t")
    columns = []
    for place, ((_, value), kind) in enumerate(zip(relation.columns, kinds, strict=True), 1):
        column = replace(_unmarked(value), sql=f"{short}.c{place}")
        columns.append(f"{coerce(column, kind).sql} AS c{place}")
    return f"SELECT {', '.join(columns)} FROM ({relation.sql}) AS {short}"
