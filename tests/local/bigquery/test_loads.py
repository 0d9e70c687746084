"""Load jobs through Google's client: one test for each rule of BigQuery's page on each format.

Contract: https://cloud.google.com/bigquery/docs/loading-data-cloud-storage-csv (and -json, -parquet, -avro) and
https://cloud.google.com/bigquery/docs/reference/rest/v2/Job#JobConfigurationLoad.
"""

from __future__ import annotations

import datetime as dt
import gzip
import io
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.api_core.exceptions import BadRequest, Conflict, GoogleAPICallError, MethodNotImplemented, NotFound
from google.cloud import bigquery
from google.cloud.bigquery import LoadJobConfig, SchemaField

if TYPE_CHECKING:
    from tests.local.bigquery.service import BigQueryService, Finish

pytest_plugins = ("tests.local.bigquery.service",)

UTC = dt.UTC
AB = [SchemaField("a", "INTEGER"), SchemaField("b", "STRING")]
S = [SchemaField("s", "STRING"), SchemaField("n", "INTEGER")]

Load = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def load(bigquery_service: BigQueryService, bq: bigquery.Client, dataset: str, finish: Finish) -> Load:
    """Loads a content into a table and returns the table's rows, as tuples."""

    def run(content: bytes | str, schema: Sequence[SchemaField] | None = None, **options: Any) -> list[tuple[Any, ...]]:
        uri = bigquery_service.put(f"gs://bucket/{dataset}/file", content)
        config = LoadJobConfig(schema=schema, **options) if schema is not None else LoadJobConfig(**options)
        job = bq.load_table_from_uri(uri, f"{dataset}.t", job_config=config)
        try:
            finish(job)
        except GoogleAPICallError as error:
            error.add_note("\n".join(entry["message"] for entry in job.errors))
            raise
        return [row.values() for row in bq.list_rows(f"{dataset}.t")]

    return run


def failure(load: Load, *arguments: Any, **options: Any) -> str:
    """Return what the errors of a failing load say."""
    with pytest.raises(GoogleAPICallError) as caught:
        load(*arguments, **options)
    return "\n".join([str(caught.value), *getattr(caught.value, "__notes__", [])])


# What is NULL and what is empty in CSV


def test_an_unquoted_empty_field_is_null_and_a_quoted_one_is_the_empty_string(load: Load) -> None:
    assert load('"",1\n,2\n', S) == [("", 1), (None, 2)]


def test_an_empty_field_of_another_type_is_null_quoted_or_not(load: Load) -> None:
    assert load('x,\ny,""\n', S) == [("x", None), ("y", None)]


def test_a_null_marker_makes_empty_strings_of_empty_fields(load: Load) -> None:
    assert load("\\N,1\n,2\n", S, null_marker="\\N") == [(None, 1), ("", 2)]


def test_with_a_null_marker_an_empty_field_of_another_type_is_an_error(load: Load) -> None:
    assert "Could not parse '' as INT64 for field n (position 1)" in failure(load, "x,\n", S, null_marker="\\N")


def test_several_null_markers(load: Load) -> None:
    assert load("NA,1\n-,NA\nx,-\n", S, null_markers=["NA", "-"]) == [(None, 1), (None, None), ("x", None)]


def test_a_null_marker_in_quotes_is_refused_because_the_page_does_not_say_what_it_means(load: Load) -> None:
    assert "null marker 'NA' in quotes" in failure(load, '"NA",1\n', S, null_marker="NA")


# How CSV is split


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_rows_end_in_any_line_break_and_the_last_one_needs_none(load: Load, end: str) -> None:
    assert load(f"1,x{end}2,y", AB) == [(1, "x"), (2, "y")]


def test_rows_may_end_in_different_line_breaks(load: Load) -> None:
    assert load("1,x\r\n2,y\n3,z\r", AB) == [(1, "x"), (2, "y"), (3, "z")]


def test_blank_lines_are_no_rows(load: Load) -> None:
    assert load("\n1,x\n\n2,y\n\n", AB) == [(1, "x"), (2, "y")]


