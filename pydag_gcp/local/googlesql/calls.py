"""Calls of functions: which table or special form reads a name.

Reference: https://cloud.google.com/bigquery/docs/reference/standard-sql/functions-reference.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

from sqlglot import exp

from pydag_gcp.local.googlesql import aggregates, functions, moments, operators, regexps, windows
from pydag_gcp.local.googlesql.analyzer import Analyzer, Reader
from pydag_gcp.local.googlesql.coercion import cast, coerce, coerces, unify
from pydag_gcp.local.googlesql.literals import implied_name, make_struct
from pydag_gcp.local.googlesql.operators import arity, mismatch, stable
from pydag_gcp.local.googlesql.scope import Scope
from pydag_gcp.local.googlesql.syntax import InvalidQuery, Unsupported
from pydag_gcp.local.googlesql.typed import Typed, let, text
from pydag_gcp.local.googlesql.types import FLOAT64, INT64, NUMERIC, STRING, Type

Special: TypeAlias = Callable[[list[Typed]], Typed]


def call(analyzer: Analyzer, node: exp.Expr, scope: Scope) -> Typed:
    """Read ``NAME(...)``."""
    return invoke(analyzer, node, scope, safe=False)


def safe_call(analyzer: Analyzer, node: exp.Expr, scope: Scope) -> Typed:
    """Read ``SAFE.NAME(...)``: the function's own errors give NULL."""
    if not isinstance(node.this, exp.Anonymous):
        raise Unsupported(f"function SAFE.{node.this.sql(dialect='bigquery').split('(')[0]}")
    return invoke(analyzer, node.this, scope, safe=True)


def invoke(analyzer: Analyzer, node: exp.Expr, scope: Scope, *, safe: bool) -> Typed:
    """Read a call by its name.

    Raises:
        InvalidQuery: The function does not take these arguments.
        Unsupported: The local cloud does not know the function.
    """
    name = str(node.name).upper()
    written = f"SAFE.{name}" if safe else name
    if aggregates.is_aggregate(name):
        if safe:
            raise Unsupported(f"function {written}")
        return aggregates.read_aggregate(analyzer, node, scope)
    if windows.is_numbering(name):
        raise InvalidQuery(f"Analytic function {name} cannot be called without an OVER clause")
    special = moments.FORMS.get(name)
    if special is not None:
        return special(analyzer, node, scope, safe=safe)
    if name == "STRUCT":
        return struct(analyzer, node, scope)
    if name not in SPECIAL and name not in functions.table():  # told before anything about its arguments
        raise Unsupported(f"function {written}")
    values = [analyzer.read(each, scope) for each in node.expressions]
    if name in SPECIAL:
        if safe and name not in _NEVER_FAILS:
            raise Unsupported(f"function {written}")
        return SPECIAL[name](values)
    return functions.call(name, values, safe=safe)


def struct(analyzer: Analyzer, node: exp.Expr, scope: Scope) -> Typed:
    """Read STRUCT(a AS x, b): a field without AS takes the name of its column."""
    names, values = [], []
    for each in node.expressions:
        inner = each.this if isinstance(each, exp.Alias) else each
        names.append(implied_name(each))
        values.append(analyzer.read(inner, scope))
    members = tuple((name, value.type) for name, value in zip(names, values, strict=True))
    return make_struct(values, Type("STRUCT", members=members))


def coalesce(values: list[Typed]) -> Typed:
    """COALESCE(a, b, ...)."""
    arity("COALESCE", values, 1)
    kind, values = unify(values, "function COALESCE")
    return Typed(f"coalesce({', '.join(value.sql for value in values)})", kind, stable=stable(*values))


def ifnull(values: list[Typed]) -> Typed:
    """IFNULL(a, b)."""
    arity("IFNULL", values, 2, 2)
    return coalesce(values)


def nullif(values: list[Typed]) -> Typed:
    """NULLIF(a, b)."""
    arity("NULLIF", values, 2, 2)
    kind, (left, right) = unify(values, "function NULLIF")

    def body(a: str, b: str) -> str:
        equal = operators.compare("=", left.with_sql(a), right.with_sql(b))
        return f"CASE WHEN {equal.sql} THEN NULL ELSE {a} END"

    return Typed(let([left, right], body), kind, stable=stable(left, right))


def extreme(word: str) -> Special:
    """Return GREATEST or LEAST: NULL if any is NULL, NaN if any is NaN."""

    def read(values: list[Typed]) -> Typed:
        arity(word, values, 1)
        kind, values = unify(values, f"function {word}")
        if kind.element or kind.name in ("STRUCT", "JSON"):
            raise mismatch(word, *values)

        def body(*texts: str) -> str:
            missing = " OR ".join(f"{t} IS NULL" for t in texts)
            nan = " OR ".join(f"isnan({t})" for t in texts)
            strange = f"WHEN {nan} THEN CAST('nan' AS DOUBLE) " if kind == FLOAT64 else ""
            return f"CASE WHEN {missing} THEN NULL {strange}ELSE {word.lower()}({', '.join(texts)}) END"

        return Typed(let(values, body), kind, stable=stable(*values))

    return read


