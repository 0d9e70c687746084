"""The tables that a parsed statement reads: names resolved as BigQuery does, among CTEs, aliases and array paths.

Imports sqlglot, so it is itself imported only when there is SQL to analyse.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from sqlglot import exp

#: What makes the same data give another result, or asks for data of another time.
_UNSTEADY = (
    exp.CurrentDate, exp.CurrentDatetime, exp.CurrentTime, exp.CurrentTimestamp, exp.CurrentUser, exp.SessionUser,
    exp.Rand, exp.Uuid, exp.TableSample, exp.Version,
)  # fmt: skip

#: Definitions of columns and keys, which read nothing when they are created.
_DEFINITIONS = (exp.ColumnDef, exp.ForeignKey, exp.Reference)

# https://cloud.google.com/bigquery/docs/reference/standard-sql/functions-all: those that sqlglot has no class for;
# and VALUES, which it takes for a function in MERGE ... INSERT VALUES (...)
_FUNCTIONS = frozenset(
    ("APPROX_SUM", "ARRAY_FILTER", "ARRAY_INCLUDES", "ARRAY_INCLUDES_ALL", "ARRAY_INCLUDES_ANY", "ARRAY_IS_DISTINCT",
     "ARRAY_TRANSFORM", "BAG_OF_WORDS", "BIT_CAST_TO_INT64", "BOOL_ARRAY", "DATE_BUCKET", "DATETIME_BUCKET",
     "DETERMINISTIC_DECRYPT_BYTES", "DETERMINISTIC_ENCRYPT", "ERROR", "FLOAT32", "FLOAT64_ARRAY",
     "GENERATE_RANGE_ARRAY", "IEEE_DIVIDE", "INT64_ARRAY", "JSON_CONTAINS", "JSON_FLATTEN", "NULLIFZERO", "OFFSET",
     "ORDINAL", "RANGE", "SAFE_OFFSET", "SAFE_ORDINAL", "SAFE_TO_JSON", "SEARCH", "STRING_ARRAY", "TEXT_ANALYZE",
     "TF_IDF", "TIMESTAMP_BUCKET", "VALUES", "ZEROIFNULL")
)  # fmt: skip
_FUNCTION_FAMILIES = ("LAX_", "RANGE_", "S2_", "ST_")
_NAMESPACES = frozenset(("HLL_COUNT", "KLL_QUANTILES", "NET", "SAFE"))


@dataclass(frozen=True, slots=True)
class _Scope:
    """Names that hide tables, in lower case: CTEs and temporary tables, and what stands in FROM so far."""

    tables: frozenset[str] = frozenset()
    aliases: frozenset[str] = frozenset()

    def hides(self, parts: list[str]) -> bool:
        """Tell whether a path is a CTE, a temporary table or an array in a row of what stands before."""
        first = parts[0].lower()
        return first in self.tables if len(parts) == 1 else first in self.aliases or first == "_session"

    def with_table(self, name: str) -> _Scope:
        return _Scope(self.tables | {name.lower()}, self.aliases)

    def with_alias(self, name: str) -> _Scope:
        return _Scope(self.tables, self.aliases | {name.lower()}) if name else self


@dataclass(slots=True)
class References:
    """What a statement refers to.

    Attributes:
        tables: The tables it reads.
        known: Whether that is all it reads: it calls nothing and asks nothing that may read more.
        steady: Whether the same data gives the same result.
    """

    tables: list[exp.Table] = field(default_factory=list)
    known: bool = True
    steady: bool = True


def references(
    statement: exp.Expr,
    *,
    skip: exp.Expr | None,
    temporary_tables: frozenset[str],
    temporary_functions: frozenset[str],
) -> References:
    """Find what a statement reads.

    Args:
        statement: What sqlglot parsed.
        skip: The part that is written, not read.
        temporary_tables: Names, in lower case, that statements before have made.
        temporary_functions: The same of functions, in upper case.
    """
    found = References()
    stack: list[tuple[exp.Expr, _Scope]] = [(statement, _Scope(temporary_tables))]
    while stack:
        node, scope = stack.pop()
        if node is skip or isinstance(node, _DEFINITIONS):
            continue
        if isinstance(node, exp.Table):
            _look_up(node, scope, found)
        elif isinstance(node, _UNSTEADY) or (isinstance(node, exp.Parameter) and isinstance(node.this, exp.Parameter)):
            found.steady = False
        elif not _is_known_call(node, temporary_functions):
            found.known = found.steady = False
        stack.extend(_parts(node, scope))
    return found


def path_of(table: exp.Table) -> list[str]:
    """Split a table's name into project, dataset and table, as far as they are written."""
    parts = (table.args.get("catalog"), table.args.get("db"), table.this)
    return [part.name if isinstance(part, exp.Expr) else str(part) for part in parts if part]


