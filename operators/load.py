"""Files in Cloud Storage become rows of a BigQuery table: one load job, all or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, cast

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from pydag_gcp.gcp import ONCE
from pydag_gcp.operator import Context, Json
from pydag_gcp.operators.bigquery_job import BigQueryJob, listed, statistics_of
from pydag_gcp.operators.table_layout import (
    Clustering,
    Columns,
    CreateDisposition,
    Destination,
    Partitioning,
    WriteDisposition,
    layout,
    replaced,
    written,
)
from pydag_gcp.resources import GCSObject, Resource, is_template

if TYPE_CHECKING:
    from google.cloud.bigquery import LoadJob

Format = Literal["CSV", "NEWLINE_DELIMITED_JSON", "PARQUET", "AVRO"]

_ONLY_CSV = ("skip_leading_rows", "field_delimiter", "null_marker", "allow_quoted_newlines")


def _loadable(source: GCSObject) -> GCSObject:
    """https://cloud.google.com/bigquery/docs/batch-loading-data#load-wildcards."""
    stars = source.name.count("*") + source.is_prefix
    if not is_template(source.uri) and (stars > 1 or any(mark in source.name for mark in "?[")):
        raise ValueError(f"a load job knows one * in a name and no ? or [, got {source.uri!r}")
    return source


def _uri(source: GCSObject) -> str:
    return f"gs://{source.bucket}/{source.name}*" if source.is_prefix else source.uri


def _format(value: Any) -> Any:
    name = value.upper() if isinstance(value, str) else value
    return "NEWLINE_DELIMITED_JSON" if name in {"JSON", "JSONL", "NDJSON"} else name


#: A format of files; JSON is short for one object per line.
FileFormat = Annotated[Format, BeforeValidator(_format, json_schema_input_type=Format | Literal["JSON"])]


class GCSToBigQuery(BigQueryJob):
    """Load objects into a table.

    The rows of all objects take effect at once, or none does. By default they *replace* what the table holds, so that
    running the task again gives the same table; say ``write="WRITE_APPEND"`` to add to it.
    """

    kind: ClassVar[str] = "load"
    own_fields: ClassVar[Mapping[str, str]] = {
        "sourceUris": "source",
        "destinationTable": "destination",
        "writeDisposition": "write",
        "createDisposition": "create",
    }

    sources: Annotated[
        tuple[Annotated[GCSObject, AfterValidator(_loadable)], ...],
        BeforeValidator(listed, json_schema_input_type=GCSObject | tuple[GCSObject, ...]),
    ] = Field(alias="source", min_length=1, description="Object, prefix or name with one *, or a list of these")
    destination: Destination = Field(description="Table, or one partition of it such as dataset.table$20220131")
    format: FileFormat = Field(default="CSV", description="Format; JSON: one per line")
    columns: Columns | None = Field(
        default=None, alias="schema", description="Columns, or names and types such as {id: INT64, day: DATE NOT NULL}"
    )
    autodetect: bool = Field(default=False, description="Let BigQuery guess the columns of CSV or JSON")
    write: WriteDisposition = Field(default="WRITE_TRUNCATE", description="Replace what is there, add to it, or refuse")
    create: CreateDisposition = Field(default="CREATE_IF_NEEDED", description="Whether to create a missing table")
    partition_by: Partitioning | None = Field(default=None, description="Partitions of a table that is created")
    cluster_by: Clustering = ()
    skip_leading_rows: int | None = Field(default=None, ge=0, description="CSV: header rows to skip in each object")
    field_delimiter: str | None = Field(default=None, min_length=1, description="CSV: what separates fields; default ,")
    null_marker: str | None = Field(default=None, description="CSV: the text that stands for NULL")
    allow_quoted_newlines: bool | None = Field(default=None, description="CSV: quoted fields may contain line ends")
    max_bad_records: int = Field(default=0, ge=0, description="Rows that may be malformed and are left out")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.columns is not None and self.autodetect:
            raise ValueError("give 'schema' or 'autodetect', not both")
        if self.format != "CSV":
            for name in _ONLY_CSV:
                if getattr(self, name) is not None:
                    raise ValueError(f"{name!r} is for format 'CSV', not {self.format!r}")
        return self

    def reads(self, ctx: Context) -> frozenset[Resource]:
        """The objects."""
        return frozenset(self.sources)

    def writes(self, ctx: Context) -> frozenset[Resource]:
        """The table."""
        return frozenset({written(self.destination.qualified(ctx.target.project), self.write)})

    def replaces(self, ctx: Context) -> frozenset[Resource]:
        """The table, unless rows are added to it."""
        return replaced(self.destination.qualified(ctx.target.project), self.write)

    def check(self, ctx: Context) -> None:
        """Make sure that the destination names a dataset."""
        self.destination.qualified(ctx.target.project)

    def configuration(self, ctx: Context) -> dict[str, Json]:
        """https://cloud.google.com/bigquery/docs/reference/rest/v2/Job#JobConfigurationLoad."""
        load: dict[str, Json] = {
            "sourceUris": list(map(_uri, self.sources)),
            "sourceFormat": self.format,
            "maxBadRecords": self.max_bad_records,
            "autodetect": self.autodetect,
            **layout(
                destination=self.destination.qualified(ctx.target.project),
                write=self.write,
                create=self.create,
                partition_by=self.partition_by,
                cluster_by=self.cluster_by,
            ),
        }
        if self.columns is not None:
            load["schema"] = {"fields": [column.to_api() for column in self.columns]}
        csv = {
            "skipLeadingRows": self.skip_leading_rows,
            "fieldDelimiter": self.field_delimiter,
            "nullMarker": self.null_marker,
            "allowQuotedNewlines": self.allow_quoted_newlines,
        }
        load.update({name: value for name, value in csv.items() if value is not None})
        return {"load": load}

    def _insert(self, ctx: Context, configuration: dict[str, Json], job_id: str) -> LoadJob:
        from google.cloud.bigquery import LoadJobConfig, TableReference

        job_config = cast("LoadJobConfig", LoadJobConfig.from_api_repr(configuration))
        load = configuration["load"]
        return ctx.clients.bigquery().load_table_from_uri(
            load["sourceUris"],
            TableReference.from_api_repr(load["destinationTable"]),
            job_id=job_id,
            project=ctx.target.project,
            location=ctx.target.location,
            job_config=job_config,
            **ONCE,
        )

    def _summary(self, job: LoadJob) -> dict[str, Json]:
        # https://cloud.google.com/bigquery/docs/reference/rest/v2/Job#JobStatistics3.FIELDS.bad_records
        statistics = statistics_of(job, self.kind)
        return {
            "destination": str(job.destination),
            "rows": job.output_rows,
            "bad_records": int(statistics.get("badRecords", 0)),
            "files": job.input_files,
            "bytes": job.input_file_bytes,
        }
