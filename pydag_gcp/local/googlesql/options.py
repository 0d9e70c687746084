"""PARTITION BY, CLUSTER BY and OPTIONS of definitions.

Reference: https://cloud.google.com/bigquery/docs/reference/standard-sql/data-definition-language.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sqlglot import exp

from pydag_gcp.local.googlesql.lexical import string_value
from pydag_gcp.local.googlesql.syntax import InvalidQuery, Statement, Unsupported
from pydag_gcp.local.googlesql.types import Field
from pydag_gcp.local.googlesql.wire import decode

TABLE_OPTIONS = frozenset(
    {
        "description",
        "friendly_name",
        "labels",
        "expiration_timestamp",
        "partition_expiration_days",
        "require_partition_filter",
    }
)
SCHEMA_OPTIONS = frozenset({"description", "friendly_name", "labels", "location", "default_table_expiration_days"})
_UNITS = ("HOUR", "DAY", "MONTH", "YEAR")


@dataclass(frozen=True, kw_only=True)
class Partitioning:
    """PARTITION BY of a table.

    Attributes:
        column: The column; None for ingestion time.
        unit: HOUR, DAY, MONTH or YEAR; RANGE for RANGE_BUCKET.
        start: First value of a RANGE.
        end: First value after a RANGE.
        interval: Width of a RANGE's partition.
    """

    column: str | None
    unit: str
    start: int | None = None
    end: int | None = None
    interval: int | None = None


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """OPTIONS(...) of a table, view or schema; None: not given."""

    description: str | None = None
    friendly_name: str | None = None
    labels: Mapping[str, str] | None = None
    expiration_timestamp: dt.datetime | None = None
    partition_expiration_days: float | None = None
    require_partition_filter: bool | None = None
    location: str | None = None
    default_table_expiration_days: float | None = None


class Properties:
    """PARTITION BY, CLUSTER BY and OPTIONS of a definition.

    Args:
        statement: Where they stand.
        node: sqlglot's Properties, or None.
        known: The options that may be given.
    """

    def __init__(self, statement: Statement, node: exp.Expr | None, known: frozenset[str]) -> None:
        self.clustering: tuple[str, ...] = ()
        self._partition: exp.Expr | None = None
        self._given: dict[str, object] = {}
        for each in node.expressions if node is not None else []:
            if isinstance(each, exp.PartitionedByProperty):
                self._partition = each.this
            elif isinstance(each, exp.ClusterProperty):
                self.clustering = tuple(str(column.name) for column in each.expressions)
            elif type(each) is exp.Property:
                name, value = option(statement, each)
                if name not in known:
                    raise Unsupported(f"option {name}", *statement.place(each))
                self._given[name] = value
            else:
                words = each.sql(dialect="bigquery") or type(each).__name__
                raise Unsupported(f"{words} in a definition", *statement.place(each))

    def partitioning(self) -> Partitioning | None:
        """Return PARTITION BY."""
        return None if self._partition is None else read_partitioning(self._partition)

    def options(self) -> TableOptions:
        """Return OPTIONS."""
        given = self._given
        labels = given.get("labels")
        return TableOptions(
            description=text_option("description", given.get("description")),
            friendly_name=text_option("friendly_name", given.get("friendly_name")),
            labels=None if labels is None else _labels(labels),
            expiration_timestamp=_moment(given.get("expiration_timestamp")),
            partition_expiration_days=_number("partition_expiration_days", given),
            require_partition_filter=_flag("require_partition_filter", given),
            location=text_option("location", given.get("location")),
            default_table_expiration_days=_number("default_table_expiration_days", given),
        )


def read_partitioning(node: exp.Expr) -> Partitioning:
    """Read what follows PARTITION BY.

    Raises:
        Unsupported: An expression that we do not know.
    """
    if isinstance(node, (exp.Identifier, exp.Column)) and "." not in node.sql():
        pseudo = str(node.name).upper()
        ingestion = pseudo in ("_PARTITIONDATE", "_PARTITIONTIME")
        return Partitioning(column=None if ingestion else str(node.name), unit="DAY")
    name = str(node.name).upper() if isinstance(node, exp.Anonymous) else ""
    arguments = node.expressions if name else []
    if name == "DATE" and len(arguments) == 1:
        inner = read_partitioning(arguments[0])
        return replace(inner, unit="DAY")
    if name in ("DATE_TRUNC", "DATETIME_TRUNC", "TIMESTAMP_TRUNC") and len(arguments) == 2:
        unit = str(arguments[1].name).upper()
        if unit in _UNITS and not (name == "DATE_TRUNC" and unit == "HOUR"):
            return replace(read_partitioning(arguments[0]), unit=unit)
    if name == "RANGE_BUCKET" and len(arguments) == 2:
        return _range(arguments)
    raise Unsupported(f"PARTITION BY {node.sql(dialect='bigquery')}")


def _range(arguments: Sequence[exp.Expr]) -> Partitioning:
    column, buckets = arguments
    numbers = [_whole(each) for each in buckets.expressions]
    known = [number for number in numbers if number is not None]
    if str(buckets.name).upper() != "GENERATE_ARRAY" or len(known) < len(numbers) or len(known) not in (2, 3):
        raise Unsupported("RANGE_BUCKET without GENERATE_ARRAY of numbers")
    start, end, interval = [*known, 1][:3]
    if interval < 1 or end <= start:
        raise InvalidQuery("RANGE_BUCKET needs start < end and a positive interval")
    return Partitioning(column=str(column.name), unit="RANGE", start=start, end=end, interval=interval)


def _whole(node: exp.Expr) -> int | None:
    if isinstance(node, exp.Neg):
        inner = _whole(node.this)
        return None if inner is None else -inner
    literal = isinstance(node, exp.Literal) and not node.is_string and str(node.this).isdecimal()
    return int(str(node.this)) if literal else None


def option(statement: Statement, node: exp.Expr) -> tuple[str, object]:
    """Return name and value of one option.

    Raises:
        Unsupported: Its value is not written as a literal.
    """
    value = node.args.get("value")
    if value is None:
        raise Unsupported(f"option {node.sql(dialect='bigquery')}", *statement.place(node))
    return str(node.this.name).lower(), _constant(statement, value)


def _constant(statement: Statement, node: exp.Expr) -> object:
    """Return the value of an option, which must be written as a literal."""
    if isinstance(node, exp.Null):
        return None
    if isinstance(node, exp.Boolean):
        return bool(node.this)
    if isinstance(node, exp.RawString) or (isinstance(node, exp.Literal) and node.is_string):
        return string_value(node, statement)
    if isinstance(node, exp.Literal):
        digits = str(node.this)
        return int(digits) if digits.isdecimal() else float(digits)
    if isinstance(node, (exp.Array, exp.Tuple)):
        return [_constant(statement, each) for each in node.expressions]
    if isinstance(node, exp.Cast) and isinstance(node.this, exp.Literal):
        return string_value(node.this, statement)
    if isinstance(node, exp.Anonymous) and str(node.name).upper() == "STRUCT":
        return [_constant(statement, each) for each in node.expressions]
    words = node.sql(dialect="bigquery")
    raise Unsupported(f"the value {words} of an option, which is no literal", *statement.place(node))


def text_option(name: str, value: object) -> str | None:
    """Return the value of an option that is text.

    Raises:
        InvalidQuery: It is none.
    """
    if value is None or isinstance(value, str):
        return value
    raise InvalidQuery(f"Option {name} must be a STRING")


def _number(name: str, given: Mapping[str, object]) -> float | None:
    value = given.get(name)
    if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)):
        return value
    raise InvalidQuery(f"Option {name} must be a number")


def _flag(name: str, given: Mapping[str, object]) -> bool | None:
    value = given.get(name)
    if value is None or isinstance(value, bool):
        return value
    raise InvalidQuery(f"Option {name} must be TRUE or FALSE")


def _moment(value: object) -> dt.datetime | None:
    if value is None:
        return None
    try:
        found: dt.datetime = decode(value, Field(name="expiration_timestamp", type="TIMESTAMP"))
    except ValueError as error:
        raise InvalidQuery(f"Option expiration_timestamp: {error}") from None
    return found


def _labels(value: object) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in value if isinstance(value, list) else [None]:
        if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(part, str) for part in pair)):
            raise InvalidQuery("Option labels must be an array of pairs of STRING, such as [('team', 'etl')]")
        found[pair[0]] = pair[1]
    return found
