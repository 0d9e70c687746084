"""Dates and times: the functions that take a date part, and those that take a format.

Reference: https://cloud.google.com/bigquery/docs/reference/standard-sql/date_functions,
.../datetime_functions, .../timestamp_functions, .../time_functions. All in UTC; a time zone argument other than UTC
is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from sqlglot import exp

from pydag_gcp.local.googlesql import functions, timeformats
from pydag_gcp.local.googlesql.analyzer import Analyzer
from pydag_gcp.local.googlesql.coercion import cast, coerce, coerces
from pydag_gcp.local.googlesql.operators import within_years
from pydag_gcp.local.googlesql.scope import Scope
from pydag_gcp.local.googlesql.syntax import InvalidQuery, Unsupported
from pydag_gcp.local.googlesql.typed import Typed, let, text
from pydag_gcp.local.googlesql.types import DATE, DATETIME, INT64, STRING, TIME, TIMESTAMP, Type, array


class Form(Protocol):
    """Reads a call whose arguments are no plain values: a date part, an INTERVAL, a format."""

    def __call__(self, analyzer: Analyzer, node: exp.Expr, scope: Scope, *, safe: bool) -> Typed:
        """Return the call; ``safe``: it was written with ``SAFE.``."""


_WEEKDAYS = ("SUNDAY", "MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY")
_DAY_PARTS = ("DAY", "WEEK", "ISOWEEK", "MONTH", "QUARTER", "YEAR", "ISOYEAR")
_CLOCK_PARTS = ("MICROSECOND", "MILLISECOND", "SECOND", "MINUTE", "HOUR")
_MICROS = {"MICROSECOND": 1, "MILLISECOND": 1000, "SECOND": 10**6, "MINUTE": 60 * 10**6, "HOUR": 3600 * 10**6}
_MONTHS = {"MONTH": 1, "QUARTER": 3, "YEAR": 12}
_KINDS = {"DATE": DATE, "DATETIME": DATETIME, "TIMESTAMP": TIMESTAMP, "TIME": TIME}


def part_of(node: exp.Expr) -> tuple[str, int]:
    """Return a date part and, for WEEK(weekday), the weekday that starts it (0: Sunday).

    Raises:
        InvalidQuery: It is no date part.
    """
    if isinstance(node, exp.Anonymous) and str(node.name).upper() == "WEEK" and len(node.expressions) == 1:
        day = str(node.expressions[0].name).upper()
        if day not in _WEEKDAYS:
            raise InvalidQuery(f"{day} is not a valid weekday for WEEK")
        return "WEEK", _WEEKDAYS.index(day)
    if isinstance(node, (exp.Var, exp.Column, exp.Identifier)):
        return str(node.name).upper(), 0
    raise InvalidQuery(f"A valid date part name is required but found {node.sql(dialect='bigquery')}")


def _argument(analyzer: Analyzer, node: exp.Expr, scope: Scope, kind: Type, name: str) -> Typed:
    value = analyzer.read(node, scope)
    if not coerces(value, kind):
        raise InvalidQuery(f"No matching signature for function {name} for argument types: {value.type}")
    return coerce(value, kind)


def _plain(moment: str, kind: Type) -> str:
    """Return the moment as DuckDB's TIMESTAMP without a zone (or DATE, TIME)."""
    return f"CAST({moment} AS TIMESTAMP)" if kind == TIMESTAMP else moment


def _arguments(node: exp.Expr, name: str, low: int, high: int) -> Sequence[exp.Expr]:
    if not low <= len(node.expressions) <= high:
        raise InvalidQuery(f"Number of arguments does not match for function {name}")
    return node.expressions


def _refuse_safe(name: str, *, safe: bool) -> None:
    if safe:
        raise Unsupported(f"function SAFE.{name}")


