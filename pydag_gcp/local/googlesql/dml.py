# ruff: noqa: S608 - writing SQL is what this module does; values come as literals or parameters
"""INSERT, UPDATE, DELETE, MERGE and TRUNCATE TABLE.

Reference: https://cloud.google.com/bigquery/docs/reference/standard-sql/dml-syntax.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlglot import exp

from pydag_gcp.local.googlesql import selects
from pydag_gcp.local.googlesql.analyzer import Analyzer, only
from pydag_gcp.local.googlesql.coercion import null
from pydag_gcp.local.googlesql.operators import boolean
from pydag_gcp.local.googlesql.relations import From, read_from, resolve
from pydag_gcp.local.googlesql.scope import Scope, Source, require_filters
from pydag_gcp.local.googlesql.storing import stored
from pydag_gcp.local.googlesql.syntax import InvalidQuery, Unsupported, parse
from pydag_gcp.local.googlesql.typed import Typed
from pydag_gcp.local.googlesql.types import Field, quoted

if TYPE_CHECKING:
    from pydag_gcp.local.googlesql.translate import TableRef

_ONE_SOURCE_ROW = "UPDATE/MERGE must match at most one source row for each target row"


@dataclass(frozen=True, kw_only=True)
class Changed:
    """A DML statement in DuckDB's SQL, and (query, message) pairs that must find no row before it runs."""

    sql: str
    target: TableRef
    checks: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Target:
    """The table that a statement changes, under a name of ours."""

    table: TableRef
    short: str
    source: Source

    def field(self, name: str) -> Field:
        """Return the column of that name.

        Raises:
            InvalidQuery: There is none.
        """
        for field in self.table.fields:
            if field.name.lower() == name.lower():
                return field
        raise InvalidQuery(f"Column {name} is not present in table {self.table.dataset}.{self.table.table}")


def read(analyzer: Analyzer, node: exp.Expr) -> Changed:
    """Read a DML statement.

    Raises:
        InvalidQuery: BigQuery would refuse it.
        Unsupported: BigQuery would run it, we do not.
        LookupError: A table is not there.
    """
    for kind, reader in (
        (exp.Insert, _insert),
        (exp.Update, _update),
        (exp.Delete, _delete),
        (exp.Merge, _merge),
        (exp.TruncateTable, _truncate),
    ):
        if isinstance(node, kind):
            return reader(analyzer, node)
    raise Unsupported(f"statement {type(node).__name__}")


def _target(analyzer: Analyzer, node: exp.Expr) -> Target:
    if not isinstance(node, exp.Table):
        raise InvalidQuery("a DML statement needs the name of a table")
    only(node, "this", "db", "catalog", "alias")
    try:
        table = resolve(analyzer, node)
    except InvalidQuery as error:
        raise error.at(*analyzer.statement.place(node)) from None
    if table.query is not None:
        raise InvalidQuery(f"{table.dataset}.{table.table} is not allowed for this operation because it is a view")
    short = analyzer.fresh("t")
    name = str(node.alias) or str(node.parts[-1].name)
    columns = tuple((f.name, Typed(f"{short}.{quoted(f.name)}", f.value_type)) for f in table.fields)
    guard = table.partition_column if table.require_partition_filter else None
    return Target(table=table, short=short, source=Source(name, columns, filtered_by=guard))


def _default(analyzer: Analyzer, field: Field) -> Typed:
    if field.default is None:
        return null(field.value_type)
    (statement,) = parse(f"SELECT {field.default}")
    relation = analyzer.inside(statement)
    return relation.read(statement.tree.expressions[0], Scope())


def _value(analyzer: Analyzer, node: exp.Expr, field: Field, scope: Scope) -> Typed:
    """Read what a column is set to; DEFAULT is the column's own."""
    bare = isinstance(node, exp.Var) or (isinstance(node, exp.Column) and len(node.parts) == 1)
    value = _default(analyzer, field) if bare and node.name.upper() == "DEFAULT" else analyzer.read(node, scope)
    try:
        return stored(value, field)
    except InvalidQuery as error:
        raise error.at(*analyzer.statement.place(node)) from None


def _columns(target: Target, names: Sequence[str]) -> list[Field]:
    fields = [target.field(name) for name in names]
    if len({field.name for field in fields}) < len(fields):
        raise InvalidQuery("INSERT has columns with duplicate name")
    return fields


def _rest(target: Target, fields: Sequence[Field]) -> list[Field]:
    return [field for field in target.table.fields if field not in fields]


