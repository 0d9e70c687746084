# ruff: noqa: S608 - writing SQL is what this module does; values come as literals or parameters
"""How each kind of expression node is read."""

from __future__ import annotations

from collections.abc import Callable

from sqlglot import exp

from pydag_gcp.local.googlesql import literals, operators
from pydag_gcp.local.googlesql.analyzer import Analyzer, Reader, only
from pydag_gcp.local.googlesql.coercion import cast, coerce, coerces, unify
from pydag_gcp.local.googlesql.datatypes import read_type
from pydag_gcp.local.googlesql.scope import Scope, access
from pydag_gcp.local.googlesql.syntax import EXPLICIT, InvalidQuery, Unsupported
from pydag_gcp.local.googlesql.typed import Typed, let
from pydag_gcp.local.googlesql.types import BOOL, FLOAT64, INT64, JSON, Type

_MAX_INT64 = 2**63 - 1


def parameter(analyzer: Analyzer, node: exp.Expr, _: Scope) -> Typed:
    """Read @name and ?."""
    return analyzer.parameter(node)


def parenthesis(analyzer: Analyzer, node: exp.Expr, scope: Scope) -> Typed:
    """Read (a)."""
    return analyzer.read(node.this, scope)


def column(_: Analyzer, node: exp.Expr, scope: Scope) -> Typed:
    """Read a.b.c: a column, a column of a range variable, a field of either."""
    only(node, "this", "table", "db", "catalog")
    if isinstance(node.this, exp.Star):
        raise InvalidQuery("Dot-star is not allowed here")
    names = [str(part.name) for part in node.parts] if isinstance(node, exp.Column) else []
    return path(names, scope)


def path(names: list[str], scope: Scope) -> Typed:
    """Return what a dotted name means."""
    source = scope.source(names[0]) if len(names) > 1 else None
    if source is not None and source.value is None:
        value, rest = scope.column(source, names[1]), names[2:]
    else:
        value, rest = scope.find(names[0]), names[1:]
    for name in rest:
        value = access(value, name)
    return value


def dot(analyzer: Analyzer, node: exp.Expr, scope: Scope) -> Typed:
    """Read (expression).field."""
    if not isinstance(node.expression, exp.Identifier):
        raise Unsupported(f"function {node.sql(dialect='bigquery').split('(')[0]}")
    return access(analyzer.read(node.this, scope), node.expression.name)


def binary(combine: Callable[[Typed, Typed], Typed]) -> Reader:
    """Return the reader of an operator with two operands."""

    def read(analyzer: Analyzer, node: exp.Expr, scope: Scope) -> Typed:
        only(node, "this", "expression", "typed", "safe")
        return combine(analyzer.read(node.this, scope), analyzer.read(node.expression, scope))

    return read


def comparison(operator: str) -> Reader:
    """Return the reader of a comparison."""
    return binary(lambda left, right: operators.compare(operator, left, right))


def bitwise(operator: str) -> Reader:
    """Return the reader of a bitwise operator."""
    return binary(lambda left, right: operators.bitwise(operator, left, right))


def sum_or_difference(operator: str) -> Reader:
    """Return the reader of + and -, either of which may take an INTERVAL."""

    def read(analyzer: Analyzer, node: exp.Expr, scope: Scope) -> Typed:
        only(node, "this", "expression", "typed", "safe")
        if isinstance(node.this, exp.Interval) or isinstance(node.expression, exp.Interval):
            raise Unsupported("arithmetic with INTERVAL (say DATE_ADD, DATETIME_ADD or TIMESTAMP_ADD)")
        left, right = analyzer.read(node.this, scope), analyzer.read(node.expression, scope)
        return operators.arithmetic(operator, left, right)

    return read


