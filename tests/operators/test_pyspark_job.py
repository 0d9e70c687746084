"""PySpark jobs: https://cloud.google.com/dataproc/docs/reference/rpc/google.cloud.dataproc.v1#submitjobrequest."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from pydag_gcp.errors import DefinitionError, TaskError
from pydag_gcp.operator import Context, Done, Failed, Running
from pydag_gcp.operators import DataprocPySparkJob, driver_output, staged_file
from pydag_gcp.output import Output
from pydag_gcp.resources import Cluster, GCSObject, Table
from pydag_gcp.retry import is_transient

if TYPE_CHECKING:
    from tests.operators.conftest import DataprocService, HttpService, Lines

OUTPUT = "gs://staging/google-cloud-dataproc-metainfo/u/jobs/pydag-1/driveroutput"


def job(**fields: Any) -> DataprocPySparkJob:
    return DataprocPySparkJob(**{"task_id": "t", "cluster": Cluster("c"), "main": "gs://bucket/job.py", **fields})


@pytest.fixture
def cluster(dataproc: DataprocService) -> None:
    dataproc.add_cluster("c")


pytestmark = pytest.mark.usefixtures("cluster")


def test_a_submit_is_exactly_one_request(ctx: Context, dataproc: DataprocService) -> None:
    task = job(args=["--day", 3], properties={"spark.x": "1"}, jars=["gs://bucket/a.jar"], labels={"team": "sales"})

    handle = task.submit(ctx, "pydag-1")

    [request] = dataproc.called("SubmitJob")
    assert (request.project_id, request.region, request.request_id) == ("acme-1", "us-central1", "pydag-1")
    assert request.job.reference.job_id == "pydag-1"
    assert request.job.placement.cluster_name == "c"
    sent = request.job.pyspark_job
    assert sent.main_python_file_uri == "gs://bucket/job.py"
    assert list(sent.args) == ["--day", "3"]
    assert dict(sent.properties) == {"spark.x": "1"}
    assert list(sent.jar_file_uris) == ["gs://bucket/a.jar"]
    labels = dict(request.job.labels)
    assert len(labels.pop("pydag-request")) == 40
    assert labels == {"team": "sales", "pydag-dag": "daily-sales", "pydag-run": "r1", "pydag-task": "t"}
    assert handle == {"job_id": "pydag-1", "project": "acme-1", "region": "us-central1"}


@pytest.mark.parametrize("remembers", [True, False], ids=["request_id", "job_id"])
def test_a_job_that_was_accepted_without_saying_so_is_submitted_once(
    ctx: Context, dataproc: DataprocService, remembers: bool
) -> None:
    """Whether the service knows the request_id again or says ALREADY_EXISTS."""
    dataproc.remembers = remembers
    dataproc.faults["SubmitJob"] = ["accepted"]
    task = job()
    with pytest.raises(Exception, match="try again") as caught:
        task.submit(ctx, "pydag-1")
    assert is_transient(caught.value)
    assert len(dataproc.called("SubmitJob")) == 1

    handle = task.submit(ctx, "pydag-1")

    assert handle["job_id"] == "pydag-1"
    assert len(dataproc.jobs) == 1


@pytest.mark.parametrize("remembers", [True, False], ids=["request_id", "job_id"])
def test_a_job_of_another_request_is_refused_by_name(ctx: Context, dataproc: DataprocService, remembers: bool) -> None:
    dataproc.remembers = remembers
    job(args=["other"]).submit(ctx, "pydag-1")

    with pytest.raises(TaskError, match="Dataproc job 'pydag-1' exists already, but another request made it") as caught:
        job().submit(ctx, "pydag-1")

    assert not is_transient(caught.value)


def test_a_job_that_exists_but_is_not_shown_yet_is_asked_for_again(ctx: Context, dataproc: DataprocService) -> None:
    dataproc.remembers = False
    job().submit(ctx, "pydag-1")
    dataproc.faults["GetJob"] = ["hidden"]

    with pytest.raises(TaskError, match="does not show it yet") as caught:
        job().submit(ctx, "pydag-1")

    assert is_transient(caught.value)
    assert job().submit(ctx, "pydag-1")["job_id"] == "pydag-1"


@pytest.mark.parametrize("code", ["FAILED_PRECONDITION", "INVALID_ARGUMENT", "NOT_FOUND"])
def test_a_definite_refusal_is_one_clear_line(ctx: Context, dataproc: DataprocService, code: str) -> None:
    dataproc.refuse("SubmitJob", code, "Cluster is\nin state ERROR")

    with pytest.raises(TaskError, match="Dataproc job 'pydag-1' was refused: Cluster is in state ERROR") as caught:
        job().submit(ctx, "pydag-1")

    assert not is_transient(caught.value)


def test_a_missing_cluster_is_told(ctx: Context, dataproc: DataprocService) -> None:
    dataproc.clusters.clear()

    with pytest.raises(TaskError, match="there is no cluster us-central1/c in project 'acme-1'; create it"):
        job().submit(ctx, "pydag-1")

    assert dataproc.called("SubmitJob") == []


# files ----------------------------------------------------------------------------------------------------------------


def test_a_local_file_is_copied_under_its_content_hash(
    ctx: Context, dataproc: DataprocService, http: HttpService
) -> None:
    (ctx.folder / "job.py").write_bytes(b"print(1);")
    (ctx.folder / "lib.zip").write_bytes(b"zip")
    address = f"pydag/{hashlib.sha256(b'print(1);').hexdigest()}/job.py"

    job(main="job.py", py_files=["lib.zip", "gs://bucket/other.py"], jars=["file:///on/the/cluster.jar"]).submit(
        ctx, "pydag-1"
    )

    assert http.objects["staging", address] == b"print(1);"
    sent = dataproc.called("SubmitJob")[0].job.pyspark_job
    assert sent.main_python_file_uri == f"gs://staging/{address}"
    [library, other] = sent.python_file_uris
    assert library.endswith("/lib.zip")
    assert other == "gs://bucket/other.py"
    assert list(sent.jar_file_uris) == ["file:///on/the/cluster.jar"]
    uploads = http.sent("POST", "/upload/.*")
    assert [upload.query["ifGenerationMatch"] for upload in uploads] == [["0"], ["0"]]


def test_a_file_that_is_there_is_not_copied_again(ctx: Context, http: HttpService) -> None:
    (ctx.folder / "job.py").write_text("print(1)")
    task = job(main="job.py")

    task.submit(ctx, "pydag-1")
    task.submit(ctx, "pydag-2")

    assert len(http.sent("POST", "/upload/.*")) == 1


def test_a_file_that_another_task_copies_in_the_same_moment_is_fine(
    ctx: Context, dataproc: DataprocService, http: HttpService
) -> None:
    """https://cloud.google.com/storage/docs/request-preconditions: 412."""
    (ctx.folder / "job.py").write_text("print(1)")
    task = job(main="job.py")
    task.submit(ctx, "pydag-1")
    http.refusals["GET /storage/v1/b/staging/o/.*"] = (404, {"error": {"code": 404, "message": "not yet"}})

    task.submit(ctx, "pydag-2")

    assert len(http.sent("POST", "/upload/.*")) == 2
    assert len(http.objects) == 1
    assert len(dataproc.jobs) == 2