def _insert(analyzer: Analyzer, node: exp.Expr) -> Changed:
    only(node, "this", "expression", "with_", "is_function")
    schema = node.this if isinstance(node.this, exp.Schema) else None
    target = _target(analyzer, schema.this if schema is not None else node.this)
    names = [str(each.name) for each in schema.expressions] if schema is not None else None
    fields = _columns(target, names) if names is not None else list(target.table.fields)
    rest = _rest(target, fields)
    if isinstance(node.expression, exp.Values):
        source = _values(analyzer, node.expression, fields, rest)
    else:
        source = _inserted_query(analyzer, node.expression, fields, rest)
    listed = ", ".join(quoted(field.name) for field in (*fields, *rest))
    return Changed(sql=f"INSERT INTO {target.table.duckdb_name} ({listed}) {source}", target=target.table)


def _values(analyzer: Analyzer, node: exp.Expr, fields: Sequence[Field], rest: Sequence[Field]) -> str:
    rows = []
    missing = [stored(_default(analyzer, field), field).sql for field in rest]
    for row in node.expressions:
        cells = row.expressions if isinstance(row, exp.Tuple) else [row]
        if len(cells) != len(fields):
            message = f"Inserted row has wrong column count; Has {len(cells)}, expected {len(fields)}"
            raise InvalidQuery(message, *analyzer.statement.place(row))
        done = [_value(analyzer, cell, field, Scope()).sql for cell, field in zip(cells, fields, strict=True)]
        rows.append(f"({', '.join([*done, *missing])})")
    return f"VALUES {', '.join(rows)}"


def _inserted_query(analyzer: Analyzer, node: exp.Expr, fields: Sequence[Field], rest: Sequence[Field]) -> str:
    def finish(place: int, _: str, value: Typed) -> tuple[str, str]:
        if place > len(fields):
            return value.sql, f"c{place}"
        return stored(value, fields[place - 1]).sql, f"c{place}"

    relation = selects.query(analyzer, node, None, finish)
    if len(relation.columns) != len(fields):
        message = f"Inserted row has wrong column count; Has {len(relation.columns)}, expected {len(fields)}"
        raise InvalidQuery(message, *analyzer.statement.place(node))
    if not rest:
        return relation.sql
    missing = [stored(_default(analyzer, field), field).sql for field in rest]
    return f"SELECT s.*, {', '.join(missing)} FROM ({relation.sql}) AS s"


def _where(analyzer: Analyzer, node: exp.Expr, scope: Scope, word: str) -> str:
    clause = node.args.get("where")
    if clause is None:
        raise InvalidQuery(f"{word} must have a WHERE clause")
    require_filters(scope.sources, [clause])
    return boolean(analyzer.read(clause.this, scope), "WHERE clause").sql


def _assignments(analyzer: Analyzer, nodes: Sequence[exp.Expr], target: Target, scope: Scope) -> dict[str, str]:
    """Return what each column is set to."""
    done: dict[str, str] = {}
    for node in nodes:
        if not isinstance(node, exp.EQ) or not isinstance(node.this, exp.Column):
            raise Unsupported(f"assignment {node.sql(dialect='bigquery')}")
        names = [str(part.name) for part in node.this.parts]
        if len(names) == 2 and target.source.name and names[0].lower() == target.source.name.lower():
            names = names[1:]
        if len(names) > 1:
            raise Unsupported(f"assignment to a field of a STRUCT: {'.'.join(names)}", *analyzer.statement.place(node))
        try:
            field = target.field(names[0])
        except InvalidQuery as error:
            raise error.at(*analyzer.statement.place(node)) from None
        if field.name in done:
            raise InvalidQuery(f"Update item {field.name} assigned more than once", *analyzer.statement.place(node))
        done[field.name] = _value(analyzer, node.expression, field, scope).sql
    return done


def _update(analyzer: Analyzer, node: exp.Expr) -> Changed:
    only(node, "this", "expressions", "from_", "where")
    target = _target(analyzer, node.this)
    clause = node.args.get("from_")
    others = _others(analyzer, clause, node) if clause is not None else From("", Scope())
    scope = Scope(sources=(target.source, *others.scope.sources), shared=others.scope.shared)
    where = _where(analyzer, node, scope, "UPDATE")
    sql = f"UPDATE {target.table.duckdb_name} AS {target.short} SET "
    sets = _assignments(analyzer, node.expressions, target, scope)
    sql += ", ".join(f"{quoted(name)} = {value}" for name, value in sets.items())
    if not others.sql:
        return Changed(sql=f"{sql} WHERE {where}", target=target.table)
    check = (
        f"SELECT 1 FROM {target.table.duckdb_name} AS {target.short}, {others.sql} WHERE {where} "
        f"GROUP BY {target.short}.rowid HAVING count(*) > 1 LIMIT 1"
    )
    return Changed(
        sql=f"{sql} FROM {others.sql} WHERE {where}", target=target.table, checks=((check, _ONE_SOURCE_ROW),)
    )


