"""Rows of a DuckDB table as files in the formats that BigQuery exports.

Reference: https://cloud.google.com/bigquery/docs/exporting-data#export_formats_and_compression_types.
"""

# ruff: noqa: S608  (names are quoted identifiers of our own making; values are bound)
from __future__ import annotations

import gzip
import json
import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import fastavro

from pydag_gcp.local.bigquery.job import JobError
from pydag_gcp.local.googlesql.types import Field, quoted

_BATCH = 10_000
_COMPRESSIONS: Mapping[str, tuple[str, ...]] = {
    "CSV": ("NONE", "GZIP"),
    "NEWLINE_DELIMITED_JSON": ("NONE", "GZIP"),
    "PARQUET": ("NONE", "SNAPPY", "GZIP", "ZSTD"),
    "AVRO": ("NONE", "SNAPPY", "DEFLATE"),
}
_AVRO = {
    "BOOL": "boolean", "BYTES": "bytes", "FLOAT64": "double", "INT64": "long", "STRING": "string",
    "TIMESTAMP": {"type": "long", "logicalType": "timestamp-micros"},
    "NUMERIC": {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 9},
}  # fmt: skip
_AVRO_LOGICAL = {
    "DATE": {"type": "int", "logicalType": "date"},
    "TIME": {"type": "long", "logicalType": "time-micros"},
    "DATETIME": {"type": "string", "sqlType": "DATETIME"},
}


@dataclass(frozen=True, kw_only=True)
class ExportFormat:
    """How exported files are written.

    Attributes:
        name: ``CSV``, ``NEWLINE_DELIMITED_JSON``, ``PARQUET`` or ``AVRO``.
        compression: ``NONE``, ``GZIP``, ``SNAPPY``, ``DEFLATE`` or ``ZSTD``.
        delimiter: One character between the fields of a CSV file.
        header: Whether a CSV file begins with the columns' names.
        logical: Whether Avro's logical types are used (useAvroLogicalTypes).
    """

    name: str = "CSV"
    compression: str = "NONE"
    delimiter: str = ","
    header: bool = True
    logical: bool = False

    def check(self, fields: Sequence[Field]) -> None:
        """Refuse what cannot be written.

        Raises:
            JobError: Naming the format, the compression or the column.
        """
        if self.name not in _COMPRESSIONS:
            raise JobError("notImplemented", f"The local cloud does not implement export to {self.name}")
        if self.compression not in _COMPRESSIONS[self.name]:
            raise JobError(
                "notImplemented", f"The local cloud does not implement {self.compression} of {self.name} files"
            )
        if self.name == "CSV" and len(self.delimiter) != 1:
            raise JobError("notImplemented", f"The local cloud does not implement the delimiter {self.delimiter!r}")
        for column in fields:
            if self.name == "CSV" and (column.fields or column.mode == "REPEATED"):
                raise JobError("invalid", f"Operation cannot be performed on a nested schema. Field: {column.name}")

    def write(self, connection: duckdb.DuckDBPyConnection, rows: str, fields: Sequence[Field], path: Path) -> None:
        """Write rows to a file.

        Args:
            connection: Where they are.
            rows: What to select from.
            fields: The columns.
            path: The file to make.
        """
        writers: Mapping[str, Callable[..., None]] = {
            "CSV": self._csv,
            "NEWLINE_DELIMITED_JSON": self._json,
            "PARQUET": self._parquet,
            "AVRO": self._avro,
        }
        writers[self.name](connection, rows, fields, path)
        if self.compression == "GZIP" and self.name != "PARQUET":
            packed = path.with_suffix(".gz")
            with path.open("rb") as plain, gzip.open(packed, "wb") as target:
                shutil.copyfileobj(plain, target, 1 << 20)
            packed.replace(path)

    def _csv(self, connection: duckdb.DuckDBPyConnection, rows: str, fields: Sequence[Field], path: Path) -> None:
        columns = ", ".join(f"{_text(column)} AS {quoted(column.name)}" for column in fields)
        delimiter = "'" + self.delimiter.replace("'", "''") + "'"
        options = f"FORMAT csv, HEADER {self.header}, DELIMITER {delimiter}, NULLSTR ''"
        connection.execute(f"COPY (SELECT {columns} FROM {rows}) TO {_path(path)} ({options})")

    def _parquet(self, connection: duckdb.DuckDBPyConnection, rows: str, fields: Sequence[Field], path: Path) -> None:
        columns = ", ".join(quoted(column.name) for column in fields)
        codec = {"NONE": "uncompressed"}.get(self.compression, self.compression.lower())
        options = f"FORMAT parquet, COMPRESSION {codec}"
        connection.execute(f"COPY (SELECT {columns} FROM {rows}) TO {_path(path)} ({options})")

    def _json(self, connection: duckdb.DuckDBPyConnection, rows: str, fields: Sequence[Field], path: Path) -> None:
        columns = ", ".join(f"{_json_value(column, quoted(column.name))} AS {quoted(column.name)}" for column in fields)
        with path.open("w", encoding="utf-8", newline="\n") as file:
            for row in _rows(connection, f"SELECT {columns} FROM {rows}"):
                text = json.dumps(
                    _without_nulls(row, fields), ensure_ascii=False, separators=(",", ":"), allow_nan=True
                )
                file.write(text + "\n")

    def _avro(self, connection: duckdb.DuckDBPyConnection, rows: str, fields: Sequence[Field], path: Path) -> None:
        columns = ", ".join(
            f"{self._avro_value(column, quoted(column.name))} AS {quoted(column.name)}" for column in fields
        )
        schema: dict[str, Any] = {"type": "record", "name": "Root", "fields": self._avro_fields(fields, "Root")}
        codec = {"NONE": "null"}.get(self.compression, self.compression.lower())
        with path.open("wb") as file:
            fastavro.writer(file, schema, _rows(connection, f"SELECT {columns} FROM {rows}"), codec=codec)

    def _avro_value(self, column: Field, name: str) -> str:
        nested = column.fields or column.mode == "REPEATED"
        if nested and any(field.type in ("DATE", "TIME", "DATETIME", "JSON") for field in _leaves(column)):
            raise JobError("notImplemented", f"The local cloud does not implement field {column.name} in an Avro file")
        textual = column.type in ("DATETIME", "JSON") or (column.type in ("DATE", "TIME") and not self.logical)
        return _text(column) if textual and not nested else name

    def _avro_fields(self, fields: Sequence[Field], path: str) -> list[dict[str, Any]]:
        return [{"name": column.name, "type": self._avro_type(column, path)} for column in fields]

    def _avro_type(self, column: Field, path: str) -> Any:
        name = f"{path}_{column.name}"
        kind: Any = {"type": "string", "sqlType": column.type}
        if column.fields:
            kind = {"type": "record", "name": name, "fields": self._avro_fields(column.fields, name)}
        elif column.type in _AVRO:
            kind = _AVRO[column.type]
        elif self.logical and column.type in _AVRO_LOGICAL:
            kind = _AVRO_LOGICAL[column.type]
        if column.mode == "REPEATED":
            return {"type": "array", "items": kind}
        return kind if column.mode == "REQUIRED" else ["null", kind]