def test_a_byte_order_mark_is_no_data(load: Load) -> None:
    assert load(b"\xef\xbb\xbf1,x\n", AB) == [(1, "x")]


def test_quotes_hold_delimiters_and_doubled_quotes(load: Load) -> None:
    assert load('1,"x,y"\n2,"say ""hi"""\n', AB) == [(1, "x,y"), (2, 'say "hi"')]


def test_a_quote_inside_an_unquoted_field_is_a_character(load: Load) -> None:
    assert load('1,5" nail\n2, "x"\n', AB) == [(1, '5" nail'), (2, ' "x"')]


@pytest.mark.parametrize(
    ("content", "row"),
    [('1,"x\ny"\n2,z\n', "x\ny"), ('1,"x\r\ny"\r\n2,z\r\n', "x\r\ny"), ('1,"x\r\ny"\n2,z\n', "x\r\ny")],
)
def test_quoted_line_breaks_are_data_where_they_are_allowed(load: Load, content: str, row: str) -> None:
    assert load(content, AB, allow_quoted_newlines=True) == [(1, row), (2, "z")]


def test_quoted_line_breaks_are_an_error_where_they_are_not_allowed(load: Load) -> None:
    assert 'Error: Missing close double quote (") character.' in failure(load, '1,"x\ny"\n2,z\n', AB)


def test_text_after_a_closing_quote_is_an_error(load: Load) -> None:
    message = failure(load, '1,x\n2,"y"z\n', AB)
    assert 'row starting at position: 4. Error: Data between close double quote (") and field separator.' in message


def test_another_quote_and_no_quote(load: Load) -> None:
    assert load("1,'x,y'\n", AB, quote_character="'") == [(1, "x,y")]
    assert load('2,"x"\n', AB, quote_character="", write_disposition="WRITE_TRUNCATE") == [(2, '"x"')]


@pytest.mark.parametrize(("option", "char"), [("\t", "\t"), ("\\t", "\t"), ("tab", "\t"), ("|", "|"), (";", ";")])
def test_another_delimiter(load: Load, option: str, char: str) -> None:
    assert load(f"1{char}x,y\n", AB, field_delimiter=option) == [(1, "x,y")]


def test_a_delimiter_of_several_characters_is_refused_by_name(load: Load) -> None:
    assert "fieldDelimiter '||'" in failure(load, "1||x\n", AB, field_delimiter="||")


def test_leading_rows_are_skipped_whatever_they_hold(load: Load) -> None:
    assert load("a header,with,too,many\n1,x\n", AB, skip_leading_rows=1) == [(1, "x")]


def test_too_few_columns_are_an_error_and_null_if_jagged_rows_are_allowed(load: Load) -> None:
    message = failure(load, "1,x\n2\n", AB)
    assert "CSV table references column position 1, but line starting at position:4 contains only 1 columns." in message
    assert load("1,x\n2\n", AB, allow_jagged_rows=True) == [(1, "x"), (2, None)]


def test_too_many_columns_are_an_error_and_dropped_if_unknown_values_are_ignored(load: Load) -> None:
    assert "Too many values in row starting at position: 0. Found 3 column(s) while expected 2." in failure(
        load, "1,x,y\n", AB
    )
    assert load("1,x,y\n", AB, ignore_unknown_values=True) == [(1, "x")]


# Characters of CSV


def test_utf8_is_the_default_and_latin1_an_option(load: Load) -> None:
    assert load("1,ñ€😀\n", AB) == [(1, "ñ€😀")]
    assert load(b"2,\xf1\n", AB, encoding="ISO-8859-1", write_disposition="WRITE_TRUNCATE") == [(2, "ñ")]


def test_bytes_that_are_no_utf8_become_replacement_characters(load: Load) -> None:
    assert load(b"1,\xf1x\n", AB) == [(1, "\ufffdx")]


def test_a_zero_byte_is_an_error(load: Load) -> None:
    assert "Bad character (ASCII 0) encountered." in failure(load, b"1,x\0y\n", AB)


