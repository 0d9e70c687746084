"""Avro files into a table.

Reference: https://cloud.google.com/bigquery/docs/loading-data-cloud-storage-avro#avro_conversions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb
import fastavro

from pydag_gcp.local.bigquery.job import JobError
from pydag_gcp.local.bigquery.json_loads import append
from pydag_gcp.local.bigquery.load_sources import BadRows, Source
from pydag_gcp.local.bigquery.parquet_loads import check_columns
from pydag_gcp.local.googlesql.types import Field

_BATCH = 10_000
_PRIMITIVES = {
    "boolean": "BOOL", "int": "INT64", "long": "INT64", "float": "FLOAT64", "double": "FLOAT64", "bytes": "BYTES",
    "string": "STRING", "enum": "STRING", "fixed": "BYTES",
}  # fmt: skip
_LOGICAL = {
    "date": "DATE", "time-millis": "TIME", "time-micros": "TIME", "timestamp-millis": "TIMESTAMP",
    "timestamp-micros": "TIMESTAMP", "local-timestamp-millis": "DATETIME", "local-timestamp-micros": "DATETIME",
    "decimal": "NUMERIC", "uuid": "STRING",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class AvroFormat:
    """How Avro files are read.

    Attributes:
        spool: Not used: Avro files are read where they are.
        logical: Whether logical types are read as such (useAvroLogicalTypes).
    """

    spool: Path
    logical: bool

    def columns(self, source: Source, spool: Path) -> Sequence[Field]:
        """Return the columns of a file.

        Raises:
            JobError: It is no Avro file, or has a column that the local cloud does not hold.
        """
        with source.path.open("rb") as file:
            try:
                schema: Any = fastavro.reader(file).writer_schema
            except (ValueError, EOFError, StopIteration) as error:
                raise source.error(f"The Apache Avro library failed to read the file: {error}.") from None
        if not isinstance(schema, dict) or schema.get("type") != "record":
            raise source.error("The root of an Avro file's schema must be a record.")
        return self._members(source, schema)

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
            JobError: Its columns are not those, or it is damaged.
        """
        check_columns(source, self.columns(source, self.spool), columns)
        names = {column.name.lower(): column.name for column in columns}
        loaded = 0
        with source.path.open("rb") as file:
            records = iter(fastavro.reader(file))
            try:
                while batch := list(islice(records, _BATCH)):
                    rows = [{names[key.lower()]: value for key, value in record.items()} for record in batch]  # type: ignore[union-attr]
                    loaded += append(connection, storage, columns, rows)
            except (ValueError, EOFError) as error:
                raise source.error(f"The Apache Avro library failed to read data: {error}.") from error
        return loaded

    def _members(self, source: Source, record: dict[str, Any]) -> tuple[Field, ...]:
        return tuple(self._column(source, member["name"], member["type"]) for member in record["fields"])

    def _column(self, source: Source, name: str, kind: Any) -> Field:
        mode = "REQUIRED"
        if isinstance(kind, list):
            others = [branch for branch in kind if branch != "null"]
            if len(others) != 1 or len(kind) != 2:
                raise _refused(source, name, "a union of several types")
            (kind,), mode = others, "NULLABLE"
        word = kind["type"] if isinstance(kind, dict) else kind
        if word == "array":
            element = self._column(source, name, kind["items"])
            if element.mode == "REPEATED":
                raise _refused(source, name, "an array of arrays")
            return Field(name=name, type=element.type, mode="REPEATED", fields=element.fields)
        if word == "record":
            return Field(name=name, type="STRUCT", mode=mode, fields=self._members(source, kind))
        return Field(name=name, type=self._scalar(source, name, kind, word), mode=mode)

    def _scalar(self, source: Source, name: str, kind: Any, word: str) -> str:
        logical = kind.get("logicalType") if isinstance(kind, dict) else None
        if logical is not None and not self.logical and logical != "uuid":
            raise _refused(source, name, f"{logical} without useAvroLogicalTypes")
        found = _LOGICAL.get(logical) if logical is not None else _PRIMITIVES.get(word)
        if found is None:
            raise _refused(source, name, str(logical or word))
        if logical == "decimal" and (kind.get("scale", 0) > 9 or kind["precision"] - kind.get("scale", 0) > 29):
            raise _refused(source, name, "a decimal that only a BIGNUMERIC holds")
        return found


def _refused(source: Source, name: str, what: str) -> JobError:
    message = f"The local cloud does not implement {what} in an Avro file (field {name}).{source.place}"
    return JobError("notImplemented", message, location=source.uri)
