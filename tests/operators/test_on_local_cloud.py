"""The operators against the local cloud: real effects, once each."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import requests

from pydag_gcp.operator import Context, Done, Failed, RemoteOperator, Running
from pydag_gcp.operators import (
    BigQueryQuery,
    DataprocCreateCluster,
    DataprocDeleteCluster,
    DataprocPySparkJob,
    GCSToBigQuery,
)
from pydag_gcp.resources import Cluster, Table
from pydag_gcp.retry import is_transient

CSV = "id,name,day\n1,'a',2022-01-31\n2,\"b,\nc\",2024-02-29\n"


@pytest.fixture
def job_id() -> str:
    return f"pydag-{secrets.token_hex(16)}"


@pytest.fixture
def dataset(local_ctx: Context) -> str:
    name = f"d{secrets.token_hex(4)}"
    local_ctx.clients.bigquery().create_dataset(name)
    return name


@pytest.fixture
def bucket(local_ctx: Context) -> str:
    name = f"bucket-{secrets.token_hex(4)}"
    local_ctx.clients.storage().create_bucket(name)
    return name


@pytest.fixture
def faults(local_ctx: Context) -> Iterator[Faults]:
    faults = Faults(local_ctx)
    yield faults
    faults.clear()


class Faults:
    """What the local cloud is told to do wrong."""

    def __init__(self, ctx: Context) -> None:
        endpoints = ctx.target.endpoints
        assert endpoints is not None
        self._url = f"{endpoints.storage}/_pydag"
        self.clear()

    def on_next(self, method: str, fault: str) -> None:
        requests.post(f"{self._url}/faults", json={"method": method, "call": 1, "fault": fault}, timeout=10)

    def calls(self, method: str) -> int:
        return int(requests.get(f"{self._url}/calls", timeout=10).json().get(method, 0))

    def clear(self) -> None:
        requests.delete(f"{self._url}/faults", timeout=10)
        requests.delete(f"{self._url}/calls", timeout=10)


def finish(task: RemoteOperator, ctx: Context, job_id: str) -> dict[str, Any]:
    """Do what the executor does: send again what is transient, poll to the end."""
    status, handle = follow(task, ctx, job_id)
    assert status == Done()
    result: dict[str, Any] = task.result(ctx, handle)
    return result


def follow(task: RemoteOperator, ctx: Context, job_id: str) -> tuple[Done | Failed, dict[str, Any]]:
    task.check(ctx)
    deadline = time.monotonic() + 60
    handle = None
    while handle is None:
        try:
            handle = task.submit(ctx, job_id)
        except Exception as error:
            if not is_transient(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    while isinstance(status := task.poll(ctx, handle), Running):
        assert time.monotonic() < deadline, status
        time.sleep(0.02)
    return status, handle


def rows(ctx: Context, table: str) -> Sequence[tuple[Any, ...]]:
    return sorted(tuple(row.values()) for row in ctx.clients.bigquery().list_rows(table))


def load(dataset: str, bucket: str, **fields: Any) -> GCSToBigQuery:
    defaults = {
        "source": f"gs://{bucket}/in/*.csv",
        "destination": f"{dataset}.t",
        "schema": {"id": "INT64", "name": "STRING", "day": "DATE"},
        "skip_leading_rows": 1,
        "allow_quoted_newlines": True,
    }
    return GCSToBigQuery(**{"task_id": "t", **defaults, **fields})


def test_a_load_replaces_the_table(local_ctx: Context, dataset: str, bucket: str, job_id: str) -> None:
    local_ctx.clients.storage().bucket(bucket).blob("in/a.csv").upload_from_string(CSV)

    for again in ("", "x"):
        result = finish(load(dataset, bucket), local_ctx, job_id + again)
        assert (result["rows"], result["bad_records"], result["files"]) == (2, 0, 1)

    assert [row[:2] for row in rows(local_ctx, f"{dataset}.t")] == [(1, "'a'"), (2, "b,\nc")]


def test_a_malformed_row_is_named_and_changes_nothing(
    local_ctx: Context, dataset: str, bucket: str, job_id: str
) -> None:
    folder = local_ctx.clients.storage().bucket(bucket)
    folder.blob("in/a.csv").upload_from_string(CSV)
    finish(load(dataset, bucket), local_ctx, job_id)
    folder.blob("in/b.csv").upload_from_string("id,name,day\n3,x,2022-01-01\nthree,y,2022-01-01\n")

    status, _ = follow(load(dataset, bucket), local_ctx, f"{job_id}x")

    assert isinstance(status, Failed)
    assert f"gs://{bucket}/in/b.csv" in status.reason
    assert "three" in status.reason
    assert not status.transient
    assert len(rows(local_ctx, f"{dataset}.t")) == 2


@pytest.mark.parametrize("fault", ["accepted-503", "lost-answer"])
def test_an_insert_whose_answer_was_lost_takes_effect_once(
    local_ctx: Context, dataset: str, job_id: str, faults: Faults, fault: str
) -> None:
    finish(BigQueryQuery(task_id="t", sql=f"CREATE TABLE {dataset}.t (n INT64)"), local_ctx, f"{job_id}c")
    faults.clear()
    faults.on_next("bigquery.jobs.insert", fault)

    result = finish(
        BigQueryQuery(task_id="t", sql="INSERT INTO {{ t }} VALUES (1)", params={"t": Table(f"{dataset}.t")}),
        local_ctx,
        job_id,
    )

    assert result["rows_affected"] == 1
    assert rows(local_ctx, f"{dataset}.t") == [(1,)]
    assert faults.calls("bigquery.jobs.insert") == 2


def test_a_query_writes_its_destination(local_ctx: Context, dataset: str, job_id: str) -> None:
    task = BigQueryQuery(
        task_id="t",
        sql="SELECT @n AS n, DATE '2022-01-31' AS day UNION ALL SELECT 3, DATE '2022-02-01'",
        params={"n": 2},
        destination=f"{dataset}.t",
        partition_by="day",
    )

    result = finish(task, local_ctx, job_id)

    assert (result["statement_type"], result["rows"]) == ("SELECT", 2)
    assert result["destination"] == f"{local_ctx.target.project}.{dataset}.t"
    assert [row[0] for row in rows(local_ctx, f"{dataset}.t")] == [2, 3]
    assert local_ctx.clients.bigquery().get_table(f"{dataset}.t").time_partitioning.field == "day"


def test_a_failing_query_tells_why(local_ctx: Context, dataset: str, job_id: str) -> None:
    status, _ = follow(BigQueryQuery(task_id="t", sql=f"SELECT * FROM {dataset}.nothing"), local_ctx, job_id)

    assert isinstance(status, Failed)
    assert f"Not found: Table {local_ctx.target.project}:{dataset}.nothing" in status.reason


@pytest.mark.spark
@pytest.mark.slow
def test_a_cluster_runs_a_job_and_is_gone(
    local_ctx: Context, bucket: str, job_id: str, faults: Faults, log: Any
) -> None:
    (local_ctx.folder / "lib.py").write_text("GREETING = 'hello from the driver'\n")
    (local_ctx.folder / "job.py").write_text(
        "import sys, lib\n"
        "from pyspark.sql import SparkSession\n"
        "spark = SparkSession.builder.getOrCreate()\n"
        "print(lib.GREETING)\n"
        "spark.range(int(sys.argv[1])).coalesce(1).write.csv(sys.argv[2])\n"
        "if int(sys.argv[1]) == 3: raise ValueError('three is too many')\n"
    )
    cluster = Cluster(f"c-{secrets.token_hex(4)}")
    create = DataprocCreateCluster(task_id="t", cluster=cluster, workers=0)
    faults.on_next("dataproc.CreateCluster", "accepted-503")
    created = finish(create, local_ctx, f"{job_id}c")
    assert created["reused"] is False
    assert faults.calls("dataproc.CreateCluster") == 1
    assert finish(create, local_ctx, f"{job_id}d") == {**created, "reused": True}

    def job(count: int) -> DataprocPySparkJob:
        args = [count, f"gs://{bucket}/out{count}"]
        return DataprocPySparkJob(task_id="t", cluster=cluster, main="job.py", py_files=["lib.py"], args=args)

    faults.on_next("dataproc.SubmitJob", "lost-answer")
    finish(job(2), local_ctx, job_id)
    assert "hello from the driver" in log.lines
    blobs = local_ctx.clients.storage().list_blobs(bucket, prefix="out2/part-")
    assert [blob.download_as_bytes() for blob in blobs] == [b"0\n1\n"]

    status, _ = follow(job(3), local_ctx, f"{job_id}f")
    assert isinstance(status, Failed)
    assert "ValueError: three is too many" in status.reason

    delete = DataprocDeleteCluster(task_id="t", cluster=cluster)
    assert finish(delete, local_ctx, f"{job_id}g")["cluster_uuid"] == created["cluster_uuid"]
    assert finish(delete, local_ctx, f"{job_id}h")["existed"] is False
