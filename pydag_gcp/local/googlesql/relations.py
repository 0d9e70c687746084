# ruff: noqa: S608 - writing SQL is what this module does; values come as literals or parameters
"""The FROM clause: tables, views, subqueries, UNNEST, and joins of them.

Reference: https://cloud.google.com/bigquery/docs/reference/standard-sql/query-syntax#from_clause.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sqlglot import exp

from pydag_gcp.local.googlesql.analyzer import Analyzer, Relation, only
from pydag_gcp.local.googlesql.expressions import path
from pydag_gcp.local.googlesql.operators import boolean, compare
from pydag_gcp.local.googlesql.scope import Scope, Source, column_of, members
from pydag_gcp.local.googlesql.syntax import InvalidQuery, Unsupported, parse
from pydag_gcp.local.googlesql.typed import Typed
from pydag_gcp.local.googlesql.types import INT64, quoted

if TYPE_CHECKING:
    from pydag_gcp.local.googlesql.translate import TableRef

_DEEPEST_VIEW = 16


@dataclass(frozen=True)
class From:
    """A FROM clause: DuckDB's text after FROM, and the names that it brings."""

    sql: str
    scope: Scope


def read_from(analyzer: Analyzer, node: exp.Expr, outer: Scope | None) -> From:
    """Read FROM and the joins of a SELECT."""
    clause = node.args.get("from_")
    if clause is None:
        return From("", Scope(outer=outer))
    sql, source = _item(analyzer, clause.this, Scope(outer=outer))
    result = From(sql, Scope(sources=(source,), outer=outer))
    for join in node.args.get("joins") or []:
        result = _join(analyzer, result, join)
    return result


def _item(analyzer: Analyzer, node: exp.Expr, scope: Scope) -> tuple[str, Source]:
    try:
        return _read_item(analyzer, node, scope)
    except InvalidQuery as error:
        raise error.at(*analyzer.statement.place(node)) from None


def _read_item(analyzer: Analyzer, node: exp.Expr, scope: Scope) -> tuple[str, Source]:
    if isinstance(node, exp.Unnest):
        return _unnest(analyzer, node, scope)
    if isinstance(node, exp.Subquery):
        only(node, "this", "alias")
        relation = analyzer.query(node.this, scope.outer)
        return _named(analyzer, relation, _alias(node), f"({relation.sql})")
    if isinstance(node, exp.Table):
        return _table(analyzer, node, scope)
    raise Unsupported(f"{type(node).__name__} in FROM")


def _alias(node: exp.Expr) -> str | None:
    alias = node.args.get("alias")
    if alias is None:
        return None
    if alias.args.get("columns"):
        raise Unsupported("a table alias with columns")
    return str(alias.name)


def _named(analyzer: Analyzer, relation: Relation, name: str | None, sql: str) -> tuple[str, Source]:
    short = analyzer.fresh("t")
    columns = tuple(
        (written, column_of(f"{short}.c{place}", value)) for place, (written, value) in enumerate(relation.columns, 1)
    )
    if relation.is_value:
        (_, value) = columns[0]
        inner = tuple(members(value)) if value.type.name == "STRUCT" else ((name or "", value),)
        return f"{sql} AS {short}", Source(name, inner, value=value)
    return f"{sql} AS {short}", Source(name, columns)


def _table(analyzer: Analyzer, node: exp.Table, scope: Scope) -> tuple[str, Source]:
    only(node, "this", "db", "catalog", "alias")
    if not isinstance(node.this, exp.Identifier):
        raise Unsupported(f"table function {node.this.sql(dialect='bigquery')}")
    parts = [str(part.name) for part in node.parts]
    alias = _alias(node)
    correlated = _array_path(parts, scope)
    if correlated is not None:
        return _unnested(analyzer, correlated, alias or parts[-1], None)
    if len(parts) == 1 and parts[0].lower() in analyzer.ctes:
        short, relation = analyzer.ctes[parts[0].lower()]
        return _named(analyzer, relation, alias or parts[0], short)
    table = resolve(analyzer, node)
    analyzer.reads_table(table)
    name = alias or parts[-1]
    if table.query is not None:
        relation = _view(analyzer, table, table.query)
        return _named(analyzer, relation, name, f"({relation.sql})")
    short = analyzer.fresh("t")
    columns = tuple((f.name, Typed(f"{short}.{quoted(f.name)}", f.value_type)) for f in table.fields)
    guard = table.partition_column if table.require_partition_filter else None
    return f"{table.duckdb_name} AS {short}", Source(name, columns, filtered_by=guard)


def resolve(analyzer: Analyzer, node: exp.Table) -> TableRef:
    """Return the table that a name in the query means.

    Raises:
        LookupError: There is none.
        Unsupported: Wildcard tables, decorators and INFORMATION_SCHEMA.
    """
    parts = [str(part.name) for part in node.parts]
    if parts[-1].endswith("*"):
        raise Unsupported(f"wildcard table {'.'.join(parts)}")
    if "$" in parts[-1] or "@" in parts[-1]:
        raise Unsupported(f"table decorator in {'.'.join(parts)}")
    if any(part.upper().startswith("INFORMATION_SCHEMA") or part.upper() == "__TABLES__" for part in parts):
        raise Unsupported(f"{'.'.join(parts)}")
    *path, table = parts
    project, dataset = ([None, None, *path])[-2:]
    return analyzer.tables.resolve(project, dataset, table)


def _array_path(parts: list[str], scope: Scope) -> Typed | None:
    """Return the array that ``FROM t, t.items`` means."""
    if len(parts) < 2 or not any(s.name and s.name.lower() == parts[0].lower() for s in scope.sources):
        return None
    return path(parts, scope)


