"""The life of jobs: accepted once, run once in effect, stopped on request, and finished after a crash.

Contract: https://cloud.google.com/bigquery/docs/reference/rest/v2/jobs and
https://cloud.google.com/bigquery/docs/running-jobs#generate-jobid.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import duckdb
import pytest
from google.api_core.exceptions import BadRequest, Conflict, GoogleAPICallError, MethodNotImplemented, NotFound
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery
from google.cloud.bigquery import LoadJobConfig, QueryJobConfig, SchemaField

from pydag_gcp.local.bigquery import job_store, jobs
from pydag_gcp.local.bigquery.job import Job

if TYPE_CHECKING:
    from tests.local.bigquery.service import BigQueryService, Finish

pytest_plugins = ("tests.local.bigquery.service",)

#: Takes minutes unless it is interrupted.
ENDLESS = (
    "SELECT SUM(MOD(x * y, 7)) AS s FROM UNNEST(GENERATE_ARRAY(1, 3000000)) AS x, UNNEST(GENERATE_ARRAY(1, 3000)) AS y"
)


def rows(client: bigquery.Client, sql: str) -> list[tuple[Any, ...]]:
    return [row.values() for row in client.query_and_wait(sql)]


# Ids


def test_a_reused_id_is_refused_whatever_the_job_says(bq: bigquery.Client, dataset: str, finish: Finish) -> None:
    first = bq.query("SELECT 1 AS x", job_id="chosen", job_retry=None)
    finish(first)
    for sql in ("SELECT 1 AS x", f"CREATE TABLE `{dataset}.t` AS SELECT 2 AS y"):
        with pytest.raises(Conflict, match=r"Already Exists: Job p:US\.chosen"):
            bq._call_api(None, method="POST", path="/projects/p/jobs", data={
                "jobReference": {"projectId": "p", "jobId": "chosen", "location": "US"},
                "configuration": {"query": {"query": sql, "useLegacySql": False}},
            })  # fmt: skip
    with pytest.raises(NotFound):
        bq.get_table(f"{dataset}.t")


def test_ids_belong_to_a_project_and_a_location(bigquery_service: BigQueryService, bq: bigquery.Client) -> None:
    other = bigquery_service.client("other")
    bq.query("SELECT 1 AS x", job_id="same", location="US", job_retry=None)
    bq.query("SELECT 1 AS x", job_id="same", location="EU", job_retry=None)
    other.query("SELECT 1 AS x", job_id="same", job_retry=None)
    assert {bq.get_job("same", location=place).location for place in ("us", "EU")} == {"US", "EU"}
    with pytest.raises(NotFound, match=r"Not found: Job p:europe-west1\.same"):
        bq.get_job("same", location="europe-west1")
    other.close()


@pytest.mark.parametrize("job_id", ["a b", "ä", "a" * 1025])
def test_an_id_of_other_characters_is_refused(bq: bigquery.Client, job_id: str) -> None:
    with pytest.raises(BadRequest, match="Invalid job ID"):
        bq.query("SELECT 1", job_id=job_id, job_retry=None)


def test_a_request_id_makes_one_job(bq: bigquery.Client, dataset: str) -> None:
    # https://cloud.google.com/bigquery/docs/reference/rest/v2/jobs/query#QueryRequest.FIELDS.request_id
    rows(bq, f"CREATE TABLE `{dataset}.t` AS SELECT 1 AS x")
    body = {"query": f"INSERT INTO `{dataset}.t` (x) VALUES (2)", "useLegacySql": False, "requestId": "once"}
    answers = [bq._call_api(None, method="POST", path="/projects/p/queries", data=body) for _ in range(3)]
    assert len({answer["jobReference"]["jobId"] for answer in answers}) == 1
    assert rows(bq, f"SELECT COUNT(*) AS n FROM `{dataset}.t`") == [(2,)]


# States


def test_a_job_is_answered_at_once_and_seen_done_later(bq: bigquery.Client) -> None:
    started = time.monotonic()
    job = bq.query(ENDLESS, job_retry=None)
    assert time.monotonic() - started < 5
    assert job.state in ("PENDING", "RUNNING")
    deadline = time.monotonic() + 10
    while bq.get_job(job.job_id).state != "RUNNING" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert bq.get_job(job.job_id).state == "RUNNING"
    bq.cancel_job(job.job_id)


def test_a_failed_job_is_there_with_its_error(bq: bigquery.Client, dataset: str) -> None:
    job = bq.query(f"SELECT * FROM `{dataset}.missing`", job_retry=None)
    with pytest.raises(NotFound):
        job.result()
    again = bq.get_job(job.job_id)
    name = dataset.replace(".", ":")
    message = f"Not found: Table {name}.missing was not found in location US"
    assert (again.state, again.error_result) == ("DONE", {"reason": "notFound", "message": message})


def test_a_jobs_configuration_and_labels_are_echoed(bq: bigquery.Client, dataset: str, finish: Finish) -> None:
    config = QueryJobConfig(labels={"pydag-task": "t1"}, destination=f"{dataset}.t", write_disposition="WRITE_TRUNCATE")
    job = bq.query("SELECT 1 AS x", job_config=config, job_id="echo", job_retry=None)
    finish(job)
    again: Any = bq.get_job("echo")
    assert (again.labels, again.write_disposition, again.query) == (
        {"pydag-task": "t1"},
        "WRITE_TRUNCATE",
        "SELECT 1 AS x",
    )
    assert str(again.destination) == f"{dataset}.t"
    assert again.created <= again.started <= again.ended


def test_jobs_are_listed_newest_first_by_state_and_time(bigquery_service: BigQueryService, finish: Finish) -> None:
    client = bigquery_service.client("listing")
    for number in range(5):
        finish(client.query("SELECT 1 AS x", job_id=f"job{number}", job_retry=None))
    names = [job.job_id for job in client.list_jobs(page_size=2)]
    assert names == ["job4", "job3", "job2", "job1", "job0"]
    assert [job.job_id for job in client.list_jobs(state_filter="running")] == []
    third = client.get_job("job2").created
    assert [job.job_id for job in client.list_jobs(min_creation_time=third)] == ["job4", "job3", "job2"]
    client.close()


def test_many_jobs_are_pending_at_once_and_listed_by_state_and_page(bigquery_service: BigQueryService) -> None:
    # https://cloud.google.com/bigquery/docs/reference/rest/v2/jobs/list
    client = bigquery_service.client("pending")
    # Given jobs that do not begin for long, and one that is over
    client.query("SELECT 1 AS x", job_id="over", job_retry=None).result()
    bigquery_service.faults.add("bigquery.jobs.insert", kind="pending", times=25, seconds=600)
    jobs = [client.query("SELECT 1 AS x", job_id=f"job{number:02}", job_retry=None) for number in range(25)]
    names = [job.job_id for job in reversed(jobs)]
    # Then they are listed newest first, on as many pages as it takes
    pages = [[job.job_id for job in page] for page in client.list_jobs(state_filter="pending", page_size=10).pages]
    assert pages == [names[:10], names[10:20], names[20:]]
    assert [job.job_id for job in client.list_jobs(state_filter="running")] == []
    assert [job.job_id for job in client.list_jobs(state_filter="done")] == ["over"]
    # And by the time they were made at, both ends included
    tenth, last = client.get_job("job15").created, client.get_job("job23").created
    found = client.list_jobs(state_filter="pending", min_creation_time=tenth, max_creation_time=last)
    assert [job.job_id for job in found] == names[1:10]
    # When one is cancelled, then it ends without having begun
    client.cancel_job("job24")
    with pytest.raises(GoogleAPICallError, match="cancelled"):
        jobs[-1].result()
    assert [job.job_id for job in client.list_jobs(state_filter="pending", max_results=2)] == names[1:3]
    # When it may have several states, then it is listed once, by its newest
    answer = client._call_api(
        None,
        method="GET",
        path="/projects/pending/jobs",
        query_params={"stateFilter": ["DONE", "pending"], "maxResults": 2, "projection": "minimal"},
    )
    assert [(job["jobReference"]["jobId"], job["state"]) for job in answer["jobs"]] == [
        ("job24", "DONE"),
        ("job23", "PENDING"),
    ]
    assert "configuration" not in answer["jobs"][0]
    client.close()


def test_a_job_that_was_asked_to_stay_pending_begins_when_its_time_has_come(
    bigquery_service: BigQueryService, bq: bigquery.Client, finish: Finish
) -> None:
    bigquery_service.faults.add("bigquery.jobs.insert", kind="pending", seconds=0.2)
    job = finish(bq.query("SELECT 1 AS x", job_retry=None))
    assert job.started - job.created >= timedelta(seconds=0.19)


@pytest.mark.parametrize("parameter", ["stateFilter", "projection"])
def test_a_list_of_what_there_is_not_is_refused(bq: bigquery.Client, parameter: str) -> None:
    with pytest.raises(BadRequest, match=f"Invalid value for {parameter}: paused is none of"):
        bq._call_api(None, method="GET", path="/projects/p/jobs", query_params={parameter: "paused"})


def test_a_finished_job_can_be_deleted(bq: bigquery.Client, finish: Finish) -> None:
    finish(bq.query("SELECT 1 AS x", job_id="forget-me", job_retry=None))
    bq.delete_job_metadata("forget-me", location="US")
    with pytest.raises(NotFound):
        bq.get_job("forget-me")


@pytest.mark.parametrize(
    ("configuration", "name"),
    [
        ({"query": {"query": "SELECT 1", "useLegacySql": True}}, "legacy SQL"),
        ({"query": {"query": "SELECT 1", "useLegacySql": False, "createSession": True}}, "query.createSession"),
        ({"query": {"query": "SELECT 1", "useLegacySql": False}, "jobTimeoutMs": "1"}, "configuration.jobTimeoutMs"),
        ({"copy": {"sourceTable": {"datasetId": "d", "tableId": "t"},
                   "destinationTable": {"datasetId": "d", "tableId": "u"}, "operationType": "SNAPSHOT"}},
         "operationType SNAPSHOT"),
    ],
)  # fmt: skip
def test_what_is_not_done_is_refused_by_name(bq: bigquery.Client, configuration: Any, name: str) -> None:
    with pytest.raises(MethodNotImplemented, match=name):
        bq._call_api(None, method="POST", path="/projects/p/jobs", data={"configuration": configuration})


# Cancel


def test_a_cancelled_job_ends_stopped_and_without_effect(bq: bigquery.Client, dataset: str) -> None:
    job = bq.query(f"CREATE TABLE `{dataset}.t` AS {ENDLESS}", job_retry=None)
    time.sleep(0.2)
    assert bq.cancel_job(job.job_id).job_id == job.job_id
    deadline = time.monotonic() + 10
    while not job.done() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert job.error_result is not None
    assert (job.state, job.error_result["reason"]) == ("DONE", "stopped")
    with pytest.raises(NotFound):
        bq.get_table(f"{dataset}.t")


def test_a_job_waiting_for_a_table_can_be_cancelled(bq: bigquery.Client, dataset: str) -> None:
    holder = bq.query(f"CREATE TABLE `{dataset}.t` AS {ENDLESS}", job_retry=None)
    waiting = bq.query(f"CREATE OR REPLACE TABLE `{dataset}.t` AS SELECT 1 AS x", job_retry=None)
    time.sleep(0.2)
    bq.cancel_job(waiting.job_id)
    deadline = time.monotonic() + 5
    while not waiting.done() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert waiting.error_result is not None
    assert waiting.error_result["reason"] == "stopped"
    bq.cancel_job(holder.job_id)


def test_cancelling_a_finished_job_changes_nothing(bq: bigquery.Client, finish: Finish) -> None:
    job = bq.query("SELECT 1 AS x")
    finish(job)
    bq.cancel_job(job.job_id)
    assert bq.get_job(job.job_id).error_result is None


# Writers of one table


def test_many_writers_of_one_table_all_succeed(
    bigquery_service: BigQueryService, bq: bigquery.Client, dataset: str
) -> None:
    rows(bq, f"CREATE TABLE `{dataset}.t` AS SELECT 0 AS n, 0 AS x")
    uri = bigquery_service.put("gs://bucket/one.csv", "1,1\n")
    config = LoadJobConfig(schema=[SchemaField("n", "INTEGER"), SchemaField("x", "INTEGER")])
    jobs: list[Any] = []
    for _ in range(10):
        jobs += [
            bq.query(f"UPDATE `{dataset}.t` SET n = n + 1 WHERE x = 0", job_retry=None),
            bq.query(f"INSERT INTO `{dataset}.t` (n, x) VALUES (1, 1)", job_retry=None),
            bq.load_table_from_uri(uri, f"{dataset}.t", job_config=config),
        ]
    deadline = time.monotonic() + 60
    while not all(job.done() for job in jobs) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert [job.error_result for job in jobs if job.error_result] == []
    # 10 updates of the first row; 10 inserts and 10 loads of one row
    assert rows(bq, f"SELECT MAX(n) AS n, COUNT(*) AS c FROM `{dataset}.t`") == [(10, 21)]


def test_each_write_has_a_later_time(bq: bigquery.Client, dataset: str) -> None:
    rows(bq, f"CREATE TABLE `{dataset}.t` AS SELECT 0 AS n")
    times = []
    for _ in range(10):
        rows(bq, f"INSERT INTO `{dataset}.t` (n) VALUES (1)")
        times.append(bq.get_table(f"{dataset}.t").modified)
    assert times == sorted(set(times))


# Restarts


def test_everything_outlives_a_restart(start_bigquery: Callable[[], BigQueryService], finish: Finish) -> None:
    first = start_bigquery()
    client = first.client()
    client.create_dataset("d")
    finish(client.query("CREATE TABLE d.t AS SELECT 1 AS x", job_id="made", job_retry=None))
    job = finish_select(client, finish)
    etag = client.get_table("p.d.t").etag
    first.stop()
    client = start_bigquery().client()
    assert client.get_table("p.d.t").etag == etag
    assert (client.get_job("made").state, client.get_job("made").error_result) == ("DONE", None)
    done: Any = client.get_job(job)
    assert [row.values() for row in done.result()] == [(7,)]


def finish_select(client: bigquery.Client, finish: Finish) -> str:
    job = client.query("SELECT 7 AS x", job_id="selected", job_retry=None)
    finish(job)
    return str(job.job_id)


def test_what_was_running_when_it_stopped_runs_again(start_bigquery: Callable[[], BigQueryService]) -> None:
    first = start_bigquery()
    client = first.client()
    client.create_dataset("d")
    job = client.query(f"CREATE TABLE d.t AS {ENDLESS}", job_id="long", job_retry=None)
    time.sleep(0.3)
    assert not job.done()
    first.stop()
    client = start_bigquery().client()
    assert client.get_job("long").state in ("PENDING", "RUNNING")
    client.cancel_job("long")


def test_a_job_with_which_the_cloud_ends_again_and_again_fails_at_last(
    start_bigquery: Callable[[], BigQueryService],
) -> None:
    # Given a job that is never done while the cloud lives
    first = start_bigquery()
    client = first.client()
    client.create_dataset("d")
    client.query(f"CREATE TABLE d.t AS {ENDLESS}", job_id="deadly", job_retry=None)
    first.stop()
    for _ in range(5):
        again = start_bigquery()
        assert again.client().get_job("deadly").state in ("PENDING", "RUNNING")
        again.stop()
    # When it has begun six times, then it is not begun a seventh time, and others run
    client = start_bigquery().client()
    with pytest.raises(MethodNotImplemented, match="The local cloud ended 6 times before this job did"):
        client.get_job("deadly").result(retry=None)
    assert rows(client, "SELECT 1 AS x") == [(1,)]
    assert "_recoveries" not in str(client.get_job("deadly")._properties)


def test_the_end_of_a_job_is_recorded_when_the_disk_takes_it(
    bigquery_service: BigQueryService, bq: bigquery.Client, dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a disk that is full for a while
    update, full = job_store.update, [duckdb.IOException("No space left on device")] * 3
    monkeypatch.setattr(jobs, "_RECORD_EVERY", 0.05)

    def fail_at_first(connection: duckdb.DuckDBPyConnection, job: Job) -> None:
        if full:
            raise full.pop()
        update(connection, job)

    monkeypatch.setattr(job_store, "update", fail_at_first)
    # When a job ends, then it is seen to have failed once that is durable
    job = bq.query(f"CREATE TABLE `{dataset}.t` AS SELECT 1 AS x", job_retry=None)
    with pytest.raises(BadRequest, match="No space left on device"):
        job.result()
    assert not full


@contextmanager
def process(home: Path) -> Iterator[tuple[subprocess.Popen[str], bigquery.Client]]:
    """A service in a process of its own."""
    root = Path(__file__).parents[3]
    command = [sys.executable, str(root / "tests/local/bigquery/service.py"), str(home)]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as running:
        assert running.stdout is not None
        url = f"http://127.0.0.1:{running.stdout.readline().strip()}"
        client = bigquery.Client(project="p", credentials=AnonymousCredentials(), client_options={"api_endpoint": url})
        try:
            yield running, client
        finally:
            client.close()
            running.kill()


@pytest.mark.slow
def test_a_kill_at_any_moment_loses_nothing_and_does_nothing_twice(tmp_path: Path) -> None:
    accepted: list[str] = []
    for delay in (0.0, 0.01, 0.05, 0.15, 0.4):
        # Given a dozen accepted jobs, each adding one row to one of two tables, and a kill -9 a moment later
        with process(tmp_path) as (running, client):
            settled(client, accepted)
            accepted = accept_a_dozen(client)
            time.sleep(delay)
            running.send_signal(signal.SIGKILL)
    # When it is started again, then every job has succeeded, and each row is there once
    with process(tmp_path) as (_, client):
        settled(client, accepted)


def accept_a_dozen(client: bigquery.Client) -> list[str]:
    """Begin a dozen jobs and a script on two new tables."""
    name = secrets.token_hex(4)
    client.create_dataset("d", exists_ok=True)
    for table in ("a", "b"):
        client.query_and_wait(f"CREATE OR REPLACE TABLE d.{table} AS SELECT -1 AS n")
    statements = [f"INSERT INTO d.{'ab'[number % 2]} (n) VALUES ({number})" for number in range(12)]
    statements.append("INSERT INTO d.a (n) VALUES (100); INSERT INTO d.b (n) VALUES (100)")
    jobs = [client.query(sql, job_id=f"{name}-{n}", job_retry=None) for n, sql in enumerate(statements)]
    return [str(job.job_id) for job in jobs]


def settled(client: bigquery.Client, accepted: list[str]) -> None:
    """Wait for the end of what was accepted before the kill, if anything was; all of it is done once."""
    deadline = time.monotonic() + 30
    while any(client.get_job(job).state != "DONE" for job in accepted) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [client.get_job(job).error_result for job in accepted] == [None] * len(accepted)
    if accepted:
        found = [[row.n for row in client.list_rows(f"p.d.{table}")] for table in ("a", "b")]
        assert sorted(found[0]) == [-1, *range(0, 12, 2), 100]
        assert sorted(found[1]) == [-1, *range(1, 12, 2), 100]


@pytest.mark.slow
def test_a_kill_during_a_load_leaves_all_or_nothing(tmp_path: Path) -> None:
    content = "".join(f"{number},x\n" for number in range(300_000))
    with process(tmp_path) as (running, client):
        client.create_dataset("d")
        (tmp_path / "buckets" / "bucket").mkdir()
        (tmp_path / "buckets" / "bucket" / "big.csv").write_text(content)
        config = LoadJobConfig(schema=[SchemaField("a", "INTEGER"), SchemaField("b", "STRING")])
        client.load_table_from_uri("gs://bucket/big.csv", "p.d.t", job_id="load", job_config=config)
        time.sleep(0.1)
        running.send_signal(signal.SIGKILL)
    with process(tmp_path) as (_, client):
        client.get_job("load").result()
        assert client.get_table("p.d.t").num_rows == 300_000


# Lost answers, https://cloud.google.com/bigquery/docs/reference/rest/v2/jobs/insert


@pytest.mark.parametrize("fault", ["accepted-503", "lost-answer"])
def test_a_job_whose_answer_was_lost_is_there_once(
    bigquery_service: BigQueryService, bq: bigquery.Client, dataset: str, fault: str, finish: Finish
) -> None:
    rows(bq, f"CREATE TABLE `{dataset}.t` AS SELECT 0 AS n")
    bigquery_service.faults.add("bigquery.jobs.insert", kind=fault)
    job_id = f"lost-{fault}"
    with pytest.raises((GoogleAPICallError, ConnectionError, OSError)):
        bq.query(f"INSERT INTO `{dataset}.t` (n) VALUES (1)", job_id=job_id, retry=cast("Any", None), job_retry=None)
    with pytest.raises(Conflict):
        bq._call_api(None, method="POST", path="/projects/p/jobs", data={
            "jobReference": {"jobId": job_id}, "configuration": {"query": {"query": "SELECT 1", "useLegacySql": False}},
        })  # fmt: skip
    finish(bq.get_job(job_id))
    assert rows(bq, f"SELECT COUNT(*) AS c FROM `{dataset}.t`") == [(2,)]


# Scripts


def test_a_script_runs_its_statements_in_order_and_answers_the_last(
    bq: bigquery.Client, dataset: str, finish: Finish
) -> None:
    table = f"`{dataset}.t`"
    script = f"CREATE TABLE {table} (n INT64); INSERT INTO {table} (n) VALUES (1), (2); SELECT SUM(n) AS s FROM {table}"
    job = bq.query(script)
    assert [row.values() for row in finish(job)] == [(3,)]
    assert job.statement_type == "SCRIPT"


def test_what_a_script_did_before_it_failed_stays_done(bq: bigquery.Client, dataset: str) -> None:
    # https://cloud.google.com/bigquery/docs/multi-statement-queries: each statement is its own transaction
    job = bq.query(f"CREATE TABLE `{dataset}.t` AS SELECT 1 AS n; SELECT 1 / 0 AS x", job_retry=None)
    with pytest.raises(BadRequest):
        job.result()
    assert bq.get_table(f"{dataset}.t").num_rows == 1


def test_many_jobs_at_once_are_all_done(bq: bigquery.Client) -> None:
    answers: list[Any] = []

    def ask(number: int) -> None:
        answers.append(rows(bq, f"SELECT {number} AS x"))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer[0][0] for answer in answers) == list(range(16))