def concat(values: list[Typed]) -> Typed:
    """CONCAT(a, b, ...)."""
    arity("CONCAT", values, 1)
    return operators.concatenate(values)


def array_concat(values: list[Typed]) -> Typed:
    """ARRAY_CONCAT(a, b, ...): NULL if any is NULL."""
    arity("ARRAY_CONCAT", values, 1)
    kind, values = unify(values, "function ARRAY_CONCAT")
    if kind.element is None:
        raise InvalidQuery(f"No matching signature for function ARRAY_CONCAT for argument types: {kind}")

    def body(*texts: str) -> str:
        missing = " OR ".join(f"{t} IS NULL" for t in texts)
        joined = texts[0]
        for each in texts[1:]:
            joined = f"list_concat({joined}, {each})"
        return f"CASE WHEN {missing} THEN NULL ELSE {joined} END"

    return Typed(let(values, body), kind, stable=stable(*values))


def safe_divide(values: list[Typed]) -> Typed:
    """SAFE_DIVIDE(a, b)."""
    arity("SAFE_DIVIDE", values, 2, 2)
    return operators.divide(values[0], values[1], safe=True)


def safe_arithmetic(name: str, operator: str) -> Special:
    """Return SAFE_ADD and its kin, of INT64 and NUMERIC."""

    def read(values: list[Typed]) -> Typed:
        arity(name, values, 2, 2)
        kind, (left, right) = unify(values, f"function {name}")
        if kind not in (INT64, NUMERIC):
            raise Unsupported(f"function {name} on {kind}")

        def body(a: str, b: str) -> str:
            return f"TRY({operators.arithmetic(operator, left.with_sql(a), right.with_sql(b)).sql})"

        return Typed(let([left, right], body, once=True), kind, stable=stable(left, right))

    return read


def safe_negate(values: list[Typed]) -> Typed:
    """SAFE_NEGATE(a)."""
    arity("SAFE_NEGATE", values, 1, 1)
    (value,) = values
    if value.type not in (INT64, NUMERIC, FLOAT64):
        raise mismatch("SAFE_NEGATE", value)
    return Typed(let([value], lambda x: f"TRY(-{x})", once=True), value.type, stable=value.stable)


def power(values: list[Typed]) -> Typed:
    """POW(a, b): FLOAT64, or NUMERIC, which we refuse."""
    arity("POW", values, 2, 2)
    if NUMERIC in (values[0].type, values[1].type) and FLOAT64 not in (values[0].type, values[1].type):
        raise Unsupported("function POW on NUMERIC")
    if not all(coerces(value, FLOAT64) for value in values):
        raise mismatch("POW", *values)
    left, right = (coerce(value, FLOAT64) for value in values)
    return operators.finite(lambda a, b: f"pow({a}, {b})", [left, right], "Floating point error in function: POW")


def logarithm(values: list[Typed]) -> Typed:
    """LOG(a[, base])."""
    arity("LOG", values, 1, 2)
    if len(values) == 1:
        return functions.call("LOG", values)
    value, base = values
    if not all(coerces(each, FLOAT64) for each in values):
        raise mismatch("LOG", *values)
    if not isinstance(base.constant, (int, float)) or base.constant <= 0 or base.constant == 1:
        raise Unsupported("LOG to a base that is not written as a positive number")
    natural = functions.call("LN", [value])
    return Typed(f"({natural.sql} / ln({coerce(base, FLOAT64).sql}))", FLOAT64, stable=value.stable)


def round_(values: list[Typed]) -> Typed:
    """ROUND(a[, digits]): half away from zero, of the exact value of a FLOAT64."""
    arity("ROUND", values, 1, 2)
    if len(values) == 1:
        return functions.call("ROUND", values)
    value, digits = values
    if not isinstance(digits.constant, int) or not 0 <= digits.constant <= 9:
        raise Unsupported("ROUND to other than 0 to 9 digits, written as a number")
    places = digits.constant
    if value.type == NUMERIC:
        return Typed(f"CAST(CAST({value.sql} AS DECIMAL(38,{places})) AS DECIMAL(38,9))", NUMERIC, stable=value.stable)
    if not coerces(value, FLOAT64):
        raise mismatch("ROUND", *values)

    def body(x: str) -> str:
        # only about half way between two results do the exact decimal digits matter; to read them is slow
        scaled = f"abs({x}) * 1e{places}"
        clear = f"abs({scaled} - floor({scaled}) - 0.5) > 1e-4 AND {scaled} < 1e12"
        digits = f"CAST(CAST(printf('%.20f', {x}) AS DECIMAL(38,20)) AS DECIMAL(38,{places}))"
        return (
            f"CASE WHEN {clear} THEN round({x}, {places}) "
            f"WHEN abs({x}) < 1e15 THEN CAST({digits} AS DOUBLE) ELSE {x} END"
        )

    number = coerce(value, FLOAT64)
    return Typed(let([number], body), FLOAT64, stable=number.stable)


