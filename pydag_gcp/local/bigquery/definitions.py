"""CREATE, ALTER and DROP as they take effect.

Reference: https://cloud.google.com/bigquery/docs/reference/standard-sql/data-definition-language.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydag_gcp.local.bigquery.catalogue import AlreadyExists, DatasetName, Table, TableName
from pydag_gcp.local.bigquery.job import JobError
from pydag_gcp.local.bigquery.partitions import check_partitioning
from pydag_gcp.local.bigquery.resources import patched
from pydag_gcp.local.bigquery.schemas import ADDITION, apply_change, evolve, schema_to_api
from pydag_gcp.local.bigquery.statements import Effect, Session
from pydag_gcp.local.googlesql import ddl
from pydag_gcp.local.googlesql.options import TableOptions
from pydag_gcp.local.googlesql.syntax import GoogleSql, InvalidQuery, Statement
from pydag_gcp.local.googlesql.types import Field

_DAY = 24 * 60 * 60 * 1000


def create_table(session: Session, statement: Statement) -> Effect:
    """Run CREATE TABLE, with or without AS SELECT."""
    wanted = ddl.table_definition(statement)
    name = _name(session, wanted.target)
    found = session.catalogue.find_table(name)
    if found is not None and wanted.if_not_exists:
        return _effect(statement, "SKIP", name)
    if found is not None and not wanted.or_replace:
        raise AlreadyExists(f"Already Exists: Table {name}")
    ready = session.translate(wanted.query, wanted.fields or None) if wanted.query is not None else None
    fields = wanted.fields or (ready.fields if ready else ())
    body = _body(wanted, fields)
    check_partitioning(body, fields)
    sizes = session.reads(wanted.query, ready) if wanted.query is not None and ready is not None else {}
    session.catalogue.dataset(name.parent)
    # The replaced table may be read by its own replacement, so it goes last.
    storage = session.catalogue.create_storage(tuple(fields))
    if ready is not None:
        session.fill(ready, storage, fields)
    if found is not None:
        _require(found, "TABLE")
        session.catalogue.drop_table(found)
    session.catalogue.create_table(name, body, expires=_expiry(wanted.options), storage=storage)
    return _effect(statement, "REPLACE" if found else "CREATE", name, sizes=sizes)


def create_view(session: Session, statement: Statement) -> Effect:
    """Run CREATE VIEW."""
    wanted = ddl.table_definition(statement)
    name = _name(session, wanted.target)
    found = session.catalogue.find_table(name)
    if found is not None and wanted.if_not_exists:
        return _effect(statement, "SKIP", name)
    if found is not None and not wanted.or_replace:
        raise AlreadyExists(f"Already Exists: Table {name}")
    if wanted.query is None:
        raise InvalidQuery("CREATE VIEW needs AS and a query")
    if wanted.fields:
        raise JobError("notImplemented", f"The local cloud does not implement a view's list of columns ({name})")
    ready = session.translate(wanted.query)
    view = {"query": query_text(statement), "useLegacySql": False}
    body = {**_body(wanted, ready.fields), "view": view}
    if found is not None:
        _require(found, "VIEW")
        session.catalogue.drop_table(found)
    session.catalogue.create_table(name, body, kind="VIEW", expires=_expiry(wanted.options))
    return _effect(statement, "REPLACE" if found else "CREATE", name)


def drop(session: Session, statement: Statement) -> Effect:
    """Run DROP TABLE or DROP VIEW."""
    wanted = ddl.drop(statement)
    name = _name(session, wanted.target)
    if session.catalogue.find_table(name) is None and wanted.if_exists:
        return _effect(statement, "SKIP", name)
    found = session.names.table(name)
    _require(found, statement.kind.removeprefix("DROP_"))
    session.catalogue.drop_table(found)
    return _effect(statement, "DROP", name)


def alter_table(session: Session, statement: Statement) -> Effect:
    """Run ALTER TABLE."""
    wanted = ddl.alteration(statement)
    name = _name(session, wanted.target)
    if session.catalogue.find_table(name) is None and wanted.if_exists:
        return _effect(statement, "SKIP", name)
    table = session.names.table(name)
    _require(table, "TABLE")
    if wanted.rename_to is not None:
        session.catalogue.rename_table(table, TableName(**{**vars(name), "table": wanted.rename_to}))
    elif wanted.options is not None:
        if wanted.options.partition_expiration_days is not None:
            raise JobError("notImplemented", "The local cloud does not implement partition_expiration_days")
        given = _options(wanted.options)
        expires = _expiry(wanted.options) or table.expires
        session.catalogue.change_table(table, body=patched(table.body, given), expires=expires)
    else:
        _add_columns(session, table, wanted.add)
    return _effect(statement, "ALTER", name)


def _add_columns(session: Session, table: Table, columns: Sequence[tuple[Field, bool]]) -> None:
    known = {column.name.lower() for column in table.fields}
    new: list[Field] = []
    for column, if_not_exists in columns:
        if column.name.lower() not in known:
            new.append(column)
        elif not if_not_exists:
            raise InvalidQuery(f"Column already exists: {column.name}")
    schema = evolve(table.fields, (*table.fields, *new), {ADDITION}, table.name)
    apply_change(session.catalogue.connection, table.rows, table.fields, schema)
    body = {**table.body, "schema": schema_to_api(schema)}
    session.catalogue.change_table(table, body=body, expires=table.expires)


def create_schema(session: Session, statement: Statement) -> Effect:
    """Run CREATE SCHEMA."""
    wanted = ddl.schema_definition(statement)
    name = DatasetName(project=wanted.project or session.names.scope.project, dataset=wanted.dataset)
    if session.catalogue.find_dataset(name) is not None and wanted.if_not_exists:
        return _schema_effect(statement, "SKIP", name)
    options = wanted.options
    body = {**_options(options), "location": options.location or session.names.scope.location}
    if options.default_table_expiration_days is not None:
        body["defaultTableExpirationMs"] = str(int(options.default_table_expiration_days * _DAY))
    session.catalogue.create_dataset(name, body)
    return _schema_effect(statement, "CREATE", name)


def drop_schema(session: Session, statement: Statement) -> Effect:
    """Run DROP SCHEMA."""
    wanted = ddl.schema_definition(statement)
    name = DatasetName(project=wanted.project or session.names.scope.project, dataset=wanted.dataset)
    if session.catalogue.find_dataset(name) is None and wanted.if_exists:
        return _schema_effect(statement, "SKIP", name)
    session.catalogue.dataset(name)
    if session.catalogue.tables(name) and not wanted.cascade:
        raise JobError("resourceInUse", f"Dataset {name} is still in use")
    session.catalogue.drop_dataset(name)
    return _schema_effect(statement, "DROP", name)


#: What runs each kind of statement.
RUN: Mapping[str, Callable[[Session, Statement], Effect]] = {
    "CREATE_TABLE": create_table,
    "CREATE_TABLE_AS_SELECT": create_table,
    "CREATE_VIEW": create_view,
    "DROP_TABLE": drop,
    "DROP_VIEW": drop,
    "ALTER_TABLE": alter_table,
    "CREATE_SCHEMA": create_schema,
    "DROP_SCHEMA": drop_schema,
}


def query_text(statement: Statement) -> str:
    """Return the text of a CREATE VIEW's query, as it was written."""
    depth, start, end = 0, None, len(statement.text)
    for token in GoogleSql().tokenize(statement.text):
        if statement.text.count("\n", 0, token.start) + 1 < statement.line:
            continue
        if token.text in ("(", ")"):
            depth += 1 if token.text == "(" else -1
        elif start is None and depth == 0 and token.text.upper() == "AS":
            start = token.end + 1
        elif start is not None and token.text == ";":
            end = token.start
            break
    return statement.text[start:end].strip()