def _others(analyzer: Analyzer, clause: exp.Expr, node: exp.Expr) -> From:
    """Read UPDATE's FROM; sqlglot hangs its joins on the first table."""
    first = clause.this
    joins = list(first.args.get("joins") or []) or list(node.args.get("joins") or [])
    first.set("joins", None)
    return read_from(analyzer, exp.Select(from_=clause, joins=joins), None)


def _delete(analyzer: Analyzer, node: exp.Expr) -> Changed:
    only(node, "this", "tables", "where")
    tables = node.args.get("tables") or []
    target = _target(analyzer, node.this or (tables[0] if tables else node))
    where = _where(analyzer, node, Scope(sources=(target.source,)), "DELETE")
    return Changed(sql=f"DELETE FROM {target.table.duckdb_name} AS {target.short} WHERE {where}", target=target.table)


def _truncate(analyzer: Analyzer, node: exp.Expr) -> Changed:
    only(node, "expressions")
    (name,) = node.expressions
    target = _target(analyzer, name)
    return Changed(sql=f"DELETE FROM {target.table.duckdb_name}", target=target.table)


def _merge(analyzer: Analyzer, node: exp.Expr) -> Changed:
    """Read MERGE: one join says which WHEN takes each row, and only its expressions are evaluated for it.

    DuckDB's own MERGE would evaluate every WHEN's expressions for every row, and fail where they may.
    """
    only(node, "this", "using", "on", "whens", "with_")
    target = _target(analyzer, node.this)
    using = read_from(analyzer, exp.Select(from_=exp.From(this=node.args["using"])), None)
    (source,) = using.scope.sources
    require_filters((target.source, source), [node.args["on"]])
    on = boolean(analyzer.read(node.args["on"], Scope(sources=(target.source, source))), "MERGE ON clause").sql
    arms = [_Arm(analyzer, when, target, source, place) for place, when in enumerate(node.args["whens"].expressions, 1)]
    short = using.sql.rsplit(" AS ", 1)[1]
    marked = f"(SELECT *, TRUE AS {_HERE} FROM {using.sql}) AS {short}"
    kinds = {arm.kind for arm in arms}
    outer = (
        "FULL" if kinds >= _UNMATCHED else "RIGHT" if "TARGET" in kinds else "LEFT" if "SOURCE" in kinds else "INNER"
    )
    name = target.table.duckdb_name
    joined = f"{name} AS {target.short} {outer} JOIN {marked} ON {on}"
    which = " ".join(f"WHEN {arm.test(f'{short}.{_HERE}')} THEN {arm.place}" for arm in arms)
    values = "".join(f", {column}" for arm in arms for column in arm.columns())
    plan = f"SELECT {target.short}.rowid AS r, CASE {which} END AS arm{values} FROM {joined}"
    sql = f"MERGE INTO {name} AS x USING ({plan}) AS m ON x.rowid = m.r {' '.join(arm.sql() for arm in arms)}"
    check = (
        f"SELECT 1 FROM ({plan}) AS m WHERE r IS NOT NULL AND arm IS NOT NULL GROUP BY r HAVING count(*) > 1 LIMIT 1"
    )
    return Changed(
        sql=f"{sql} RETURNING merge_action",
        target=target.table,
        checks=((check, _ONE_SOURCE_ROW),) if "MATCHED" in kinds else (),
    )


#: Marks the rows of a MERGE's source, so that a join tells them from rows that are not there.
_HERE = '"this row is there"'
_UNMATCHED = {"TARGET", "SOURCE"}


