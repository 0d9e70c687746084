"""Aggregate functions.

Reference: https://cloud.google.com/bigquery/docs/reference/standard-sql/aggregate_functions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from sqlglot import exp

from pydag_gcp.local.googlesql.analyzer import Analyzer
from pydag_gcp.local.googlesql.coercion import coerce, coerces
from pydag_gcp.local.googlesql.operators import divide
from pydag_gcp.local.googlesql.ordering import order_terms
from pydag_gcp.local.googlesql.scope import Scope
from pydag_gcp.local.googlesql.syntax import InvalidQuery, Unsupported
from pydag_gcp.local.googlesql.typed import Typed, text
from pydag_gcp.local.googlesql.types import BOOL, FLOAT64, INT64, NUMERIC, STRING, array


@dataclass(frozen=True, kw_only=True)
class Call:
    """An aggregate call, its arguments read.

    Attributes:
        name: The function, upper case.
        arguments: What it is called with.
        distinct: DISTINCT was written.
        nulls: ``IGNORE``, ``RESPECT`` or "".
        order: DuckDB's ORDER BY inside the call, or "".
        limit: LIMIT inside the call.
        over: DuckDB's OVER clause, or "".
    """

    name: str
    arguments: tuple[Typed, ...]
    distinct: bool = False
    nulls: str = ""
    order: str = ""
    limit: int | None = None
    over: str = ""

    def write(self, function: str, *arguments: str, condition: str = "", order: bool = False) -> str:
        """Return DuckDB's call of ``function``."""
        inner = ("DISTINCT " if self.distinct else "") + ", ".join(arguments)
        inner += f" {self.order}" if order and self.order else ""
        kept = f" FILTER (WHERE {condition})" if condition else ""
        return f"{function}({inner}){kept}{self.over}"

    def refuse(self, *features: str) -> None:
        """Refuse what the function does not take.

        Raises:
            InvalidQuery: BigQuery refuses it too.
        """
        given = {"order": self.order, "limit": self.limit is not None, "nulls": self.nulls, "distinct": self.distinct}
        for feature in features:
            if given[feature]:
                raise InvalidQuery(f"{feature.upper()} is not allowed in a call of {self.name}")


def _only(call: Call, number: int = 1) -> tuple[Typed, ...]:
    if len(call.arguments) != number:
        raise InvalidQuery(f"Number of arguments does not match for aggregate function {call.name}")
    return call.arguments


def _mismatch(call: Call) -> InvalidQuery:
    types = ", ".join(str(value.type) for value in call.arguments)
    return InvalidQuery(f"No matching signature for aggregate function {call.name} for argument types: {types}")


def _count(call: Call) -> Typed:
    call.refuse("order", "limit", "nulls")
    if not call.arguments:
        return Typed(call.write("count", "*"), INT64, exact=True)
    (value,) = _only(call)
    if call.distinct and (value.type.element or value.type.name == "JSON"):
        raise InvalidQuery(f"Aggregate functions with DISTINCT cannot be used with arguments of type {value.type}")
    return Typed(call.write("count", value.sql), INT64, exact=True)


def _countif(call: Call) -> Typed:
    call.refuse("order", "limit", "nulls")
    (value,) = _only(call)
    if not coerces(value, BOOL):
        raise _mismatch(call)
    if call.distinct:
        raise Unsupported("COUNTIF(DISTINCT ...)")
    return Typed(f"count(CASE WHEN {value.sql} THEN 1 END){call.over}", INT64, exact=True)


def _sum(call: Call) -> Typed:
    call.refuse("order", "limit", "nulls")
    (value,) = _only(call)
    if value.type == INT64 or value.is_null:
        # DuckDB adds up in 128 bits; the cast raises where BigQuery's sum overflows
        return Typed(f"CAST({call.write('sum', value.sql)} AS BIGINT)", INT64, exact=True)
    if value.type == NUMERIC:
        return Typed(f"CAST({call.write('sum', value.sql)} AS DECIMAL(38,9))", NUMERIC)
    if value.type != FLOAT64:
        raise _mismatch(call)
    total = call.write("sum", value.sql)
    finite = call.write("bool_and", f"isfinite({value.sql})") if not call.distinct else "TRUE"
    overflow = f"NOT isfinite({total}) AND {finite}"
    return Typed(f"CASE WHEN {overflow} THEN error('Floating point overflow in SUM') ELSE {total} END", FLOAT64)


