"""How many logical bytes a table's columns hold, which is what BigQuery bills by.

Reference: https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types#data_type_sizes and
https://cloud.google.com/bigquery/pricing#on_demand_pricing.
"""

# ruff: noqa: S608  (names are quoted identifiers of our own making; values are bound)
from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from threading import Lock

import duckdb

from pydag_gcp.local.bigquery.catalogue import Table
from pydag_gcp.local.googlesql.types import Field, quoted

_FIXED = {"BOOL": 1, "INT64": 8, "FLOAT64": 8, "DATE": 8, "DATETIME": 8, "TIME": 8, "TIMESTAMP": 8, "NUMERIC": 16}
_REMEMBERED = 1000
_MEGABYTE = 1 << 20


class Sizes:
    """Sizes of columns; computed once per version of a table."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._known: OrderedDict[tuple[str, int], Mapping[str, int]] = OrderedDict()

    def columns(self, connection: duckdb.DuckDBPyConnection, table: Table) -> Mapping[str, int]:
        """Return the logical bytes of each column of a table, by lower-case name; none for a view."""
        if table.storage is None or not table.fields:
            return {}
        key = (table.storage, table.modified)
        with self._lock:
            known = self._known.get(key)
        if known is None:
            sums = ", ".join(f"coalesce(sum({_size(column)}), 0)" for column in table.fields)
            row = connection.execute(f"SELECT {sums} FROM {table.storage}").fetchone() or ()
            names = (column.name.lower() for column in table.fields)
            known = {name: int(size) for name, size in zip(names, row, strict=True)}
            with self._lock:
                self._known[key] = known
                if len(self._known) > _REMEMBERED:
                    self._known.popitem(last=False)
        return known

    def total(self, connection: duckdb.DuckDBPyConnection, table: Table) -> int:
        """Return the logical bytes of a table."""
        return sum(self.columns(connection, table).values())


def billed(sizes: Iterable[int]) -> int:
    """Return the bytes billed for reading that much of each table: whole megabytes, at least ten a table."""
    return sum(max(10, -(-size // _MEGABYTE)) * _MEGABYTE for size in sizes if size)


def _size(column: Field) -> str:
    name = quoted(column.name)
    if column.mode == "REPEATED":
        single = _value_size(column, "x")
        return f"coalesce(list_sum(list_transform({name}, lambda x: {single})), 0)"
    return _value_size(column, name)


def _value_size(column: Field, value: str) -> str:
    if column.type == "STRUCT":
        parts = [_member_size(child, value) for child in column.fields]
        return f"CASE WHEN {value} IS NULL THEN 0 ELSE {' + '.join(parts)} END"
    if column.type in _FIXED:
        return f"CASE WHEN {value} IS NULL THEN 0 ELSE {_FIXED[column.type]} END"
    length = f"octet_length({value})" if column.type == "BYTES" else f"strlen(CAST({value} AS VARCHAR))"
    return f"coalesce(2 + {length}, 0)"


def _member_size(child: Field, value: str) -> str:
    member = f"{value}.{quoted(child.name)}"
    if child.mode == "REPEATED":
        inner = f"y{len(value)}"  # unlike the names of the lambdas around it
        return f"coalesce(list_sum(list_transform({member}, lambda {inner}: {_value_size(child, inner)})), 0)"
    return _value_size(child, member)
