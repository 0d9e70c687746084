"""How a table is laid out: its columns, its partitions, and what happens to one that is there already."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, model_validator

from pydag_gcp.duration import Duration
from pydag_gcp.errors import did_you_mean
from pydag_gcp.model import Model
from pydag_gcp.operator import Json
from pydag_gcp.resources import Resource, Table

#: https://cloud.google.com/bigquery/docs/reference/rest/v2/Job#JobConfigurationLoad.FIELDS.write_disposition
WriteDisposition = Literal["WRITE_TRUNCATE", "WRITE_APPEND", "WRITE_EMPTY"]
CreateDisposition = Literal["CREATE_IF_NEEDED", "CREATE_NEVER"]

# https://cloud.google.com/bigquery/docs/reference/rest/v2/tables#TableFieldSchema.FIELDS.type
_TYPES = frozenset(
    {"STRING", "BYTES", "INT64", "INTEGER", "FLOAT64", "FLOAT", "NUMERIC", "BIGNUMERIC", "BOOL", "BOOLEAN", "TIMESTAMP"}
    | {"DATE", "TIME", "DATETIME", "GEOGRAPHY", "JSON", "INTERVAL", "STRUCT", "RECORD"}
)
_TYPE = re.compile(r"(?P<array>ARRAY<)?(?P<type>\w+)(?(array)>)(?P<required> NOT NULL)?")


def _known_type(value: Any) -> Any:
    if isinstance(value, str) and value.upper() not in _TYPES:
        raise ValueError(f"unknown type {value!r}; {did_you_mean(value.upper(), _TYPES) or 'see ' + _TYPES_PAGE}")
    return value.upper() if isinstance(value, str) else value


_TYPES_PAGE = "https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types"


class Column(Model):
    """A column of a table."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    name: str = Field(pattern=r"^[\w\- ]+$", max_length=300, description="Name of the column")
    type: Annotated[str, BeforeValidator(_known_type)] = Field(description="GoogleSQL type such as INT64 or STRUCT")
    mode: Literal["NULLABLE", "REQUIRED", "REPEATED"] = Field(default="NULLABLE", description="REPEATED makes an array")
    description: str | None = Field(default=None, description="What the column holds")
    fields: tuple[Column, ...] = Field(default=(), description="Columns inside a STRUCT")

    @model_validator(mode="after")
    def _struct_has_fields(self) -> Column:
        if (self.type in {"STRUCT", "RECORD"}) != bool(self.fields):
            raise ValueError(f"column {self.name!r}: a STRUCT, and nothing else, has fields")
        return self

    def to_api(self) -> dict[str, Json]:
        """https://cloud.google.com/bigquery/docs/reference/rest/v2/tables#TableFieldSchema."""
        column: dict[str, Json] = {"name": self.name, "type": self.type, "mode": self.mode}
        if self.description is not None:
            column["description"] = self.description
        if self.fields:
            column["fields"] = [field.to_api() for field in self.fields]
        return column


def _columns(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return tuple(_column(name, kind) for name, kind in value.items())


def _column(name: str, kind: Any) -> dict[str, Any]:
    found = _TYPE.fullmatch(kind) if isinstance(kind, str) else None
    if found is None or (found["array"] and found["required"]):
        raise ValueError(
            f"column {name!r}: expected a type such as 'INT64', 'DATE NOT NULL' or 'ARRAY<STRING>', got {kind!r}"
        )
    mode = "REPEATED" if found["array"] else "REQUIRED" if found["required"] else "NULLABLE"
    return {"name": name, "type": found["type"], "mode": mode}


#: Columns, or a mapping of names to types.
Columns = Annotated[
    tuple[Column, ...], BeforeValidator(_columns, json_schema_input_type=tuple[Column, ...] | dict[str, str])
]


class Partitioning(Model):
    """Partitions by time: ``Partitioning(column="day")``, or just ``"day"``."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    column: str | None = Field(default=None, description="DATE, DATETIME or TIMESTAMP column; default: time of arrival")
    granularity: Literal["HOUR", "DAY", "MONTH", "YEAR"] = Field(default="DAY", description="Span of one partition")
    expiration: Duration | None = Field(default=None, description="Partitions older than this are dropped")

    @model_validator(mode="before")
    @classmethod
    def _from_column(cls, value: Any) -> Any:
        return {"column": value} if isinstance(value, str) else value

    def to_api(self) -> dict[str, Json]:
        """https://cloud.google.com/bigquery/docs/reference/rest/v2/tables#TimePartitioning."""
        partitioning: dict[str, Json] = {"type": self.granularity}
        if self.column is not None:
            partitioning["field"] = self.column
        if self.expiration is not None:
            partitioning["expirationMs"] = str(int(self.expiration.total_seconds() * 1000))
        return partitioning


def _one_table(table: Table) -> Table:
    if "*" in table.name:
        raise ValueError(f"expected one table, got {table.table!r}")
    return table


#: One table, or one partition.
SingleTable = Annotated[Table, AfterValidator(_one_table)]
#: A table that a job writes to.
Destination = SingleTable


def reference(table: Table) -> dict[str, Json]:
    """https://cloud.google.com/bigquery/docs/reference/rest/v2/TableReference."""
    return {"projectId": table.project, "datasetId": table.dataset, "tableId": table.table.rsplit(".", 1)[-1]}


def written(destination: Table, write: WriteDisposition) -> Table:
    """A destination as what a task writes: others may write at the same time only if all append to a shared table."""
    return destination if write == "WRITE_APPEND" else Table(destination.table)


def replaced(destination: Table, write: WriteDisposition) -> frozenset[Resource]:
    """What of a destination is replaced as a whole."""
    return frozenset({destination}) if write == "WRITE_TRUNCATE" else frozenset()


#: Columns that rows are sorted by.
Clustering = Annotated[
    tuple[str, ...],
    Field(max_length=4, description="Columns that the table is clustered by, most important first (at most 4)"),
]


def layout(
    *,
    destination: Table,
    write: WriteDisposition,
    create: CreateDisposition,
    partition_by: Partitioning | None,
    cluster_by: tuple[str, ...],
) -> dict[str, Json]:
    """The part that load and query configurations have in common.

    https://cloud.google.com/bigquery/docs/reference/rest/v2/Job#JobConfiguration
    """
    part: dict[str, Json] = {
        "destinationTable": reference(destination),
        "writeDisposition": write,
        "createDisposition": create,
    }
    if partition_by is not None:
        part["timePartitioning"] = partition_by.to_api()
    if cluster_by:
        part["clustering"] = {"fields": list(cluster_by)}
    return part
