"""Extract jobs: https://cloud.google.com/bigquery/docs/reference/rest/v2/Job#JobConfigurationExtract."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

import pytest

from pydag_gcp.errors import DefinitionError, TaskError
from pydag_gcp.operator import Context, Done, Failed
from pydag_gcp.operators import BigQueryToGCS
from pydag_gcp.resources import GCSObject, Table

if TYPE_CHECKING:
    from tests.operators.conftest import Cloud, HttpService


def extract(**fields: Any) -> BigQueryToGCS:
    return BigQueryToGCS(**{"task_id": "t", "source": "d.t", "destination": "gs://bucket/out/a.csv", **fields})


def sent(task: BigQueryToGCS, ctx: Context) -> dict[str, Any]:
    part: dict[str, Any] = task.configuration(ctx)["extract"]
    return part


def test_without_options_it_is_plain_csv(ctx: Context) -> None:
    assert sent(extract(), ctx) == {
        "sourceTable": {"projectId": "acme-1", "datasetId": "d", "tableId": "t"},
        "destinationUris": ["gs://bucket/out/a.csv"],
        "destinationFormat": "CSV",
        "compression": "NONE",
    }


def test_every_option_has_its_place(ctx: Context, http: HttpService) -> None:
    task = extract(
        source="other-1.d.t$20220131",
        destination="gs://bucket/out/a-*.csv.gz",
        compression="GZIP",
        header=False,
        field_delimiter="\t",
        config={"extract": {"useAvroLogicalTypes": True}},
    )

    task.submit(ctx, "pydag-1")

    assert http.requests[0].json["configuration"]["extract"] == {
        "sourceTable": {"projectId": "other-1", "datasetId": "d", "tableId": "t$20220131"},
        "destinationUris": ["gs://bucket/out/a-*.csv.gz"],
        "destinationFormat": "CSV",
        "compression": "GZIP",
        "printHeader": False,
        "fieldDelimiter": "\t",
        "useAvroLogicalTypes": True,
    }


@pytest.mark.parametrize(
    ("kind", "compression", "name"),
    [
        ("CSV", "NONE", "*.csv"),
        ("CSV", "GZIP", "*.csv.gz"),
        ("JSON", "GZIP", "*.json.gz"),
        ("PARQUET", "GZIP", "*.parquet"),
        ("AVRO", "SNAPPY", "*.avro"),
    ],
)
def test_in_a_folder_the_files_are_named_by_their_format(ctx: Context, kind: str, compression: str, name: str) -> None:
    task = extract(destination="gs://bucket/out/", format=kind, compression=compression)

    assert sent(task, ctx)["destinationUris"] == [f"gs://bucket/out/{name}"]


def test_what_it_touches(ctx: Context) -> None:
    task = extract(destination="gs://bucket/out/*.csv")

    assert task.reads(ctx) == {Table("acme-1.d.t")}
    assert task.writes(ctx) == task.replaces(ctx) == {GCSObject("gs://bucket/out/*.csv")}
    assert not task.atomic(ctx)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"destination": "gs://bucket/a*b*.csv"}, "an extract job knows one *"),
        ({"destination": "gs://bucket/a?.csv"}, "an extract job knows one *"),
        ({"destination": "gs://bucket"}, "would replace all that is in the bucket"),
        ({"destination": "gs://bucket/*"}, "would replace all that is in the bucket"),
        ({"source": "d.events_*"}, "expected one table"),
        ({"format": "XML"}, "CSV"),
        ({"format": "AVRO", "compression": "GZIP"}, "files of format 'AVRO' are compressed by SNAPPY, DEFLATE"),
        ({"format": "PARQUET", "header": True}, "'header' is for format 'CSV', not 'PARQUET'"),
        ({"config": {"extract": {"destinationUris": []}}}, "is what the field 'destination' says"),
    ],
)
def test_what_cannot_be_meant_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(DefinitionError, match=r"task 't'") as raised:
        extract(**fields)
    assert message in str(raised.value)


def test_each_of_several_files_stays(ctx: Context, http: HttpService) -> None:
    task = extract(destination="gs://bucket/out/", format="PARQUET")
    handle = task.submit(ctx, "pydag-1")
    for number in range(4):
        http.objects["bucket", f"out/{number:012d}.parquet"] = b""
    http.objects["bucket", "out/_SUCCESS"] = b""
    ended = "1643587200001"  # a millisecond after the objects were made
    http.end("pydag-1", endTime=ended, extract={"destinationUriFileCounts": ["3"], "inputBytes": "4000000000"})

    result = task.result(ctx, handle)

    assert result["files"] == 3
    assert [name for _, name in http.objects] == [f"out/{number:012d}.parquet" for number in range(3)]


def test_one_object_is_written_over(cloud: Cloud) -> None:
    cloud.sql("CREATE TABLE t AS SELECT 1 AS n, 'a' AS s UNION ALL SELECT 2, 'b' ORDER BY n")
    cloud.put(**{"a.csv": "old", "b.csv": "another's"})

    task = extract(source=f"{cloud.dataset}.t", destination=f"gs://{cloud.bucket}/out/a.csv", field_delimiter=";")
    status, result = cloud.run(task)

    assert status == Done()
    assert (result["files"], result["destination"]) == (1, f"gs://{cloud.bucket}/out/a.csv")
    objects = cloud.objects()
    assert sorted(objects.pop("out/a.csv").split()) == [b"1;a", b"2;b", b"n;s"]
    assert objects == {"out/b.csv": b"another's"}


def test_a_pattern_holds_nothing_but_what_the_job_wrote(cloud: Cloud) -> None:
    cloud.sql("CREATE TABLE t AS SELECT 1 AS n")
    cloud.put(**{"a-000000000000.csv": "old", "a-000000000001.csv": "old", "b.csv": "another's", "a-1.json": "x"})

    task = extract(source=f"{cloud.dataset}.t", destination=f"gs://{cloud.bucket}/out/a-*.csv", header=False)
    for _ in range(2):
        assert cloud.run(task)[0] == Done()

    assert cloud.objects() == {"out/a-000000000000.csv": b"1\n", "out/b.csv": b"another's", "out/a-1.json": b"x"}


def test_a_folder_holds_nothing_but_what_the_job_wrote(cloud: Cloud) -> None:
    cloud.sql("CREATE TABLE t AS SELECT 1 AS n")
    cloud.put(**{"_SUCCESS": "", "old/part.csv": "old"})

    task = extract(
        source=f"{cloud.dataset}.t", destination=f"gs://{cloud.bucket}/out/", format="JSON", compression="GZIP"
    )
    assert cloud.run(task)[0] == Done()

    ((name, content),) = cloud.objects().items()
    assert name == "out/000000000000.json.gz"
    assert gzip.decompress(content) == b'{"n":"1"}\n'


@pytest.mark.parametrize("fault", ["accepted-503", "lost-answer"])
def test_a_lost_answer_leaves_one_job_and_its_objects(cloud: Cloud, fault: str) -> None:
    cloud.sql("CREATE TABLE t AS SELECT 1 AS n")
    cloud.put(**{"old.csv": "old"})
    cloud.on_next("bigquery.jobs.insert", fault)

    task = extract(source=f"{cloud.dataset}.t", destination=f"gs://{cloud.bucket}/out/*.csv", header=False)
    status, _ = cloud.run(task)

    assert status == Done()
    assert cloud.calls("bigquery.jobs.insert") == 2
    assert cloud.objects() == {"out/000000000000.csv": b"1\n"}


@pytest.mark.parametrize("fault", ["503", "accepted-503", "lost-answer"])
def test_clearing_away_goes_on_where_it_was_interrupted(cloud: Cloud, fault: str) -> None:
    cloud.sql("CREATE TABLE t AS SELECT 1 AS n")
    cloud.put(**{"old.csv": "old", "older.csv": "old"})
    cloud.on_next("storage.objects.delete", fault)

    task = extract(source=f"{cloud.dataset}.t", destination=f"gs://{cloud.bucket}/out/*.csv", header=False)
    status, _ = cloud.run(task)

    assert status == Done()
    assert cloud.objects() == {"out/000000000000.csv": b"1\n"}


def test_what_another_wrote_after_the_job_stays(cloud: Cloud) -> None:
    cloud.sql("CREATE TABLE t AS SELECT 1 AS n")
    task = extract(source=f"{cloud.dataset}.t", destination=f"gs://{cloud.bucket}/out/*.csv", header=False)
    cloud.run(task, f"pydag-{cloud.bucket}")

    # When the result is asked for again, as a run does that is resumed
    cloud.put(**{"later.csv": "another's"})
    cloud.run(task, f"pydag-{cloud.bucket}")

    assert cloud.objects() == {"out/000000000000.csv": b"1\n", "out/later.csv": b"another's"}


def test_nothing_is_deleted_when_the_jobs_own_objects_are_gone(cloud: Cloud) -> None:
    cloud.sql("CREATE TABLE t AS SELECT 1 AS n")
    task = extract(source=f"{cloud.dataset}.t", destination=f"gs://{cloud.bucket}/out/*.csv")
    cloud.run(task, f"pydag-{cloud.bucket}")
    cloud.ctx.clients.storage().bucket(cloud.bucket).blob("out/000000000000.csv").delete()

    with pytest.raises(TaskError, match=r"1 of the 1 objects that it wrote are not there.*; nothing was deleted"):
        cloud.run(task, f"pydag-{cloud.bucket}")


def test_a_failed_job_deletes_nothing(cloud: Cloud) -> None:
    cloud.put(**{"old.csv": "old"})

    status, _ = cloud.run(extract(source=f"{cloud.dataset}.t", destination=f"gs://{cloud.bucket}/out/*.csv"))

    assert isinstance(status, Failed)
    assert "extract job" in status.reason
    assert cloud.objects() == {"out/old.csv": b"old"}
