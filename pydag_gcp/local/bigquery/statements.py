"""Statements as they take effect: SELECT into a table, DML, and what each reports of itself.

Reference: https://cloud.google.com/bigquery/docs/reference/rest/v2/Job#JobStatistics2.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb
from sqlglot import exp

from pydag_gcp.local.bigquery.catalogue import Catalogue, NotFound, Table, TableName
from pydag_gcp.local.bigquery.destinations import Destination, write_rows
from pydag_gcp.local.bigquery.job import JobError
from pydag_gcp.local.bigquery.names import Names
from pydag_gcp.local.bigquery.sizes import Sizes, billed
from pydag_gcp.local.googlesql.syntax import InvalidQuery, Statement
from pydag_gcp.local.googlesql.translate import TableRef, Translated, runtime_error, translate
from pydag_gcp.local.googlesql.types import Field, quoted
from pydag_gcp.local.googlesql.wire import Parameter

#: DuckDB's errors that say something of our transaction, not of the statement.
_OURS = (duckdb.InterruptException, duckdb.TransactionException)


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What a statement did, or would do.

    Attributes:
        kind: BigQuery's statementType.
        sizes: Logical bytes it reads, by table.
        details: What else ``statistics.query`` says of it.
        result: The table that holds a SELECT's rows.
        fields: A SELECT's columns.
    """

    kind: str
    sizes: Mapping[TableName, int] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    result: TableName | None = None
    fields: Sequence[Field] = ()

    @property
    def processed(self) -> int:
        """The bytes it reads."""
        return sum(self.sizes.values())


@dataclass(frozen=True, kw_only=True)
class Session:
    """What every statement of a query is run with.

    Attributes:
        names: What tables are called, in the transaction.
        parameters: The query's parameters.
        sizes: What columns weigh.
        most_billed: The query's maximumBytesBilled.
        dry: Whether nothing is to be read or written.
    """

    names: Names
    parameters: Sequence[Parameter] = ()
    sizes: Sizes = field(default_factory=Sizes)
    most_billed: int | None = None
    dry: bool = False

    @property
    def catalogue(self) -> Catalogue:
        """The catalogue of the transaction."""
        return self.names.catalogue

    def translate(self, statement: Statement, into: tuple[Field, ...] | None = None) -> Translated:
        """Translate a statement, and refuse it if reading its tables would cost too much.

        Raises:
            JobError: ``bytesBilledLimitExceeded``.
        """
        return translate(statement, tables=self.names, parameters=self.parameters, into=into)

    def reads(self, statement: Statement, ready: Translated) -> dict[TableName, int]:
        """Return the logical bytes that a statement reads of each table, as BigQuery estimates them.

        Raises:
            JobError: ``bytesBilledLimitExceeded``.
        """
        whole = any(table.query is not None for table in ready.reads) or statement.tree.find(exp.Star) is not None
        wanted = None if whole else {column.name.lower() for column in statement.tree.find_all(exp.Column)}
        read = {_name(table): wanted for table in ready.reads if table.query is None}
        if ready.target is not None and ready.kind in ("UPDATE", "DELETE", "MERGE"):
            read[_name(ready.target)] = None
        sizes = {name: self._weigh(name, columns) for name, columns in read.items()}
        cost = billed(sizes.values())
        if self.most_billed is not None and cost > self.most_billed:
            message = f"Query exceeded limit for bytes billed: {self.most_billed}. {cost} or higher required."
            raise JobError("bytesBilledLimitExceeded", message)
        return sizes

    def _weigh(self, name: TableName, wanted: set[str] | None) -> int:
        columns = self.sizes.columns(self.catalogue.connection, self.names.table(name))
        return sum(size for column, size in columns.items() if wanted is None or column in wanted)

    def fill(self, ready: Translated, storage: str, fields: Sequence[Field]) -> int:
        """Run a translated SELECT into a DuckDB table.

        Raises:
            InvalidQuery: It fails on the data.
        """
        if self.dry:
            return 0
        self._check(ready)
        names = ", ".join(quoted(column.name) for column in fields)
        return _count(self._execute(f"INSERT INTO {storage} ({names}) {ready.sql}", ready.parameters))

    def change(self, ready: Translated) -> Counter[str]:
        """Run a translated DML statement; return how many rows it inserted, updated and deleted.

        Raises:
            InvalidQuery: It fails on the data.
        """
        self._check(ready)
        cursor = self._execute(ready.sql, ready.parameters)
        if ready.kind == "MERGE":
            return Counter(str(row[0]) for row in cursor.fetchall())
        return Counter({ready.kind.replace("TRUNCATE_TABLE", "DELETE"): _count(cursor)})

    def _check(self, ready: Translated) -> None:
        for check in ready.checks:
            if self._execute(check.sql, check.parameters).fetchone() is not None:
                raise InvalidQuery(check.message)

    def _execute(self, sql: str, parameters: Mapping[str, object]) -> duckdb.DuckDBPyConnection:
        try:
            return bound(self.catalogue.connection, sql, parameters)
        except _OURS:
            raise
        except duckdb.Error as error:
            raise runtime_error(error) from error


def bound(
    connection: duckdb.DuckDBPyConnection, sql: str, parameters: Mapping[str, object]
) -> duckdb.DuckDBPyConnection:
    """Execute a translated statement with its parameters."""
    return connection.execute(sql, dict(parameters)) if parameters else connection.execute(sql)


def select(session: Session, statement: Statement, destination: Destination, expires: int | None) -> Effect:
    """Run a SELECT into a table."""
    ready = session.translate(statement)
    sizes = session.reads(statement, ready)
    details = {"referencedTables": _references(ready.reads)}
    if session.dry:
        return Effect(kind="SELECT", sizes=sizes, details=details, fields=ready.fields)
    write_rows(
        session.catalogue,
        destination,
        ready.fields,
        lambda storage, fields: session.fill(ready, storage, fields),
        expires=expires,
    )
    return Effect(kind="SELECT", sizes=sizes, details=details, result=destination.name, fields=ready.fields)


def change(session: Session, statement: Statement) -> Effect:
    """Run a DML statement."""
    ready = session.translate(statement)
    if ready.target is None:
        raise InvalidQuery(f"{ready.kind} names no table to change")
    sizes = session.reads(statement, ready)
    details: dict[str, Any] = {"referencedTables": _references((*ready.reads, ready.target))}
    if session.dry:
        return Effect(kind=ready.kind, sizes=sizes, details=details)
    counts = session.change(ready)
    if counts.total():
        session.catalogue.change_table(_target(session, ready.target))
    details["dmlStats"] = {
        "insertedRowCount": str(counts["INSERT"]),
        "updatedRowCount": str(counts["UPDATE"]),
        "deletedRowCount": str(counts["DELETE"]),
    }
    if ready.kind != "TRUNCATE_TABLE":
        details["numDmlAffectedRows"] = str(counts.total())
    return Effect(kind=ready.kind, sizes=sizes, details=details)


def _target(session: Session, target: TableRef) -> Table:
    table = session.names.table(_name(target))
    if table.storage is None:
        raise NotFound(f"{table.name} is not allowed for this operation because it is currently a VIEW.")
    return table


def _references(tables: Iterable[TableRef]) -> list[dict[str, str]]:
    names = dict.fromkeys(_name(table) for table in tables)
    return [name.to_api() for name in names]


def _name(table: TableRef) -> TableName:
    return TableName(project=table.project, dataset=table.dataset, table=table.table)


def _count(cursor: duckdb.DuckDBPyConnection) -> int:
    row = cursor.fetchone()
    return int(row[0]) if row else 0
