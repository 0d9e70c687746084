"""Extract jobs and EXPORT DATA: what is written is read back.

Contract: https://cloud.google.com/bigquery/docs/exporting-data.
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import fastavro
import pyarrow.parquet as pq
import pytest
from google.api_core.exceptions import BadRequest, GoogleAPICallError, NotFound
from google.cloud import bigquery
from google.cloud.bigquery import ExtractJobConfig, LoadJobConfig

if TYPE_CHECKING:
    from tests.local.bigquery.service import BigQueryService, Finish

pytest_plugins = ("tests.local.bigquery.service",)

FLAT = """CREATE TABLE `{}.t` AS
SELECT 1 AS i, 'a,"b"' AS s, '' AS e, 1.5 AS f, TRUE AS b, DATE '2024-02-29' AS d,
       TIMESTAMP '2024-02-29 12:34:56.789' AS ts, DATETIME '2024-02-29 12:34:56' AS dt, NUMERIC '1.250' AS n,
       b'abc' AS y
UNION ALL SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL ORDER BY i DESC"""

Extract = Callable[..., bytes]


@pytest.fixture
def extract(bigquery_service: BigQueryService, bq: bigquery.Client, dataset: str, finish: Finish) -> Extract:
    """Extracts the table ``t`` and returns the object's content."""

    def run(name: str = "file", **options: Any) -> bytes:
        if "bucket" not in {bucket.name for bucket in bigquery_service.objects.buckets()}:
            bigquery_service.objects.create_bucket("bucket")
        uri = f"gs://bucket/{dataset}/{name}"
        job = bq.extract_table(f"{dataset}.t", uri, job_config=ExtractJobConfig(**options))
        finish(job)
        assert job.destination_uri_file_counts == [1]
        return bigquery_service.read(uri.replace("*", "000000000000"))

    return run


def test_csv_with_a_heading_quotes_and_texts_as_bigquery_writes_them(
    bq: bigquery.Client, dataset: str, extract: Extract
) -> None:
    bq.query_and_wait(FLAT.format(dataset))
    assert extract().decode().splitlines() == [
        "i,s,e,f,b,d,ts,dt,n,y",
        '1,"a,""b""","",1.5,true,2024-02-29,2024-02-29 12:34:56.789 UTC,2024-02-29T12:34:56,1.25,YWJj',
        ",,,,,,,,,",
    ]


def test_csv_without_a_heading_with_another_delimiter_and_gzip(
    bq: bigquery.Client, dataset: str, extract: Extract
) -> None:
    bq.query_and_wait(f"CREATE TABLE `{dataset}.t` AS SELECT 1 AS a, 'x' AS b")
    content = extract(print_header=False, field_delimiter="|", compression="GZIP")
    assert gzip.decompress(content) == b"1|x\n"


def test_a_wildcard_is_the_number_of_the_file(bq: bigquery.Client, dataset: str, extract: Extract) -> None:
    bq.query_and_wait(f"CREATE TABLE `{dataset}.t` AS SELECT 1 AS a")
    assert extract("part-*.csv") == b"a\n1\n"


def test_json_writes_whole_numbers_as_strings_and_leaves_null_out(
    bq: bigquery.Client, dataset: str, extract: Extract
) -> None:
    # https://cloud.google.com/bigquery/docs/exporting-data#json_export: INT64 is encoded as a string
    bq.query_and_wait(
        f"CREATE TABLE `{dataset}.t` AS SELECT 1 AS i, 1.5 AS f, 'ü' AS s, [1, 2] AS l,"
        " STRUCT('x' AS a, NULL AS b) AS r, CAST(NULL AS STRING) AS nothing, DATE '2024-02-29' AS d"
    )
    content = extract(destination_format="NEWLINE_DELIMITED_JSON")
    assert json.loads(content) == {"i": "1", "f": 1.5, "s": "ü", "l": ["1", "2"], "r": {"a": "x"}, "d": "2024-02-29"}


def test_parquet_and_avro_hold_the_types(bq: bigquery.Client, dataset: str, extract: Extract) -> None:
    bq.query_and_wait(f"CREATE TABLE `{dataset}.t` AS SELECT 1 AS i, 'x' AS s, TIMESTAMP '2024-02-29 12:00:00' AS ts")
    table = pq.read_table(io.BytesIO(extract(destination_format="PARQUET", compression="SNAPPY")))
    assert [str(field.type) for field in table.schema] == ["int64", "string", "timestamp[us, tz=UTC]"]
    (record,) = fastavro.reader(io.BytesIO(extract(destination_format="AVRO", compression="DEFLATE")))
    assert (record["i"], record["s"], record["ts"].isoformat()) == (1, "x", "2024-02-29T12:00:00+00:00")  # type: ignore[index,union-attr,call-overload]


