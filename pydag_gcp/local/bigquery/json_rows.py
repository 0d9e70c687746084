"""Rows that come as JSON objects, checked against a table's columns.

Reference: https://cloud.google.com/bigquery/docs/loading-data-cloud-storage-json.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydag_gcp.local.googlesql.types import Field
from pydag_gcp.local.googlesql.wire import decode


class BadRow(ValueError):
    """A row that does not fit its table.

    Args:
        place: The field to blame, dotted.
        message: What is wrong with it.
    """

    def __init__(self, place: str, message: str) -> None:
        super().__init__(message)
        self.place = place
        self.message = message


def python_row(
    row: object, columns: Sequence[Field], *, ignore_unknown: bool = False, prefix: str = ""
) -> dict[str, Any]:
    """Convert a JSON object to the values that Arrow takes for these columns.

    Args:
        row: The object.
        columns: The table's columns, or a STRUCT's fields.
        ignore_unknown: Drop what is no column, instead of refusing it.
        prefix: Where in the row it is.

    Raises:
        BadRow: It does not fit.
    """
    if not isinstance(row, Mapping):
        raise BadRow(prefix.rstrip("."), f"This field: {prefix.rstrip('.') or 'the row'} is not a record.")
    given = {str(name).lower(): value for name, value in row.items()}
    if not ignore_unknown and len(given) > sum(column.name.lower() in given for column in columns):
        known = {column.name.lower() for column in columns}
        name = next(name for name in row if str(name).lower() not in known)
        raise BadRow(prefix + name, f"no such field: {prefix}{name}.")
    return {
        column.name: _value(given.get(column.name.lower()), column, prefix + column.name, ignore_unknown)
        for column in columns
    }


def _value(value: object, column: Field, place: str, ignore_unknown: bool) -> Any:  # noqa: FBT001
    if column.mode == "REPEATED":
        if value is None:
            return []
        if not isinstance(value, list):
            raise BadRow(place, f"Repeated field must be imported as a JSON array. Field: {place}.")
        if any(element is None for element in value):
            raise BadRow(place, f"Only optional fields can be set to NULL. Field: {place}; Value: NULL")
        return [_single(element, column, place, ignore_unknown) for element in value]
    if value is None:
        if column.mode == "REQUIRED":
            raise BadRow(place, f"Missing required field: {place}.")
        return None
    if isinstance(value, list) and column.type != "JSON":
        raise BadRow(place, f"Array specified for non-repeated field: {place}.")
    return _single(value, column, place, ignore_unknown)


def _single(value: Any, column: Field, place: str, ignore_unknown: bool) -> Any:  # noqa: FBT001
    if column.type == "STRUCT":
        return python_row(value, column.fields, ignore_unknown=ignore_unknown, prefix=f"{place}.")
    try:
        return decode(value, column)
    except ValueError as error:
        raise BadRow(place, f"Could not convert value to {column.type.lower()}. Field: {place}; {error}") from None
