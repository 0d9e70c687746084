"""The ``tables`` and ``tabledata`` methods of BigQuery's REST API.

Reference: https://cloud.google.com/bigquery/docs/reference/rest/v2/tables and .../rest/v2/tabledata.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import duckdb
from werkzeug.wrappers import Request

from pydag_gcp.local.bigquery import streaming
from pydag_gcp.local.bigquery.catalogue import Catalogue, DatasetName, Table, TableName
from pydag_gcp.local.bigquery.dataset_routes import check_etag, page_of, rest_errors
from pydag_gcp.local.bigquery.job import JobError
from pydag_gcp.local.bigquery.names import Names, Scope
from pydag_gcp.local.bigquery.partitions import same_specification
from pydag_gcp.local.bigquery.query import job_errors, single_select
from pydag_gcp.local.bigquery.resources import etag, patched, table_body, table_to_api, table_to_list
from pydag_gcp.local.bigquery.results import PageRequest, page
from pydag_gcp.local.bigquery.schemas import (
    ADDITION,
    RELAXATION,
    SchemaMismatch,
    apply_change,
    evolve,
    read_schema,
    schema_to_api,
)
from pydag_gcp.local.bigquery.sizes import Sizes
from pydag_gcp.local.bigquery.warehouse import Warehouse
from pydag_gcp.local.googlesql.translate import translate
from pydag_gcp.local.http import Api, ApiError, json_body, not_implemented

#: https://cloud.google.com/bigquery/docs/tables#table_naming
_TABLE_ID = re.compile(r"[\w\- ]{1,1024}")


class TableRoutes:
    """Answers the ``tables`` and ``tabledata`` methods.

    Args:
        warehouse: Where the tables are.
        sizes: How much they hold.
    """

    def __init__(self, warehouse: Warehouse, sizes: Sizes) -> None:
        self._warehouse = warehouse
        self._sizes = sizes

    def register(self, api: Api) -> None:
        """Add the routes."""
        base = "/bigquery/v2/projects/<project>/datasets/<dataset>/tables"
        for method, verb, rule, handler in (
            ("tables.insert", "POST", base, self.insert),
            ("tables.list", "GET", base, self.list),
            ("tables.get", "GET", f"{base}/<table>", self.get),
            ("tables.patch", "PATCH", f"{base}/<table>", self.patch),
            ("tables.update", "PUT", f"{base}/<table>", self.update),
            ("tables.delete", "DELETE", f"{base}/<table>", self.delete),
            ("tabledata.list", "GET", f"{base}/<table>/data", self.rows),
            ("tabledata.insertAll", "POST", f"{base}/<table>/insertAll", self.insert_all),
        ):
            api.route(f"bigquery.{method}", verb, rule)(handler)

    @contextmanager
    def _writing(self, name: TableName) -> Iterator[Catalogue]:
        with rest_errors(), self._warehouse.writing({str(name)}, {str(name.parent)}) as connection:
            yield Catalogue(connection, self._warehouse.clock)

    @contextmanager
    def _reading(self) -> Iterator[Catalogue]:
        with rest_errors(), self._warehouse.reading() as connection:
            yield Catalogue(connection, self._warehouse.clock)

    def _resource(self, catalogue: Catalogue, table: Table) -> Mapping[str, Any]:
        location = catalogue.dataset(table.name.parent).location
        size = self._sizes.total(catalogue.connection, table)
        return table_to_api(table, location, rows=catalogue.count(table), size=size)

    def insert(self, request: Request, project: str, dataset: str) -> Mapping[str, Any]:
        """Make a table or view."""
        resource = json_body(request)
        table_id = str((resource.get("tableReference") or {}).get("tableId") or "")
        if not _TABLE_ID.fullmatch(table_id):
            message = (
                f'Invalid table ID "{table_id}". Table IDs must be alphanumeric (plus underscores, dashes and spaces) '
                "and must be at most 1024 characters long."
            )
            raise ApiError(400, "invalid", message)
        name = TableName(project=project, dataset=dataset, table=table_id)
        with self._writing(name) as catalogue:
            body, expires = _body(resource)
            if "view" not in body:
                return self._resource(catalogue, catalogue.create_table(name, body, expires=expires))
            body["schema"] = _view_schema(catalogue, name, body["view"])
            return self._resource(catalogue, catalogue.create_table(name, body, kind="VIEW", expires=expires))

    def list(self, request: Request, project: str, dataset: str) -> Mapping[str, Any]:
        """List tables and views."""
        name = DatasetName(project=project, dataset=dataset)
        with self._reading() as catalogue:
            catalogue.dataset(name)
            found = catalogue.tables(name)
        shown, rest = page_of(found, request)
        tables = [table_to_list(table) for table in shown]
        return {"kind": "bigquery#tableList", "tables": tables, "totalItems": len(found), **rest}

    def get(self, request: Request, project: str, dataset: str, table: str) -> Mapping[str, Any]:
        """Return a table or view."""
        with self._reading() as catalogue:
            return self._resource(catalogue, catalogue.table(_name(project, dataset, table)))

    def patch(self, request: Request, project: str, dataset: str, table: str) -> Mapping[str, Any]:
        """Change some properties of a table."""
        return self._change(request, _name(project, dataset, table), keep=True)

    def update(self, request: Request, project: str, dataset: str, table: str) -> Mapping[str, Any]:
        """Replace all properties of a table."""
        return self._change(request, _name(project, dataset, table), keep=False)

    def _change(self, request: Request, name: TableName, *, keep: bool) -> Mapping[str, Any]:
        resource = json_body(request)
        with self._writing(name) as catalogue:
            table = catalogue.table(name)
            check_etag(request, etag(table))
            present = dict(table.body)
            if table.expires is not None:
                present["expirationTime"] = str(table.expires)
            merged = patched(present, resource) if keep else {"schema": present.get("schema"), **resource}
            body, expires = _body(merged)
            if table.kind == "VIEW":
                body["schema"] = _view_schema(catalogue, name, body["view"])
                return self._resource(catalogue, catalogue.change_table(table, body=body, expires=expires))
            return self._resource(catalogue, _change_table(catalogue, table, body, expires))

    def delete(self, request: Request, project: str, dataset: str, table: str) -> None:
        """Delete a table or view."""
        name = _name(project, dataset, table)
        with self._writing(name) as catalogue:
            catalogue.drop_table(catalogue.table(name))

    def rows(self, request: Request, project: str, dataset: str, table: str) -> Mapping[str, Any]:
        """Return a page of a table's rows."""
        wanted = PageRequest.of(request)
        with self._reading() as catalogue:
            found = catalogue.table(_name(project, dataset, table))
            answer = page(catalogue, found, wanted, self._sizes)
        return {"kind": "bigquery#tableDataList", "etag": etag(found), **answer}

    def insert_all(self, request: Request, project: str, dataset: str, table: str) -> Mapping[str, Any]:
        """Add rows to a table at once."""
        insertion = streaming.Insertion.of(json_body(request))
        with self._writing(_name(project, dataset, table)) as catalogue:
            errors = streaming.insert(catalogue, catalogue.table(_name(project, dataset, table)), insertion)
        answer: dict[str, Any] = {"kind": "bigquery#tableDataInsertAllResponse"}
        return answer | {"insertErrors": errors} if errors else answer


