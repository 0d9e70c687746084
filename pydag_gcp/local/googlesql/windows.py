"""Window functions: aggregates, numbering and navigation with OVER.

Reference: https://cloud.google.com/bigquery/docs/reference/standard-sql/window-function-calls.
"""

from __future__ import annotations

from dataclasses import replace

from sqlglot import exp

from pydag_gcp.local.googlesql.aggregates import AGGREGATES, is_aggregate, read_call, take_nulls
from pydag_gcp.local.googlesql.analyzer import Analyzer, only
from pydag_gcp.local.googlesql.coercion import coerce, coerces
from pydag_gcp.local.googlesql.ordering import order_terms
from pydag_gcp.local.googlesql.scope import Scope
from pydag_gcp.local.googlesql.syntax import InvalidQuery, Unsupported
from pydag_gcp.local.googlesql.typed import Typed
from pydag_gcp.local.googlesql.types import FLOAT64, INT64

_NUMBERING = {
    "ROW_NUMBER": "row_number",
    "RANK": "rank",
    "DENSE_RANK": "dense_rank",
    "PERCENT_RANK": "percent_rank",
    "CUME_DIST": "cume_dist",
    "NTILE": "ntile",
}
_NAVIGATION = {
    "LAG": "lag",
    "LEAD": "lead",
    "FIRST_VALUE": "first_value",
    "LAST_VALUE": "last_value",
    "NTH_VALUE": "nth_value",
}


def is_numbering(name: str) -> bool:
    """Whether ``name`` can only be called with OVER."""
    return name in _NUMBERING or name in _NAVIGATION


def read_window(analyzer: Analyzer, node: exp.Expr, scope: Scope) -> Typed:
    """Read ``function(...) OVER (...)``.

    Raises:
        InvalidQuery: Window functions may not stand here, or the function takes no OVER.
    """
    only(node, "this", "partition_by", "order", "spec", "over", "alias")
    if not scope.windows:
        raise InvalidQuery("Analytic function not allowed in this place")
    if node.args.get("alias") is not None:
        raise Unsupported("named windows (WINDOW ... AS)")
    function, nulls = take_nulls(node.this)
    if not isinstance(function, exp.Anonymous):
        raise Unsupported(f"OVER on {function.sql(dialect='bigquery')}")
    name = str(function.name).upper()
    inner = replace(scope, windows=False)
    over = _over(analyzer, node, inner, name)
    if is_aggregate(name):
        call = read_call(analyzer, function, inner)
        if call.order or call.limit is not None:
            raise InvalidQuery(f"ORDER BY and LIMIT are not allowed in {name} with OVER")
        if call.distinct:
            raise Unsupported(f"{name}(DISTINCT ...) OVER")
        call = replace(call, over=over, nulls=call.nulls or nulls)
        return replace(AGGREGATES[name](call), stable=False)
    if name in _NUMBERING:
        return _number(analyzer, function, name, over, inner)
    if name in _NAVIGATION:
        return _navigate(analyzer, function, name, over, nulls, inner)
    raise Unsupported(f"window function {name}")


def _number(analyzer: Analyzer, function: exp.Expr, name: str, over: str, scope: Scope) -> Typed:
    values = [analyzer.read(each, scope) for each in function.expressions]
    if len(values) != (1 if name == "NTILE" else 0):
        raise InvalidQuery(f"Number of arguments does not match for function {name}")
    kind = FLOAT64 if name in ("PERCENT_RANK", "CUME_DIST") else INT64
    inner = ", ".join(coerce(value, INT64).sql for value in values)
    return Typed(f"{_NUMBERING[name]}({inner}){over}", kind, stable=False, exact=True)


def _navigate(analyzer: Analyzer, function: exp.Expr, name: str, over: str, nulls: str, scope: Scope) -> Typed:
    given = list(function.expressions)
    if not given:
        raise InvalidQuery(f"Number of arguments does not match for function {name}")
    given[0], nulls_first = take_nulls(given[0])
    given[-1], nulls_last = take_nulls(given[-1])
    nulls = nulls or nulls_first or nulls_last
    values = [analyzer.read(each, scope) for each in given]
    if name in ("LAG", "LEAD"):
        if nulls:
            raise Unsupported(f"{name} with {nulls} NULLS")
        values = _offsets(values, name)
    elif len(values) != (2 if name == "NTH_VALUE" else 1):
        raise InvalidQuery(f"Number of arguments does not match for function {name}")
    ignored = " IGNORE NULLS" if nulls == "IGNORE" else ""
    inner = ", ".join(value.sql for value in values)
    return Typed(f"{_NAVIGATION[name]}({inner}{ignored}){over}", values[0].type, stable=False)


def _offsets(values: list[Typed], name: str) -> list[Typed]:
    if len(values) > 3:
        raise InvalidQuery(f"Number of arguments does not match for function {name}")
    if len(values) > 1 and (not isinstance(values[1].constant, int) or values[1].constant < 0):
        raise Unsupported(f"{name} with an offset that is not written as a number")
    if len(values) > 2:
        if not coerces(values[2], values[0].type):
            raise InvalidQuery(f"The default of {name} must have type {values[0].type}")
        values[2] = coerce(values[2], values[0].type)
    return values


def _over(analyzer: Analyzer, node: exp.Expr, scope: Scope, name: str) -> str:
    parts = []
    partition = [analyzer.read(each, scope) for each in node.args.get("partition_by") or []]
    if partition:
        parts.append(f"PARTITION BY {', '.join(value.sql for value in partition)}")
    order = node.args.get("order")
    if order is not None:
        parts.append(f"ORDER BY {', '.join(order_terms(analyzer, order.expressions, scope))}")
    elif name in ("RANK", "DENSE_RANK", "PERCENT_RANK", "CUME_DIST", "NTILE", "LAG", "LEAD"):
        raise InvalidQuery(f"Window ORDER BY is required for analytic function {name}")
    spec = node.args.get("spec")
    if spec is not None:
        if name in _NUMBERING or name in ("LAG", "LEAD"):
            raise InvalidQuery(f"Window framing clause is not allowed for analytic function {name}")
        parts.append(_frame(analyzer, spec, scope, order))
    return f" OVER ({' '.join(parts)})"


def _frame(analyzer: Analyzer, spec: exp.Expr, scope: Scope, order: exp.Expr | None) -> str:
    only(spec, "kind", "start", "start_side", "end", "end_side")
    kind = str(spec.args["kind"]).upper()
    if kind not in ("ROWS", "RANGE"):
        raise Unsupported(f"window frames by {kind}")
    start = _bound(analyzer, spec.args["start"], spec.args.get("start_side"), scope, kind)
    if order is None and kind == "RANGE" and "CURRENT" not in start:
        start = "UNBOUNDED PRECEDING"
    if spec.args.get("end") is None:
        return f"{kind} BETWEEN {start} AND CURRENT ROW"
    end = _bound(analyzer, spec.args["end"], spec.args.get("end_side"), scope, kind)
    return f"{kind} BETWEEN {start} AND {end}"


def _bound(analyzer: Analyzer, value: object, side: object, scope: Scope, kind: str) -> str:
    if value == "CURRENT ROW":
        return "CURRENT ROW"
    if value == "UNBOUNDED":
        return f"UNBOUNDED {str(side).upper()}"
    if kind == "RANGE" or not isinstance(value, exp.Expr):
        raise Unsupported("a window frame RANGE with an offset")
    offset = analyzer.read(value, scope)
    if not isinstance(offset.constant, int) or offset.constant < 0:
        raise Unsupported("a window frame with an offset that is not written as a number")
    return f"{offset.constant} {str(side).upper()}"
