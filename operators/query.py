"""SQL run by BigQuery: DDL, DML, a SELECT into a table, or a script."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self, cast

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, model_validator

from pydag_gcp.canonical import Unhashable
from pydag_gcp.errors import DefinitionError, TaskError
from pydag_gcp.estimate import Estimate
from pydag_gcp.gcp import ONCE
from pydag_gcp.operator import Context, Json
from pydag_gcp.operators.bigquery_job import BigQueryJob
from pydag_gcp.operators.bound import query_parameters
from pydag_gcp.operators.declared import Declared, qualified
from pydag_gcp.operators.submission import merged, refusals
from pydag_gcp.operators.table_layout import (
    Clustering,
    CreateDisposition,
    Destination,
    Partitioning,
    WriteDisposition,
    layout,
    replaced,
    written,
)
from pydag_gcp.resources import Resource, Table, is_template
from pydag_gcp.runtime_value import Param, RuntimeValue, find
from pydag_gcp.templates import check_file_name
from pydag_gcp.unresolved import Unresolved, stand_in

if TYPE_CHECKING:
    from google.cloud.bigquery import QueryJob

    from pydag_gcp.sql import Analysis, Query, Template

_SCALARS = (bool, int, float, str, bytes, Decimal, datetime, date, time, Table, type(None), RuntimeValue)


def _value(value: Any) -> Any:
    """Accept a scalar, a table, ``{table: dataset.table}`` as YAML has it, or a list of these."""
    if isinstance(value, (list, tuple)):
        return [_value(item) for item in value]
    if isinstance(value, dict) and "table" in value:
        return Table(**value)
    if not isinstance(value, _SCALARS):
        raise ValueError(  # noqa: TRY004  pydantic reports a ValueError with the field's name, a TypeError it lets through
            f"expected a scalar, a table or a list of these, got {value!r}"
        )
    return value


def _dataset(name: str) -> str:
    if not is_template(name) and not re.fullmatch(r"\w+", name):
        raise ValueError(f"expected a dataset of the run's project such as 'sales', got {name!r}")
    return name


class BigQueryQuery(BigQueryJob):
    """Run SQL.

    ``{{ name }}`` puts a parameter into the text, safely quoted; ``@name`` binds it. A single statement takes effect
    wholly or not at all; a script may stop half-way, so it is tried again only with ``idempotent=True``.

    What is sent is fixed beforehand, so that a request that is sent again is the same: a file on this machine is read
    when the task is rendered, one in a bucket when the run reaches its target.
    """

    kind: ClassVar[str] = "query"
    own_fields: ClassVar[Mapping[str, str]] = {
        "query": "sql",
        "queryParameters": "params",
        "defaultDataset": "dataset",
        "destinationTable": "destination",
        "writeDisposition": "write",
        "createDisposition": "create",
        "useLegacySql": "sql",
    }

    sql: str = Field(min_length=1, description="SQL, or the name of a file that ends in .sql")
    params: Param[dict[str, Annotated[Any, BeforeValidator(_value)]]] = Field(
        default={}, description="Values for {{ name }} and @name: scalars, lists, tables"
    )
    dataset: Annotated[str, AfterValidator(_dataset)] | None = Field(
        default=None, description="Dataset of tables that name none"
    )
    destination: Destination | None = Field(default=None, description="Table that takes the rows of a SELECT")
    write: WriteDisposition | None = Field(
        default=None, description="Replace what the destination holds (the default), add to it, or refuse"
    )
    create: CreateDisposition | None = Field(default=None, description="Whether to create a missing destination")
    partition_by: Partitioning | None = Field(default=None, description="Partitions of a destination that is created")
    cluster_by: Clustering = ()
    maximum_bytes_billed: Param[int | None] = Field(
        default=None, ge=1, description="Fail before reading more bytes than this"
    )
    declared_reads: tuple[Declared, ...] | None = Field(
        default=None, alias="reads", description="What it reads, where that cannot be seen in the SQL"
    )
    declared_writes: tuple[Declared, ...] | None = Field(
        default=None, alias="writes", description="What it writes, where that cannot be seen in the SQL"
    )

    #: The text of a file, as it was when the task was rendered or fetched.
    _template: Template | None = PrivateAttr(default=None)
    #: The try that read a file in a bucket, and its text.
    _downloaded: tuple[tuple[str, int], Template] | None = PrivateAttr(default=None)
    #: The newest text with the parameters in it, and what these were.
    _filled: tuple[Any, Any, Query] | None = PrivateAttr(default=None)
    #: The newest analysis, and what was analysed.
    _analysed: tuple[Any, Analysis] | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if isinstance(self.params, RuntimeValue):
            raise ValueError(f"'params' gives each value a name: write {{'name': {self.params!r}}}")  # noqa: TRY004  pydantic wants a ValueError
        if self.destination is None:
            for name in ("write", "create", "partition_by", "cluster_by"):
                if getattr(self, name):
                    raise ValueError(f"{name!r} is for a query with a 'destination'; in DDL write it in the SQL")
        return self

    def rendered(self, ctx: Context) -> Self:
        """See :meth:`~pydag_gcp.operator.Operator.rendered`; SQL has its own rules, kept by ``render_sql``."""
        if self._is_file:
            task = super().rendered(ctx)
            check_file_name(self.sql, task.sql, where=self._place)
            if not task._in_bucket:  # noqa: SLF001 - a copy of this very class
                task._template = task._load(ctx)  # noqa: SLF001
            return task
        plain = self.model_copy(update={"sql": "SELECT"})
        return super(BigQueryQuery, plain).rendered(ctx).model_copy(update={"sql": self.sql})

    def resolved(self, ctx: Context) -> Self:
        """See :meth:`~pydag_gcp.operator.Operator.resolved`; a table must be known before the run, to be checked."""
        task = super().resolved(ctx)
        for name, value in task.params.items():
            late = next(find(self.params[name]), None)
            parts = value if isinstance(value, list) else [value]
            if late is not None and any(isinstance(part, Table) for part in parts):
                hint = "what a statement reads must be known before the run: write Table(...)"
                raise TaskError(f"parameter {name!r}: {late!r} is a table", where=self._place, hint=hint)
        return task

    def fetch(self, ctx: Context) -> bool:
        """Read and check a file in a bucket; every try of the run sends this text."""
        if not self._in_bucket:
            return False
        self._template = self._load(ctx)
        self.check(ctx)
        return True

    def check(self, ctx: Context) -> None:
        """Fill in the SQL; on the local target, parse it too. A file in a bucket is left for :meth:`fetch`."""
        if self.destination is not None:
            self.destination.qualified(ctx.target.project, self.dataset)
        if self._in_bucket and self._template is None:
            return
        self._parameters(self._query(ctx))
        if ctx.target.is_local:
            self._analysis(ctx)

    def reads(self, ctx: Context) -> frozenset[Resource] | None:
        """What the author declared, else what the SQL shows; of files that ``config`` makes tables of, that is not."""
        if self.declared_reads is not None:
            return qualified(self.declared_reads, ctx, self.dataset)
        if "tableDefinitions" in self.config.get("query", {}):
            return None
        analysis = self._known(ctx)
        return None if analysis is None else analysis.reads

    def writes(self, ctx: Context) -> frozenset[Resource] | None:
        """What the author declared, else what the SQL shows; and the destination."""
        if self.declared_writes is not None:
            found: frozenset[Resource] | None = qualified(self.declared_writes, ctx, self.dataset)
        else:
            analysis = self._known(ctx)
            found = None if analysis is None else analysis.writes
        if found is None or self.destination is None:
            return found
        return found | {written(self.destination.qualified(ctx.target.project, self.dataset), self._disposition)}

    def replaces(self, ctx: Context) -> frozenset[Resource]:
        """What the SQL replaces as a whole; and the destination, unless rows are added to it."""
        analysis = self._known(ctx)
        found = frozenset[Resource]() if analysis is None else analysis.replaces
        if self.destination is None:
            return found
        return found | replaced(self.destination.qualified(ctx.target.project, self.dataset), self._disposition)

    def views(self, ctx: Context) -> Mapping[Table, frozenset[Resource]]:
        """The views that the SQL makes."""
        analysis = self._known(ctx)
        return {} if analysis is None else analysis.views

    def atomic(self, ctx: Context) -> bool:
        """Whether it is one statement that takes effect wholly or not at all; no, if it was not read yet."""
        analysis = self._known(ctx)
        return analysis is not None and analysis.single_atomic

    def shapes(self, ctx: Context) -> frozenset[Resource]:
        """The tables and datasets that the SQL only makes, or makes sure of."""
        analysis = self._known(ctx)
        return frozenset() if analysis is None else analysis.shapes

    def deterministic(self, ctx: Context) -> bool:
        """Whether no clock, chance or session decides the result; of SQL that cannot be analysed, ``cache`` says it."""
        analysis = self._known(ctx)
        return bool(self.cache) if analysis is None or analysis.reads is None else analysis.deterministic

    def identity(self, ctx: Context) -> Mapping[str, Json]:
        """The SQL as it was written, its parameters, and what both come to in this run.

        Raises:
            Unhashable: Its file lies in a bucket and was not read yet.
        """
        template = self._seen(ctx)
        if template is None:
            raise Unhashable(f"{self.sql} was not read yet")
        query, parts = self.filled(ctx, template), dict(super().identity(ctx))
        for field in ("sql", "params", "maximum_bytes_billed"):
            parts.pop(f"field {field}", None)
        parts |= {f"parameter {name}": self._named(value, ctx) for name, value in self.params.items()}
        text = "\n".join(template.text.splitlines())
        rendered = {"rendered SQL": query.sql, "rendered parameters": self._parameters(query)}
        return {**parts, self._sql_part(ctx, template): text, **rendered, **self._project_part(ctx)}

    def _sql_part(self, ctx: Context, template: Template) -> str:
        """Name the SQL as the author does: its file, from the project's folder."""
        file = template.file
        if isinstance(file, Path) and file.is_relative_to(ctx.project_folder):
            return f"SQL {file.relative_to(ctx.project_folder).as_posix()}"
        return f"SQL {self.sql}" if self._is_file else "SQL"

    def _project_part(self, ctx: Context) -> dict[str, Json]:
        """The run's project, unless every table that the SQL names lies in another."""
        touched = (self.reads(ctx), self.writes(ctx))
        tables = [part for found in touched for part in found or () if isinstance(part, Table)]
        known = None not in touched and all(table.project != ctx.target.project for table in tables)
        return {} if known else {"project": ctx.target.project}

    def _named(self, value: Any, ctx: Context) -> Any:
        if isinstance(value, (list, tuple)):
            return [self._named(part, ctx) for part in value]
        return value.qualified(ctx.target.project, self.dataset).table if isinstance(value, Table) else value

    def estimate(self, ctx: Context) -> Estimate:
        """The bytes that a dry run says: https://cloud.google.com/bigquery/docs/best-practices-costs#perform-dry-run."""
        request = merged(self.configuration(ctx), self.config)
        request["query"].pop("maximumBytesBilled", None)
        with refusals(f"the dry run of task {self.task_id!r} was refused"):
            job = self._insert(ctx, {**request, "dryRun": True}, f"pydag-dry-{uuid.uuid4().hex}")
        return Estimate(bytes=int(job.total_bytes_processed or 0))

    def _capped(self, ctx: Context, request: dict[str, Json]) -> dict[str, Json]:
        if ctx.max_bytes is None:
            return request
        own = request["query"].get("maximumBytesBilled")
        cap = ctx.max_bytes if own is None else min(ctx.max_bytes, int(own))
        return merged(request, {"query": {"maximumBytesBilled": str(cap)}})

    def configuration(self, ctx: Context) -> dict[str, Json]:
        """https://cloud.google.com/bigquery/docs/reference/rest/v2/Job#JobConfigurationQuery."""
        query = self._query(ctx)
        sent: dict[str, Json] = {"query": query.sql, "useLegacySql": False}
        if query.parameters:
            sent.update(parameterMode="NAMED", queryParameters=self._parameters(query))
        if self.dataset is not None:
            sent["defaultDataset"] = {"projectId": ctx.target.project, "datasetId": self.dataset}
        if self.maximum_bytes_billed is not None:
            sent["maximumBytesBilled"] = str(self.maximum_bytes_billed)
        if self.destination is not None:
            sent.update(
                layout(
                    destination=self.destination.qualified(ctx.target.project, self.dataset),
                    write=self._disposition,
                    create=self.create or "CREATE_IF_NEEDED",
                    partition_by=self.partition_by,
                    cluster_by=self.cluster_by,
                )
            )
        return {"query": sent}

    @property
    def _disposition(self) -> WriteDisposition:
        return self.write or "WRITE_TRUNCATE"

    @property
    def _is_file(self) -> bool:
        return self.sql.endswith(".sql") and not any(map(str.isspace, self.sql))

    @property
    def _in_bucket(self) -> bool:
        return self._is_file and self.sql.startswith("gs://")

    @property
    def _place(self) -> str:
        return self.source.place(task=self.task_id)

    def _load(self, ctx: Context) -> Template:
        from pydag_gcp.sql import load_template

        return load_template(
            self.sql, folder=ctx.folder, project_folder=ctx.project_folder, clients=ctx.clients, where=self._place
        )

    def _seen(self, ctx: Context) -> Template | None:
        """The template, or None if it lies in a bucket and this try has not read it."""
        if self._template is not None or not self._in_bucket:
            return self._template or self._load(ctx)
        if self._downloaded is None or self._downloaded[0] != (ctx.run_id, ctx.try_number):
            return None
        return self._downloaded[1]

    def _query(self, ctx: Context) -> Query:
        template = self._seen(ctx)
        if template is None:
            template = self._load(ctx)
            self._downloaded = (ctx.run_id, ctx.try_number), template
        given, known = (template, ctx.variables), self._filled
        # Copies with resolved parameters share what this one has learnt, but have parameters of their own.
        if known is None or known[0] is not self.params or known[1] != given:
            known = self._filled = self.params, given, self.filled(ctx, template)
        return known[2]

    def filled(self, ctx: Context, template: Template) -> Query:
        """Put the parameters into the SQL's text.

        Raises:
            DefinitionError: They do not fit; names the SQL's line.
        """
        from pydag_gcp.sql import render_sql

        return render_sql(
            template,
            {name: stand_in(value) for name, value in self.params.items()},
            ctx.variables,
            project=ctx.target.project,
            dataset=self.dataset,
            where=self._place,
        )

    def _parameters(self, query: Query) -> list[dict[str, Json]]:
        try:
            known = {name: value for name, value in query.parameters.items() if not isinstance(value, Unresolved)}
            return query_parameters(known)
        except ValueError as error:
            raise DefinitionError(str(error), where=self._place) from None

    def _analysis(self, ctx: Context) -> Analysis:
        from pydag_gcp.sql import analyse

        query = self._query(ctx)
        key = (query.sql, query.tables, ctx.target.project)
        if self._analysed is None or self._analysed[0] != key:
            self._analysed = key, analyse(query, project=ctx.target.project, dataset=self.dataset)
        return self._analysed[1]

    def _known(self, ctx: Context) -> Analysis | None:
        """The analysis, or None if the SQL was not read yet or sqlglot does not understand it. Asks no bucket."""
        try:
            return None if self._seen(ctx) is None else self._analysis(ctx)
        except DefinitionError:  # check() has told what is wrong; where BigQuery is the judge, this is no error
            return None

    def _title(self, job_id: str) -> str:
        return super()._title(job_id) + (f" ({self.sql})" if self._is_file else "")

    def _insert(self, ctx: Context, configuration: dict[str, Json], job_id: str) -> QueryJob:
        from google.cloud.bigquery import QueryJobConfig

        return ctx.clients.bigquery().query(
            configuration["query"]["query"],
            job_config=cast("QueryJobConfig", QueryJobConfig.from_api_repr(configuration)),
            job_id=job_id,
            project=ctx.target.project,
            location=ctx.target.location,
            job_retry=None,
            **ONCE,
        )

    def _summary(self, job: QueryJob) -> dict[str, Json]:
        selects = job.statement_type == "SELECT"
        table = job.destination if selects else job.ddl_target_table or job.destination
        named = table is not None and not table.dataset_id.startswith("_")  # others are BigQuery's own, for a day
        return {
            "statement_type": job.statement_type,
            "destination": str(table) if named else None,
            "rows": job.result(job_retry=None, **ONCE).total_rows if selects else None,
            "rows_affected": job.num_dml_affected_rows,
            "bytes_processed": job.total_bytes_processed,
            "bytes_billed": job.total_bytes_billed,
        }