def test_another_encoding_is_refused_by_name(load: Load) -> None:
    assert "encoding UTF-16BE" in failure(load, b"\x00", AB, encoding="UTF-16BE")


def test_gzip_is_recognised_by_its_content(load: Load) -> None:
    assert load(gzip.compress(b"1,x\n2,y\n"), AB) == [(1, "x"), (2, "y")]


def test_a_cut_off_gzip_file_is_an_error(load: Load) -> None:
    assert "not a complete gzip file" in failure(load, gzip.compress(b"1,x\n" * 100)[:-9], AB)


# Values in CSV


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("INTEGER", "-42", -42),
        ("INTEGER", "9223372036854775807", 2**63 - 1),
        ("FLOAT", "1.5e3", 1500.0),
        ("FLOAT", "-Infinity", float("-inf")),
        ("NUMERIC", "1.0000000005", Decimal("1.000000001")),
        ("BOOLEAN", "T", True),
        ("BOOLEAN", "no", False),
        ("BOOLEAN", "1", True),
        ("BYTES", "YWJj", b"abc"),
        ("DATE", "2024-02-29", dt.date(2024, 2, 29)),
        ("DATETIME", "2024-02-29 12:34:56.789", dt.datetime(2024, 2, 29, 12, 34, 56, 789000)),  # noqa: DTZ001  a DATETIME has no zone
        ("TIME", "12:34:56", dt.time(12, 34, 56)),
        ("TIMESTAMP", "2018-08-19 12:11", dt.datetime(2018, 8, 19, 12, 11, tzinfo=UTC)),
        ("TIMESTAMP", "2018/08/19 12:11:35.22", dt.datetime(2018, 8, 19, 12, 11, 35, 220000, tzinfo=UTC)),
        ("TIMESTAMP", "2018-07-05 12:54:00 UTC", dt.datetime(2018, 7, 5, 12, 54, tzinfo=UTC)),
        ("TIMESTAMP", "2018-08-19 07:11:35.220 -05:00", dt.datetime(2018, 8, 19, 12, 11, 35, 220000, tzinfo=UTC)),
        ("TIMESTAMP", "2018-08-19T12:11:35.220Z", dt.datetime(2018, 8, 19, 12, 11, 35, 220000, tzinfo=UTC)),
        ("TIMESTAMP", "1408452095.22", dt.datetime(2014, 8, 19, 12, 41, 35, 220000, tzinfo=UTC)),
    ],
)
def test_a_text_that_stands_for_a_value(load: Load, kind: str, text: str, value: object) -> None:
    assert load(f"{text},\n", [SchemaField("v", kind), SchemaField("x", "STRING")]) == [(value, None)]


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("INTEGER", "1.0"),
        ("INTEGER", "9223372036854775808"),
        ("FLOAT", "1_000"),
        ("BOOLEAN", "2"),
        ("BYTES", "abc"),
        ("DATE", "2023-02-29"),
        ("DATE", "2024/02/29"),
        ("DATE", "01-02-2024"),
        ("DATETIME", "2024-02-29 24:00:00"),
        ("TIME", "25:00:00"),
        ("TIMESTAMP", "yesterday"),
        ("JSON", "{a}"),
    ],
)
def test_a_text_that_stands_for_no_value_is_named_with_its_place(load: Load, kind: str, text: str) -> None:
    message = failure(load, f"first,\nx,{text}\n", [SchemaField("x", "STRING"), SchemaField("v", kind)])
    standard = {"INTEGER": "INT64", "FLOAT": "FLOAT64", "BOOLEAN": "BOOL"}.get(kind, kind)
    assert f"Could not parse '{text}' as {standard} for field v (position 1) starting at location 7" in message
    assert "row 2: " in message


def test_a_required_column_wants_a_value(load: Load) -> None:
    schema = [SchemaField("a", "INTEGER", mode="REQUIRED"), SchemaField("b", "STRING")]
    message = failure(load, "1,x\n,y\n", schema)
    assert "Required column value for column index: 0 is missing in row starting at position: 4" in message


