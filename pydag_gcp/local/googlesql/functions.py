# ruff: noqa: E501 - a line of the tables is one function, and reads best as one line
"""The GoogleSQL functions that we know, and what each means in DuckDB's SQL.

A line of the table is ``NAME(types) RESULT: template``; ``$1`` is the first argument. An argument that the template
names twice is evaluated once (:func:`pydag_gcp.local.googlesql.typed.let`); ``error(...)`` becomes NULL under ``SAFE.``. What is
in no table is refused by name.

Reference: https://cloud.google.com/bigquery/docs/reference/standard-sql/functions-all.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from pydag_gcp.local.googlesql.coercion import coerce, coerces
from pydag_gcp.local.googlesql.syntax import InvalidQuery, Unsupported
from pydag_gcp.local.googlesql.typed import Typed, filler, let, without_errors
from pydag_gcp.local.googlesql.types import BYTES, NULL, Type, array

_SPACE = (
    r"chr(9)||chr(10)||chr(11)||chr(12)||chr(13)||chr(32)||chr(133)||chr(160)||chr(5760)||chr(8192)||chr(8193)"
    + "".join(f"||chr({code})" for code in (*range(8194, 8203), 8232, 8233, 8239, 8287, 12288))
)
#: Letters whose other case is more than one letter, or depends on the neighbours: DuckDB maps one to one.
UNEVEN_UPPER = "[\u1fd3ßŉǰΐΰὐὒὔὖΐևẖ-ẚᾀ-ᾯᾲ-ᾴᾶᾷᾼῂ-ῄῆῇῌῒΐῖῗῢ-ῤῦῧῲ-ῴῶῷῼﬀ-ﬆﬓ-ﬗ]"
UNEVEN_LOWER = "[İΣ]"
_OTHER_CASE = (
    "error('not supported by the local cloud: the case of a letter in ' || $1 || '; on a real project it would run')"
)
_FROM = "CASE WHEN $2 > 0 THEN $2 WHEN $2 = 0 OR -$2 >= {size} THEN 1 ELSE {size} + $2 + 1 END"

STRINGS = rf"""
LENGTH(STRING) INT64: length($1)
LENGTH(BYTES) INT64: octet_length($1)
BYTE_LENGTH(STRING) INT64: strlen($1)
BYTE_LENGTH(BYTES) INT64: octet_length($1)
UPPER(STRING) STRING: CASE WHEN regexp_matches($1, '{UNEVEN_UPPER}') THEN {_OTHER_CASE} ELSE upper($1) END
LOWER(STRING) STRING: CASE WHEN regexp_matches($1, '{UNEVEN_LOWER}') THEN {_OTHER_CASE} ELSE lower($1) END
TRIM(STRING) STRING: trim($1, {_SPACE})
LTRIM(STRING) STRING: ltrim($1, {_SPACE})
RTRIM(STRING) STRING: rtrim($1, {_SPACE})
TRIM(STRING, STRING) STRING: trim($1, $2)
LTRIM(STRING, STRING) STRING: ltrim($1, $2)
RTRIM(STRING, STRING) STRING: rtrim($1, $2)
SUBSTR(STRING, INT64) STRING: substring($1, {_FROM.format(size="length($1)")})
SUBSTR(STRING, INT64, INT64) STRING: substring($1, {_FROM.format(size="length($1)")}, CASE WHEN $3 < 0 THEN error('Third argument in SUBSTR() cannot be negative') WHEN $3 > length($1) THEN length($1) ELSE $3 END)
LEFT(STRING, INT64) STRING: left($1, CASE WHEN $2 < 0 THEN error('Second argument in LEFT() cannot be negative') WHEN $2 > length($1) THEN length($1) ELSE $2 END)
RIGHT(STRING, INT64) STRING: right($1, CASE WHEN $2 < 0 THEN error('Second argument in RIGHT() cannot be negative') WHEN $2 > length($1) THEN length($1) ELSE $2 END)
REPLACE(STRING, STRING, STRING) STRING: replace($1, $2, $3)
REVERSE(STRING) STRING: CASE WHEN $1 IS NOT NULL THEN array_to_string(list_reverse(string_split($1, '')), '') END
REPEAT(STRING, INT64) STRING: repeat($1, CASE WHEN $2 < 0 THEN error('Second argument in REPEAT() cannot be negative') ELSE $2 END)
STARTS_WITH(STRING, STRING) BOOL: starts_with($1, $2)
ENDS_WITH(STRING, STRING) BOOL: ends_with($1, $2)
STRPOS(STRING, STRING) INT64: strpos($1, $2)
INSTR(STRING, STRING) INT64: strpos($1, $2)
LPAD(STRING, INT64) STRING: CASE WHEN $2 < 0 THEN error('Second argument (output size) for LPAD cannot be negative') ELSE lpad($1, CAST($2 AS INTEGER), ' ') END
RPAD(STRING, INT64) STRING: CASE WHEN $2 < 0 THEN error('Second argument (output size) for RPAD cannot be negative') ELSE rpad($1, CAST($2 AS INTEGER), ' ') END
LPAD(STRING, INT64, STRING) STRING: CASE WHEN $2 < 0 THEN error('Second argument (output size) for LPAD cannot be negative') WHEN $3 = '' THEN error('Third argument (pad pattern) for LPAD cannot be empty') ELSE lpad($1, CAST($2 AS INTEGER), $3) END
RPAD(STRING, INT64, STRING) STRING: CASE WHEN $2 < 0 THEN error('Second argument (output size) for RPAD cannot be negative') WHEN $3 = '' THEN error('Third argument (pad pattern) for RPAD cannot be empty') ELSE rpad($1, CAST($2 AS INTEGER), $3) END
SPLIT(STRING) ARRAY<STRING>: string_split($1, ',')
SPLIT(STRING, STRING) ARRAY<STRING>: CASE WHEN $2 IS NOT NULL THEN string_split($1, $2) END
ASCII(STRING) INT64: CASE WHEN $1 = '' THEN 0 WHEN unicode($1) > 127 THEN error('Argument to ASCII is not a structurally valid ASCII string') ELSE CAST(unicode($1) AS BIGINT) END
UNICODE(STRING) INT64: CASE WHEN $1 = '' THEN 0 ELSE CAST(unicode($1) AS BIGINT) END
NORMALIZE(STRING) STRING: nfc_normalize($1)
TO_HEX(BYTES) STRING: lower(hex($1))
FROM_HEX(STRING) BYTES: unhex($1)
TO_BASE64(BYTES) STRING: to_base64($1)
FROM_BASE64(STRING) BYTES: from_base64($1)
MD5(STRING) BYTES: unhex(md5($1))
MD5(BYTES) BYTES: unhex(md5($1))
SHA1(STRING) BYTES: unhex(sha1($1))
SHA1(BYTES) BYTES: unhex(sha1($1))
SHA256(STRING) BYTES: unhex(sha256($1))
SHA256(BYTES) BYTES: unhex(sha256($1))
"""

_BY_ZERO = "error('division by zero: ' || CAST($1 AS VARCHAR) || ' / 0')"
_OVERFLOW = "error('Floating point error in function: {0}')"
_FINITE = "CASE WHEN isfinite($1) AND NOT isfinite({0}) THEN " + _OVERFLOW.replace("{0}", "{1}") + " ELSE {0} END"
_LOG = "CASE WHEN $1 = CAST('-inf' AS DOUBLE) THEN CAST('nan' AS DOUBLE) WHEN $1 <= 0 THEN error('Floating point error in function: {0}') ELSE {1} END"

MATHS = f"""
ABS(INT64) INT64: abs($1)
ABS(NUMERIC) NUMERIC: abs($1)
ABS(FLOAT64) FLOAT64: abs($1)
SIGN(INT64) INT64: CAST(sign($1) AS BIGINT)
SIGN(NUMERIC) NUMERIC: CAST(sign($1) AS DECIMAL(38,9))
SIGN(FLOAT64) FLOAT64: CASE WHEN isnan($1) THEN $1 ELSE CAST(sign($1) AS DOUBLE) END
ROUND(NUMERIC) NUMERIC: CAST(CAST($1 AS DECIMAL(38,0)) AS DECIMAL(38,9))
ROUND(FLOAT64) FLOAT64: round($1)
CEIL(NUMERIC) NUMERIC: CAST(ceil($1) AS DECIMAL(38,9))
CEIL(FLOAT64) FLOAT64: ceil($1)
FLOOR(NUMERIC) NUMERIC: CAST(floor($1) AS DECIMAL(38,9))
FLOOR(FLOAT64) FLOAT64: floor($1)
TRUNC(NUMERIC) NUMERIC: CAST(trunc($1) AS DECIMAL(38,9))
TRUNC(FLOAT64) FLOAT64: trunc($1)
MOD(INT64, INT64) INT64: CASE WHEN $2 = 0 AND $1 IS NOT NULL THEN error('division by zero: MOD(' || CAST($1 AS VARCHAR) || ', 0)') ELSE $1 % $2 END
MOD(NUMERIC, NUMERIC) NUMERIC: CASE WHEN $2 = 0 AND $1 IS NOT NULL THEN error('division by zero') ELSE $1 % $2 END
DIV(INT64, INT64) INT64: CASE WHEN $2 = 0 AND $1 IS NOT NULL THEN {_BY_ZERO} ELSE $1 // $2 END
IEEE_DIVIDE(FLOAT64, FLOAT64) FLOAT64: CASE WHEN $1 IS NULL OR $2 IS NULL THEN NULL WHEN $2 <> 0 THEN $1 / $2 WHEN $1 = 0 OR isnan($1) THEN CAST('nan' AS DOUBLE) ELSE CAST('inf' AS DOUBLE) * sign($1) * CASE WHEN signbit($2) THEN -1 ELSE 1 END END
SQRT(FLOAT64) FLOAT64: CASE WHEN $1 < 0 THEN {_OVERFLOW.format("SQRT")} ELSE sqrt($1) END
EXP(FLOAT64) FLOAT64: {_FINITE.format("exp($1)", "EXP")}
LN(FLOAT64) FLOAT64: {_LOG.format("LN", "ln($1)")}
LOG(FLOAT64) FLOAT64: {_LOG.format("LOG", "ln($1)")}
LOG10(FLOAT64) FLOAT64: {_LOG.format("LOG10", "log10($1)")}
IS_NAN(FLOAT64) BOOL: isnan($1)
IS_INF(FLOAT64) BOOL: isinf($1)
SIN(FLOAT64) FLOAT64: CASE WHEN isinf($1) THEN CAST('nan' AS DOUBLE) ELSE sin($1) END
COS(FLOAT64) FLOAT64: CASE WHEN isinf($1) THEN CAST('nan' AS DOUBLE) ELSE cos($1) END
ATAN(FLOAT64) FLOAT64: atan($1)
ATAN2(FLOAT64, FLOAT64) FLOAT64: atan2($1, $2)
ARRAY_LENGTH(ARRAY<T>) INT64: len($1)
ARRAY_REVERSE(ARRAY<T>) ARRAY<T>: list_reverse($1)
ARRAY_TO_STRING(ARRAY<STRING>, STRING) STRING: CASE WHEN $2 IS NOT NULL THEN array_to_string($1, $2) END
ARRAY_TO_STRING(ARRAY<STRING>, STRING, STRING) STRING: CASE WHEN $2 IS NOT NULL THEN array_to_string(list_transform($1, lambda element: coalesce(element, $3)), $2) END
ARRAY_FIRST(ARRAY<T>) T: CASE WHEN len($1) = 0 THEN error('ARRAY_FIRST cannot get the first element of an empty array') ELSE $1[1] END
ARRAY_LAST(ARRAY<T>) T: CASE WHEN len($1) = 0 THEN error('ARRAY_LAST cannot get the last element of an empty array') ELSE $1[len($1)] END
GENERATE_ARRAY(INT64, INT64) ARRAY<INT64>: generate_series($1, $2)
GENERATE_ARRAY(INT64, INT64, INT64) ARRAY<INT64>: CASE WHEN $3 = 0 AND $1 IS NOT NULL AND $2 IS NOT NULL THEN error('Sequence step cannot be 0.') ELSE generate_series($1, $2, $3) END
GENERATE_UUID() STRING: CAST(uuid() AS VARCHAR)
RAND() FLOAT64: random()
SESSION_USER() STRING: 'pydag@local'
"""

_MICROS = "CAST($1 AS HUGEINT) * {0}"
_YEARS = "CASE WHEN $1 NOT BETWEEN {0} AND {1} THEN error('{2}') ELSE {3} END"
_UTC = "'[+-]00(:00)?|UTC|Etc/UTC|GMT|Z'"
_ONLY_UTC = "error('not supported by the local cloud: time zone ' || $2 || '; on a real project it would run')"

MOMENTS = rf"""
CURRENT_DATE() DATE: CAST(CAST(now() AS TIMESTAMP) AS DATE)
CURRENT_DATETIME() DATETIME: CAST(now() AS TIMESTAMP)
CURRENT_TIMESTAMP() TIMESTAMP: now()
CURRENT_TIME() TIME: CAST(CAST(now() AS TIMESTAMP) AS TIME)
DATE(INT64, INT64, INT64) DATE: CASE WHEN $1 NOT BETWEEN 1 AND 9999 THEN error('Input calculates to invalid date') ELSE make_date($1, $2, $3) END
DATE(TIMESTAMP) DATE: CAST(CAST($1 AS TIMESTAMP) AS DATE)
DATE(DATETIME) DATE: CAST($1 AS DATE)
DATE(TIMESTAMP, STRING) DATE: CASE WHEN regexp_full_match($2, {_UTC}) THEN CAST(CAST($1 AS TIMESTAMP) AS DATE) WHEN $2 IS NOT NULL THEN {_ONLY_UTC} END
DATETIME(INT64, INT64, INT64, INT64, INT64, INT64) DATETIME: CASE WHEN $1 NOT BETWEEN 1 AND 9999 OR $6 > 59 THEN error('Input calculates to invalid datetime') ELSE make_timestamp($1, $2, $3, $4, $5, CAST($6 AS DOUBLE)) END
DATETIME(TIMESTAMP) DATETIME: CAST($1 AS TIMESTAMP)
DATETIME(DATE, TIME) DATETIME: ($1 + $2)
DATETIME(DATETIME) DATETIME: $1
DATETIME(TIMESTAMP, STRING) DATETIME: CASE WHEN regexp_full_match($2, {_UTC}) THEN CAST($1 AS TIMESTAMP) WHEN $2 IS NOT NULL THEN {_ONLY_UTC} END
TIMESTAMP(TIMESTAMP) TIMESTAMP: $1
TIMESTAMP(DATETIME) TIMESTAMP: CAST($1 AS TIMESTAMPTZ)
TIMESTAMP(DATETIME, STRING) TIMESTAMP: CASE WHEN regexp_full_match($2, {_UTC}) THEN CAST($1 AS TIMESTAMPTZ) WHEN $2 IS NOT NULL THEN {_ONLY_UTC} END
TIME(INT64, INT64, INT64) TIME: CASE WHEN $1 NOT BETWEEN 0 AND 23 OR $2 NOT BETWEEN 0 AND 59 OR $3 NOT BETWEEN 0 AND 59 THEN error('Input calculates to invalid time') ELSE make_time($1, $2, CAST($3 AS DOUBLE)) END
TIME(TIMESTAMP) TIME: CAST(CAST($1 AS TIMESTAMP) AS TIME)
TIME(DATETIME) TIME: CAST($1 AS TIME)
UNIX_DATE(DATE) INT64: date_diff('day', '1970-01-01'::DATE, $1)
DATE_FROM_UNIX_DATE(INT64) DATE: {_YEARS.format("-719162", "2932896", "DATE value is out of allowed range", "CAST('1970-01-01'::DATE + to_days(CAST($1 AS INTEGER)) AS DATE)")}
UNIX_SECONDS(TIMESTAMP) INT64: CAST(floor(epoch_us($1)::DECIMAL(38,0) / 1000000) AS BIGINT)
UNIX_MILLIS(TIMESTAMP) INT64: CAST((epoch_us($1) - ((epoch_us($1) % 1000) + 1000) % 1000) // 1000 AS BIGINT)
UNIX_MICROS(TIMESTAMP) INT64: epoch_us($1)
TIMESTAMP_SECONDS(INT64) TIMESTAMP: {_YEARS.format("-62135596800", "253402300799", "Timestamp is out of supported range", "CAST(make_timestamp($1 * 1000000) AS TIMESTAMPTZ)")}
TIMESTAMP_MILLIS(INT64) TIMESTAMP: {_YEARS.format("-62135596800000", "253402300799999", "Timestamp is out of supported range", "CAST(make_timestamp($1 * 1000) AS TIMESTAMPTZ)")}
TIMESTAMP_MICROS(INT64) TIMESTAMP: {_YEARS.format("-62135596800000000", "253402300799999999", "Timestamp is out of supported range", "CAST(make_timestamp($1) AS TIMESTAMPTZ)")}
"""
_ALIASES = {
    "SUBSTRING": "SUBSTR",
    "CEILING": "CEIL",
    "CHAR_LENGTH": "LENGTH",
    "CHARACTER_LENGTH": "LENGTH",
    "OCTET_LENGTH": "BYTE_LENGTH",
}
#: Functions whose value differs from call to call.
_UNSTABLE = frozenset({"RAND", "GENERATE_UUID"})
_LINE = re.compile(r"(\w+)\(([^)]*)\) (\S+): (.*)")


@dataclass(frozen=True, slots=True)
class Signature:
    """One way to call a function.

    Attributes:
        arguments: Types; ``T`` stands for one type, the same throughout.
        result: The type of the value.
        template: DuckDB's SQL.
    """

    arguments: tuple[str, ...]
    result: str
    template: str


@functools.cache
def table() -> dict[str, tuple[Signature, ...]]:
    """Return the ways to call each function of the tables."""
    found: dict[str, tuple[Signature, ...]] = {}
    for line in filter(None, (STRINGS + MATHS + MOMENTS).splitlines()):
        match = _LINE.fullmatch(line)
        if match is None:
            raise ValueError(f"the table of functions has a line that reads wrongly: {line}")
        name, arguments, result, template = match.groups()
        signature = Signature(tuple(a for a in arguments.split(", ") if a), result, template)
        found[name] = (*found.get(name, ()), signature)
    return found | {alias: found[name] for alias, name in _ALIASES.items()}


@functools.cache
def _type(name: str) -> Type:
    return array(_type(name[6:-1])) if name.startswith("ARRAY<") else Type(name)


def _bind(signature: Signature, values: Sequence[Typed]) -> Type | None:
    """Return what ``T`` is in this call; a type that is none if the signature has none."""
    for wanted, value in zip(signature.arguments, values, strict=True):
        if wanted == "ARRAY<T>" and value.type.element is not None:
            return value.type.element
    return None


def _resolved(name: str, bound: Type | None) -> Type | None:
    if name == "T":
        return bound
    if name == "ARRAY<T>":
        return array(bound) if bound is not None else None
    return _type(name)


def call(name: str, values: Sequence[Typed], *, safe: bool = False) -> Typed:
    """Return a call of a function of the tables.

    Raises:
        InvalidQuery: The function does not take these arguments.
        Unsupported: The tables do not have the function, or not with arguments like these.
    """
    signatures = table().get(name)
    if signatures is None:
        raise Unsupported(f"function {'SAFE.' if safe else ''}{name}")
    chosen = _choose(signatures, values)
    if chosen is None:
        types = ", ".join("NULL" if value.is_null else str(value.type) for value in values)
        if all(len(each.arguments) != len(values) for each in signatures) or BYTES in [v.type for v in values]:
            raise Unsupported(f"function {name} for argument types: {types or '(none)'}")
        raise InvalidQuery(f"No matching signature for function {name} for argument types: {types or '(none)'}")
    signature, bound, arguments = chosen
    result = _resolved(signature.result, bound) or NULL
    sql = body(signature.template, arguments, safe=safe)
    stable = name not in _UNSTABLE and all(value.stable for value in arguments)
    return Typed(sql, result, stable=stable)


def body(template: str, arguments: Sequence[Typed], *, safe: bool) -> str:
    """Return a template with its arguments; under ``SAFE.`` its own errors, not theirs, are NULL."""
    if not safe:
        return let(arguments, filler(template)) if _repeats(template) else filler(template)(*(a.sql for a in arguments))
    return let(arguments, filler(f"TRY({without_errors(template)})"), once=True)


def _repeats(template: str) -> bool:
    slots = re.findall(r"\$\d", template)
    return len(slots) != len(set(slots))


def _choose(
    signatures: Sequence[Signature], values: Sequence[Typed]
) -> tuple[Signature, Type | None, list[Typed]] | None:
    best: tuple[int, Signature, Type | None, list[Type]] | None = None
    for signature in signatures:
        if len(signature.arguments) != len(values):
            continue
        bound = _bind(signature, values)
        wanted = [_resolved(name, bound) for name in signature.arguments]
        kinds = [kind for kind in wanted if kind is not None]
        if len(kinds) < len(wanted) or not all(coerces(v, k) for v, k in zip(values, kinds, strict=True)):
            continue
        cost = sum(_cost(value, kind) for value, kind in zip(values, kinds, strict=True))
        if best is None or cost < best[0]:
            best = cost, signature, bound, kinds
    if best is None:
        return None
    _, signature, bound, kinds = best
    return signature, bound, [coerce(value, kind) for value, kind in zip(values, kinds, strict=True)]


def _cost(value: Typed, kind: Type) -> int:
    """Literals are cheaper to coerce than others; INT64 goes to FLOAT64 before NUMERIC."""
    if value.type == kind or value.is_null:
        return 0
    steps = 1 if value.type.name == "INT64" and kind.name == "FLOAT64" else 2
    return steps if value.is_literal else 10 * steps