def extract(analyzer: Analyzer, node: exp.Expr, scope: Scope) -> Typed:
    """Read EXTRACT(part FROM moment)."""
    part, start = part_of(node.this)
    if isinstance(node.expression, exp.AtTimeZone):
        raise Unsupported("EXTRACT with AT TIME ZONE")
    value = analyzer.read(node.expression, scope)
    if value.type not in (DATE, DATETIME, TIMESTAMP, TIME):
        raise InvalidQuery(f"EXTRACT from {value.type} is not possible")
    if part in ("DATE", "TIME", "DATETIME") and value.type in (DATETIME, TIMESTAMP):
        return cast(value, _KINDS[part])
    allowed = {DATE: _EXTRACT_DAY, TIME: _EXTRACT_CLOCK}.get(value.type, {**_EXTRACT_DAY, **_EXTRACT_CLOCK})
    if part == "WEEK" and part in allowed:
        sql = let([value], lambda m: _week_number(_plain(m, value.type), start))
    elif part in allowed:
        sql = let([value], lambda m: allowed[part].replace("$1", _plain(m, value.type)))
    else:
        raise InvalidQuery(f"EXTRACT {part} from {value.type} is not supported")
    return Typed(sql, INT64, stable=value.stable, exact=True)


def _week_number(moment: str, start: int) -> str:
    """Weeks begin on ``start``; days before the year's first such day are in week 0."""
    weekday = f"((dayofweek({moment}) - {start} + 7) % 7)"
    return f"((dayofyear({moment}) + 6 - {weekday}) // 7)"


_EXTRACT_DAY = {
    "YEAR": "year($1)",
    "QUARTER": "quarter($1)",
    "MONTH": "month($1)",
    "WEEK": "",
    "ISOWEEK": "weekofyear($1)",
    "ISOYEAR": "isoyear($1)",
    "DAY": "day($1)",
    "DAYOFWEEK": "(dayofweek($1) + 1)",
    "DAYOFYEAR": "dayofyear($1)",
}
_EXTRACT_CLOCK = {
    "HOUR": "hour($1)",
    "MINUTE": "minute($1)",
    "SECOND": "second($1)",
    "MILLISECOND": "((microsecond($1) // 1000) % 1000)",
    "MICROSECOND": "(microsecond($1) % 1000000)",
}


def shift(kind: Type, sign: str) -> Form:
    """Return DATE_ADD, TIMESTAMP_SUB and so on."""
    name = f"{kind.name}_{'ADD' if sign == '+' else 'SUB'}"

    def read(analyzer: Analyzer, node: exp.Expr, scope: Scope, *, safe: bool) -> Typed:
        _refuse_safe(name, safe=safe)
        moment, interval = _arguments(node, name, 2, 2)
        if not isinstance(interval, exp.Interval) or interval.args.get("unit") is None:
            raise InvalidQuery(f"{name} needs an INTERVAL such as INTERVAL 1 DAY")
        value = analyzer.read(moment, scope)
        target = kind if coerces(value, kind) else value.type
        if name.startswith("DATE_") and value.type in (DATETIME, TIMESTAMP):
            raise Unsupported(f"{name} on {value.type}")
        if target != kind:
            raise InvalidQuery(f"No matching signature for function {name} for argument types: {value.type}")
        part, _ = part_of(interval.args["unit"])
        return _shifted(coerce(value, kind), _amount(analyzer, interval, scope), part, sign, name)

    return read


def _amount(analyzer: Analyzer, interval: exp.Expr, scope: Scope) -> Typed:
    inner = interval.this
    if isinstance(inner, exp.Literal) and inner.is_string:  # sqlglot writes INTERVAL 3 DAY with '3'
        inner = exp.Literal.number(str(inner.this))
        if not str(inner.this).isdecimal():
            raise InvalidQuery(f"Invalid INTERVAL value {inner.this}")
    amount = analyzer.read(inner, scope)
    if not coerces(amount, INT64):
        raise InvalidQuery(f"INTERVAL needs an INT64, not {amount.type}")
    return coerce(amount, INT64)


