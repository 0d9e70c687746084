"""Load jobs: https://cloud.google.com/bigquery/docs/reference/rest/v2/Job#JobConfigurationLoad."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from pydag_gcp import operators
from pydag_gcp.errors import DefinitionError
from pydag_gcp.operator import Context
from pydag_gcp.operators import Column, GCSToBigQuery, Partitioning
from pydag_gcp.resources import GCSObject, Table

if TYPE_CHECKING:
    from tests.operators.conftest import HttpService


def load(**fields: Any) -> GCSToBigQuery:
    return GCSToBigQuery(**{"task_id": "t", "source": "gs://bucket/a.csv", "destination": "d.t", **fields})


def sent(task: GCSToBigQuery, ctx: Context) -> dict[str, Any]:
    part: dict[str, Any] = task.configuration(ctx)["load"]
    return part


def test_without_options_the_table_is_replaced(ctx: Context) -> None:
    assert sent(load(), ctx) == {
        "sourceUris": ["gs://bucket/a.csv"],
        "sourceFormat": "CSV",
        "maxBadRecords": 0,
        "autodetect": False,
        "destinationTable": {"projectId": "acme-1", "datasetId": "d", "tableId": "t"},
        "writeDisposition": "WRITE_TRUNCATE",
        "createDisposition": "CREATE_IF_NEEDED",
    }


def test_what_the_service_gets_is_what_we_configured(ctx: Context, http: HttpService) -> None:
    task = load(schema={"id": "INT64"}, skip_leading_rows=1, field_delimiter=";")

    task.submit(ctx, "pydag-1")

    assert http.requests[0].json["configuration"]["load"] == sent(task, ctx)


@pytest.mark.parametrize(
    ("write", "shared", "replaces"),
    [("WRITE_TRUNCATE", False, 1), ("WRITE_APPEND", True, 0), ("WRITE_EMPTY", False, 0)],
)
def test_a_destination_is_shared_only_by_those_who_append(
    ctx: Context, write: str, shared: bool, replaces: int
) -> None:
    task = load(destination=Table("d.t", shared=True), write=write)

    assert task.writes(ctx) == frozenset({Table("acme-1.d.t", shared=shared)})
    assert len(task.replaces(ctx)) == replaces


def test_every_option_has_its_place(ctx: Context) -> None:
    task = load(
        source=["gs://bucket", "gs://bucket/2021/", "gs://bucket/2022-*.csv"],
        destination="other-project.d.t$20220131",
        skip_leading_rows=1,
        field_delimiter="\t",
        null_marker="\\N",
        allow_quoted_newlines=True,
        max_bad_records=3,
        write="WRITE_APPEND",
        create="CREATE_NEVER",
        partition_by={"column": "day", "granularity": "MONTH", "expiration": timedelta(days=1)},
        cluster_by=["a", "b"],
        autodetect=True,
    )

    assert sent(task, ctx) == {
        "sourceUris": ["gs://bucket/*", "gs://bucket/2021/*", "gs://bucket/2022-*.csv"],
        "sourceFormat": "CSV",
        "skipLeadingRows": 1,
        "fieldDelimiter": "\t",
        "nullMarker": "\\N",
        "allowQuotedNewlines": True,
        "maxBadRecords": 3,
        "autodetect": True,
        "destinationTable": {"projectId": "other-project", "datasetId": "d", "tableId": "t$20220131"},
        "writeDisposition": "WRITE_APPEND",
        "createDisposition": "CREATE_NEVER",
        "timePartitioning": {"type": "MONTH", "field": "day", "expirationMs": "86400000"},
        "clustering": {"fields": ["a", "b"]},
    }


def test_a_schema_is_names_and_types_or_columns(ctx: Context) -> None:
    short = load(schema={"id": "int64", "day": "DATE NOT NULL", "tags": "ARRAY<STRING>"})
    long = load(
        schema=[
            Column(name="id", type="INT64"),
            {"name": "day", "type": "DATE", "mode": "REQUIRED"},
            {"name": "tags", "type": "STRING", "mode": "REPEATED"},
        ]
    )

    assert sent(short, ctx)["schema"] == sent(long, ctx)["schema"]
    assert sent(short, ctx)["schema"]["fields"][1] == {"name": "day", "type": "DATE", "mode": "REQUIRED"}


def test_a_struct_has_fields_of_its_own(ctx: Context) -> None:
    inner = Column(name="x", type="FLOAT64", description="metres")
    fields = sent(load(schema=[Column(name="at", type="STRUCT", fields=(inner,))]), ctx)["schema"]["fields"]

    assert fields == [
        {
            "name": "at",
            "type": "STRUCT",
            "mode": "NULLABLE",
            "fields": [{"name": "x", "type": "FLOAT64", "mode": "NULLABLE", "description": "metres"}],
        }
    ]


@pytest.mark.parametrize("name", ["JSON", "jsonl", "NEWLINE_DELIMITED_JSON"])
def test_json_has_a_short_name(ctx: Context, name: str) -> None:
    assert sent(load(format=name), ctx)["sourceFormat"] == "NEWLINE_DELIMITED_JSON"


def test_partitioning_may_be_just_a_column() -> None:
    assert load(partition_by="day").partition_by == Partitioning(column="day")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"source": "bucket/a.csv"}, "expected an object such as 'gs://bucket/name', got 'bucket/a.csv'"),
        ({"source": []}, "at least 1 item"),
        ({"source": "gs://bucket/*/a-*.csv"}, r"knows one \* in a name"),
        ({"source": "gs://bucket/a*/"}, r"knows one \* in a name"),
        ({"source": "gs://bucket/a?.csv"}, r"knows one \* in a name and no \? or \["),
        ({"destination": "d.t_*"}, "expected one table"),
        ({"format": "XML"}, "field 'format'"),
        ({"format": "PARQUET", "skip_leading_rows": 1}, "'skip_leading_rows' is for format 'CSV', not 'PARQUET'"),
        ({"schema": {"a": "INT64"}, "autodetect": True}, "'schema' or 'autodetect', not both"),
        ({"schema": {"a": "INT65"}}, "unknown type 'INT65'; did you mean 'INT64'?"),
        ({"schema": {"a": "ARRAY<INT64> NOT NULL"}}, "column 'a': expected a type such as"),
        ({"schema": [{"name": "a", "type": "STRUCT"}]}, "a STRUCT, and nothing else, has fields"),
        ({"write": "TRUNCATE"}, "field 'write'"),
        ({"cluster_by": ["a", "b", "c", "d", "e"]}, "field 'cluster_by'"),
        ({"max_bad_records": -1}, "field 'max_bad_records'"),
        ({"skip_leading_row": 1}, "did you mean 'skip_leading_rows'?"),
    ],
)
def test_a_mistake_is_told_at_construction(fields: dict[str, Any], expected: str) -> None:
    with pytest.raises(DefinitionError, match=expected) as caught:
        load(**fields)
    assert "task 't'" in str(caught.value)
    assert "test_load.py" in str(caught.value)


def test_it_reads_its_objects_and_writes_its_table(ctx: Context) -> None:
    task = load()

    assert task.reads(ctx) == {GCSObject("gs://bucket/a.csv")}
    assert task.writes(ctx) == {Table("acme-1.d.t")}
    assert task.uses(ctx) == frozenset()
    assert task.atomic(ctx)


def test_a_table_without_dataset_is_told_before_anything_runs(ctx: Context) -> None:
    with pytest.raises(DefinitionError, match="has no dataset"):
        load(destination="t").check(ctx)


def test_templates_in_names_are_rendered_and_checked_again(ctx: Context) -> None:
    task = load(source="gs://bucket/{{ ds }}.csv", destination="d.t${{ ds_nodash }}").rendered(ctx)

    assert task.sources == (GCSObject("gs://bucket/2022-01-31.csv"),)
    assert task.destination == Table("d.t$20220131")


def test_the_result_counts_rows_files_and_bytes(ctx: Context, http: HttpService) -> None:
    task = load()
    handle = task.submit(ctx, "pydag-1")
    counts = {"outputRows": "5", "badRecords": "1", "inputFiles": "2", "inputFileBytes": "99", "outputBytes": "40"}
    http.end("pydag-1", load=counts)

    assert task.result(ctx, handle) == {
        "job_id": "pydag-1",
        "location": "US",
        "destination": "acme-1.d.t",
        "rows": 5,
        "bad_records": 1,
        "files": 2,
        "bytes": 99,
    }


def test_the_package_lists_what_it_offers() -> None:
    assert "GCSToBigQuery" in dir(operators)
    assert [name for name in operators.__all__ if not hasattr(operators, name)] == []
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        operators.Nothing  # noqa: B018
