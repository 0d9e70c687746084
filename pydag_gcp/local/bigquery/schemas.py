"""Schemas of tables: which are legal, and which changes of one BigQuery allows.

Reference: https://cloud.google.com/bigquery/docs/schemas and https://cloud.google.com/bigquery/docs/managing-table-schemas.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import duckdb

from pydag_gcp.local.googlesql.types import Field, UnsupportedType, duckdb_type, quoted
from pydag_gcp.local.http import ApiError, not_implemented

#: https://cloud.google.com/bigquery/docs/schemas#column_names
_COLUMN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,299}")
_FLEXIBLE_NAME = re.compile(r"[^!\"$()*,./;?@\[\\\]^`{}~\x00-\x1f]{1,300}")
_FORBIDDEN_PREFIXES = ("_TABLE_", "_FILE_", "_PARTITION", "_ROW_TIMESTAMP", "__ROOT__", "_COLIDENTIFIER")

ADDITION, RELAXATION = "ALLOW_FIELD_ADDITION", "ALLOW_FIELD_RELAXATION"
_LEGACY = {"INT64": "INTEGER", "FLOAT64": "FLOAT", "BOOL": "BOOLEAN", "STRUCT": "RECORD"}


class SchemaMismatch(Exception):
    """The schema that arrives does not go with the one that is there; BigQuery's reason ``invalid``."""


def read_schema(resource: Mapping[str, Any] | None) -> tuple[Field, ...]:
    """Read a TableSchema.

    Raises:
        ApiError: 400 for an illegal one, 501 for a type or property that the local cloud does not hold.
    """
    entries = (resource or {}).get("fields", ())
    try:
        fields = tuple(Field.from_api(entry) for entry in entries)
        for column in fields:
            duckdb_type(column)
    except UnsupportedType as error:
        raise not_implemented(f"{error} in a table's schema") from None
    except ValueError as error:
        raise ApiError(400, "invalid", f"Invalid schema: {error}") from None
    _refuse_properties(entries)
    _check_names(fields, "")
    return fields


def _refuse_properties(entries: Sequence[Mapping[str, Any]]) -> None:
    for entry in entries:
        for key in ("collation", "roundingMode", "rangeElementType", "dataPolicies", "generatedColumn"):
            if entry.get(key):
                raise not_implemented(f"{key} of a column (field {entry.get('name')})")
        if (entry.get("policyTags") or {}).get("names"):
            raise not_implemented(f"policyTags of a column (field {entry.get('name')})")
        if entry.get("defaultValueExpression"):
            raise not_implemented(f"defaultValueExpression of a column (field {entry.get('name')})")
        _refuse_properties(entry.get("fields") or ())


def _check_names(fields: Sequence[Field], prefix: str) -> None:
    seen: set[str] = set()
    for column in fields:
        path = prefix + column.name
        if not (_COLUMN_NAME.fullmatch(column.name) or _FLEXIBLE_NAME.fullmatch(column.name)):
            message = (
                f'Invalid field name "{column.name}". Fields must contain the allowed characters, and be at most '
                "300 characters long. For allowed characters, please refer to "
                "https://cloud.google.com/bigquery/docs/schemas#column_names"
            )
            raise ApiError(400, "invalid", message)
        if column.name.upper().startswith(_FORBIDDEN_PREFIXES):
            message = f'Invalid field name "{column.name}". Field names are not allowed to start with a reserved prefix'
            raise ApiError(400, "invalid", message)
        if column.name.lower() in seen:
            raise ApiError(400, "invalid", f"Duplicate field name: {path}")
        seen.add(column.name.lower())
        _check_names(column.fields, f"{path}.")


def schema_to_api(fields: Sequence[Field]) -> dict[str, Any]:
    """Return the TableSchema."""
    return {"fields": [column.to_api() for column in fields]}


