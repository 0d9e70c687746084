"""Partitioned tables: what a specification may say, and which rows a decorator such as ``table$20220101`` means.

Reference: https://cloud.google.com/bigquery/docs/partitioned-tables and
https://cloud.google.com/bigquery/docs/managing-partitioned-table-data#partition-decorators.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydag_gcp.local.googlesql.types import Field, quoted
from pydag_gcp.local.http import ApiError, not_implemented

_UNITS = {"HOUR": r"\d{10}", "DAY": r"\d{8}", "MONTH": r"\d{6}", "YEAR": r"\d{4}"}
_TIME_TYPES = ("DATE", "DATETIME", "TIMESTAMP")
_UNCLUSTERED = ("FLOAT64", "BYTES", "TIME", "JSON", "STRUCT")
_MOST_CLUSTERING_COLUMNS = 4


@dataclass(frozen=True, kw_only=True)
class Partitions:
    """How a table is partitioned: by a column's time ``unit``, or by ranges of an integer (unit ``RANGE``)."""

    column: Field
    unit: str
    start: int = 0
    end: int = 0
    interval: int = 1

    @classmethod
    def of(cls, body: Mapping[str, Any], fields: Sequence[Field]) -> Partitions | None:
        """Return how a table of that body and those columns is partitioned; None: it is not."""
        time, ranges = body.get("timePartitioning"), body.get("rangePartitioning")
        if not time and not ranges:
            return None
        wanted = str((time or ranges or {}).get("field") or "")
        column = next((column for column in fields if column.name.lower() == wanted.lower()), None)
        if column is None:
            return None
        if time:
            return cls(column=column, unit=str(time.get("type") or "DAY").upper())
        limits = (ranges or {}).get("range", {})
        start, end, interval = (int(limits[key]) for key in ("start", "end", "interval"))
        return cls(column=column, unit="RANGE", start=start, end=end, interval=interval)

    @property
    def identity(self) -> str:
        """A DuckDB expression: the partition id of a row (``20220101``, ``__NULL__``...)."""
        name = quoted(self.column.name)
        if self.unit == "RANGE":
            place = f"{name} - ({name} - {self.start}) % {self.interval}"
            inside = f"{name} >= {self.start} AND {name} < {self.end}"
            found = f"CASE WHEN {inside} THEN CAST({place} AS VARCHAR) ELSE '__UNPARTITIONED__' END"
        else:
            pattern = {"HOUR": "%Y%m%d%H", "DAY": "%Y%m%d", "MONTH": "%Y%m", "YEAR": "%Y"}[self.unit]
            found = f"strftime(CAST({name} AS TIMESTAMP), '{pattern}')"
        return f"CASE WHEN {name} IS NULL THEN '__NULL__' ELSE {found} END"

    def condition(self, partition: str) -> str:
        """Return the DuckDB condition that holds for the rows of one partition.

        Raises:
            ApiError: 400: the text names no partition of this table.
        """
        legal = partition == "__NULL__" or (
            re.fullmatch(r"-?\d+|__UNPARTITIONED__", partition)
            if self.unit == "RANGE"
            else re.fullmatch(_UNITS[self.unit], partition)
        )
        if not legal:
            message = f"Invalid partition id '{partition}' for a table partitioned by {self.unit} of {self.column.name}"
            raise ApiError(400, "invalid", message)
        return f"({self.identity}) = '{partition}'"


def check_partitioning(body: Mapping[str, Any], fields: Sequence[Field]) -> None:
    """Refuse a specification that BigQuery or the local cloud does not take.

    Raises:
        ApiError: 400 for an illegal one, 501 for ingestion time.
    """
    types = {column.name.lower(): column for column in fields}
    time, ranges = body.get("timePartitioning"), body.get("rangePartitioning")
    if time and ranges:
        raise ApiError(400, "invalid", "Only one of timePartitioning and rangePartitioning should be specified")
    if time:
        _check_time(time, types)
    if ranges:
        _check_range(ranges, types)
    if body.get("requirePartitionFilter") and not (time or ranges):
        raise ApiError(400, "invalid", "Require partition filter is only supported on partitioned tables")
    _check_clustering(body.get("clustering"), types)


def _check_time(time: Mapping[str, Any], types: Mapping[str, Field]) -> None:
    if not time.get("field"):
        raise not_implemented("partitioning by ingestion time (name a column in timePartitioning.field)")
    if time.get("expirationMs"):
        raise not_implemented("expiration of partitions (timePartitioning.expirationMs, partition_expiration_days)")
    column = _column(time, types, "timePartitioning")
    unit = str(time.get("type") or "").upper()
    if unit not in _UNITS:
        raise ApiError(400, "invalid", f"Invalid time partitioning type '{unit}'; it is one of {', '.join(_UNITS)}")
    if column.type not in _TIME_TYPES or column.mode == "REPEATED" or (unit == "HOUR" and column.type == "DATE"):
        message = (
            f"The field specified for time partitioning can only be of type {', '.join(_TIME_TYPES)}; the type found "
            f"is: {column.type} for partitioning by {unit} (field: {column.name})"
        )
        raise ApiError(400, "invalid", message)


def _check_range(ranges: Mapping[str, Any], types: Mapping[str, Field]) -> None:
    column = _column(ranges, types, "rangePartitioning")
    limits = ranges.get("range") or {}
    missing = [key for key in ("start", "end", "interval") if key not in limits]
    if missing:
        raise ApiError(400, "required", f"Required parameter is missing: rangePartitioning.range.{missing[0]}")
    if int(limits["interval"]) <= 0 or int(limits["start"]) >= int(limits["end"]):
        raise ApiError(400, "invalid", "rangePartitioning.range: start must be below end, and interval above 0")
    if column.type != "INT64" or column.mode == "REPEATED":
        message = f"The field specified for range partitioning must be INTEGER; field {column.name} is {column.type}"
        raise ApiError(400, "invalid", message)


def _column(specification: Mapping[str, Any], types: Mapping[str, Field], what: str) -> Field:
    name = str(specification.get("field") or "")
    if name.lower() not in types:
        message = f"The field specified for partitioning cannot be found in the schema: {name} ({what}.field)"
        raise ApiError(400, "invalid", message)
    return types[name.lower()]


def _check_clustering(clustering: Mapping[str, Any] | None, types: Mapping[str, Field]) -> None:
    names = list((clustering or {}).get("fields") or ())
    if len(names) > _MOST_CLUSTERING_COLUMNS:
        raise ApiError(400, "invalid", f"Too many clustering columns: {len(names)}; at most {_MOST_CLUSTERING_COLUMNS}")
    for name in names:
        column = types.get(str(name).lower())
        if column is None:
            raise ApiError(400, "invalid", f"The field specified for clustering cannot be found in the schema: {name}")
        if column.type in _UNCLUSTERED or column.mode == "REPEATED":
            raise ApiError(400, "invalid", f"Clustering is not possible on field {name} of type {column.type}")


def same_specification(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Tell whether a request to write does not contradict how a table is partitioned and clustered already."""
    return all(
        not new.get(key) or _canonical(old.get(key)) == _canonical(new.get(key))
        for key in ("timePartitioning", "rangePartitioning", "clustering")
    )


def _canonical(specification: Mapping[str, Any] | None) -> object:
    if not specification:
        return None
    if "range" in specification:
        limits = {key: str(value) for key, value in specification["range"].items()}
        return str(specification.get("field")).lower(), sorted(limits.items())
    if "fields" in specification:
        return [str(name).lower() for name in specification["fields"]]
    return str(specification.get("field")).lower(), str(specification.get("type") or "DAY").upper()
