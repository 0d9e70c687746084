"""The Storage Read API through Google's client.

Contract: https://cloud.google.com/bigquery/docs/reference/storage/rpc/google.cloud.bigquery.storage.v1.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import grpc
import pyarrow as pa
import pytest
from google.api_core.exceptions import InvalidArgument, MethodNotImplemented, NotFound, OutOfRange
from google.cloud import bigquery
from google.cloud.bigquery_storage_v1 import BigQueryReadClient, types
from google.cloud.bigquery_storage_v1.services.big_query_read.transports import BigQueryReadGrpcTransport

from pydag_gcp.local import rpc

if TYPE_CHECKING:
    from tests.local.bigquery.service import BigQueryService

pytest_plugins = ("tests.local.bigquery.service",)
pytestmark = pytest.mark.filterwarnings("ignore:Retrieving Arrow record batches:PendingDeprecationWarning")

Open = Callable[..., types.ReadSession]


@pytest.fixture(scope="module")
def reader(bigquery_service: BigQueryService) -> Iterator[BigQueryReadClient]:
    server, port = rpc.serve(bigquery_service.bigquery.rpc_handlers, "127.0.0.1", 0, bigquery_service.faults)
    options = [("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        yield BigQueryReadClient(transport=BigQueryReadGrpcTransport(channel=channel))
    server.stop(None)


@pytest.fixture
def session(reader: BigQueryReadClient, dataset: str) -> Open:
    """Opens a session over the table ``t``."""

    def run(
        *, streams: int = 1, fields: tuple[str, ...] = (), where: str = "", table: str = "t", codec: int = 0,
        data_format: int = types.DataFormat.ARROW,
    ) -> types.ReadSession:  # fmt: skip
        options = types.ReadSession.TableReadOptions(
            selected_fields=fields,
            row_restriction=where,
            arrow_serialization_options=types.ArrowSerializationOptions(buffer_compression=codec),
        )
        wanted = types.ReadSession(
            table=f"projects/p/datasets/{dataset.removeprefix('p.')}/tables/{table}",
            data_format=data_format,
            read_options=options,
        )
        return reader.create_read_session(parent="projects/p", read_session=wanted, max_stream_count=streams)

    return run


def table_of(reader: BigQueryReadClient, session: types.ReadSession) -> pa.Table:
    batches = [
        page.to_arrow() for stream in session.streams for page in reader.read_rows(stream.name).rows(session).pages
    ]
    return pa.Table.from_batches(batches)


def test_every_type_is_what_bigquery_makes_of_it(
    bq: bigquery.Client, dataset: str, reader: BigQueryReadClient, session: Open
) -> None:
    # https://cloud.google.com/bigquery/docs/reference/storage#arrow_schema_details
    bq.query_and_wait(
        f"""CREATE TABLE `{dataset}.t` AS SELECT 1 AS i, 1.5 AS f, TRUE AS b, 'ü' AS s, b'x' AS y,
        DATE '2024-02-29' AS d, DATETIME '2024-02-29 12:00:00' AS dt, TIME '12:00:00' AS t,
        TIMESTAMP '2024-02-29 12:00:00' AS ts, NUMERIC '1.25' AS n, [1, 2] AS l, STRUCT(1 AS a) AS r"""
    )
    table = table_of(reader, session())
    kinds = {field.name: str(field.type) for field in table.schema}
    assert kinds == {
        "i": "int64", "f": "double", "b": "bool", "s": "string", "y": "binary", "d": "date32[day]",
        "dt": "timestamp[us]", "t": "time64[us]", "ts": "timestamp[us, tz=UTC]", "n": "decimal128(38, 9)",
        "l": "list<item: int64>", "r": "struct<a: int64>",
    }  # fmt: skip
    moment = dt.datetime(2024, 2, 29, 12)  # noqa: DTZ001  a DATETIME has no zone
    assert list(table.to_pylist()[0].values()) == [
        1, 1.5, True, "ü", b"x", moment.date(), moment, moment.time(), moment.replace(tzinfo=dt.UTC), Decimal("1.25"),
        [1, 2], {"a": 1},
    ]  # fmt: skip


def numbers(bq: bigquery.Client, dataset: str, count: int) -> None:
    query = f"SELECT x, CAST(x AS STRING) AS y FROM UNNEST(GENERATE_ARRAY(1, {count})) AS x"
    sql = f"CREATE OR REPLACE TABLE `{dataset}.t` AS {query}"
    bq.query_and_wait(sql)


@pytest.mark.parametrize("streams", [1, 3, 100])
def test_streams_share_the_rows_out(
    bq: bigquery.Client, dataset: str, reader: BigQueryReadClient, session: Open, streams: int
) -> None:
    numbers(bq, dataset, 100_000)
    opened = session(streams=streams)
    assert 1 <= len(opened.streams) <= streams
    assert opened.estimated_row_count == 100_000
    assert sorted(table_of(reader, opened)["x"].to_pylist()) == list(range(1, 100_001))


def test_a_stream_goes_on_from_an_offset(
    bq: bigquery.Client, dataset: str, reader: BigQueryReadClient, session: Open
) -> None:
    numbers(bq, dataset, 50_000)
    opened = session()
    whole = table_of(reader, opened)["x"].to_pylist()
    for offset in (0, 1, 16_384, 20_000, 49_999):
        pages = reader.read_rows(opened.streams[0].name, offset=offset).rows(opened).pages
        assert [x for page in pages for x in page.to_arrow()["x"].to_pylist()] == whole[offset:]
    with pytest.raises(OutOfRange):
        list(reader.read_rows(opened.streams[0].name, offset=50_001))


def test_a_stream_can_be_read_by_who_has_only_its_name(
    bq: bigquery.Client, dataset: str, reader: BigQueryReadClient, session: Open
) -> None:
    # https://cloud.google.com/bigquery/docs/reference/storage/rpc/google.cloud.bigquery.storage.v1#readrowsresponse
    numbers(bq, dataset, 50_000)
    (stream,) = session().streams
    for offset in (0, 20_000):
        pages = reader.read_rows(stream.name, offset=offset).rows().pages
        assert [x for page in pages for x in page.to_arrow()["x"].to_pylist()] == list(range(offset + 1, 50_001))
        described = ["arrow_schema" in answer for answer in reader.read_rows(stream.name, offset=offset)]
        assert described == [True] + [False] * (len(described) - 1)
        assert len(described) > 1


def test_a_session_does_not_see_later_changes(
    bq: bigquery.Client, dataset: str, reader: BigQueryReadClient, session: Open
) -> None:
    numbers(bq, dataset, 10)
    opened = session()
    bq.query_and_wait(f"DROP TABLE `{dataset}.t`")
    assert len(table_of(reader, opened)) == 10


def test_fields_are_selected_and_rows_restricted(
    bq: bigquery.Client, dataset: str, reader: BigQueryReadClient, session: Open
) -> None:
    numbers(bq, dataset, 10)
    table = table_of(reader, session(fields=("y",), where="x > 8 AND y != '9' -- only the last"))
    assert table.to_pydict() == {"y": ["10"]}
    with pytest.raises(InvalidArgument, match="nothing"):
        session(fields=("nothing",))
    with pytest.raises(InvalidArgument, match="Row filter"):
        session(where="x >")


@pytest.mark.parametrize("codec", [1, 2])
def test_buffers_may_be_compressed(
    bq: bigquery.Client, dataset: str, reader: BigQueryReadClient, session: Open, codec: int
) -> None:
    numbers(bq, dataset, 1000)
    assert len(table_of(reader, session(codec=codec))) == 1000


def test_an_empty_table_has_no_streams(bq: bigquery.Client, dataset: str, session: Open) -> None:
    bq.query_and_wait(f"CREATE TABLE `{dataset}.t` (x INT64)")
    opened = session()
    assert (list(opened.streams), opened.estimated_row_count) == ([], 0)


def test_missing_things_are_not_found(reader: BigQueryReadClient, session: Open) -> None:
    with pytest.raises(NotFound, match="Not found: Table p:"):
        session(table="missing")
    with pytest.raises(NotFound):
        list(reader.read_rows("projects/p/locations/us/sessions/x/streams/0"))


def test_avro_is_refused_by_name(bq: bigquery.Client, dataset: str, session: Open) -> None:
    numbers(bq, dataset, 1)
    with pytest.raises(MethodNotImplemented, match="data_format AVRO"):
        session(data_format=types.DataFormat.AVRO)


def test_googles_own_download_uses_it(bq: bigquery.Client, dataset: str, reader: BigQueryReadClient) -> None:
    numbers(bq, dataset, 20_000)
    table: Any = bq.list_rows(f"{dataset}.t").to_arrow(bqstorage_client=reader)
    assert sorted(table["x"].to_pylist()) == list(range(1, 20_001))
