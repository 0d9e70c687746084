# ruff: noqa: S608 - writing SQL is what this module does; values come as literals or parameters
"""Queries: SELECT, set operations, WITH.

Every query is written with columns c1, c2... and every FROM item under a fresh name, so that no name of DuckDB's can
capture one of ours. Grouping is a query of its own: keys and aggregates below, the select list above it.

Reference: https://cloud.google.com/bigquery/docs/reference/standard-sql/query-syntax.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlglot import exp

from pydag_gcp.local.googlesql.aggregates import contains_aggregate
from pydag_gcp.local.googlesql.analyzer import Analyzer, Relation, only
from pydag_gcp.local.googlesql.coercion import coerce
from pydag_gcp.local.googlesql.literals import implied_name, make_struct
from pydag_gcp.local.googlesql.operators import boolean
from pydag_gcp.local.googlesql.ordering import (
    Finish,
    Item,
    column,
    limit,
    modified,
    order_term,
    ordered,
    ordinal,
    plain,
)
from pydag_gcp.local.googlesql.relations import From, read_from
from pydag_gcp.local.googlesql.scope import AMBIGUOUS, Grouping, Scope, access, column_of, members, require_filters
from pydag_gcp.local.googlesql.set_operations import set_operation
from pydag_gcp.local.googlesql.syntax import InvalidQuery, Unsupported
from pydag_gcp.local.googlesql.typed import Literal, Typed
from pydag_gcp.local.googlesql.types import INT64, Type


def query(analyzer: Analyzer, node: exp.Expr, outer: Scope | None, finish: Finish = plain) -> Relation:
    """Read a query.

    Raises:
        InvalidQuery: BigQuery would refuse it.
        Unsupported: BigQuery would run it, we do not.
    """
    known = dict(analyzer.ctes)
    try:
        prefix = _with(analyzer, node)
        relation = _body(analyzer, node, outer, finish)
    except InvalidQuery as error:
        raise error.at(*analyzer.statement.place(node)) from None
    finally:
        analyzer.ctes = known
    return replace(relation, sql=prefix + relation.sql)


def _body(analyzer: Analyzer, node: exp.Expr, outer: Scope | None, finish: Finish) -> Relation:
    if isinstance(node, exp.Select):
        return _Select(analyzer, node, outer).read(finish)
    if isinstance(node, exp.SetOperation):
        return set_operation(analyzer, node, outer, finish)
    if isinstance(node, exp.Subquery):
        only(node, "this", "with_", "order", "limit", "offset")
        if not modified(node):
            return query(analyzer, node.this, outer, finish)
        inner = query(analyzer, node.this, outer)
        return ordered(analyzer, node, inner, finish)
    raise Unsupported(f"{type(node).__name__} as a query")


def _with(analyzer: Analyzer, node: exp.Expr) -> str:
    clause = node.args.get("with_")
    if clause is None:
        return ""
    if clause.args.get("recursive"):
        raise Unsupported("WITH RECURSIVE")
    parts, names = [], set()
    for each in clause.expressions:
        only(each, "this", "alias")
        if each.args["alias"].args.get("columns"):
            raise Unsupported("WITH name (columns)")
        name = str(each.alias)
        if name.lower() in names:
            raise InvalidQuery(f"Duplicate alias {name} for WITH subquery")
        names.add(name.lower())
        relation = query(analyzer, each.this, None)
        short = analyzer.fresh("w")
        analyzer.ctes = {**analyzer.ctes, name.lower(): (short, relation)}
        parts.append(f"{short} AS ({relation.sql})")
    return f"WITH {', '.join(parts)} "


class _Select:
    """One SELECT, read clause by clause in the order that they take effect."""

    def __init__(self, analyzer: Analyzer, node: exp.Expr, outer: Scope | None) -> None:
        only(
            node, "expressions", "from_", "joins", "where", "group", "having", "qualify", "order", "limit", "offset",
            "distinct", "kind", "with_",
        )  # fmt: skip
        self.analyzer = analyzer
        self.node = node
        self.source: From = read_from(analyzer, node, outer)
        self.where = self._where()

    def read(self, finish: Finish) -> Relation:
        grouping = self._grouping()
        scope = self.source.scope
        if grouping is not None:
            scope = Scope(outer=scope.outer, grouping=grouping)
        items = self._items(scope)
        if not items:
            raise InvalidQuery("SELECT list must not be empty")
        kind = str(self.node.args.get("kind") or "").upper()
        if kind:
            items = [("", self._as_value(kind, items))]
        after = replace(scope, aliases=self._aliases(items), windows=True)
        having = self._condition("having", replace(after, windows=False))
        if having is not None and grouping is None:
            raise InvalidQuery("The HAVING clause requires GROUP BY or aggregation to be present")
        qualify = self._qualify(after, scope)
        if self.node.args.get("distinct") is not None:
            return self._distinct(items, scope, grouping, having, qualify, finish, is_value=bool(kind))
        order = self._order(items, after)
        sql = self._write(items, grouping, having, qualify, finish) + order + limit(self.analyzer, self.node)
        return Relation(sql, tuple(items), is_value=bool(kind))

    def _where(self) -> str:
        clause = self.node.args.get("where")
        joins = [join.args.get("on") for join in self.node.args.get("joins") or []]
        require_filters(self.source.scope.sources, [each for each in (clause, *joins) if each is not None])
        if clause is None:
            return ""
        return f" WHERE {boolean(self.analyzer.read(clause.this, self.source.scope), 'WHERE clause').sql}"

    def _condition(self, name: str, scope: Scope) -> str | None:
        clause = self.node.args.get(name)
        if clause is None:
            return None
        return boolean(self.analyzer.read(clause.this, scope), f"{name.upper()} clause").sql

    def _qualify(self, after: Scope, scope: Scope) -> str | None:
        if self.node.args.get("qualify") is None:
            return None
        for name, value in after.aliases.items():
            if _means_other(scope, name, value) and any(
                str(column.name).lower() == name for column in self.node.args["qualify"].find_all(exp.Column)
            ):
                raise Unsupported(f"QUALIFY on {name}, which is both a column and another expression's alias")
        return self._condition("qualify", after)

    def _grouping(self) -> Grouping | None:
        group = self.node.args.get("group")
        clauses = [*self.node.expressions, *(self.node.args.get(part) for part in ("having", "qualify", "order"))]
        aggregated = any(contains_aggregate(each) for each in clauses if each is not None)
        if group is None and not aggregated:
            return None
        name = self.analyzer.fresh("g")
        keys: dict[str, Typed] = {}
        for value in self._keys(group) if group is not None else []:
            keys.setdefault(value.sql, replace(column_of(f"{name}.k{len(keys) + 1}", value)))
        return Grouping(inner=self.source.scope, name=name, keys=keys)

    def _keys(self, group: exp.Expr) -> list[Typed]:
        only(group, "expressions", "all")
        if group.args.get("all"):
            found = [each for each in self.node.expressions if not contains_aggregate(each)]
            nodes = [each.this if isinstance(each, exp.Alias) else each for each in found]
        else:
            nodes = [self._key(each) for each in group.expressions]
        keys = []
        for node in nodes:
            if isinstance(node, exp.Star) or contains_aggregate(node):
                raise InvalidQuery("GROUP BY expression references an aggregate or *")
            value = self.analyzer.read(node, self.source.scope)
            if value.type.element or value.type.name in ("JSON", "STRUCT"):
                raise Unsupported(f"Grouping by expressions of type {value.type}")
            keys.append(value)
        return keys

    def _key(self, node: exp.Expr) -> exp.Expr:
        """Return the expression that a term of GROUP BY stands for: an ordinal, an alias or itself."""
        items = self.node.expressions
        if isinstance(node, exp.Literal) and not node.is_string and str(node.this).isdecimal():
            place = int(str(node.this))
            if not 1 <= place <= len(items) or any(_is_star(each) for each in items):
                raise InvalidQuery(f"GROUP BY is out of SELECT clause range: {place}")
            found: exp.Expr = items[place - 1].unalias()
            return found
        if isinstance(node, exp.Column) and len(node.parts) == 1:
            aliases = [each for each in items if isinstance(each, exp.Alias)]
            named: list[exp.Expr] = [each.this for each in aliases if each.alias.lower() == node.name.lower()]
            if len(named) > 1:
                raise InvalidQuery(f"Name {node.name} in GROUP BY clause is ambiguous")
            if named:
                return named[0]
        return node

    def _items(self, scope: Scope) -> list[Item]:
        inside = scope.with_windows()
        items: list[Item] = []
        for node in self.node.expressions:
            if _is_star(node):
                items += self._star(node, inside)
            else:
                inner = node.this if isinstance(node, exp.Alias) else node
                items.append((implied_name(node), self.analyzer.read(inner, inside)))
        return items

    def _star(self, node: exp.Expr, scope: Scope) -> list[Item]:
        star = node if isinstance(node, exp.Star) else node.this if isinstance(node, exp.Column) else node.expression
        only(star, "except_", "replace")
        if isinstance(node, exp.Star):
            if not self.source.scope.sources:
                raise InvalidQuery("SELECT * must have a FROM clause")
            columns = scope.star()
        elif isinstance(node, exp.Column):
            columns = self._source_star([str(part.name) for part in node.parts[:-1]], scope)
        else:
            columns = members(self.analyzer.read(node.this, scope))
        columns = _except(columns, star.args.get("except_") or [])
        return self._replace(columns, star.args.get("replace") or [], scope)

    def _source_star(self, names: list[str], scope: Scope) -> list[Item]:
        source = scope.source(names[0])
        if source is not None and len(names) == 1:
            return [(name, scope.grouped(value, name, source)) for name, value in source.columns]
        value = scope.find(names[0])
        for name in names[1:]:
            value = access(value, name)
        if value.type.name != "STRUCT":
            raise InvalidQuery(f"Dot-star is not supported for type {value.type}")
        return members(value)

    def _replace(self, columns: list[Item], new: Sequence[exp.Expr], scope: Scope) -> list[Item]:
        for each in new:
            name = str(each.alias)
            places = [place for place, (other, _) in enumerate(columns) if other.lower() == name.lower()]
            if not places:
                raise InvalidQuery(f"Column {name} in SELECT * REPLACE list does not exist")
            columns[places[0]] = (columns[places[0]][0], self.analyzer.read(each.this, scope))
        return columns

    def _as_value(self, kind: str, items: list[Item]) -> Typed:
        if kind == "VALUE":
            if len(items) != 1:
                raise InvalidQuery("SELECT AS VALUE query must have exactly one column")
            return items[0][1]
        if kind != "STRUCT":
            raise Unsupported(f"SELECT AS {kind}")
        values = [value if not value.is_null else coerce(value, INT64) for _, value in items]
        names = [name for name, _ in items]
        members = tuple((name, value.type) for name, value in zip(names, values, strict=True))
        return make_struct(values, Type("STRUCT", members=members))

    def _aliases(self, items: list[Item]) -> dict[str, Typed]:
        """Return the names that HAVING, QUALIFY and ORDER BY may use; those written twice mean nothing."""
        found: dict[str, Typed] = {}
        twice: set[str] = set()
        for name, value in items:
            lower = name.lower()
            if lower in found and found[lower].sql != value.sql:
                twice.add(lower)
            if name:
                found[lower] = replace(value, constant=Literal.NOT, coercible=False)
        return {name: replace(value, sql=AMBIGUOUS) if name in twice else value for name, value in found.items()}

    def _order(self, items: list[Item], scope: Scope) -> str:
        clause = self.node.args.get("order")
        if clause is None:
            return ""
        terms: list[str] = []
        for term in clause.expressions:
            node = term.this if isinstance(term, exp.Ordered) else term
            place = ordinal(node, len(items))
            value = items[place - 1][1] if place else self.analyzer.read(node, scope)
            same = place or next((at for at, (_, item) in enumerate(items, 1) if item.sql == value.sql), None)
            if same and not value.stable:
                terms += order_term(replace(value, sql=str(same), exact=True), term)
            else:
                terms += order_term(value, term)
        return f" ORDER BY {', '.join(terms)}"

    def _write(
        self, items: list[Item], grouping: Grouping | None, having: str | None, qualify: str | None, finish: Finish,
        *, word: str = "SELECT",
    ) -> str:  # fmt: skip
        columns = ", ".join(column(finish, place, item) for place, item in enumerate(items, 1))
        sql = f"{word} {columns}"
        if grouping is not None:
            sql += f" FROM ({self._grouped(grouping)}) AS {grouping.name}" + (f" WHERE {having}" if having else "")
        else:
            sql += (f" FROM {self.source.sql}" if self.source.sql else "") + self.where
        return sql + (f" QUALIFY {qualify}" if qualify else "")

    def _grouped(self, grouping: Grouping) -> str:
        keys = [f"{key} AS {column.sql.split('.')[1]}" for key, column in grouping.keys.items()]
        values = [f"{call} AS {column.sql.split('.')[1]}" for call, column in grouping.aggregates.items()]
        columns = ", ".join([*keys, *values]) or "count(*) AS a0"
        sql = f"SELECT {columns}" + (f" FROM {self.source.sql}" if self.source.sql else "") + self.where
        return sql + (f" GROUP BY {', '.join(str(place) for place in range(1, len(keys) + 1))}" if keys else "")

    def _distinct(
        self, items: list[Item], scope: Scope, grouping: Grouping | None, having: str | None, qualify: str | None,
        finish: Finish, *, is_value: bool,
    ) -> Relation:  # fmt: skip
        only(self.node.args["distinct"])
        for name, value in items:
            if value.type.element or value.type.name == "JSON":
                raise InvalidQuery(f"Column {name} of type {value.type} cannot be used in SELECT DISTINCT")
        inner = self._write(items, grouping, having, qualify, plain, word="SELECT DISTINCT")
        return ordered(self.analyzer, self.node, Relation(inner, tuple(items), is_value=is_value), finish)


def _is_star(node: exp.Expr) -> bool:
    part = "this" if isinstance(node, exp.Column) else "expression" if isinstance(node, exp.Dot) else None
    return isinstance(node.args.get(part) if part else node, exp.Star)


def _means_other(scope: Scope, name: str, value: Typed) -> bool:
    try:
        return scope.find(name).sql != value.sql
    except InvalidQuery:
        return False


def _except(columns: list[Item], names: Sequence[exp.Expr]) -> list[Item]:
    dropped = {str(each.name).lower() for each in names}
    unknown = dropped - {name.lower() for name, _ in columns}
    if unknown:
        raise InvalidQuery(f"Column {min(unknown)} in SELECT * EXCEPT list does not exist")
    return [(name, value) for name, value in columns if name.lower() not in dropped]
