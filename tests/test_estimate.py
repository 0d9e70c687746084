"""What a query would cost, and what it may: a dry run, and a cap that is no part of the request."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from google.cloud.bigquery import QueryJob

from pydag_gcp.errors import TaskError
from pydag_gcp.estimate import Estimate
from pydag_gcp.gcp import Clients, Endpoints, Target
from pydag_gcp.operator import Context, Failed, Running
from pydag_gcp.operators import BigQueryQuery, GCSToBigQuery
from pydag_gcp.resources import Table

if TYPE_CHECKING:
    from tests.local.bigquery.service import BigQueryService

pytest_plugins = ("tests.local.bigquery.service",)

# https://cloud.google.com/bigquery/pricing#on_demand_pricing: a query is billed for 10 MB of each table at least
LEAST_BILLED = 10 * 2**20


@pytest.fixture
def here(ctx: Context, bigquery_service: BigQueryService) -> Iterator[Context]:
    url = bigquery_service.url
    endpoints = Endpoints(bigquery=url, storage=url, dataproc="127.0.0.1:1")
    clients = Clients(Target(name="local", project="p-roject", endpoints=endpoints))
    yield replace(ctx, clients=clients)
    clients.close()
    bigquery_service.faults.clear()


@pytest.fixture(scope="module")
def table(bigquery_service: BigQueryService) -> str:
    """A table of 1000 INT64, eight bytes each."""
    client = bigquery_service.client("p-roject")
    client.create_dataset("shop")
    client.query_and_wait("CREATE TABLE shop.orders AS SELECT n, n AS m FROM UNNEST(GENERATE_ARRAY(1, 1000)) AS n")
    client.close()
    return "shop.orders"


def query(sql: str, **fields: Any) -> BigQueryQuery:
    return BigQueryQuery(task_id="q", sql=sql, **fields)


def test_a_query_is_estimated_by_the_columns_that_it_reads(here: Context, table: str) -> None:
    for sql, size in ((f"SELECT n FROM {table}", 8000), (f"SELECT * FROM {table}", 16000), ("SELECT 1 AS n", 0)):
        assert query(sql, destination="shop.out").estimate(here) == Estimate(bytes=size)


def test_an_estimate_does_nothing_and_is_not_capped(here: Context, table: str) -> None:
    into = query("SELECT n FROM {{ t }}", params={"t": Table(table)}, destination="shop.never", maximum_bytes_billed=1)
    assert into.estimate(replace(here, max_bytes=1)) == Estimate(bytes=8000)
    assert Table("shop.never").version(here.clients).name == "MISSING"  # type: ignore[union-attr]


def test_what_cannot_be_estimated_says_why(here: Context) -> None:
    with pytest.raises(TaskError, match=r"the dry run of task 'q' was refused: .*shop\.none"):
        query("SELECT * FROM shop.none").estimate(here)


def test_only_queries_are_billed_by_bytes(here: Context) -> None:
    assert GCSToBigQuery(task_id="l", source="gs://bucket/x", destination="shop.x").estimate(here) is None


@pytest.mark.parametrize(
    ("own", "left", "sent"),
    [
        (None, None, None),
        (None, 7, 7),
        (5, None, 5),
        (5, 7, 5),
        (9, 7, 7),
    ],
)
def test_the_smaller_cap_is_sent(
    here: Context, bigquery_service: BigQueryService, table: str, own: int | None, left: int | None, sent: int | None
) -> None:
    job_id = f"pydag-{secrets.token_hex(16)}"
    task = query(f"SELECT n FROM {table}", destination="shop.capped", maximum_bytes_billed=own)
    task.submit(replace(here, max_bytes=left), job_id)
    job = here.clients.bigquery().get_job(job_id)
    assert isinstance(job, QueryJob)
    assert job.maximum_bytes_billed == sent


def test_a_job_that_was_sent_with_another_cap_is_the_same_request(here: Context, table: str) -> None:
    job_id = f"pydag-{secrets.token_hex(16)}"
    task = query(f"SELECT n FROM {table}", destination="shop.again")
    handle = task.submit(replace(here, max_bytes=LEAST_BILLED), job_id)
    assert task.submit(replace(here, max_bytes=2 * LEAST_BILLED), job_id) == handle
    assert task.submit(here, job_id) == handle


def test_a_query_that_would_cost_more_than_is_left_fails(here: Context, table: str) -> None:
    task, short = query(f"SELECT n FROM {table}", destination="shop.dear"), replace(here, max_bytes=LEAST_BILLED - 1)
    handle = task.submit(short, f"pydag-{secrets.token_hex(16)}")
    while isinstance(status := task.poll(short, handle), Running):
        pass
    assert isinstance(status, Failed)
    assert "bytesBilledLimitExceeded" in status.reason
