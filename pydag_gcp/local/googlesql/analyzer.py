"""Expressions: every node of the tree that GoogleSQL knows is typed and written in DuckDB's SQL, any other refused."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from sqlglot import exp

from pydag_gcp.local.googlesql.scope import Grouping, Scope
from pydag_gcp.local.googlesql.syntax import InvalidQuery, Statement, Unsupported
from pydag_gcp.local.googlesql.typed import Typed
from pydag_gcp.local.googlesql.types import INT64, NULL, Type, array
from pydag_gcp.local.googlesql.wire import Parameter

if TYPE_CHECKING:
    from pydag_gcp.local.googlesql.translate import TableRef, Tables

Reader: TypeAlias = "Callable[[Analyzer, exp.Expr, Scope], Typed]"


@dataclass(frozen=True)
class Relation:
    """A query, ready to stand in parentheses; its columns are called c1, c2...

    Attributes:
        sql: DuckDB's SELECT.
        columns: Names as written ("": none) and values; their SQL means nothing outside.
        is_value: Each row is the one value itself: SELECT AS STRUCT, SELECT AS VALUE.
    """

    sql: str
    columns: tuple[tuple[str, Typed], ...]
    is_value: bool = False

    @property
    def types(self) -> tuple[Type, ...]:
        """The columns' types."""
        return tuple(value.type for _, value in self.columns)


class Queries(Protocol):
    """Reads a query that stands in an expression."""

    def __call__(self, analyzer: Analyzer, node: exp.Expr, outer: Scope | None) -> Relation:
        """Return the query, which may use the names of ``outer``."""


class Analyzer:
    """Reads one statement.

    Args:
        statement: The statement.
        tables: The catalogue.
        parameters: All named or all positional.
        readers: How to read each kind of node.
        queries: How to read a query.
    """

    def __init__(
        self,
        statement: Statement,
        *,
        tables: Tables,
        parameters: Sequence[Parameter],
        readers: Mapping[type[exp.Expr], Reader],
        queries: Queries,
    ) -> None:
        self.statement = statement
        self.tables = tables
        self.reads: dict[tuple[str, str, str, str], TableRef] = {}
        self.bound: dict[str, object] = {}
        self.ctes: dict[str, tuple[str, Relation]] = {}
        self._readers = readers
        self._queries = queries
        self._parameters = tuple(parameters)
        self._numbers = itertools.count(1)
        self._places = _placeholders(statement)
        #: How many views surround this statement.
        self.depth = 0

    def inside(self, statement: Statement) -> Analyzer:
        """Return the reader of a view that this statement reads; what it reads counts as ours."""
        inner = Analyzer(statement, tables=self.tables, parameters=(), readers=self._readers, queries=self._queries)
        inner.reads, inner._numbers, inner.depth = self.reads, self._numbers, self.depth + 1
        return inner

    def fresh(self, prefix: str) -> str:
        """Return an identifier that is used nowhere else in the statement."""
        return f"{prefix}{next(self._numbers)}"

    def read(self, node: exp.Expr, scope: Scope) -> Typed:
        """Return what ``node`` means in ``scope``.

        Raises:
            InvalidQuery: BigQuery would refuse it; carries its place.
            Unsupported: BigQuery would run it, we do not.
        """
        try:
            return self._read(node, scope)
        except InvalidQuery as error:
            if error.line:
                raise
            raise error.at(*self.statement.place(node)) from None

    def _read(self, node: exp.Expr, scope: Scope) -> Typed:
        if scope.grouping is not None:
            known = self._grouped(node, scope.grouping)
            if known is not None:
                return known
        reader = self._readers.get(type(node))
        if reader is None:
            raise Unsupported(f"the construct {type(node).__name__} in {_excerpt(node)}")
        return reader(self, node, scope)

    def _grouped(self, node: exp.Expr, grouping: Grouping) -> Typed | None:
        """Return the grouping key that ``node`` spells, if it is one."""
        if isinstance(node, (exp.Literal, exp.Column, exp.Query, exp.Subquery)) or not grouping.keys:
            return None
        try:
            value = self._read(node, grouping.inner)
        except (InvalidQuery, LookupError):
            return None
        return grouping.keys.get(value.sql)

    def query(self, node: exp.Expr, scope: Scope | None) -> Relation:
        """Return the query that stands in an expression or a FROM clause."""
        return self._queries(self, node, scope)

    def array_of(self, node: exp.Expr, scope: Scope) -> Typed:
        """Return ``ARRAY(SELECT ...)``: never NULL.

        Raises:
            InvalidQuery: The query has more than one column.
        """
        relation = self.query(node, scope)
        if len(relation.columns) != 1:
            raise InvalidQuery("ARRAY subquery cannot have more than one column unless using SELECT AS STRUCT")
        (kind,) = relation.types
        if kind.element:
            raise InvalidQuery("Cannot use array subquery with column of type ARRAY")
        whole = array(INT64 if kind == NULL else kind)
        return Typed(f"CAST(ARRAY({relation.sql}) AS {whole.duckdb})", whole, stable=False)

    def reads_table(self, table: TableRef) -> None:
        """Remember that the statement reads ``table``."""
        self.reads.setdefault((table.duckdb_name, table.project, table.dataset, table.table), table)

    def parameter(self, node: exp.Expr) -> Typed:
        """Return the query parameter that ``node`` names, bound.

        Raises:
            InvalidQuery: No value was given for it.
        """
        if isinstance(node, exp.Placeholder):
            place = self._places.index(node.meta.get("start", -1))
            found = self._parameters[place] if place < len(self._parameters) else None
            if found is None or found.name is not None:
                raise InvalidQuery(f"Query parameter number {place + 1} is not defined")
            key = f"p{place + 1}"
        else:
            name = node.name
            match = [p for p in self._parameters if p.name is not None and p.name.lower() == name.lower()]
            if not match:
                raise InvalidQuery(f"Query parameter '{name}' not found")
            found, key = match[0], f"p_{name.lower()}"
        self.bound[key] = found.value
        return Typed(f"CAST(${key} AS {found.type.duckdb})", found.type, coercible=True)


def _placeholders(statement: Statement) -> list[int]:
    return sorted(node.meta.get("start", -1) for node in statement.tree.find_all(exp.Placeholder))


def _excerpt(node: exp.Expr) -> str:
    words = node.sql(dialect="bigquery")
    return words if len(words) <= 60 else words[:57] + "..."


def only(node: exp.Expr, *allowed: str) -> None:
    """Refuse a node that says more than we read of it.

    Raises:
        Unsupported: An argument outside ``allowed`` is given.
    """
    for name, value in node.args.items():
        if name not in allowed and value not in (None, False, [], ""):
            raise Unsupported(f"{name.strip('_').replace('_', ' ').upper()} in {_excerpt(node)}")
