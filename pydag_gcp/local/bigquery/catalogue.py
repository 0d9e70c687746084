"""Datasets and tables as the local BigQuery knows them: names, schemas, metadata; where the rows are.

A :class:`Catalogue` works inside one transaction of the warehouse, so what it says is consistent and what it changes
commits together with the rows. What a resource may hold is the matter of :mod:`pydag_gcp.local.bigquery.resources`.
"""

# ruff: noqa: S608  (names are quoted identifiers of our own making; values are bound)
from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import duckdb

from pydag_gcp.local.bigquery.warehouse import Clock
from pydag_gcp.local.googlesql.types import Field, duckdb_type, quoted


class NotFound(LookupError):
    """There is no such dataset, table or object; BigQuery's reason ``notFound``."""

    def __str__(self) -> str:
        return str(self.args[0])


class AlreadyExists(Exception):
    """The name is taken; BigQuery's reason ``duplicate``."""


@dataclass(frozen=True, kw_only=True)
class DatasetName:
    """A dataset's full name."""

    project: str
    dataset: str

    def __str__(self) -> str:
        return f"{self.project}:{self.dataset}"


@dataclass(frozen=True, kw_only=True)
class TableName:
    """A table's or view's full name; as text, the way BigQuery's messages write it."""

    project: str
    dataset: str
    table: str

    def __str__(self) -> str:
        return f"{self.project}:{self.dataset}.{self.table}"

    @property
    def parent(self) -> DatasetName:
        """The dataset it is in."""
        return DatasetName(project=self.project, dataset=self.dataset)

    def to_api(self) -> dict[str, str]:
        """Return the TableReference."""
        return {"projectId": self.project, "datasetId": self.dataset, "tableId": self.table}


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A dataset; times are milliseconds since the epoch."""

    name: DatasetName
    body: Mapping[str, Any]
    created: int
    modified: int
    hidden: bool = False

    @property
    def location(self) -> str:
        """Where its data lives; jobs elsewhere do not see it."""
        return str(self.body["location"])


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table or view.

    Attributes:
        name: Its name.
        kind: ``TABLE`` or ``VIEW``.
        storage: The DuckDB table that holds the rows, quoted; None for a view.
        body: What its users set, as the REST resource names it.
        created: Milliseconds since the epoch.
        modified: Likewise; never the same twice, in the whole warehouse.
        expires: Likewise, when it vanishes; None: never.
    """

    name: TableName
    kind: str
    storage: str | None
    body: Mapping[str, Any] = field(default_factory=dict)
    created: int
    modified: int
    expires: int | None = None

    @cached_property
    def fields(self) -> tuple[Field, ...]:
        """The columns, in order."""
        return tuple(Field.from_api(entry) for entry in self.body.get("schema", {}).get("fields", ()))

    @property
    def rows(self) -> str:
        """The DuckDB table that holds the rows.

        Raises:
            NotFound: It is a view and has none.
        """
        if self.storage is None:
            raise NotFound(f"{self.name} is a view, it holds no rows of its own")
        return self.storage