@pytest.mark.parametrize(
    ("target", "source"),
    [
        ({"destination_format": "CSV"}, {"source_format": "CSV", "skip_leading_rows": 1}),
        (
            {"destination_format": "NEWLINE_DELIMITED_JSON", "compression": "GZIP"},
            {"source_format": "NEWLINE_DELIMITED_JSON"},
        ),
        ({"destination_format": "PARQUET", "compression": "ZSTD"}, {"source_format": "PARQUET"}),
        (
            {"destination_format": "AVRO", "use_avro_logical_types": True},
            {"source_format": "AVRO", "use_avro_logical_types": True},
        ),
    ],
)
def test_what_is_extracted_can_be_loaded_again(
    bq: bigquery.Client, dataset: str, extract: Extract, finish: Finish, target: dict[str, Any], source: dict[str, Any]
) -> None:
    columns = "i, s, e, f, b, d, ts, n, y"
    bq.query_and_wait(
        FLAT.format(dataset)
        .replace("DATETIME '2024-02-29 12:34:56' AS dt, ", "")
        .replace("NULL, NULL ORDER", "NULL ORDER")
    )
    extract("again", **target)
    schema = bq.get_table(f"{dataset}.t").schema
    config = LoadJobConfig(schema=schema, **source)
    finish(bq.load_table_from_uri(f"gs://bucket/{dataset}/again", f"{dataset}.u", job_config=config))
    difference = f"SELECT {columns} FROM `{dataset}.t` EXCEPT DISTINCT SELECT {columns} FROM `{dataset}.u`"
    assert (list(bq.query_and_wait(difference)), bq.get_table(f"{dataset}.u").num_rows) == ([], 2)


def test_nested_rows_do_not_go_into_csv(bq: bigquery.Client, dataset: str, extract: Extract) -> None:
    bq.query_and_wait(f"CREATE TABLE `{dataset}.t` AS SELECT [1] AS l")
    with pytest.raises(BadRequest, match=r"Operation cannot be performed on a nested schema\. Field: l"):
        extract()


def test_a_missing_table_and_a_missing_bucket_are_not_found(bq: bigquery.Client, dataset: str, finish: Finish) -> None:
    with pytest.raises(NotFound, match="Not found: Table"):
        finish(bq.extract_table(f"{dataset}.none", "gs://bucket/x"))
    bq.query_and_wait(f"CREATE TABLE `{dataset}.t` AS SELECT 1 AS a")
    with pytest.raises(NotFound, match="gs://no-such-bucket"):
        finish(bq.extract_table(f"{dataset}.t", "gs://no-such-bucket/x"))


def test_what_is_not_done_is_refused_by_name(bq: bigquery.Client, dataset: str, extract: Extract) -> None:
    bq.query_and_wait(f"CREATE TABLE `{dataset}.t` AS SELECT 1 AS a")
    with pytest.raises(GoogleAPICallError, match="SNAPPY of CSV files"):
        extract(compression="SNAPPY")


def test_export_data(bigquery_service: BigQueryService, bq: bigquery.Client, dataset: str, extract: Extract) -> None:
    # https://cloud.google.com/bigquery/docs/reference/standard-sql/export-statements
    bq.query_and_wait(f"CREATE TABLE `{dataset}.t` AS SELECT x FROM UNNEST([3, 1, 2]) AS x")
    extract()
    uri = f"gs://bucket/{dataset}/export-*.csv"
    query = f"SELECT x FROM `{dataset}.t` ORDER BY x"
    statement = f"EXPORT DATA OPTIONS (uri = '{uri}', format = 'CSV', header = TRUE{{}}) AS {query}"
    bq.query_and_wait(statement.format(""))
    assert bigquery_service.read(uri.replace("*", "000000000000")) == b"x\n1\n2\n3\n"
    with pytest.raises(BadRequest, match="overwrite"):
        bq.query_and_wait(statement.format(""))
    bq.query_and_wait(statement.format(", overwrite = TRUE"))
