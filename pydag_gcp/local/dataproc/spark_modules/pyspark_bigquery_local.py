"""``format("bigquery")`` without the connector's archive, for the local cloud.

Spark registers a data source by itself that is called ``DefaultSource`` in a top-level module ``pyspark_*``. Rows are
read from the Storage Read API; they are written as Parquet objects below a temporary name, which one load job then
takes as a whole or not at all.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pydag_bigquery_clients  # type: ignore[import-not-found]
import pydag_bigquery_types  # type: ignore[import-not-found]
from pydag_bigquery_options import MUST_BE_EMPTY, Options, TableName  # type: ignore[import-not-found]
from pyspark.sql.datasource import (
    DataSource,
    DataSourceArrowWriter,
    DataSourceReader,
    InputPartition,
    WriterCommitMessage,
)
from pyspark.sql.types import StructType

if TYPE_CHECKING:
    import pyarrow as pa
    from google.cloud.bigquery import LoadJobConfig, SchemaField


class DefaultSource(DataSource):
    """BigQuery tables, views and query results."""

    @classmethod
    def name(cls) -> str:
        """Its name in ``format(...)``."""
        return "bigquery"

    def schema(self) -> StructType:
        """Return the schema of what is read.

        Raises:
            ValueError: An option or a column is not implemented, by name.
        """
        options = Options(self.options)
        table = pydag_bigquery_clients.bigquery(options.parent_project).get_table(str(_readable(options)))
        maps = options.flag("allowMapTypeConversion", default=True)
        schema: StructType = pydag_bigquery_types.to_spark(table.schema, maps=maps)
        return schema

    def reader(self, schema: StructType) -> DataSourceReader:
        """Read a table."""
        return BigQueryReader(Options(self.options), schema)

    def writer(self, schema: StructType, overwrite: bool) -> BigQueryWriter:  # noqa: FBT001 it is Spark's interface
        """Write a table."""
        return BigQueryWriter(Options(self.options), schema, overwrite=overwrite)


def _readable(options: Options) -> TableName:
    """Return the table to read: the named one, or the one that holds the result of a query or view.

    Raises:
        ValueError: It would need a query, which the options do not allow.
    """
    client = pydag_bigquery_clients.bigquery(options.parent_project)
    sql = options.query
    if sql is None:
        table = client.get_table(str(options.table))
        if table.table_type not in {"VIEW", "MATERIALIZED_VIEW"}:
            return options.table
        sql = f"SELECT * FROM `{options.table}`"  # noqa: S608 a table name holds no backtick
    if not options.flag("viewsEnabled"):
        raise ValueError(
            "Views are not enabled. You can enable views by setting 'viewsEnabled' to true. Notice additional cost may"
            " occur."
        )
    job = client.query(sql)
    job.result(max_results=0)
    result = job.destination
    return TableName(project=result.project, dataset=result.dataset_id, table=result.table_id)


class BigQueryReader(DataSourceReader):
    """Reads a table through the Storage Read API, a partition per stream."""

    def __init__(self, options: Options, schema: StructType) -> None:
        self._options = options
        self._schema = schema

    def partitions(self) -> list[InputPartition]:
        """Make a read session, which sees the table as it is now."""
        from google.cloud.bigquery_storage_v1 import types

        table = _readable(self._options)
        path = f"projects/{table.project}/datasets/{table.dataset}/tables/{table.table}"
        wanted = self._options.get("maxParallelism") or self._options.get("parallelism") or os.cpu_count() or 1
        session = pydag_bigquery_clients.bigquery_storage().create_read_session(
            parent=f"projects/{self._options.parent_project}",
            read_session=types.ReadSession(
                table=path,
                data_format=types.DataFormat.ARROW,
                read_options=types.ReadSession.TableReadOptions(
                    selected_fields=self._schema.names, row_restriction=self._options.get("filter") or ""
                ),
            ),
            max_stream_count=int(wanted),
        )
        schema = session.arrow_schema.serialized_schema
        return [InputPartition((stream.name, schema)) for stream in session.streams] or [InputPartition(None)]

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        """Yield the rows of one stream, with exactly the types that Spark expects."""
        if partition.value is None:
            return
        import pyarrow as pa
        from pyspark.sql.pandas.types import to_arrow_schema

        stream, serialized = partition.value
        sent = pa.ipc.read_schema(pa.py_buffer(serialized))
        wanted = to_arrow_schema(self._schema, timezone="UTC")
        for message in pydag_bigquery_clients.bigquery_storage().read_rows(stream):
            batch = pa.ipc.read_record_batch(message.arrow_record_batch.serialized_record_batch, sent)
            yield _fitted(batch, wanted)


def _fitted(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    import pyarrow as pa

    columns = [batch.column(field.name).cast(field.type) for field in schema]
    return pa.record_batch(columns, schema=schema)


@dataclass(frozen=True)
class Written(WriterCommitMessage):
    """What one task wrote; nothing if it had no rows."""

    uri: str | None


class BigQueryWriter(DataSourceArrowWriter):
    """Writes Parquet objects below a temporary name, and loads them with one job."""

    def __init__(self, options: Options, schema: StructType, *, overwrite: bool) -> None:
        self._options = options
        self._schema = schema
        self._fields = pydag_bigquery_types.to_bigquery(schema)
        self._overwrite = overwrite
        if overwrite and (options.get("partitionOverwriteMode") or "").upper() == "DYNAMIC":
            raise ValueError("bigquery: spark.sql.sources.partitionOverwriteMode DYNAMIC is not implemented locally")
        # Chosen once, on the driver: a commit that is sent again finds the job that is there.
        self._id = f"spark-bigquery-{uuid.uuid4()}"
        self._bucket = _bucket(options)
        self._folder = Path(os.environ["PYDAG_BUCKETS"]) / self._bucket / f".{self._id}"
        _ = options.table

    def write(self, iterator: Iterator[pa.RecordBatch]) -> Written:
        """Write one task's rows into an object of its own."""
        import pyarrow.parquet as pq

        first = next(iterator, None)
        if first is None:
            return Written(None)
        self._folder.mkdir(exist_ok=True)
        file = self._folder / f"part-{uuid.uuid4()}.parquet"
        with pq.ParquetWriter(file, first.schema) as target:
            target.write_batch(first)
            for batch in iterator:
                target.write_batch(batch)
        return Written(f"gs://{self._bucket}/{self._folder.name}/{file.name}")

    def commit(self, messages: Sequence[WriterCommitMessage | None]) -> None:
        """Load what all tasks wrote, at once.

        Raises:
            GoogleAPICallError: The load job failed; the table is what it was.
        """
        uris = [message.uri for message in messages if isinstance(message, Written) and message.uri]
        try:
            self._load(uris or [self._write_no_rows()])
        finally:
            self._clean()

    def abort(self, messages: Sequence[WriterCommitMessage | None]) -> None:
        """Remove what tasks wrote."""
        self._clean()

    def _write_no_rows(self) -> str:
        import pyarrow as pa
        from pyspark.sql.pandas.types import to_arrow_schema

        none = to_arrow_schema(self._schema, timezone="UTC").empty_table()
        written = self.write(
            iter([pa.RecordBatch.from_arrays([pa.array([], f.type) for f in none.schema], schema=none.schema)])
        )
        return str(written.uri)

    def _load(self, uris: list[str]) -> None:
        from google.api_core.exceptions import Conflict

        client = pydag_bigquery_clients.bigquery(self._options.parent_project)
        config = self._job_config(client)
        target = str(self._options.table)
        if self._options.get("datePartition"):
            target += f"${self._options.get('datePartition')}"
        try:
            job = client.load_table_from_uri(uris, target, job_id=self._id, job_config=config)
        except Conflict:  # an answer was lost, and the job is there
            job = client.get_job(self._id)
        job.result()

    def _job_config(self, client: Any) -> LoadJobConfig:
        from google.cloud import bigquery

        options = self._options
        config = bigquery.LoadJobConfig(
            source_format="PARQUET",
            write_disposition=self._disposition(),
            create_disposition=options.choice("createDisposition", "CREATE_IF_NEEDED", "CREATE_NEVER"),
            labels=options.labels,
        )
        config.schema = self._load_schema(client)
        updates = {"allowFieldAddition": "ALLOW_FIELD_ADDITION", "allowFieldRelaxation": "ALLOW_FIELD_RELAXATION"}
        wanted = [update for name, update in updates.items() if options.flag(name)]
        if wanted:
            config.schema_update_options = wanted
        if clustered := options.get("clusteredFields"):
            config.clustering_fields = [name.strip() for name in clustered.split(",")]
        self._partition(config)
        return config

    def _load_schema(self, client: Any) -> list[SchemaField]:
        """Return the DataFrame's columns; where rows are appended, as the table has them (modes, precision)."""
        from google.api_core.exceptions import NotFound
        from google.cloud import bigquery

        wanted = [bigquery.SchemaField.from_api_repr(field) for field in self._fields]
        if self._overwrite:
            return wanted
        try:
            present = {field.name.lower(): field for field in client.get_table(str(self._options.table)).schema}
        except NotFound:
            return wanted
        own = [present.get(field.name.lower(), field) for field in wanted]
        pairs = zip(wanted, own, strict=True)
        return [there if there.field_type == field.field_type else field for field, there in pairs]

    def _disposition(self) -> str:
        if self._overwrite:
            return "WRITE_TRUNCATE"
        return "WRITE_EMPTY" if self._options.get(MUST_BE_EMPTY) else "WRITE_APPEND"

    def _partition(self, config: LoadJobConfig) -> None:
        from google.cloud import bigquery

        options, field = self._options, self._options.get("partitionField")
        start, end = options.get("partitionRangeStart"), options.get("partitionRangeEnd")
        step = options.get("partitionRangeInterval")
        if start and end and step:
            bounds = bigquery.PartitionRange(start=int(start), end=int(end), interval=int(step))
            config.range_partitioning = bigquery.RangePartitioning(field=field, range_=bounds)
        elif field or options.get("partitionType"):
            expiration = options.get("partitionExpirationMs")
            config.time_partitioning = bigquery.TimePartitioning(
                type_=options.choice("partitionType", "DAY", "HOUR", "MONTH", "YEAR"),
                field=field,
                expiration_ms=int(expiration) if expiration else None,
            )

    def _clean(self) -> None:
        if not self._options.get("persistentGcsBucket"):
            shutil.rmtree(self._folder, ignore_errors=True)


def _bucket(options: Options) -> str:
    """Return the bucket for temporary objects.

    Raises:
        ValueError: None is named and one must be, or it does not exist.
    """
    if options.check_direct():
        named = os.environ["PYDAG_TEMPORARY_BUCKET"]
    else:
        named = options.get("temporaryGcsBucket") or options.get("persistentGcsBucket") or ""
    name = named.removeprefix("gs://").rstrip("/")
    if not name:
        raise ValueError("Either temporary or persistent GCS bucket must be set: option 'temporaryGcsBucket'")
    if "/" in name or not (Path(os.environ["PYDAG_BUCKETS"]) / name).is_dir():
        raise ValueError(f"bigquery option 'temporaryGcsBucket': the bucket '{named}' does not exist")
    return name
