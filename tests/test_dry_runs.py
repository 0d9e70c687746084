"""What queries would be billed for, and why that is not known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pydag_gcp import DAG, Table, planner, settings, task
from pydag_gcp.decision import Decision, Verdict
from pydag_gcp.dry_runs import Cost, costs
from pydag_gcp.operators import BigQueryQuery
from pydag_gcp.planner import Plan
from pydag_gcp.record import Record, Success

if TYPE_CHECKING:
    from pydag_gcp.testing import LocalCloud

pytest_plugins = ["pydag_gcp.testing"]


@pytest.fixture
def planned(local_cloud: LocalCloud, project: Path) -> Callable[[DAG], Plan]:
    """Plans a DAG against a cloud with one table of two rows."""
    local_cloud.create_table("shop.orders", {"id": "INT64"}, [{"id": 1}, {"id": 2}])
    return lambda dag: planner.plan(dag, settings.load(project), target="local")


def found(plan: Plan, result: object = None, **verdicts: Verdict) -> dict[str, Cost]:
    """The costs of tasks, of which some are not run."""
    moment = plan.context.logical_date
    record = Record(
        dag_id="d", target="local", task_id="t", fingerprint="f", parts={}, date="", at=moment, reads={}, upstream={},
        success=Success(run_id="r", try_number=1), writes={}, result=result, accumulating=False, expires=None,
    )  # fmt: skip
    decisions = {
        task_id: Decision(verdict=verdicts.get(task_id, Verdict.RUN), reason="", record=record)
        for task_id in plan.tasks
    }
    try:
        return costs(plan, decisions)
    finally:
        plan.clients.close()


def test_a_query_is_priced_unless_what_it_reads_will_change(planned: Callable[[DAG], Plan]) -> None:
    with DAG("d") as dag:
        copy = BigQueryQuery(task_id="copy", sql="SELECT id FROM shop.orders", destination=Table("shop.copy"))
        top = BigQueryQuery(task_id="top", sql="SELECT MAX(id) AS id FROM shop.copy", destination=Table("shop.top"))
        fresh = BigQueryQuery(task_id="fresh", sql="CREATE TABLE IF NOT EXISTS shop.log (id INT64)")
        log = BigQueryQuery(task_id="log", sql="INSERT INTO shop.log (id) VALUES (1)")

        @task
        def anything() -> None: ...

        behind = BigQueryQuery(task_id="behind", sql="SELECT id FROM shop.orders", destination=Table("shop.some"))
        copy >> top
        fresh >> log
        anything() >> behind

    known = found(planned(dag))

    assert known["copy"].bytes
    assert known["behind"] == Cost(unknown="unknown until anything runs")
    assert known["top"] == Cost(unknown="unknown until copy runs")
    assert known["log"] == Cost(unknown="unknown until fresh runs")  # there is nothing yet to add to
    # Of what is cached nothing is asked, and what it made is there; else BigQuery says what is wrong
    rest = found(planned(dag), **dict.fromkeys(("copy", "fresh", "anything"), Verdict.CACHED))
    assert rest.keys() == {"top", "log", "behind"}
    assert rest["behind"].bytes
    assert rest["top"].unknown is not None
    assert "shop.copy" in rest["top"].unknown


def test_a_dataset_that_the_run_makes_is_no_mistake(planned: Callable[[DAG], Plan]) -> None:
    with DAG("d") as dag:
        BigQueryQuery(task_id="make", sql="CREATE OR REPLACE TABLE other.t AS SELECT 1 AS id")
    plan = planned(dag)

    assert found(plan)["make"] == Cost(unknown="unknown until the run makes dataset pydag-local:other")

    # Where it may not, the run would be refused, and BigQuery's words are told
    plan.clients.target = replace(plan.clients.target, create_datasets=False)
    unknown = found(plan)["make"].unknown
    assert unknown is not None
    assert unknown.endswith("Not found: Dataset pydag-local:other")


def test_what_a_cached_task_returned_is_put_in(planned: Callable[[DAG], Plan]) -> None:
    with DAG("d") as dag:

        @task(reads=[], writes=[])
        def least() -> int:
            return 1

        BigQueryQuery(
            task_id="some",
            sql="SELECT id FROM shop.orders WHERE id >= @least",
            params={"least": least().output},
            destination=Table("shop.some"),
        )

    assert found(planned(dag))["some"] == Cost(unknown="unknown until least runs")
    assert found(planned(dag), result=2, least=Verdict.CACHED)["some"].bytes
    # One that has no such value cannot be sent
    unknown = found(planned(dag), result={"x": 1}, least=Verdict.CACHED)["some"].unknown
    assert unknown is not None
    assert unknown.startswith("unknown: ")