def test_a_string_longer_than_its_column_is_an_error(load: Load) -> None:
    schema = [SchemaField("a", "INTEGER"), SchemaField("b", "STRING", max_length=2)]
    assert "maximum 2 of field b" in failure(load, "1,xyz\n", schema)


def test_nested_columns_cannot_come_from_csv(load: Load) -> None:
    nested = [SchemaField("a", "INTEGER", mode="REPEATED")]
    assert "REPEATED INT64 column in a CSV file" in failure(load, "1\n", nested)


# Errors in CSV


def test_an_error_names_the_file_the_counts_and_the_row(
    bigquery_service: BigQueryService, bq: bigquery.Client, dataset: str, finish: Finish
) -> None:
    uri = bigquery_service.put("gs://bucket/errors/bad.csv", "a,b\n1,x\noops,y\n")
    job = bq.load_table_from_uri(uri, f"{dataset}.t", job_config=LoadJobConfig(schema=AB, skip_leading_rows=1))
    with pytest.raises(BadRequest):
        finish(job)
    assert job.error_result == {
        "reason": "invalid",
        "location": uri,
        "message": (
            "Error while reading data, error message: CSV table encountered too many errors, giving up. Rows: 2; "
            f"errors: 1. Please look into the errors[] collection for more details. File: {uri}"
        ),
    }
    assert job.errors[-1] == {
        "reason": "invalid",
        "location": uri,
        "message": (
            "Error while reading data, error message: Could not parse 'oops' as INT64 for field a (position 0) "
            f"starting at location 8 with message 'Unable to parse' File: {uri}; row 3: 'oops,y'"
        ),
    }


def test_a_failed_load_leaves_nothing(load: Load, bq: bigquery.Client, dataset: str, finish: Finish) -> None:
    load("1,x\n", AB)
    before = bq.get_table(f"{dataset}.t")
    failure(load, "2,y\nz,z\n", AB, write_disposition="WRITE_TRUNCATE")
    after = bq.get_table(f"{dataset}.t")
    assert (after.num_rows, after.etag, after.modified) == (before.num_rows, before.etag, before.modified)
    with pytest.raises(NotFound):
        finish(bq.load_table_from_uri("gs://bucket/none", f"{dataset}.other", job_config=LoadJobConfig(schema=AB)))
    with pytest.raises(NotFound):
        bq.get_table(f"{dataset}.other")


def test_as_many_bad_rows_as_allowed_are_left_out_and_reported(
    bigquery_service: BigQueryService, bq: bigquery.Client, dataset: str, finish: Finish
) -> None:
    uri = bigquery_service.put("gs://bucket/some-bad.csv", "1,x\nbad,y\n3\n4,z\n")
    job = bq.load_table_from_uri(uri, f"{dataset}.t", job_config=LoadJobConfig(schema=AB, max_bad_records=2))
    finish(job)
    assert [row.values() for row in bq.list_rows(f"{dataset}.t")] == [(1, "x"), (4, "z")]
    assert (job.output_rows, job.error_result, len(job.errors)) == (2, None, 2)
    assert job._properties["statistics"]["load"]["badRecords"] == "2"


def test_one_bad_row_more_than_allowed_fails_the_job(load: Load) -> None:
    assert "Rows: 3; errors: 2" in failure(load, "1,x\nbad,y\n3\n4,z\n", AB, max_bad_records=1)


# Schema detection, https://cloud.google.com/bigquery/docs/schema-detect


def test_detection_finds_a_heading_and_types(load: Load, bq: bigquery.Client, dataset: str) -> None:
    content = "id,the name,ok,day,at,ratio\n1,x,true,2024-01-02,2024-01-02 03:04:05,1.5\n2,y,false,2024-01-03,,2\n"
    rows = load(content, autodetect=True)
    fields = [(field.name, field.field_type) for field in bq.get_table(f"{dataset}.t").schema]
    assert fields == [
        ("id", "INTEGER"), ("the_name", "STRING"), ("ok", "BOOLEAN"), ("day", "DATE"), ("at", "TIMESTAMP"),
        ("ratio", "FLOAT"),
    ]  # fmt: skip
    assert rows[1] == (2, "y", False, dt.date(2024, 1, 3), None, 2.0)