def _shifted(value: Typed, amount: Typed, part: str, sign: str, name: str) -> Typed:
    kind = value.type
    stable = value.stable and amount.stable
    if kind == TIME:
        if part not in _CLOCK_PARTS:
            raise InvalidQuery(f"{name} does not support the {part} date part")
        day = 24 * 3600 * 10**6
        step = f"((CAST({amount.sql} AS HUGEINT) * {_MICROS[part]}) % {day})"
        return Typed(f"({value.sql} {sign} to_microseconds(CAST({step} AS BIGINT)))", TIME, stable=stable)
    if part in _CLOCK_PARTS and kind != DATE:
        step = f"to_microseconds({amount.sql} * {_MICROS[part]})"
    elif part in ("DAY", "WEEK"):
        scale = 7 if part == "WEEK" else 1
        step = f"to_days(CAST({amount.sql} * {scale} AS INTEGER))"
    elif part in _MONTHS and kind != TIMESTAMP:
        step = f"to_months(CAST({amount.sql} * {_MONTHS[part]} AS INTEGER))"
    else:
        raise InvalidQuery(f"{name} does not support the {part} date part")
    moved = f"({value.sql} {sign} {step})"
    return within_years(Typed(f"CAST({moved} AS {kind.duckdb})", kind, stable=stable))


def difference(kind: Type) -> Form:
    """Return DATE_DIFF and its kin: how many boundaries lie between (for a TIMESTAMP: whole units)."""
    name = f"{kind.name}_DIFF"

    def read(analyzer: Analyzer, node: exp.Expr, scope: Scope, *, safe: bool) -> Typed:
        _refuse_safe(name, safe=safe)
        later, earlier, unit = _arguments(node, name, 3, 3)
        for each in (later, earlier):
            if kind == DATE and analyzer.read(each, scope).type in (DATETIME, TIMESTAMP):
                raise Unsupported(f"{name} on {analyzer.read(each, scope).type}")
        first = _argument(analyzer, later, scope, kind, name)
        second = _argument(analyzer, earlier, scope, kind, name)
        part, start = part_of(unit)
        sql = let([first, second], lambda a, b: _difference(a, b, part, start, kind))
        return Typed(sql, INT64, stable=first.stable and second.stable, exact=True)

    return read


def _difference(a: str, b: str, part: str, start: int, kind: Type) -> str:
    if kind == TIMESTAMP:
        sizes = {**_MICROS, "DAY": 86400 * 10**6}
        if part not in sizes:
            raise InvalidQuery(f"TIMESTAMP_DIFF does not support the {part} date part")
        return f"((epoch_us({a}) - epoch_us({b})) // {sizes[part]})"
    if part in _CLOCK_PARTS and kind in (DATETIME, TIME):
        return f"date_diff('{part.lower()}', {b}, {a})"
    if kind == TIME or part not in _DAY_PARTS:
        raise InvalidQuery(f"{kind.name}_DIFF does not support the {part} date part")
    if part in ("WEEK", "ISOWEEK"):
        first = 1 if part == "ISOWEEK" else start
        # 1899-12-31 was a Sunday
        days = "date_diff('day', '1899-12-31'::DATE, CAST({} AS DATE))"
        weeks = (f"(({days.format(m)} - {first} + 7000007) // 7)" for m in (a, b))
        return " - ".join(weeks).join("()")
    if part == "ISOYEAR":
        return f"(isoyear({a}) - isoyear({b}))"
    return f"date_diff('{part.lower()}', {b}, {a})"


def truncation(kind: Type) -> Form:
    """Return DATE_TRUNC and its kin."""
    name = f"{kind.name}_TRUNC"

    def read(analyzer: Analyzer, node: exp.Expr, scope: Scope, *, safe: bool) -> Typed:
        _refuse_safe(name, safe=safe)
        moment, unit, *zone = _arguments(node, name, 2, 3 if kind == TIMESTAMP else 2)
        _refuse_zone(analyzer, zone, scope)
        value = analyzer.read(moment, scope)
        if kind == DATE and value.type in (DATETIME, TIMESTAMP):
            raise Unsupported(f"{name} on {value.type}")
        value = _argument(analyzer, moment, scope, kind, name)
        part, start = part_of(unit)
        return truncated(value, part, start)

    return read


