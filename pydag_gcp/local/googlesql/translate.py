"""GoogleSQL to DuckDB: everything accepted gives BigQuery's answer, everything else is refused by name.

What the local BigQuery does with it::

    for statement in parse(sql):                       # InvalidQuery, Unsupported
        if statement.kind in RUNNABLE:                 # SELECT and DML
            ready = translate(statement, tables=..., parameters=...)
            for check in ready.checks: rows = db.execute(check.sql, check.parameters); any row -> InvalidQuery
            db.execute(ready.sql, ready.parameters)
        else: ddl.table_definition(statement) ...

The DuckDB session must have run :data:`SESSION` (time zone UTC). Errors that DuckDB raises while it runs are worded by
:func:`runtime_error`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import duckdb
from sqlglot import exp

from pydag_gcp.local.googlesql import dml, selects
from pydag_gcp.local.googlesql.analyzer import Analyzer, Reader
from pydag_gcp.local.googlesql.calls import CALLS
from pydag_gcp.local.googlesql.expressions import READERS
from pydag_gcp.local.googlesql.storing import shown, stored
from pydag_gcp.local.googlesql.syntax import InvalidQuery, Statement, Unsupported, parse
from pydag_gcp.local.googlesql.typed import NOT_HERE, Typed
from pydag_gcp.local.googlesql.types import Field, field_of, quoted
from pydag_gcp.local.googlesql.wire import Parameter

__all__ = [
    "RUNNABLE",
    "SESSION",
    "Check",
    "InvalidQuery",
    "Statement",
    "TableRef",
    "Tables",
    "Translated",
    "Unsupported",
    "parse",
    "runtime_error",
    "translate",
]

#: Kinds of statement that :func:`translate` turns into DuckDB's SQL; the others are definitions, see ``ddl``.
RUNNABLE = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "TRUNCATE_TABLE"})
#: Statements to run on every DuckDB connection before anything translated runs on it.
SESSION: tuple[str, ...] = ("SET TimeZone = 'UTC'",)


@dataclass(frozen=True, kw_only=True)
class TableRef:
    """A table or view as the catalogue knows it.

    Attributes:
        duckdb_name: Quoted, usable in FROM and as a DML target.
        fields: The columns, in order.
        project: For messages and ``referencedTables``.
        dataset: The dataset's id.
        table: The table's id.
        query: A view's GoogleSQL text; translated in place. None for a table.
        partition_column: The column that the table is partitioned by.
        require_partition_filter: Whether a query must filter on it.
    """

    duckdb_name: str
    fields: tuple[Field, ...]
    project: str = ""
    dataset: str = ""
    table: str = ""
    query: str | None = None
    partition_column: str | None = None
    require_partition_filter: bool = False


class Tables(Protocol):
    """What a name in a query means."""

    def resolve(self, project: str | None, dataset: str | None, table: str) -> TableRef:
        """Return the table or view of that name; a part left out in the query is None.

        Raises:
            LookupError: There is none; the message is BigQuery's.
        """


@dataclass(frozen=True, kw_only=True)
class Check:
    """A query that must give no row, run in the same transaction before the statement; else fail with ``message``."""

    sql: str
    parameters: Mapping[str, object]
    message: str


@dataclass(frozen=True, kw_only=True)
class Translated:
    """A statement, ready for DuckDB.

    Attributes:
        kind: As :attr:`Statement.kind`.
        sql: One DuckDB statement. INSERT, UPDATE, DELETE and TRUNCATE answer with DuckDB's count of rows; a MERGE with
            one row for each row changed, whose only column is INSERT, UPDATE or DELETE.
        parameters: To be bound by name.
        fields: The result's columns, exactly as BigQuery names and types them; empty unless a SELECT. The DuckDB
            columns have the same order and the types of ``duckdb_type(field)``.
        target: What a DML statement changes.
        reads: Tables and views that are read, each once, views expanded.
        checks: To be run before ``sql``.
    """

    kind: str
    sql: str
    parameters: Mapping[str, object]
    fields: tuple[Field, ...] = ()
    target: TableRef | None = None
    reads: tuple[TableRef, ...] = ()
    checks: tuple[Check, ...] = ()


def translate(
    statement: Statement,
    *,
    tables: Tables,
    parameters: Sequence[Parameter] = (),
    into: tuple[Field, ...] | None = None,
) -> Translated:
    """Translate a SELECT or DML statement.

    Args:
        statement: One of :data:`RUNNABLE`.
        tables: The catalogue.
        parameters: All named or all positional, from :func:`pydag_gcp.local.googlesql.wire.decode_parameter`.
        into: Coerce the columns of a SELECT, by position, to these (as INSERT and CREATE TABLE (...) AS do).

    Raises:
        InvalidQuery: BigQuery would refuse it too.
        Unsupported: BigQuery would run it, we do not.
        LookupError: A table is not there.
    """
    if statement.kind not in RUNNABLE:
        raise ValueError(f"{statement.kind} is a definition, not a query: see pydag_gcp.local.googlesql.ddl")
    analyzer = Analyzer(statement, tables=tables, parameters=parameters, readers=_READERS, queries=_queries)
    try:
        if statement.kind == "SELECT":
            return _select(analyzer, statement, into)
        return _dml(analyzer, statement)
    except InvalidQuery as error:
        raise error.at(statement.line, 1) from None
    except RecursionError:
        raise InvalidQuery("Not enough stack space: the query is nested too deeply", statement.line, 1) from None


_READERS: dict[type[exp.Expr], Reader] = {**READERS, **CALLS}
_queries = selects.query


def _select(analyzer: Analyzer, statement: Statement, into: tuple[Field, ...] | None) -> Translated:
    names = Columns(into)
    relation = selects.query(analyzer, statement.tree, None, names.finish)
    if relation.is_value:
        raise Unsupported("SELECT AS STRUCT or AS VALUE as the whole query")
    fields = names.fields(relation.columns)
    return Translated(
        kind=statement.kind,
        sql=relation.sql,
        parameters=_used(analyzer, relation.sql),
        fields=fields,
        reads=tuple(analyzer.reads.values()),
    )


class Columns:
    """Names and last forms of a result's columns.

    Args:
        into: The columns that they go into, by position.
    """

    def __init__(self, into: tuple[Field, ...] | None) -> None:
        self._into = into
        self._unnamed = 0
        self._names: dict[int, str] = {}

    def finish(self, place: int, name: str, value: Typed) -> tuple[str, str]:
        """Return the SQL and the DuckDB name of a column."""
        self._names[place] = self._name(place, name)
        if self._into is None:
            return shown(value, self._names[place]).sql, quoted(self._names[place])
        if place > len(self._into):
            raise InvalidQuery(f"Query has more columns than the {len(self._into)} of its target")
        return stored(value, self._into[place - 1]).sql, quoted(self._names[place])

    def _name(self, place: int, name: str) -> str:
        if place in self._names:
            return self._names[place]
        if self._into is not None and place <= len(self._into):
            return self._into[place - 1].name
        if name:
            return name
        self._unnamed += 1
        return f"f{self._unnamed - 1}_"

    def fields(self, columns: Sequence[tuple[str, Typed]]) -> tuple[Field, ...]:
        """Return the result's schema.

        Raises:
            InvalidQuery: Two columns of one name, or not as many as the target has.
        """
        if self._into is not None:
            if len(self._into) != len(columns):
                raise InvalidQuery(f"Query has {len(columns)} columns, its target has {len(self._into)}")
            return self._into
        seen: set[str] = set()
        for name in self._names.values():
            if name.lower() in seen:
                raise InvalidQuery(
                    "Duplicate column names in the result are not supported when a destination table is present. "
                    f"Found duplicate(s): {name}"
                )
            seen.add(name.lower())
        return tuple(field_of(self._names[at], value.type) for at, (_, value) in enumerate(columns, 1))


def _dml(analyzer: Analyzer, statement: Statement) -> Translated:
    done = dml.read(analyzer, statement.tree)
    checks = tuple(Check(sql=sql, parameters=_used(analyzer, sql), message=message) for sql, message in done.checks)
    return Translated(
        kind=statement.kind,
        sql=done.sql,
        parameters=_used(analyzer, done.sql),
        target=done.target,
        reads=tuple(analyzer.reads.values()),
        checks=checks,
    )


def _used(analyzer: Analyzer, sql: str) -> dict[str, object]:
    """Return the parameters that ``sql`` names: DuckDB refuses others."""
    return {name: value for name, value in analyzer.bound.items() if f"CAST(${name} AS" in sql}


#: What DuckDB raises for our own SQL when it has no way to run it.
_LIMITS = (
    duckdb.BinderException,
    duckdb.CatalogException,
    duckdb.InternalException,
    duckdb.NotImplementedException,
    duckdb.ParserException,
    duckdb.SyntaxException,
)
#: How DuckDB begins a message, before the words that are ours.
_PREFIXES = ("Invalid Input Error: ", "Out of Range Error: ", "Conversion Error: ")


def runtime_error(error: Exception) -> InvalidQuery:
    """Return what BigQuery would say of an error that DuckDB raised while running translated SQL."""
    message = str(error).split("\n\nLINE ")[0].strip()
    if isinstance(error, _LIMITS) or "Overflow in multiplication of DECIMAL" in message:
        return Unsupported(f"a query that DuckDB cannot run ({message.splitlines()[0]})")
    for prefix in _PREFIXES:
        message = message.removeprefix(prefix)
    if message.startswith(NOT_HERE):
        what = message.removeprefix(NOT_HERE).removesuffix("; on a real project it would run")
        return Unsupported(what)
    if message.startswith("Overflow in ") or "out of range for the destination type INT64" in message:
        return InvalidQuery(f"int64 overflow: {message}")
    return InvalidQuery(message)
