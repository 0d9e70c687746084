"""Load jobs.

Reference: https://cloud.google.com/bigquery/docs/reference/rest/v2/Job#JobConfigurationLoad.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import duckdb

from pydag_gcp.local.bigquery.avro_loads import AvroFormat
from pydag_gcp.local.bigquery.catalogue import Catalogue
from pydag_gcp.local.bigquery.csv_detection import detect
from pydag_gcp.local.bigquery.csv_loads import CsvLoad
from pydag_gcp.local.bigquery.csv_rows import CsvFormat
from pydag_gcp.local.bigquery.destinations import Destination, existing, write_rows
from pydag_gcp.local.bigquery.job import Job, JobError
from pydag_gcp.local.bigquery.jobs import Step
from pydag_gcp.local.bigquery.json_loads import JsonFormat
from pydag_gcp.local.bigquery.load_sources import BadRows, Source, sources_of
from pydag_gcp.local.bigquery.parquet_loads import ParquetFormat
from pydag_gcp.local.bigquery.query import job_errors
from pydag_gcp.local.bigquery.schemas import read_schema
from pydag_gcp.local.bigquery.warehouse import Warehouse
from pydag_gcp.local.googlesql.types import Field
from pydag_gcp.local.storage.objects import Objects

_WORDS = {"CSV": "CSV", "NEWLINE_DELIMITED_JSON": "JSON", "PARQUET": "Parquet", "AVRO": "Avro"}


class SelfDescribing(Protocol):
    """A format whose files say what columns they have, or that finds out."""

    def columns(self, source: Source, spool: Any) -> Sequence[Field]:
        """Return the columns of a file."""

    def load(
        self,
        connection: duckdb.DuckDBPyConnection,
        source: Source,
        storage: str,
        columns: Sequence[Field],
        bad: BadRows,
    ) -> int:
        """Put a file's rows into a DuckDB table, and return how many."""


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """One load job, as far as its configuration tells."""

    job: Job
    destination: Destination
    format: str
    csv: CsvFormat
    reader: SelfDescribing | None


class Loads:
    """Runs load jobs.

    Args:
        warehouse: Where the tables are.
        objects: Where the files are.
    """

    def __init__(self, warehouse: Warehouse, objects: Objects) -> None:
        self._warehouse = warehouse
        self._objects = objects

    def steps(self, job: Job) -> Sequence[Step]:
        """Return a load job's one step.

        Raises:
            JobError: The configuration cannot be carried out.
        """
        options = job.options
        source_format = options.get("sourceFormat") or "CSV"
        if source_format not in _WORDS:
            raise JobError("notImplemented", f"The local cloud does not implement sourceFormat {source_format}")
        destination = Destination.from_api(options, write="WRITE_APPEND")
        plan = _Plan(
            job=job,
            destination=destination,
            format=source_format,
            csv=CsvFormat.of(options if source_format == "CSV" else {}),
            reader=self._reader(source_format, options),
        )
        return [
            Step(
                run=lambda connection, _: self._run(connection, plan, careful=False),
                careful=(lambda connection, _: self._run(connection, plan, careful=True))
                if plan.reader is None
                else None,
                exclusive=destination.exclusive,
                shared=destination.shared,
            )
        ]

    def _reader(self, source_format: str, options: Mapping[str, Any]) -> SelfDescribing | None:
        spool = self._warehouse.spool
        if source_format == "NEWLINE_DELIMITED_JSON":
            return JsonFormat(spool=spool, ignore_unknown=bool(options.get("ignoreUnknownValues")))
        if source_format == "PARQUET":
            return ParquetFormat(spool=spool)
        if source_format == "AVRO":
            return AvroFormat(spool=spool, logical=bool(options.get("useAvroLogicalTypes")))
        return None

    def _run(self, connection: duckdb.DuckDBPyConnection, plan: _Plan, *, careful: bool) -> Mapping[str, Any]:
        catalogue = Catalogue(connection, self._warehouse.clock)
        bad = BadRows(_WORDS[plan.format], int(plan.job.options.get("maxBadRecords") or 0))
        with job_errors():
            self._check_location(catalogue, plan)
            sources = sources_of(plan.job, self._objects)
            columns, csv = self._columns(catalogue, plan, sources)

            def fill(storage: str, fields: Sequence[Field]) -> int:
                return sum(
                    self._load(connection, plan, csv, source, storage, fields, bad, careful) for source in sources
                )

            _, loaded = write_rows(catalogue, plan.destination, columns, fill)
        statistics = {
            "inputFiles": str(len(sources)),
            "inputFileBytes": str(sum(source.size for source in sources)),
            "outputRows": str(loaded),
            "outputBytes": "0",
            "badRecords": str(bad.count),
        }
        warnings = [error.to_api() for error in bad.errors]
        return {"load": statistics, **({"_warnings": warnings} if warnings else {})}

    @staticmethod
    def _check_location(catalogue: Catalogue, plan: _Plan) -> None:
        dataset = catalogue.dataset(plan.destination.name.parent)
        if dataset.location != plan.job.name.location:
            message = f"Not found: Dataset {dataset.name} was not found in location {plan.job.name.location}"
            raise JobError("notFound", message)

    def _columns(
        self, catalogue: Catalogue, plan: _Plan, sources: Sequence[Source]
    ) -> tuple[Sequence[Field], CsvFormat]:
        """Return the columns that arrive, and how the CSV files are written now that they have been looked at."""
        given = read_schema(plan.job.options.get("schema"))
        if given:
            return given, plan.csv
        detecting = bool(plan.job.options.get("autodetect"))
        if plan.reader is not None and (detecting or plan.format in ("PARQUET", "AVRO")):
            return plan.reader.columns(sources[-1], self._warehouse.spool), plan.csv
        if detecting:
            with sources[0].plain(self._warehouse.spool) as path:
                return detect(path, plan.csv)
        table = existing(catalogue, plan.destination)
        if table is not None and table.fields:
            return table.fields, plan.csv
        raise JobError("invalid", "No schema specified on job or table.")

    def _load(
        self,
        connection: duckdb.DuckDBPyConnection,
        plan: _Plan,
        csv: CsvFormat,
        source: Source,
        storage: str,
        columns: Sequence[Field],
        bad: BadRows,
        careful: bool,  # noqa: FBT001
    ) -> int:
        if plan.reader is not None:
            return plan.reader.load(connection, source, storage, columns, bad)
        load = CsvLoad(csv, storage, columns)
        with source.plain(self._warehouse.spool) as path:
            return load.careful(connection, source, path, bad) if careful else load.quick(connection, path)