class _Arm:
    """One WHEN of a MERGE.

    Args:
        analyzer: Reads its expressions.
        node: sqlglot's When.
        target: What is merged into.
        source: What is merged.
        place: Which WHEN it is, from 1.
    """

    def __init__(self, analyzer: Analyzer, node: exp.Expr, target: Target, source: Source, place: int) -> None:
        only(node, "matched", "source", "condition", "then")
        self.place = place
        self.kind = "MATCHED" if node.args.get("matched") else "SOURCE" if node.args.get("source") else "TARGET"
        self._analyzer = analyzer
        self._target = target
        self._source = source
        seen = {"MATCHED": (target.source, source), "SOURCE": (target.source,), "TARGET": (source,)}[self.kind]
        self._scope = Scope(sources=seen)
        condition = node.args.get("condition")
        self._condition = (
            "" if condition is None else boolean(analyzer.read(condition, self._scope), "MERGE WHEN clause").sql
        )
        self._fields: list[Field] = []
        self._values: list[str] = []
        self._action = self._read(node.args["then"])

    def test(self, here: str) -> str:
        """Return the test that this WHEN, and none before it, takes a row."""
        there = f"{self._target.short}.rowid IS {'' if self.kind == 'TARGET' else 'NOT '}NULL"
        found = f"{here} IS {'' if self.kind == 'SOURCE' else 'NOT '}NULL"
        return f"{there} AND {found}" + (f" AND {self._condition}" if self._condition else "")

    def columns(self) -> list[str]:
        """Return the values that it sets, NULL for the rows of others."""
        return [
            f"CASE WHEN arm = {self.place} THEN {value} END AS v{self.place}_{at}"
            for at, value in enumerate(self._values, 1)
        ]

    def sql(self) -> str:
        """Return DuckDB's WHEN."""
        side = "NOT MATCHED BY TARGET" if self.kind == "TARGET" else "MATCHED"
        names = [quoted(field.name) for field in self._fields]
        values = [f"m.v{self.place}_{at}" for at in range(1, len(names) + 1)]
        sets = ", ".join(f"{name} = {value}" for name, value in zip(names, values, strict=True))
        then = {
            "DELETE": "DELETE",
            "UPDATE": f"UPDATE SET {sets}",
            "INSERT": f"INSERT ({', '.join(names)}) VALUES ({', '.join(values)})",
        }[self._action]
        return f"WHEN {side} AND m.arm = {self.place} THEN {then}"

    def _read(self, then: exp.Expr) -> str:
        if isinstance(then, exp.Var) and then.name.upper() == "DELETE" and self.kind != "TARGET":
            return "DELETE"
        if isinstance(then, exp.Update) and self.kind != "TARGET":
            done = _assignments(self._analyzer, then.expressions, self._target, self._scope)
            self._fields, self._values = [self._target.field(name) for name in done], list(done.values())
            return "UPDATE"
        if isinstance(then, exp.Insert) and self.kind == "TARGET":
            self._insert(then)
            return "INSERT"
        place = self._analyzer.statement.place(then)
        raise InvalidQuery("This action is not allowed in this WHEN clause of MERGE", *place)

    def _insert(self, then: exp.Expr) -> None:
        fields, cells = self._inserted(then)
        if cells is None:
            values = [stored(value, field).sql for (_, value), field in zip(self._source.columns, fields, strict=True)]
        else:
            values = [_value(self._analyzer, c, f, self._scope).sql for c, f in zip(cells, fields, strict=True)]
        rest = _rest(self._target, fields)
        self._fields = [*fields, *rest]
        self._values = values + [stored(_default(self._analyzer, field), field).sql for field in rest]

    def _inserted(self, then: exp.Expr) -> tuple[list[Field], list[exp.Expr] | None]:
        """Return the columns, and their values unless it is INSERT ROW."""
        place = self._analyzer.statement.place(then)
        given, values = then.this, then.args.get("expression")
        if _is_row(given) or (values and _is_row(values)):
            fields = list(self._target.table.fields) if not isinstance(given, exp.Tuple) else self._named(given)
            if len(fields) != len(self._source.columns):
                counts = f"Has {len(self._source.columns)}, expected {len(fields)}"
                raise InvalidQuery(f"Inserted row has wrong column count; {counts}", *place)
            return fields, None
        if values:
            fields, cells = self._named(given), list(values.expressions)
        else:
            fields, cells = list(self._target.table.fields), _bare_values(given)
        if len(fields) != len(cells):
            raise InvalidQuery(f"Inserted row has wrong column count; Has {len(cells)}, expected {len(fields)}", *place)
        return fields, cells

    def _named(self, given: exp.Expr) -> list[Field]:
        return _columns(self._target, [str(each.name) for each in given.expressions])


def _is_row(node: object) -> bool:
    return isinstance(node, exp.Var) and node.name.upper() == "ROW"


def _bare_values(given: exp.Expr) -> list[exp.Expr]:
    """Return the cells of INSERT VALUES (...) without columns, which sqlglot takes for a call of VALUES."""
    inner = given.expressions[0] if isinstance(given, exp.Tuple) and len(given.expressions) == 1 else None
    if isinstance(inner, exp.Anonymous) and str(inner.name).upper() == "VALUES":
        return list(inner.expressions)
    raise InvalidQuery("MERGE INSERT needs VALUES or ROW")
