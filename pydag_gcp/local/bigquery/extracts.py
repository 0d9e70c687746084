"""Extract jobs.

Reference: https://cloud.google.com/bigquery/docs/reference/rest/v2/Job#JobConfigurationExtract.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import duckdb

from pydag_gcp.local.bigquery.catalogue import Catalogue, TableName
from pydag_gcp.local.bigquery.export_formats import ExportFormat
from pydag_gcp.local.bigquery.exports import Exports
from pydag_gcp.local.bigquery.job import Job, JobError
from pydag_gcp.local.bigquery.jobs import Step
from pydag_gcp.local.bigquery.names import Names, Scope
from pydag_gcp.local.bigquery.query import job_errors
from pydag_gcp.local.bigquery.sizes import Sizes
from pydag_gcp.local.bigquery.warehouse import Warehouse


class Extracts:
    """Runs extract jobs.

    Args:
        warehouse: Where the tables are.
        exports: Writes the objects.
        sizes: What tables weigh.
    """

    def __init__(self, warehouse: Warehouse, exports: Exports, sizes: Sizes) -> None:
        self._warehouse = warehouse
        self._exports = exports
        self._sizes = sizes

    def steps(self, job: Job) -> Sequence[Step]:
        """Return an extract job's one step.

        Raises:
            JobError: The configuration cannot be carried out.
        """
        options = job.options
        uris = options.get("destinationUris") or ([options["destinationUri"]] if options.get("destinationUri") else [])
        if len(uris) != 1:
            raise JobError(
                "notImplemented", f"The local cloud does not implement an extract to {len(uris)} URIs, only to one"
            )
        reference = options["sourceTable"]
        if "$" in reference["tableId"] or "@" in reference["tableId"]:
            message = f"The local cloud does not implement a decorator in an extract's source ({reference['tableId']})"
            raise JobError("notImplemented", message)
        name = TableName(project=reference["projectId"], dataset=reference["datasetId"], table=reference["tableId"])
        delimiter = options.get("fieldDelimiter") or ","
        header = options.get("printHeader")
        layout = ExportFormat(
            name=options.get("destinationFormat") or "CSV",
            compression=options.get("compression") or "NONE",
            delimiter="\t" if delimiter in ("\\t", "tab") else delimiter,
            header=True if header is None else bool(header),
            logical=bool(options.get("useAvroLogicalTypes")),
        )

        def run(connection: duckdb.DuckDBPyConnection, _: Mapping[str, Any]) -> Mapping[str, Any]:
            catalogue = Catalogue(connection, self._warehouse.clock)
            scope = Scope(project=job.name.project, location=job.name.location)
            with job_errors():
                table = Names(catalogue, scope).table(name)
                if table.storage is None:
                    raise JobError("invalid", f"Cannot extract {name}: it is a {table.kind}")
                size = self._sizes.total(connection, table)
                files = self._exports.write(connection, table.storage, table.fields, uris[0], layout, size=size)
            return {"extract": {"destinationUriFileCounts": [str(files)], "inputBytes": str(size)}}

        return [Step(run=run)]