def test_detection_without_a_heading_makes_names_up(load: Load, bq: bigquery.Client, dataset: str) -> None:
    assert load("x,1\ny,2\n", autodetect=True) == [("x", 1), ("y", 2)]
    assert [field.name for field in bq.get_table(f"{dataset}.t").schema] == ["string_field_0", "int64_field_1"]


def test_without_a_schema_or_a_table_there_is_nothing_to_load_into(load: Load) -> None:
    assert "No schema specified on job or table." in failure(load, "1,x\n")


# Sources


def test_a_wildcard_loads_every_match_and_nothing_matching_is_not_found(
    bigquery_service: BigQueryService, bq: bigquery.Client, dataset: str, finish: Finish
) -> None:
    for number in range(3):
        bigquery_service.put(f"gs://bucket/glob/part-{number}.csv", f"{number},x\n")
    config = LoadJobConfig(schema=AB)
    job = bq.load_table_from_uri("gs://bucket/glob/part-*", f"{dataset}.t", job_config=config)
    finish(job)
    assert (job.input_files, job.output_rows, bq.get_table(f"{dataset}.t").num_rows) == (3, 3, 3)
    with pytest.raises(NotFound, match=r"Not found: URI gs://bucket/glob/none\*"):
        finish(bq.load_table_from_uri("gs://bucket/glob/none*", f"{dataset}.t", job_config=config))


def test_a_name_full_of_wildcards_of_other_programs_is_just_a_name(
    bigquery_service: BigQueryService, bq: bigquery.Client, dataset: str, finish: Finish
) -> None:
    uri = bigquery_service.put("gs://bucket/odd/[a]?{b}.csv", "1,x\n")
    bigquery_service.put("gs://bucket/odd/ax{b}.csv", "2,y\n")
    finish(bq.load_table_from_uri(uri, f"{dataset}.t", job_config=LoadJobConfig(schema=AB)))
    assert [row.values() for row in bq.list_rows(f"{dataset}.t")] == [(1, "x")]


@pytest.mark.parametrize("size", [None, 8])
def test_a_file_may_come_along_with_the_job(
    bq: bigquery.Client, dataset: str, size: int | None, finish: Finish
) -> None:
    # size=None: a resumable upload; a size: a multipart one
    job = bq.load_table_from_file(
        io.BytesIO(b"1,x\n2,y\n"), f"{dataset}.t", size=size, job_config=LoadJobConfig(schema=AB)
    )
    finish(job)
    assert (job.output_rows, bq.get_table(f"{dataset}.t").num_rows) == (2, 2)


def test_a_large_file_comes_in_parts(bq: bigquery.Client, dataset: str, finish: Finish) -> None:
    content = b"".join(b"%d,%s\n" % (number, b"x" * 1000) for number in range(5000))
    upload: Any = bq._initiate_resumable_upload(
        io.BytesIO(content), cast("Any", {"configuration": {"load": {
            "destinationTable": {"projectId": "p", "datasetId": dataset.removeprefix("p."), "tableId": "t"},
            "schema": {"fields": [field.to_api_repr() for field in AB]},
        }}}), cast("Any", None), None,
    )  # fmt: skip
    upload[0]._chunk_size = 1 << 20
    while not upload[0].finished:
        answer = upload[0].transmit_next_chunk(upload[1])
    finish(bq.get_job(answer.json()["jobReference"]["jobId"]))
    assert bq.get_table(f"{dataset}.t").num_rows == 5000


# Dispositions, https://cloud.google.com/bigquery/docs/reference/rest/v2/Job#JobConfigurationLoad


def test_append_is_the_default_truncate_replaces_and_empty_refuses(load: Load) -> None:
    assert load("1,x\n", AB) == [(1, "x")]
    assert load("2,y\n", AB) == [(1, "x"), (2, "y")]
    with pytest.raises(Conflict, match="Already Exists: Table p:"):
        load("3,z\n", AB, write_disposition="WRITE_EMPTY")
    assert load("x,4\n", S, write_disposition="WRITE_TRUNCATE") == [("x", 4)]