def _avg(call: Call) -> Typed:
    call.refuse("order", "limit", "nulls")
    (value,) = _only(call)
    if value.type in (INT64, FLOAT64) or value.is_null:
        return Typed(call.write("avg", value.sql), FLOAT64)
    if value.type != NUMERIC:
        raise _mismatch(call)
    total = Typed(f"CAST({call.write('sum', value.sql)} AS DECIMAL(38,9))", NUMERIC)
    number = Typed(f"CAST(nullif({call.write('count', value.sql)}, 0) AS DECIMAL(38,9))", NUMERIC)
    return divide(total, number)


def _extreme(function: str) -> Callable[[Call], Typed]:
    def write(call: Call) -> Typed:
        call.refuse("order", "limit", "nulls")
        (value,) = _only(call)
        if value.type.element or value.type.name in ("STRUCT", "JSON"):
            raise _mismatch(call)
        found = replace(call, distinct=False).write(function, value.sql)
        if value.type == FLOAT64:  # NaN if any is NaN; DuckDB holds NaN to be the greatest
            strange = replace(call, distinct=False).write("bool_or", f"isnan({value.sql})")
            found = f"CASE WHEN {strange} THEN CAST('nan' AS DOUBLE) ELSE {found} END"
        return Typed(found, INT64 if value.is_null else value.type)

    return write


def _any_value(call: Call) -> Typed:
    call.refuse("order", "limit", "nulls", "distinct")
    (value,) = _only(call)
    return Typed(call.write("any_value", value.sql), value.type)


def _logical(function: str) -> Callable[[Call], Typed]:
    def write(call: Call) -> Typed:
        call.refuse("order", "limit", "nulls")
        (value,) = _only(call)
        if not coerces(value, BOOL):
            raise _mismatch(call)
        return Typed(replace(call, distinct=False).write(function, coerce(value, BOOL).sql), BOOL)

    return write


def _bits(function: str) -> Callable[[Call], Typed]:
    def write(call: Call) -> Typed:
        call.refuse("order", "limit", "nulls")
        (value,) = _only(call)
        if not coerces(value, INT64):
            raise _mismatch(call)
        return Typed(call.write(function, coerce(value, INT64).sql), INT64, exact=True)

    return write


def _string_agg(call: Call) -> Typed:
    call.refuse("nulls")
    value, *separator = call.arguments
    if not coerces(value, STRING) or len(separator) > 1:
        raise _mismatch(call)
    if separator and not isinstance(separator[0].constant, str):
        raise Unsupported("STRING_AGG with a separator that is not written as a literal")
    between = text(str(separator[0].constant)) if separator else "','"
    if call.limit is None:
        return Typed(call.write("string_agg", value.sql, between, order=True), STRING)
    kept = call.write("list", value.sql, condition=f"{value.sql} IS NOT NULL", order=True)
    return Typed(f"array_to_string({kept}[:{call.limit}], {between})", STRING)


def _array_agg(call: Call) -> Typed:
    (value,) = _only(call)
    if value.type.element:
        raise InvalidQuery("The argument to ARRAY_AGG cannot be an array type")
    kept = f"{value.sql} IS NOT NULL" if call.nulls == "IGNORE" else ""
    sql = call.write("list", value.sql, condition=kept, order=True)
    if call.limit is not None:
        sql = f"{sql}[:{call.limit}]"
    return Typed(sql, array(INT64 if value.is_null else value.type))


def _deviation(function: str) -> Callable[[Call], Typed]:
    def write(call: Call) -> Typed:
        call.refuse("order", "limit", "nulls")
        (value,) = _only(call)
        if not coerces(value, FLOAT64) or value.type == NUMERIC:
            raise _mismatch(call)
        number = coerce(value, FLOAT64).sql
        found = call.write(function, f"CASE WHEN isfinite({number}) OR {number} IS NULL THEN {number} ELSE 0 END")
        strange = replace(call, distinct=False).write("bool_or", f"NOT isfinite({number})")
        odd = f"{strange} AND {found} IS NOT NULL"
        return Typed(f"CASE WHEN {odd} THEN CAST('nan' AS DOUBLE) ELSE {found} END", FLOAT64)

    return write


def _count_distinct(call: Call) -> Typed:
    """APPROX_COUNT_DISTINCT: the exact number is a valid answer."""
    return _count(replace(call, name="COUNT", distinct=True))


