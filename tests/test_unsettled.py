"""Runs that are left because nobody can tell what became of a job: whoever goes on finds that out."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
from google.api_core.exceptions import Forbidden, ServiceUnavailable

from pydag_gcp import remote_attempt, settling
from pydag_gcp.dag import DAG
from pydag_gcp.errors import JobUnsettled, SettingsError
from pydag_gcp.events import Event, TaskChanged
from pydag_gcp.identity import remote_id
from pydag_gcp.operator import Context, Status
from pydag_gcp.retry import Retry
from pydag_gcp.states import RunState, TaskState
from tests.service import Call, Job, Service
from tests.test_resumption import past_of, resume, run, stored

pytestmark = pytest.mark.usefixtures("project")


@pytest.fixture
def service(listening: int, monkeypatch: pytest.MonkeyPatch) -> Service:
    """A service that is given up after its first bad answer."""
    monkeypatch.setattr(remote_attempt, "RESEND_LIMIT", 0.0)
    Job.cloud = Service()
    return Job.cloud


def away(service: Service, *, accepted: bool) -> None:
    """Have the service answer no submit; the first one was accepted or was not."""
    service.accept_before_fault = accepted
    service.faults = [ServiceUnavailable("503")] * 1000


def back(service: Service) -> None:
    service.faults = []


def ending(service: Service) -> Callable[[Event], None]:
    """A listener: the jobs of the service have run long enough once one is seen to run."""

    def listener(event: Event) -> None:
        if isinstance(event, TaskChanged) and event.state is TaskState.DEFERRED:
            service.end_jobs()

    return listener


def one_job(**fields: float) -> DAG:
    with DAG("one_job", retry=Retry(attempts=3, wait=0, jitter=0, on=(Exception,))) as dag:
        Job(task_id="job", **fields) >> Call(task_id="last")
    return dag


@dataclass(frozen=True)
class Left:
    """A run that was left."""

    run_id: str

    @property
    def job_id(self) -> str:
        return remote_id(self.run_id, "job", 1)


@pytest.fixture(params=[True, False], ids=["accepted", "never accepted"])
def left(service: Service, request: pytest.FixtureRequest) -> Left:
    """A run whose job was accepted or was not, which nobody knows; from now on the service answers."""
    away(service, accepted=request.param)
    found = leave(one_job(seconds=60))
    assert set(service.submits) == {found.job_id}
    assert set(service.jobs) == ({found.job_id} if request.param else set())
    back(service)
    return found


def leave(dag: DAG, *listeners: Callable[[Event], None]) -> Left:
    with pytest.raises(JobUnsettled) as caught:
        run(dag, *listeners)
    with stored() as store:
        [row] = store.open_runs(dag.dag_id, "local")
    assert (row["state"], row["error"]) == ("interrupted", str(caught.value))
    return Left(row["run_id"])


def test_the_user_is_told_which_job_and_what_comes_next(service: Service) -> None:
    away(service, accepted=True)
    left = leave(one_job())
    with stored() as store:
        row = store.run(left.run_id)
    assert row is not None
    assert row["error"] == (
        f"run {left.run_id}: cannot tell whether job {left.job_id} of task 'job' was accepted: 503 503; "
        f"`pydag resume {left.run_id}` asks again, as does the next run; "
        f"`pydag cancel --forget {left.run_id}` gives it up"
    )
    assert row["error"] in (Path(".pydag/logs/one_job") / left.run_id / "job" / "1.log").read_text()


def test_resume_sends_the_same_job_again(service: Service, left: Left) -> None:
    service.submits.clear()
    result = resume(one_job(seconds=60), left.run_id, ending(service))
    assert (result.state, result.tasks["job"].tries) == (RunState.SUCCESS, 1)
    assert service.submits == [left.job_id]
    assert set(service.jobs) == {left.job_id}


def test_the_next_run_ends_the_job_first(service: Service, left: Left) -> None:
    seen: list[set[str]] = []

    def listener(event: Event) -> None:
        if isinstance(event, TaskChanged) and event.state is TaskState.RUNNING:
            seen.append(set(service.cancelled))

    service.submits.clear()
    result = run(one_job(seconds=0.3), listener)
    assert result.state is RunState.SUCCESS
    assert service.submits == [left.job_id, remote_id(result.run_id, "job", 1)]
    assert seen[0] == service.cancelled == {left.job_id}
    assert past_of(left.run_id).state is RunState.CANCELLED


def test_cancel_ends_the_job(service: Service, left: Left) -> None:
    result = resume(one_job(seconds=60), left.run_id, cancel=True)
    assert (result.state, result.tasks["job"].state) == (RunState.CANCELLED, TaskState.CANCELLED)
    assert service.cancelled == set(service.jobs) == {left.job_id}
    # And what was cancelled may run again, as another try
    again = resume(one_job(seconds=60), left.run_id, ending(service), retry_failed=True)
    assert (again.state, again.tasks["job"].tries) == (RunState.SUCCESS, 2)


def test_what_has_not_failed_is_not_tried_again(service: Service, left: Left) -> None:
    with pytest.raises(SettingsError, match=f"has not ended; go on with it: pydag resume {left.run_id}"):
        resume(one_job(seconds=60), left.run_id, retry_failed=True)


def test_what_was_given_up_keeps_nobody_from_running(service: Service, left: Left) -> None:
    with stored() as store:
        settling.forget(store, left.run_id)
    service.submits.clear()
    result = run(one_job())
    assert result.state is RunState.SUCCESS
    assert service.submits == [remote_id(result.run_id, "job", 1)]


@pytest.mark.parametrize("how", ["resume", "cancel", "run"])
def test_nothing_else_begins_while_nobody_can_tell(service: Service, left: Left, how: str) -> None:
    # Given a service that still does not answer
    away(service, accepted=True)
    # When somebody goes on, or wants another run
    with pytest.raises(JobUnsettled, match=f"run {left.run_id}: cannot tell whether job {left.job_id} of task 'job'"):
        run(one_job(seconds=60)) if how == "run" else resume(one_job(seconds=60), left.run_id, cancel=how == "cancel")
    # Then there is still one run, which can go on, and at most one job
    with stored() as store:
        assert [(row["run_id"], row["state"]) for row in store.runs()] == [(left.run_id, "interrupted")]
    assert set(service.jobs) == {left.job_id}
    back(service)
    assert resume(one_job(seconds=60), left.run_id, ending(service)).state is RunState.SUCCESS
    assert set(service.jobs) == {left.job_id}


@pytest.mark.parametrize("accepted", [True, False])
def test_ctrl_c_does_not_end_a_job_that_nobody_knows_of(
    service: Service, monkeypatch: pytest.MonkeyPatch, accepted: bool
) -> None:
    monkeypatch.setattr(remote_attempt, "RESEND_LIMIT", 0.3)
    away(service, accepted=accepted)

    def ctrl_c(event: Event) -> None:
        if isinstance(event, TaskChanged) and event.detail.startswith("sends the same") and len(service.submits) == 1:
            os.kill(os.getpid(), signal.SIGINT)

    left = leave(one_job(seconds=60), ctrl_c)
    back(service)
    assert resume(one_job(seconds=60), left.run_id, ending(service)).state is RunState.SUCCESS
    assert set(service.jobs) == {left.job_id}


def test_a_timeout_does_not_either(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_attempt, "RESEND_LIMIT", 0.3)
    away(service, accepted=True)
    left = leave(one_job(seconds=60, timeout=0.1))
    back(service)
    service.end_jobs()
    assert resume(one_job(seconds=60, timeout=0.1), left.run_id).state is RunState.SUCCESS
    assert set(service.jobs) == {left.job_id}


class Hidden(Job):
    """May not be looked at for a while."""

    hidden: ClassVar[bool] = True

    def poll(self, ctx: Context, handle: Mapping[str, Any]) -> Status:
        if self.hidden:
            raise Forbidden("you may not")
        return super().poll(ctx, handle)


@pytest.mark.parametrize("how", ["resume", "run"])
def test_a_job_that_could_not_be_followed_is_looked_at_again(
    service: Service, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    def dag() -> DAG:
        with DAG("hidden", retry=Retry(attempts=3, wait=0, jitter=0, on=(Exception,))) as dag:
            Hidden(task_id="job")
        return dag

    # Given a job that is told to stop, unseen, but succeeds
    monkeypatch.setattr(remote_attempt, "RESEND", Retry(attempts=1000, wait=0, jitter=0))
    monkeypatch.setattr(Hidden, "cancel", lambda *_: None)
    with pytest.raises(JobUnsettled, match="of task 'job', which was told to stop but may still run: 403 you may not"):
        run(dag())
    assert len(service.submits) == 1
    # When it may be looked at again
    monkeypatch.setattr(Hidden, "hidden", False)
    with stored() as store:
        [left] = store.runs()
    resume(dag(), left["run_id"]) if how == "resume" else run(dag())
    # Then it is known that it has succeeded
    assert past_of(left["run_id"]).ended["job"].state is TaskState.SUCCESS
    assert len(service.submits) == (1 if how == "resume" else 2)


class Last(Job):
    """Is sent once the others have begun."""

    begun: ClassVar[threading.Barrier]

    def submit(self, ctx: Context, job_id: str) -> dict[str, Any]:
        if self.cloud.faults:
            self.begun.wait(timeout=60)
        return super().submit(ctx, job_id)


def test_what_else_was_going_on_is_taken_up(service: Service) -> None:
    calls: list[int] = []
    unblock = threading.Event()

    def work(ctx: Context) -> None:
        calls.append(ctx.try_number)
        if len(calls) == 1:
            Last.begun.wait(timeout=60)
            unblock.wait(timeout=60)

    def dag() -> DAG:
        with DAG("busy") as dag:
            begun = [Last(task_id="job"), Job(task_id="other", seconds=60), Call(task_id="local", function=work)]
            begun >> Call(task_id="last")
        return dag

    def other_runs(event: Event) -> None:
        if isinstance(event, TaskChanged) and event.detail == "stage 1":
            Last.begun.wait(timeout=60)

    # Given a job that runs and a function that has not returned, when another job's submit gets no answer
    Last.begun = threading.Barrier(3)
    service.faults = [None, *[ServiceUnavailable("503")] * 1000]
    left = leave(dag(), other_runs)
    unblock.set()
    # When
    back(service)
    result = resume(dag(), left.run_id, ending(service))
    # Then each job was accepted once, and the function is called again
    assert result.state is RunState.SUCCESS
    assert {name: task.tries for name, task in result.tasks.items()} == {"job": 1, "other": 1, "local": 2, "last": 1}
    assert sorted(Counter(service.submits).values()) == [1, 2]
    assert calls == [1, 2]
