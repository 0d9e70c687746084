"""What a name means at a place in a query.

Reference: https://cloud.google.com/bigquery/docs/reference/standard-sql/query-syntax#aliases (scope, ambiguity) and
https://cloud.google.com/bigquery/docs/reference/standard-sql/lexical#case_sensitivity.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sqlglot import exp

from pydag_gcp.local.googlesql.syntax import InvalidQuery, Unsupported
from pydag_gcp.local.googlesql.typed import Typed
from pydag_gcp.local.googlesql.types import INT64, Type, member_names, quoted

#: The SQL of an alias that was given twice.
AMBIGUOUS = ""


@dataclass(frozen=True, slots=True)
class Source:
    """One item of a FROM clause.

    Attributes:
        name: The range variable, as written; None if it has none.
        columns: Names, as written, and values of its columns, in order.
        value: The row itself, where it is a value: an element that UNNEST gave.
        filtered_by: The column that a query must filter on: the table has require_partition_filter.
    """

    name: str | None
    columns: tuple[tuple[str, Typed], ...]
    value: Typed | None = None
    filtered_by: str | None = None

    def row(self) -> Typed:
        """Return the row as a STRUCT, or the element that it is."""
        if self.value is not None:
            return self.value
        kind = Type("STRUCT", members=tuple((name, value.type) for name, value in self.columns))
        names = member_names(kind)
        if len({name.lower() for name in names}) < len(names):
            raise Unsupported(f"the row {self.name} as a value, as two of its columns have one name")
        parts = ", ".join(f"{quoted(n)} := {value.sql}" for n, (_, value) in zip(names, self.columns, strict=True))
        return Typed(f"struct_pack({parts})", kind)


@dataclass(frozen=True)
class Grouping:
    """What is left of a row once it was grouped.

    Attributes:
        inner: The scope before grouping, which keys and arguments of aggregates are read in.
        name: The grouped rows' name in DuckDB's SQL.
        keys: SQL of each grouping key -> the column that holds it.
        aggregates: SQL of each aggregate call met so far -> the column that will hold it.
    """

    inner: Scope
    name: str
    keys: Mapping[str, Typed]
    aggregates: dict[str, Typed] = field(default_factory=dict)

    def column(self, value: Typed) -> Typed:
        """Return the column that holds an aggregate."""
        if value.sql not in self.aggregates:
            self.aggregates[value.sql] = value.with_sql(f"{self.name}.a{len(self.aggregates) + 1}")
        return self.aggregates[value.sql]


@dataclass(frozen=True)
class Scope:
    """The names that an expression may use.

    Attributes:
        sources: The FROM clause.
        shared: Columns merged by JOIN USING, by lower-case name, in order.
        outer: What surrounds this query.
        grouping: Set once the rows are grouped.
        aliases: Select-list aliases that may be used here, by lower-case name.
        windows: Whether window functions may be used here.
    """

    sources: tuple[Source, ...] = ()
    shared: Mapping[str, Typed] = field(default_factory=dict)
    outer: Scope | None = None
    grouping: Grouping | None = None
    aliases: Mapping[str, Typed] = field(default_factory=dict)
    windows: bool = False

    def with_windows(self) -> Scope:
        """Return the same scope, where window functions may be called."""
        return replace(self, windows=True)

    def find(self, name: str) -> Typed:
        """Return what a single name means here or further out.

        Raises:
            InvalidQuery: Nothing, or more than one thing.
        """
        scope: Scope | None = self
        while scope is not None:
            found = scope.here(name.lower(), name)
            if found is not None:
                return found
            scope = scope.outer
        raise InvalidQuery(f"Unrecognized name: {name}{self._suggestion(name)}")

    def source(self, name: str) -> Source | None:
        """Return the range variable of that name, here or further out."""
        scope: Scope | None = self
        while scope is not None:
            inside = scope.grouping.inner if scope.grouping else scope
            for source in inside.sources:
                if source.name is not None and source.name.lower() == name.lower():
                    return source
            scope = scope.outer
        return None

    def column(self, source: Source, name: str) -> Typed:
        """Return a column of a range variable of this scope.

        Raises:
            InvalidQuery: It has none of that name, or several.
        """
        found = [value for other, value in source.columns if other.lower() == name.lower()]
        if not found:
            raise InvalidQuery(f"Name {name} not found inside {source.name}")
        if len(found) > 1:
            raise InvalidQuery(f"Column name {name} is ambiguous")
        return self.grouped(found[0], f"{source.name}.{name}", source)

    def grouped(self, value: Typed, name: str, source: Source | None = None) -> Typed:
        """Return the value as it is after grouping.

        Raises:
            InvalidQuery: It is neither grouped nor aggregated.
        """
        scope: Scope | None = self
        while scope is not None:
            if scope.grouping is not None and (source is None or _among(source, scope.grouping.inner)):
                break
            if source is not None and _among(source, scope):
                return value
            scope = None if source is None else scope.outer
        if scope is None or scope.grouping is None:
            return value
        if value.sql in scope.grouping.keys:
            return scope.grouping.keys[value.sql]
        raise InvalidQuery(f"SELECT list expression references column {name} which is neither grouped nor aggregated")

    def here(self, lower: str, name: str) -> Typed | None:
        """Return what a name means in this query alone, or None.

        Raises:
            InvalidQuery: More than one thing.
        """
        if lower in self.aliases:
            if self.aliases[lower].sql == AMBIGUOUS:
                raise InvalidQuery(f"Column name {name} is ambiguous")
            return self.aliases[lower]
        if self.grouping is not None:
            found = self.grouping.inner.here(lower, name)
            return None if found is None else self.grouped(found, name)
        if lower in self.shared:
            return self.shared[lower]
        for source in self.sources:
            if source.name is not None and source.name.lower() == lower:
                return source.row()
        found_columns = [value for other, value in self._columns() if other.lower() == lower]
        if len(found_columns) > 1:
            raise InvalidQuery(f"Column name {name} is ambiguous")
        return found_columns[0] if found_columns else None

    def _columns(self) -> Iterator[tuple[str, Typed]]:
        for source in self.sources:
            yield from source.columns

    def _suggestion(self, name: str) -> str:
        names = [other for other, _ in self._columns()]
        close = [other for other in names if other.lower()[:3] == name.lower()[:3]]
        return f"; Did you mean {close[0]}?" if close else ""

    def star(self) -> list[tuple[str, Typed]]:
        """Return what ``*`` stands for."""
        inner = self.grouping.inner if self.grouping else self
        columns: list[tuple[str, Typed]] = []
        seen: set[str] = set()
        for source in inner.sources:
            for name, value in source.columns:
                if name.lower() in inner.shared:
                    if name.lower() in seen:
                        continue
                    seen.add(name.lower())
                    columns.append((name, inner.shared[name.lower()]))
                else:
                    columns.append((name, value))
        merged = [column for column in columns if column[0].lower() in inner.shared]
        rest = [column for column in columns if column[0].lower() not in inner.shared]
        return [(name, self.grouped(value, name)) for name, value in merged + rest]


def _among(source: Source, scope: Scope) -> bool:
    return any(other is source for other in scope.sources)


def column_of(sql: str, value: Typed) -> Typed:
    """Return a column that holds what ``value`` was: no literal any more."""
    kind = INT64 if value.is_null else value.type
    return Typed(sql, kind, exact=value.exact)


def members(value: Typed) -> list[tuple[str, Typed]]:
    """Return the fields of a STRUCT value, as expressions."""
    names = member_names(value.type)
    return [
        (written, Typed(f"struct_extract({value.sql}, {literal_name(name)})", kind, stable=value.stable))
        for name, (written, kind) in zip(names, value.type.members, strict=True)
    ]


def require_filters(sources: Sequence[Source], filters: Sequence[exp.Expr]) -> None:
    """Refuse a query that reads a table with require_partition_filter and does not filter on the partition.

    https://cloud.google.com/bigquery/docs/managing-partitioned-tables#require-filter

    Raises:
        InvalidQuery: It does not.
    """
    named = {str(column.name).lower() for each in filters for column in each.find_all(exp.Column)}
    for source in sources:
        if source.filtered_by is not None and source.filtered_by.lower() not in named:
            raise InvalidQuery(
                f"Cannot query over table '{source.name}' without a filter over column(s) '{source.filtered_by}' "
                "that can be used for partition elimination"
            )


def literal_name(name: str) -> str:
    """Return a field's name as the string that DuckDB's struct_extract wants."""
    return "'" + name.replace("'", "''") + "'"


def access(value: Typed, name: str) -> Typed:
    """Return field ``name`` of a STRUCT value.

    Raises:
        InvalidQuery: The value is no STRUCT or has no such field.
    """
    if value.type.name != "STRUCT":
        raise InvalidQuery(f"Cannot access field {name} on a value with type {value.type}")
    found = [member for other, member in members(value) if other.lower() == name.lower()]
    if not found:
        raise InvalidQuery(f"Field name {name} does not exist in {value.type}")
    if len(found) > 1:
        raise InvalidQuery(f"Struct field name {name} is ambiguous")
    return found[0]
