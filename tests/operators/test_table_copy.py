"""Copy jobs: https://cloud.google.com/bigquery/docs/reference/rest/v2/Job#JobConfigurationTableCopy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pydag_gcp.errors import DefinitionError, TaskError
from pydag_gcp.operator import Context, Done, Failed
from pydag_gcp.operators import BigQueryCopy
from pydag_gcp.resources import Table

if TYPE_CHECKING:
    from tests.operators.conftest import Cloud, HttpService


def copy(**fields: Any) -> BigQueryCopy:
    return BigQueryCopy(**{"task_id": "t", "source": "d.t", "destination": "d.u", **fields})


def test_the_request_says_what_the_fields_say(ctx: Context, http: HttpService) -> None:
    task = copy(source=["d.t", "other-1.d.t$20220131"], destination="d.u$20220131", write="WRITE_APPEND")

    task.submit(ctx, "pydag-1")

    assert http.requests[0].json["configuration"]["copy"] == {
        "sourceTables": [
            {"projectId": "acme-1", "datasetId": "d", "tableId": "t"},
            {"projectId": "other-1", "datasetId": "d", "tableId": "t$20220131"},
        ],
        "destinationTable": {"projectId": "acme-1", "datasetId": "d", "tableId": "u$20220131"},
        "operationType": "COPY",
        "writeDisposition": "WRITE_APPEND",
        "createDisposition": "CREATE_IF_NEEDED",
    }


@pytest.mark.parametrize(
    ("operation", "write"),
    [("COPY", "WRITE_TRUNCATE"), ("RESTORE", "WRITE_TRUNCATE"), ("CLONE", "WRITE_EMPTY"), ("SNAPSHOT", "WRITE_EMPTY")],
)
def test_a_clone_and_a_snapshot_replace_nothing(ctx: Context, operation: str, write: str) -> None:
    task = copy(operation=operation)

    assert task.configuration(ctx)["copy"]["operationType"] == operation
    assert task.configuration(ctx)["copy"]["writeDisposition"] == write
    assert task.replaces(ctx) == ({Table("acme-1.d.u")} if write == "WRITE_TRUNCATE" else frozenset())


def test_what_it_touches(ctx: Context) -> None:
    audit = Table("d.audit", shared=True)

    task = copy(source=["d.t", "d.v"], destination=audit, write="WRITE_APPEND")

    assert task.reads(ctx) == {Table("acme-1.d.t"), Table("acme-1.d.v")}
    assert task.writes(ctx) == {Table("acme-1.d.audit", shared=True)}
    assert copy(destination=audit).writes(ctx) == {Table("acme-1.d.audit")}  # no append: alone
    assert task.atomic(ctx)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"source": []}, "at least 1"),
        ({"source": "d.events_*"}, "expected one table"),
        ({"source": ["d.t", "d.v"], "operation": "CLONE"}, "operation 'CLONE' takes one source, got 2"),
        ({"operation": "SNAPSHOT", "write": "WRITE_TRUNCATE"}, "operation 'SNAPSHOT' makes a new table"),
        ({"operation": "RESTORE", "write": "WRITE_APPEND"}, "operation 'RESTORE' adds to no table"),
        ({"config": {"copy": {"operationType": "CLONE"}}}, "is what the field 'operation' says"),
    ],
)
def test_what_cannot_be_meant_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(DefinitionError, match=r"task 't'") as raised:
        copy(**fields)
    assert message in str(raised.value)


def test_a_copy_replaces_its_destination(cloud: Cloud) -> None:
    cloud.sql("CREATE TABLE t AS SELECT 1 AS n; CREATE TABLE v AS SELECT 2 AS n; CREATE TABLE u AS SELECT 9 AS n")
    sources = [f"{cloud.dataset}.t", f"{cloud.dataset}.v"]

    for _ in range(2):
        status, result = cloud.run(copy(source=sources, destination=f"{cloud.dataset}.u"))
        assert (status, result["rows"]) == (Done(), 2)

    assert cloud.sql("SELECT n FROM u ORDER BY n") == [(1,), (2,)]


@pytest.mark.parametrize("fault", ["accepted-503", "lost-answer"])
def test_a_lost_answer_leaves_one_job(cloud: Cloud, fault: str) -> None:
    cloud.sql("CREATE TABLE t AS SELECT 1 AS n")
    cloud.on_next("bigquery.jobs.insert", fault)

    task = copy(source=f"{cloud.dataset}.t", destination=f"{cloud.dataset}.u", write="WRITE_APPEND")
    status, _ = cloud.run(task)

    assert status == Done()
    assert cloud.calls("bigquery.jobs.insert") == 2
    assert cloud.sql("SELECT n FROM u") == [(1,)]


@pytest.mark.parametrize(
    ("fields", "hint"),
    [({"write": "WRITE_EMPTY"}, "write='WRITE_TRUNCATE' replaces"), ({"source": "missing"}, "Not found")],
)
def test_a_failing_copy_tells_why(cloud: Cloud, fields: dict[str, str], hint: str) -> None:
    cloud.sql("CREATE TABLE t AS SELECT 1 AS n; CREATE TABLE u AS SELECT 2 AS n")
    source = f"{cloud.dataset}.{fields.pop('source', 't')}"

    status, _ = cloud.run(copy(source=source, destination=f"{cloud.dataset}.u", **fields))

    assert isinstance(status, Failed)
    assert hint in status.reason
    assert cloud.sql("SELECT n FROM u") == [(2,)]


@pytest.mark.parametrize("operation", ["CLONE", "SNAPSHOT", "RESTORE"])
def test_what_the_local_cloud_does_not_do_it_refuses_by_name(cloud: Cloud, operation: str) -> None:
    task = copy(source=f"{cloud.dataset}.t", destination=f"{cloud.dataset}.u", operation=operation)

    with pytest.raises(TaskError, match=f"operationType {operation}"):
        cloud.run(task)


def test_a_clone_over_a_table_says_that_it_must_be_new(ctx: Context, http: HttpService) -> None:
    task = copy(operation="CLONE")
    handle = task.submit(ctx, "pydag-1")
    http.end("pydag-1", error={"reason": "duplicate", "message": "Already Exists: Table acme-1:d.u"})

    status = task.poll(ctx, handle)

    assert isinstance(status, Failed)
    assert status.reason.endswith("a clone is always a new table: drop this one before, or name another")
