"""Copy jobs.

Reference: https://cloud.google.com/bigquery/docs/reference/rest/v2/Job#JobConfigurationTableCopy.
"""

# ruff: noqa: S608  (names are quoted identifiers of our own making; values are bound)
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import duckdb

from pydag_gcp.local.bigquery.catalogue import Catalogue, Table, TableName
from pydag_gcp.local.bigquery.destinations import Destination, existing, write_rows
from pydag_gcp.local.bigquery.job import Job, JobError
from pydag_gcp.local.bigquery.jobs import Step
from pydag_gcp.local.bigquery.names import Names, Scope
from pydag_gcp.local.bigquery.query import job_errors
from pydag_gcp.local.bigquery.warehouse import Warehouse
from pydag_gcp.local.googlesql.types import Field, quoted

#: What a table made by a copy takes over from the first table it is copied from.
_INHERITED = ("timePartitioning", "rangePartitioning", "clustering", "description", "labels", "friendlyName")


def steps(job: Job, warehouse: Warehouse) -> Sequence[Step]:
    """Return a copy job's one step.

    Raises:
        JobError: The configuration cannot be carried out.
    """
    destination = Destination.from_api(job.options, write="WRITE_EMPTY")
    references = job.options.get("sourceTables") or [job.options.get("sourceTable")]
    if not all(references):
        raise JobError("required", "Required parameter is missing: configuration.copy.sourceTable")
    sources = [_source(reference) for reference in references]

    def run(connection: duckdb.DuckDBPyConnection, _: Mapping[str, Any]) -> Mapping[str, Any]:
        catalogue = Catalogue(connection, warehouse.clock)
        with job_errors():
            names = Names(catalogue, Scope(project=job.name.project, location=job.name.location))
            copied = _copy(catalogue, [names.table(name) for name in sources], destination)
        return {"copy": {"copiedRows": str(copied)}}

    return [Step(run=run, exclusive=destination.exclusive, shared=destination.shared)]


def _source(reference: Mapping[str, str]) -> TableName:
    table = reference["tableId"]
    if "$" in table or "@" in table:
        raise JobError("notImplemented", f"The local cloud does not implement a decorator in a copy's source ({table})")
    return TableName(project=reference["projectId"], dataset=reference["datasetId"], table=table)


def _copy(catalogue: Catalogue, sources: Sequence[Table], destination: Destination) -> int:
    first = sources[0]
    for source in sources:
        if source.kind != "TABLE":
            raise JobError(
                "invalid", f"{source.name} is not allowed for this operation because it is currently a VIEW."
            )
        if _shape(source.fields) != _shape(first.fields):
            raise JobError("invalid", f"Source tables {first.name} and {source.name} of a copy have different schemas")
    found = existing(catalogue, destination)
    kept = found is not None and found.fields and destination.write != "WRITE_TRUNCATE"
    if found is not None and kept and _shape(found.fields) != _shape(first.fields):
        raise JobError("invalid", f"Provided Schema does not match Table {found.name}")
    inherited = {key: first.body[key] for key in _INHERITED if key in first.body}
    if found is None:
        destination = replace(destination, specification=inherited)

    def fill(storage: str, fields: Sequence[Field]) -> int:
        columns = ", ".join(quoted(column.name) for column in fields)
        union = " UNION ALL ".join(f"SELECT {columns} FROM {source.rows}" for source in sources)
        row = catalogue.connection.execute(f"INSERT INTO {storage} ({columns}) {union}").fetchone()
        return int(row[0]) if row else 0

    _, copied = write_rows(catalogue, destination, first.fields, fill)
    return copied


def _shape(fields: Sequence[Field]) -> list[tuple[object, ...]]:
    return [(column.name.lower(), column.type, column.mode, _shape(column.fields)) for column in fields]
