"""Parquet files into a table.

Reference: https://cloud.google.com/bigquery/docs/loading-data-cloud-storage-parquet#parquet_conversions.
"""

# ruff: noqa: S608  (names are quoted identifiers of our own making; values are bound)
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from pydag_gcp.local.bigquery.job import JobError
from pydag_gcp.local.bigquery.load_sources import BadRows, Source
from pydag_gcp.local.googlesql.types import Field, duckdb_type, quoted

_LEGACY = {"INT64": "INTEGER", "FLOAT64": "FLOAT", "BOOL": "BOOLEAN", "STRUCT": "RECORD"}
#: Tests of Arrow types, in order, and what BigQuery makes of them.
_SCALARS = (
    (pa.types.is_boolean, "BOOL"),
    (pa.types.is_uint64, None),
    (pa.types.is_integer, "INT64"),
    (pa.types.is_floating, "FLOAT64"),
    (pa.types.is_string, "STRING"),
    (pa.types.is_large_string, "STRING"),
    (pa.types.is_binary, "BYTES"),
    (pa.types.is_large_binary, "BYTES"),
    (pa.types.is_fixed_size_binary, "BYTES"),
    (pa.types.is_date32, "DATE"),
    (pa.types.is_time, "TIME"),
)


@dataclass(frozen=True, kw_only=True)
class ParquetFormat:
    """How Parquet files are read.

    Attributes:
        spool: Where files get a name that DuckDB does not take for a pattern.
    """

    spool: Path

    def columns(self, source: Source, spool: Path) -> Sequence[Field]:
        """Return the columns of a file.

        Raises:
            JobError: It is no Parquet file, or has a column that the local cloud does not hold.
        """
        with source.plain(spool) as path:
            try:
                schema = pq.ParquetFile(path).schema_arrow
            except (pa.ArrowInvalid, OSError) as error:
                raise source.error(f"Input file is not in Parquet format: {error}.") from None
        return [_column(source, column) for column in schema]

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
            JobError: Its columns are not those, or its values do not fit.
        """
        check_columns(source, self.columns(source, self.spool), columns)
        held = {column.name.lower() for column in self.columns(source, self.spool)}
        names = ", ".join(quoted(column.name) for column in columns)
        values = ", ".join(_value(column, held) for column in columns)
        with source.plain(self.spool) as path:
            try:
                sql = f"INSERT INTO {storage} ({names}) SELECT {values} FROM read_parquet(?)"
                row = connection.execute(sql, (str(path),)).fetchone()
            except (duckdb.ConstraintException, duckdb.ConversionException, duckdb.InvalidInputException) as error:
                raise source.error(str(error)) from error
        return int(row[0]) if row else 0


def _value(column: Field, held: set[str]) -> str:
    kind = duckdb_type(column)
    if column.name.lower() not in held:
        return f"CAST(NULL AS {kind})"
    value = f"CAST({quoted(column.name)} AS {kind})"
    return f"coalesce({value}, [])" if column.mode == "REPEATED" else value


def check_columns(source: Source, found: Sequence[Field], wanted: Sequence[Field]) -> None:
    """Refuse a file whose columns do not go with the ones it is loaded into.

    Raises:
        JobError: Naming the file and the column.
    """
    start = "Provided schema is not compatible with the file."
    columns = {column.name.lower(): column for column in wanted}
    for column in found:
        expected = columns.pop(column.name.lower(), None)
        if expected is None:
            raise source.error(f"{start} The file has a field '{column.name}' that the schema has not.")
        if (expected.type, expected.mode == "REPEATED") != (column.type, column.mode == "REPEATED"):
            kinds = [_LEGACY.get(kind, kind) for kind in (expected.type, column.type)]
            raise source.error(
                f"{start} Field '{column.name}' is specified as {kinds[0]} in provided schema which does not match "
                f"{kinds[1]} as specified in the file."
            )
    for column in columns.values():
        if column.mode == "REQUIRED":
            raise source.error(f"{start} Required field '{column.name}' is missing in the file.")


def _column(source: Source, column: pa.Field) -> Field:
    kind, mode = column.type, "NULLABLE"
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        # Without parquetOptions.enableListInference BigQuery makes a RECORD of it that holds a repeated "element".
        raise _refused(source, column, "a LIST")
    if pa.types.is_struct(kind):
        children = tuple(_column(source, kind.field(place)) for place in range(kind.num_fields))
        return Field(name=column.name, type="STRUCT", mode=mode, fields=children)
    return Field(name=column.name, type=_scalar(source, column, kind), mode=mode)


def _scalar(source: Source, column: pa.Field, kind: pa.DataType) -> str:
    if pa.types.is_timestamp(kind):
        return "TIMESTAMP" if kind.tz is not None else "DATETIME"
    if pa.types.is_decimal(kind):
        if kind.scale > 9 or kind.precision - kind.scale > 29:
            raise _refused(source, column, f"{kind}, a BIGNUMERIC")
        return "NUMERIC"
    found = next((name for test, name in _SCALARS if test(kind)), None)
    if found is None:
        raise _refused(source, column, str(kind))
    return found


def _refused(source: Source, column: pa.Field, what: str) -> JobError:
    message = f"The local cloud does not implement a Parquet column of type {what} (field {column.name}).{source.place}"
    return JobError("notImplemented", message, location=source.uri)
