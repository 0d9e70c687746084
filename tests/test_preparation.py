"""Services that are gone when a run goes on."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from pydag_gcp.dag import DAG
from pydag_gcp.operator import Context, Operator
from pydag_gcp.resources import Cluster, Resource
from pydag_gcp.result import RunResult
from tests.service import Job, Service
from tests.test_resumption import detached_at, resume, run

pytestmark = pytest.mark.usefixtures("project")
CLUSTER = Cluster("c", region="europe-west1")


class Up(Operator):
    """Starts a cluster that is there as long as ``there`` says."""

    there: ClassVar[bool]
    started: ClassVar[list[int]]

    def reads(self, ctx: Context) -> frozenset[Resource]:
        return frozenset()

    def writes(self, ctx: Context) -> frozenset[Resource]:
        return frozenset({CLUSTER})

    def fulfilled(self, ctx: Context) -> bool:
        return self.there

    def execute(self, ctx: Context) -> dict[str, Any]:
        type(self).there = True
        self.started.append(ctx.try_number)
        return {"try": ctx.try_number}


class Down(Operator):
    """Takes it away."""

    def writes(self, ctx: Context) -> frozenset[Resource]:
        return frozenset({CLUSTER})

    def execute(self, ctx: Context) -> None:
        Up.there = False


class OnCluster(Job):
    """A job on it."""

    def uses(self, ctx: Context) -> frozenset[Resource]:
        return frozenset({CLUSTER})


@pytest.fixture
def service(listening: int) -> Service:
    Job.cloud = Service()
    Up.there, Up.started = False, []
    return Job.cloud


def dag() -> DAG:
    with DAG("clustered") as dag:
        up = Up(task_id="up")
        first, second = OnCluster(task_id="first", seconds=60), OnCluster(task_id="second")
        up >> first >> second >> Down(task_id="down", teardown_of=up)
    return dag


def states(result: RunResult) -> dict[str, tuple[str, int]]:
    return {task_id: (task.state.value, task.tries) for task_id, task in result.tasks.items()}


@pytest.mark.parametrize("there", [True, False])
def test_a_service_that_is_gone_is_started_again_for_who_still_needs_it(service: Service, there: bool) -> None:
    # Given a run that was left while a job ran on the cluster that it had started
    left = run(dag(), detached_at("first"))
    Up.there = there
    service.end_jobs()
    # When
    result = resume(dag(), left.run_id)
    # Then
    assert states(result) == {
        "up": ("success", 1 if there else 2),
        "first": ("success", 1),
        "second": ("success", 1),
        "down": ("success", 1),
    }
    assert Up.started == ([1] if there else [1, 2])
    assert not Up.there


def test_a_service_that_was_torn_down_is_started_again_to_retry_what_failed(service: Service) -> None:
    def broken() -> DAG:
        with DAG("clustered") as dag:
            up = Up(task_id="up")
            job = OnCluster(task_id="job", partial=service.accept_before_fault)
            up >> job >> Down(task_id="down", teardown_of=up)
        return dag

    # Given a run that failed, and cleaned up after itself
    service.faults = [ValueError("wrong")]
    service.accept_before_fault = False
    failed = run(broken())
    assert states(failed) == {"up": ("success", 1), "job": ("failed", 1), "down": ("success", 1)}
    # When
    result = resume(broken(), failed.run_id, retry_failed=True)
    # Then
    assert states(result) == {"up": ("success", 2), "job": ("success", 2), "down": ("success", 2)}
    assert not Up.there


def test_a_service_that_nobody_needs_any_more_is_not_started_again(service: Service) -> None:
    def unneeded() -> DAG:
        with DAG("clustered") as dag:
            up = Up(task_id="up")
            up >> OnCluster(task_id="first") >> Job(task_id="last", seconds=60)
        return dag

    left = run(unneeded(), detached_at("last"))
    Up.there = False
    service.end_jobs()
    resume(unneeded(), left.run_id)
    assert Up.started == [1]