def test_a_changed_file_is_another_request(ctx: Context) -> None:
    (ctx.folder / "job.py").write_text("print(1)")
    job(main="job.py").submit(ctx, "pydag-1")
    (ctx.folder / "job.py").write_text("print(2)")

    with pytest.raises(TaskError, match="another request made it"):
        job(main="job.py").submit(ctx, "pydag-1")


def test_a_file_edited_after_planning_changes_nothing(
    ctx: Context, dataproc: DataprocService, http: HttpService
) -> None:
    dataproc.remembers = False
    (ctx.folder / "job.py").write_bytes(b"print(1);")
    (ctx.folder / "lib.py").write_bytes(b"lib = 1;")
    task = job(main="job.py", py_files=["lib.py"]).rendered(ctx)
    (ctx.folder / "job.py").write_bytes(b"print(2);")

    task.submit(ctx, "pydag-1")
    (ctx.folder / "lib.py").unlink()

    assert task.submit(ctx, "pydag-1")["job_id"] == "pydag-1"  # sent again, it is the same request
    assert sorted(http.objects.values()) == [b"lib = 1;", b"print(1);"]


def test_a_large_file_is_not_kept_but_may_not_change(
    ctx: Context, http: HttpService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staged_file, "MOST_KEPT", 3)
    (ctx.folder / "a.jar").write_bytes(b"jar one;")
    task = job(jars=["a.jar"]).rendered(ctx)
    (ctx.folder / "a.jar").write_bytes(b"jar two;")

    with pytest.raises(TaskError, match=r"file 'a\.jar' changed after the run was planned; start a new run") as caught:
        task.submit(ctx, "pydag-1")
    assert not is_transient(caught.value)

    (ctx.folder / "a.jar").write_bytes(b"jar one;")
    task.submit(ctx, "pydag-1")
    (ctx.folder / "a.jar").unlink()
    task.submit(ctx, "pydag-1")  # it lies in the bucket
    assert list(http.objects.values()) == [b"jar one;"]


