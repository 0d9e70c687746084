"""The rows of a BigQuery table become objects in Cloud Storage: one extract job."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Literal, Self, cast

from pydantic import AfterValidator, Field, model_validator

from pydag_gcp.errors import TaskError
from pydag_gcp.gcp import ONCE
from pydag_gcp.operator import Context, Json
from pydag_gcp.operators.bigquery_job import BigQueryJob, statistics_of
from pydag_gcp.operators.load import FileFormat
from pydag_gcp.operators.submission import refusals
from pydag_gcp.operators.table_layout import SingleTable, reference
from pydag_gcp.resources import GCSObject, Resource, is_template

if TYPE_CHECKING:
    from google.cloud.bigquery import ExtractJob
    from google.cloud.storage import Blob

# https://cloud.google.com/bigquery/docs/exporting-data#export_formats_and_compression_types
_COMPRESSIONS: Final = {
    "CSV": ("GZIP",),
    "NEWLINE_DELIMITED_JSON": ("GZIP",),
    "PARQUET": ("SNAPPY", "GZIP", "ZSTD"),
    "AVRO": ("SNAPPY", "DEFLATE"),
}
_ENDINGS: Final = {"CSV": "csv", "NEWLINE_DELIMITED_JSON": "json", "PARQUET": "parquet", "AVRO": "avro"}
_ONLY_CSV = ("header", "field_delimiter")


def _writable(destination: GCSObject) -> GCSObject:
    """https://cloud.google.com/bigquery/docs/exporting-data#exporting_data_into_one_or_more_files."""
    if is_template(destination.uri):
        return destination
    if destination.name.count("*") + destination.is_prefix > 1 or any(mark in destination.name for mark in "?["):
        raise ValueError(f"an extract job knows one * in a name and no ? or [, got {destination.uri!r}")
    if destination.name in {"", "*"}:
        raise ValueError(f"would replace all that is in the bucket, got {destination.uri!r}; name a folder in it")
    return destination


