"""``tabledata.insertAll``: rows that arrive one call at a time.

Reference: https://cloud.google.com/bigquery/docs/reference/rest/v2/tabledata/insertAll and
https://cloud.google.com/bigquery/docs/streaming-data-into-bigquery.
"""

# ruff: noqa: S608  (names are quoted identifiers of our own making; values are bound)
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pydag_gcp.local.bigquery.arrow import arrow_schema
from pydag_gcp.local.bigquery.catalogue import Catalogue, Table
from pydag_gcp.local.bigquery.json_rows import BadRow, python_row
from pydag_gcp.local.googlesql.types import quoted
from pydag_gcp.local.http import ApiError, not_implemented

#: For how long an insertId is remembered; BigQuery promises about a minute.
_ID_LIFE = 10 * 60 * 1000


@dataclass(frozen=True, kw_only=True)
class Insertion:
    """What one call asks for.

    Attributes:
        rows: The rows, each with its insertId if it has one.
        skip_invalid: Whether good rows go in although others are bad.
        ignore_unknown: Whether values of columns that are not there are dropped.
    """

    rows: Sequence[tuple[str | None, Mapping[str, Any]]]
    skip_invalid: bool
    ignore_unknown: bool

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Insertion:
        """Read the request.

        Raises:
            ApiError: It has no rows, or asks for what the local cloud does not do.
        """
        if body.get("templateSuffix"):
            raise not_implemented("templateSuffix of bigquery.tabledata.insertAll")
        entries = body.get("rows") or []
        if not entries:
            raise ApiError(400, "invalid", "No rows present in the request.")
        return cls(
            rows=[(entry.get("insertId"), entry.get("json") or {}) for entry in entries],
            skip_invalid=bool(body.get("skipInvalidRows")),
            ignore_unknown=bool(body.get("ignoreUnknownValues")),
        )


def insert(catalogue: Catalogue, table: Table, insertion: Insertion) -> list[dict[str, Any]]:
    """Add rows to a table; return the ``insertErrors``.

    Raises:
        ApiError: 400: it is a view.
    """
    if table.storage is None:
        raise ApiError(400, "invalid", f"Cannot add rows to a table of type {table.kind}.")
    good: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []
    seen = _seen(catalogue, table)
    fresh: dict[str, None] = {}
    for index, (insert_id, row) in enumerate(insertion.rows):
        try:
            converted = python_row(row, table.fields, ignore_unknown=insertion.ignore_unknown)
        except BadRow as error:
            errors.append(_error(index, "invalid", error.place, error.message))
            continue
        if insert_id is None or (insert_id not in seen and insert_id not in fresh):
            good.append(converted)
        if insert_id is not None:
            fresh[insert_id] = None
    if errors and not insertion.skip_invalid:
        bad = {error["index"] for error in errors}
        errors += [_error(index, "stopped", "", "") for index in range(len(insertion.rows)) if index not in bad]
        return sorted(errors, key=lambda error: int(error["index"]))
    if good:
        _append(catalogue, table, good, [key for key in fresh if key not in seen])
    return errors


def _append(catalogue: Catalogue, table: Table, rows: list[dict[str, Any]], insert_ids: Sequence[str]) -> None:
    arrived = pa.Table.from_pylist(rows, schema=arrow_schema(table.fields))
    names = ", ".join(quoted(column.name) for column in table.fields)
    connection = catalogue.connection
    connection.register("arrived", arrived)
    connection.execute(f"INSERT INTO {table.rows} ({names}) SELECT {names} FROM arrived")
    connection.unregister("arrived")
    now = catalogue.clock.now()
    connection.execute("DELETE FROM pydag.insert_ids WHERE storage = ? AND seen < ?", (table.storage, now - _ID_LIFE))
    if insert_ids:
        values = [(table.storage, key, now) for key in insert_ids]
        connection.executemany("INSERT INTO pydag.insert_ids VALUES (?, ?, ?)", values)
    catalogue.change_table(table)


def _seen(catalogue: Catalogue, table: Table) -> set[str]:
    since = catalogue.clock.now() - _ID_LIFE
    sql = "SELECT insert_id FROM pydag.insert_ids WHERE storage = ? AND seen >= ?"
    return {row[0] for row in catalogue.connection.execute(sql, (table.storage, since)).fetchall()}


def _error(index: int, reason: str, location: str, message: str) -> dict[str, Any]:
    proto = {"reason": reason, "location": location, "debugInfo": "", "message": message}
    return {"index": index, "errors": [proto]}
