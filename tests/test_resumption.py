"""Runs that go on: after their process was gone, and after they had failed."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pydag_gcp import preparation
from pydag_gcp.dag import DAG
from pydag_gcp.errors import DefinitionError, RunFailed, RunHeld, SettingsError, StoreError
from pydag_gcp.events import Event, RunStarted, TaskChanged
from pydag_gcp.executor import execute
from pydag_gcp.function import task
from pydag_gcp.operator import Context, Failed
from pydag_gcp.planner import Plan, plan
from pydag_gcp.resources import Cluster, Resource
from pydag_gcp.result import RunResult
from pydag_gcp.resumption import INTERRUPTED, Past, load_past, plan_again, refuse_changes, run_again
from pydag_gcp.retry import Retry
from pydag_gcp.reuse import Reuse
from pydag_gcp.settings import load
from pydag_gcp.states import RunState, TaskState
from pydag_gcp.store import Store
from tests.service import Call, Job, Service

pytestmark = pytest.mark.usefixtures("project")


@pytest.fixture
def service(listening: int) -> Service:
    Job.cloud = Service()
    return Job.cloud


def detached_at(task_id: str, state: TaskState = TaskState.DEFERRED) -> Callable[[Event], None]:
    """A listener that has the process told to stop when a task comes to a state: it leaves the jobs running."""

    def listener(event: Event) -> None:
        if isinstance(event, TaskChanged) and (event.task_id, event.state) == (task_id, state):
            os.kill(os.getpid(), signal.SIGTERM)

    return listener


def run(dag: DAG, *listeners: Callable[[Event], None], **options: Any) -> RunResult:
    return execute(plan(dag, load(Path.cwd()), **options), listeners=listeners)


def stored() -> Store:
    return Store(load(Path.cwd()).store_url)


def past_of(run_id: str) -> Past:
    with stored() as store:
        return load_past(store, run_id)


def resume(
    dag: DAG, run_id: str, *listeners: Callable[[Event], None], cancel: bool = False, retry_failed: bool = False
) -> RunResult:
    """What ``pydag resume``, ``cancel`` and ``run --retry-failed`` do."""
    with stored() as store:
        row = store.run(run_id)
    assert row is not None
    planned, past = plan_again(dag, load(Path.cwd()), row), past_of(run_id)
    if retry_failed:
        past = run_again(past, planned)
    elif not cancel:
        refuse_changes(planned, past)
    return execute(planned, listeners=listeners, past=past, cancel=cancel)


def change_store(statement: str) -> None:
    """Make the store look as a kill at that point leaves it."""
    with closing(sqlite3.connect(".pydag/pydag.db")) as connection:
        connection.execute(statement)
        connection.commit()


def one_job(**fields: Any) -> DAG:
    with DAG("one_job", retry=Retry(attempts=2, wait=0, jitter=0)) as dag:
        first = Call(task_id="first", function=lambda _: {"n": 1})
        first >> Job(task_id="job", **fields) >> Call(task_id="last", function=lambda ctx: ctx.output_of("first"))
    return dag


# resume ------------------------------------------------------------------------------------------------------------


def test_tries_before_it_is_tried_again_do_not_count_however_it_goes_on(service: Service) -> None:
    def dag() -> DAG:
        with DAG("busy", retry=Retry(attempts=3, wait=0, jitter=0)) as dag:
            Job(task_id="job", outcomes=(Failed(reason="busy", transient=True),) * 5)
        return dag

    # Given a run that has used up its tries, is tried again, and left
    failed = run(dag())
    assert failed.tasks["job"].tries == 3
    left = resume(dag(), failed.run_id, detached_at("job"), retry_failed=True)
    assert left.state is RunState.INTERRUPTED
    # When it goes on, then it has three more
    result = resume(dag(), failed.run_id)
    assert (result.state, result.tasks["job"].tries) == (RunState.SUCCESS, 6)


def test_what_is_tried_again_is_recorded_as_what_it_is_now(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a run that failed before anything ended
    def refuse(_: Plan) -> None:
        raise DefinitionError("no such file")

    ids: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(preparation, "fetch", refuse)
        with pytest.raises(DefinitionError):
            run(one_job(), lambda event: ids.append(event.run_id))
    # When it is tried again after an edit, and left, and goes on
    left = resume(one_job(partial=True), ids[0], detached_at("job"), retry_failed=True)
    assert left.state is RunState.INTERRUPTED
    # Then that is no change
    assert resume(one_job(partial=True), ids[0]).state is RunState.SUCCESS


def many_jobs(limits: dict[str, int]) -> DAG:
    """Six jobs, the first three of which are more important."""
    with DAG("many_jobs", limits=limits) as dag:
        for number in range(6):
            Job(task_id=f"job{number}", seconds=0.05 if number > 2 else 0.3, priority=int(number < 3))
    return dag


def test_jobs_that_are_taken_up_count_among_those_in_flight(service: Service) -> None:
    # Given a run that was left with three jobs in flight, and may have one now
    flying: set[str] = set()

    def detach(event: Event) -> None:
        if isinstance(event, TaskChanged) and event.state is TaskState.DEFERRED:
            flying.add(event.task_id)
            if len(flying) == 3:
                os.kill(os.getpid(), signal.SIGTERM)

    left = run(many_jobs({"job": 3}), detach)
    assert (left.state, flying) == (RunState.INTERRUPTED, {"job0", "job1", "job2"})
    # When it goes on
    begun: list[set[str]] = []

    def count(event: Event) -> None:
        if isinstance(event, TaskChanged) and event.state is TaskState.RUNNING:
            flying.add(event.task_id)
            begun.append(set(flying))
        elif isinstance(event, TaskChanged) and event.state.final:
            flying.remove(event.task_id)

    resumed = resume(many_jobs({"job": 1}), left.run_id, count)
    # Then the others begin one after another, once all three are over
    assert resumed.state is RunState.SUCCESS
    assert [len(jobs) for jobs in begun] == [1, 1, 1]
    assert len(service.submits) == 6


def test_a_run_goes_on_where_it_stopped_and_submits_no_job_twice(service: Service) -> None:
    # Given a run whose process left while a job was running
    left = run(one_job(seconds=60), detached_at("job"))
    assert left.state is RunState.INTERRUPTED
    # When
    service.end_jobs()
    seen: list[Event] = []
    result = resume(one_job(seconds=60), left.run_id, seen.append)
    # Then
    assert result.state is RunState.SUCCESS
    assert (result.run_id, result.started) == (left.run_id, left.started)
    assert len(service.submits) == 1
    assert {name: task.tries for name, task in result.tasks.items()} == {"first": 1, "job": 1, "last": 1}
    assert result.tasks["last"].result == {"n": 1}
    started = next(event for event in seen if isinstance(event, RunStarted))
    assert (started.resumed, started.ended) == (True, {"first": TaskState.SUCCESS})
    with stored() as store:
        assert store.open_runs("one_job", "local") == []
        assert [task["task_id"] for task in store.tasks(left.run_id)] == ["first", "job", "last"]


def test_a_job_of_which_nobody_knows_whether_it_was_accepted_is_sent_again_under_the_same_id(service: Service) -> None:
    left = run(one_job(seconds=60), detached_at("job"))
    change_store("UPDATE tries SET handle = NULL, state = 'running', submitted = NULL WHERE task_id = 'job'")
    service.end_jobs()
    result = resume(one_job(seconds=60), left.run_id)
    assert result.state is RunState.SUCCESS
    assert len(service.submits) == 2
    assert len(service.jobs) == 1
    assert result.tasks["job"].tries == 1


def test_the_newest_try_is_the_one_with_the_highest_number_whatever_the_clock_said(service: Service) -> None:
    left = run(one_job(seconds=60), detached_at("job"))
    columns = "run_id, task_id, state, job_id, handle, started"
    old = columns.replace("started", "'2020-01-01T00:00:00+00:00'")
    change_store(f"INSERT INTO tries (try_number, {columns}) SELECT 2, {old} FROM tries WHERE task_id = 'job'")
    change_store("UPDATE tries SET state = 'failed', ended = started WHERE task_id = 'job' AND try_number = 1")
    assert past_of(left.run_id).tries["job"] == past_of(left.run_id).open["job"].number == 2
    assert not past_of(left.run_id).open["job"].over


@pytest.mark.parametrize("part", ["password", "user"])
def test_an_output_that_held_a_secret_is_not_passed_on_as_something_else(service: Service, part: str) -> None:
    took: list[str] = []

    def dag() -> DAG:
        @task
        def make() -> dict[str, str]:
            return {"password": "correct-horse", "user": "anna"}

        @task
        def take(value: str) -> None:
            took.append(value)

        with DAG("secret") as dag:
            made = make()
            made >> Job(task_id="slow", seconds=60) >> take(made.output[part])
        return dag

    left = run(dag(), detached_at("slow"))
    service.end_jobs()
    if part == "user":
        assert resume(dag(), left.run_id).state is RunState.SUCCESS
        assert took == ["anna"]
        return
    with pytest.raises(RunFailed, match=r"task 'take' takes .*, which held a secret and is not recorded"):
        resume(dag(), left.run_id)
    assert took == []


def test_what_was_set_up_is_torn_down_also_if_a_run_that_goes_on_is_cancelled(service: Service) -> None:
    # Given a run that was left when nobody needed its service any more
    class Starter(Job):
        def reads(self, ctx: Context) -> frozenset[Resource]:
            return frozenset()

        def writes(self, ctx: Context) -> frozenset[Resource]:
            return frozenset({Cluster("c")})

    class User(Job):
        def reads(self, ctx: Context) -> frozenset[Resource]:
            return frozenset()

        def writes(self, ctx: Context) -> frozenset[Resource]:
            return frozenset()

        def uses(self, ctx: Context) -> frozenset[Resource]:
            return frozenset({Cluster("c")})

    def dag() -> DAG:
        with DAG("torn") as dag:
            up = Starter(task_id="up")
            down = Starter(task_id="down", teardown_of=up)
            up >> User(task_id="use") >> Job(task_id="slow", seconds=60) >> down
        return dag

    left = run(dag(), detached_at("slow"))
    told: list[str] = []

    def ctrl_c(event: Event) -> None:
        if not told and isinstance(event, TaskChanged) and event.detail == "stage 1":
            told.append(event.task_id)
            os.kill(os.getpid(), signal.SIGINT)

    # When
    result = resume(dag(), left.run_id, ctrl_c)
    # Then
    assert {name: task.state.value for name, task in result.tasks.items()} == {
        "up": "success",
        "use": "success",
        "slow": "cancelled",
        "down": "success",
    }


def test_a_success_that_cannot_be_recorded_is_left_to_whoever_resumes(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dag() -> DAG:
        with DAG("locked") as dag:
            Job(task_id="job", cache=True)
        return dag

    def locked(*_: object, **__: object) -> None:
        raise StoreError("database is locked")

    with monkeypatch.context() as patch:
        patch.setattr(Reuse, "record", locked)
        with pytest.raises(StoreError, match="not watched any more: pydag-"):
            run(dag())
    with stored() as store:
        [left] = store.runs()
    result = resume(dag(), left["run_id"])
    assert (result.state, len(service.submits)) == (RunState.SUCCESS, 1)


def test_local_work_that_was_cut_is_done_again_which_uses_up_no_retry() -> None:
    tried: list[int] = []

    def dag() -> DAG:
        def work(ctx: Context) -> None:
            tried.append(ctx.try_number)
            if ctx.try_number == 2:
                raise OSError("once more")

        with DAG("local", retry=Retry(attempts=2, wait=0, jitter=0)) as dag:
            Call(task_id="work", function=work)
        return dag

    left = run(dag())
    # Given its first try was cut, as a kill -9 leaves it
    change_store("UPDATE runs SET state = 'running', ended = NULL")
    change_store("UPDATE tries SET state = 'running', ended = NULL, result = NULL")
    # When its second one fails
    result = resume(dag(), left.run_id)
    # Then a third one is the second that counts
    assert result.state is RunState.SUCCESS
    assert tried == [1, 2, 3]
    with stored() as store:
        assert store.tries(left.run_id)[0]["error"] == INTERRUPTED


def test_a_task_that_waited_for_its_next_try_is_tried_again(service: Service) -> None:
    failed_once = (Failed(reason="busy", transient=True),)
    with DAG("waits", retry=Retry(attempts=2, wait=3600)) as dag:
        Job(task_id="job", outcomes=failed_once)
    left = run(dag, detached_at("job", TaskState.UP_FOR_RETRY))
    result = resume(dag, left.run_id)
    assert result.state is RunState.SUCCESS
    assert result.tasks["job"].tries == 2


def test_what_had_failed_stays_failed_and_what_has_not_ended_goes_on(service: Service) -> None:
    def dag() -> DAG:
        with DAG("part") as dag:
            failing = Call(task_id="failing", function=lambda _: 1 / 0)
            failing >> Call(task_id="below")
            failing >> Job(task_id="job", seconds=60, trigger_rule="all_done") >> Call(task_id="after")
        return dag

    left = run(dag(), detached_at("job"))
    service.end_jobs()
    result = resume(dag(), left.run_id)
    states = {name: task.state for name, task in result.tasks.items()}
    assert states == {
        "failing": TaskState.FAILED,
        "below": TaskState.UPSTREAM_FAILED,
        "job": TaskState.SUCCESS,
        "after": TaskState.SUCCESS,
    }
    assert result.state is RunState.FAILED


def test_the_definition_must_be_what_it_was_for_tasks_that_have_not_ended(service: Service) -> None:
    left = run(one_job(seconds=60), detached_at("job"))
    with DAG("one_job") as dag:
        first = Call(task_id="first", function=lambda _: {"n": 1})
        job = Job(task_id="job", seconds=60, partial=True)
        first >> [job, Call(task_id="last", trigger_rule="all_done")]
        Call(task_id="new")
    with pytest.raises(DefinitionError) as error:
        resume(dag, left.run_id)
    assert "'job' (field added: partial" in error.value.what
    assert "'last' (what it is, its trigger rule, what it waits for)" in error.value.what
    assert "'new' (is new)" in error.value.what
    assert "'first'" not in error.value.what
    assert f"pydag cancel {left.run_id}" in str(error.value.hint)


def test_a_task_that_is_gone_is_named(service: Service) -> None:
    left = run(one_job(seconds=60), detached_at("job"))
    with DAG("one_job") as dag:
        Call(task_id="first", function=lambda _: {"n": 1})
    with pytest.raises(DefinitionError, match=r"'job' \(is no longer there\)"):
        resume(dag, left.run_id)


def test_a_run_that_was_driven_on_since_it_was_read_is_left_alone(service: Service) -> None:
    left = run(one_job(seconds=60), detached_at("job"))
    stale = past_of(left.run_id)
    service.end_jobs()
    resume(one_job(seconds=60), left.run_id)
    with stored() as store:
        row = store.run(left.run_id)
    assert row is not None
    with pytest.raises(RunHeld, match="is success"):
        execute(plan_again(one_job(seconds=60), load(Path.cwd()), row), past=stale)
    assert len(service.submits) == 1


def test_a_run_is_planned_again_with_what_was_asked_for(tmp_path: Path) -> None:
    with DAG("asked", params={"year": 2022, "name": "x"}, schedule="0 6 * * *") as dag:
        first = Call(task_id="first")
        first >> Call(task_id="second")
        Call(task_id="third")
    planned = plan(dag, load(Path.cwd()), params={"year": "2023"}, start_from=["first"], cache=False, max_bytes=10)
    execute(planned)
    with stored() as store:
        row = store.run(planned.run_id)
    assert row is not None
    again = plan_again(dag, load(Path.cwd()), row)
    assert again.context.params == {"year": 2023, "name": "x"}
    assert again.context.logical_date == planned.context.logical_date
    assert again.context.data_interval_end == planned.context.data_interval_end
    assert (again.run_id, again.requested, again.cache, again.max_bytes, again.dated) == (
        planned.run_id,
        frozenset({"first"}),
        False,
        10,
        True,
    )
    assert again.tasks.keys() == {"first", "second"}
    assert again.options == planned.options


def test_a_run_whose_params_held_a_secret_cannot_be_planned_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_API_TOKEN", "tr0ub4dor-and-3")
    with DAG("secretive", params={"header": ""}) as dag:
        Call(task_id="a")
    result = run(dag, params={"header": "tr0ub4dor-and-3"})
    with stored() as store:
        row = store.run(result.run_id)
    assert row is not None
    assert "tr0ub4dor" not in json.dumps(row)
    with pytest.raises(SettingsError, match="param 'header' held a secret"):
        plan_again(dag, load(Path.cwd()), row)


def test_a_run_that_nobody_knows_is_named() -> None:
    with pytest.raises(SettingsError, match="no run 'nope'"):
        past_of("nope")


# cancel ------------------------------------------------------------------------------------------------------------


def test_a_run_whose_process_is_gone_is_cancelled_by_another(service: Service) -> None:
    def dag() -> DAG:
        with DAG("torn") as dag:
            setup = Call(task_id="setup")
            job = Job(task_id="job", seconds=60)
            setup >> job >> Call(task_id="after")
            job >> Call(task_id="teardown", teardown_of=setup)
        return dag

    left = run(dag(), detached_at("job"))
    result = resume(dag(), left.run_id, cancel=True)
    states = {name: task.state.value for name, task in result.tasks.items()}
    assert states == {"setup": "success", "job": "cancelled", "after": "cancelled", "teardown": "success"}
    assert result.state is RunState.CANCELLED
    assert service.cancelled == set(service.submits)


def test_a_job_that_belongs_to_no_task_any_more_is_named(service: Service) -> None:
    left = run(one_job(seconds=60), detached_at("job"))
    with DAG("one_job") as dag:
        Call(task_id="first")
    with pytest.raises(DefinitionError, match=rf"job {service.submits[0]} of task 'job'.*--forget {left.run_id}"):
        resume(dag, left.run_id, cancel=True)


# retry-failed ------------------------------------------------------------------------------------------------------


def test_what_failed_runs_again_under_the_next_numbers_with_the_new_definition() -> None:
    ran: list[str] = []

    def dag(*, broken: bool) -> DAG:
        def second(ctx: Context) -> str:
            if broken:
                raise LookupError("a bug")
            return f"try {ctx.try_number}"

        with DAG("mended", retry=Retry(attempts=2, wait=0, jitter=0)) as dag:
            first = Call(task_id="first", function=lambda _: ran.append("first"))
            first >> Call(task_id="second", function=second) >> Call(task_id="third")
        return dag

    failed = run(dag(broken=True))
    assert failed.state is RunState.FAILED
    result = resume(dag(broken=False), failed.run_id, retry_failed=True)
    assert result.state is RunState.SUCCESS
    assert (result.run_id, result.tasks["second"].result) == (failed.run_id, "try 3")
    assert result.tasks["third"].state is TaskState.SUCCESS
    assert ran == ["first"]


def test_tasks_skipped_below_what_failed_and_teardowns_around_it_run_again() -> None:
    ran: list[str] = []

    def dag(*, broken: bool) -> DAG:
        def note(ctx: Context) -> None:
            ran.append(ctx.task_id)

        with DAG("around") as dag:
            setup = Call(task_id="setup", function=note)
            work = Call(task_id="work", function=(lambda _: 1 / 0) if broken else note)
            setup >> work >> Call(task_id="none_of", trigger_rule="one_success", function=note)
            work >> Call(task_id="teardown", teardown_of=setup, function=note)
        return dag

    failed = run(dag(broken=True))
    assert ran == ["setup", "teardown"]
    ran.clear()
    result = resume(dag(broken=False), failed.run_id, retry_failed=True)
    # Then the setup, which was undone, is done again
    assert sorted(ran) == ["none_of", "setup", "teardown", "work"]
    assert ran[:2] == ["setup", "work"]
    assert result.tasks["setup"].tries == 2


def test_only_a_run_that_has_ended_badly_is_run_again(service: Service) -> None:
    with DAG("fine") as dag:
        Call(task_id="a")
    with pytest.raises(SettingsError, match="has no task that failed"):
        resume(dag, run(dag).run_id, retry_failed=True)
    left = run(one_job(seconds=60), detached_at("job"))
    with pytest.raises(SettingsError, match=f"pydag resume {left.run_id}"):
        resume(one_job(seconds=60), left.run_id, retry_failed=True)


def test_a_branch_that_had_ended_keeps_its_choice(service: Service) -> None:
    from pydag_gcp.function import task

    def dag() -> DAG:
        @task.branch
        def choose() -> str:
            return "left"

        with DAG("forked") as dag:
            branch = choose()
            branch >> Job(task_id="left", seconds=60)
            late = Job(task_id="late", seconds=60)
            branch >> Call(task_id="right")
            late >> dag.tasks["right"]
        return dag

    left = run(dag(), detached_at("left"))
    service.end_jobs()
    result = resume(dag(), left.run_id)
    assert result.tasks["right"].state is TaskState.SKIPPED
    assert result.tasks["left"].state is TaskState.SUCCESS
