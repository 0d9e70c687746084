"""Brings a metadata database to the tables of this version: makes them, or changes those of an older one in place."""

from __future__ import annotations

import sqlalchemy as sa

from pydag_gcp.database import Database
from pydag_gcp.errors import StoreError
from pydag_gcp.tables import SCHEMA_VERSION, leases, metadata, records, runs, schema_version, tasks, tries

_VERSION = sa.select(schema_version.c.version)

#: What each version has that the one before had not.
_ADDED: dict[int, tuple[tuple[sa.Table, ...], tuple[sa.Column[object], ...]]] = {
    2: (
        (records, leases),
        (
            runs.c.file,
            runs.c.options,
            runs.c.cancel_requested,
            runs.c.epoch,
            runs.c.driven_since,
            tasks.c.cached_from,
            tasks.c.reason,
            tries.c.reads,
        ),
    ),
    3: ((), (tries.c.result, tries.c.reason)),
}


def migrate(database: Database) -> None:
    """Make or change the tables, all in one transaction; several processes may try at once.

    Raises:
        StoreError: A newer version of pydag-gcp made them, or something else did.
    """
    if _version(database) == SCHEMA_VERSION:
        return
    with database.exclusive() as connection:
        if not sa.inspect(connection).has_table(schema_version.name):
            _make(connection, database)
            return
        found = connection.execute(_VERSION).scalar_one_or_none()
        if found == SCHEMA_VERSION:
            return
        if found is None or not min(_ADDED) - 1 <= found < SCHEMA_VERSION:
            newer = found is not None and found > SCHEMA_VERSION
            raise StoreError(
                f"has schema version {found}, this pydag-gcp knows {SCHEMA_VERSION}",
                where=database.place,
                hint="upgrade pydag-gcp" if newer else "set PYDAG_STORE to a new one",
            )
        for version in range(found + 1, SCHEMA_VERSION + 1):
            _add(connection, *_ADDED[version])
        connection.execute(schema_version.update().values(version=SCHEMA_VERSION))


def _version(database: Database) -> int | None:
    """The version of its tables, or None; that they are there is looked at last, as they nearly always are."""
    try:
        rows = database.read(_VERSION)
    except StoreError:
        if not database.has(schema_version):
            return None
        rows = database.read(_VERSION)  # another process may have made them just now
    return rows[0]["version"] if len(rows) == 1 else None


def _make(connection: sa.Connection, database: Database) -> None:
    if database.serves:
        encoding = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
        if encoding != "UTF8":
            hint = "make it with CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0"
            raise StoreError(
                f"has the encoding {encoding}, which cannot hold every text", where=database.place, hint=hint
            )
    metadata.create_all(connection)
    connection.execute(schema_version.insert().values(version=SCHEMA_VERSION))


def _add(connection: sa.Connection, tables: tuple[sa.Table, ...], columns: tuple[sa.Column[object], ...]) -> None:
    for column in columns:
        definition = sa.schema.CreateColumn(column).compile(connection)
        table = connection.dialect.identifier_preparer.format_table(column.table)
        connection.exec_driver_sql(f"ALTER TABLE {table} ADD COLUMN {definition}")
    metadata.create_all(connection, tables=tables)