def _look_up(table: exp.Table, scope: _Scope, found: References) -> None:
    """https://cloud.google.com/bigquery/docs/reference/standard-sql/query-syntax#from_clause."""
    parts = path_of(table)
    about_tables = any(part.upper().startswith(("INFORMATION_SCHEMA", "__TABLES")) for part in parts)
    if about_tables or not isinstance(table.this, exp.Identifier):  # the latter: a table function, or too many parts
        found.known = found.steady = False
    elif not scope.hides(parts):
        found.tables.append(table)


def _is_known_call(node: exp.Expr, temporary: frozenset[str]) -> bool:
    """Tell whether a node is no call, or one of a built-in or temporary function."""
    if isinstance(node, exp.Dot) and isinstance(node.expression, exp.Func):
        return isinstance(node.this, exp.Identifier) and node.this.name.upper() in _NAMESPACES
    if not isinstance(node, exp.Anonymous) or isinstance(node.parent, exp.NetFunc):
        return True
    if (isinstance(node.parent, exp.Dot) and node.arg_key == "expression") or isinstance(node.parent, exp.Table):
        return True  # judged as a whole, with its namespace
    name = node.name.upper()
    return name in temporary or name in _FUNCTIONS or name.startswith(_FUNCTION_FAMILIES)


def _parts(node: exp.Expr, outer: _Scope) -> Iterator[tuple[exp.Expr, _Scope]]:
    """Split a node into its children, each with the names that hold there."""
    scope = outer
    with_ = node.args.get("with_")
    if with_ is not None:
        names = [cte.alias for cte in with_.expressions]
        for cte in with_.expressions:
            if with_.args.get("recursive"):
                for name in names:
                    scope = scope.with_table(name)
            yield cte.this, scope
            scope = scope.with_table(cte.alias)
    for item in _from_items(node):
        source = item.this if isinstance(item, exp.Join) else item
        # a subquery in FROM does not see what stands beside it
        yield source, _Scope(scope.tables, outer.aliases) if isinstance(source, exp.Subquery) else scope
        scope = scope.with_alias(source.alias_or_name)
    for key, value in node.args.items():
        if key in {"with_", "from_", "joins"}:
            continue
        yield from ((child, scope) for child in _expressions(value) if not _is_from_item(node, key))
    for join in node.args.get("joins") or ():
        yield from ((child, scope) for key in join.args if key != "this" for child in _expressions(join.args[key]))


def _from_items(node: exp.Expr) -> Iterator[exp.Expr]:
    """What stands in a statement's FROM, in order; the target of DML comes first."""
    for key in node.args:
        if _is_from_item(node, key):
            yield from _expressions(node.args[key])
    from_ = node.args.get("from_")
    if from_ is not None:
        yield from_.this
    yield from node.args.get("joins") or ()


def _is_from_item(node: exp.Expr, key: str) -> bool:
    if isinstance(node, exp.Merge):
        return key in {"this", "using"}
    if isinstance(node, exp.Delete):
        return key in {"this", "tables"}
    return isinstance(node, exp.Update) and key == "this"


def _expressions(value: object) -> Iterator[exp.Expr]:
    if isinstance(value, exp.Expr):
        yield value
    elif isinstance(value, list):
        yield from (part for part in value if isinstance(part, exp.Expr))