def test_a_bucket_that_may_not_be_written_is_told(ctx: Context, http: HttpService) -> None:
    (ctx.folder / "job.py").write_text("print(1)")
    http.refusals["POST /upload/.*"] = (403, {"error": {"code": 403, "message": "no access"}})

    with pytest.raises(TaskError, match=r"file 'job\.py' cannot be copied to gs://staging: "):
        job(main="job.py").submit(ctx, "pydag-1")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"main": "none.py"}, "field 'main': file 'none.py' does not exist; looked for /"),
        ({"jars": ["none.jar"]}, "field 'jars': file 'none.jar' does not exist"),
        ({"py_files": ["."]}, r"field 'py_files': file '\.' is a folder"),
        ({"config": {"scheduling": {"max_failure": 1}}}, "field 'config': .*max_failure"),
    ],
)
def test_what_is_missing_is_told_before_anything_runs(
    ctx: Context, dataproc: DataprocService, http: HttpService, fields: dict[str, Any], expected: str
) -> None:
    with pytest.raises(DefinitionError, match=expected):
        job(**fields).check(ctx)
    assert http.requests == []
    assert dataproc.calls == []


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"main": "job.txt"}, "expected a .py file, got 'job.txt'"),
        ({"arg": []}, "did you mean 'args'?"),
        ({"args": "--x"}, "field 'args'"),
        ({"args": [True]}, "field 'args.0'"),
        ({"properties": {"a": []}}, "field 'properties.a'"),
    ],
)
def test_a_mistake_is_told_at_construction(fields: dict[str, Any], expected: str) -> None:
    with pytest.raises(DefinitionError, match=expected):
        job(**fields)


# the end --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "state", ["PENDING", "SETUP_DONE", "RUNNING", "CANCEL_PENDING", "CANCEL_STARTED", "ATTEMPT_FAILURE"]
)
def test_a_job_is_polled_while_it_has_not_ended(ctx: Context, dataproc: DataprocService, state: str) -> None:
    task = job()
    handle = task.submit(ctx, "pydag-1")
    dataproc.set_job("pydag-1", state, "waits for\nmemory")

    assert task.poll(ctx, handle) == Running(detail=f"Spark job {state}: waits for memory")


