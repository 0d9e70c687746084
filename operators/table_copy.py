"""Tables become another table without being read as rows: one copy job, all or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self, cast

from pydantic import BeforeValidator, Field, model_validator

from pydag_gcp.gcp import ONCE
from pydag_gcp.operator import Context, Json
from pydag_gcp.operators.bigquery_job import BigQueryJob, listed, statistics_of
from pydag_gcp.operators.table_layout import (
    CreateDisposition,
    Destination,
    SingleTable,
    WriteDisposition,
    reference,
    replaced,
    written,
)
from pydag_gcp.resources import Resource, Table

if TYPE_CHECKING:
    from google.cloud.bigquery import CopyJob

#: What these make must not exist before: https://cloud.google.com/bigquery/docs/table-snapshots-create
_ALWAYS_NEW = frozenset({"CLONE", "SNAPSHOT"})


class BigQueryCopy(BigQueryJob):
    """Copy tables.

    By default the copy *replaces* what the destination holds. ``operation`` makes a clone (a table that shares its
    unchanged data with the source), a snapshot (read-only), or a table of a snapshot.
    """

    kind: ClassVar[str] = "copy"
    own_fields: ClassVar[Mapping[str, str]] = {
        "sourceTable": "source",
        "sourceTables": "source",
        "destinationTable": "destination",
        "operationType": "operation",
        "writeDisposition": "write",
        "createDisposition": "create",
    }

    sources: Annotated[
        tuple[SingleTable, ...], BeforeValidator(listed, json_schema_input_type=Table | tuple[Table, ...])
    ] = Field(alias="source", min_length=1, description="Table, or a list of tables of the same columns")
    destination: Destination = Field(description="Table, or one partition of it such as dataset.table$20220131")
    operation: Literal["COPY", "CLONE", "SNAPSHOT", "RESTORE"] = Field(default="COPY", description="What is made")
    write: WriteDisposition | None = Field(
        default=None,
        description="Replace what is there (the default), add to it, or refuse; a clone or a snapshot is always new",
    )
    create: CreateDisposition = Field(default="CREATE_IF_NEEDED", description="Whether to create a missing table")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.operation != "COPY" and len(self.sources) > 1:
            raise ValueError(f"operation {self.operation!r} takes one source, got {len(self.sources)}")
        if self.operation in _ALWAYS_NEW and self.write not in {None, "WRITE_EMPTY"}:
            raise ValueError(f"operation {self.operation!r} makes a new table, so write={self.write!r} cannot be meant")
        if self.operation == "RESTORE" and self.write == "WRITE_APPEND":
            raise ValueError("operation 'RESTORE' adds to no table; write='WRITE_TRUNCATE' replaces it")
        return self

    def check(self, ctx: Context) -> None:
        """Make sure that all tables name a dataset."""
        self.reads(ctx)
        self.destination.qualified(ctx.target.project)

    def reads(self, ctx: Context) -> frozenset[Resource]:
        """The sources."""
        return frozenset(source.qualified(ctx.target.project) for source in self.sources)

    def writes(self, ctx: Context) -> frozenset[Resource]:
        """The destination."""
        return frozenset({written(self.destination.qualified(ctx.target.project), self._disposition)})

    def replaces(self, ctx: Context) -> frozenset[Resource]:
        """The destination, unless rows are added to it."""
        return replaced(self.destination.qualified(ctx.target.project), self._disposition)

    def configuration(self, ctx: Context) -> dict[str, Json]:
        """https://cloud.google.com/bigquery/docs/reference/rest/v2/Job#JobConfigurationTableCopy."""
        return {
            "copy": {
                "sourceTables": [reference(source.qualified(ctx.target.project)) for source in self.sources],
                "destinationTable": reference(self.destination.qualified(ctx.target.project)),
                "operationType": self.operation,
                "writeDisposition": self._disposition,
                "createDisposition": self.create,
            }
        }

    @property
    def _disposition(self) -> WriteDisposition:
        return self.write or ("WRITE_EMPTY" if self.operation in _ALWAYS_NEW else "WRITE_TRUNCATE")

    @property
    def _hint_if_there(self) -> str:
        if self.operation in _ALWAYS_NEW:
            return f"a {self.operation.lower()} is always a new table: drop this one before, or name another"
        return super()._hint_if_there

    def _insert(self, ctx: Context, configuration: dict[str, Json], job_id: str) -> CopyJob:
        from google.cloud.bigquery import CopyJobConfig, TableReference

        job_config = cast("CopyJobConfig", CopyJobConfig.from_api_repr(configuration))
        copy = configuration["copy"]
        return ctx.clients.bigquery().copy_table(
            [TableReference.from_api_repr(source) for source in copy["sourceTables"]],
            TableReference.from_api_repr(copy["destinationTable"]),
            job_id=job_id,
            project=ctx.target.project,
            location=ctx.target.location,
            job_config=job_config,
            **ONCE,
        )

    def _summary(self, job: CopyJob) -> dict[str, Json]:
        # https://cloud.google.com/bigquery/docs/reference/rest/v2/Job#JobStatistics.FIELDS.copy
        rows = statistics_of(job, self.kind).get("copiedRows")
        return {"destination": str(job.destination), "rows": None if rows is None else int(rows)}