def _rows(connection: duckdb.DuckDBPyConnection, sql: str) -> Iterator[dict[str, Any]]:
    for batch in connection.execute(sql).to_arrow_reader(_BATCH):
        yield from batch.to_pylist()


def _path(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def _leaves(column: Field) -> Iterator[Field]:
    if not column.fields:
        yield column
    for child in column.fields:
        yield from _leaves(child)


def _text(column: Field) -> str:
    """Return the expression for a value as a CSV file writes it."""
    return scalar_text(column.type, quoted(column.name))


def scalar_text(kind: str, value: str) -> str:
    """Return the DuckDB expression for the text of a value, as BigQuery's exports write it."""
    if kind == "BYTES":
        return f"to_base64({value})"
    if kind == "TIMESTAMP":
        return f"{_moment(f'CAST({value} AS TIMESTAMP)', ' ')} || ' UTC'"
    if kind == "DATETIME":
        return _moment(value, "T")
    if kind == "NUMERIC":
        return f"regexp_replace(regexp_replace(CAST({value} AS VARCHAR), '(\\.\\d*?)0+$', '\\1'), '\\.$', '')"
    if kind == "FLOAT64":
        return f"CASE WHEN isnan({value}) THEN 'NaN' ELSE replace(CAST({value} AS VARCHAR), 'inf', 'Infinity') END"
    return f"CAST({value} AS VARCHAR)"


def _moment(value: str, separator: str) -> str:
    """Return the expression for a date and time with as many fractional digits (0, 3 or 6) as it needs."""
    whole = f"%Y-%m-%d{separator}%H:%M:%S"
    micros = f"epoch_us({value}) % 1000000"
    return (
        f"CASE WHEN {micros} = 0 THEN strftime({value}, '{whole}')"
        f" WHEN {micros} % 1000 = 0 THEN strftime({value}, '{whole}.%g') ELSE strftime({value}, '{whole}.%f') END"
    )


def _json_value(column: Field, name: str) -> str:
    """Return the expression for a value as JSON files have it: what Python's ``json`` then writes rightly."""
    if column.fields or column.mode == "REPEATED":
        if any(field.type not in ("STRING", "BOOL", "FLOAT64", "INT64") for field in _leaves(column)):
            raise JobError("notImplemented", f"The local cloud does not implement field {column.name} in a JSON file")
        return name
    return name if column.type in ("STRING", "BOOL", "FLOAT64", "INT64") else scalar_text(column.type, name)


def _without_nulls(row: Mapping[str, Any], fields: Sequence[Field]) -> dict[str, Any]:
    return {column.name: _plain(row[column.name], column) for column in fields if row[column.name] is not None}


def _plain(value: Any, column: Field) -> Any:
    if isinstance(value, list):
        return [_plain(element, column) for element in value]
    if isinstance(value, dict):
        return _without_nulls(value, column.fields)
    if column.type == "INT64":
        return str(value)  # JSON's numbers do not hold 64 bits
    if column.type == "JSON":
        return json.loads(value)
    if column.type == "FLOAT64" and not math.isfinite(value):
        return {"inf": "Infinity", "-inf": "-Infinity"}.get(str(value), "NaN")
    return value
