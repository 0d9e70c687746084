"""Which type a value takes: implicit coercion, common supertypes, and CAST.

Reference: https://cloud.google.com/bigquery/docs/reference/standard-sql/conversion_rules and
https://cloud.google.com/bigquery/docs/reference/standard-sql/conversion_functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pydag_gcp.local.googlesql.syntax import InvalidQuery, Unsupported
from pydag_gcp.local.googlesql.typed import NOT_HERE, Typed, filler, let
from pydag_gcp.local.googlesql.types import (
    FLOAT64,
    INT64,
    NUMERIC,
    STRING,
    Type,
    array,
    member_names,
    quoted,
)

#: From -> to what without being asked, for any expression.
_IMPLICIT = {
    "INT64": ("NUMERIC", "FLOAT64"),
    "NUMERIC": ("FLOAT64",),
    "DATE": ("DATETIME",),
}
#: The same, for literals only (STRING: for parameters too).
_LITERAL = {"FLOAT64": ("NUMERIC",), "STRING": ("DATE", "DATETIME", "TIME", "TIMESTAMP")}

_DAY = r"\d{4}-\d{1,2}-\d{1,2}"
_CLOCK = r"([01]?\d|2[0-3]):[0-5]?\d:[0-5]?\d(\.\d{1,6})?"
_ZONE = r"([Zz]| UTC|[+-]\d{1,2}(:\d{2})?)"
_LEAP = r".*:\d{1,2}:60.*"
_FLOAT = r"\s*[+-]?((\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[iI][nN][fF]([iI][nN][iI][tT][yY])?|[nN][aA][nN])\s*"

# DuckDB wants a time before a zone, and two digits for the zone's hours.
_INSTANT = (
    r"TRY_CAST(regexp_replace(regexp_replace(regexp_replace(upper($1), '( UTC|Z)$', '+00'), "
    r"'^(\d+-\d+-\d+)([+-]|$)', '\1 00:00:00\2'), '(\d[+-])(\d)(:|$)', '\10\2\3') AS TIMESTAMPTZ)"
)
# What a string must look like, and the DuckDB expression that reads it; $1 is the string.
_FROM_STRING = {
    "INT64": (r" *[+-]?\d+\s*", "TRY_CAST(trim($1) AS BIGINT)", r" *[+-]?0[xX].*", "Bad int64 value: {}"),
    "FLOAT64": (_FLOAT, "TRY_CAST(trim($1) AS DOUBLE)", r"\s*[+-]?0[xX].*", "Bad double value: {}"),
    "NUMERIC": (
        r"\s*[+-]?(\d+\.?\d*|\.\d+)\s*",
        # to read into 128 bits is some two hundred times slower than into 64
        (
            r"CASE WHEN regexp_full_match($1, '\s*[+-]?\d{0,9}\.?\d{0,9}\s*') THEN "
            "CAST(TRY_CAST(trim($1) AS DECIMAL(18,9)) AS DECIMAL(38,9)) ELSE TRY_CAST(trim($1) AS DECIMAL(38,9)) END"
        ),
        r".*\d[eE].*",
        "Invalid NUMERIC value: {}",
    ),
    "BOOL": ("(?i:true|false)", "(lower($1) = 'true')", None, "Bad bool value: {}"),
    "DATE": (_DAY, "TRY_CAST($1 AS DATE)", None, "Invalid date: ''{}''"),
    "DATETIME": (
        f"{_DAY}([ Tt]{_CLOCK})?",
        "TRY_CAST(replace($1, 't', 'T') AS TIMESTAMP)",
        _LEAP,
        'Invalid datetime string "{}"',
    ),
    "TIME": (_CLOCK, "TRY_CAST($1 AS TIME)", _LEAP, 'Invalid time string "{}"'),
    "TIMESTAMP": (
        f"{_DAY}([ Tt]{_CLOCK})?{_ZONE}?",
        _INSTANT,
        rf"{_DAY}.* .*/.*|{_DAY}.* UTC[+-].*|{_LEAP}|{_DAY}.* [A-Z]{{2,5}}\d?[A-Z]*",
        "Invalid timestamp: ''{}''",
    ),
}
_FRACTION = (
    "CASE WHEN microsecond($1) % 1000000 = 0 THEN '' "
    "WHEN microsecond($1) % 1000 = 0 THEN strftime($1, '.%g') ELSE strftime($1, '.%f') END"
)
_TO_STRING = {
    "INT64": "CAST($1 AS VARCHAR)",
    "BOOL": "CAST($1 AS VARCHAR)",
    "FLOAT64": "CASE WHEN isnan($1) THEN 'nan' WHEN CAST(printf('%.15g', $1) AS DOUBLE) = $1 "
    "THEN printf('%.15g', $1) ELSE printf('%.17g', $1) END",
    "NUMERIC": r"regexp_replace(CAST($1 AS VARCHAR), '\.?0+$', '')",
    "BYTES": "decode($1)",
    "DATE": "strftime($1, '%Y-%m-%d')",
    "DATETIME": f"(strftime($1, '%Y-%m-%d %H:%M:%S') || {_FRACTION})",
    "TIMESTAMP": f"(strftime($1, '%Y-%m-%d %H:%M:%S') || {_FRACTION} || '+00')",
    "TIME": "CASE WHEN microsecond($1) % 1000000 = 0 THEN substr(CAST($1 AS VARCHAR), 1, 8) "
    "ELSE rpad(CAST($1 AS VARCHAR), CASE WHEN microsecond($1) % 1000 = 0 THEN 12 ELSE 15 END, '0') END",
}
# Whole part and fraction convert exactly, unless the fraction is about half way between two NUMERICs: then its decimal
# digits decide. (To read digits is far slower.)
_FRACTION_9 = "abs($1 - trunc($1)) * 1e9"
_TO_NUMERIC = (
    f"CASE WHEN abs({_FRACTION_9} - floor({_FRACTION_9}) - 0.5) > 1e-4 "
    "THEN CAST(CAST(trunc($1) AS HUGEINT) AS DECIMAL(38,9)) + CAST($1 - trunc($1) AS DECIMAL(38,9)) "
    "ELSE CAST(printf('%.20f', $1) AS DECIMAL(38,9)) END"
)
_CASTS = {
    ("BOOL", "INT64"): "CAST($1 AS BIGINT)",
    ("INT64", "BOOL"): "($1 <> 0)",
    ("INT64", "FLOAT64"): "CAST($1 AS DOUBLE)",
    ("INT64", "NUMERIC"): "CAST($1 AS DECIMAL(38,9))",
    ("NUMERIC", "INT64"): "CAST($1 AS BIGINT)",
    ("NUMERIC", "FLOAT64"): "CAST($1 AS DOUBLE)",
    ("FLOAT64", "INT64"): "CAST(round($1) AS BIGINT)",
    ("FLOAT64", "NUMERIC"): _TO_NUMERIC,
    ("STRING", "BYTES"): "encode($1)",
    ("DATE", "DATETIME"): "CAST($1 AS TIMESTAMP)",
    ("DATE", "TIMESTAMP"): "CAST(CAST($1 AS TIMESTAMP) AS TIMESTAMPTZ)",
    ("DATETIME", "DATE"): "CAST($1 AS DATE)",
    ("DATETIME", "TIME"): "CAST($1 AS TIME)",
    ("DATETIME", "TIMESTAMP"): "CAST($1 AS TIMESTAMPTZ)",
    ("TIMESTAMP", "DATE"): "CAST(CAST($1 AS TIMESTAMP) AS DATE)",
    ("TIMESTAMP", "DATETIME"): "CAST($1 AS TIMESTAMP)",
    ("TIMESTAMP", "TIME"): "CAST(CAST($1 AS TIMESTAMP) AS TIME)",
}
#: Casts that can fail for a value, beside those from STRING.
_PARTIAL = frozenset(
    [("NUMERIC", "INT64"), ("FLOAT64", "INT64"), ("FLOAT64", "NUMERIC"), ("INT64", "NUMERIC"), ("BYTES", "STRING")]
)


def null(kind: Type) -> Typed:
    """Return a NULL of a type."""
    return Typed(f"CAST(NULL AS {kind.duckdb})", kind, constant=None, coercible=True)


def coerces(value: Typed, to: Type) -> bool:
    """Whether ``value`` takes type ``to`` without being asked."""
    if value.type == to or value.is_null:
        return True
    if value.type.element and to.element:
        return value.coercible and coerces(Typed("", value.type.element, coercible=True), to.element)
    if value.type.name == to.name == "STRUCT":
        same = len(value.type.members) == len(to.members)
        pairs = zip(value.type.members, to.members, strict=False)
        return same and all(
            coerces(Typed("", mine, coercible=value.coercible), theirs) for (_, mine), (_, theirs) in pairs
        )
    if to.name in _IMPLICIT.get(value.type.name, ()):
        return True
    if value.type.name == "FLOAT64" and not value.is_literal:
        return False
    return value.coercible and to.name in _LITERAL.get(value.type.name, ())


def coerce(value: Typed, to: Type) -> Typed:
    """Give ``value`` the type ``to``; only where :func:`coerces` says so."""
    if value.type == to:
        return value
    if value.is_null:
        return null(to)
    done = cast(value, to)
    return replace(done, coercible=value.coercible, constant=value.constant)


def supertype(values: Sequence[Typed]) -> Type | None:
    """Return the type that all values take, or None if there is none.

    Literals follow what is no literal: beside a NUMERIC column 1.5 is NUMERIC, beside an INT64 column both are
    FLOAT64.
    """
    kinds = {value.type: None for value in values if not value.is_null}
    if not kinds:
        return INT64 if values else None
    for kind in sorted(kinds, key=_width):
        if all(coerces(value, kind) for value in values):
            return kind
    return None


def _width(kind: Type) -> int:
    return {"NUMERIC": 1, "FLOAT64": 2, "DATETIME": 1}.get(kind.name, 0)


def unify(values: Sequence[Typed], what: str) -> tuple[Type, list[Typed]]:
    """Return the common type and the values in it.

    Raises:
        InvalidQuery: There is no common type.
    """
    kind = supertype(values)
    if kind is None:
        found = ", ".join(dict.fromkeys(str(value.type) for value in values if not value.is_null))
        raise InvalidQuery(f"No matching signature for {what} for argument types: {found}")
    return kind, [coerce(value, kind) for value in values]


def cast(value: Typed, to: Type, *, safe: bool = False) -> Typed:
    """Return ``CAST(value AS to)``, or ``SAFE_CAST``.

    Raises:
        InvalidQuery: There is no such conversion.
        Unsupported: BigQuery has it, we do not.
    """
    if value.is_null:
        return null(to)
    if value.type == to:
        return value
    source, target = value.type, to
    if source.element and target.element:
        return _cast_array(value, target, safe=safe)
    if source.name == target.name == "STRUCT":
        return _cast_struct(value, target, safe=safe)
    if source.name == "STRING" and target.name in _FROM_STRING:
        return _from_string(value, target, safe=safe)
    if source == FLOAT64 and target == NUMERIC and isinstance(value.constant, float):
        # a literal is read as it was written, not as the nearest FLOAT64
        return Typed(value.sql.replace("AS DOUBLE)", "AS DECIMAL(38,9))"), NUMERIC)
    template = _TO_STRING.get(source.name) if target == STRING else _CASTS.get((source.name, target.name))
    if template is None:
        if "JSON" in (source.name, target.name):
            raise Unsupported(f"CAST from {source} to {target}")
        raise InvalidQuery(f"Invalid cast from {source} to {target}")
    if safe and (source.name, target.name) in _PARTIAL:
        sql = let([value], filler(f"TRY({template})"), once="error(" in value.sql)
    else:
        sql = let([value], filler(template))
    return Typed(sql, target, stable=value.stable, exact=source in (INT64, NUMERIC))


def _from_string(value: Typed, to: Type, *, safe: bool) -> Typed:
    pattern, read, elsewhere, complaint = _FROM_STRING[to.name]
    worded = complaint.format("' || $1 || '")
    otherwise = "NULL" if safe else f"error('{worded}')"
    branches = f"WHEN regexp_full_match($1, '{pattern}') THEN coalesce({read}, {otherwise})"
    if elsewhere:  # BigQuery may read it; to answer NULL or an error of our own would be a wrong answer
        refusal = f"error('{NOT_HERE}the string ' || $1 || ' as {to}; on a real project it would run')"
        branches += f" WHEN regexp_full_match($1, '{elsewhere}') THEN {refusal}"
    template = f"CASE WHEN $1 IS NULL THEN NULL {branches} ELSE {otherwise} END"
    return Typed(let([value], filler(template)), to, stable=value.stable)


def _cast_array(value: Typed, to: Type, *, safe: bool) -> Typed:
    if value.type.element is None or to.element is None:
        raise InvalidQuery(f"Invalid cast from {value.type} to {to}")
    if safe:
        raise Unsupported("SAFE_CAST of an ARRAY")
    inner = cast(Typed("e", value.type.element), to.element)
    return Typed(f"list_transform({value.sql}, lambda e: {inner.sql})", array(to.element), stable=value.stable)


def _cast_struct(value: Typed, to: Type, *, safe: bool) -> Typed:
    if len(value.type.members) != len(to.members):
        raise InvalidQuery(f"Invalid cast from {value.type} to {to}")
    names, new = member_names(value.type), member_names(to)

    def body(struct: str) -> str:
        parts = []
        for place, (name, (_, mine), (_, theirs)) in enumerate(zip(names, value.type.members, to.members, strict=True)):
            inner = cast(Typed(f"struct_extract({struct}, '{name}')", mine), theirs, safe=safe)
            parts.append(f"{quoted(new[place])} := {inner.sql}")
        return f"CASE WHEN {struct} IS NOT NULL THEN struct_pack({', '.join(parts)}) END"

    return Typed(let([value], body), to, stable=value.stable)
