"""BigQuery's Storage Read API: consistent snapshots of a table as Arrow, in parallel streams.

A session is a file: the selected rows as they were when it was made, in Arrow's own format. So streams read without a
lock and at any offset, and survive a restart; a stream's name says which of the file's batches are its own.

Reference: https://cloud.google.com/bigquery/docs/reference/storage/rpc/google.cloud.bigquery.storage.v1.
"""

# ruff: noqa: S608  (names are quoted identifiers of our own making; values are bound)
from __future__ import annotations

import datetime as dt
import re
import time
import uuid
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import grpc
import pyarrow as pa
from google.cloud.bigquery_storage_v1 import types
from pyarrow import ipc

from pydag_gcp.local import rpc
from pydag_gcp.local.bigquery.arrow import arrow_schema
from pydag_gcp.local.bigquery.catalogue import Catalogue, NotFound, Table, TableName
from pydag_gcp.local.bigquery.names import Names, Scope
from pydag_gcp.local.bigquery.statements import bound
from pydag_gcp.local.bigquery.warehouse import Warehouse
from pydag_gcp.local.googlesql.syntax import InvalidQuery, Unsupported, parse
from pydag_gcp.local.googlesql.translate import translate
from pydag_gcp.local.googlesql.types import Field, quoted
from pydag_gcp.local.rpc import RpcError, invalid_argument, not_found, unimplemented

#: https://cloud.google.com/bigquery/docs/reference/storage#create_a_session
_SESSION_LIFE = 6 * 60 * 60
_BATCH_ROWS = 16_384
#: Streams of a session whose maker lets us choose.
_STREAMS = 4
_TABLE = re.compile(r"projects/([^/]+)/datasets/([^/]+)/tables/([^/]+)")
_STREAM = re.compile(r"projects/[^/]+/locations/[^/]+/sessions/([0-9a-f]{32})/streams/(\d+)-(\d+)-(none|lz4|zstd)")
_CODECS = {
    types.ArrowSerializationOptions.CompressionCodec.COMPRESSION_UNSPECIFIED: "none",
    types.ArrowSerializationOptions.CompressionCodec.LZ4_FRAME: "lz4",
    types.ArrowSerializationOptions.CompressionCodec.ZSTD: "zstd",
}


