"""The executor, driven with operators of its own against a service in memory."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from google.api_core.exceptions import BadRequest, ServiceUnavailable

from pydag_gcp import journal
from pydag_gcp.batch import Batch, Change
from pydag_gcp.dag import DAG
from pydag_gcp.errors import DefinitionError, JobUnsettled, NotYet, RunFailed, StoreError, TargetUnreachable, TaskError
from pydag_gcp.events import Event, RunEnded, RunStarted, RunWarned, TaskChanged
from pydag_gcp.executor import execute
from pydag_gcp.function import task
from pydag_gcp.gcp import Clients
from pydag_gcp.operator import Context, Failed, Status
from pydag_gcp.planner import plan
from pydag_gcp.resources import Table
from pydag_gcp.result import RunResult
from pydag_gcp.retry import Retry
from pydag_gcp.run import Run
from pydag_gcp.runtime_value import Param, RuntimeValue
from pydag_gcp.settings import load
from pydag_gcp.states import RunState, TaskState, TriggerRule
from pydag_gcp.store import Store
from tests.service import Call, Job, Service

pytestmark = pytest.mark.usefixtures("project")
FAST = Retry(attempts=3, wait=0.01, jitter=0)


@pytest.fixture
def service(listening: int) -> Service:
    Job.cloud = Service()
    return Job.cloud


def run(dag: DAG, *listeners: Callable[[Event], None], processors: int | None = None) -> RunResult:
    return execute(plan(dag, load(Path.cwd())), max_processors=processors, listeners=listeners)


def rows(query: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(".pydag/pydag.db") as connection:
        found = connection.execute(query).fetchall()
    connection.close()
    return found


def fail(times: int, error: Exception) -> Callable[[Context], str]:
    def function(ctx: Context) -> str:
        if ctx.try_number <= times:
            raise error
        return f"try {ctx.try_number}"

    return function


# local work --------------------------------------------------------------------------------------------------------


def test_a_task_starts_the_moment_its_last_upstream_ends() -> None:
    # Given a short chain beside one long task: waves would hold `second` back until `long` has ended
    started: dict[str, float] = {}
    ended: dict[str, float] = {}

    def sleep(seconds: float) -> Callable[[Context], None]:
        def function(ctx: Context) -> None:
            started[ctx.task_id] = time.monotonic()
            time.sleep(seconds)
            ended[ctx.task_id] = time.monotonic()

        return function

    with DAG("no_waves") as dag:
        Call(task_id="long", function=sleep(0.5))
        Call(task_id="first", function=sleep(0.02)) >> Call(task_id="second", function=sleep(0.02))
    # When
    result = run(dag)
    # Then
    assert result.state is RunState.SUCCESS
    assert ended["first"] <= started["second"]
    assert ended["second"] < ended["long"]


def test_no_more_tasks_run_than_there_are_processors() -> None:
    running, most, lock = 0, 0, threading.Lock()

    def function(_: Context) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1

    with DAG("capped") as dag:
        for number in range(12):
            Call(task_id=f"t{number}", function=function)
    assert run(dag, processors=3).state is RunState.SUCCESS
    assert most == 3


def test_a_task_of_several_slots_holds_that_many() -> None:
    alone = threading.Lock()

    def function(_: Context) -> None:
        assert alone.acquire(blocking=False)
        time.sleep(0.02)
        alone.release()

    with DAG("heavy") as dag:
        for number in range(4):
            Call(task_id=f"t{number}", function=function, slots=2)
    assert run(dag, processors=3).state is RunState.SUCCESS


def test_a_task_that_does_not_fit_holds_up_no_other() -> None:
    # Given two processors, a task that ends only after the light one, and one that wants both and comes before it
    released = threading.Event()
    with DAG("heavy_waits") as dag:
        Call(task_id="long", function=lambda _: released.wait(5))
        first = Call(task_id="first", function=lambda _: None)
        heavy = Call(task_id="heavy", function=lambda _: None, slots=2, priority=1)
        light = Call(task_id="light", function=lambda _: released.set())
        first >> [heavy, light]
    # When
    result = run(dag, processors=2)
    # Then
    assert result.tasks["long"].result is True
    assert result.tasks["heavy"].state is TaskState.SUCCESS


def test_transient_failures_are_tried_again_without_blocking_the_only_processor() -> None:
    # Given one processor, a task that fails twice with waits of 0.2 s, and one that is ready all the time
    order: list[str] = []

    def flaky(ctx: Context) -> None:
        order.append(f"flaky {ctx.try_number}")
        if ctx.try_number < 3:
            raise ConnectionResetError("reset by peer")

    with DAG("retries") as dag:
        Call(task_id="flaky", function=flaky, retry=Retry(attempts=3, wait=0.2, max_wait=0.2, jitter=0))
        Call(task_id="other", function=lambda _: order.append("other"))
    # When
    result = run(dag, processors=1)
    # Then the other task ran while the flaky one waited
    assert order == ["flaky 1", "other", "flaky 2", "flaky 3"]
    assert result.tasks["flaky"].tries == 3
    assert [row[:2] for row in rows("SELECT try_number, state FROM tries WHERE task_id = 'flaky' ORDER BY 1")] == [
        (1, "failed"),
        (2, "failed"),
        (3, "success"),
    ]


def test_a_failure_ends_its_downstreams_and_the_run_and_is_in_the_log() -> None:
    with DAG("failing") as dag:
        bad = Call(task_id="bad", function=fail(9, ValueError("no [brackets] here\nsecond line")))
        bad >> Call(task_id="after")
        bad >> Call(task_id="cleaner", trigger_rule=TriggerRule.ALL_DONE)
        Call(task_id="free")
    result = run(dag)
    assert result.state is RunState.FAILED
    states = {task_id: task.state.value for task_id, task in result.tasks.items()}
    assert states == {"bad": "failed", "after": "upstream_failed", "cleaner": "success", "free": "success"}
    assert result.tasks["bad"].error == "ValueError: no [brackets] here second line"
    log = Path(f".pydag/logs/failing/{result.run_id}/bad/1.log").read_text()
    assert "Traceback" in log
    assert rows("SELECT state FROM runs") == [("failed",)]


def test_a_timed_out_function_fails_the_task_but_nobody_else_waits_for_its_thread() -> None:
    release = threading.Event()
    with DAG("hanging") as dag:
        Call(task_id="hangs", function=lambda _: release.wait(20), timeout=0.1)
        Call(task_id="other")
    began = time.monotonic()
    result = run(dag)
    release.set()
    assert time.monotonic() - began < 5
    assert result.tasks["hangs"].state is TaskState.FAILED
    assert result.tasks["hangs"].error == "timed out after 0.1 s; raise its timeout if that is too short"
    assert result.tasks["other"].state is TaskState.SUCCESS


def test_a_timed_out_function_is_tried_again_only_when_its_thread_has_returned() -> None:
    inside = threading.Lock()

    def function(ctx: Context) -> int:
        assert inside.acquire(blocking=False), "two tries of one task at once"
        time.sleep(0.3 if ctx.try_number == 1 else 0)
        inside.release()
        return ctx.try_number

    with DAG("late") as dag:
        Call(task_id="late", function=function, timeout=0.1, retry=FAST)
    assert run(dag, processors=4).tasks["late"].result == 2


def test_a_task_that_calls_sys_exit_fails_like_any_other() -> None:
    with DAG("exiting") as dag:
        Call(task_id="exits", function=lambda _: exit(3))
    assert run(dag).tasks["exits"].error == "SystemExit: 3"


def test_secrets_of_the_environment_reach_neither_log_nor_store_nor_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASSWORD", "hunter2-hunter2")

    def function(ctx: Context) -> None:
        ctx.log.info("connecting with %s", os.environ["DB_PASSWORD"])
        raise ValueError(f"cannot log in with {os.environ['DB_PASSWORD']}")

    with DAG("secret") as dag:
        Call(task_id="leaks", function=function)
    result = run(dag)
    assert result.tasks["leaks"].error == "ValueError: cannot log in with [redacted]"
    for file in Path(".pydag").rglob("*"):
        assert not file.is_file() or b"hunter2" not in file.read_bytes(), file


# remote work -------------------------------------------------------------------------------------------------------


def test_a_thousand_deferred_jobs_hold_no_processor(service: Service) -> None:
    with DAG("many") as dag:
        for number in range(300):
            Job(task_id=f"j{number}", seconds=0.5)
    before = threading.active_count()
    threads = 0

    def watch(_: Event) -> None:
        nonlocal threads
        threads = max(threads, threading.active_count() - before)

    result = run(dag, watch, processors=2)
    assert result.state is RunState.SUCCESS
    assert threads <= 2 + 4 + 1  # workers, callers, and who writes the store
    assert result.makespan < 0.5 * 300 / 2 / 5  # far from what two blocked processors would take


def test_the_id_is_durable_before_the_submit_and_fits_every_service(service: Service) -> None:
    seen: list[Any] = []

    class Looks(Job):
        def submit(self, ctx: Context, job_id: str) -> dict[str, Any]:
            seen.extend(rows("SELECT job_id, state, handle FROM tries"))
            return super().submit(ctx, job_id)

    with DAG("durable") as dag:
        Looks(task_id="looks")
    run(dag)
    assert seen == [(service.submits[0], "running", None)]
    assert service.submits[0].startswith("pydag-")
    assert len(service.submits[0]) == 38


@pytest.mark.parametrize("accepted", [True, False])
@pytest.mark.parametrize("fault", [ServiceUnavailable("503"), ConnectionResetError("reset"), TimeoutError("timed out")])
def test_a_submit_without_an_answer_is_sent_again_under_the_same_id(
    service: Service, fault: Exception, accepted: bool
) -> None:
    # Given a service that answers badly twice, having accepted the job or not
    service.faults = [fault, fault]
    service.accept_before_fault = accepted
    with DAG("resend") as dag:
        Job(task_id="job")
    # When
    result = run(dag)
    # Then it was one try and one job
    assert result.tasks["job"].state is TaskState.SUCCESS
    assert result.tasks["job"].tries == 1
    assert len(service.submits) == 3
    assert len(service.jobs) == 1


def test_a_definite_rejection_is_no_resend_and_by_default_no_retry(service: Service) -> None:
    service.faults = [BadRequest("no such field")]
    service.accept_before_fault = False
    with DAG("rejected", retry=FAST) as dag:
        Job(task_id="job")
    result = run(dag)
    assert result.tasks["job"].error == "BadRequest: 400 no such field"
    assert len(service.submits) == 1


def test_a_job_that_failed_transiently_is_a_new_try_under_a_new_id(service: Service) -> None:
    with DAG("backend", retry=FAST) as dag:
        Job(task_id="job", outcomes=(Failed(reason="backendError", transient=True),))
    result = run(dag)
    assert result.tasks["job"].tries == 2
    assert len(set(service.submits)) == 2


def test_a_job_that_failed_for_good_is_not_tried_again(service: Service) -> None:
    with DAG("invalid", retry=FAST) as dag:
        Job(task_id="job", outcomes=(Failed(reason="invalidQuery: no such column"),))
    result = run(dag)
    assert result.tasks["job"].error == "invalidQuery: no such column"
    assert len(service.submits) == 1


@pytest.mark.parametrize(("idempotent", "tries"), [(False, 1), (True, 2)])
def test_a_partial_job_is_tried_again_only_if_it_is_idempotent(service: Service, idempotent: bool, tries: int) -> None:
    with DAG("partial", retry=FAST) as dag:
        lost = Failed(reason="worker lost", transient=True)
        Job(task_id="job", partial=True, idempotent=idempotent, outcomes=(lost,))
    task = run(dag).tasks["job"]
    assert task.tries == tries
    assert (task.error is None) == idempotent
    if not idempotent:
        assert "set idempotent=True" in str(task.error)


def test_a_job_that_hangs_is_cut_by_its_timeout_and_cancelled(service: Service) -> None:
    with DAG("hanging_job") as dag:
        Job(task_id="job", seconds=60, timeout=0.2)
    result = run(dag)
    assert "timed out after 0.2 s" in str(result.tasks["job"].error)
    assert service.cancelled == set(service.jobs)


def test_a_job_that_succeeds_although_it_was_told_to_stop_has_succeeded(service: Service) -> None:
    class Deaf(Job):
        def cancel(self, ctx: Context, handle: Mapping[str, Any]) -> None:
            pass

    with DAG("deaf") as dag:
        Deaf(task_id="job", seconds=0.3, timeout=0.1)
    assert run(dag).tasks["job"].state is TaskState.SUCCESS


def test_a_poll_that_cannot_be_answered_is_asked_again_and_nothing_is_submitted_twice(service: Service) -> None:
    class Flaky(Job):
        polls: ClassVar[list[int]] = []

        def poll(self, ctx: Context, handle: Mapping[str, Any]) -> Status:
            self.polls.append(1)
            if len(self.polls) < 3:
                raise ServiceUnavailable("503")
            return super().poll(ctx, handle)

    with DAG("unseen") as dag:
        Flaky(task_id="job")
    assert run(dag).tasks["job"].state is TaskState.SUCCESS
    assert len(service.submits) == 1


def test_a_job_that_cannot_be_followed_is_left_to_a_later_look_and_starts_no_second_one(service: Service) -> None:
    class Forbidden(Job):
        def poll(self, ctx: Context, handle: Mapping[str, Any]) -> Status:
            raise BadRequest("not allowed")

    with DAG("unfollowed", retry=Retry(attempts=3, wait=0, on=(Exception,))) as dag:
        Forbidden(task_id="job")
    with pytest.raises(JobUnsettled, match="of task 'job', which was told to stop but may still run: 400 not allowed"):
        run(dag)
    assert len(service.submits) == 1
    assert service.cancelled == set(service.jobs)


# signals -----------------------------------------------------------------------------------------------------------


def send(number: int, when: TaskState, *, of: str | None = None) -> Callable[[Event], None]:
    """Send this process a signal when a task first reaches a state."""
    sent: list[Event] = []

    def listener(event: Event) -> None:
        if isinstance(event, TaskChanged) and event.state is when and of in (None, event.task_id) and not sent:
            sent.append(event)
            os.kill(os.getpid(), number)

    return listener


def test_ctrl_c_cancels_the_jobs_and_what_has_not_started(service: Service) -> None:
    with DAG("interrupted") as dag:
        Job(task_id="job", seconds=60) >> Job(task_id="after")
    result = run(dag, send(signal.SIGINT, TaskState.DEFERRED))
    assert result.state is RunState.CANCELLED
    assert result.signal == signal.SIGINT
    assert {task.state for task in result.tasks.values()} == {TaskState.CANCELLED}
    assert service.cancelled == set(service.jobs)
    assert rows("SELECT state FROM tasks UNION SELECT state FROM tries") == [("cancelled",)]


def test_ctrl_c_ends_a_task_that_waits_for_its_next_try(service: Service) -> None:
    with DAG("waiting", retry=Retry(attempts=3, wait=60, jitter=0)) as dag:
        Call(task_id="flaky", function=fail(1, ConnectionResetError("reset")))
    result = run(dag, send(signal.SIGINT, TaskState.UP_FOR_RETRY))
    assert result.tasks["flaky"].state is TaskState.CANCELLED


def test_sigterm_leaves_the_jobs_running(service: Service) -> None:
    with DAG("terminated") as dag:
        Job(task_id="job", seconds=60)
    result = run(dag, send(signal.SIGTERM, TaskState.DEFERRED))
    assert result.state is RunState.INTERRUPTED
    assert result.tasks["job"].state is TaskState.DEFERRED
    assert not service.cancelled
    assert rows("SELECT state, handle IS NOT NULL FROM tries") == [("deferred", 1)]


def test_sigterm_cancels_where_the_dag_says_so(service: Service) -> None:
    with DAG("terminated", on_sigterm="cancel") as dag:
        Job(task_id="job", seconds=60)
    assert run(dag, send(signal.SIGTERM, TaskState.DEFERRED)).state is RunState.CANCELLED
    assert service.cancelled == set(service.jobs)


def test_a_second_ctrl_c_leaves_at_once(service: Service) -> None:
    class Deaf(Job):
        def cancel(self, ctx: Context, handle: Mapping[str, Any]) -> None:
            os.kill(os.getpid(), signal.SIGINT)

    with DAG("impatient") as dag:
        Deaf(task_id="job", seconds=60)
    assert run(dag, send(signal.SIGINT, TaskState.DEFERRED)).state is RunState.INTERRUPTED


def test_signal_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with DAG("tidy") as dag:
        Call(task_id="nothing")
    run(dag)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


# events ------------------------------------------------------------------------------------------------------------


def test_the_run_id_is_told_and_stored_before_anything_happens() -> None:
    events: list[Event] = []

    def listener(event: Event) -> None:
        if not events:
            assert isinstance(event, RunStarted)
            assert rows("SELECT run_id, state FROM runs") == [(event.run_id, "running")]
        events.append(event)

    with DAG("told") as dag:
        Call(task_id="one")
    run(dag, listener)
    states = [event.state for event in events if isinstance(event, TaskChanged)]
    assert states == [TaskState.RUNNING, TaskState.SUCCESS]


def test_task_errors_say_only_what_they_say() -> None:
    with DAG("said") as dag:
        Call(task_id="t", function=fail(1, TaskError("row 7 is malformed", hint="mend it")))
    assert run(dag).tasks["t"].error == "row 7 is malformed; mend it"


# what a review found ------------------------------------------------------------------------------------------------


def test_a_refusal_after_an_unanswered_submit_is_not_taken_for_a_rejection(service: Service) -> None:
    # Given a submit that was accepted but answered 503, and a re-send that is refused
    service.faults = [ServiceUnavailable("503"), BadRequest("no permission any more")]
    with DAG("unknown", retry=Retry(attempts=3, wait=0, jitter=0, on=(Exception,))) as dag:
        Job(task_id="job")
    # When
    with pytest.raises(JobUnsettled, match=r"cannot tell whether job .* of task 'job' was accepted: 400 no permission"):
        run(dag)
    # Then no second job is started
    assert len(set(service.submits)) == len(service.jobs) == 1


@pytest.mark.parametrize(("broken", "said"), [("handle", "cannot tell whether job"), ("atomic", "cannot follow job")])
def test_an_operator_that_fails_after_its_submit_starts_no_second_job(service: Service, broken: str, said: str) -> None:
    class Broken(Job):
        def submit(self, ctx: Context, job_id: str) -> dict[str, Any]:
            return super().submit(ctx, job_id) | ({"set": {1}} if broken == "handle" else {})

        def atomic(self, ctx: Context) -> bool:
            raise LookupError("a bug")

    with DAG("broken", retry=Retry(attempts=3, wait=0, jitter=0, on=(Exception,))) as dag:
        Broken(task_id="job", outcomes=(Failed(reason="busy", transient=True),))
    with pytest.raises(JobUnsettled, match=said):
        run(dag)
    assert len(set(service.submits)) == len(service.jobs) == 1


@pytest.mark.parametrize("fault", [None, ServiceUnavailable("503")])
def test_nothing_that_was_told_to_stop_is_reported_as_success(service: Service, fault: Exception | None) -> None:
    class Slow(Job):
        faults: ClassVar[list[Exception | None]] = [fault]

        def cancel(self, ctx: Context, handle: Mapping[str, Any]) -> None:
            time.sleep(0.2)  # in which the job gets done
            if self.faults and (error := self.faults.pop()):
                raise error
            super().cancel(ctx, handle)

    with DAG("cluster") as dag:
        Slow(task_id="create", seconds=0.25, timeout=0.15) >> Call(task_id="uses")
    result = run(dag)
    if result.tasks["create"].state is TaskState.SUCCESS:
        time.sleep(0.5)
        assert not service.cancelled
    else:
        assert service.cancelled == set(service.jobs)
        assert result.tasks["uses"].state is TaskState.UPSTREAM_FAILED


class Waits(Job):
    """A submit that sends nothing, as something has to end first."""

    def submit(self, ctx: Context, job_id: str) -> dict[str, Any]:
        self.cloud.submits.append(job_id)
        raise NotYet("the old cluster is being deleted")


def test_a_job_that_ends_while_the_service_cannot_be_told_to_stop_it_is_seen(service: Service) -> None:
    class Deaf(Job):
        def cancel(self, ctx: Context, handle: Mapping[str, Any]) -> None:
            raise ServiceUnavailable("try again later")

    with DAG("deaf") as dag:
        Deaf(task_id="job", seconds=0.5, timeout=0.2, outcomes=(Failed(reason="out of memory"),))
    assert "timed out after 0.2 s" in str(run(dag).tasks["job"].error)


def test_ctrl_c_while_a_timeout_has_not_told_the_job_to_stop_yet_tells_it(service: Service) -> None:
    # Given a job that is timed out while the service is slow to tell of it
    answer = threading.Event()

    class Slow(Job):
        def poll(self, ctx: Context, handle: Mapping[str, Any]) -> Status:
            answer.wait(10)
            return super().poll(ctx, handle)

    with DAG("slow") as dag:
        Slow(task_id="job", seconds=60, timeout=0.2)
    told: list[Event] = []

    def listener(event: Event) -> None:
        if isinstance(event, TaskChanged) and event.detail == "cancelling its job":
            told.append(event)
            if len(told) == 1:
                os.kill(os.getpid(), signal.SIGINT)
            else:
                answer.set()

    # When, then
    assert run(dag, listener).state is RunState.CANCELLED
    assert service.cancelled == set(service.jobs)


def test_ctrl_c_at_the_moment_when_tasks_may_start_starts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given that the signal is there first, and what was prepared before anybody looks
    prepare = Run._prepare

    def slowly(run: Run) -> None:
        prepare(run)
        time.sleep(0.2)

    monkeypatch.setattr(Run, "_prepare", slowly)
    ran: list[Context] = []
    with DAG("early") as dag:
        Call(task_id="call", function=ran.append)

    def interrupt(event: Event) -> None:
        if isinstance(event, RunStarted):
            os.kill(os.getpid(), signal.SIGINT)

    # When, then
    assert run(dag, interrupt).state is RunState.CANCELLED
    assert ran == []


def test_ctrl_c_while_nothing_was_sent_starts_nothing(service: Service) -> None:
    with DAG("not_yet") as dag:
        Waits(task_id="create")

    def listener(event: Event) -> None:
        if isinstance(event, TaskChanged) and "sends the same job again" in event.detail and len(service.submits) == 1:
            os.kill(os.getpid(), signal.SIGINT)

    result = run(dag, listener)
    assert result.tasks["create"].state is TaskState.CANCELLED
    assert not service.jobs
    assert result.makespan < 5


def test_a_timeout_while_nothing_was_sent_ends_the_try(service: Service) -> None:
    with DAG("not_yet") as dag:
        Waits(task_id="create", timeout=0.3)
    result = run(dag)
    assert "timed out after 0.3 s" in str(result.tasks["create"].error)
    assert result.makespan < 5


class Prepares(Clients):
    """A target that takes a while to be reached."""

    def check(self) -> None:
        os.kill(os.getpid(), self.number)
        time.sleep(0.3)

    number: int = signal.SIGINT


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_the_first_task_starts_nothing(service: Service, number: int) -> None:
    with DAG("early") as dag:
        Job(task_id="job")
        Call(task_id="call")
    made = plan(dag, load(Path.cwd()))
    clients = Prepares(made.clients.target)
    clients.number = number
    result = execute(replace(made, context=replace(made.context, clients=clients)))
    assert result.signal == number
    assert not service.submits
    assert {task.tries for task in result.tasks.values()} == {0}


def test_a_target_that_cannot_be_reached_ends_the_run_as_failed(service: Service) -> None:
    class Unreachable(Clients):
        def check(self) -> None:
            raise TargetUnreachable("nobody there")

    with DAG("unreachable") as dag:
        Job(task_id="job")
    made = plan(dag, load(Path.cwd()))
    with pytest.raises(TargetUnreachable):
        execute(replace(made, context=replace(made.context, clients=Unreachable(made.clients.target))))
    assert rows("SELECT state, error FROM runs") == [("failed", "nobody there")]


@pytest.mark.parametrize("value", [{1, 2}, float("nan"), object(), {"deep": [b"bytes"]}])
def test_a_result_that_is_not_json_fails_the_task_and_not_the_run(value: object) -> None:
    with DAG("values") as dag:
        Call(task_id="bad", function=lambda _: value)
        Call(task_id="good", function=lambda _: {"table": Table("d.t")})
    result = run(dag)
    assert "returned a value that is not JSON" in str(result.tasks["bad"].error)
    assert result.tasks["good"].result == {"table": {"table": "d.t", "shared": False}}


def test_an_error_that_cannot_be_written_down_is_written_down() -> None:
    with DAG("surrogate") as dag:
        Call(task_id="bad", function=fail(9, ValueError("file \udcff")))
    assert run(dag).tasks["bad"].error == "ValueError: file \\udcff"


def test_a_listener_that_fails_is_dropped_and_the_others_are_told() -> None:
    told: list[Event] = []

    def broken(_: Event) -> None:
        raise RuntimeError("no terminal")

    with DAG("listened") as dag:
        Call(task_id="t")
    assert run(dag, broken, told.append).state is RunState.SUCCESS
    warnings = [event.message for event in told if isinstance(event, RunWarned)]
    assert len(warnings) == 1
    assert "RuntimeError: no terminal" in warnings[0]


def test_secrets_reach_neither_definition_nor_result_nor_handle(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB_PASSWORD", "hunter2-hunter2")
    with DAG("secret", params={"where": "x"}) as dag:
        Call(task_id="returns", function=lambda _: {"url": os.environ["DB_PASSWORD"]})
        Job(task_id="job", outcomes=(Failed(reason="no access for hunter2-hunter2"),))
    made = plan(dag, load(Path.cwd()), params={"where": "hunter2-hunter2"})
    execute(made)
    for file in Path(".pydag").rglob("*"):
        assert not file.is_file() or b"hunter2" not in file.read_bytes(), file


def test_the_end_of_a_try_and_of_its_task_are_one(service: Service) -> None:
    # Given a listener that, the moment a task is told to have ended, looks as another process would
    seen: list[Any] = []

    def look(event: Event) -> None:
        if isinstance(event, RunEnded):
            seen.extend(rows("SELECT state, result FROM tries"))

    with DAG("atomic") as dag:
        Call(task_id="t")
    run(dag, look)
    assert seen == [("success", "null")]


# teardowns ---------------------------------------------------------------------------------------------------------


def test_a_teardown_runs_after_a_failure_with_its_own_retries_and_masks_nothing(service: Service) -> None:
    lost = Failed(reason="worker lost", transient=True)
    with DAG("cleaned", retry=FAST) as dag:
        setup = Job(task_id="setup")
        work = Call(task_id="work", function=fail(9, ValueError("bad row")))
        clean = Job(task_id="clean", teardown_of=setup, outcomes=(lost, lost))
        setup >> work >> clean
    result = run(dag)
    assert {name: task.state.value for name, task in result.tasks.items()} == {
        "setup": "success",
        "work": "failed",
        "clean": "success",
    }
    assert result.tasks["clean"].tries == 3
    assert result.state is RunState.FAILED


def test_a_teardown_that_fails_is_told_and_fails_nothing() -> None:
    told: list[Event] = []
    with DAG("unclean") as dag:
        setup = Call(task_id="setup")
        setup >> Call(task_id="work")
        Call(task_id="clean", teardown_of=setup, function=fail(9, TaskError("is locked")))
    result = run(dag, told.append)
    assert result.raise_for_state().tasks["clean"].state is TaskState.FAILED
    warnings = [(event.task_id, event.message) for event in told if isinstance(event, RunWarned) and event.task_id]
    assert warnings == [("clean", "teardown 'clean' failed, which does not fail the run: is locked")]


def test_what_failed_is_not_hidden_behind_a_teardown_that_failed_before() -> None:
    with DAG("both") as dag:
        setup = Call(task_id="setup")
        clean = Call(task_id="clean", teardown_of=setup, function=fail(9, TaskError("is locked")))
        clean >> Call(task_id="work", trigger_rule=TriggerRule.ALL_DONE, function=fail(9, TaskError("bad row")))
    with pytest.raises(RunFailed, match="failed: task 'work': bad row"):
        run(dag).raise_for_state()


def test_ctrl_c_cancels_the_jobs_and_then_runs_the_teardowns_of_what_was_started(service: Service) -> None:
    order: list[str] = []

    def listener(event: Event) -> None:
        if isinstance(event, TaskChanged) and event.state.final:
            order.append(f"{event.task_id} {event.state.value}")

    with DAG("interrupted") as dag:
        setup, other = Job(task_id="setup"), Job(task_id="other")
        work = Job(task_id="work", seconds=60, outcomes=())
        never = Job(task_id="never")
        setup >> work >> never
        work >> other
        never >> Job(task_id="clean", teardown_of=[setup])
        Job(task_id="clean_other", teardown_of=other)
    interrupt = send(signal.SIGINT, TaskState.DEFERRED, of="work")
    result = run(dag, listener, interrupt)
    assert result.state is RunState.CANCELLED
    assert order[0] == "setup success"
    assert order.index("work cancelled") < order.index("clean success") == len(order) - 1
    assert set(order[1:-1]) == {"work cancelled", "never cancelled", "other cancelled", "clean_other cancelled"}
    assert len(service.cancelled) == 1


def test_ctrl_c_leaves_a_teardown_that_is_running_alone(service: Service) -> None:
    with DAG("cleaning", retry=FAST) as dag:
        lost = Failed(reason="worker lost", transient=True)
        Job(task_id="clean", teardown_of=Call(task_id="setup"), seconds=0.2, outcomes=(lost,))
    result = run(dag, send(signal.SIGINT, TaskState.DEFERRED, of="clean"))
    assert result.state is RunState.CANCELLED
    assert (result.tasks["clean"].state, result.tasks["clean"].tries) == (TaskState.SUCCESS, 2)
    assert not service.cancelled


def test_ctrl_c_leaves_a_teardown_that_waits_for_its_next_try_alone() -> None:
    with DAG("cleaning", retry=Retry(attempts=2, wait=0.1, jitter=0)) as dag:
        Call(task_id="clean", teardown_of=Call(task_id="setup"), function=fail(1, OSError("busy")))
    result = run(dag, send(signal.SIGINT, TaskState.UP_FOR_RETRY, of="clean"))
    assert result.tasks["clean"].state is TaskState.SUCCESS


def test_a_second_ctrl_c_does_not_wait_for_teardowns(service: Service) -> None:
    with DAG("impatient") as dag:
        setup = Job(task_id="setup")
        setup >> Job(task_id="work", seconds=60) >> Job(task_id="clean", teardown_of=setup, seconds=60)
    first, second = (send(signal.SIGINT, TaskState.DEFERRED, of=name) for name in ("work", "clean"))
    result = run(dag, first, second)
    assert result.state is RunState.INTERRUPTED
    assert result.tasks["work"].state is TaskState.CANCELLED
    assert result.tasks["clean"].state is TaskState.DEFERRED
    assert len(service.cancelled) == 1


def test_a_function_that_does_not_return_keeps_no_teardown_from_the_only_processor() -> None:
    release = threading.Event()
    with DAG("stuck") as dag:
        setup = Call(task_id="setup")
        work = Call(task_id="work", function=lambda _: release.wait(20))
        setup >> work >> Call(task_id="clean", teardown_of=setup, function=lambda _: release.is_set())
    result = run(dag, send(signal.SIGINT, TaskState.RUNNING, of="work"), processors=1)
    release.set()
    assert result.tasks["work"].state is TaskState.CANCELLED
    assert result.tasks["clean"].result is False


# values known at run time ------------------------------------------------------------------------------------------


class Sized(Job):
    """A job whose size may be known at run time only."""

    size: Param[int] = 0

    def submit(self, ctx: Context, job_id: str) -> dict[str, Any]:
        return {**super().submit(ctx, job_id), "size": self.size}

    def result(self, ctx: Context, handle: Mapping[str, Any]) -> Any:
        return {"size": self.size, "handle": handle["size"]}


def test_a_job_is_submitted_with_what_its_upstream_returned(service: Service) -> None:
    with DAG("passed_on") as dag:
        count = Call(task_id="count", function=lambda _: {"rows": [3, "4"]})
        Sized(task_id="job", size=count.output["rows"][1])
    assert run(dag).tasks["job"].result == {"size": 4, "handle": 4}
    (definition,) = [json.loads(row[0]) for row in rows("SELECT definition FROM runs")]
    assert definition["upstream"]["job"] == ["count"]


@pytest.mark.parametrize(("returned", "said"), [("many", "got 'many'"), (None, "nothing came of 'count'")])
def test_a_value_that_does_not_fit_sends_nothing_and_is_not_tried_again(
    service: Service, returned: Any, said: str
) -> None:
    with DAG("misfit", retry=FAST) as dag:
        Sized(task_id="job", size=Call(task_id="count", function=lambda _: returned))
    result = run(dag)
    assert "task 'job': field 'size': input should be a valid integer" in str(result.tasks["job"].error)
    assert said in str(result.tasks["job"].error)
    assert (result.tasks["job"].tries, service.submits) == (1, [])


@dataclass(frozen=True)
class Flaky(RuntimeValue):
    """A value that is looked up over a line that breaks now and then."""

    lookups: ClassVar[list[int]] = []

    def resolve(self, ctx: Context) -> int:
        self.lookups.append(ctx.try_number)
        if len(self.lookups) < 3:
            raise ConnectionResetError("reset")
        return len(self.lookups)

    def to_json(self) -> dict[str, str]:
        return {"secret": "flaky"}


def test_a_value_that_cannot_be_looked_up_now_is_looked_up_later_and_once_for_all_sends(service: Service) -> None:
    # Given a value that comes with the third lookup, and a submit whose answer is lost
    Flaky.lookups.clear()
    service.faults = [ServiceUnavailable("503")]
    with DAG("flaky") as dag:
        Sized(task_id="job", size=Flaky())
    result = run(dag)
    # Then it was one try, and what was sent again is the same
    assert result.tasks["job"].result == {"size": 3, "handle": 3}
    assert (result.tasks["job"].tries, Flaky.lookups) == (1, [1, 1, 1])
    assert len(service.submits) == 2
    assert len(service.jobs) == 1


def test_each_try_looks_its_values_up_anew(service: Service) -> None:
    Flaky.lookups[:] = [0, 0]
    with DAG("anew", retry=FAST) as dag:
        Sized(task_id="job", size=Flaky(), outcomes=(Failed(reason="lost", transient=True),))
    assert run(dag).tasks["job"].result == {"size": 4, "handle": 4}


def test_a_python_task_that_timed_out_is_not_run_twice_at_once() -> None:
    inside = threading.Lock()

    @task(timeout=0.1, retry=FAST)
    def slow(context: Context) -> int:
        assert inside.acquire(blocking=False), "two tries of one task at once"
        time.sleep(0.3 if context.try_number == 1 else 0)
        inside.release()
        return context.try_number

    with DAG("late") as dag:
        slow()
    assert run(dag, processors=4).tasks["slow"].result == 2


# only a part -------------------------------------------------------------------------------------------------------


def part(dag: DAG, **chosen: list[str]) -> RunResult:
    return execute(plan(dag, load(Path.cwd()), **chosen))  # type: ignore[arg-type]


def test_a_part_of_a_dag_takes_recorded_outputs_for_those_of_tasks_that_it_leaves_out() -> None:
    with DAG("parts") as dag:
        count = Call(task_id="count", function=lambda _: {"rows": 7})
        take = task(task_id="take")(lambda rows: rows)(count.output["rows"])
        take >> Call(task_id="after")
    with pytest.raises(DefinitionError, match=r"task 'take': needs the output of 'count', .* never succeeded .*--from"):
        part(dag, only=["take"])
    run(dag)
    result = part(dag, only=["take"])
    assert (result.state, list(result.tasks), result.tasks["take"].result) == (RunState.SUCCESS, ["take"], 7)
    assert list(part(dag, start_from=["take"]).tasks) == ["take", "after"]


def test_which_run_an_output_is_taken_from_is_told() -> None:
    with DAG("parts") as dag:
        count = Call(task_id="count", function=lambda _: 7)
        task(task_id="take")(lambda rows: rows)(count.output)
    earlier = run(dag)
    events: list[Event] = []
    execute(plan(dag, load(Path.cwd()), only=["take"]), listeners=[events.append])
    assert [event.message for event in events if isinstance(event, RunWarned)] == [
        f"the output of 'count', which is not in this run, is that of run {earlier.run_id}"
    ]


def test_a_dag_runs_in_part_from_python_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYDAG_HOME", str(tmp_path / "home"))
    with DAG("parts") as dag:
        Call(task_id="first") >> Call(task_id="second") >> Call(task_id="third")
    assert list(dag.run(only=["first", "third"]).tasks) == ["first", "third"]
    assert list(dag.run(start_from=["second"]).tasks) == ["second", "third"]
    assert list(dag.run(only="first", start_from="third").tasks) == ["first", "third"]
    with pytest.raises(DefinitionError, match="no task 'fourth' in the DAG"):
        dag.run(only=["fourth"])


def test_a_branch_may_pick_what_a_run_leaves_out() -> None:
    with DAG("parts") as dag:
        branch = task.branch(task_id="branch")(lambda: ["b"])()
        branch >> [Call(task_id="a"), Call(task_id="b")]
    result = part(dag, only=["branch", "a"])
    assert {name: done.state.value for name, done in result.tasks.items()} == {"branch": "success", "a": "skipped"}


def test_a_teardown_alone_runs_like_any_other_task() -> None:
    with DAG("parts") as dag:
        Call(task_id="clean", teardown_of=Call(task_id="setup"), function=fail(1, TaskError("is locked")))
    result = part(dag, only=["clean"])
    assert (result.state, result.tasks["clean"].error) == (RunState.FAILED, "is locked")


# the metadata database -----------------------------------------------------------------------------------------------


def many(number: int) -> DAG:
    with DAG("many") as dag:
        for place in range(number):
            Call(task_id=f"t{place}")
    return dag


def test_a_slow_disk_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a disk that is slower than the tasks
    waited: list[int] = []
    write = Store._write

    def slowly(store: Store, changes: Sequence[Change]) -> None:
        waited.append(len(changes))
        time.sleep(0.01)
        write(store, changes)

    monkeypatch.setattr(journal, "_MANY", 20)
    monkeypatch.setattr(Store, "_write", slowly)
    # Then no more waits to be written than what is allowed, and what runs on the processors
    assert run(many(300), processors=4).state is RunState.SUCCESS
    assert max(waited) <= 20 + 4 * 3
    assert rows("SELECT count(*), count(result) FROM tries") == [(300, 300)]


def test_a_disk_that_is_full_stops_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    write, full = Store._write, threading.Event()

    def until_full(store: Store, changes: Sequence[Change]) -> None:
        if any(change is Batch.end_with_try for change, _ in changes):
            full.set()
            raise StoreError("database or disk is full")
        write(store, changes)

    monkeypatch.setattr(Store, "_write", until_full)
    with pytest.raises(StoreError, match="full"):
        run(many(2000))
    assert full.is_set()
    assert rows("SELECT state FROM runs") == [("running",)]
    assert rows("SELECT count(result) FROM tries") == [(0,)]
