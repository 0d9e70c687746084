"""Rows over REST: pages of a table, of bounded size.

Reference: https://cloud.google.com/bigquery/docs/reference/rest/v2/tabledata/list and
https://cloud.google.com/bigquery/docs/paging-results.
"""

# ruff: noqa: S608  (names are quoted identifiers of our own making; values are bound)
from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from werkzeug.wrappers import Request

from pydag_gcp.local.bigquery.catalogue import Catalogue, Table
from pydag_gcp.local.bigquery.sizes import Sizes
from pydag_gcp.local.googlesql.types import Field, quoted
from pydag_gcp.local.googlesql.wire import encode
from pydag_gcp.local.http import ApiError, not_implemented

#: A page holds about that many logical bytes at most, as BigQuery's do.
_PAGE_BYTES = 10_000_000
_MOST_ROWS = 100_000


@dataclass(frozen=True, kw_only=True)
class PageRequest:
    """Which rows a caller wants.

    Attributes:
        start: The first row, from 0.
        rows: How many at most; None: as many as go into a page.
        selected: The columns; empty: all.
        int64_timestamps: Whether a TIMESTAMP is sent as whole microseconds.
    """

    start: int = 0
    rows: int | None = None
    selected: Sequence[str] = ()
    int64_timestamps: bool = False

    @classmethod
    def of(cls, request: Request) -> PageRequest:
        """Read it out of the query of a request."""
        arguments = request.args
        text = arguments.get("formatOptions.timestampOutputFormat", "TIMESTAMP_OUTPUT_FORMAT_UNSPECIFIED")
        if text not in ("TIMESTAMP_OUTPUT_FORMAT_UNSPECIFIED", "FLOAT64", "INT64"):
            raise not_implemented(f"formatOptions.timestampOutputFormat {text}")
        token = arguments.get("pageToken")
        return cls(
            start=start_of(token) if token else whole(arguments.get("startIndex"), "startIndex") or 0,
            rows=whole(arguments.get("maxResults"), "maxResults"),
            selected=[name for name in arguments.get("selectedFields", "").split(",") if name],
            int64_timestamps=text == "INT64" or flag(arguments.get("formatOptions.useInt64Timestamp")),
        )


def flag(text: str | None) -> bool:
    """Read a boolean of a query string."""
    return (text or "").lower() in ("true", "1")


def whole(text: str | None, name: str) -> int | None:
    """Read a whole number, 0 or more, of a query string.

    Raises:
        ApiError: 400: it is none.
    """
    if text in (None, ""):
        return None
    if not str(text).isdigit():
        raise ApiError(400, "invalid", f"Invalid value for {name}: {text} is no whole number", location=name)
    return int(str(text))


def token_of(start: int) -> str:
    """Return the pageToken of the page that starts at a row."""
    return base64.urlsafe_b64encode(f"row {start}".encode()).decode()


def start_of(token: str) -> int:
    """Return the row that a pageToken starts at.

    Raises:
        ApiError: 400: it is no token of ours.
    """
    try:
        word, _, start = base64.urlsafe_b64decode(token).decode().partition(" ")
        if word == "row" and start.isdigit():
            return int(start)
    except (binascii.Error, UnicodeDecodeError):
        pass
    raise ApiError(400, "invalid", f"Invalid page token: {token}", location="pageToken")


def columns(table: Table, selected: Sequence[str]) -> tuple[Field, ...]:
    """Return the columns of a table that a caller selects, in the table's order.

    Raises:
        ApiError: 400: there is no such column; 501 for a part of a STRUCT.
    """
    if not selected:
        return table.fields
    wanted = {name.lower() for name in selected}
    for name in wanted - {column.name.lower() for column in table.fields}:
        if "." in name:
            raise not_implemented(f"a part of a STRUCT in selectedFields ({name})")
        raise ApiError(400, "invalid", f"No such field: {name}", location="selectedFields")
    return tuple(column for column in table.fields if column.name.lower() in wanted)


def page(catalogue: Catalogue, table: Table, wanted: PageRequest, sizes: Sizes) -> Mapping[str, Any]:
    """Return ``rows``, ``totalRows`` and, unless it is the last page, ``pageToken``.

    Raises:
        ApiError: It is no table, or has no such columns.
    """
    if table.storage is None:
        raise ApiError(400, "invalid", f"Cannot list a table of type {table.kind}.")
    fields = columns(table, wanted.selected)
    total = catalogue.count(table)
    left = max(0, total - wanted.start)
    row_size = sizes.total(catalogue.connection, table) // total + 1 if total else 1
    room = max(1, min(_MOST_ROWS, _PAGE_BYTES // row_size))
    count = min(left, room if wanted.rows is None else min(room, wanted.rows))
    answer: dict[str, Any] = {"totalRows": str(total)}
    if count:
        answer["rows"] = _rows(catalogue, table, fields, wanted, count)
    if count < left:
        answer["pageToken"] = token_of(wanted.start + count)
    return answer


def _rows(
    catalogue: Catalogue, table: Table, fields: Sequence[Field], wanted: PageRequest, count: int
) -> list[dict[str, Any]]:
    names = ", ".join(quoted(column.name) for column in fields)
    sql = f"SELECT {names} FROM {table.rows} LIMIT {count} OFFSET {wanted.start}"
    arrow = catalogue.connection.execute(sql).to_arrow_table()
    encoded = [
        [{"v": encode(value, column, int64_timestamps=wanted.int64_timestamps)} for value in values.to_pylist()]
        for column, values in zip(fields, arrow.columns, strict=True)
    ]
    return [{"f": list(cells)} for cells in zip(*encoded, strict=True)]