def test_the_drivers_output_reaches_the_log(
    ctx: Context, dataproc: DataprocService, http: HttpService, log: Lines
) -> None:
    task = job()
    handle = task.submit(ctx, "pydag-1")
    http.objects["staging", f"{OUTPUT[13:]}.000000000"] = b"first\r\nsecond, cut \xc3"
    http.objects["staging", f"{OUTPUT[13:]}.000000001"] = b"\xa9 here\nlast"
    dataproc.set_job("pydag-1", "DONE", output=OUTPUT)

    assert task.poll(ctx, handle) == Done()
    assert log.lines[-3:] == ["first", "second, cut é here", "last"]
    assert task.result(ctx, handle)["driver_output_uri"] == OUTPUT


def test_the_last_lines_of_the_driver_become_the_error(
    ctx: Context, dataproc: DataprocService, http: HttpService, log: Lines
) -> None:
    task = job()
    handle = task.submit(ctx, "pydag-1")
    printed = """25/11/21 09:59:59 ERROR TaskSetManager: Task 0 in stage 0.0 failed
Traceback (most recent call last):
  File "/work/job.py", line 3, in <module>
    frame.write.csv("out")
    ^^^^^^^^^^^^^^^^^^^^^^
  File "/usr/lib/spark/python/lib/pyspark.zip/pyspark/sql/readwriter.py", line 1864, in csv
py4j.protocol.Py4JJavaError: An error occurred while calling o53.save.
: org.apache.spark.SparkException: Malformed record in gs://bucket/a.csv: [1,food]
\tat org.apache.spark.sql.errors.QueryExecutionErrors$.malformed(QueryExecutionErrors.scala:1)
\tat java.base/java.lang.Thread.run(Thread.java:833)
\t... 1 more

25/11/21 10:00:00 INFO ShutdownHookManager: Deleting directory
"""
    http.objects["staging", f"{OUTPUT[13:]}.000000000"] = printed.encode()
    dataproc.set_job("pydag-1", "ERROR", "Job failed with message [...]", OUTPUT)

    assert task.poll(ctx, handle) == Failed(
        reason="Dataproc job 'pydag-1' failed: "
        "job.py:3: py4j.protocol.Py4JJavaError: An error occurred while calling o53.save. | "
        ": org.apache.spark.SparkException: Malformed record in gs://bucket/a.csv: [1,food]",
        transient=False,
    )
    assert "\t... 1 more" in log.lines


def test_a_syntax_error_keeps_its_place() -> None:
    tail = driver_output.Tail()
    for line in ['  File "/work/bad.py", line 1', "    def f(:", "          ^", "SyntaxError: invalid syntax"]:
        tail.add(line)

    assert str(tail) == 'File "/work/bad.py", line 1 | def f(: | ^ | SyntaxError: invalid syntax'


def test_a_very_long_error_keeps_its_end() -> None:
    tail = driver_output.Tail()
    tail.add("x" * 5000 + "the end")

    assert len(str(tail)) == 2003
    assert str(tail).endswith("the end")


def test_without_output_the_details_are_the_error(ctx: Context, dataproc: DataprocService) -> None:
    task = job()
    handle = task.submit(ctx, "pydag-1")
    dataproc.set_job("pydag-1", "ERROR", "exit code 3")

    assert task.poll(ctx, handle) == Failed(reason="Dataproc job 'pydag-1' failed: exit code 3")


def test_output_that_cannot_be_read_does_not_hide_the_end(
    ctx: Context, dataproc: DataprocService, http: HttpService, log: Lines
) -> None:
    task = job()
    handle = task.submit(ctx, "pydag-1")
    http.refusals["GET /storage/v1/b/staging/o"] = (403, {"error": {"code": 403, "message": "no access"}})
    dataproc.set_job("pydag-1", "ERROR", "exit code 3", OUTPUT)

    assert task.poll(ctx, handle) == Failed(reason="Dataproc job 'pydag-1' failed: exit code 3")
    assert any("cannot be read" in line for line in log.lines)


