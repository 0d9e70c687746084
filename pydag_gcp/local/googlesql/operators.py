"""GoogleSQL's operators on typed operands.

Reference: https://cloud.google.com/bigquery/docs/reference/standard-sql/operators.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pydag_gcp.local.googlesql.coercion import cast, coerce, coerces, supertype, unify
from pydag_gcp.local.googlesql.syntax import InvalidQuery, Unsupported
from pydag_gcp.local.googlesql.typed import Typed, let, text
from pydag_gcp.local.googlesql.types import BOOL, BYTES, DATE, FLOAT64, INT64, NUMERIC, STRING, Type, array

_NUMBERS = ("INT64", "NUMERIC", "FLOAT64")
_ORDERED = (*_NUMBERS, "STRING", "BYTES", "BOOL", "DATE", "DATETIME", "TIME", "TIMESTAMP")
_WORDS = {"+": "add", "-": "subtract", "*": "multiply"}


def mismatch(operator: str, *values: Typed) -> InvalidQuery:
    """Return the complaint that an operator does not take these types."""
    types = ", ".join("NULL" if value.is_null else str(value.type) for value in values)
    return InvalidQuery(f"No matching signature for operator {operator} for argument types: {types}")


def arity(name: str, values: Sequence[Typed], low: int, high: int | None = None) -> None:
    """Refuse a call with too few or too many arguments.

    Raises:
        InvalidQuery: It has.
    """
    if len(values) < low or (high is not None and len(values) > high):
        raise InvalidQuery(f"Number of arguments does not match for function {name}")


def stable(*values: Typed) -> bool:
    """Whether all values may be evaluated twice."""
    return all(value.stable for value in values)


def boolean(value: Typed, what: str) -> Typed:
    """Return the value as a BOOL.

    Raises:
        InvalidQuery: It is none.
    """
    if not coerces(value, BOOL):
        raise InvalidQuery(f"{what} should return type BOOL, but returns {value.type}")
    return coerce(value, BOOL)


def arithmetic(operator: str, left: Typed, right: Typed) -> Typed:
    """Return ``left + right``, ``-`` or ``*``.

    Raises:
        InvalidQuery: The operator does not take these types.
    """
    if operator in "+-" and left.type == DATE and coerces(right, INT64) and not right.is_null:
        return shifted_date(left, coerce(right, INT64), operator)
    if operator == "+" and right.type == DATE and left.type == INT64:
        return shifted_date(right, left, operator)
    kind = supertype([left, right])
    if kind is None or kind.name not in _NUMBERS:
        if {left.type.name, right.type.name} <= {"DATE", "DATETIME", "TIMESTAMP"} and operator == "-":
            raise Unsupported("type INTERVAL, which the difference of two points in time has")
        raise mismatch(operator, left, right)
    left, right = coerce(left, kind), coerce(right, kind)
    if kind == FLOAT64:
        return _float(operator, left, right)
    if kind == NUMERIC and operator == "*":
        # the product has 18 digits behind the point; BigQuery rounds half away from zero, as DuckDB's cast does
        return _made(f"CAST(({left.sql} * {right.sql}) AS DECIMAL(38,9))", NUMERIC, left, right)
    return _made(f"({left.sql} {operator} {right.sql})", kind, left, right)


def shifted_date(day: Typed, days: Typed, operator: str) -> Typed:
    """Return a DATE some days later or earlier, within the years 1 to 9999."""
    template = "CAST({0} {2} to_days(CAST({1} AS INTEGER)) AS DATE)"
    return within_years(_made(template.format(day.sql, days.sql, operator), DATE, day, days))


def within_years(value: Typed) -> Typed:
    """Return a DATE, DATETIME or TIMESTAMP, or the error that it left the years 1 to 9999."""
    kind = value.type.duckdb
    low, high = f"'0001-01-01'::{kind}", f"'9999-12-31 23:59:59.999999'::{kind}"
    if value.type == DATE:
        high = "'9999-12-31'::DATE"
    complaint = text(f"{value.type} is out of supported range")

    def body(moment: str) -> str:
        return f"CASE WHEN {moment} NOT BETWEEN {low} AND {high} THEN error({complaint}) ELSE {moment} END"

    return Typed(let([value], body), value.type, stable=value.stable)


def _float(operator: str, left: Typed, right: Typed) -> Typed:
    word = f"Floating point error in function: {_WORDS[operator]}"
    return finite(lambda a, b: f"({a} {operator} {b})", [left, right], word)


def finite(body: Callable[..., str], values: Sequence[Typed], complaint: str) -> Typed:
    """Return a FLOAT64 result; infinite or NaN from operands that are neither is BigQuery's error.

    https://cloud.google.com/bigquery/docs/reference/standard-sql/mathematical_functions
    """

    def checked(*texts: str) -> str:
        result = body(*texts)
        inputs = " AND ".join(f"isfinite({t})" for t, v in zip(texts, values, strict=True) if not v.is_literal)
        if not inputs:
            inputs = "TRUE"
        return f"CASE WHEN NOT isfinite({result}) AND {inputs} THEN error({text(complaint)}) ELSE {result} END"

    return Typed(let(values, checked), FLOAT64, stable=all(value.stable for value in values))


def divide(left: Typed, right: Typed, *, safe: bool = False) -> Typed:
    """Return ``left / right``: FLOAT64 of two INT64, else as arithmetic; dividing by zero is an error.

    Raises:
        InvalidQuery: The operands are no numbers.
    """
    kind = supertype([left, right])
    if kind is None or kind.name not in _NUMBERS:
        raise mismatch("/", left, right)
    if kind == NUMERIC:
        return _divide_numeric(coerce(left, NUMERIC), coerce(right, NUMERIC), safe=safe)
    left, right = coerce(left, FLOAT64), coerce(right, FLOAT64)
    by_zero = "NULL" if safe else f"error({text('division by zero: ')} || printf('%.15g', $1) || ' / 0')"

    def body(a: str, b: str) -> str:
        zero = by_zero.replace("$1", a)
        overflow = "NULL" if safe else "error('Floating point error in function: divide')"
        return (
            f"CASE WHEN {b} = 0 AND {a} IS NOT NULL THEN {zero} "
            f"WHEN isinf({a} / {b}) AND isfinite({a}) AND {b} <> 0 THEN {overflow} ELSE {a} / nullif({b}, 0) END"
        )

    return Typed(let([left, right], body), FLOAT64, stable=left.stable and right.stable)


def _divide_numeric(left: Typed, right: Typed, *, safe: bool) -> Typed:
    """Divide in whole numbers: NUMERIC has no division in DuckDB that is not in DOUBLE."""
    by_zero = "NULL" if safe else "error('division by zero')"

    def body(a: str, b: str) -> str:
        above, below = (f"CAST({x} * 1000000000 AS HUGEINT)" for x in (f"abs({a})", f"abs({b})"))
        whole = f"((2000000000 * {above} + {below}) // (2 * {below}))"
        sign = f"(CASE WHEN ({a} < 0) <> ({b} < 0) THEN -1 ELSE 1 END)"
        number = f"CAST({sign} * {whole} AS DECIMAL(38,0)) * CAST('0.000000001' AS DECIMAL(9,9))"
        return (
            f"CASE WHEN {b} = 0 AND {a} IS NOT NULL THEN {by_zero} WHEN {b} <> 0 THEN "
            f"CAST({number} AS DECIMAL(38,9)) END"
        )

    return Typed(let([left, right], body, once=True), NUMERIC, stable=left.stable and right.stable)


def negate(value: Typed) -> Typed:
    """Return ``-value``.

    Raises:
        InvalidQuery: It is no number.
    """
    if value.type.name not in _NUMBERS:
        raise mismatch("-", value)
    return Typed(f"(-{value.sql})", value.type, stable=value.stable, exact=value.exact)


def compare(operator: str, left: Typed, right: Typed) -> Typed:
    """Return a comparison: of one type, NaN equal to nothing.

    Raises:
        InvalidQuery: The two have no common type, or theirs cannot be compared.
        Unsupported: Comparing STRUCT or JSON.
    """
    kind = supertype([left, right])
    if kind is None:
        raise mismatch(operator, left, right)
    if kind.name == "STRUCT":
        raise Unsupported("comparing values of type STRUCT")
    if kind.name not in _ORDERED:
        raise mismatch(operator, left, right)
    left, right = coerce(left, kind), coerce(right, kind)
    if kind != FLOAT64:
        return _made(f"({left.sql} {operator} {right.sql})", BOOL, left, right)
    return _compare_floats(operator, left, right)


def _compare_floats(operator: str, left: Typed, right: Typed) -> Typed:
    # DuckDB orders NaN above everything and equal to itself; one guard on the operand that could pass wrongly is enough
    guarded = right if operator in ("<", "<=") else left
    if operator in ("=", "<>") and (right.is_literal or right.exact):
        guarded = right
    if guarded.is_literal or guarded.exact:
        return _made(f"({left.sql} {operator} {right.sql})", BOOL, left, right)

    def body(a: str, b: str) -> str:
        g, o = (a, b) if guarded is left else (b, a)
        if operator == "<>":
            return f"({a} <> {b} OR (isnan({g}) AND {o} IS NOT NULL))"
        return f"({a} {operator} {b} AND (NOT isnan({g}) OR {o} IS NULL))"

    return Typed(let([left, right], body), BOOL, stable=left.stable and right.stable)


def same(left: Typed, right: Typed, *, distinct: bool) -> Typed:
    """Return ``left IS [NOT] DISTINCT FROM right``.

    Raises:
        InvalidQuery: The two have no common type.
    """
    kind, (left, right) = unify([left, right], "operator IS DISTINCT FROM")
    if kind.name not in _ORDERED:
        raise Unsupported(f"IS DISTINCT FROM on {kind}")
    word = "IS DISTINCT FROM" if distinct else "IS NOT DISTINCT FROM"
    return _made(f"({left.sql} {word} {right.sql})", BOOL, left, right)


def within(value: Typed, low: Typed, high: Typed) -> Typed:
    """Return ``value BETWEEN low AND high``."""
    kind, (value, low, high) = unify([value, low, high], "operator BETWEEN")
    if kind.name not in _ORDERED:
        raise mismatch("BETWEEN", value, low, high)

    def body(v: str, a: str, b: str) -> str:
        v_, a_, b_ = value.with_sql(v), low.with_sql(a), high.with_sql(b)
        return f"({compare('>=', v_, a_).sql} AND {compare('<=', v_, b_).sql})"

    return Typed(let([value, low, high], body), BOOL, stable=stable(value, low, high))


def among(value: Typed, options: Sequence[Typed]) -> Typed:
    """Return ``value IN (options)``."""
    kind = supertype([value, *options])
    if kind is None or kind.name not in _ORDERED:
        raise mismatch("IN", value, *options)
    value, options = coerce(value, kind), [coerce(option, kind) for option in options]
    lasting = stable(value, *options)
    if kind == FLOAT64 and not all(option.is_literal for option in options):
        return Typed(
            let([value], lambda v: "(" + " OR ".join(compare("=", value.with_sql(v), o).sql for o in options) + ")"),
            BOOL,
            stable=lasting,
        )
    return Typed(f"({value.sql} IN ({', '.join(option.sql for option in options)}))", BOOL, stable=lasting)


def among_elements(value: Typed, elements: Typed) -> Typed:
    """Return ``value IN UNNEST(elements)``: FALSE for no elements, else three-valued."""
    if elements.type.element is None and not elements.is_null:
        raise InvalidQuery(f"Second argument of IN UNNEST must be an array but was {elements.type}")
    inner = elements.type.element or value.type
    kind = supertype([value, Typed("", inner, coercible=elements.coercible)])
    if kind is None or kind.name not in _ORDERED:
        raise mismatch("IN UNNEST", value, elements)
    value, elements = coerce(value, kind), cast(elements, array(kind))

    def body(v: str, e: str) -> str:
        found = f"list_contains({e}, {v})" + (f" AND NOT isnan({v})" if kind == FLOAT64 else "")
        return (
            f"CASE WHEN coalesce(len({e}), 0) = 0 THEN FALSE WHEN {v} IS NULL THEN NULL WHEN {found} THEN TRUE "
            f"WHEN list_aggregate({e}, 'count') < len({e}) THEN NULL ELSE FALSE END"
        )

    return Typed(let([value, elements], body), BOOL, stable=value.stable and elements.stable)


def like(value: Typed, pattern: Typed) -> Typed:
    """Return ``value LIKE pattern``; a backslash escapes.

    Raises:
        InvalidQuery: The pattern ends in a lone backslash.
        Unsupported: The operands are BYTES.
    """
    if BYTES in (value.type, pattern.type):
        raise Unsupported("LIKE on BYTES")
    if not (coerces(value, STRING) and coerces(pattern, STRING)):
        raise mismatch("LIKE", value, pattern)
    if isinstance(pattern.constant, str):
        backslashes = len(pattern.constant) - len(pattern.constant.rstrip("\\"))
        if backslashes % 2:
            raise InvalidQuery("LIKE pattern ends with a backslash")
    value, pattern = coerce(value, STRING), coerce(pattern, STRING)
    return _made(f"({value.sql} LIKE {pattern.sql} ESCAPE '\\')", BOOL, value, pattern)


def bitwise(operator: str, left: Typed, right: Typed) -> Typed:
    """Return ``left & right``, ``|``, ``^``, ``<<`` or ``>>`` of two INT64."""
    if BYTES in (left.type, right.type):
        raise Unsupported(f"operator {operator} on BYTES")
    if not (coerces(left, INT64) and coerces(right, INT64)):
        raise mismatch(operator, left, right)
    if operator in ("<<", ">>"):  # BigQuery shifts bits out silently, DuckDB raises
        raise Unsupported(f"operator {operator}")
    left, right = coerce(left, INT64), coerce(right, INT64)
    if operator == "^":
        return _made(f"xor({left.sql}, {right.sql})", INT64, left, right)
    return _made(f"({left.sql} {operator} {right.sql})", INT64, left, right)


def concatenate(values: Sequence[Typed]) -> Typed:
    """Return ``a || b``: of STRING, BYTES or ARRAY; NULL if any is NULL."""
    kind = supertype(values)
    if kind is None or (kind.name not in ("STRING", "BYTES") and kind.element is None):
        raise Unsupported(f"|| or CONCAT for argument types: {', '.join(str(value.type) for value in values)}")
    parts = [coerce(value, kind) for value in values]
    if kind.element is not None:
        raise Unsupported("operator || on ARRAY")
    # DuckDB forgets the type of a concatenation with a constant NULL
    joined = " || ".join(part.sql for part in parts)
    return Typed(f"CAST({joined} AS {kind.duckdb})", kind, stable=stable(*parts))


def _made(sql: str, kind: Type, *parts: Typed) -> Typed:
    return Typed(sql, kind, stable=all(part.stable for part in parts), exact=kind == INT64)
