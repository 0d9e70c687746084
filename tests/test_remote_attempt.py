"""One try of remote work against a cloud that dies, and one that another process left, in virtual time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from google.api_core.exceptions import Forbidden

from pydag_gcp import outages
from pydag_gcp import run as run_module
from pydag_gcp.answers import REFUSED_LOOKS, REFUSED_SENDS
from pydag_gcp.attempt import Attempt, Outcome
from pydag_gcp.dag import DAG
from pydag_gcp.errors import JobRefused, JobTaken, LocalCloudError, NotYet, TaskTimeout
from pydag_gcp.events import Event, RunWarned
from pydag_gcp.executor import execute
from pydag_gcp.gcp import Clients
from pydag_gcp.operator import Context, Done, Failed, RemoteOperator, Running, Status
from pydag_gcp.outages import PATIENCE
from pydag_gcp.planner import plan
from pydag_gcp.record import Record
from pydag_gcp.remote_attempt import RemoteAttempt
from pydag_gcp.resources import Cluster, Resource
from pydag_gcp.retry import RESEND_LIMIT
from pydag_gcp.runtime_value import Param
from pydag_gcp.settings import load
from pydag_gcp.states import RunState, TaskState
from tests.virtual_driver import Virtual, driving, record_of

CALLS = ["submit", "poll", "result", "cancel"]


@dataclass
class Cloud:
    """A service whose job ends at its third look, unless it is endless. It is dead or alive."""

    alive: bool = True
    startable: bool = True
    #: In which call it dies, leaving no answer.
    dies_in: str = ""
    #: Calls that are refused for good, and how often.
    refusals: dict[str, int] = field(default_factory=dict)
    endless: bool = False
    fails: bool = False
    starts: int = 0
    jobs: set[str] = field(default_factory=set)
    cancelled: set[str] = field(default_factory=set)
    calls: list[str] = field(default_factory=list)

    def take(self, call: str) -> None:
        """Take a call, or do not."""
        self.calls.append(call)
        if call == self.dies_in:
            self.alive, self.dies_in = False, ""
        if not self.alive:
            raise ConnectionRefusedError("nobody there")
        if self.refusals.get(call):
            self.refusals[call] -= 1
            raise Forbidden("you may not")

    def start(self) -> None:
        if not self.startable:
            raise LocalCloudError("does not start")
        self.starts += not self.alive
        self.alive = True

    def looks(self) -> int:
        return self.calls.count("poll")


class Revivable(Clients):
    """Clients of that cloud."""

    cloud: Cloud

    def revive(self) -> None:
        self.cloud.start()


class Job(RemoteOperator):
    cloud: ClassVar[Cloud]

    def submit(self, ctx: Context, job_id: str) -> dict[str, Any]:
        self.cloud.take("submit")
        self.cloud.jobs.add(job_id)
        return {"job_id": job_id}

    def poll(self, ctx: Context, handle: Mapping[str, Any]) -> Status:
        self.cloud.take("poll")
        if handle["job_id"] in self.cloud.cancelled:
            return Failed(reason="stopped")
        if self.cloud.fails:
            return Failed(reason="broken")
        return Done() if self.cloud.looks() >= 3 and not self.cloud.endless else Running()

    def result(self, ctx: Context, handle: Mapping[str, Any]) -> Any:
        self.cloud.take("result")
        return "all is well"

    def cancel(self, ctx: Context, handle: Mapping[str, Any]) -> None:
        self.cloud.take("cancel")
        self.cloud.cancelled.add(handle["job_id"])


@pytest.fixture
def cloud() -> Cloud:
    Job.cloud = Cloud()
    return Job.cloud


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Virtual]:
    with driving(tmp_path) as driver:
        yield driver


@pytest.fixture
def attempt_of(driver: Virtual, ctx: Context, cloud: Cloud) -> Callable[..., RemoteAttempt]:
    """Makes a try of a task."""
    clients = Revivable(ctx.target)
    clients.cloud = cloud

    def make(task_id: str = "job", task: type[RemoteOperator] = Job, **fields: Any) -> RemoteAttempt:
        return RemoteAttempt(task(task_id=task_id, **fields), replace(ctx, task_id=task_id, clients=clients), driver)

    return make


@pytest.fixture
def start(attempt_of: Callable[..., RemoteAttempt]) -> Callable[..., RemoteAttempt]:
    """Starts a try of a task."""

    def begin(task_id: str = "job", task: type[RemoteOperator] = Job, **fields: Any) -> RemoteAttempt:
        attempt = attempt_of(task_id, task, **fields)
        attempt.start()
        return attempt

    return begin


@pytest.fixture
def attach(driver: Virtual, attempt_of: Callable[..., RemoteAttempt], cloud: Cloud) -> Callable[..., RemoteAttempt]:
    """Takes up a try that another process began some seconds ago."""

    def take_up(
        *, ago: float = 1, accepted: bool = True, task: type[RemoteOperator] = Job, **fields: Any
    ) -> RemoteAttempt:
        attempt = attempt_of(task=task, **fields)
        began = datetime.now(UTC) - timedelta(seconds=ago)
        ctx, job_id = attempt.ctx, attempt.job_id
        driver.store.start_try(ctx.run_id, ctx.task_id, ctx.try_number, job_id=job_id, at=began)
        handle = {"job_id": job_id} if accepted else None
        cloud.jobs |= {job_id} if accepted else set()
        attempt.attach(handle, started=began)
        return attempt

    return take_up


Start = Callable[..., RemoteAttempt]


def warnings_of(dag: DAG, clients: Clients | None = None) -> list[str]:
    """What a real run of a DAG warns of."""
    events: list[Event] = []
    planned = plan(dag, load(Path.cwd()))
    if clients is not None:
        planned = replace(planned, context=replace(planned.context, clients=clients))
    assert execute(planned, listeners=[events.append]).state is RunState.SUCCESS
    return [event.message for event in events if isinstance(event, RunWarned)]


@pytest.mark.usefixtures("project", "listening", "cloud")
def test_whoever_watches_a_run_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Away(Job):
        def poll(self, ctx: Context, handle: Mapping[str, Any]) -> Status:
            self.cloud.take("poll")
            if self.cloud.looks() < 3:
                raise ConnectionResetError("https://user:hunter2@proxy has hung up")
            return Done()

    monkeypatch.setattr(outages, "PATIENCE", 0.1)
    with DAG("away") as dag:
        Away(task_id="job")
    (message,) = warnings_of(dag)
    assert "has not answered for over 0.1 s" in message
    assert "hunter2" not in message


@pytest.mark.usefixtures("project", "listening", "cloud")
def test_whoever_watches_a_run_is_told_that_its_target_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(Clients):
        def check(self) -> None:
            time.sleep(0.3)

    monkeypatch.setattr(run_module, "PATIENCE", 0.1)
    with DAG("away") as dag:
        Job(task_id="job")
    assert warnings_of(dag) == []
    (message,) = warnings_of(dag, Slow(plan(dag, load(Path.cwd())).clients.target))
    assert message == "target 'local' could not be reached for over 0.1 s; waiting for its answer"


@pytest.mark.parametrize("call", ["submit", "poll", "result"])
def test_the_cloud_is_started_again_whatever_call_it_dies_in(
    start: Start, driver: Virtual, cloud: Cloud, call: str
) -> None:
    cloud.dies_in = call
    attempt = start()
    driver.run(PATIENCE)
    assert (driver.ends[attempt].state, driver.ends[attempt].result) == (TaskState.SUCCESS, "all is well")
    assert cloud.starts == 1
    assert driver.told == []  # it did not take long


def test_a_cancel_that_the_cloud_dies_in_is_sent_again(start: Start, driver: Virtual, cloud: Cloud) -> None:
    cloud.endless, cloud.dies_in = True, "cancel"
    attempt = start()
    driver.run(1)
    attempt.cancel()
    driver.run(PATIENCE)
    assert driver.ends[attempt].state is TaskState.CANCELLED


def test_a_cancel_that_a_cloud_begun_anew_has_forgotten_is_sent_again(
    start: Start, driver: Virtual, cloud: Cloud
) -> None:
    # Given a job that was told to stop by its timeout
    cloud.endless = True
    attempt = start(timeout=1)
    while not cloud.cancelled:
        driver.run(0.005)
    # When the cloud dies, and with it that word
    cloud.alive = False
    cloud.cancelled.clear()
    driver.run(PATIENCE)
    # Then it is told again
    assert "timed out after 1 s" in str(driver.ends[attempt].error)
    assert cloud.calls.count("cancel") == 2


@pytest.mark.parametrize("call", CALLS)
def test_whoever_waits_long_for_an_answer_is_told_so_once(
    start: Start, driver: Virtual, cloud: Cloud, call: str
) -> None:
    # Given a service that goes away, and that we cannot start
    cloud.dies_in, cloud.endless = call, call == "cancel"
    cloud.start = lambda: None  # type: ignore[method-assign]
    attempt = start()
    driver.run(0.5)
    attempt.cancel() if call == "cancel" else None
    driver.run(RESEND_LIMIT / 2)
    # Then it is said once, after a while, with the reason
    ((at, message),) = driver.told
    assert PATIENCE <= at < PATIENCE + 1
    assert f"target 'local' has not answered for over 10 s about job {attempt.job_id} of task 'job'" in message
    assert "nobody there" in message
    assert attempt not in driver.ends
    # When it is back, then the try ends as it should
    cloud.alive = True
    driver.run(60)
    assert driver.ends[attempt].state is (TaskState.CANCELLED if call == "cancel" else TaskState.SUCCESS)
    assert len(driver.told) == 1


def test_one_word_is_enough_for_all_tries_and_another_outage_is_another_word(
    start: Start, driver: Virtual, cloud: Cloud
) -> None:
    cloud.endless = True
    cloud.start = lambda: None  # type: ignore[method-assign]
    for number in range(5):
        start(f"job{number}")
    for _ in range(2):
        cloud.alive = False
        driver.run(100)
        cloud.alive = True
        driver.run(100)
    assert len(driver.told) == 2


@pytest.mark.parametrize("call", ["submit", "poll", "cancel"])
def test_a_cloud_that_does_not_start_again_leaves_open_what_became_of_the_job(
    start: Start, driver: Virtual, cloud: Cloud, call: str
) -> None:
    cloud.dies_in, cloud.endless, cloud.startable = call, call == "cancel", False
    attempt = start()
    driver.run(1)
    attempt.cancel() if call == "cancel" else None
    driver.run(60)
    assert attempt not in driver.ends
    assert "does not start" in str(driver.unsettled[attempt])
    assert driver.store.tries("run1")[0]["ended"] is None


def test_a_cloud_that_does_not_start_again_ends_a_try_that_has_succeeded(
    start: Start, driver: Virtual, cloud: Cloud
) -> None:
    cloud.dies_in, cloud.startable = "result", False
    attempt = start()
    driver.run(60)
    end = driver.ends[attempt]
    assert (end.state, end.again) == (TaskState.FAILED, False)
    assert "does not start" in str(end.error)


def test_a_cloud_that_starts_at_the_second_attempt_is_good_enough(start: Start, driver: Virtual, cloud: Cloud) -> None:
    cloud.dies_in, cloud.startable = "result", False
    attempt = start()
    driver.run(1)
    assert attempt not in driver.ends
    cloud.startable = True
    driver.run(60)
    assert driver.ends[attempt].state is TaskState.SUCCESS


def test_a_result_is_not_asked_for_for_ever(start: Start, driver: Virtual, cloud: Cloud) -> None:
    cloud.dies_in = "result"
    cloud.start = lambda: None  # type: ignore[method-assign]
    attempt = start()
    driver.run(RESEND_LIMIT + 60)
    assert "succeeded, but its result cannot be read: nobody there" in str(driver.ends[attempt].error)


@pytest.mark.parametrize("accumulating", [True, False])
def test_rows_that_were_added_are_remembered_although_the_result_cannot_be_read(
    start: Start, driver: Virtual, cloud: Cloud, monkeypatch: pytest.MonkeyPatch, accumulating: bool
) -> None:
    def observe(attempt: RemoteAttempt, result: Any, *, last: bool) -> tuple[Record, ...]:
        return (replace(record_of(attempt, result), accumulating=accumulating),)

    monkeypatch.setattr(driver, "observe", observe)
    driver.observations = []
    cloud.refusals["result"] = 1
    attempt = start()
    driver.run(60)
    assert (driver.ends[attempt].state, driver.ends[attempt].again) == (TaskState.FAILED, False)
    assert len(driver.ends[attempt].records) == accumulating


def test_ctrl_c_ends_the_wait_for_a_result(start: Start, driver: Virtual, cloud: Cloud) -> None:
    cloud.dies_in = "result"
    cloud.start = lambda: None  # type: ignore[method-assign]
    attempt = start()
    driver.run(20)
    attempt.cancel()
    driver.run(30)
    assert "succeeded, but its result cannot be read" in str(driver.ends[attempt].error)


def test_one_refusal_after_many_calls_without_an_answer_cancels_nothing(
    start: Start, driver: Virtual, cloud: Cloud
) -> None:
    cloud.endless, cloud.alive = True, True
    cloud.start = lambda: None  # type: ignore[method-assign]
    attempt = start()
    driver.run(1)
    cloud.alive = False
    driver.run(60)
    cloud.alive, cloud.endless, cloud.refusals = True, False, {"poll": 1}
    driver.run(60)
    assert driver.ends[attempt].state is TaskState.SUCCESS
    assert "cancel" not in cloud.calls


def test_ctrl_c_does_not_wait_for_ever_for_a_job_that_may_not_be_looked_at(
    start: Start, driver: Virtual, cloud: Cloud
) -> None:
    cloud.endless = True
    attempt = start()
    driver.run(1)
    cloud.refusals = {"poll": 10**6, "cancel": 10**6}
    attempt.cancel()
    driver.run(60)
    assert "which was told to stop but may still run: 403 you may not" in str(driver.unsettled[attempt])
    assert attempt not in driver.ends
    assert driver.told == []  # it answers, if badly


def test_a_cancel_that_is_refused_is_not_repeated_with_every_look(start: Start, driver: Virtual, cloud: Cloud) -> None:
    cloud.endless, cloud.refusals = True, {"cancel": 10**6}
    attempt = start()
    driver.run(1)
    attempt.cancel()
    driver.run(60)
    assert cloud.calls.count("cancel") == 1
    assert attempt not in driver.ends


def test_a_service_that_says_not_yet_has_answered(start: Start, driver: Virtual, cloud: Cloud) -> None:
    class Waits(Job):
        def submit(self, ctx: Context, job_id: str) -> dict[str, Any]:
            if driver.now < 120:
                raise NotYet("the old cluster is being deleted")
            return super().submit(ctx, job_id)

    attempt = start(task=Waits)
    driver.run(200)
    assert driver.ends[attempt].state is TaskState.SUCCESS
    assert driver.told == []


def test_refused_looks_are_counted_in_a_row(start: Start, driver: Virtual, cloud: Cloud) -> None:
    cloud.refusals = {"poll": REFUSED_LOOKS - 1}
    attempt = start()
    driver.run(60)
    assert driver.ends[attempt].state is TaskState.SUCCESS


# taken up from another process ---------------------------------------------------------------------------------------


def test_a_job_that_was_accepted_is_looked_at_and_not_sent_again(attach: Start, driver: Virtual, cloud: Cloud) -> None:
    attempt = attach()
    driver.run(60)
    assert (driver.ends[attempt].state, driver.ends[attempt].result) == (TaskState.SUCCESS, "all is well")
    assert cloud.calls == ["poll", "poll", "poll", "result"]
    assert attempt.started < datetime.now(UTC) - timedelta(seconds=1)
    assert len(driver.store.tries("run1")) == 1


def test_a_job_that_nobody_knows_of_is_sent_again_under_its_id(attach: Start, driver: Virtual, cloud: Cloud) -> None:
    attempt = attach(accepted=False)
    driver.run(60)
    assert driver.ends[attempt].state is TaskState.SUCCESS
    assert cloud.jobs == {attempt.job_id}
    (row,) = driver.store.tries("run1")
    assert row["handle"] == f'{{"job_id": "{attempt.job_id}"}}'


def test_a_refusal_is_not_definite_as_the_other_process_may_have_sent_it(
    attach: Start, driver: Virtual, cloud: Cloud
) -> None:
    cloud.refusals = {"submit": 1}
    attempt = attach(accepted=False)
    driver.run(60)
    assert attempt not in driver.ends
    what = f"run run1: cannot tell whether job {attempt.job_id} of task 'job' was accepted: 403 you may not; "
    assert str(driver.unsettled[attempt]).startswith(what)


def test_what_is_not_possible_yet_is_waited_for_as_in_the_first_process(attach: Start, driver: Virtual) -> None:
    class Waits(Job):
        def submit(self, ctx: Context, job_id: str) -> dict[str, Any]:
            if driver.now < 120:
                raise NotYet("the old cluster is being deleted")
            return super().submit(ctx, job_id)

    attempt = attach(accepted=False, task=Waits, ago=10**6)
    driver.run(200)
    assert driver.ends[attempt].state is TaskState.SUCCESS


@pytest.mark.parametrize("accepted", [True, False])
def test_a_job_taken_up_is_cancelled_whether_or_not_it_is_known(
    attach: Start, driver: Virtual, cloud: Cloud, accepted: bool
) -> None:
    # Given a job that may be there, as far as we know
    cloud.endless = True
    attempt = attach(accepted=accepted)
    # When it is cancelled at once
    attempt.cancel()
    driver.run(60)
    # Then nothing is left of it, wherever it was
    assert driver.ends[attempt].state is TaskState.CANCELLED
    assert cloud.cancelled == cloud.jobs == {attempt.job_id}


class Changed(Job):
    """A task that is not what it was when its job was sent."""

    def submit(self, ctx: Context, job_id: str) -> dict[str, Any]:
        self.cloud.jobs.add(job_id)
        raise JobTaken("another request made it", handle={"job_id": job_id})


def test_a_job_that_was_sent_before_its_task_changed_is_cancelled_all_the_same(
    attach: Start, driver: Virtual, cloud: Cloud
) -> None:
    cloud.endless = True
    attempt = attach(accepted=False, task=Changed)
    attempt.cancel()
    driver.run(60)
    assert driver.ends[attempt].state is TaskState.CANCELLED
    assert cloud.cancelled == {attempt.job_id}


@pytest.mark.parametrize("fails", [True, False])
def test_a_job_that_was_sent_before_its_task_changed_has_ended_when_the_task_fails(
    attach: Start, driver: Virtual, cloud: Cloud, fails: bool
) -> None:
    attempt = attach(accepted=False, task=Changed)
    driver.run(0.1)
    assert attempt not in driver.ends
    cloud.fails = fails
    driver.run(60)
    assert (driver.ends[attempt].state, driver.ends[attempt].again) == (TaskState.FAILED, False)
    assert "another request made it" in str(driver.ends[attempt].error)


def test_a_job_of_another_request_is_none_of_ours(start: Start, driver: Virtual, cloud: Cloud) -> None:
    attempt = start(task=Changed)
    driver.run(60)
    assert driver.ends[attempt].state is TaskState.FAILED
    assert cloud.looks() == 0


def test_a_job_that_succeeded_while_nobody_looked_did_not_time_out(
    attach: Start, driver: Virtual, cloud: Cloud
) -> None:
    cloud.calls = ["poll"] * 2  # it ends at the third look
    attempt = attach(ago=3600, timeout=60)
    driver.run(60)
    assert driver.ends[attempt].state is TaskState.SUCCESS
    assert "cancel" not in cloud.calls


def test_the_time_of_a_job_counts_from_when_the_other_process_began_it(
    attach: Start, driver: Virtual, cloud: Cloud
) -> None:
    cloud.endless = True
    attempt = attach(ago=50, timeout=60)
    driver.run(9)
    assert "cancel" not in cloud.calls
    driver.run(10)
    assert "timed out after 60 s" in str(driver.ends[attempt].error)


def test_a_job_that_still_runs_after_its_time_is_cancelled(attach: Start, driver: Virtual, cloud: Cloud) -> None:
    cloud.endless = True
    attempt = attach(ago=3600, timeout=60)
    driver.run(10)
    assert isinstance(driver.ends[attempt].error, TaskTimeout)
    assert cloud.calls[:2] == ["poll", "cancel"]


def test_a_job_that_may_never_have_been_sent_has_its_full_time(attach: Start, driver: Virtual) -> None:
    attempt = attach(accepted=False, ago=3600, timeout=60)
    driver.run(60)
    assert driver.ends[attempt].state is TaskState.SUCCESS


@pytest.mark.parametrize("idempotent", [True, False])
def test_a_partial_job_that_failed_while_nobody_looked_is_repeated_only_if_that_does_no_harm(
    attach: Start, driver: Virtual, cloud: Cloud, idempotent: bool
) -> None:
    class Partial(Job):
        def atomic(self, ctx: Context) -> bool:
            return False

    cloud.fails = True
    attempt = attach(task=Partial, idempotent=idempotent)
    driver.run(60)
    end = driver.ends[attempt]
    assert (end.state, end.again, end.free) == (TaskState.FAILED, idempotent, False)
    assert ("set idempotent=True" in end.held_back) is not idempotent


def test_a_job_that_was_stopped_by_its_timeout_while_nobody_looked_timed_out(
    attach: Start, driver: Virtual, cloud: Cloud
) -> None:
    cloud.fails = True
    attempt = attach(ago=3600, timeout=60)
    driver.run(60)
    error = driver.ends[attempt].error
    assert str(error) == "timed out after 60 s, or failed while nobody looked: broken"
    assert isinstance(error, TaskTimeout)
    assert error.transient


class Service(Job):
    """Starts something that deletes itself when it is idle."""

    def writes(self, ctx: Context) -> frozenset[Resource]:
        return frozenset({Cluster("etl", region="us-central1")})


@pytest.mark.parametrize(("looks", "free"), [(0, True), (1, False)])
def test_a_service_that_was_lost_while_nobody_looked_takes_no_try(
    attach: Start, driver: Virtual, cloud: Cloud, looks: int, free: bool
) -> None:
    cloud.fails = not looks
    attempt = attach(task=Service, ago=10)
    driver.run(1)
    cloud.fails = True
    driver.run(60)
    assert driver.ends[attempt].free is free


def test_outputs_are_filled_in_before_a_job_is_looked_at(attach: Start, driver: Virtual) -> None:
    class Renames(Job):
        name: Param[str]

        def result(self, ctx: Context, handle: Mapping[str, Any]) -> Any:
            return self.name

    with DAG("names"):
        named = Job(task_id="named")
    attempt = attach(task=Renames, name=named.output["name"])
    attempt.ctx = replace(attempt.ctx, outputs={"named": {"name": "orders"}}.__getitem__)
    driver.run(60)
    assert driver.ends[attempt].result == "orders"


# submits whose outcome stays unknown ---------------------------------------------------------------------------------


@pytest.mark.parametrize("told", ["", "cancel", "timeout"])
def test_a_submit_without_an_answer_leaves_the_try_open(start: Start, driver: Virtual, cloud: Cloud, told: str) -> None:
    # Given a service that is gone for long, whatever it was told first
    cloud.dies_in = "submit"
    cloud.start = lambda: None  # type: ignore[method-assign]
    attempt = start(timeout=10 if told == "timeout" else None)
    driver.run(20)
    attempt.cancel() if told == "cancel" else None
    driver.run(RESEND_LIMIT - 30)
    assert not driver.unsettled
    # When it has not answered for long enough
    driver.run(60)
    # Then nothing is claimed of the job, and nothing more is done
    assert attempt not in driver.ends
    error = driver.unsettled[attempt]
    assert f"cannot tell whether job {attempt.job_id} of task 'job' was accepted: nobody there" in str(error)
    assert "pydag resume run1" in str(error)
    assert error.exit_code == 3
    assert driver.store.tries("run1")[0]["ended"] is None


def test_a_service_is_not_worth_leaving_the_run_for_as_its_name_tells_whether_it_is_there(
    start: Start, driver: Virtual, cloud: Cloud
) -> None:
    cloud.dies_in = "submit"
    cloud.start = lambda: None  # type: ignore[method-assign]
    attempt = start(task=Service)
    driver.run(RESEND_LIMIT + 60)
    assert "cannot tell whether job" in str(driver.ends[attempt].error)
    assert (driver.ends[attempt].state, driver.ends[attempt].again) == (TaskState.FAILED, False)


class Rejected(Job):
    """Refused for good, and there is no such job, as far as the service shows it."""

    def submit(self, ctx: Context, job_id: str) -> dict[str, Any]:
        if self.cloud.refusals.get("submit"):
            self.cloud.calls.append("submit")
            self.cloud.refusals["submit"] -= 1
            raise JobRefused("no such table")
        return super().submit(ctx, job_id)


def test_a_first_submit_that_is_refused_was_refused(start: Start, driver: Virtual, cloud: Cloud) -> None:
    cloud.refusals = {"submit": 1}
    attempt = start(task=Rejected)
    driver.run(1)
    assert str(driver.ends[attempt].error) == "no such table"


def test_a_job_that_is_not_there_after_a_refusal_may_only_not_be_shown_yet(
    attach: Start, driver: Virtual, cloud: Cloud
) -> None:
    cloud.refusals = {"submit": REFUSED_SENDS - 1}
    attempt = attach(task=Rejected, accepted=False)
    driver.run(120)
    assert driver.ends[attempt].state is TaskState.SUCCESS


def test_a_job_that_is_refused_and_not_there_again_and_again_was_never_accepted(
    attach: Start, driver: Virtual, cloud: Cloud
) -> None:
    cloud.refusals = {"submit": 10**6}
    attempt = attach(task=Rejected, accepted=False)
    driver.run(20)
    assert attempt not in driver.ends
    driver.run(60)
    assert (driver.ends[attempt].state, str(driver.ends[attempt].error)) == (TaskState.FAILED, "no such table")
    assert cloud.calls.count("submit") == REFUSED_SENDS


def test_a_job_under_our_id_that_a_resend_does_not_recognise_is_followed_to_its_end(
    start: Start, driver: Virtual, cloud: Cloud
) -> None:
    class Lost(Changed):
        def submit(self, ctx: Context, job_id: str) -> dict[str, Any]:
            if not self.cloud.jobs:
                self.cloud.jobs.add(job_id)
                raise ConnectionResetError("lost")
            return super().submit(ctx, job_id)

    attempt = start(task=Lost)
    driver.run(60)
    assert "another request made it" in str(driver.ends[attempt].error)
    assert cloud.looks() == 3


# what a success has left ----------------------------------------------------------------------------------------------


def test_a_success_ends_with_its_records(start: Start, driver: Virtual) -> None:
    driver.observations = []
    attempt = start()
    driver.run(60)
    assert driver.ends[attempt].records == (record_of(attempt, "all is well"),)


def test_what_a_success_has_left_is_asked_for_again_while_the_cloud_is_away(start: Start, driver: Virtual) -> None:
    driver.observations = [ConnectionResetError(), LocalCloudError("does not start"), ConnectionResetError()]
    attempt = start()
    driver.run(60)
    assert driver.ends[attempt].state is TaskState.SUCCESS
    assert len(driver.ends[attempt].records) == 1
    assert [last for _, last in driver.observed] == [False] * 4


def test_after_long_enough_what_is_known_will_do(start: Start, driver: Virtual) -> None:
    driver.observations = [ConnectionResetError()] * 10**4
    attempt = start()
    driver.run(RESEND_LIMIT - 10)
    assert attempt not in driver.ends
    driver.run(60)
    assert len(driver.ends[attempt].records) == 1
    assert [last for _, last in driver.observed[-2:]] == [False, True]


@pytest.mark.parametrize("why", ["cancel", "timeout"])
def test_nothing_makes_a_success_undone(start: Start, driver: Virtual, cloud: Cloud, why: str) -> None:
    # Given a job that has succeeded, of which we cannot see yet what it has left
    driver.observations = [ConnectionResetError()] * 10**4
    attempt = start(timeout=20)
    driver.run(10)
    # When it is cancelled, or its time is over
    attempt.cancel() if why == "cancel" else None
    driver.run(100)
    # Then it has succeeded; a cancel is not kept waiting
    assert (attempt in driver.ends) is (why == "cancel")
    driver.run(RESEND_LIMIT)
    assert driver.ends[attempt].state is TaskState.SUCCESS
    assert "cancel" not in cloud.calls


def test_a_success_that_cannot_be_recorded_at_all_is_none(
    start: Start, driver: Virtual, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(attempt: Attempt, result: Any, *, last: bool) -> tuple[Record, ...]:
        raise KeyError("t")

    driver.observations = []
    monkeypatch.setattr(driver, "observe", broken)
    attempt = start()
    driver.run(60)
    end = driver.ends[attempt]
    assert (end.state, end.again) == (TaskState.FAILED, False)
    assert "it succeeded, but that cannot be recorded: 't'" in str(end.error)


# the lease ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", CALLS)
def test_nothing_is_called_any_more_when_the_lease_is_lost(
    start: Start, driver: Virtual, cloud: Cloud, call: str
) -> None:
    # Given a run that is about to make a call
    cloud.endless = call == "cancel"
    attempt = start() if call != "submit" else None
    while call == "result" and cloud.looks() < 3:
        driver.run(0.001)
    driver.run(0.02 if call in ("poll", "cancel") else 0)
    # When its lease is lost before
    driver.lost = True
    if attempt is None:
        attempt = start()
    elif call == "cancel":
        attempt.cancel()
    before = list(cloud.calls)
    driver.run(600)
    # Then nothing happens, ever
    assert cloud.calls == before
    assert attempt not in driver.ends


def test_a_job_is_not_sent_when_the_lease_is_lost_while_its_row_is_written(
    start: Start, driver: Virtual, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "settled", lambda: setattr(driver, "lost", True))
    attempt = start()
    driver.run(600)
    assert cloud.calls == []
    assert attempt not in driver.ends


@pytest.mark.parametrize("why", ["cancel", "timeout"])
def test_a_job_is_not_sent_when_it_is_told_to_stop_while_its_row_is_written(
    start: Start, driver: Virtual, cloud: Cloud, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    # Given a try whose row is being written
    work: list[tuple[Callable[[], Any], Callable[[Outcome], None]]] = []
    monkeypatch.setattr(driver, "work", lambda _slots, function, then: work.append((function, then)))
    attempt = start(timeout=10)
    # When it is to end before that is done
    attempt.cancel() if why == "cancel" else driver.run(20)
    driver.call(*work.pop())
    driver.run(60)
    # Then it ends, and nothing was sent
    assert cloud.calls == []
    end = driver.ends[attempt]
    assert end.state is (TaskState.CANCELLED if why == "cancel" else TaskState.FAILED)
    assert isinstance(end.error, TaskTimeout) is (why == "timeout")


def test_what_is_sent_again_is_preceded_by_what_is_recorded_meanwhile(
    start: Start, driver: Virtual, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.dies_in = "submit"
    monkeypatch.setattr(driver, "settled", lambda: cloud.calls.append("settled"))
    start()
    driver.run(60)
    assert cloud.calls[:4] == ["settled", "submit"] * 2


def test_what_was_read_before_the_submit_is_recorded_with_the_try(start: Start, driver: Virtual) -> None:
    start()
    (row,) = driver.store.tries("run1")
    assert row["reads"] == '{"table p.d.t": "1"}'