class BigQueryToGCS(BigQueryJob):
    """Write the rows of a table to objects.

    To one object, ``gs://bucket/name.csv``, of at most 1 GB; or to as many as it takes: ``gs://bucket/name-*.csv``, or
    a folder that ends in ``/``. These hold nothing else afterwards: when the job has succeeded, what the pattern
    matches and the job did not write is deleted. A failed job may have written some objects, so it is tried again only
    with ``idempotent=True``.
    """

    kind: ClassVar[str] = "extract"
    own_fields: ClassVar[Mapping[str, str]] = {
        "sourceTable": "source",
        "destinationUri": "destination",
        "destinationUris": "destination",
        "destinationFormat": "format",
        "compression": "compression",
    }

    table: SingleTable = Field(
        alias="source", description="Table, or one partition of it such as dataset.table$20220131"
    )
    destination: Annotated[GCSObject, AfterValidator(_writable)] = Field(
        description="Object, name with one * for the files' numbers, or folder that ends in /"
    )
    format: FileFormat = Field(default="CSV", description="Format; JSON: one row per line")
    compression: Literal["NONE", "GZIP", "SNAPPY", "DEFLATE", "ZSTD"] = Field(
        default="NONE",
        description="GZIP for CSV and JSON; SNAPPY, GZIP or ZSTD for PARQUET; SNAPPY or DEFLATE for AVRO",
    )
    header: bool | None = Field(default=None, description="CSV: whether each file begins with the columns' names")
    field_delimiter: str | None = Field(default=None, min_length=1, description="CSV: what separates fields; default ,")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in _ONLY_CSV:
            if self.format != "CSV" and getattr(self, name) is not None:
                raise ValueError(f"{name!r} is for format 'CSV', not {self.format!r}")
        if self.compression not in {"NONE", *_COMPRESSIONS[self.format]}:
            known = ", ".join(_COMPRESSIONS[self.format])
            raise ValueError(f"files of format {self.format!r} are compressed by {known}, got {self.compression!r}")
        return self

    def check(self, ctx: Context) -> None:
        """Make sure that the source names a dataset."""
        self.table.qualified(ctx.target.project)

    def reads(self, ctx: Context) -> frozenset[Resource]:
        """The table."""
        return frozenset({self.table.qualified(ctx.target.project)})

    def writes(self, ctx: Context) -> frozenset[Resource]:
        """The objects."""
        return frozenset({self.destination})

    def replaces(self, ctx: Context) -> frozenset[Resource]:
        """The objects: nothing else is left of what the name matches."""
        return frozenset({self.destination})

    def atomic(self, ctx: Context) -> bool:
        """No: a job that fails may have written some objects."""
        return False

    def configuration(self, ctx: Context) -> dict[str, Json]:
        """https://cloud.google.com/bigquery/docs/reference/rest/v2/Job#JobConfigurationExtract."""
        extract: dict[str, Json] = {
            "sourceTable": reference(self.table.qualified(ctx.target.project)),
            "destinationUris": [f"gs://{self.destination.bucket}/{self._name}"],
            "destinationFormat": self.format,
            "compression": self.compression,
        }
        csv = {"printHeader": self.header, "fieldDelimiter": self.field_delimiter}
        extract.update({name: value for name, value in csv.items() if value is not None})
        return {"extract": extract}

    @property
    def _name(self) -> str:
        """The objects' name, with a star for the number of each."""
        if not self.destination.is_prefix:
            return self.destination.name
        packed = ".gz" if self.compression == "GZIP" and self.format != "PARQUET" else ""
        return f"{self.destination.name}*.{_ENDINGS[self.format]}{packed}"

    def _insert(self, ctx: Context, configuration: dict[str, Json], job_id: str) -> ExtractJob:
        from google.cloud.bigquery import ExtractJobConfig, TableReference

        job_config = cast("ExtractJobConfig", ExtractJobConfig.from_api_repr(configuration))
        extract = configuration["extract"]
        return ctx.clients.bigquery().extract_table(
            TableReference.from_api_repr(extract["sourceTable"]),
            extract["destinationUris"],
            job_id=job_id,
            project=ctx.target.project,
            location=ctx.target.location,
            job_config=job_config,
            **ONCE,
        )

    def _settle(self, ctx: Context, job: ExtractJob) -> None:
        """Delete what the destination matches and the job did not write.

        Only now: before a submit nobody can tell whether an earlier one, whose answer was lost, is writing already.
        """
        if not self.destination.many:
            return
        with refusals(f"gs://{self.destination.bucket}/{self.destination.name} cannot be cleared of earlier objects"):
            found = {blob.name: blob for blob in self._matching(ctx)}
            written = {self._name.replace("*", f"{number:012d}") for number in range(_files(job))}
            missing = sorted(written - found.keys())
            if missing:
                lost = f"{len(missing)} of the {len(written)} objects that it wrote are not there, such as"
                what = f"{self._title(str(job.job_id))} succeeded, but {lost} {missing[0]!r}"
                raise TaskError(what, hint="nothing was deleted")
            for name in sorted(found.keys() - written):
                self._delete(ctx, found[name], job)

    def _matching(self, ctx: Context) -> list[Blob]:
        bucket = ctx.clients.storage().bucket(self.destination.bucket)
        glob = self.destination.name if self.destination.is_glob else None
        return list(bucket.list_blobs(prefix=self.destination.fixed, match_glob=glob, **ONCE))

    def _delete(self, ctx: Context, blob: Blob, job: ExtractJob) -> None:
        """Delete this very generation, unless it was made after the job: then it is somebody else's.

        https://cloud.google.com/storage/docs/request-preconditions
        """
        from google.api_core.exceptions import NotFound, PreconditionFailed

        if job.ended is not None and blob.time_created > job.ended:
            return
        with contextlib.suppress(NotFound, PreconditionFailed):
            blob.delete(if_generation_match=blob.generation, **ONCE)
            ctx.log.info("deleted gs://%s/%s, which an earlier run had left", blob.bucket.name, blob.name)

    def _summary(self, job: ExtractJob) -> dict[str, Json]:
        # https://cloud.google.com/bigquery/docs/reference/rest/v2/Job#JobStatistics4
        return {
            "destination": f"gs://{self.destination.bucket}/{self._name}",
            "files": _files(job),
            "bytes": int(statistics_of(job, self.kind).get("inputBytes", 0)),
        }


def _files(job: ExtractJob) -> int:
    return sum(job.destination_uri_file_counts or [])