def _name(session: Session, target: ddl.Name) -> TableName:
    return session.names.scope.table(target.project, target.dataset, target.table)


def _require(table: Table, kind: str) -> None:
    if table.kind != kind:
        raise JobError(
            "invalid", f"{table.name} is not allowed for this operation because it is currently a {table.kind}."
        )


def _body(wanted: ddl.TableDefinition, fields: Sequence[Field]) -> dict[str, Any]:
    body = {**_options(wanted.options), "schema": schema_to_api(fields)}
    if wanted.clustering:
        body["clustering"] = {"fields": list(wanted.clustering)}
    partitioning, options = wanted.partitioning, wanted.options
    if partitioning is not None and partitioning.unit == "RANGE":
        limits = {key: str(getattr(partitioning, key)) for key in ("start", "end", "interval")}
        body["rangePartitioning"] = {"field": partitioning.column, "range": limits}
    elif partitioning is not None:
        body["timePartitioning"] = {"type": partitioning.unit, "field": partitioning.column}
        if options.partition_expiration_days is not None:
            body["timePartitioning"]["expirationMs"] = str(int(options.partition_expiration_days * _DAY))
    return body


def _options(options: TableOptions) -> dict[str, Any]:
    given = {
        "description": options.description,
        "friendlyName": options.friendly_name,
        "labels": dict(options.labels) if options.labels is not None else None,
        "requirePartitionFilter": options.require_partition_filter,
    }
    return {key: value for key, value in given.items() if value is not None}


def _expiry(options: TableOptions) -> int | None:
    moment = options.expiration_timestamp
    return None if moment is None else int(moment.timestamp() * 1000)


def _effect(
    statement: Statement, operation: str, name: TableName, *, sizes: Mapping[TableName, int] | None = None
) -> Effect:
    details = {"ddlOperationPerformed": operation, "ddlTargetTable": name.to_api()}
    return Effect(kind=statement.kind, sizes=sizes or {}, details=details)


def _schema_effect(statement: Statement, operation: str, name: DatasetName) -> Effect:
    target = {"projectId": name.project, "datasetId": name.dataset}
    return Effect(kind=statement.kind, details={"ddlOperationPerformed": operation, "ddlTargetDataset": target})