class Catalogue:
    """The catalogue as one transaction sees it.

    Args:
        connection: A connection with an open transaction.
        clock: Gives each change its time.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, clock: Clock) -> None:
        self.connection = connection
        self.clock = clock

    # Datasets

    def dataset(self, name: DatasetName) -> Dataset:
        """Return a dataset.

        Raises:
            NotFound: There is none of that name.
        """
        found = self.find_dataset(name)
        if found is None:
            raise NotFound(f"Not found: Dataset {name}")
        return found

    def find_dataset(self, name: DatasetName) -> Dataset | None:
        """Return a dataset, or None."""
        rows = self._select(
            "SELECT project, dataset, body, created, modified, hidden FROM pydag.datasets"
            " WHERE project = ? AND dataset = ?",
            name.project,
            name.dataset,
        )
        return _dataset(rows[0]) if rows else None

    def datasets(self, project: str, *, hidden: bool = False) -> list[Dataset]:
        """List a project's datasets by name; those that hold anonymous results only if ``hidden``."""
        rows = self._select(
            "SELECT project, dataset, body, created, modified, hidden FROM pydag.datasets"
            " WHERE project = ? AND (? OR NOT hidden) ORDER BY dataset",
            project,
            hidden,
        )
        return [_dataset(row) for row in rows]

    def create_dataset(self, name: DatasetName, body: Mapping[str, Any], *, hidden: bool = False) -> Dataset:
        """Add a dataset.

        Raises:
            AlreadyExists: The name is taken.
        """
        if self.find_dataset(name):
            raise AlreadyExists(f"Already Exists: Dataset {name}")
        now = self.clock.next()
        made = Dataset(name=name, body=body, created=now, modified=now, hidden=hidden)
        values = (name.project, name.dataset, json.dumps(body), hidden, now, now)
        self._execute("INSERT INTO pydag.datasets VALUES (?, ?, ?, ?, ?, ?)", *values)
        return made

    def change_dataset(self, dataset: Dataset, body: Mapping[str, Any]) -> Dataset:
        """Replace a dataset's body."""
        now = self.clock.next()
        self._execute(
            "UPDATE pydag.datasets SET body = ?, modified = ? WHERE project = ? AND dataset = ?",
            json.dumps(body),
            now,
            dataset.name.project,
            dataset.name.dataset,
        )
        return replace(dataset, body=body, modified=now)

    def drop_dataset(self, name: DatasetName) -> None:
        """Remove a dataset and the tables in it."""
        for table in self.tables(name):
            self.drop_table(table)
        self._execute("DELETE FROM pydag.datasets WHERE project = ? AND dataset = ?", name.project, name.dataset)

    # Tables

    def table(self, name: TableName) -> Table:
        """Return a table or view.

        Raises:
            NotFound: There is none of that name, or not even its dataset.
        """
        found = self.find_table(name)
        if found is None:
            self.dataset(name.parent)
            raise NotFound(f"Not found: Table {name}")
        return found

    def find_table(self, name: TableName) -> Table | None:
        """Return a table or view, or None."""
        rows = self._select(
            "SELECT * FROM pydag.tables WHERE project = ? AND dataset = ? AND name = ?",
            name.project,
            name.dataset,
            name.table,
        )
        found = [_table(row) for row in rows]
        return next((table for table in found if not self._expired(table)), None)

    def tables(self, name: DatasetName) -> list[Table]:
        """List a dataset's tables and views by name."""
        rows = self._select(
            "SELECT * FROM pydag.tables WHERE project = ? AND dataset = ? ORDER BY name", name.project, name.dataset
        )
        return [table for table in map(_table, rows) if not self._expired(table)]

    def expired(self) -> list[Table]:
        """List the tables whose time is over, wherever they are."""
        rows = self._select("SELECT * FROM pydag.tables WHERE expires <= ?", self.clock.now())
        return [_table(row) for row in rows]

    def create_table(
        self,
        name: TableName,
        body: Mapping[str, Any],
        *,
        kind: str = "TABLE",
        expires: int | None = None,
        storage: str | None = None,
    ) -> Table:
        """Add a table, or a view.

        Args:
            name: Its name.
            body: What its users set.
            kind: ``TABLE`` or ``VIEW``.
            expires: When it vanishes, in milliseconds since the epoch; None: as its dataset says.
            storage: What holds its rows, made by :meth:`create_storage`; None: it has none yet.

        Raises:
            AlreadyExists: The name is taken.
            NotFound: There is no such dataset.
        """
        dataset = self.dataset(name.parent)
        if self.find_table(name):
            raise AlreadyExists(f"Already Exists: Table {name}")
        self._purge(name)
        now = self.clock.next()
        lifetime = dataset.body.get("defaultTableExpirationMs")
        if expires is None and lifetime is not None:
            expires = now + int(lifetime)
        made = Table(name=name, kind=kind, storage=storage, body=body, created=now, modified=now, expires=expires)
        if kind == "TABLE" and storage is None:
            made = replace(made, storage=self.create_storage(made.fields))
        self._insert(made)
        return made

    def change_table(
        self,
        table: Table,
        *,
        body: Mapping[str, Any] | None = None,
        storage: str | None = None,
        expires: int | None = None,
    ) -> Table:
        """Record that a table changed: its body, the storage that holds its rows, or just its rows.

        A storage that is replaced is dropped. ``expires`` stays as it is where ``body`` is None.
        """
        changed = replace(
            table,
            body=table.body if body is None else body,
            storage=storage or table.storage,
            modified=self.clock.next(),
            expires=table.expires if body is None else expires,
        )
        self._execute(
            "UPDATE pydag.tables SET body = ?, storage = ?, modified = ?, expires = ?"
            " WHERE project = ? AND dataset = ? AND name = ?",
            json.dumps(changed.body),
            changed.storage,
            changed.modified,
            changed.expires,
            table.name.project,
            table.name.dataset,
            table.name.table,
        )
        if table.storage and table.storage != changed.storage:
            self.drop_storage(table.storage)
        return changed

    def rename_table(self, table: Table, name: TableName) -> None:
        """Give a table another name in the same dataset.

        Raises:
            AlreadyExists: The name is taken.
        """
        if self.find_table(name):
            raise AlreadyExists(f"Already Exists: Table {name}")
        self._purge(name)
        self._purge(table.name, keep_storage=True)
        self._insert(replace(table, name=name, modified=self.clock.next()))

    def drop_table(self, table: Table) -> None:
        """Remove a table or view, and its rows."""
        self._purge(table.name)

    # Storage

    def create_storage(self, fields: tuple[Field, ...]) -> str:
        """Make an empty DuckDB table for rows of these columns, and return its quoted name."""
        number = self._select("SELECT nextval('pydag.storage_number')")[0][0]
        storage = f"data.t{number}"
        columns = ", ".join(_column(column) for column in fields) or '"_none" BOOLEAN'  # DuckDB wants one column
        self.connection.execute(f"CREATE TABLE {storage} ({columns})")
        return storage

    def drop_storage(self, storage: str) -> None:
        """Drop a DuckDB table made by :meth:`create_storage`."""
        self.connection.execute(f"DROP TABLE {storage}")
        self._execute("DELETE FROM pydag.insert_ids WHERE storage = ?", storage)

    def count(self, table: Table) -> int:
        """Count a table's rows; 0 for a view."""
        if table.storage is None:
            return 0
        return int(self._select(f"SELECT count(*) FROM {table.storage}")[0][0])

    def _expired(self, table: Table) -> bool:
        return table.expires is not None and table.expires <= self.clock.now()

    def _purge(self, name: TableName, *, keep_storage: bool = False) -> None:
        key = (name.project, name.dataset, name.table)
        where = "WHERE project = ? AND dataset = ? AND name = ?"
        for (storage,) in self._select(f"SELECT storage FROM pydag.tables {where}", *key):
            if storage and not keep_storage:
                self.drop_storage(storage)
        self._execute(f"DELETE FROM pydag.tables {where}", *key)

    def _insert(self, table: Table) -> None:
        name = table.name
        key = (name.project, name.dataset, name.table, table.kind, table.storage, json.dumps(table.body))
        values = (*key, table.created, table.modified, table.expires)
        self._execute("INSERT INTO pydag.tables VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", *values)

    def _select(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        return self.connection.execute(sql, values).fetchall()

    def _execute(self, sql: str, *values: object) -> None:
        self.connection.execute(sql, values)


def _column(column: Field) -> str:
    name = quoted(column.name)
    rules = " NOT NULL" if column.mode == "REQUIRED" else ""
    if column.mode != "REPEATED" and column.max_length is not None:
        size = "octet_length" if column.type == "BYTES" else "length"
        rules += f" CHECK ({size}({name}) <= {column.max_length})"
    if column.mode != "REPEATED" and column.precision is not None:
        scale = column.scale or 0
        rules += f" CHECK (round({name}, {scale}) = {name} AND abs({name}) < 1e{column.precision - scale})"
    return f"{name} {duckdb_type(column)}{rules}"


def _dataset(row: tuple[Any, ...]) -> Dataset:
    project, dataset, body, created, modified, hidden = row
    name = DatasetName(project=project, dataset=dataset)
    return Dataset(name=name, body=json.loads(body), created=created, modified=modified, hidden=hidden)


def _table(row: tuple[Any, ...]) -> Table:
    project, dataset, name, kind, storage, body, created, modified, expires = row
    return Table(
        name=TableName(project=project, dataset=dataset, table=name),
        kind=kind,
        storage=storage,
        body=json.loads(body),
        created=created,
        modified=modified,
        expires=expires,
    )
