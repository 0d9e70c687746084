"""Many jobs of one service, looked at together: in virtual time, against lists that are right, wrong or refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import pytest
from google.api_core.exceptions import Forbidden, ServiceUnavailable, TooManyRequests
from hypothesis import given, settings
from hypothesis import strategies as st

from pydag_gcp.errors import LocalCloudError
from pydag_gcp.gcp import Clients, Target
from pydag_gcp.operator import Context, Done, Failed, RemoteOperator, Running, Status
from pydag_gcp.polling import FEW, POLL_EVERY
from pydag_gcp.remote_attempt import RemoteAttempt
from pydag_gcp.states import TaskState
from tests.contexts import first_try
from tests.virtual_driver import Virtual, driving

MANY = 60
LONGEST = POLL_EVERY[1]

#: What a list shows, of those that go on and those that are over.
View = Callable[[set[str], set[str]], set[str]]


@dataclass
class Service:
    """Jobs that go on until a moment; lists that show what a test says."""

    driver: Virtual
    until: dict[str, float] = field(default_factory=dict)
    #: Each job's own time, in seconds; the others take this long.
    takes: dict[str, float] = field(default_factory=dict)
    seconds: float = 60.0
    calls: Counter[str] = field(default_factory=Counter)
    at: list[float] = field(default_factory=list)
    cancelled: set[str] = field(default_factory=set)
    view: View = lambda active, over: active
    faults: dict[str, list[Exception]] = field(default_factory=dict)

    def take(self, call: str) -> None:
        self.calls[call] += 1
        if self.faults.get(call):
            raise self.faults[call].pop(0)

    def goes_on(self, job_id: str) -> bool:
        return self.driver.now < self.until[job_id] and job_id not in self.cancelled

    def list(self) -> set[str]:
        self.at.append(self.driver.now)
        active = {job_id for job_id in self.until if self.goes_on(job_id)}
        return self.view(active, self.until.keys() - active)


class Job(RemoteOperator):
    service: ClassVar[str] = "clouds"
    cloud: ClassVar[Service]

    def submit(self, ctx: Context, job_id: str) -> dict[str, Any]:
        self.cloud.take("submit")
        took = self.cloud.takes.get(ctx.task_id, self.cloud.seconds)
        self.cloud.until.setdefault(job_id, self.cloud.driver.now + took)
        return {"job_id": job_id}

    def poll(self, ctx: Context, handle: Mapping[str, Any]) -> Status:
        self.cloud.take("poll")
        if handle["job_id"] in self.cloud.cancelled:
            return Failed(reason="stopped")
        return Running(detail="alone") if self.cloud.goes_on(handle["job_id"]) else Done()

    def listing(self, handle: Mapping[str, Any]) -> Hashable:
        return "jobs"

    def listed(
        self, ctx: Context, handle: Mapping[str, Any], job_ids: frozenset[str], since: datetime
    ) -> Mapping[str, Running]:
        self.cloud.take("list")
        assert all(job_id in self.cloud.until for job_id in job_ids)
        return {job_id: Running(detail="together") for job_id in self.cloud.list()}

    def result(self, ctx: Context, handle: Mapping[str, Any]) -> Any:
        self.cloud.take("result")
        return self.cloud.driver.now

    def cancel(self, ctx: Context, handle: Mapping[str, Any]) -> None:
        self.cloud.take("cancel")
        self.cloud.cancelled.add(handle["job_id"])


class Unmoved(Clients):
    """Clients of a cloud that needs nobody to start it."""

    def revive(self) -> None:
        """Nothing to do."""


class Unlisted(Job):
    def listing(self, handle: Mapping[str, Any]) -> Hashable | None:
        return None


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Virtual]:
    with driving(tmp_path) as driver:
        yield driver


@pytest.fixture
def cloud(driver: Virtual) -> Service:
    Job.cloud = Service(driver)
    return Job.cloud


def begin(ctx: Context, driver: Virtual, number: int, task: type[Job] = Job) -> list[RemoteAttempt]:
    attempts = [_attempt(ctx, driver, f"job{each}", task) for each in range(number)]
    for attempt in attempts:
        attempt.start()
    return attempts


def _attempt(ctx: Context, driver: Virtual, task_id: str, task: type[Job] = Job) -> RemoteAttempt:
    return RemoteAttempt(task(task_id=task_id), replace(ctx, task_id=task_id, clients=Unmoved(ctx.target)), driver)


def assert_all_ended_well(driver: Virtual, cloud: Service, attempts: list[RemoteAttempt]) -> None:
    assert {driver.ends[attempt].state for attempt in attempts} == {TaskState.SUCCESS}
    assert cloud.calls["submit"] == len(attempts)


def test_a_few_jobs_are_looked_at_alone(ctx: Context, driver: Virtual, cloud: Service) -> None:
    attempts = begin(ctx, driver, FEW)
    driver.run(120)
    assert_all_ended_well(driver, cloud, attempts)
    assert cloud.calls["list"] == 0


def test_many_jobs_are_looked_at_together_while_they_go_on(ctx: Context, driver: Virtual, cloud: Service) -> None:
    attempts = begin(ctx, driver, MANY)
    # When they have gone on for a while
    driver.run(cloud.seconds - 1)
    # Then there were only lists, about as many as one job had been looked at alone
    assert cloud.calls["poll"] == 0
    assert 0 < cloud.calls["list"] < 80
    assert driver.reported.count("deferred: together") == MANY
    # When they are over, then each one is looked at, once
    driver.run(60)
    assert_all_ended_well(driver, cloud, attempts)
    assert cloud.calls["poll"] == MANY


def test_many_jobs_without_a_list_are_looked_at_alone(ctx: Context, driver: Virtual, cloud: Service) -> None:
    attempts = begin(ctx, driver, MANY, Unlisted)
    driver.run(120)
    assert_all_ended_well(driver, cloud, attempts)
    assert cloud.calls["list"] == 0


@given(takes=st.lists(st.floats(min_value=0.01, max_value=200), min_size=FEW + 1, max_size=40))
@settings(max_examples=10, deadline=None)
def test_an_end_is_seen_within_one_and_a_half_intervals(takes: list[float]) -> None:
    with TemporaryDirectory() as folder, driving(Path(folder)) as driver:
        Job.cloud = Service(driver, takes={f"job{number}": took for number, took in enumerate(takes)})
        attempts = begin(first_try(Path(folder), Clients(Target(name="local", project="p"))), driver, len(takes))
        driver.run(300)
        for attempt, took in zip(attempts, takes, strict=True):
            # A look, the answer and the result take 0.01 s each, and a list keeps the others waiting for a tenth of it.
            interval = min(max(took / 10, POLL_EVERY[0]), LONGEST)
            assert driver.ends[attempt].result - Job.cloud.until[attempt.job_id] <= 1.5 * interval + 0.2


def test_a_list_is_no_more_frequent_than_it_is_fast(
    ctx: Context, driver: Virtual, cloud: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a service that takes 0.3 s to answer, and jobs that begin all the time
    call = driver.call
    monkeypatch.setattr(driver, "call", lambda function, then: driver.after(0.3, lambda: call(function, then)))
    for number in range(200):
        _attempt(ctx, driver, f"job{number}").start()
        driver.run(0.1)
    # Then it lists for a tenth of the time
    assert cloud.calls["list"] <= 20 / 3 + 2


def test_jobs_that_another_process_left_are_listed_at_once(ctx: Context, driver: Virtual, cloud: Service) -> None:
    attempts = [_attempt(ctx, driver, f"job{number}") for number in range(MANY)]
    for attempt in attempts:
        cloud.until[attempt.job_id] = 10.0
        attempt.attach({"job_id": attempt.job_id}, started=datetime.now(UTC) - timedelta(minutes=10))
    driver.run(1)
    assert cloud.calls == {"list": 1}
    driver.run(60)
    assert {driver.ends[attempt].state for attempt in attempts} == {TaskState.SUCCESS}


# lists that are of no use ---------------------------------------------------------------------------------------------


def test_a_list_that_is_refused_is_given_up_and_the_user_told_once(
    ctx: Context, driver: Virtual, cloud: Service
) -> None:
    cloud.faults["list"] = [Forbidden("you may not list")] * 10
    attempts = begin(ctx, driver, MANY)
    driver.run(120)
    assert_all_ended_well(driver, cloud, attempts)
    assert cloud.calls["list"] == 1
    ((_, message),) = driver.told
    assert message == "looks at each job by itself: 403 you may not list"


@pytest.mark.parametrize(
    "fault", [ServiceUnavailable("try again"), TooManyRequests("slow down"), LocalCloudError("does not start")]
)
def test_a_list_that_gets_no_answer_for_a_moment_is_asked_for_again(
    ctx: Context, driver: Virtual, cloud: Service, fault: Exception
) -> None:
    cloud.faults["list"] = [fault] * 2
    attempts = begin(ctx, driver, MANY)
    driver.run(cloud.seconds - 1)
    assert cloud.calls["poll"] == 0
    driver.run(60)
    assert_all_ended_well(driver, cloud, attempts)
    assert driver.told == []


def test_without_an_answer_for_longer_all_jobs_are_looked_at_alone(
    ctx: Context, driver: Virtual, cloud: Service
) -> None:
    cloud.faults["list"] = [ServiceUnavailable("try again")] * 10**4
    attempts = begin(ctx, driver, MANY)
    driver.run(120)
    assert_all_ended_well(driver, cloud, attempts)
    assert cloud.calls["poll"] >= MANY


def test_a_list_for_other_eyes_is_not_asked_for_ever(ctx: Context, driver: Virtual, cloud: Service) -> None:
    # Given lists in which none of our jobs is
    cloud.view = lambda active, over: {"somebody else's"}
    attempts = begin(ctx, driver, MANY)
    # Then after a few of them each job is looked at alone
    driver.run(120)
    assert_all_ended_well(driver, cloud, attempts)
    assert cloud.calls["list"] <= 5


def test_a_list_that_never_shows_an_end_only_delays_it(ctx: Context, driver: Virtual, cloud: Service) -> None:
    cloud.view = lambda active, over: active | over
    attempts = begin(ctx, driver, MANY)
    # Given jobs that are over, of which nobody hears
    driver.run(299)
    assert driver.ends == {}
    # Then a few of them at a time are looked at all the same
    driver.run(2)
    assert 0 < cloud.calls["poll"] <= FEW
    driver.run(60)
    assert_all_ended_well(driver, cloud, attempts)


@given(seed=st.randoms(use_true_random=False))
@settings(max_examples=10, deadline=None)
def test_whatever_a_list_says_every_job_ends_once(seed: Any) -> None:
    def shown(active: set[str], over: set[str]) -> set[str]:
        if seed.random() < 0.2:
            raise seed.choice([ServiceUnavailable("no"), TooManyRequests("no"), ConnectionResetError(), Forbidden("")])
        return {job_id for job_id in sorted(active | over) if seed.random() < 0.7}

    with TemporaryDirectory() as folder, driving(Path(folder)) as driver:
        Job.cloud = Service(driver, seconds=20, view=shown)
        attempts = begin(first_try(Path(folder), Clients(Target(name="local", project="p"))), driver, 30)
        driver.run(20 + 10 * 60)
        assert_all_ended_well(driver, Job.cloud, attempts)
        assert Job.cloud.calls["result"] == len(attempts)


# beside a list --------------------------------------------------------------------------------------------------------


def test_a_cancel_does_not_wait_for_a_list_and_what_that_says_then_is_ignored(
    ctx: Context, driver: Virtual, cloud: Service
) -> None:
    attempts = begin(ctx, driver, MANY)
    # Given a list that is on its way
    while not cloud.calls["list"]:
        driver.run(0.001)
    # When everything is cancelled
    for attempt in attempts:
        attempt.cancel()
    assert cloud.calls["cancel"] == MANY
    driver.run(30)
    # Then each job is told once, and seen to be over
    assert {driver.ends[attempt].state for attempt in attempts} == {TaskState.CANCELLED}
    assert cloud.calls["cancel"] == MANY


def test_no_list_is_made_once_the_lease_is_lost(ctx: Context, driver: Virtual, cloud: Service) -> None:
    begin(ctx, driver, MANY)
    driver.run(0.02)
    driver.lost = True
    driver.run(60)
    assert driver.left
    assert cloud.calls["list"] == 0


def test_refusals_for_the_rate_narrow_the_service_and_accepted_jobs_widen_it(
    ctx: Context, driver: Virtual, cloud: Service
) -> None:
    for _ in range(10):
        driver.limits.begin("clouds")
    # When a job is refused for its rate
    cloud.faults["submit"] = [TooManyRequests("slow down")]
    begin(ctx, driver, 1)
    driver.run(0.05)
    # Then half as many may fly
    assert driver.limits.full == {"clouds"}
    assert [message for _, message in driver.told] == ["clouds refuses for its rate: at most 5 jobs at a time for now"]
    # And when it is sent again and taken, one more
    driver.run(120)
    for _ in range(5):
        driver.limits.end("clouds")
    assert driver.limits.full == set()
    driver.limits.begin("clouds")
    assert driver.limits.full == {"clouds"}
