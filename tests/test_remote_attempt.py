"""One try of remote work against a cloud that dies, in virtual time."""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
from google.api_core.exceptions import Forbidden

from pydag_gcp import executor, remote_attempt
from pydag_gcp.attempt import Attempt, End, Outcome
from pydag_gcp.dag import DAG
from pydag_gcp.errors import LocalCloudError, NotYet
from pydag_gcp.events import Event, RunWarned
from pydag_gcp.executor import execute
from pydag_gcp.gcp import Clients
from pydag_gcp.loop import Timer
from pydag_gcp.operator import Context, Done, Failed, RemoteOperator, Running, Status
from pydag_gcp.outages import PATIENCE, Outages
from pydag_gcp.planner import plan
from pydag_gcp.remote_attempt import REFUSED_LOOKS, RESEND_LIMIT, RemoteAttempt
from pydag_gcp.settings import load
from pydag_gcp.states import RunState, TaskState
from pydag_gcp.store import Store

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
        return Done() if self.cloud.looks() >= 3 and not self.cloud.endless else Running()

    def result(self, ctx: Context, handle: Mapping[str, Any]) -> Any:
        self.cloud.take("result")
        return "all is well"

    def cancel(self, ctx: Context, handle: Mapping[str, Any]) -> None:
        self.cloud.take("cancel")
        self.cloud.cancelled.add(handle["job_id"])


class Virtual:
    """Drives tries in no time: every call is answered at once, and a timer that is waited for is due."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.now = 0.0
        self.told: list[tuple[float, str]] = []
        self.outages = Outages(lambda message: self.told.append((self.now, message)))
        self.ends: dict[Attempt, End] = {}
        self._timers: list[Timer] = []
        self._numbers = itertools.count()

    def clock(self) -> float:
        return self.now

    def after(self, seconds: float, action: Callable[[], None]) -> Timer:
        timer = Timer(self.now + seconds, next(self._numbers), action)
        heapq.heappush(self._timers, timer)
        return timer

    def call(self, function: Callable[[], Any], then: Callable[[Outcome], None]) -> None:
        try:
            outcome = Outcome(value=function())
        except Exception as error:  # noqa: BLE001  as the executor does
            outcome = Outcome(error=error)
        self.after(0.01, partial(then, outcome))

    def work(self, attempt: Attempt, function: Callable[[], Any], then: Callable[[Outcome], None]) -> None:
        self.call(function, then)

    def report(self, attempt: Attempt, state: TaskState, detail: str = "") -> None: ...

    def wants_another(self, attempt: Attempt, end: End) -> bool:
        return False

    def ended(self, attempt: Attempt, end: End) -> None:
        self.ends[attempt] = end

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        until = self.now + seconds
        while self._timers and self._timers[0].due <= until:
            timer = heapq.heappop(self._timers)
            if not timer.cancelled:
                self.now = max(self.now, timer.due)
                timer.action()
        self.now = until


@pytest.fixture
def cloud() -> Cloud:
    Job.cloud = Cloud()
    return Job.cloud


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Virtual]:
    with Store(f"sqlite:///{tmp_path}/pydag.db") as store:
        moment = datetime(2026, 1, 1, tzinfo=UTC)
        store.start_run(
            run_id="run1",
            dag_id="a",
            target="local",
            logical_date=moment,
            definition={},
            pid=1,
            host="h",
            at=moment,
        )
        yield Virtual(store)


@pytest.fixture
def start(driver: Virtual, ctx: Context, cloud: Cloud) -> Callable[..., RemoteAttempt]:
    """Starts a try of a task."""
    clients = Revivable(ctx.target)
    clients.cloud = cloud

    def begin(task_id: str = "job", task: type[RemoteOperator] = Job, **fields: Any) -> RemoteAttempt:
        attempt = RemoteAttempt(task(task_id=task_id, **fields), replace(ctx, task_id=task_id, clients=clients), driver)
        attempt.start()
        return attempt

    return begin


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

    monkeypatch.setattr(remote_attempt, "PATIENCE", 0.1)
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

    monkeypatch.setattr(executor, "PATIENCE", 0.1)
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


@pytest.mark.parametrize("call", CALLS)
def test_a_cloud_that_does_not_start_again_ends_the_try_with_its_reason(
    start: Start, driver: Virtual, cloud: Cloud, call: str
) -> None:
    cloud.dies_in, cloud.endless, cloud.startable = call, call == "cancel", False
    attempt = start()
    driver.run(1)
    attempt.cancel() if call == "cancel" else None
    driver.run(60)
    end = driver.ends[attempt]
    assert end.state is TaskState.FAILED
    assert "does not start" in str(end.error)
    assert not end.again  # its job may be there


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
    assert "which was told to stop but may still run: 403 you may not" in str(driver.ends[attempt].error)
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
