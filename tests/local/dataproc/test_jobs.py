"""Jobs, through Google's own client; Spark only pretends here.

Contract: https://cloud.google.com/dataproc/docs/reference/rpc/google.cloud.dataproc.v1#jobcontroller
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from google.api_core import exceptions
from google.cloud import dataproc_v1
from google.protobuf import field_mask_pb2

from pydag_gcp.local.dataproc.cluster_config import posix

if TYPE_CHECKING:
    from tests.local.dataproc.service import DataprocService

pytest_plugins = ("tests.local.dataproc.service",)

REGION = "us-central1"
State = dataproc_v1.JobStatus.State


@pytest.fixture(autouse=True)
def cluster(dataproc: DataprocService) -> dataproc_v1.Cluster:
    return dataproc.create("c1")


def test_a_job_goes_through_its_states(dataproc: DataprocService, cluster: dataproc_v1.Cluster) -> None:
    # Given / When
    accepted = dataproc.submit(dataproc.job("print hello", job_id="j1"))
    job = dataproc.until(accepted)

    # Then
    assert State(accepted.status.state) == State.PENDING
    assert job.done
    assert State(job.status.state) == State.DONE
    assert [status.state.name for status in job.status_history] == ["PENDING", "SETUP_DONE", "RUNNING"]
    assert job.placement.cluster_uuid == cluster.cluster_uuid
    assert job.reference == dataproc_v1.JobReference(project_id="p", job_id="j1")


def test_driver_output_lies_in_the_staging_bucket(dataproc: DataprocService, cluster: dataproc_v1.Cluster) -> None:
    job = dataproc.run("print hello")
    home = f"google-cloud-dataproc-metainfo/{cluster.cluster_uuid}/jobs/{job.reference.job_id}"
    assert job.driver_output_resource_uri == f"gs://dataproc-staging-p/{home}/driveroutput"
    assert dataproc.output(job) == "hello\n"


def test_a_failed_job_says_why(dataproc: DataprocService) -> None:
    job = dataproc.run("print some context\nprint ValueError: boom\nexit 1")
    assert State(job.status.state) == State.ERROR
    assert "Job failed with message [ValueError: boom]" in job.status.details
    assert "some context" in job.status.details
    assert f"{job.driver_output_resource_uri}.*" in job.status.details


@pytest.mark.parametrize("uri", ["gs://code/missing.py", "gs://nobody/x.py", "file:///no/such.py", "hdfs:///x.py"])
def test_a_missing_main_file_ends_in_error(dataproc: DataprocService, uri: str) -> None:
    job = dataproc.run(uri)
    assert State(job.status.state) == State.ERROR
    assert uri in job.status.details


def test_a_taken_id_already_exists_whatever_the_body(dataproc: DataprocService) -> None:
    dataproc.submit(dataproc.job("print a", job_id="j1"))
    with pytest.raises(exceptions.AlreadyExists, match="projects/p/regions/us-central1/jobs/j1"):
        dataproc.submit(dataproc.job("print b", job_id="j1"))
    # It is still taken when the job is over.
    dataproc.until("j1")
    with pytest.raises(exceptions.AlreadyExists):
        dataproc.submit(dataproc.job("print a", job_id="j1"))


def test_the_same_request_id_gives_the_first_job_back(dataproc: DataprocService) -> None:
    first = dataproc.submit(dataproc.job("print a"), request_id="r1")
    again = dataproc.submit(dataproc.job("print a"), request_id="r1")
    assert again.reference == first.reference
    assert len(list(dataproc.jobs.list_jobs(project_id="p", region=REGION))) == 1


@pytest.mark.parametrize("kind", ["lost-answer", "accepted-503", "503", "reset"])
def test_a_submit_sent_again_after_a_fault_leaves_one_job(dataproc: DataprocService, kind: str) -> None:
    # Given a submit that meets a fault
    dataproc.faults.add("dataproc.SubmitJob", kind=kind)
    job = dataproc.job("print once", job_id="j1")
    with pytest.raises(exceptions.ServiceUnavailable):
        dataproc.submit(job)

    # When it is sent again under its id
    try:
        dataproc.submit(job)
    except exceptions.AlreadyExists:
        assert kind in {"lost-answer", "accepted-503"}

    # Then there is one job, and it ran once
    assert dataproc.output(dataproc.until("j1")) == "once\n"


def test_two_submits_at_once_under_one_id_leave_one_job(dataproc: DataprocService) -> None:
    # Given a job
    job = dataproc.job("print x", job_id="j1")
    answers: list[object] = []

    def submit() -> None:
        try:
            answers.append(dataproc.submit(job))
        except exceptions.AlreadyExists as error:
            answers.append(error)

    # When it is submitted by eight threads at once
    threads = [threading.Thread(target=submit) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    # Then one of them won
    assert [type(answer) for answer in answers].count(dataproc_v1.Job) == 1
    assert dataproc.output(dataproc.until("j1")) == "x\n"


def test_jobs_of_a_cluster_run_in_the_order_they_came(dataproc: DataprocService) -> None:
    # Given a job that runs, and two that wait
    running = dataproc.submit(dataproc.job("wait"))
    dataproc.until(running, State.RUNNING)
    second, third = dataproc.submit(dataproc.job("print 2")), dataproc.submit(dataproc.job("print 3"))
    assert dataproc.get(second).status.state == State.PENDING

    # When the first one is over; Then the others follow
    dataproc.cancel(running)
    ended = [dataproc.until(second), dataproc.until(third)]
    assert [State(job.status.state) for job in ended] == [State.DONE, State.DONE]
    assert posix(ended[0].status) <= posix(ended[1].status)


def test_cancel_ends_a_running_job(dataproc: DataprocService) -> None:
    job = dataproc.submit(dataproc.job("wait"))
    dataproc.until(job, State.RUNNING)
    assert State(dataproc.cancel(job).status.state) in {State.CANCEL_PENDING, State.CANCELLED}
    ended = dataproc.until(job)
    assert State(ended.status.state) == State.CANCELLED
    assert "CANCEL_PENDING" in [status.state.name for status in ended.status_history]


def test_cancel_of_a_waiting_job_never_runs_it(dataproc: DataprocService) -> None:
    running, waiting = dataproc.submit(dataproc.job("wait")), dataproc.submit(dataproc.job("print no"))
    dataproc.until(running, State.RUNNING)
    assert State(dataproc.cancel(waiting).status.state) == State.CANCELLED
    dataproc.cancel(running)
    dataproc.until(running)
    assert [status.state.name for status in dataproc.get(waiting).status_history] == ["PENDING"]


def test_a_job_that_is_over_cannot_be_cancelled(dataproc: DataprocService) -> None:
    # https://github.com/googleapis/google-cloud-java/issues/3754 shows the service's words.
    job = dataproc.run("print x")
    with pytest.raises(exceptions.FailedPrecondition, match="cancellable states"):
        dataproc.cancel(job)


def test_only_a_job_that_is_over_can_be_deleted(dataproc: DataprocService) -> None:
    # DeleteJob: if the job is active, the answer is FAILED_PRECONDITION.
    job = dataproc.submit(dataproc.job("wait", job_id="j1"))
    request = {"project_id": "p", "region": REGION, "job_id": "j1"}
    with pytest.raises(exceptions.FailedPrecondition):
        dataproc.jobs.delete_job(request=request)
    dataproc.cancel(job)
    dataproc.until(job)
    dataproc.jobs.delete_job(request=request)
    with pytest.raises(exceptions.NotFound, match="jobs/j1"):
        dataproc.get("j1")


def refused(**changes: Any) -> dataproc_v1.Job:
    placement = dataproc_v1.JobPlacement(cluster_name="c1")
    pyspark = dataproc_v1.PySparkJob(main_python_file_uri="gs://code/x.py")
    return dataproc_v1.Job({"placement": placement, "pyspark_job": pyspark, **changes})


@pytest.mark.parametrize(
    ("job", "error", "named"),
    [
        (
            dataproc_v1.Job(placement={"cluster_name": "c1"}, hive_job={}),
            exceptions.MethodNotImplemented,
            "PySpark jobs only, not hive_job",
        ),
        (dataproc_v1.Job(placement={"cluster_name": "c1"}), exceptions.InvalidArgument, "no type"),
        (refused(placement={"cluster_name": "c2"}), exceptions.NotFound, "clusters/c2"),
        (refused(placement={"cluster_labels": {"a": "b"}}), exceptions.MethodNotImplemented, "cluster_labels"),
        (refused(reference={"job_id": "a b"}), exceptions.InvalidArgument, "a b"),
        (refused(reference={"job_id": "x" * 101}), exceptions.InvalidArgument, "100"),
        (refused(reference={"project_id": "q"}), exceptions.InvalidArgument, "'q'"),
        (refused(labels={"Upper": "x"}), exceptions.InvalidArgument, "Upper"),
        (
            refused(scheduling={"max_failures_per_hour": 1}),
            exceptions.MethodNotImplemented,
            "max_failures_per_hour",
        ),
        (
            refused(pyspark_job={"main_python_file_uri": "gs://c/x.py", "archive_uris": ["gs://c/x.zip"]}),
            exceptions.MethodNotImplemented,
            "archive_uris",
        ),
        (
            refused(
                pyspark_job={
                    "main_python_file_uri": "gs://c/x.py",
                    "properties": {"spark.jars.packages": "org.postgresql:postgresql:42.7.1"},
                }
            ),
            exceptions.MethodNotImplemented,
            "org.postgresql",
        ),
        (
            refused(
                pyspark_job={"main_python_file_uri": "gs://c/x.py", "properties": {"spark.archives": "gs://c/env.zip"}}
            ),
            exceptions.MethodNotImplemented,
            "spark.archives",
        ),
    ],
)
def test_what_is_not_run_is_refused_by_name(
    dataproc: DataprocService, job: dataproc_v1.Job, error: type[Exception], named: str
) -> None:
    with pytest.raises(error, match=named):
        dataproc.submit(job)
    assert list(dataproc.jobs.list_jobs(project_id="p", region=REGION)) == []


def test_list_by_cluster_state_and_label(dataproc: DataprocService) -> None:
    # Given jobs on two clusters, one of them running
    dataproc.create("c2")
    done = dataproc.run("print x")
    labelled = dataproc.job("wait", cluster="c2")
    labelled.labels = {"team": "data"}
    running = dataproc.submit(labelled)
    dataproc.until(running, State.RUNNING)

    def listed(**request: Any) -> list[str]:
        found = dataproc.jobs.list_jobs(request={"project_id": "p", "region": REGION, **request})
        return [job.reference.job_id for job in found]

    # When / Then
    matcher = dataproc_v1.ListJobsRequest.JobStateMatcher
    assert set(listed()) == {done.reference.job_id, running.reference.job_id}
    assert listed(cluster_name="c2") == [running.reference.job_id]
    assert listed(job_state_matcher=matcher.NON_ACTIVE) == [done.reference.job_id]
    assert listed(filter="status.state = ACTIVE AND labels.team = data") == [running.reference.job_id]
    with pytest.raises(exceptions.MethodNotImplemented, match="insertTime"):
        listed(filter="insertTime = x")


def test_labels_can_be_updated_and_nothing_else(dataproc: DataprocService) -> None:
    job = dataproc.run("print x")

    def update(path: str) -> dataproc_v1.Job:
        return dataproc.jobs.update_job(
            request={
                "project_id": "p",
                "region": REGION,
                "job_id": job.reference.job_id,
                "job": {"labels": {"a": "b"}},
                "update_mask": field_mask_pb2.FieldMask(paths=[path]),
            }
        )

    assert update("labels").labels == {"a": "b"}
    with pytest.raises(exceptions.MethodNotImplemented, match=r"status.state"):
        update("status.state")


def test_submit_as_operation_ends_with_the_job(dataproc: DataprocService) -> None:
    operation = dataproc.jobs.submit_job_as_operation(project_id="p", region=REGION, job=dataproc.job("print x"))
    job = dataproc.finish(operation)
    assert State(job.status.state) == State.DONE
    assert operation.metadata.job_id == job.reference.job_id


def test_the_operation_of_a_failed_job_fails(dataproc: DataprocService) -> None:
    operation = dataproc.jobs.submit_job_as_operation(
        project_id="p", region=REGION, job=dataproc.job("print oh no\nexit 3")
    )
    with pytest.raises(exceptions.GoogleAPICallError, match="oh no"):
        dataproc.finish(operation)


def test_cancelling_the_operation_cancels_the_job(dataproc: DataprocService) -> None:
    operation = dataproc.jobs.submit_job_as_operation(
        project_id="p", region=REGION, job=dataproc.job("wait", job_id="j1")
    )
    dataproc.until("j1", State.RUNNING)
    operation.cancel()
    assert State(dataproc.until("j1").status.state) == State.CANCELLED


def test_deleting_a_cluster_cancels_its_jobs(dataproc: DataprocService) -> None:
    running, waiting = dataproc.submit(dataproc.job("wait")), dataproc.submit(dataproc.job("wait"))
    dataproc.until(running, State.RUNNING)
    dataproc.finish(dataproc.clusters.delete_cluster(project_id="p", region=REGION, cluster_name="c1"))
    assert [State(dataproc.get(job).status.state) for job in (running, waiting)] == [State.CANCELLED] * 2


def test_after_a_restart_ended_jobs_are_there_and_a_running_one_is_lost(dataproc: DataprocService) -> None:
    # Given one job of each kind
    done = dataproc.run("print x")
    running = dataproc.submit(dataproc.job("wait"))
    dataproc.until(running, State.RUNNING)
    waiting = dataproc.submit(dataproc.job("print later"))

    # When the daemon restarts
    dataproc.restart()

    # Then the one that ran is lost, and the one that waited runs
    assert dataproc.get(done) == done
    lost = dataproc.get(running)
    assert State(lost.status.state) == State.ERROR
    assert "Agent lost: the local cloud stopped" in lost.status.details
    assert dataproc.output(dataproc.until(waiting)) == "later\n"


def test_what_a_job_names_is_fetched_for_it(dataproc: DataprocService) -> None:
    # Given a job with modules, files and the connector's archive
    dataproc.put("gs://code/lib/tools.py", "x = 1")
    dataproc.put("gs://code/lib/pack.zip", b"PK")
    dataproc.put("gs://code/data/config.json", "{}")
    engine = pretended(dataproc)

    # When it runs
    job = dataproc.run(
        "print x",
        args=["--date", "2024-01-01"],
        python_file_uris=["gs://code/lib/tools.py", "gs://code/lib/pack.zip"],
        file_uris=["gs://code/data/config.json"],
        jar_file_uris=["gs://spark-lib/bigquery/spark-bigquery-with-dependencies_2.12-0.36.1.jar"],
        properties={"spark.sql.shuffle.partitions": "7", "spark.jars": "gs://x/spark-3.5-bigquery-0.42.1.jar"},
    )

    # Then its driver can reach them, and the connector is left out
    assert State(job.status.state) == State.DONE
    work = engine.ran[-1].work
    assert work.args == ("--date", "2024-01-01")
    assert work.jars == ()
    assert work.properties["spark.sql.shuffle.partitions"] == "7"
    assert "spark.jars" not in work.properties
    assert [path.name for path in work.python_path] == [".python-files", "pack.zip"]
    assert not work.folder.exists()  # it is gone when the job is over


def pretended(dataproc: DataprocService) -> Any:
    """Return the Spark of the one cluster."""
    return next(iter(dataproc.dataproc._clusters._sparks.values()))


def test_stopping_waits_for_a_job_that_is_about_to_begin(
    dataproc: DataprocService, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a job whose files are being fetched
    fetching, fetch, threads = threading.Event(), dataproc.objects.open, list[threading.Thread]()

    def slow(*name: str) -> Any:
        threads.append(threading.current_thread())
        fetching.set()
        time.sleep(0.3)
        return fetch(*name)

    monkeypatch.setattr(dataproc.objects, "open", slow)
    dataproc.submit(dataproc.job("print late", job_id="j1"))
    assert fetching.wait(10)

    # When the daemon stops
    dataproc.restart()

    # Then nothing of it goes on, and the next one runs the job
    assert not threads[0].is_alive()
    assert State(dataproc.until("j1").status.state) == State.DONE
