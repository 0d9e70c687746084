"""Values as the REST API sends and accepts them.

Reference: https://cloud.google.com/bigquery/docs/reference/rest/v2/jobs/getQueryResults (rows),
https://cloud.google.com/bigquery/docs/reference/rest/v2/QueryParameter and
https://cloud.google.com/bigquery/docs/reference/rest/v2/tabledata/insertAll.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation, localcontext
from typing import Any

from pydag_gcp.local.googlesql.syntax import InvalidQuery, Unsupported
from pydag_gcp.local.googlesql.types import Field, Type, UnsupportedType, array, member_names, standard_name

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)
_INT64 = range(-(2**63), 2**63)
_DAY = r"(\d{4})-(\d{1,2})-(\d{1,2})"
_CLOCK = r"(\d{1,2}):(\d{1,2}):(\d{1,2})(?:\.(\d{1,6})\d*)?"
_DATE = re.compile(_DAY, re.ASCII)
_TIME = re.compile(_CLOCK, re.ASCII)
_MOMENT = re.compile(rf"{_DAY}(?:[ Tt]{_CLOCK})?\s*(Z|z|UTC|([+-])(\d{{1,2}})(?::?(\d{{2}}))?)?", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf(inity)?|nan", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A query parameter: its name (None: positional), its type and its value as Python sees it."""

    name: str | None
    type: Type
    value: object


def encode(value: object, field: Field, *, int64_timestamps: bool = False) -> Any:
    """Return what the REST API puts under ``"v"`` for a value of column ``field``.

    Args:
        value: The value as Arrow's ``to_pylist()`` gives it (an aware datetime or int microseconds for a TIMESTAMP,
            a naive one for a DATETIME, bytes, Decimal, list, dict...). DuckDB's own fetch needs pytz for TIMESTAMP
            columns, hence read through Arrow.
        field: The column.
        int64_timestamps: As ``formatOptions.useInt64Timestamp``: microseconds instead of float seconds.
    """
    if field.mode == "REPEATED":
        elements = value if isinstance(value, (list, tuple)) else ()
        return [{"v": _encode_one(element, field, int64_timestamps)} for element in elements]
    return _encode_one(value, field, int64_timestamps)


def _encode_one(value: Any, field: Field, int64_timestamps: bool) -> Any:  # noqa: FBT001  (passed on)
    if value is None:
        return None
    if field.type == "STRUCT":
        return {"f": [{"v": encode(value.get(f.name), f, int64_timestamps=int64_timestamps)} for f in field.fields]}
    if field.type == "TIMESTAMP":
        micros = microseconds(value)
        whole, rest = divmod(abs(micros), 10**6)
        return str(micros) if int64_timestamps else f"{'-' if micros < 0 else ''}{whole}.{rest:06d}"
    return _ENCODERS.get(field.type, str)(value)


def microseconds(value: object) -> int:
    """Return a TIMESTAMP as microseconds since 1970."""
    if isinstance(value, dt.datetime):
        return (value - _EPOCH) // _MICROSECOND
    if isinstance(value, int):
        return value
    raise TypeError(f"a TIMESTAMP is a datetime or microseconds, not {type(value).__name__}")