def _name(project: str, dataset: str, table: str) -> TableName:
    if "$" in table or "@" in table:
        raise not_implemented(f"a table decorator in this call ({table})")
    return TableName(project=project, dataset=dataset, table=table)


def _body(resource: Mapping[str, Any]) -> tuple[dict[str, Any], int | None]:
    """Return what is kept of a Table resource, and when the table expires."""
    body = table_body(resource)
    expires = body.pop("expirationTime", None)
    return body, None if expires is None else int(expires)


def _view_schema(catalogue: Catalogue, name: TableName, view: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns that a view shows, which proves that its query can be run."""
    location = catalogue.dataset(name.parent).location
    try:
        with job_errors():
            names = Names(catalogue, Scope(project=name.project, location=location))
            return schema_to_api(translate(single_select(view.get("query") or ""), tables=names).fields)
    except JobError as error:
        raise error.to_http() from error


def _change_table(catalogue: Catalogue, table: Table, body: dict[str, Any], expires: int | None) -> Table:
    wanted = read_schema(body.get("schema"))
    missing = {column.name.lower() for column in table.fields} - {column.name.lower() for column in wanted}
    if missing:
        message = f"Provided Schema does not match Table {table.name}. Field {min(missing)} is missing in new schema"
        raise ApiError(400, "invalid", message)
    layout = {key: value for key, value in table.body.items() if key != "clustering"}
    proposed = {key: value for key, value in body.items() if key != "clustering"}
    if not same_specification(proposed, layout) or not same_specification(layout, proposed):
        raise ApiError(400, "invalid", f"Cannot change partitioning/clustering spec for table {table.name}.")
    if not table.fields and wanted:
        storage = catalogue.create_storage(wanted)
        return catalogue.change_table(table, body=body, storage=storage, expires=expires)
    try:
        schema = evolve(table.fields, wanted, {ADDITION, RELAXATION}, table.name)
        apply_change(catalogue.connection, table.rows, table.fields, schema)
    except SchemaMismatch as error:
        raise ApiError(400, "invalid", str(error)) from None
    except duckdb.CatalogException as error:
        raise ApiError(400, "invalid", f"Table {table.name} cannot be changed: {error}") from None
    described = {column.name.lower(): column for column in wanted}
    body["schema"] = {"fields": [_described(column, described) for column in schema_to_api(schema)["fields"]]}
    return catalogue.change_table(table, body=body, expires=expires)


def _described(entry: dict[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return a column with the description that the caller sent, which may be none."""
    entry.pop("description", None)
    description = wanted[entry["name"].lower()].description
    return entry if description is None else {**entry, "description": description}