def truncated(value: Typed, part: str, start: int = 0) -> Typed:
    """Return the beginning of the part of time that ``value`` lies in.

    Raises:
        InvalidQuery: The type has no such part.
    """
    kind = value.type
    clock, day = part in _CLOCK_PARTS and kind != DATE, part in _DAY_PARTS and kind != TIME
    if not (clock or day):
        raise InvalidQuery(f"{kind.name}_TRUNC does not support the {part} date part")

    def body(m: str) -> str:
        moment = _plain(m, kind)
        if part in ("WEEK", "ISOWEEK"):
            first = 1 if part == "ISOWEEK" else start
            back = f"to_days(CAST((dayofweek({moment}) - {first} + 7) % 7 AS INTEGER))"
            cut = f"(date_trunc('day', {moment}) - {back})"
        elif part == "ISOYEAR":
            cut = f"date_trunc('week', make_date(isoyear({moment}), 1, 4))"
        else:
            unit = {"MICROSECOND": "microseconds", "MILLISECOND": "milliseconds"}.get(part, part.lower())
            cut = f"date_trunc('{unit}', {moment})"
        if kind == TIME:
            seconds = {"HOUR": 3600, "MINUTE": 60, "SECOND": 1}.get(part)
            size = seconds * 10**6 if seconds else _MICROS[part]
            return f"('00:00:00'::TIME + to_microseconds((epoch_us({m}) // {size}) * {size}))"
        return f"CAST(CAST({cut} AS TIMESTAMP) AS {kind.duckdb})"

    done = Typed(let([value], body), kind, stable=value.stable)
    return within_years(done) if part in ("WEEK", "ISOWEEK", "ISOYEAR") else done


def _refuse_zone(analyzer: Analyzer, zone: Sequence[exp.Expr], scope: Scope) -> None:
    for each in zone:
        value = analyzer.read(each, scope)
        if value.constant not in ("UTC", "Etc/UTC", "+00", "+00:00"):
            raise Unsupported("a time zone other than UTC")


def last_day(analyzer: Analyzer, node: exp.Expr, scope: Scope, *, safe: bool) -> Typed:
    """Read LAST_DAY(date[, part])."""
    _refuse_safe("LAST_DAY", safe=safe)
    moment, *unit = _arguments(node, "LAST_DAY", 1, 2)
    value = analyzer.read(moment, scope)
    if value.type != DATETIME:
        value = _argument(analyzer, moment, scope, DATE, "LAST_DAY")
    value = cast(value, DATE)
    part, start = part_of(unit[0]) if unit else ("MONTH", 0)
    first = truncated(value, part, start).sql
    if part in ("WEEK", "ISOWEEK"):
        sql = f"CAST({first} + to_days(6) AS DATE)"
    elif part in _MONTHS:
        sql = f"CAST({first} + to_months({_MONTHS[part]}) - to_days(1) AS DATE)"
    else:
        raise Unsupported(f"LAST_DAY with {part}")
    return Typed(sql, DATE, stable=value.stable)


def generate_dates(analyzer: Analyzer, node: exp.Expr, scope: Scope, *, safe: bool) -> Typed:
    """Read GENERATE_DATE_ARRAY(start, end[, INTERVAL n part])."""
    name = "GENERATE_DATE_ARRAY"
    _refuse_safe(name, safe=safe)
    first, last, *step = _arguments(node, name, 2, 3)
    start = _argument(analyzer, first, scope, DATE, name)
    end = _argument(analyzer, last, scope, DATE, name)
    amount, part = Typed("CAST(1 AS BIGINT)", INT64), "DAY"
    if step:
        if not isinstance(step[0], exp.Interval):
            raise InvalidQuery(f"{name} needs an INTERVAL such as INTERVAL 1 DAY")
        amount, part = _amount(analyzer, step[0], scope), part_of(step[0].args["unit"])[0]
    if part not in ("DAY", "WEEK"):  # months would have to be counted from the start each time
        raise Unsupported(f"{name} by {part}")
    scale = 7 if part == "WEEK" else 1

    def body(a: str, b: str, n: str) -> str:
        days = f"generate_series(0, date_diff('day', {a}, {b}), {n} * {scale})"
        dates = f"list_transform({days}, lambda d: CAST({a} + to_days(CAST(d AS INTEGER)) AS DATE))"
        complaint = text("Sequence step cannot be 0.")
        return f"CASE WHEN {n} = 0 AND {a} IS NOT NULL AND {b} IS NOT NULL THEN error({complaint}) ELSE {dates} END"

    stable = start.stable and end.stable and amount.stable
    return Typed(let([start, end, amount], body), array(DATE), stable=stable)