def connective(word: str) -> Reader:
    """Return the reader of AND and OR; a long chain is read without recursion."""

    def read(analyzer: Analyzer, node: exp.Expr, scope: Scope) -> Typed:
        operands, left = [], node
        while type(left) is type(node):
            operands.append(left.expression)
            left = left.this
        values = [analyzer.read(each, scope) for each in (left, *reversed(operands))]
        parts = [operators.boolean(value, f"Operand of {word}") for value in values]
        sql = f"({f' {word} '.join(part.sql for part in parts)})"
        return Typed(sql, BOOL, stable=all(part.stable for part in parts))

    return read


def negation(analyzer: Analyzer, node: exp.Expr, scope: Scope) -> Typed:
    """Read NOT a."""
    value = operators.boolean(analyzer.read(node.this, scope), "Operand of NOT")
    return Typed(f"(NOT {value.sql})", BOOL, stable=value.stable)


def bitwise_not(analyzer: Analyzer, node: exp.Expr, scope: Scope) -> Typed:
    """Read ~a."""
    value = analyzer.read(node.this, scope)
    if not coerces(value, INT64):
        raise operators.mismatch("~", value)
    return Typed(f"(~{coerce(value, INT64).sql})", INT64, stable=value.stable, exact=True)


def is_(analyzer: Analyzer, node: exp.Expr, scope: Scope) -> Typed:
    """Read a IS NULL, IS TRUE, IS FALSE."""
    only(node, "this", "expression")
    value, what = analyzer.read(node.this, scope), node.expression
    if isinstance(what, exp.Null):
        return Typed(f"({value.sql} IS NULL)", BOOL, stable=value.stable)
    if isinstance(what, exp.Boolean):
        flag = operators.boolean(value, "Operand of IS")
        return Typed(f"({flag.sql} IS NOT DISTINCT FROM {str(bool(what.this)).upper()})", BOOL, stable=value.stable)
    raise Unsupported(f"IS {what.sql(dialect='bigquery')}")


def between(analyzer: Analyzer, node: exp.Expr, scope: Scope) -> Typed:
    """Read a BETWEEN b AND c."""
    only(node, "this", "low", "high")
    return operators.within(*(analyzer.read(node.args[part], scope) for part in ("this", "low", "high")))


def in_(analyzer: Analyzer, node: exp.Expr, scope: Scope) -> Typed:
    """Read a IN (...), IN (SELECT ...), IN UNNEST(...)."""
    only(node, "this", "expressions", "query", "unnest")
    value = analyzer.read(node.this, scope)
    if node.args.get("unnest"):
        return operators.among_elements(value, analyzer.read(node.args["unnest"].expressions[0], scope))
    if node.args.get("query"):
        return _in_query(analyzer, value, node.args["query"], scope)
    return operators.among(value, [analyzer.read(option, scope) for option in node.expressions])


def _in_query(analyzer: Analyzer, value: Typed, query: exp.Expr, scope: Scope) -> Typed:
    relation = analyzer.query(query, scope)
    if len(relation.columns) != 1:
        raise InvalidQuery(f"Subquery of type IN must have only one output column but found {len(relation.columns)}")
    name = analyzer.fresh("t")
    option = Typed(f"{name}.c1", relation.types[0])
    kind, (left, right) = unify([value, option], "operator IN")
    if kind.name == "STRUCT":
        raise Unsupported("IN (SELECT AS STRUCT ...)")
    keep = f" WHERE NOT coalesce(isnan({right.sql}), FALSE)" if kind == FLOAT64 else ""
    sql = f"({left.sql} IN (SELECT {right.sql} FROM ({relation.sql}) AS {name}{keep}))"
    return Typed(sql, BOOL, stable=False)


def like(analyzer: Analyzer, node: exp.Expr, scope: Scope) -> Typed:
    """Read a LIKE b, a NOT LIKE b."""
    only(node, "this", "expression", "negate")
    if isinstance(node.expression, (exp.Any, exp.All, exp.Tuple, exp.Unnest)):
        raise Unsupported("LIKE ANY and LIKE ALL")
    found = operators.like(analyzer.read(node.this, scope), analyzer.read(node.expression, scope))
    if node.args.get("negate"):
        return Typed(f"(NOT {found.sql})", BOOL, stable=found.stable)
    return found


