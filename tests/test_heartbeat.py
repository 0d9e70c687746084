"""Who drives a run: alone, and only as long as the lease lasts; and how others ask for the run's end."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from pydag_gcp import lease
from pydag_gcp.dag import DAG
from pydag_gcp.errors import LeaseLost, RunHeld
from pydag_gcp.events import Event, RunStarted, RunWarned, TaskChanged
from pydag_gcp.states import RunState, TaskState
from tests.service import Call, Job, Service
from tests.test_resumption import one_job, run, stored

pytestmark = pytest.mark.usefixtures("project")


@pytest.fixture
def service(listening: int) -> Service:
    Job.cloud = Service()
    return Job.cloud


def when_deferred(action: Callable[[str], object]) -> Callable[[Event], None]:
    def listener(event: Event) -> None:
        if isinstance(event, TaskChanged) and event.state is TaskState.DEFERRED:
            action(event.run_id)

    return listener


def test_a_second_run_of_a_dag_on_a_target_says_who_holds_it() -> None:
    with stored() as store:
        held = lease.acquire(store, dag_id="one_job", target="local", run_id="first1")
        try:
            with pytest.raises(RunHeld, match=rf"run first1 of DAG one_job .*pid {os.getpid()}"):
                run(one_job())
            with DAG("another") as dag:
                Call(task_id="a")
            assert run(dag).state is RunState.SUCCESS
        finally:
            held.release()
        assert [row["dag_id"] for row in store.runs()] == ["another"]


def test_the_lease_is_free_after_a_run_however_it_ended(service: Service) -> None:
    def stop(_run_id: str) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    run(one_job(seconds=60), when_deferred(stop))
    with stored() as store:
        assert lease.holder(store, dag_id="one_job", target="local") is None


def test_a_run_is_cancelled_from_outside(service: Service) -> None:
    def ask(run_id: str) -> None:
        with stored() as store:
            store.request_cancel(run_id)

    seen: list[Event] = []
    result = run(one_job(seconds=60), when_deferred(ask), seen.append)
    assert result.state is RunState.CANCELLED
    assert (result.signal, service.cancelled) == (None, set(service.submits))
    assert any(isinstance(event, RunWarned) and "as somebody asked for" in event.message for event in seen)


def test_who_has_lost_the_lease_leaves_at_once_and_writes_nothing(service: Service, project: Path) -> None:
    # Given a lease that is looked after every third of a second
    (project / "pydag.toml").write_text("lease = 1\n")
    with pytest.raises(LeaseLost):
        run(one_job(seconds=60), when_deferred(lambda _: shutil.rmtree(".pydag/leases")))
    # Then the run is as it was: for whoever took it over
    with stored() as store:
        [row] = store.open_runs("one_job", "local")
        assert row["state"] == RunState.RUNNING
        assert [one["state"] for one in store.tries(row["run_id"])] == ["success", "deferred"]
    assert service.cancelled == set()


def test_nothing_is_submitted_without_the_lease(service: Service) -> None:
    # Given a lease that is lost before the first task starts
    def lose(event: Event) -> None:
        if isinstance(event, RunStarted):
            shutil.rmtree(".pydag/leases")

    (Path.cwd() / "pydag.toml").write_text("lease = 1\n")
    with DAG("slow") as dag:
        Job(task_id="job", seconds=60)
    with pytest.raises(LeaseLost):
        run(dag, lose)