def test_create_never_wants_a_table(load: Load) -> None:
    assert "Not found: Table p:" in failure(load, "1,x\n", AB, create_disposition="CREATE_NEVER")


def test_a_missing_dataset_is_not_found(bigquery_service: BigQueryService, bq: bigquery.Client, finish: Finish) -> None:
    uri = bigquery_service.put("gs://bucket/x.csv", "1,x\n")
    with pytest.raises(NotFound, match="Not found: Dataset p:missing"):
        finish(bq.load_table_from_uri(uri, "p.missing.t", job_config=LoadJobConfig(schema=AB)))


def test_columns_come_in_the_order_of_the_jobs_schema_and_go_by_name(load: Load) -> None:
    load("1,x\n", AB)
    assert load("y,2\n", [AB[1], AB[0]]) == [(1, "x"), (2, "y")]
    assert load("3\n", [AB[0]]) == [(1, "x"), (2, "y"), (3, None)]


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ([SchemaField("a", "STRING"), AB[1]], "Field a has changed type from INTEGER to STRING"),
        ([*AB, SchemaField("c", "STRING")], "Cannot add fields (field: c)"),
        ([SchemaField("a", "INTEGER", mode="REQUIRED"), AB[1]], "Field a has changed mode from NULLABLE to REQUIRED"),
    ],
)
def test_a_schema_that_does_not_go_with_the_tables_is_refused(
    load: Load, schema: Sequence[SchemaField], message: str
) -> None:
    load("1,x\n", AB)
    assert message in failure(load, "1,x,y\n", schema)


def test_fields_may_be_added_and_relaxed_where_the_job_says_so(load: Load, bq: bigquery.Client, dataset: str) -> None:
    load("1,x\n", [SchemaField("a", "INTEGER", mode="REQUIRED"), AB[1]])
    options = ["ALLOW_FIELD_ADDITION", "ALLOW_FIELD_RELAXATION"]
    rows = load(",y,z\n", [*AB, SchemaField("c", "STRING")], schema_update_options=options)
    assert rows == [(1, "x", None), (None, "y", "z")]
    assert [(field.name, field.mode) for field in bq.get_table(f"{dataset}.t").schema] == [
        ("a", "NULLABLE"), ("b", "NULLABLE"), ("c", "NULLABLE"),
    ]  # fmt: skip


def test_a_table_made_by_a_load_is_partitioned_clustered_and_labelled(
    load: Load, bq: bigquery.Client, dataset: str
) -> None:
    schema = [SchemaField("d", "DATE"), SchemaField("c", "STRING")]
    load(
        "2024-01-02,x\n",
        schema,
        time_partitioning=bigquery.TimePartitioning(type_="MONTH", field="d"),
        clustering_fields=["c"],
        destination_table_description="text",
    )
    table = bq.get_table(f"{dataset}.t")
    assert (table.time_partitioning.type_, table.time_partitioning.field) == ("MONTH", "d")
    assert (table.clustering_fields, table.description) == (["c"], "text")


def test_one_partition_is_replaced_by_its_decorator(
    load: Load, bigquery_service: BigQueryService, bq: bigquery.Client, dataset: str, finish: Finish
) -> None:
    # https://cloud.google.com/bigquery/docs/managing-partitioned-table-data#write-to-partition
    schema = [SchemaField("d", "DATE"), SchemaField("c", "STRING")]
    load("2024-01-01,old\n2024-01-02,old\n", schema, time_partitioning=bigquery.TimePartitioning(field="d"))
    config = LoadJobConfig(schema=schema, write_disposition="WRITE_TRUNCATE")
    one = bigquery_service.put("gs://bucket/one-day.csv", "2024-01-02,new\n")
    finish(bq.load_table_from_uri(one, f"{dataset}.t$20240102", job_config=config))
    rows = sorted(row.values() for row in bq.list_rows(f"{dataset}.t"))
    assert rows == [(dt.date(2024, 1, 1), "old"), (dt.date(2024, 1, 2), "new")]
    with pytest.raises(BadRequest, match="Some rows belong to different partitions"):
        finish(bq.load_table_from_uri(one, f"{dataset}.t$20240101", job_config=config))