def case(analyzer: Analyzer, node: exp.Expr, scope: Scope) -> Typed:
    """Read CASE WHEN ... and CASE x WHEN ...; branches not taken are not evaluated."""
    only(node, "this", "ifs", "default")
    subject = analyzer.read(node.this, scope) if node.this else None
    branches = [analyzer.read(each.args["true"], scope) for each in node.args["ifs"]]
    default = node.args.get("default")
    results = [*branches, analyzer.read(default, scope) if default else literals.null_literal(analyzer, node, scope)]
    kind, results = unify(results, "operator CASE")
    tests = [analyzer.read(each.this, scope) for each in node.args["ifs"]]

    def body(*texts: str) -> str:
        arms = []
        for test, result in zip(tests, results[:-1], strict=True):
            if subject is None:
                condition = operators.boolean(test, "CASE condition")
            else:
                condition = operators.compare("=", subject.with_sql(texts[0]), test)
            arms.append(f"WHEN {condition.sql} THEN {result.sql}")
        return f"CASE {' '.join(arms)} ELSE {results[-1].sql} END"

    stable = all(value.stable for value in (*tests, *results))
    if subject is not None and subject.stable is False:
        raise Unsupported("CASE on an expression that may vary (name it in a subquery)")
    return Typed(body(subject.sql if subject else ""), kind, stable=stable)


def if_(analyzer: Analyzer, node: exp.Expr, scope: Scope) -> Typed:
    """Read IF(a, b, c)."""
    only(node, "this", "true", "false")
    if node.args.get("false") is None:
        raise InvalidQuery("Number of arguments does not match for function IF")
    test = operators.boolean(analyzer.read(node.this, scope), "First argument of IF")
    kind, (yes, no) = unify([analyzer.read(node.args[each], scope) for each in ("true", "false")], "function IF")
    stable = test.stable and yes.stable and no.stable
    return Typed(f"CASE WHEN {test.sql} THEN {yes.sql} ELSE {no.sql} END", kind, stable=stable)


def conversion(analyzer: Analyzer, node: exp.Expr, scope: Scope) -> Typed:
    """Read CAST, SAFE_CAST, and typed literals such as DATE '2024-02-29'."""
    only(node, "this", "to", "format")
    if node.args.get("format"):
        raise Unsupported("CAST with FORMAT")
    kind = read_type(node.args["to"])
    if isinstance(node.this, (exp.Array, exp.Struct)) and not node.meta.get(EXPLICIT):
        return literals.constructed(analyzer, node.this, kind, scope)
    return cast(analyzer.read(node.this, scope), kind, safe=isinstance(node, exp.TryCast))


def tuple_(analyzer: Analyzer, node: exp.Expr, scope: Scope) -> Typed:
    """Read (a, b): a STRUCT without names."""
    values = [analyzer.read(each, scope) for each in node.expressions]
    return literals.make_struct(values, Type("STRUCT", members=tuple(("", value.type) for value in values)))


def subscript(analyzer: Analyzer, node: exp.Expr, scope: Scope) -> Typed:
    """Read a[0], a[OFFSET(0)], a[ORDINAL(1)], a[SAFE_OFFSET(0)], a[SAFE_ORDINAL(1)]."""
    only(node, "this", "expressions", "offset", "safe")
    value, place = analyzer.read(node.this, scope), analyzer.read(node.expressions[0], scope)
    if value.type == JSON or value.type.element is None:
        raise Unsupported(f"operator [] on {value.type}")
    if not coerces(place, INT64):
        raise InvalidQuery(f"Array position must be coercible to INT64 type, but has type {place.type}")
    base, safe = int(node.args.get("offset") or 0), bool(node.args.get("safe"))
    complaint = "NULL" if safe else "error('Array index ' || CAST($i AS VARCHAR) || ' is out of bounds')"

    def body(elements: str, index: str) -> str:
        inside = f"{index} >= {base} AND {index} < len({elements}) + {base}"
        outside = f"{index} < {base} OR {index} >= len({elements}) + {base}"
        return (
            f"CASE WHEN {inside} THEN {elements}[{index} + {1 - base}] "
            f"WHEN {outside} THEN {complaint.replace('$i', index)} END"
        )

    index = coerce(place, INT64)
    return Typed(let([value, index], body), value.type.element, stable=value.stable and index.stable)