def error(values: list[Typed]) -> Typed:
    """ERROR(message)."""
    arity("ERROR", values, 1, 1)
    if not coerces(values[0], STRING):
        raise InvalidQuery(f"No matching signature for function ERROR for argument types: {values[0].type}")
    raised = f"CASE WHEN {values[0].sql} IS NOT NULL OR TRUE THEN error({values[0].sql}) END"
    return Typed(f"CAST({raised} AS BIGINT)", INT64, stable=False)


def string(values: list[Typed]) -> Typed:
    """STRING(timestamp), STRING(date)..."""
    arity("STRING", values, 1, 1)
    if values[0].type.name not in ("TIMESTAMP", "DATE", "DATETIME", "TIME"):
        raise Unsupported(f"function STRING on {values[0].type}")
    return cast(values[0], STRING)


def format_(values: list[Typed]) -> Typed:
    """FORMAT(pattern, ...): %d, %i, %s, %t of strings, %f with digits, %%."""
    arity("FORMAT", values, 1)
    pattern = values[0].constant
    if not isinstance(pattern, str):
        raise Unsupported("FORMAT with a pattern that is not written as a literal")
    parts, rest = [], list(values[1:])
    for plain, flags, width, letter in re.findall(r"([^%]+)|%(0?)(\d*)([^\d])", pattern.replace("%%", "%\0")):
        if plain:
            parts.append(text(plain))
        elif letter == "\0":
            parts.append("'%'")
        else:
            if not rest:
                raise InvalidQuery("Too few arguments to FORMAT for pattern")
            parts.append(_formatted(letter, flags, width, rest.pop(0)))
    if rest:
        raise InvalidQuery("Too many arguments to FORMAT for pattern")
    return Typed(f"({' || '.join(parts) or text('')})", STRING, stable=stable(*values))


def _formatted(letter: str, flags: str, width: str, value: Typed) -> str:
    if letter in "di" and value.type == INT64:
        return f"printf('%{flags}{width}d', {value.sql})"
    if letter == "s" and value.type == STRING and not flags and not width:
        return value.sql
    raise Unsupported(f"FORMAT with %{flags}{width}{letter} for {value.type}")


SPECIAL: Mapping[str, Special] = {
    "NULLIF": nullif,
    "GREATEST": extreme("GREATEST"),
    "LEAST": extreme("LEAST"),
    "CONCAT": concat,
    "ARRAY_CONCAT": array_concat,
    "SAFE_DIVIDE": safe_divide,
    "SAFE_ADD": safe_arithmetic("SAFE_ADD", "+"),
    "SAFE_SUBTRACT": safe_arithmetic("SAFE_SUBTRACT", "-"),
    "SAFE_MULTIPLY": safe_arithmetic("SAFE_MULTIPLY", "*"),
    "SAFE_NEGATE": safe_negate,
    "POW": power,
    "POWER": power,
    "LOG": logarithm,
    "ROUND": round_,
    "ERROR": error,
    **regexps.FUNCTIONS,
    "STRING": string,
    "FORMAT": format_,
    "COALESCE": coalesce,
    "IFNULL": ifnull,
}
_NEVER_FAILS = frozenset({"COALESCE", "IFNULL", "CONCAT"})


def bare(name: str) -> Reader:
    """Return the reader of a function that may be written without parentheses."""

    def read(_: Analyzer, node: exp.Expr, __: Scope) -> Typed:
        if node.args.get("this") is not None:
            raise Unsupported(f"{name} with an argument")
        return functions.call(name, [])

    return read


CALLS: dict[type[exp.Expr], Reader] = {
    exp.Anonymous: call,
    exp.SafeFunc: safe_call,
    exp.CurrentDate: bare("CURRENT_DATE"),
    exp.CurrentDatetime: bare("CURRENT_DATETIME"),
    exp.CurrentTime: bare("CURRENT_TIME"),
    exp.CurrentTimestamp: bare("CURRENT_TIMESTAMP"),
    exp.Extract: moments.extract,
    exp.Window: windows.read_window,
}