def test_output_that_breaks_off_is_not_logged_and_does_not_hide_the_end(
    ctx: Context, dataproc: DataprocService, http: HttpService, log: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver_output, "PATIENCE", 0.01)
    task = job()
    handle = task.submit(ctx, "pydag-1")
    http.objects["staging", f"{OUTPUT[13:]}.000000000"] = b"first\n"
    http.objects["staging", f"{OUTPUT[13:]}.000000001"] = b"second\n"
    http.silent = ["GET /download/.*1"]
    dataproc.set_job("pydag-1", "DONE", output=OUTPUT)

    assert task.poll(ctx, handle) == Done()

    assert "first" not in log.lines
    [warning] = [line for line in log.lines if "cannot be read" in line]
    assert OUTPUT in warning


@pytest.mark.parametrize("uri", ["gs://X/driveroutput", "gs://", "nothing"])
def test_an_address_that_is_none_does_not_hide_the_end(ctx: Context, dataproc: DataprocService, uri: str) -> None:
    task = job()
    handle = task.submit(ctx, "pydag-1")
    dataproc.set_job("pydag-1", "DONE", output=uri)

    assert task.poll(ctx, handle) == Done()


def test_of_long_output_the_end_is_taken(
    ctx: Context, dataproc: DataprocService, http: HttpService, log: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver_output, "LONGEST_OUTPUT", 10)
    task = job()
    handle = task.submit(ctx, "pydag-1")
    http.objects["staging", f"{OUTPUT[13:]}.000000000"] = b"0123456789\n"
    http.objects["staging", f"{OUTPUT[13:]}.000000001"] = b"abc\n"  # 15 bytes in all
    dataproc.set_job("pydag-1", "DONE", output=OUTPUT)

    task.poll(ctx, handle)

    assert log.lines[-2:] == ["56789", "abc"]
    assert "the first 5 bytes of the driver output are left out" in log.lines[-3]


@pytest.mark.parametrize(
    ("details", "transient"),
    [
        ("Task not found", True),
        ("Task was not acquired", True),
        ("Agent is unhealthy", True),
        ("No agent on master node(s) found to be active", True),
        ("Agent lost: the local cloud stopped while the job ran, and its Spark with it", True),
        ("Job failed with message [ValueError]", False),
    ],
)
def test_only_a_failure_of_dataproc_itself_is_transient(
    ctx: Context, dataproc: DataprocService, details: str, transient: bool
) -> None:
    task = job()
    handle = task.submit(ctx, "pydag-1")
    dataproc.set_job("pydag-1", "ERROR", details)

    status = task.poll(ctx, handle)

    assert isinstance(status, Failed)
    assert status.transient is transient


def test_cancel_requests_the_end(ctx: Context, dataproc: DataprocService) -> None:
    task = job()
    handle = task.submit(ctx, "pydag-1")

    task.cancel(ctx, handle)

    assert isinstance(task.poll(ctx, handle), Running)
    dataproc.set_job("pydag-1", "CANCELLED")
    assert task.poll(ctx, handle) == Failed(reason="Dataproc job 'pydag-1' was cancelled: it printed nothing")


def test_cancelling_what_has_ended_is_no_error(ctx: Context, dataproc: DataprocService) -> None:
    task = job()
    handle = task.submit(ctx, "pydag-1")
    dataproc.refuse("CancelJob", "FAILED_PRECONDITION", "Job is in state DONE")

    task.cancel(ctx, handle)


def test_a_job_that_is_gone_is_an_error_and_not_a_success(ctx: Context, dataproc: DataprocService) -> None:
    task = job()
    handle = task.submit(ctx, "pydag-1")
    dataproc.jobs.clear()

    with pytest.raises(TaskError, match="'pydag-1' cannot be looked at: Not found"):
        task.poll(ctx, handle)


# what it touches ------------------------------------------------------------------------------------------------------