def exists(analyzer: Analyzer, node: exp.Expr, scope: Scope) -> Typed:
    """Read EXISTS(SELECT ...)."""
    relation = analyzer.query(node.this, scope)
    return Typed(f"EXISTS ({relation.sql})", BOOL, stable=False)


def subquery(analyzer: Analyzer, node: exp.Expr, scope: Scope) -> Typed:
    """Read (SELECT ...): its one value, NULL if it has no row."""
    only(node, "this")
    relation = analyzer.query(node.this, scope)
    if len(relation.columns) != 1:
        raise InvalidQuery(
            f"Scalar subquery cannot have more than one column unless using SELECT AS STRUCT to build STRUCT values; "
            f"found {len(relation.columns)}"
        )
    return Typed(f"({relation.sql})", relation.types[0], stable=False)


def concatenation(analyzer: Analyzer, node: exp.Expr, scope: Scope) -> Typed:
    """Read a || b || c."""
    operands, left = [], node
    while isinstance(left, exp.DPipe):
        operands.append(left.expression)
        left = left.this
    return operators.concatenate([analyzer.read(each, scope) for each in (left, *reversed(operands))])


def named_type(name: str) -> Callable[[Analyzer, exp.Expr, Scope], Typed]:
    """Return the reader that refuses a construct by a name of its own."""

    def read(_: Analyzer, __: exp.Expr, ___: Scope) -> Typed:
        raise Unsupported(name)

    return read


READERS: dict[type[exp.Expr], Reader] = {
    exp.Literal: literals.literal,
    exp.RawString: literals.literal,
    exp.HexString: literals.hexadecimal,
    exp.ByteString: literals.bytes_literal,
    exp.Null: literals.null_literal,
    exp.Boolean: literals.truth,
    exp.Parameter: parameter,
    exp.Placeholder: parameter,
    exp.Paren: parenthesis,
    exp.Column: column,
    exp.Dot: dot,
    exp.Add: sum_or_difference("+"),
    exp.Sub: sum_or_difference("-"),
    exp.Mul: binary(lambda left, right: operators.arithmetic("*", left, right)),
    exp.Div: binary(operators.divide),
    exp.EQ: comparison("="),
    exp.NEQ: comparison("<>"),
    exp.LT: comparison("<"),
    exp.LTE: comparison("<="),
    exp.GT: comparison(">"),
    exp.GTE: comparison(">="),
    exp.NullSafeEQ: binary(lambda left, right: operators.same(left, right, distinct=False)),
    exp.NullSafeNEQ: binary(lambda left, right: operators.same(left, right, distinct=True)),
    exp.BitwiseAnd: bitwise("&"),
    exp.BitwiseOr: bitwise("|"),
    exp.BitwiseXor: bitwise("^"),
    exp.BitwiseLeftShift: bitwise("<<"),
    exp.BitwiseRightShift: bitwise(">>"),
    exp.BitwiseNot: bitwise_not,
    exp.And: connective("AND"),
    exp.Or: connective("OR"),
    exp.Not: negation,
    exp.Neg: literals.minus,
    exp.Is: is_,
    exp.Between: between,
    exp.In: in_,
    exp.Like: like,
    exp.Case: case,
    exp.If: if_,
    exp.Cast: conversion,
    exp.TryCast: conversion,
    exp.Array: literals.array_literal,
    exp.Tuple: tuple_,
    exp.Bracket: subscript,
    exp.Exists: exists,
    exp.Subquery: subquery,
    exp.DPipe: concatenation,
    exp.Interval: named_type("type INTERVAL outside DATE_ADD and its kin"),
    exp.ParseJSON: named_type("type JSON"),
    exp.Star: named_type("* in this place"),
}
