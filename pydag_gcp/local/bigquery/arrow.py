"""Columns as Arrow carries them, the way BigQuery's Storage API maps its types.

Reference: https://cloud.google.com/bigquery/docs/reference/storage#arrow_schema_details.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from pydag_gcp.local.googlesql.types import Field

_TYPES: Mapping[str, Any] = {
    "BOOL": pa.bool_(),
    "BYTES": pa.binary(),
    "DATE": pa.date32(),
    "DATETIME": pa.timestamp("us"),
    "FLOAT64": pa.float64(),
    "INT64": pa.int64(),
    "JSON": pa.string(),
    "NUMERIC": pa.decimal128(38, 9),
    "STRING": pa.string(),
    "TIME": pa.time64("us"),
    "TIMESTAMP": pa.timestamp("us", tz="UTC"),
}
#: Arrow has no such type; the client finds it here.
_EXTENSIONS = {"DATETIME": "google:sqlType:datetime", "JSON": "google:sqlType:json"}


def arrow_type(column: Field) -> pa.DataType:
    """Return the Arrow type of a column's values."""
    single = pa.struct([arrow_field(child) for child in column.fields]) if column.fields else _TYPES[column.type]
    return pa.list_(pa.field("item", single)) if column.mode == "REPEATED" else single


def arrow_field(column: Field) -> pa.Field:
    """Return a column as a field of an Arrow schema."""
    extension = _EXTENSIONS.get(column.type)
    metadata = {"ARROW:extension:name": extension} if extension and column.mode != "REPEATED" else None
    return pa.field(column.name, arrow_type(column), nullable=column.mode != "REQUIRED", metadata=metadata)


def arrow_schema(columns: Sequence[Field]) -> pa.Schema:
    """Return the Arrow schema of rows of these columns."""
    return pa.schema([arrow_field(column) for column in columns])