def test_config_is_merged_over_what_is_sent(ctx: Context, dataproc: DataprocService) -> None:
    config = {"scheduling": {"max_failures_per_hour": 1}, "pyspark_job": {"archive_uris": ["gs://bucket/a.zip"]}}

    job(config=config, args=["x"]).submit(ctx, "pydag-1")

    sent = dataproc.called("SubmitJob")[0].job
    assert sent.scheduling.max_failures_per_hour == 1
    assert list(sent.pyspark_job.archive_uris) == ["gs://bucket/a.zip"]
    assert list(sent.pyspark_job.args) == ["x"]


def test_a_job_is_opaque_until_it_declares(ctx: Context) -> None:
    assert job().reads(ctx) is None
    assert job().writes(ctx) is None
    assert job().uses(ctx) == {Cluster("c")}
    assert not job().atomic(ctx)


def test_its_own_files_in_buckets_are_reads(ctx: Context) -> None:
    task = job(reads=["d.a"], writes=[])

    assert task.reads(ctx) == frozenset({Table("acme-1.d.a"), GCSObject("gs://bucket/job.py")})
    assert task.writes(ctx) == frozenset()


def test_templates_are_rendered(ctx: Context) -> None:
    task = job(main="gs://bucket/{{ ds }}.py", args=["--day", "{{ ds }}"]).rendered(ctx)

    assert (task.main, task.args) == ("gs://bucket/2022-01-31.py", ("--day", "2022-01-31"))


def test_arguments_and_properties_may_come_from_upstream(ctx: Context, dataproc: DataprocService) -> None:
    count = Output("count")
    task = job(args=["--rows", count], properties={"spark.x": count}, config={"scheduling": {"max_failures_total": 1}})
    task.check(ctx)

    task.resolved(replace(ctx, outputs=lambda _: 7)).submit(ctx, "pydag-1")

    pyspark = dataproc.called("SubmitJob")[0].job.pyspark_job
    assert list(pyspark.args) == ["--rows", "7"]
    assert dict(pyspark.properties) == {"spark.x": "7"}


def test_all_arguments_may_come_from_upstream(ctx: Context) -> None:
    resolved = job(args=Output("argv")).resolved(replace(ctx, outputs=lambda _: ["a", 1]))
    assert resolved.args == ("a", "1")
    with pytest.raises(TaskError, match=r"field 'args\.0': input should be a valid string"):
        job(args=Output("argv")).resolved(replace(ctx, outputs=lambda _: [{}]))


def test_a_list_shows_the_jobs_that_go_on_over_all_its_pages(ctx: Context, dataproc: DataprocService) -> None:
    # Given jobs of which one is over
    handles = [job().submit(ctx, f"pydag-{number}") for number in range(4)]
    dataproc.set_job("pydag-2", "DONE")
    assert len({job().listing(handle) for handle in handles}) == 1
    # When some of them are listed
    wanted = frozenset({"pydag-0", "pydag-1", "pydag-2"})
    found = job().listed(ctx, handles[0], wanted, datetime(2026, 1, 2, tzinfo=UTC))
    # Then those are there that are not over, even if the service shows others
    assert found == dict.fromkeys(["pydag-0", "pydag-1"], Running(detail="Spark job PENDING"))
    lists = dataproc.called("ListJobs")
    assert len(lists) == 4
    assert {(one.project_id, one.region, one.job_state_matcher.name) for one in lists} == {
        ("acme-1", "us-central1", "ACTIVE")
    }


def test_a_list_that_is_refused_says_so(ctx: Context, dataproc: DataprocService) -> None:
    handle = job().submit(ctx, "pydag-1")
    dataproc.refuse("ListJobs", "PERMISSION_DENIED", "you may not")
    with pytest.raises(TaskError, match="Dataproc jobs in region 'us-central1' cannot be listed: you may not"):
        job().listed(ctx, handle, frozenset({"pydag-1"}), datetime(2026, 1, 2, tzinfo=UTC))
