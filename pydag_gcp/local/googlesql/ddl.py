"""Definitions: what a CREATE, ALTER, DROP or EXPORT statement asks for, as plain data.

Reference: https://cloud.google.com/bigquery/docs/reference/standard-sql/data-definition-language.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from sqlglot import exp

from pydag_gcp.local.googlesql.analyzer import only
from pydag_gcp.local.googlesql.datatypes import read_field
from pydag_gcp.local.googlesql.options import (
    SCHEMA_OPTIONS,
    TABLE_OPTIONS,
    Partitioning,
    Properties,
    TableOptions,
    option,
    text_option,
)
from pydag_gcp.local.googlesql.syntax import InvalidQuery, Statement, Unsupported
from pydag_gcp.local.googlesql.types import Field, UnsupportedType

_MOST_CLUSTERING = 4

__all__ = [
    "Alteration",
    "Drop",
    "Export",
    "Name",
    "Partitioning",
    "SchemaDefinition",
    "TableDefinition",
    "TableOptions",
    "alteration",
    "drop",
    "export",
    "schema_definition",
    "table_definition",
]


@contextmanager
def placed(statement: Statement, node: exp.Expr) -> Iterator[None]:
    """Give an error that is raised inside the place of ``node``, unless it has one."""
    try:
        yield
    except InvalidQuery as error:
        raise error.at(*statement.place(node)) from None


@dataclass(frozen=True, kw_only=True)
class Name:
    """A table or view as written: parts that were left out are None."""

    project: str | None
    dataset: str | None
    table: str


@dataclass(frozen=True, kw_only=True)
class TableDefinition:
    """CREATE TABLE or CREATE VIEW (then ``query`` is what it shows and ``fields`` may only rename)."""

    target: Name
    fields: tuple[Field, ...] = ()
    partitioning: Partitioning | None = None
    clustering: tuple[str, ...] = ()
    options: TableOptions = field(default_factory=TableOptions)
    if_not_exists: bool = False
    or_replace: bool = False
    #: The AS SELECT: run it with ``translate(query, ..., into=fields or None)``.
    query: Statement | None = None


@dataclass(frozen=True, kw_only=True)
class SchemaDefinition:
    """CREATE SCHEMA and DROP SCHEMA (then only ``if_exists`` and ``cascade`` matter)."""

    project: str | None
    dataset: str
    options: TableOptions = field(default_factory=TableOptions)
    if_not_exists: bool = False
    if_exists: bool = False
    cascade: bool = False


@dataclass(frozen=True, kw_only=True)
class Drop:
    """DROP TABLE or DROP VIEW."""

    target: Name
    if_exists: bool


@dataclass(frozen=True, kw_only=True)
class Alteration:
    """ALTER TABLE: exactly one of ``add``, ``rename_to``, ``options`` is set."""

    target: Name
    if_exists: bool = False
    add: tuple[tuple[Field, bool], ...] = ()  # (column, IF NOT EXISTS)
    rename_to: str | None = None
    options: TableOptions | None = None


@dataclass(frozen=True, kw_only=True)
class Export:
    """EXPORT DATA: ``options`` holds uri, format, overwrite, header, field_delimiter, compression as given."""

    query: Statement
    options: Mapping[str, object]


def table_definition(statement: Statement) -> TableDefinition:
    """Read CREATE TABLE, CREATE TABLE AS SELECT or CREATE VIEW.

    Raises:
        InvalidQuery: The definition contradicts itself.
        Unsupported: A clause, type or option that the local cloud does not keep.
    """
    tree = statement.tree
    with placed(statement, tree):
        _only_create(tree)
        schema = tree.this if isinstance(tree.this, exp.Schema) else None
        target = _name(schema.this if schema is not None else tree.this)
        view = tree.args.get("kind") == "VIEW"
        fields = _columns(statement, schema, view=view)
        properties = Properties(statement, tree.args.get("properties"), TABLE_OPTIONS)
        query = None
        if tree.expression is not None:
            query = Statement(kind="SELECT", tree=tree.expression, text=statement.text, line=statement.line)
        if not fields and query is None:
            raise InvalidQuery("CREATE TABLE must have a list of columns or AS SELECT")
        partitioning = properties.partitioning()
        _check_clustering(properties.clustering)
        if tree.args.get("exists") and tree.args.get("replace"):
            raise InvalidQuery("CREATE OR REPLACE cannot have IF NOT EXISTS")
        return TableDefinition(
            target=target,
            fields=fields,
            partitioning=partitioning,
            clustering=properties.clustering,
            options=properties.options(),
            if_not_exists=bool(tree.args.get("exists")),
            or_replace=bool(tree.args.get("replace")),
            query=query,
        )


def _check_clustering(columns: tuple[str, ...]) -> None:
    if len(columns) > _MOST_CLUSTERING:
        raise InvalidQuery(f"CLUSTER BY takes at most {_MOST_CLUSTERING} columns")


def schema_definition(statement: Statement) -> SchemaDefinition:
    """Read CREATE SCHEMA or DROP SCHEMA.

    Raises:
        Unsupported: An option that the local cloud does not keep.
    """
    tree = statement.tree
    with placed(statement, tree):
        parts = [str(part.name) for part in _dropped(tree).parts if str(part.name)]
        if not 1 <= len(parts) <= 2:
            raise InvalidQuery(f"Invalid dataset name {'.'.join(parts)}")
        project, dataset = (None, parts[0]) if len(parts) == 1 else (parts[0], parts[1])
        if isinstance(tree, exp.Drop):
            only(tree, "this", "tables", "kind", "exists", "cascade")
            return SchemaDefinition(
                project=project,
                dataset=dataset,
                if_exists=bool(tree.args.get("exists")),
                cascade=bool(tree.args.get("cascade")),
            )
        _only_create(tree)
        properties = Properties(statement, tree.args.get("properties"), SCHEMA_OPTIONS)
        if_not_exists = bool(tree.args.get("exists"))
        return SchemaDefinition(
            project=project, dataset=dataset, options=properties.options(), if_not_exists=if_not_exists
        )


def drop(statement: Statement) -> Drop:
    """Read DROP TABLE or DROP VIEW.

    Raises:
        Unsupported: DROP MATERIALIZED VIEW and its kin.
    """
    tree = statement.tree
    with placed(statement, tree):
        only(tree, "this", "tables", "kind", "exists")
        return Drop(target=_name(_dropped(tree)), if_exists=bool(tree.args.get("exists")))


def _dropped(tree: exp.Expr) -> exp.Table:
    """Return the name that a DROP or CREATE SCHEMA names."""
    found = [tree.this] if tree.this is not None else list(tree.args.get("tables") or [])
    if len(found) != 1 or not isinstance(found[0], exp.Table):
        raise InvalidQuery(f"{tree.key.upper()} needs one name")
    return found[0]


def alteration(statement: Statement) -> Alteration:
    """Read ALTER TABLE ADD COLUMN, RENAME TO or SET OPTIONS.

    Raises:
        Unsupported: Any other action.
    """
    tree = statement.tree
    with placed(statement, tree):
        only(tree, "this", "kind", "exists", "actions")
        actions = tree.args["actions"]
        wanted = Alteration(target=_name(tree.this), if_exists=bool(tree.args.get("exists")))
        if actions and all(isinstance(each, exp.ColumnDef) for each in actions):
            added = tuple((_column(statement, each), bool(each.args.get("exists"))) for each in actions)
            if any(field.mode == "REQUIRED" for field, _ in added):
                raise InvalidQuery("Cannot add a required column to an existing table")
            return replace(wanted, add=added)
        (action,) = actions if len(actions) == 1 else (None,)
        if isinstance(action, exp.AlterRename):
            return replace(wanted, rename_to=_name(action.this).table)
        if isinstance(action, exp.AlterSet) and not any(v for k, v in action.args.items() if k != "expressions"):
            options = Properties(statement, exp.Properties(expressions=_set_options(action)), TABLE_OPTIONS)
            return replace(wanted, options=options.options())
        raise Unsupported(f"statement {tree.sql(dialect='bigquery')[:60]}")


def _set_options(action: exp.Expr) -> list[exp.Expr]:
    found: list[exp.Expr] = []
    for each in action.expressions:
        found += each.expressions if isinstance(each, exp.Properties) else [each]
    return found


def export(statement: Statement) -> Export:
    """Read EXPORT DATA.

    Raises:
        Unsupported: WITH CONNECTION.
    """
    tree = statement.tree
    with placed(statement, tree):
        only(tree, "this", "options")
        if tree.this is None or tree.args.get("options") is None:
            raise InvalidQuery("EXPORT DATA must have OPTIONS and AS SELECT")
        query = Statement(kind="SELECT", tree=tree.this, text=statement.text, line=statement.line)
        options: dict[str, object] = {}
        for each in tree.args["options"].expressions:
            name, value = option(statement, each)
            options[name] = value
        return Export(query=query, options=options)


def _only_create(tree: exp.Expr) -> None:
    only(tree, "this", "kind", "expression", "exists", "replace", "properties", "with_")


def _name(node: exp.Expr) -> Name:
    if not isinstance(node, exp.Table) or not isinstance(node.this, exp.Identifier):
        raise Unsupported(f"the name {node.sql(dialect='bigquery')}")
    only(node, "this", "db", "catalog")
    *path, table = (str(part.name) for part in node.parts)
    project, dataset = ([None, None, *path])[-2:]
    return Name(project=project, dataset=dataset, table=table)


def _columns(statement: Statement, schema: exp.Expr | None, *, view: bool) -> tuple[Field, ...]:
    if schema is None:
        return ()
    fields: list[Field] = []
    for node in schema.expressions:
        if view and isinstance(node, exp.Identifier):
            fields.append(Field(name=str(node.name), type="STRING"))
        elif isinstance(node, exp.ColumnDef):
            fields.append(_column(statement, node))
        else:
            raise Unsupported(f"{node.sql(dialect='bigquery')} in a list of columns")
    _refuse_duplicates(fields)
    return tuple(fields)


def _refuse_duplicates(fields: Sequence[Field]) -> None:
    seen: set[str] = set()
    for each in fields:
        if each.name.lower() in seen:
            raise InvalidQuery(f"Duplicate column name {each.name} in CREATE TABLE")
        seen.add(each.name.lower())
        _refuse_duplicates(each.fields)


def _column(statement: Statement, node: exp.Expr) -> Field:
    with placed(statement, node):
        only(node, "this", "kind", "constraints", "exists")
        kind = node.args.get("kind")
        if kind is None:
            raise InvalidQuery(f"Column {node.name} has no type")
        field = _nested(statement, str(node.name), kind)
        try:
            _ = field.value_type.duckdb
        except UnsupportedType as error:
            raise Unsupported(str(error)) from None
        for constraint in node.args.get("constraints") or []:
            field = _constrained(statement, field, constraint.kind)
        return field


def _nested(statement: Statement, name: str, kind: exp.Expr) -> Field:
    """Return a column; fields of a STRUCT may have constraints of their own."""
    field = read_field(name, kind)
    struct = kind.expressions[0] if field.mode == "REPEATED" else kind
    if field.type != "STRUCT":
        return field
    children = tuple(
        _column(statement, each) if isinstance(each, exp.ColumnDef) else child
        for each, child in zip(struct.expressions, field.fields, strict=True)
    )
    return replace(field, fields=children)


def _constrained(statement: Statement, field: Field, constraint: exp.Expr) -> Field:
    if isinstance(constraint, exp.NotNullColumnConstraint) and not constraint.args.get("allow_null"):
        if field.mode == "REPEATED":
            raise InvalidQuery(f"NOT NULL constraint is not allowed for repeated field {field.name}")
        return replace(field, mode="REQUIRED")
    if isinstance(constraint, exp.DefaultColumnConstraint):
        return replace(field, default=constraint.this.sql(dialect="bigquery"))
    if isinstance(constraint, exp.Properties):
        given = dict(option(statement, each) for each in constraint.expressions)
        unknown = set(given) - {"description"}
        if unknown:
            raise Unsupported(f"column option {min(unknown)}")
        return replace(field, description=text_option("description", given.get("description")))
    raise Unsupported(f"column constraint {constraint.sql(dialect='bigquery')}")