def construction(kind: Type) -> Form:
    """Return DATE(...), DATETIME(...), TIMESTAMP(...), TIME(...)."""

    def read(analyzer: Analyzer, node: exp.Expr, scope: Scope, *, safe: bool) -> Typed:
        values = [analyzer.read(each, scope) for each in node.expressions]
        if len(values) == 1 and values[0].type == STRING and kind == TIMESTAMP:
            return cast(values[0], kind, safe=safe)
        if len(values) == 1 and (values[0].type == DATE or (values[0].type == STRING and values[0].coercible)):
            return cast(values[0], kind, safe=safe)
        if len(values) == 1 and values[0].type == STRING:
            raise Unsupported(f"function {kind.name} of a STRING that is not written as a literal (say CAST)")
        return functions.call(kind.name, values, safe=safe)

    return read


def formatting(kind: Type) -> Form:
    """Return FORMAT_DATE and its kin; the format must be a literal."""
    name = f"FORMAT_{kind.name}"

    def read(analyzer: Analyzer, node: exp.Expr, scope: Scope, *, safe: bool) -> Typed:
        _refuse_safe(name, safe=safe)
        pattern, moment, *zone = _arguments(node, name, 2, 3 if kind == TIMESTAMP else 2)
        _refuse_zone(analyzer, zone, scope)
        value = _argument(analyzer, moment, scope, kind, name)
        elements = _pattern(analyzer, pattern, scope, name)
        sql = let([value], lambda m: timeformats.formatted(elements, _plain(m, kind), kind))
        return Typed(sql, STRING, stable=value.stable)

    return read


def parsing(kind: Type) -> Form:
    """Return PARSE_DATE and its kin; the format must be a literal."""
    name = f"PARSE_{kind.name}"

    def read(analyzer: Analyzer, node: exp.Expr, scope: Scope, *, safe: bool) -> Typed:
        pattern, source, *zone = _arguments(node, name, 2, 3 if kind == TIMESTAMP else 2)
        _refuse_zone(analyzer, zone, scope)
        value = _argument(analyzer, source, scope, STRING, name)
        elements = _pattern(analyzer, pattern, scope, name)
        return timeformats.parsed(elements, value, kind, safe=safe)

    return read


def _pattern(analyzer: Analyzer, node: exp.Expr, scope: Scope, name: str) -> str:
    pattern = analyzer.read(node, scope)
    if not isinstance(pattern.constant, str):
        raise Unsupported(f"{name} with a format that is not written as a literal")
    return pattern.constant


FORMS: Mapping[str, Form] = {
    **{f"{name}_ADD": shift(kind, "+") for name, kind in _KINDS.items()},
    **{f"{name}_SUB": shift(kind, "-") for name, kind in _KINDS.items()},
    **{f"{name}_DIFF": difference(kind) for name, kind in _KINDS.items()},
    **{f"{name}_TRUNC": truncation(kind) for name, kind in _KINDS.items()},
    **{f"FORMAT_{name}": formatting(kind) for name, kind in _KINDS.items()},
    **{f"PARSE_{name}": parsing(kind) for name, kind in _KINDS.items()},
    **{name: construction(kind) for name, kind in _KINDS.items()},
    "LAST_DAY": last_day,
    "GENERATE_DATE_ARRAY": generate_dates,
}