class ReadSessions:
    """All read sessions.

    Args:
        warehouse: Where the tables are.
    """

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self._folder = warehouse.spool / "sessions"
        self._folder.mkdir(exist_ok=True)

    def create(self, request: types.CreateReadSessionRequest) -> types.ReadSession:
        """Make a session.

        Raises:
            RpcError: The table is not there, or what is asked for is not done.
        """
        wanted = request.read_session
        _refuse_options(wanted)
        session_id = uuid.uuid4().hex
        path = self._folder / f"{session_id}.arrow"
        with self._warehouse.reading() as connection:
            catalogue = Catalogue(connection, self._warehouse.clock)
            table = _table(catalogue, wanted.table)
            location = catalogue.dataset(table.name.parent).location
            fields = _columns(table, list(wanted.read_options.selected_fields))
            rows, batches = _snapshot(catalogue, table, fields, wanted.read_options.row_restriction, location, path)
        name = f"{request.parent}/locations/{location.lower()}/sessions/{session_id}"
        count = min(batches, request.max_stream_count or max(request.preferred_min_stream_count, _STREAMS))
        codec = _CODECS[wanted.read_options.arrow_serialization_options.buffer_compression]
        edges = [batches * part // count for part in range(count + 1)] if count else []
        return types.ReadSession(
            name=name,
            table=wanted.table,
            data_format=types.DataFormat.ARROW,
            arrow_schema=types.ArrowSchema(serialized_schema=arrow_schema(fields).serialize().to_pybytes()),
            read_options=wanted.read_options,
            expire_time=dt.datetime.now(dt.UTC) + dt.timedelta(seconds=_SESSION_LIFE),
            streams=[types.ReadStream(name=f"{name}/streams/{start}-{end}-{codec}") for start, end in pairwise(edges)],
            estimated_row_count=rows,
            estimated_total_bytes_scanned=path.stat().st_size if rows else 0,
        )

    def read(self, request: types.ReadRowsRequest) -> Iterator[types.ReadRowsResponse]:
        """Yield the rows of a stream from an offset on.

        Raises:
            RpcError: There is no such stream, or it is shorter.
        """
        match = _STREAM.fullmatch(request.read_stream)
        path = self._folder / f"{match[1]}.arrow" if match else None
        if match is None or path is None or not path.exists():
            raise not_found(f"Not found: read stream {request.read_stream}")
        with pa.memory_map(str(path)) as source:
            reader = ipc.open_file(source)
            # Some clients have only the stream's name, so the first answer says what the columns are.
            schema: pa.Schema | None = reader.schema
            left = request.offset
            for number in range(int(match[2]), int(match[3])):
                batch = reader.get_batch(number)
                if left >= batch.num_rows:
                    left -= batch.num_rows
                    continue
                yield _response(batch.slice(left), match[4], schema)
                left, schema = 0, None
        if left:
            raise RpcError(grpc.StatusCode.OUT_OF_RANGE, f"offset {request.offset} is past the end of the stream")

    def drop_expired(self) -> None:
        """Throw away the sessions whose time is over."""
        for path in self._folder.iterdir():
            if path.stat().st_mtime < time.time() - _SESSION_LIFE:
                path.unlink(missing_ok=True)


def service(sessions: ReadSessions) -> rpc.Service:
    """Return the gRPC service."""
    return rpc.service(
        "google.cloud.bigquery.storage.v1.BigQueryRead",
        "bigquerystorage",
        {
            "CreateReadSession": rpc.Method(
                function=sessions.create, request=types.CreateReadSessionRequest, response=types.ReadSession
            ),
            "ReadRows": rpc.Method(
                function=sessions.read, request=types.ReadRowsRequest, response=types.ReadRowsResponse, streaming=True
            ),
        },
    )


def _refuse_options(wanted: types.ReadSession) -> None:
    if wanted.data_format != types.DataFormat.ARROW:
        raise unimplemented(f"data_format {wanted.data_format.name} is not offered by the local cloud, only ARROW")
    if "snapshot_time" in wanted.table_modifiers:
        raise unimplemented("table_modifiers.snapshot_time is not offered by the local cloud")
    if wanted.read_options.sample_percentage:
        raise unimplemented("read_options.sample_percentage is not offered by the local cloud")


def _table(catalogue: Catalogue, text: str) -> Table:
    match = _TABLE.fullmatch(text)
    if match is None:
        raise invalid_argument(f"table: expected projects/P/datasets/D/tables/T, got {text!r}")
    if "$" in match[3] or "@" in match[3]:
        raise unimplemented(f"a table decorator ({match[3]}) is not offered by the local cloud")
    try:
        table = catalogue.table(TableName(project=match[1], dataset=match[2], table=match[3]))
    except NotFound as error:
        raise not_found(str(error)) from None
    if table.kind != "TABLE":
        raise invalid_argument(f"read_session.table: {table.name} is a view; only tables can be read")
    return table


def _columns(table: Table, selected: Sequence[str]) -> tuple[Field, ...]:
    known = {column.name.lower(): column for column in table.fields}
    for name in selected:
        if "." in name and name.lower() not in known:
            raise unimplemented(f"selected_fields: a part of a STRUCT ({name}) is not offered by the local cloud")
        if name.lower() not in known:
            raise invalid_argument(f"The following selected fields do not exist in the table schema: {name}")
    wanted = {name.lower() for name in selected} or set(known)
    return tuple(column for name, column in known.items() if name in wanted)


def _snapshot(
    catalogue: Catalogue, table: Table, fields: Sequence[Field], restriction: str, location: str, path: Path
) -> tuple[int, int]:
    """Write the selected rows to a file; return how many rows and batches they are."""
    sql, parameters = _select(catalogue, table, fields, restriction, location)
    schema = arrow_schema(fields)
    rows = batches = 0
    try:
        reader = bound(catalogue.connection, sql, parameters).to_arrow_reader(_BATCH_ROWS)
        with pa.OSFile(str(path), "wb") as sink, ipc.new_file(sink, schema) as writer:
            for batch in reader:
                if batch.num_rows:
                    writer.write_batch(pa.record_batch(batch.columns, names=schema.names).cast(schema))
                    rows, batches = rows + batch.num_rows, batches + 1
    except duckdb.Error as error:
        path.unlink(missing_ok=True)
        raise invalid_argument(f"row_restriction: {error}") from None
    return rows, batches


def _select(
    catalogue: Catalogue, table: Table, fields: Sequence[Field], restriction: str, location: str
) -> tuple[str, Any]:
    if not restriction:
        return f"SELECT {', '.join(quoted(column.name) for column in fields)} FROM {table.rows}", {}
    columns = ", ".join(f"`{column.name}`" for column in fields)
    name = table.name
    text = f"SELECT {columns} FROM `{name.project}`.`{name.dataset}`.`{name.table}` WHERE (\n{restriction}\n)"
    try:
        (statement,) = parse(text)
        ready = translate(statement, tables=Names(catalogue, Scope(project=name.project, location=location)))
    except Unsupported as error:
        raise unimplemented(f"row_restriction: {error}") from None
    except (InvalidQuery, NotFound, ValueError) as error:
        raise invalid_argument(f"request failed: Row filter for {name} is invalid: {error}") from None
    return ready.sql, ready.parameters


def _response(batch: pa.RecordBatch, codec: str, schema: pa.Schema | None) -> types.ReadRowsResponse:
    described = types.ArrowSchema(serialized_schema=schema.serialize().to_pybytes()) if schema is not None else None
    payload = batch.serialize() if codec == "none" else _compressed(batch, codec)
    return types.ReadRowsResponse(
        row_count=batch.num_rows,
        arrow_schema=described,
        arrow_record_batch=types.ArrowRecordBatch(
            serialized_record_batch=payload.to_pybytes(), row_count=batch.num_rows
        ),
    )


def _compressed(batch: pa.RecordBatch, codec: str) -> pa.Buffer:
    """Return the message of a batch with compressed buffers, which Arrow writes only as part of a stream."""
    sink = pa.BufferOutputStream()
    stream = ipc.new_stream(sink, batch.schema, options=ipc.IpcWriteOptions(compression=codec))
    stream.write_batch(batch.slice(0, 0))  # the schema goes out with the first one
    start = sink.tell()
    stream.write_batch(batch)
    end = sink.tell()
    return sink.getvalue().slice(start, end - start)