AGGREGATES: dict[str, Callable[[Call], Typed]] = {
    "COUNT": _count,
    "COUNTIF": _countif,
    "COUNT_IF": _countif,
    "SUM": _sum,
    "AVG": _avg,
    "MIN": _extreme("min"),
    "MAX": _extreme("max"),
    "ANY_VALUE": _any_value,
    "LOGICAL_AND": _logical("bool_and"),
    "LOGICAL_OR": _logical("bool_or"),
    "BIT_AND": _bits("bit_and"),
    "BIT_OR": _bits("bit_or"),
    "BIT_XOR": _bits("bit_xor"),
    "STRING_AGG": _string_agg,
    "ARRAY_AGG": _array_agg,
    "APPROX_COUNT_DISTINCT": _count_distinct,
    "STDDEV": _deviation("stddev_samp"),
    "STDDEV_SAMP": _deviation("stddev_samp"),
    "STDDEV_POP": _deviation("stddev_pop"),
    "VARIANCE": _deviation("var_samp"),
    "VAR_SAMP": _deviation("var_samp"),
    "VAR_POP": _deviation("var_pop"),
}


def is_aggregate(name: str) -> bool:
    """Whether ``name`` is an aggregate function."""
    return name in AGGREGATES


def contains_aggregate(node: exp.Expr) -> bool:
    """Whether an expression calls an aggregate of its own query."""
    if isinstance(node, exp.Query):
        return False
    if isinstance(node, exp.Window):
        inner = node.this.this if isinstance(node.this, (exp.IgnoreNulls, exp.RespectNulls)) else node.this
        rest = [*inner.args.get("expressions", []), *node.args.get("partition_by", []), node.args.get("order")]
        return any(contains_aggregate(each) for each in rest if each is not None)
    if isinstance(node, exp.Anonymous) and is_aggregate(str(node.name).upper()):
        return True
    return any(contains_aggregate(each) for each in node.iter_expressions())


def read_aggregate(analyzer: Analyzer, node: exp.Expr, scope: Scope) -> Typed:
    """Read an aggregate that has no OVER.

    Raises:
        InvalidQuery: It stands where rows are not grouped.
    """
    name = str(node.name).upper()
    if scope.grouping is None:
        raise InvalidQuery(f"Aggregate function {name} not allowed in this place")
    call = read_call(analyzer, node, scope.grouping.inner)
    return scope.grouping.column(AGGREGATES[name](call))


def read_call(analyzer: Analyzer, node: exp.Expr, scope: Scope) -> Call:
    """Read the arguments of an aggregate, and what else stands between its parentheses."""
    name = str(node.name).upper()
    given = list(node.expressions)
    if name == "COUNT" and len(given) == 1 and isinstance(given[0], exp.Star):
        return Call(name=name, arguments=())
    limit: int | None = None
    nulls = order = ""
    distinct = False
    if given:
        last, limit, nulls, order = _modifiers(analyzer, given[-1], scope)
        given[-1] = last
        if isinstance(given[0], exp.Distinct):
            distinct = True
            given = [*given[0].expressions, *given[1:]]
        given[-1], nulls_again = take_nulls(given[-1])
        nulls = nulls or nulls_again
    arguments = tuple(analyzer.read(each, scope) for each in given)
    return Call(name=name, arguments=arguments, distinct=distinct, nulls=nulls, order=order, limit=limit)


def _modifiers(analyzer: Analyzer, node: exp.Expr, scope: Scope) -> tuple[exp.Expr, int | None, str, str]:
    """Take LIMIT, ORDER BY, IGNORE NULLS, HAVING off the last argument."""
    limit, order = None, ""
    if isinstance(node, exp.Limit):
        count = node.expression
        if not isinstance(count, exp.Literal) or not str(count.this).isdecimal():
            raise Unsupported("LIMIT in an aggregate that is not written as a number")
        limit, node = int(str(count.this)), node.this
    node, nulls = take_nulls(node)
    if isinstance(node, exp.Order):
        order = f"ORDER BY {', '.join(order_terms(analyzer, node.expressions, scope))}"
        node = node.this
    if isinstance(node, exp.HavingMax):
        raise Unsupported("HAVING MAX and HAVING MIN in an aggregate")
    node, nulls_again = take_nulls(node)
    return node, limit, nulls or nulls_again, order


def take_nulls(node: exp.Expr) -> tuple[exp.Expr, str]:
    """Take IGNORE NULLS or RESPECT NULLS off an expression."""
    if isinstance(node, exp.IgnoreNulls):
        return node.this, "IGNORE"
    if isinstance(node, exp.RespectNulls):
        return node.this, "RESPECT"
    return node, ""
