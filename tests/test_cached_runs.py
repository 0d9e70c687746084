"""Runs in which earlier successes stand for tasks."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytest

from pydag_gcp import datasets
from pydag_gcp.dag import DAG
from pydag_gcp.errors import RunFailed
from pydag_gcp.events import Event, TaskChanged
from pydag_gcp.function import task
from pydag_gcp.operator import Context
from pydag_gcp.resources import Cluster, Resource, Table
from pydag_gcp.result import RunResult
from pydag_gcp.states import RunState, TaskState
from pydag_gcp.status import Failed, Status
from pydag_gcp.versions import Versions
from tests.service import Call, Job, Service
from tests.test_resumption import change_store, detached_at, resume, run, stored

pytestmark = pytest.mark.usefixtures("project")


@pytest.fixture
def service(listening: int) -> Service:
    Job.cloud = Service()
    return Job.cloud


class Known(Job):
    """A job of which it is known that it makes, or adds to, tables."""

    new: bool = False
    into: tuple[Table, ...] = ()

    def reads(self, ctx: Context) -> frozenset[Resource]:
        return frozenset()

    def writes(self, ctx: Context) -> frozenset[Resource]:
        return frozenset(self.into)

    def replaces(self, ctx: Context) -> frozenset[Resource]:
        return frozenset(self.into if self.new else ())


def states(result: RunResult) -> dict[str, str]:
    return {task_id: one.state.value for task_id, one in result.tasks.items()}


def test_a_cached_task_gives_its_result_and_says_where_from(service: Service) -> None:
    # Given a task that may be cached, and one that never is
    def dag() -> DAG:
        with DAG("again") as dag:
            Job(task_id="job", cache=True) >> Call(task_id="last", function=lambda ctx: ctx.output_of("job"))
        return dag

    first = run(dag())
    # When
    seen: list[Event] = []
    second = run(dag(), seen.append)
    # Then
    assert states(second) == {"job": "cached", "last": "success"}
    assert second.tasks["last"].result == first.tasks["job"].result == {"job_id": service.submits[0]}
    assert len(service.submits) == 1
    assert (second.tasks["job"].tries, second.tasks["job"].cached_from) == (0, first.run_id)
    assert second.to_json()["tasks"]["job"]["cached_from"] == first.run_id
    [told] = [event.detail for event in seen if isinstance(event, TaskChanged) and event.state is TaskState.CACHED]
    assert told == f"{second.tasks['job'].reason}, from run {first.run_id}"
    with stored() as store:
        [row] = [row for row in store.tasks(second.run_id) if row["task_id"] == "job"]
    assert (row["state"], row["cached_from"], row["reason"]) == ("cached", first.run_id, second.tasks["job"].reason)


def test_a_cached_task_stands_for_the_same_success_however_often(service: Service) -> None:
    with DAG("thrice") as dag:
        Job(task_id="first", cache=True) >> Job(task_id="second", cache=True)
    first = run(dag)
    for _ in range(3):
        again = run(dag)
        assert states(again) == {"first": "cached", "second": "cached"}
        assert again.tasks["second"].cached_from == first.run_id


@pytest.mark.timeout(30)
def test_what_is_cached_ends_while_others_wait_for_a_processor(service: Service) -> None:
    # Given a cached task behind more important ones that take turns
    def dag() -> DAG:
        with DAG("narrow", max_processors=1) as dag:
            for number in range(3):
                Call(task_id=f"call{number}", function=lambda _: 1, priority=1)
            Job(task_id="job", cache=True)
        return dag

    run(dag())
    # Then it does not wait for them, nor they for it
    seen: list[Event] = []
    calls = {f"call{number}": "success" for number in range(3)}
    assert states(run(dag(), seen.append)) == {**calls, "job": "cached"}
    ended = [event.task_id for event in seen if isinstance(event, TaskChanged) and event.state.final]
    assert (ended[0], sorted(ended[1:])) == ("job", sorted(calls))


def test_a_job_that_was_cached_and_then_sent_is_taken_up_after_another_kill(service: Service) -> None:
    def dag() -> DAG:
        with DAG("again") as dag:
            Job(task_id="job", cache=True) >> Job(task_id="last")
            Job(task_id="other") >> dag.tasks["last"]
        return dag

    # Given a run that was left when a task was cached, but nothing rested on that
    run(dag())
    left = run(dag(), detached_at("job", TaskState.CACHED))
    # And went on when it had to run after all, and was left again
    with stored() as store:
        store.records.clear(appended=True)
    before = set(service.submits)
    again = resume(dag(), left.run_id, detached_at("job"))
    assert (left.state, again.state) == (RunState.INTERRUPTED, RunState.INTERRUPTED)
    sent = set(service.submits) - before
    # When it goes on once more
    result = resume(dag(), left.run_id)
    # Then that job is waited for
    assert states(result) == {"job": "success", "last": "success", "other": "success"}
    assert (result.tasks["job"].tries, result.tasks["job"].cached_from) == (1, None)
    assert result.tasks["job"].result["job_id"] in sent


def test_what_was_skipped_behind_a_cached_branch_is_decided_anew_with_it(service: Service, project: Path) -> None:
    @task.branch(cache=True)
    def choose() -> str:
        return Path("choice").read_text()

    def dag() -> DAG:
        with DAG("arms") as dag:
            choose() >> [Job(task_id="left"), Job(task_id="right")]
            Call(task_id="slow", function=lambda _: time.sleep(0.3)) >> dag.tasks["left"]
        return dag

    # Given a run that was left when an arm was skipped, as the branch was cached
    Path("choice").write_text("left")
    run(dag())
    left = run(dag(), detached_at("right", TaskState.SKIPPED))
    # When it goes on, and the branch has to run after all, and chooses otherwise
    Path("choice").write_text("right")
    with stored() as store:
        store.records.clear(appended=True)
    # Then
    expected = {"choose": "success", "left": "skipped", "right": "success", "slow": "success"}
    assert states(resume(dag(), left.run_id)) == expected


class Starts(Job):
    """Starts or ends a cluster that is always gone."""

    def writes(self, ctx: Context) -> frozenset[Resource]:
        return frozenset({Cluster("c")})

    def fulfilled(self, ctx: Context) -> bool:
        return False


class Uses(Known):
    """Runs on that cluster."""

    sql: str = "1"

    def uses(self, ctx: Context) -> frozenset[Resource]:
        return frozenset({Cluster("c")})


def test_what_is_started_after_all_is_torn_down(service: Service) -> None:
    def dag(sql: str) -> DAG:
        with DAG("torn") as dag:
            up = Starts(task_id="up")
            up >> Uses(task_id="use", sql=sql, cache=True) >> Starts(task_id="down", teardown_of=up)
            Call(task_id="bad", function=lambda _: 1 / 0)
        return dag

    # Given a run that failed, in which a cluster was not needed
    run(dag("1"))
    failed = run(dag("1"))
    assert states(failed) == {"up": "cached", "use": "cached", "down": "skipped", "bad": "failed"}
    # When it is tried again, and is needed
    result = resume(dag("2"), failed.run_id, retry_failed=True)
    # Then it does not stay
    assert states(result) == {"up": "success", "use": "success", "down": "success", "bad": "failed"}


def test_ctrl_c_does_not_wait_for_a_cloud_that_is_silent(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a run that asks what is there, and gets no answer
    asked, answer, over = threading.Event(), threading.Event(), threading.Event()

    def silent(_: Versions, wanted: Collection[Resource]) -> dict[Resource, str]:
        asked.set()
        answer.wait(10)
        over.set()
        return dict.fromkeys(wanted, "1")

    with DAG("silent") as dag:
        Known(task_id="job", new=True, into=(Table("p-project.d.t"),), cache=True)
    monkeypatch.setattr(datasets, "ensure", lambda *_: [])
    monkeypatch.setattr(Versions, "of", lambda _, wanted: dict.fromkeys(wanted, "1"))
    run(dag)
    monkeypatch.setattr(Versions, "of", silent)

    def stop() -> None:
        asked.wait(10)
        os.kill(os.getpid(), signal.SIGINT)

    # When
    stopper = threading.Thread(target=stop)
    stopper.start()
    result = run(dag)
    # Then it has ended although there is still none
    assert asked.is_set()
    assert not over.is_set()
    assert result.state is RunState.CANCELLED
    answer.set()
    stopper.join()


def test_no_cache_runs_everything(service: Service, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYDAG_HOME", str(project / ".pydag"))
    with DAG("always") as dag:
        Job(task_id="job", cache=True)
    dag.run()
    assert states(dag.run(cache=False)) == {"job": "success"}
    assert states(dag.run()) == {"job": "cached"}
    assert len(service.submits) == 2


def test_what_hangs_on_a_branch_is_decided_when_it_has_chosen(service: Service) -> None:
    def dag(choice: str) -> DAG:
        @task.branch
        def choose(which: str) -> str:
            return which

        with DAG("forked") as dag:
            choose(choice) >> [Job(task_id="left", cache=True), Job(task_id="right", cache=True)]
        return dag

    assert states(run(dag("left"))) == {"choose": "success", "left": "success", "right": "skipped"}
    assert states(run(dag("right"))) == {"choose": "success", "left": "skipped", "right": "success"}
    # the branch ran again, and nobody knows what it did beside choosing: what is below has to run again
    third = run(dag("left"))
    assert states(third)["right"] == "skipped"
    assert third.tasks["left"].reason


def test_nothing_is_torn_down_after_a_setup_that_was_cached(service: Service) -> None:
    def dag() -> DAG:
        with DAG("torn") as dag:
            setup = Job(task_id="setup", cache=True)
            setup >> Call(task_id="teardown", teardown_of=setup)
        return dag

    assert states(run(dag())) == {"setup": "success", "teardown": "success"}
    assert states(run(dag())) == {"setup": "cached", "teardown": "skipped"}


def test_many_cached_tasks_end_in_one_step(service: Service) -> None:
    with DAG("many") as dag:
        above: Any = Job(task_id="t0", cache=True)
        for number in range(1, 30):
            above = above >> Job(task_id=f"t{number}", cache=True)
    run(dag, only=["t0"])
    run(dag)
    assert set(states(run(dag)).values()) == {"cached"}
    assert len(service.submits) == 30


# resumed -----------------------------------------------------------------------------------------------------------


def half(service: Service, *, built_on: bool) -> tuple[Callable[[], DAG], RunResult]:
    """A run that was left after its first task was taken from an earlier run; its second one may be built on that."""

    def dag() -> DAG:
        with DAG("half") as dag:
            first = Job(task_id="first", cache=True)
            slow = Job(task_id="slow", seconds=60)
            if built_on:
                first >> slow
        return dag

    run(dag(), only=["first"])
    left = run(dag(), detached_at("slow"))
    assert states(left)["first"] == "cached"
    service.end_jobs()
    return dag, left


@pytest.mark.parametrize("built_on", [True, False])
def test_what_was_cached_stays_cached_on_resume(service: Service, built_on: bool) -> None:
    dag, left = half(service, built_on=built_on)
    result = resume(dag(), left.run_id)
    assert states(result) == {"first": "cached", "slow": "success"}
    assert result.tasks["first"].cached_from not in (None, left.run_id)


def test_what_nothing_was_built_on_is_decided_anew_on_resume(service: Service) -> None:
    dag, left = half(service, built_on=False)
    change_store("DELETE FROM records")
    assert states(resume(dag(), left.run_id)) == {"first": "success", "slow": "success"}


def test_what_was_built_on_stays_cached_also_if_it_would_not_be_now(service: Service) -> None:
    dag, left = half(service, built_on=True)
    change_store("DELETE FROM records")
    assert states(resume(dag(), left.run_id)) == {"first": "cached", "slow": "success"}


def test_a_run_does_not_go_on_if_it_would_add_to_what_is_not_what_it_was(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a run that was left after the first of two tasks that write one table was cached
    def dag() -> DAG:
        with DAG("half") as dag:
            make, add = Known(task_id="make", new=True, into=(table,)), Known(task_id="add", into=(table,))
            make >> Known(task_id="slow", seconds=60, cache=False) >> add
        return dag

    table, holds = Table("p-project.d.t"), ["1"]
    monkeypatch.setattr(Versions, "of", lambda _, resources: dict.fromkeys(resources, holds[0]))
    monkeypatch.setattr(datasets, "ensure", lambda *_: [])
    run(dag(), only=["make", "add"])
    left = run(dag(), detached_at("slow"))
    assert states(left)["make"] == "cached"
    service.end_jobs()
    # When somebody else has changed the table meanwhile
    holds[0] = "2"
    # Then
    with pytest.raises(RunFailed, match=r"task 'make' was taken from run \w+, but now: .*start a new run"):
        resume(dag(), left.run_id)
    with stored() as store:
        assert [row["state"] for row in store.open_runs("half", "local")] == [RunState.INTERRUPTED]


SOURCE, TABLE = Table("p-project.d.s"), Table("p-project.d.t")


class Reading(Known):
    """One that reads a table."""

    def reads(self, ctx: Context) -> frozenset[Resource]:
        return frozenset({SOURCE})


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[Resource, str]:
    """The versions of tables."""
    versions: dict[Resource, str] = {SOURCE: "1", TABLE: "1"}
    monkeypatch.setattr(Versions, "of", lambda _, resources: {resource: versions[resource] for resource in resources})
    monkeypatch.setattr(datasets, "ensure", lambda *_: [])
    return versions


def test_a_run_goes_on_although_it_has_changed_what_a_cached_task_had_read(
    service: Service, seen: dict[Resource, str]
) -> None:
    # Given a run that was left while a task changed what another one has read, which makes a table with a third one
    def dag(seconds: float) -> DAG:
        with DAG("feedback") as dag:
            look = Reading(task_id="look", new=True, into=(TABLE,))
            look >> Known(task_id="feed", seconds=seconds, into=(SOURCE,)) >> Known(task_id="more", into=(TABLE,))
        return dag

    run(dag(0.1))
    left = run(dag(60), detached_at("feed"))
    service.end_jobs()
    seen[SOURCE] = "2"
    # When
    result = resume(dag(60), left.run_id)
    # Then it is done, as it would have been
    assert states(result) == {"look": "cached", "feed": "success", "more": "cached"}


def test_what_nothing_was_built_on_is_made_again_on_resume_if_its_input_has_changed(
    service: Service, seen: dict[Resource, str]
) -> None:
    def dag() -> DAG:
        with DAG("beside") as dag:
            Reading(task_id="look", new=True, into=(TABLE,))
            Job(task_id="slow", seconds=60)
        return dag

    run(dag(), only=["look"])
    left = run(dag(), detached_at("slow"))
    assert states(left)["look"] == "cached"
    service.end_jobs()
    seen[SOURCE] = "2"
    assert states(resume(dag(), left.run_id)) == {"look": "success", "slow": "success"}


def test_a_run_does_not_go_on_if_a_newer_one_has_made_anew_what_it_would_add_to(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a run that failed after the first of two tasks that write one table
    def dag(*outcomes: Status) -> DAG:
        with DAG("anew") as dag:
            make = Known(task_id="make", new=True, into=(table,))
            make >> Known(task_id="add", into=(table,), outcomes=outcomes, cache=False)
        return dag

    table = Table("p-project.d.t")
    monkeypatch.setattr(Versions, "of", lambda _, resources: dict.fromkeys(resources, "1"))
    monkeypatch.setattr(datasets, "ensure", lambda *_: [])
    failed = run(dag(Failed(reason="broken")))
    # When a newer run has made the table, and added to it
    newer = run(dag())
    assert states(newer) == {"make": "success", "add": "success"}
    # Then the older one does not add to it once more
    expected = rf"run {newer.run_id} has made anew what task 'make' had made.*start a new run"
    with pytest.raises(RunFailed, match=expected):
        resume(dag(), failed.run_id, retry_failed=True)
    assert len(service.submits) == 4


def test_what_was_written_before_an_arm_that_is_skipped_is_recorded_as_it_was_then(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a table that one task writes, and after it an arm of a branch
    class Adding(Job):
        def reads(self, ctx: Context) -> frozenset[Resource]:
            return frozenset()

        def writes(self, ctx: Context) -> frozenset[Resource]:
            return frozenset({Table("p-project.d.t")})

    @task.branch
    def choose() -> str:
        holds[0] = "changed by somebody else"
        return "other"

    holds = ["1"]
    monkeypatch.setattr(Versions, "of", lambda _, resources: dict.fromkeys(resources, holds[0]))
    monkeypatch.setattr(datasets, "ensure", lambda *_: [])
    with DAG("forked") as dag:
        Adding(task_id="add") >> choose() >> [Adding(task_id="arm"), Call(task_id="other")]
    # When the arm is skipped
    assert states(run(dag))["arm"] == "skipped"
    # Then
    with stored() as store:
        [record] = store.records.all()
    assert record.writes is not None
    assert record.writes["table p-project.d.t"] == "1"


def test_a_part_of_an_output_that_is_nothing_fails_the_task_that_takes_it() -> None:
    @task
    def nothing() -> None:
        pass

    @task
    def take(value: object) -> object:
        return value

    with DAG("nothing") as dag:
        found = nothing()
        take(found.output["rows"])
        skipped = Call(task_id="skipped", trigger_rule="one_failed")
        found >> skipped
        take.options(trigger_rule="all_done")(skipped.output["rows"])
    result = run(dag)
    assert "the output of task 'nothing' is None, which has no 'rows'" in str(result.tasks["take"].error)
    assert (result.tasks["take__1"].state, result.tasks["take__1"].result) == (TaskState.SUCCESS, None)


def test_bytes_that_queries_were_billed_for_are_taken_off_what_the_run_may_cost() -> None:
    left: dict[str, int | None] = {}

    def bill(ctx: Context) -> dict[str, int]:
        left[ctx.task_id] = ctx.max_bytes
        return {"bytes_billed": 30}

    with DAG("billed") as dag:
        above = Call(task_id="a", function=bill)
        above >> Call(task_id="b", function=bill) >> Call(task_id="c", function=bill)
    run(dag, max_bytes=50)
    assert left == {"a": 50, "b": 20, "c": 1}
    run(dag)
    assert set(left.values()) == {None}
