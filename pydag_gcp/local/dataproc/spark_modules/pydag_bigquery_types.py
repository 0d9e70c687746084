"""BigQuery's types and Spark's, both ways.

Contract: https://github.com/GoogleCloudDataproc/spark-bigquery-connector#data-types.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pyspark.sql import types as spark

if TYPE_CHECKING:
    from google.cloud.bigquery import SchemaField

_TO_SPARK: dict[str, spark.DataType] = {
    "INTEGER": spark.LongType(),
    "INT64": spark.LongType(),
    "FLOAT": spark.DoubleType(),
    "FLOAT64": spark.DoubleType(),
    "BOOLEAN": spark.BooleanType(),
    "BOOL": spark.BooleanType(),
    "STRING": spark.StringType(),
    "BYTES": spark.BinaryType(),
    "DATE": spark.DateType(),
    "TIMESTAMP": spark.TimestampType(),
    "DATETIME": spark.TimestampNTZType(),
    "TIME": spark.LongType(),
    "JSON": spark.StringType(),
    "GEOGRAPHY": spark.StringType(),
}

_TO_BIGQUERY: dict[type[spark.DataType], str] = {
    spark.ByteType: "INTEGER",
    spark.ShortType: "INTEGER",
    spark.IntegerType: "INTEGER",
    spark.LongType: "INTEGER",
    spark.FloatType: "FLOAT",
    spark.DoubleType: "FLOAT",
    spark.BooleanType: "BOOLEAN",
    spark.StringType: "STRING",
    spark.CharType: "STRING",
    spark.VarcharType: "STRING",
    spark.BinaryType: "BYTES",
    spark.DateType: "DATE",
    spark.TimestampType: "TIMESTAMP",
    spark.TimestampNTZType: "DATETIME",
}

#: The default parameters and the limits of NUMERIC:
#: https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types#decimal_types
_NUMERIC = (38, 9)
_NUMERIC_INTEGER_DIGITS = 29


def to_spark(fields: Sequence[SchemaField], *, maps: bool = True) -> spark.StructType:
    """Return the Spark schema of a BigQuery table.

    Args:
        fields: The table's columns.
        maps: Whether the connector would make a map of an array of keys and values.

    Raises:
        ValueError: A column that the local cloud does not read, by name.
    """
    return spark.StructType([_field_to_spark(field, field.name, maps=maps) for field in fields])


def _field_to_spark(field: SchemaField, path: str, *, maps: bool) -> spark.StructField:
    kind = _type_to_spark(field, path, maps=maps)
    if field.mode == "REPEATED":
        if maps and isinstance(kind, spark.StructType) and {part.lower() for part in kind.names} == {"key", "value"}:
            raise ValueError(
                f"bigquery column '{path}' is an ARRAY<STRUCT<key, value>>, which the connector reads as a map: not"
                " implemented by the local cloud; set option 'allowMapTypeConversion' to false"
            )
        return spark.StructField(field.name, spark.ArrayType(kind, containsNull=False), nullable=True)
    return spark.StructField(field.name, kind, nullable=field.mode != "REQUIRED")


def _type_to_spark(field: SchemaField, path: str, *, maps: bool) -> spark.DataType:
    if field.field_type in {"RECORD", "STRUCT"}:
        parts = [_field_to_spark(part, f"{path}.{part.name}", maps=maps) for part in field.fields]
        return spark.StructType(parts)
    if field.field_type in {"NUMERIC", "BIGNUMERIC"}:
        default = _NUMERIC if field.field_type == "NUMERIC" else (None, None)
        precision, scale = field.precision or default[0], field.scale if field.precision else default[1]
        if precision is None or precision > _NUMERIC[0]:
            raise ValueError(f"bigquery column '{path}': BIGNUMERIC is wider than Spark's decimals")
        return spark.DecimalType(precision, scale or 0)
    if field.field_type not in _TO_SPARK:
        raise ValueError(f"bigquery column '{path}': {field.field_type} is not implemented by the local cloud")
    return _TO_SPARK[field.field_type]


def to_bigquery(schema: spark.StructType) -> list[dict[str, object]]:
    """Return the BigQuery schema of a DataFrame, as the API writes it.

    Raises:
        ValueError: A column that the local cloud does not write, by name.
    """
    return [_field_to_bigquery(field, field.name) for field in schema.fields]


def _field_to_bigquery(field: spark.StructField, path: str) -> dict[str, object]:
    made: dict[str, object] = {"name": field.name, "mode": "NULLABLE" if field.nullable else "REQUIRED"}
    kind = field.dataType
    if isinstance(kind, spark.StructType):
        parts = [_field_to_bigquery(part, f"{path}.{part.name}") for part in kind.fields]
        return {**made, "type": "RECORD", "fields": parts}
    if isinstance(kind, spark.DecimalType):
        if kind.scale > _NUMERIC[1] or kind.precision - kind.scale > _NUMERIC_INTEGER_DIGITS:
            raise ValueError(f"column '{path}': {kind.simpleString()} does not fit NUMERIC; cast it to DECIMAL(38, 9)")
        if (kind.precision, kind.scale) == _NUMERIC:
            return {**made, "type": "NUMERIC"}
        return {**made, "type": "NUMERIC", "precision": str(kind.precision), "scale": str(kind.scale)}
    if type(kind) not in _TO_BIGQUERY:
        raise ValueError(f"column '{path}': the local cloud does not write {kind.simpleString()} to BigQuery")
    return {**made, "type": _TO_BIGQUERY[type(kind)]}