def test_what_is_not_done_is_refused_by_name(load: Load) -> None:
    for options, name in (
        ({"source_format": "ORC"}, "sourceFormat ORC"),
        (
            {"hive_partitioning": bigquery.HivePartitioningOptions.from_api_repr({"mode": "AUTO"})},
            "hivePartitioningOptions",
        ),
    ):
        with pytest.raises((MethodNotImplemented, GoogleAPICallError), match=name):
            load("", AB, **options)


# JSON


JSON = {"source_format": "NEWLINE_DELIMITED_JSON"}
NESTED = [
    SchemaField("id", "INTEGER", mode="REQUIRED"),
    SchemaField("tags", "STRING", mode="REPEATED"),
    SchemaField("place", "RECORD", fields=[SchemaField("city", "STRING"), SchemaField("at", "TIMESTAMP")]),
]


def test_json_rows_hold_records_and_arrays(load: Load) -> None:
    content = '{"id": 1, "tags": ["a", "b"], "place": {"city": "x", "at": "2024-01-02T03:04:05Z"}}\n\n{"ID": "2"}\n'
    assert load(content, NESTED, **JSON) == [
        (1, ["a", "b"], {"city": "x", "at": dt.datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)}),
        (2, [], None),
    ]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('{"id": 1, "x": 2}', "no such field: x."),
        ('{"id": 1, "place": {"x": 2}}', "no such field: place.x."),
        ('{"id": "one"}', "Could not convert value to int64. Field: id"),
        ('{"tags": []}', "Missing required field: id."),
        ('{"id": 1, "tags": "a"}', "Repeated field must be imported as a JSON array. Field: tags."),
        ('{"id": [1]}', "Array specified for non-repeated field: id."),
        ('{"id": 1', "Parser terminated"),
    ],
)
def test_a_bad_json_row_is_named_with_its_place(load: Load, row: str, message: str) -> None:
    errors = failure(load, '{"id": 0}\n' + row + "\n", NESTED, **JSON)
    assert message in errors
    assert "row starting at position 10" in errors
    assert "JSON table encountered too many errors, giving up. Rows: 2; errors: 1" in errors


def test_unknown_json_values_are_dropped_where_that_is_asked_for(load: Load) -> None:
    rows = load('{"id": 1, "x": 2, "place": {"y": 3}}\n', NESTED, ignore_unknown_values=True, **JSON)
    assert rows == [(1, [], {"city": None, "at": None})]


def test_bad_json_rows_may_be_left_out(load: Load) -> None:
    assert load('{"id": 1}\nnot json\n{"id": 2}\n', NESTED, max_bad_records=1, **JSON) == [(1, [], None), (2, [], None)]


def test_json_detection(load: Load, bq: bigquery.Client, dataset: str) -> None:
    load('{"a": 1, "b": "x", "c": [1.5], "d": {"e": true}}\n{"a": null, "f": "2024-01-02"}\n', autodetect=True, **JSON)
    fields = [(field.name, field.field_type, field.mode) for field in bq.get_table(f"{dataset}.t").schema]
    assert fields == [
        ("a", "INTEGER", "NULLABLE"), ("b", "STRING", "NULLABLE"), ("c", "FLOAT", "REPEATED"),
        ("d", "RECORD", "NULLABLE"),
        ("f", "DATE", "NULLABLE"),
    ]  # fmt: skip


def test_load_table_from_json(bq: bigquery.Client, dataset: str, finish: Finish) -> None:
    rows: list[dict[str, Any]] = [{"a": 1, "b": "x"}, {"a": None, "b": "ü"}]
    finish(bq.load_table_from_json(rows, f"{dataset}.t", job_config=LoadJobConfig(schema=AB)))
    assert [dict(row) for row in bq.list_rows(f"{dataset}.t")] == rows


# Parquet and Avro


def parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def test_parquet_files_say_what_columns_they_have(load: Load, bq: bigquery.Client, dataset: str) -> None:
    moment = dt.datetime(2024, 1, 2, 3, 4, 5, 678901)  # noqa: DTZ001  a DATETIME has no zone
    table = pa.table({
        "i": pa.array([1, None], pa.int32()),
        "s": pa.array(["x", None]),
        "d": pa.array([dt.date(2024, 2, 29), None]),
        "ts": pa.array([moment.replace(tzinfo=UTC), None], pa.timestamp("us", "UTC")),
        "dt": pa.array([moment, None], pa.timestamp("us")),
        "n": pa.array([Decimal("1.25"), None], pa.decimal128(10, 2)),
        "r": pa.array([{"x": 1}, None], pa.struct([("x", pa.int64())])),
    })  # fmt: skip
    rows = load(parquet(table), source_format="PARQUET")
    assert rows == [
        (1, "x", dt.date(2024, 2, 29), moment.replace(tzinfo=UTC), moment, Decimal("1.25"), {"x": 1}),
        (None,) * 7,
    ]
    assert [field.field_type for field in bq.get_table(f"{dataset}.t").schema] == [
        "INTEGER", "STRING", "DATE", "TIMESTAMP", "DATETIME", "NUMERIC", "RECORD",
    ]  # fmt: skip


def test_a_parquet_column_of_another_type_than_the_schemas_is_an_error(load: Load) -> None:
    content = parquet(pa.table({"a": ["x"], "b": ["y"]}))
    message = failure(load, content, AB, source_format="PARQUET")
    assert "Field 'a' is specified as INTEGER in provided schema which does not match STRING" in message
    assert "File: gs://bucket/" in message


def test_a_parquet_column_that_is_not_done_is_refused_by_name(load: Load) -> None:
    assert "a LIST (field l)" in failure(load, parquet(pa.table({"l": [[1]]})), source_format="PARQUET")


def test_what_is_no_parquet_file_is_an_error_that_names_it(load: Load) -> None:
    assert "Input file is not in Parquet format" in failure(load, b"1,x\n", source_format="PARQUET")


def avro(schema: dict[str, Any], records: list[dict[str, Any]]) -> bytes:
    sink = io.BytesIO()
    fastavro.writer(sink, schema, records, codec="deflate")
    return sink.getvalue()


def test_avro_files_say_what_columns_they_have(load: Load, bq: bigquery.Client, dataset: str) -> None:
    schema = {
        "type": "record",
        "name": "row",
        "fields": [
            {"name": "i", "type": "long"},
            {"name": "s", "type": ["null", "string"]},
            {"name": "d", "type": ["null", {"type": "int", "logicalType": "date"}]},
            {"name": "l", "type": {"type": "array", "items": "string"}},
        ],
    }
    records: list[dict[str, Any]] = [
        {"i": 1, "s": "x", "d": dt.date(2024, 2, 29), "l": ["a"]},
        {"i": 2, "s": None, "d": None, "l": []},
    ]
    rows = load(avro(schema, records), source_format="AVRO", use_avro_logical_types=True)
    assert rows == [(1, "x", dt.date(2024, 2, 29), ["a"]), (2, None, None, [])]
    assert [(field.field_type, field.mode) for field in bq.get_table(f"{dataset}.t").schema] == [
        ("INTEGER", "REQUIRED"), ("STRING", "NULLABLE"), ("DATE", "NULLABLE"), ("STRING", "REPEATED"),
    ]  # fmt: skip


def test_avro_logical_types_are_refused_by_name_where_they_are_not_asked_for(load: Load) -> None:
    schema = {
        "type": "record",
        "name": "row",
        "fields": [{"name": "d", "type": {"type": "int", "logicalType": "date"}}],
    }
    content = avro(schema, [{"d": dt.date(2024, 1, 1)}])
    assert "date without useAvroLogicalTypes" in failure(load, content, source_format="AVRO")


def test_what_is_no_avro_file_is_an_error_that_names_it(load: Load, tmp_path: Path) -> None:
    assert "Avro library failed to read the file" in failure(load, b"1,x\n", source_format="AVRO")
