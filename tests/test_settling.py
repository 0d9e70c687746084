"""Runs whose process is gone, when another run of the DAG starts."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from pydag_gcp import datasets, settling
from pydag_gcp.dag import DAG
from pydag_gcp.errors import DefinitionError, JobTaken
from pydag_gcp.events import Event, RunWarned
from pydag_gcp.loader import load as load_pipeline
from pydag_gcp.operator import Context
from pydag_gcp.resources import Resource, Table
from pydag_gcp.states import RunState, TaskState
from pydag_gcp.versions import Versions
from tests.service import Call, Job, Service
from tests.test_resumption import change_store, detached_at, one_job, past_of, run, stored

pytestmark = pytest.mark.usefixtures("project")

FILE = """
from pydag_gcp import DAG
from tests.service import Job

with DAG("in_a_file") as dag:
    Job(task_id="job", seconds=60)
"""


@pytest.fixture
def service(listening: int) -> Service:
    Job.cloud = Service()
    return Job.cloud


def told(into: list[str]) -> Callable[[Event], None]:
    def listener(event: Event) -> None:
        if isinstance(event, RunWarned):
            into.append(event.message)

    return listener


def states() -> dict[str, str]:
    with stored() as store:
        return {row["run_id"]: row["state"] for row in store.runs()}


def test_the_jobs_of_an_interrupted_run_are_cancelled_before_another_one_starts(service: Service) -> None:
    # Given
    left = run(one_job(seconds=60), detached_at("job"))
    warnings: list[str] = []
    # When
    result = run(one_job(), told(warnings))
    # Then
    assert result.state is RunState.SUCCESS
    assert service.cancelled == {service.submits[0]}
    assert states() == {left.run_id: "cancelled", result.run_id: "success"}
    assert warnings == [
        f"run {left.run_id} was interrupted: its jobs are cancelled before this one begins",
        f"run {left.run_id} is cancelled (`pydag resume {left.run_id}` would have gone on with it)",
    ]


def test_a_job_that_succeeds_although_it_was_told_to_stop_is_recorded_so(service: Service) -> None:
    class Deaf(Job):
        def cancel(self, ctx: Context, handle: Mapping[str, Any]) -> None:
            pass

    def dag(seconds: float) -> DAG:
        with DAG("deaf") as dag:
            Deaf(task_id="job", seconds=seconds)
        return dag

    left = run(dag(0.5), detached_at("job"))
    run(dag(0))
    assert past_of(left.run_id).ended["job"].state is TaskState.SUCCESS


def test_a_job_that_succeeds_after_its_task_was_changed_does_not_stand_for_what_the_task_is_now(
    service: Service,
) -> None:
    class Deaf(Job):
        what: str

        def reads(self, ctx: Context) -> frozenset[Resource]:
            return frozenset()

        def writes(self, ctx: Context) -> frozenset[Resource]:
            return frozenset()

        def cancel(self, ctx: Context, handle: Mapping[str, Any]) -> None:
            pass

    def dag(what: str) -> DAG:
        with DAG("deaf") as dag:
            Deaf(task_id="job", seconds=0.3, what=what)
        return dag

    left = run(dag("old"), detached_at("job"))
    result = run(dag("new"))
    assert past_of(left.run_id).ended["job"].state is TaskState.SUCCESS
    assert result.tasks["job"].state is TaskState.SUCCESS
    assert run(dag("old")).tasks["job"].cached_from == left.run_id


def test_rows_of_a_job_that_nobody_knew_of_are_not_added_again_once_its_task_is_what_it_was(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Adding(Job):
        what: str
        sent: ClassVar[dict[str, str]] = {}

        def reads(self, ctx: Context) -> frozenset[Resource]:
            return frozenset()

        def writes(self, ctx: Context) -> frozenset[Resource]:
            return frozenset({Table("acme-1.d.t")})

        def submit(self, ctx: Context, job_id: str) -> dict[str, Any]:
            handle = super().submit(ctx, job_id)
            if self.sent.setdefault(job_id, self.what) != self.what:
                raise JobTaken("another request made it", handle=handle)
            return handle

        def cancel(self, ctx: Context, handle: Mapping[str, Any]) -> None:
            pass

    def dag(what: str) -> DAG:
        with DAG("adding") as dag:
            Adding(task_id="job", seconds=0.3, what=what, cache=True)
        return dag

    monkeypatch.setattr(datasets, "ensure", lambda clients, tables: [])
    monkeypatch.setattr(Versions, "of", lambda _, resources: dict.fromkeys(resources, "1"))
    # Given a run that was killed as it sent a job
    left = run(dag("old"), detached_at("job"))
    change_store("UPDATE tries SET handle = NULL")
    # When the task is edited, run, and edited back
    assert run(dag("new")).tasks["job"].state is TaskState.SUCCESS
    assert past_of(left.run_id).ended["job"].state is TaskState.FAILED
    again = run(dag("old"))
    # Then
    assert again.tasks["job"].cached_from == left.run_id


def test_what_has_no_job_is_only_marked_and_its_pipeline_is_not_looked_at() -> None:
    # Given a run of local work, as a kill -9 leaves it
    with DAG("local") as dag:
        Call(task_id="work")
    left = run(dag)
    change_store("UPDATE runs SET state = 'running', ended = NULL, file = '/gone.py'")
    change_store("UPDATE tries SET state = 'running', ended = NULL, result = NULL")
    # When
    warnings: list[str] = []
    result = run(dag, told(warnings))
    # Then
    assert states() == {left.run_id: "cancelled", result.run_id: "success"}
    given_up = f"run {left.run_id} was interrupted, and is given up for this one"
    assert warnings == [f"{given_up} (`pydag resume {left.run_id}` would have gone on with it)"]
    assert past_of(left.run_id).ended["work"].state is TaskState.CANCELLED


def test_what_an_interrupted_run_had_set_up_is_torn_down() -> None:
    ran: list[str] = []

    def dag() -> DAG:
        with DAG("torn") as dag:
            setup = Call(task_id="setup")
            setup >> Call(task_id="teardown", teardown_of=setup, function=lambda ctx: ran.append(ctx.run_id))
        return dag

    left = run(dag())
    change_store("UPDATE runs SET state = 'running', ended = NULL")
    change_store("DELETE FROM tries WHERE task_id = 'teardown'")
    ran.clear()
    result = run(dag())
    assert ran == [left.run_id, result.run_id]


def test_a_run_of_another_dag_or_target_is_none_of_our_business(service: Service) -> None:
    left = run(one_job(seconds=60), detached_at("job"))
    with DAG("other") as dag:
        Call(task_id="a")
    run(dag)
    assert states()[left.run_id] == "interrupted"


def test_the_pipeline_is_loaded_from_where_it_was(service: Service, project: Path) -> None:
    (project / "a.py").write_text(FILE)
    left = run(load_pipeline(project / "a.py"), detached_at("job"))
    (project / "b.py").write_text(FILE.replace("seconds=60", "seconds=0"))
    result = run(load_pipeline(project / "b.py"))
    assert states() == {left.run_id: "cancelled", result.run_id: "success"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "cannot be cancelled: .*a.py"),
        (FILE.replace("in_a_file", "another"), "defines another DAG now, 'another'"),
        (FILE.replace('"job"', '"jab"'), "job pydag-[0-9a-f]+ of task 'job' may still run"),
    ],
)
def test_a_job_that_nobody_can_look_after_keeps_a_new_run_from_starting(
    service: Service, project: Path, text: str | None, why: str
) -> None:
    (project / "a.py").write_text(FILE)
    left = run(load_pipeline(project / "a.py"), detached_at("job"))
    (project / "b.py").write_text(FILE)
    (project / "a.py").unlink()
    if text is not None:
        (project / "a.py").write_text(text)
    with pytest.raises(DefinitionError, match=why) as error:
        run(load_pipeline(project / "b.py"))
    assert re.search(f"pydag cancel --forget {left.run_id}", str(error.value.hint))
    # And once it is ended on record, another one may
    with stored() as store:
        settling.forget(store, left.run_id)
    service.end_jobs()
    with DAG("in_a_file") as dag:
        Job(task_id="job")
    assert run(dag).state is RunState.SUCCESS
