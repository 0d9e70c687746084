"""What a call is about, by what it says itself and by what was said of the same job before."""

from __future__ import annotations

from typing import Any

import pytest
from google.cloud import dataproc_v1
from google.longrunning import operations_pb2  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from pydag_gcp.local.calls import Call, Calls
from pydag_gcp.local.subjects import NOTHING, Subject, of_answer, of_message, of_request

JOB = "pydag-" + "0123456789abcdef" * 2
LABELS = {"pydag-task": "load", "pydag-run": "r1"}

words = st.text(max_size=20)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)


def _request(values: dict[str, str], body: dict[str, Any] | None = None) -> Subject:
    return of_request(values, {}, body or {}, by_job=False)


@pytest.mark.parametrize(
    ("values", "body", "subject"),
    [
        (
            {"project": "p"},
            {"jobReference": {"jobId": JOB}, "configuration": {"labels": LABELS, "query": {}}},
            Subject(task="load", run="r1", job=JOB, resource="p"),
        ),
        ({"project": "p", "job_id": JOB}, {}, Subject(job=JOB, resource="p")),
        ({"project": "p", "dataset": "d", "table": "t"}, {}, Subject(resource="p.d.t")),
        ({"project": "p"}, {"datasetReference": {"datasetId": "d"}}, Subject(resource="p.d")),
        ({"bucket": "b", "name": "a/b.csv"}, {}, Subject(resource="gs://b/a/b.csv")),
    ],
)
def test_requests_to_json_apis(values: dict[str, str], body: dict[str, Any], subject: Subject) -> None:
    assert _request(values, body) == subject


@given(body=st.dictionaries(st.sampled_from(["jobReference", "configuration", "status", "labels"]), json_values))
def test_a_body_of_any_shape_is_left_to_its_handler(body: dict[str, Any]) -> None:
    assert _request({"project": "p"}, body).resource == "p"
    assert isinstance(of_answer(body), Subject)


@pytest.mark.parametrize(
    ("message", "subject"),
    [
        (
            dataproc_v1.SubmitJobRequest(
                job=dataproc_v1.Job(reference=dataproc_v1.JobReference(job_id=JOB), labels=LABELS)
            ),
            Subject(task="load", run="r1", job=JOB),
        ),
        (dataproc_v1.GetJobRequest(job_id=JOB), Subject(job=JOB)),
        (dataproc_v1.GetClusterRequest(cluster_name="c"), Subject(resource="cluster c")),
        (operations_pb2.GetOperationRequest(name="operations/o"), Subject(resource="operations/o")),
        (
            dataproc_v1.Cluster(
                cluster_name="c", status=dataproc_v1.ClusterStatus(state=dataproc_v1.ClusterStatus.State.RUNNING)
            ),
            Subject(resource="cluster c", over=True),
        ),
        (operations_pb2.Operation(name="operations/o", done=True), Subject(resource="operations/o", over=True)),
    ],
)
def test_messages_of_dataproc(message: Any, subject: Subject) -> None:
    assert of_message(message) == subject


def test_later_calls_about_a_job_are_its_tasks_too() -> None:
    # Given a job that was inserted for a task, and has ended since
    calls = Calls()
    insert = calls.arrived("bigquery.jobs.insert", Subject(task="load", run="r1", job=JOB))
    calls.answered(insert, Subject(job=JOB))
    look = calls.arrived("bigquery.jobs.get", Subject(job=JOB))
    calls.answered(look, Subject(job=JOB, over=True))
    # When it is looked at once more, and what it has printed is read
    last = calls.arrived("bigquery.jobs.get", Subject(job=JOB))
    output = calls.arrived("storage.objects.get", Subject(resource=f"gs://b/jobs/{JOB}/driveroutput.0"))
    # Then these are calls for the task, and known to come after the end
    assert (look.task, look.subject.over) == ("load", False)
    assert (last.task, last.subject.run, last.subject.over) == ("load", "r1", True)
    assert (output.task, output.subject.job, output.subject.over) == ("load", JOB, True)


def test_an_operation_belongs_to_the_task_that_began_it() -> None:
    calls = Calls()
    create = calls.arrived("dataproc.CreateCluster", Subject(task="start", resource="cluster c"))
    calls.answered(create, Subject(resource="operations/o"))
    assert calls.arrived("dataproc.GetOperation", Subject(resource="operations/o")).task == "start"


def test_calls_about_nothing_known_are_still_counted() -> None:
    calls = Calls()
    assert [calls.arrived("a.b", NOTHING).number for _ in range(3)] == [1, 2, 3]
    assert calls.counts == {"a.b": 3}


def test_a_call_crosses_the_wire_unchanged() -> None:
    call = Call(number=2, method="a.b", subject=Subject(task="load", over=True, by_job=True), fault="503")
    assert Call.from_json(call.to_json()) == call