def float_text(value: float) -> str:
    """Return a FLOAT64 the way the API writes it."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return repr(value)


def numeric_text(value: Decimal) -> str:
    """Return a NUMERIC without zeros that say nothing."""
    plain = f"{value:f}"
    plain = plain.rstrip("0").rstrip(".") if "." in plain else plain
    return "0" if plain in ("-0", "") else plain


_ENCODERS: Mapping[str, Callable[[Any], str]] = {
    "INT64": str,
    "FLOAT64": lambda value: float_text(float(value)),
    "BOOL": lambda value: "true" if value else "false",
    "STRING": str,
    "BYTES": lambda value: base64.b64encode(value).decode("ascii"),
    "DATE": lambda value: value.isoformat(),
    "DATETIME": lambda value: value.isoformat(),
    "TIME": lambda value: value.isoformat(),
    "NUMERIC": numeric_text,
    "JSON": str,
}


def decode(value: object, field: Field) -> Any:
    """Return the Python value of a JSON value sent by ``tabledata.insertAll``, to be bound for a column of that type.

    The mode of the column is the caller's matter: ``value`` is one element.

    Raises:
        ValueError: The value does not fit the column.
    """
    if value is None:
        return None
    try:
        return _DECODERS[field.type](value)
    except (ValueError, OverflowError, InvalidOperation, binascii.Error) as error:
        shown = str(value) if len(str(value)) <= 60 else f"{str(value)[:57]}..."
        raise ValueError(f"Value: {shown} ({error})") from None


def _integer(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError("not an integer")  # noqa: TRY004  (whatever its type, it does not fit)
    if isinstance(value, str) and not re.fullmatch(r"\s*[+-]?\d+\s*", value, re.ASCII):
        raise ValueError("not an integer")
    number = int(value)
    if number not in _INT64:
        raise ValueError("out of the range of INT64")
    return number


def _float(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError("not a number")  # noqa: TRY004  (whatever its type, it does not fit)
    if isinstance(value, str) and not _NUMBER.fullmatch(value.strip()):
        raise ValueError("not a number")
    number = float(value)
    if math.isinf(number) and isinstance(value, (int, str)) and "inf" not in str(value).lower():
        raise ValueError("out of the range of FLOAT64")
    return number


def _boolean(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise ValueError("neither true nor false")


def _string(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    raise ValueError("not a string")


def _bytes(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise ValueError("not base64")  # noqa: TRY004  (whatever its type, it does not fit)
    return base64.b64decode(value.replace("-", "+").replace("_", "/"), validate=True)


def _numeric(value: object) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)):
        raise ValueError("not a number")  # noqa: TRY004  (whatever its type, it does not fit)
    with localcontext() as context:
        context.prec = 400
        number = Decimal(str(value).strip())
        if not number.is_finite():
            raise ValueError("not a finite number")
        rounded = number.quantize(Decimal("1e-9"), ROUND_HALF_UP)
    if abs(rounded) >= Decimal(10) ** 29:
        raise ValueError("out of the range of NUMERIC")
    return rounded


def _date(value: object) -> dt.date:
    match = _DATE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError("not a date YYYY-MM-DD")
    return dt.date(*map(int, match.groups()))


def _time(value: object) -> dt.time:
    match = _TIME.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError("not a time HH:MM:SS")
    hour, minute, second, fraction = match.groups()
    return dt.time(int(hour), int(minute), int(second), _fraction(fraction))


def _fraction(digits: str | None) -> int:
    return int((digits or "0").ljust(6, "0"))


def _moment(value: object) -> tuple[dt.datetime, re.Match[str]]:
    match = _MOMENT.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError("not a point in time YYYY-MM-DD HH:MM:SS")
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
    naive = dt.datetime(year, month, day, hour, minute, second, _fraction(match[7]))  # noqa: DTZ001
    return naive, match


def _datetime(value: object) -> dt.datetime:
    moment, match = _moment(value)
    if match[8]:
        raise ValueError("a DATETIME has no time zone")
    return moment


def _timestamp(value: object) -> dt.datetime:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _EPOCH + dt.timedelta(microseconds=round(Decimal(repr(value)) * 10**6))
    if isinstance(value, str) and re.fullmatch(r"\s*-?\d+(\.\d*)?([eE]\+?\d+)?\s*", value, re.ASCII):
        return _EPOCH + dt.timedelta(microseconds=int((Decimal(value) * 10**6).to_integral_value(ROUND_HALF_UP)))
    moment, match = _moment(value)
    sign, hours, minutes = match[9], match[10], match[11]
    offset = dt.timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    return moment.replace(tzinfo=dt.UTC) - (-offset if sign == "-" else offset)


def _json(value: object) -> str:
    if isinstance(value, str):
        json.loads(value)
        return value
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


_DECODERS: Mapping[str, Callable[[object], Any]] = {
    "INT64": _integer,
    "FLOAT64": _float,
    "BOOL": _boolean,
    "STRING": _string,
    "BYTES": _bytes,
    "NUMERIC": _numeric,
    "DATE": _date,
    "TIME": _time,
    "DATETIME": _datetime,
    "TIMESTAMP": _timestamp,
    "JSON": _json,
}


def decode_parameter(resource: Mapping[str, Any]) -> Parameter:
    """Read one entry of ``queryParameters``.

    Raises:
        InvalidQuery: The value does not fit its type.
        Unsupported: The local cloud does not hold this type.
    """
    name = resource.get("name") or None
    shown = f"@{name}" if name else "a positional parameter"
    try:
        kind = _parameter_type(resource.get("parameterType") or {})
    except UnsupportedType as error:
        raise Unsupported(f"{error} of query parameter {shown}") from None
    try:
        value = _parameter_value(resource.get("parameterValue") or {}, kind)
    except (ValueError, KeyError) as error:
        raise InvalidQuery(f"Invalid value for query parameter {shown} of type {kind}: {error}") from None
    return Parameter(name=name, type=kind, value=value)


def _parameter_type(resource: Mapping[str, Any]) -> Type:
    name = str(resource.get("type") or "").upper()
    if name == "ARRAY":
        return array(_parameter_type(resource.get("arrayType") or {}))
    kind = standard_name(name)
    if kind != "STRUCT":
        return Type(kind)
    members = tuple((str(each.get("name") or ""), _parameter_type(each["type"])) for each in resource["structTypes"])
    return Type("STRUCT", members=members)


def _parameter_value(resource: Mapping[str, Any], kind: Type) -> Any:
    if kind.element is not None:
        given = resource.get("arrayValues")
        return None if given is None else [_parameter_value(each, kind.element) for each in given]
    if kind.name == "STRUCT":
        values = resource.get("structValues")
        if values is None:
            return None
        pairs = zip(member_names(kind), kind.members, strict=True)
        return {known: _parameter_value(values.get(written) or {}, member) for known, (written, member) in pairs}
    return decode(resource.get("value"), Field(name="", type=kind.name))
