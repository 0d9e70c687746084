"""Values as text, the way CSV files write them, turned into stored values by DuckDB.

One set of SQL expressions is all there is: the quick way to load a file and the careful one both use it, so they
cannot disagree about a value.

Reference: https://cloud.google.com/bigquery/docs/loading-data-cloud-storage-csv#data_types.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydag_gcp.local.googlesql.types import Field
from pydag_gcp.local.http import not_implemented

_NUMBER = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"
_DAY = r"(?:000[1-9]|00[1-9][0-9]|0[1-9][0-9]{2}|[1-9][0-9]{3})[-]\d{2}[-]\d{2}"
_HOUR = r"([01]?\d|2[0-3])"
_CLOCK = rf"{_HOUR}:\d{{2}}(:\d{{2}}(\.\d{{1,6}})?)?"
_ZONE = r" ?(Z|UTC|[+-]\d{1,2}(:\d{2})?)"
_SLASHED = _DAY.replace("[-]", "[-/]")

_TRUE = "'true', 't', 'yes', 'y', '1'"
_FALSE = "'false', 'f', 'no', 'n', '0'"


@dataclass(frozen=True, kw_only=True)
class _Rule:
    """How texts of one type are read: those that match ``pattern`` by ``value``, NULL from which means unreadable."""

    pattern: str | None
    value: str


_RULES: Mapping[str, _Rule] = {
    "STRING": _Rule(pattern=None, value="{x}"),
    "INT64": _Rule(pattern=r"[+-]?[0-9]+", value="TRY_CAST({x} AS BIGINT)"),
    "FLOAT64": _Rule(
        pattern=rf"(?i){_NUMBER}|nan|[+-]?inf(inity)?",
        # A number too large for a FLOAT64 is unreadable, not infinite.
        value=(
            "CASE WHEN isinf(TRY_CAST({x} AS DOUBLE)) AND NOT contains(lower({x}), 'inf') THEN NULL"
            " ELSE TRY_CAST({x} AS DOUBLE) END"
        ),
    ),
    "NUMERIC": _Rule(pattern=_NUMBER, value="TRY_CAST({x} AS DECIMAL(38,9))"),
    "BOOL": _Rule(
        pattern=None,
        value=f"CASE WHEN lower({{x}}) IN ({_TRUE}) THEN true WHEN lower({{x}}) IN ({_FALSE}) THEN false END",
    ),
    "BYTES": _Rule(pattern=r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?", value="from_base64({x})"),
    "DATE": _Rule(pattern=_DAY, value="TRY_CAST({x} AS DATE)"),
    "DATETIME": _Rule(pattern=rf"{_DAY}([ T]{_CLOCK})?", value="TRY_CAST({x} AS TIMESTAMP)"),
    "TIME": _Rule(pattern=rf"{_HOUR}:\d{{2}}:\d{{2}}(\.\d{{1,6}})?", value="TRY_CAST({x} AS TIME)"),
    "TIMESTAMP": _Rule(
        pattern=rf"{_SLASHED}([ T]{_CLOCK}({_ZONE})?)?|-?[0-9]+(\.[0-9]+)?",
        # A number is seconds since the epoch. DuckDB wants no space before an offset, and two digits of hours in it.
        value=(
            r"CASE WHEN regexp_full_match({x}, '-?[0-9]+(\.[0-9]+)?')"
            r" THEN CASE WHEN abs(TRY_CAST({x} AS DOUBLE)) < 253402300800"
            r" THEN CAST(make_timestamp(CAST(TRY_CAST({x} AS DECIMAL(24, 6)) * 1000000 AS BIGINT)) AS TIMESTAMPTZ) END"
            r" ELSE TRY_CAST(regexp_replace(regexp_replace(regexp_replace(replace({x}, '/', '-'),"
            r" ' ?(Z|UTC)$', '+00:00'), ' ([+-])', '\1'), '([+-])(\d)(:\d\d)?$', '\10\2\3') AS TIMESTAMPTZ) END"
        ),
    ),
    "JSON": _Rule(pattern=None, value="CASE WHEN json_valid({x}) THEN CAST({x} AS JSON) END"),
}


def stored_value(column: Field, text: str) -> str:
    """Return the DuckDB expression for the value that a text stands for; NULL where it stands for none.

    Args:
        column: The column it goes to.
        text: A DuckDB expression of type VARCHAR that is not NULL.

    Raises:
        ApiError: 501: texts do not hold values of such columns.
    """
    rule = _RULES.get(column.type)
    if rule is None or column.mode == "REPEATED":
        raise not_implemented(f"a {column.mode} {column.type} column in a CSV file (field {column.name})")
    value = rule.value.format(x=text)
    if rule.pattern is None:
        return value
    return f"CASE WHEN regexp_full_match({text}, '{rule.pattern}') THEN {value} END"