def _view(analyzer: Analyzer, table: TableRef, query: str) -> Relation:
    (statement,) = parse(query)
    inner = analyzer.inside(statement)
    if inner.depth > _DEEPEST_VIEW:
        raise InvalidQuery(f"View {table.dataset}.{table.table} exceeds the maximum nesting of views ({_DEEPEST_VIEW})")
    relation = inner.query(statement.tree, None)
    names = [field.name for field in table.fields]
    if len(names) != len(relation.columns):
        raise InvalidQuery(f"View {table.dataset}.{table.table} has changed: create it again")
    columns = tuple((name, value) for name, (_, value) in zip(names, relation.columns, strict=True))
    return replace(relation, columns=columns, is_value=False)


def _unnest(analyzer: Analyzer, node: exp.Expr, scope: Scope) -> tuple[str, Source]:
    only(node, "expressions", "alias", "offset", "explode_array")
    if len(node.expressions) != 1:
        raise Unsupported("UNNEST of several arrays")
    offset = node.args.get("offset")
    offset_name = None if not offset else str(offset.name) if isinstance(offset, exp.Expr) else "offset"
    alias = node.args.get("alias")
    name = None
    if alias is not None:
        columns = alias.args.get("columns") or []
        name = str(columns[0].name) if columns else str(alias.name) or None
    value = analyzer.read(node.expressions[0], scope)
    return _unnested(analyzer, value, name, offset_name)


def _unnested(analyzer: Analyzer, value: Typed, name: str | None, offset: str | None) -> tuple[str, Source]:
    if value.type.element is None:
        found = f"UNNEST contains expression of type {value.type}"
        raise InvalidQuery(f"Values referenced in UNNEST must be arrays. {found}")
    short = analyzer.fresh("t")
    places = ", CAST(generate_subscripts(a, 1) - 1 AS BIGINT) AS o" if offset else ""
    sql = f"LATERAL (SELECT unnest(a) AS v{places} FROM (SELECT {value.sql} AS a)) AS {short}"
    element = Typed(f"{short}.v", value.type.element)
    columns = members(element) if element.type.name == "STRUCT" else [(name or "", element)]
    if offset:
        columns.append((offset, Typed(f"{short}.o", INT64, exact=True)))
    return sql, Source(name, tuple(columns), value=element)


def _join(analyzer: Analyzer, left: From, node: exp.Expr) -> From:
    only(node, "this", "on", "using", "side", "kind", "method")
    if node.args.get("method"):
        raise Unsupported(f"{node.args['method']} JOIN")
    side, kind = str(node.args.get("side") or "").upper(), str(node.args.get("kind") or "").upper()
    if kind not in ("", "INNER", "CROSS", "OUTER") or (kind == "CROSS" and side):
        raise Unsupported(f"{side} {kind} JOIN".strip())
    sql, source = _item(analyzer, node.this, left.scope)
    if source.name and any(s.name and s.name.lower() == source.name.lower() for s in left.scope.sources):
        raise InvalidQuery(f"Duplicate table alias {source.name} in the same FROM clause")
    both = replace(left.scope, sources=(*left.scope.sources, source))
    condition, both = _condition(analyzer, node, left.scope, source, both, side)
    if sql.startswith("LATERAL"):
        return From(_lateral(left.sql, sql, side, condition), both)
    if condition is None:
        if kind != "CROSS":
            raise InvalidQuery("JOIN must have an immediately following ON or USING clause")
        return From(f"{left.sql} CROSS JOIN {sql}", both)
    return From(f"{left.sql} {side or 'INNER'} JOIN {sql} ON {condition}", both)


def _lateral(left: str, right: str, side: str, condition: str | None) -> str:
    if side in ("RIGHT", "FULL"):
        raise InvalidQuery(f"{side} JOIN cannot have a correlated array on its right side")
    if side == "LEFT":
        if condition not in (None, "TRUE"):
            raise Unsupported("LEFT JOIN UNNEST with a condition")
        return f"{left} LEFT JOIN {right} ON TRUE"
    joined = f"{left} CROSS JOIN {right}"
    if condition not in (None, "TRUE"):
        raise Unsupported("JOIN UNNEST with a condition (write it in WHERE)")
    return joined


def _condition(
    analyzer: Analyzer, node: exp.Expr, left: Scope, source: Source, both: Scope, side: str
) -> tuple[str | None, Scope]:
    on, using = node.args.get("on"), node.args.get("using")
    if on is not None:
        return boolean(analyzer.read(on, both), "JOIN ON clause").sql, both
    if not using:
        return None, both
    shared, tests = dict(both.shared), []
    right = Scope(sources=(source,))
    for identifier in using:
        name = str(identifier.name)
        mine, theirs = _own(left, name), _own(right, name)
        test = compare("=", mine, theirs)
        tests.append(test.sql)
        merged = {"RIGHT": theirs.sql, "FULL": f"coalesce({mine.sql}, {theirs.sql})"}.get(side, mine.sql)
        if mine.type != theirs.type:
            raise Unsupported(f"JOIN USING ({name}) of {mine.type} and {theirs.type}")
        shared[name.lower()] = Typed(merged, mine.type)
    return " AND ".join(tests), replace(both, shared=shared)


def _own(scope: Scope, name: str) -> Typed:
    alone = replace(scope, outer=None)
    try:
        return alone.find(name)
    except InvalidQuery as error:
        raise InvalidQuery(f"Column {name} in USING clause: {error.message}") from None
