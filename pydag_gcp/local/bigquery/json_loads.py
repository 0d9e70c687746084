"""Newline-delimited JSON files into a table.

Reference: https://cloud.google.com/bigquery/docs/loading-data-cloud-storage-json.
"""

# ruff: noqa: S608  (names are quoted identifiers of our own making; values are bound)
from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from pydag_gcp.local.bigquery.arrow import arrow_schema
from pydag_gcp.local.bigquery.job import JobError
from pydag_gcp.local.bigquery.json_rows import BadRow, python_row
from pydag_gcp.local.bigquery.load_sources import BadRows, Source
from pydag_gcp.local.googlesql.types import Field, quoted

_BATCH = 10_000
_SAMPLE = 500
_BOM = b"\xef\xbb\xbf"
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_TIMESTAMP = re.compile(r"\d{4}-\d{2}-\d{2}[ T]\d{1,2}:\d{2}(:\d{2}(\.\d{1,6})?)?( ?(Z|UTC|[+-]\d{1,2}(:\d{2})?))?")


def append(
    connection: duckdb.DuckDBPyConnection, storage: str, columns: Sequence[Field], rows: Sequence[dict[str, Any]]
) -> int:
    """Add rows of Python values to a DuckDB table, and return how many they are."""
    if not rows:
        return 0
    connection.register("batch", pa.Table.from_pylist(rows, schema=arrow_schema(columns)))
    names = ", ".join(quoted(column.name) for column in columns)
    connection.execute(f"INSERT INTO {storage} ({names}) SELECT {names} FROM batch")
    connection.unregister("batch")
    return len(rows)


@dataclass(frozen=True, kw_only=True)
class JsonFormat:
    """How JSON files are read.

    Attributes:
        spool: Where compressed files are unpacked.
        ignore_unknown: Whether values of columns that are not there are dropped.
    """

    spool: Path
    ignore_unknown: bool

    def columns(self, source: Source, spool: Path) -> Sequence[Field]:
        """Detect the columns of a file.

        Raises:
            JobError: There is nothing to detect anything from.
        """
        with source.plain(spool) as path, path.open("rb") as file:
            rows = []
            for _, _, line in islice(_lines(file), _SAMPLE):
                try:
                    rows.append(json.loads(line))
                except ValueError as error:
                    raise source.error(f"Failed to detect the schema: JSON parsing error: {error}.") from None
        found = _detected([row for row in rows if isinstance(row, dict)])
        if not found:
            raise JobError("invalid", "Failed to detect the schema: the file holds no rows")
        return found

    def load(
        self,
        connection: duckdb.DuckDBPyConnection,
        source: Source,
        storage: str,
        columns: Sequence[Field],
        bad: BadRows,
    ) -> int:
        """Put a file's rows into a DuckDB table.

        Raises:
            JobError: It has too many bad rows.
        """
        loaded = 0
        with source.plain(self.spool) as path, path.open("rb") as file:
            lines = _lines(file)
            while batch := list(islice(lines, _BATCH)):
                rows = [row for line in batch if (row := self._row(source, columns, bad, *line)) is not None]
                loaded += append(connection, storage, columns, rows)
        return loaded

    def _row(
        self, source: Source, columns: Sequence[Field], bad: BadRows, number: int, start: int, line: bytes
    ) -> dict[str, Any] | None:
        bad.rows += 1
        try:
            return python_row(json.loads(line), columns, ignore_unknown=self.ignore_unknown)
        except BadRow as error:
            message = error.message
        except ValueError as error:
            message = f"Parser terminated: {error}"
        text = line.decode("utf-8", "replace").strip()
        bad.add(source, f"JSON parsing error in row starting at position {start}: {message}", row=text, number=number)
        return None


def _lines(file: Any) -> Iterator[tuple[int, int, bytes]]:
    """Yield number, position and text of the lines that are not blank."""
    position = 0
    for number, line in enumerate(file, 1):
        text = line.removeprefix(_BOM) if position == 0 else line
        if text.strip():
            yield number, position, text
        position += len(line)


def _detected(rows: Sequence[dict[str, Any]]) -> tuple[Field, ...]:
    seen: dict[str, list[Any]] = {}
    for row in rows:
        for name, value in row.items():
            seen.setdefault(name, []).append(value)
    return tuple(_column(name, values) for name, values in seen.items())


def _column(name: str, values: Sequence[Any]) -> Field:
    known = [value for value in values if value is not None]
    repeated = any(isinstance(value, list) for value in known)
    if repeated:
        if not all(isinstance(value, list) for value in known):
            raise JobError("invalid", f"Failed to detect the schema: field {name} is repeated in some rows only")
        known = [element for value in known for element in value]
    mode = "REPEATED" if repeated else "NULLABLE"
    if known and all(isinstance(value, dict) for value in known):
        return Field(name=name, type="STRUCT", mode=mode, fields=_detected(known))
    return Field(name=name, type=_scalar(name, known), mode=mode)


def _scalar(name: str, values: Sequence[Any]) -> str:
    kinds = {type(value) for value in values}
    if dict in kinds or list in kinds:
        raise JobError("invalid", f"Failed to detect the schema: field {name} is a record in some rows only")
    if kinds == {bool}:
        return "BOOL"
    if kinds == {int}:
        return "INT64"
    if kinds and kinds <= {int, float}:
        return "FLOAT64"
    if kinds == {str}:
        for kind, pattern in (("DATE", _DATE), ("TIMESTAMP", _TIMESTAMP)):
            if all(map(pattern.fullmatch, values)):
                return kind
    return "STRING"