def relaxed(fields: Sequence[Field]) -> tuple[Field, ...]:
    """Return the columns with REQUIRED taken off, as query results and detected schemas have them."""
    return tuple(
        replace(column, mode="NULLABLE" if column.mode == "REQUIRED" else column.mode, fields=relaxed(column.fields))
        for column in fields
    )


def evolve(old: Sequence[Field], new: Sequence[Field], allowed: Collection[str], table: object) -> tuple[Field, ...]:
    """Return the schema after rows of schema ``new`` were let into a table of schema ``old``.

    Columns go by name, whatever their order; columns missing from ``new`` stay, if they may be NULL.

    Args:
        old: The table's columns.
        new: The columns that arrive.
        allowed: Which of :data:`ADDITION` and :data:`RELAXATION` may happen.
        table: For messages.

    Raises:
        SchemaMismatch: The change is not allowed.
        ApiError: 501 for a change inside a STRUCT.
    """
    arriving = {column.name.lower(): column for column in new}
    result = [_merge(column, arriving.pop(column.name.lower(), None), allowed, table) for column in old]
    for column in arriving.values():
        if ADDITION not in allowed:
            raise SchemaMismatch(
                f"Provided Schema does not match Table {table}. Cannot add fields (field: {column.name})"
            )
        if column.mode == "REQUIRED":
            raise SchemaMismatch(
                f"Provided Schema does not match Table {table}. Cannot add required fields to an existing schema. "
                f"(field: {column.name})"
            )
        result.append(column)
    return tuple(result)


def _merge(old: Field, new: Field | None, allowed: Collection[str], table: object) -> Field:
    if new is None:
        if old.mode != "REQUIRED":
            return old
        if RELAXATION in allowed:
            return replace(old, mode="NULLABLE")
        raise SchemaMismatch(f"Provided Schema does not match Table {table}. Field {old.name} is missing in new schema")
    start = f"Provided Schema does not match Table {table}. Field {old.name} has changed"
    if new.type != old.type:
        raise SchemaMismatch(
            f"{start} type from {_LEGACY.get(old.type, old.type)} to {_LEGACY.get(new.type, new.type)}"
        )
    if new.mode != old.mode:
        relaxing = (old.mode, new.mode) == ("REQUIRED", "NULLABLE")
        if (old.mode, new.mode) == ("NULLABLE", "REQUIRED") and RELAXATION not in allowed:
            raise SchemaMismatch(f"{start} mode from NULLABLE to REQUIRED")
        if "REPEATED" in (old.mode, new.mode) or (relaxing and RELAXATION not in allowed):
            raise SchemaMismatch(f"{start} mode from {old.mode} to {new.mode}")
    if [_shape(child) for child in old.fields] != [_shape(child) for child in new.fields]:
        raise not_implemented(f"a change of schema inside the STRUCT column {old.name} of table {table}")
    mode = "NULLABLE" if "NULLABLE" in (old.mode, new.mode) and old.mode != "REPEATED" else old.mode
    return replace(old, mode=mode, description=new.description or old.description)


def _shape(column: Field) -> tuple[object, ...]:
    return column.name.lower(), column.type, column.mode, tuple(_shape(child) for child in column.fields)


def apply_change(
    connection: duckdb.DuckDBPyConnection, storage: str, old: Sequence[Field], new: Sequence[Field]
) -> None:
    """Change the DuckDB table that holds the rows from columns ``old`` to ``new``, a result of :func:`evolve`."""
    before = {column.name.lower(): column for column in old}
    for column in new:
        known = before.get(column.name.lower())
        if known is None:
            definition = f"{quoted(column.name)} {duckdb_type(column)}"
            connection.execute(f"ALTER TABLE {storage} ADD COLUMN {definition}")
        elif known.mode == "REQUIRED" and column.mode != "REQUIRED":
            connection.execute(f"ALTER TABLE {storage} ALTER COLUMN {quoted(column.name)} DROP NOT NULL")
