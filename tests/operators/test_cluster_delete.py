"""https://cloud.google.com/dataproc/docs/reference/rpc/google.cloud.dataproc.v1#deleteclusterrequest."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pydag_gcp.errors import TaskError
from pydag_gcp.operator import Context, Done, Failed, Running
from pydag_gcp.operators import DataprocDeleteCluster
from pydag_gcp.output import Output
from pydag_gcp.resources import Cluster
from pydag_gcp.retry import is_transient

if TYPE_CHECKING:
    from tests.operators.conftest import DataprocService


OURS = {"pydag-dag": "daily-sales"}


def delete(**fields: Any) -> DataprocDeleteCluster:
    return DataprocDeleteCluster(**{"task_id": "t", "cluster": Cluster("c"), **fields})


def test_a_cluster_is_deleted_by_its_uuid(ctx: Context, dataproc: DataprocService) -> None:
    dataproc.add_cluster("c", uuid="u1", labels=OURS)
    task = delete()

    handle = task.submit(ctx, "pydag-1")

    [request] = dataproc.called("DeleteCluster")
    assert (request.cluster_uuid, request.request_id) == ("u1", "pydag-1")
    assert task.poll(ctx, handle) == Running(detail="cluster c DELETING")
    del dataproc.clusters["c"]
    dataproc.end_operation()
    assert task.poll(ctx, handle) == Done()
    assert task.result(ctx, handle) == {
        "cluster_name": "c",
        "region": "us-central1",
        "cluster_uuid": "u1",
        "existed": True,
    }


def test_gone_already_is_success(ctx: Context, dataproc: DataprocService) -> None:
    task = delete()

    handle = task.submit(ctx, "pydag-1")

    assert task.poll(ctx, handle) == Done()
    assert task.result(ctx, handle)["existed"] is False
    assert dataproc.called("DeleteCluster") == []


def test_gone_between_look_and_deletion_is_success(ctx: Context, dataproc: DataprocService) -> None:
    dataproc.add_cluster("c", labels=OURS)
    dataproc.faults["DeleteCluster"] = ["hidden"]
    task = delete()

    handle = task.submit(ctx, "pydag-1")
    del dataproc.clusters["c"]

    assert task.poll(ctx, handle) == Done()


def test_a_later_cluster_of_the_same_name_is_left_alone(ctx: Context, dataproc: DataprocService) -> None:
    dataproc.add_cluster("c", uuid="u2", labels=OURS)
    task = delete(cluster_uuid="u1")

    handle = task.submit(ctx, "pydag-1")

    assert task.poll(ctx, handle) == Done()
    assert dataproc.called("DeleteCluster") == []


def test_a_cluster_that_is_being_deleted_is_waited_for(ctx: Context, dataproc: DataprocService) -> None:
    dataproc.add_cluster("c", "DELETING", uuid="u1", labels=OURS)
    task = delete()

    handle = task.submit(ctx, "pydag-1")

    assert dataproc.called("DeleteCluster") == []
    assert isinstance(task.poll(ctx, handle), Running)
    dataproc.add_cluster("c", "CREATING", uuid="u2", labels=OURS)
    assert task.poll(ctx, handle) == Done()


def test_a_lost_answer_deletes_once(ctx: Context, dataproc: DataprocService) -> None:
    dataproc.add_cluster("c", uuid="u1", labels=OURS)
    dataproc.faults["DeleteCluster"] = ["accepted"]
    task = delete()
    with pytest.raises(Exception, match="try again") as caught:
        task.submit(ctx, "pydag-1")
    assert is_transient(caught.value)

    # Meanwhile that cluster is gone, and another run has created one of the same name.
    dataproc.add_cluster("c", uuid="u2", labels=OURS)
    handle = task.submit(ctx, "pydag-1")

    assert task.poll(ctx, handle) == Done()
    assert dataproc.clusters["c"].status.state.name == "RUNNING"


def test_a_failed_deletion_tells_why(ctx: Context, dataproc: DataprocService) -> None:
    dataproc.add_cluster("c", labels=OURS)
    task = delete()
    handle = task.submit(ctx, "pydag-1")
    dataproc.end_operation(code=7, message="no permission on disk")

    assert task.poll(ctx, handle) == Failed(
        reason="cluster us-central1/c could not be deleted: no permission on disk", transient=False
    )


def test_a_deletion_that_ends_in_error_may_be_tried_again(ctx: Context, dataproc: DataprocService) -> None:
    dataproc.add_cluster("c", "DELETING", labels=OURS)
    task = delete()
    handle = task.submit(ctx, "pydag-1")
    dataproc.set_state("c", "ERROR", "disk in use")

    assert task.poll(ctx, handle) == Failed(
        reason="cluster us-central1/c could not be deleted, it is ERROR: disk in use", transient=True
    )


def test_a_refused_deletion_is_one_clear_line(ctx: Context, dataproc: DataprocService) -> None:
    dataproc.add_cluster("c", labels=OURS)
    dataproc.refuse("DeleteCluster", "PERMISSION_DENIED", "not you")

    with pytest.raises(TaskError, match="cluster us-central1/c cannot be deleted: not you; grant the account"):
        delete().submit(ctx, "pydag-1")


def test_cancel_waits_for_the_deletion(ctx: Context, dataproc: DataprocService) -> None:
    dataproc.add_cluster("c", labels=OURS)
    task = delete()
    handle = task.submit(ctx, "pydag-1")

    task.cancel(ctx, handle)

    assert isinstance(task.poll(ctx, handle), Running)


def test_it_uses_and_writes_its_cluster(ctx: Context) -> None:
    assert delete().uses(ctx) == delete().writes(ctx) == {Cluster("c")}
    assert delete().reads(ctx) == frozenset()


@pytest.mark.parametrize("labels", [{}, {"pydag-dag": "other"}])
def test_a_cluster_of_somebody_else_is_deleted_only_by_its_uuid(
    ctx: Context, dataproc: DataprocService, labels: dict[str, str]
) -> None:
    dataproc.add_cluster("c", uuid="u1", labels=labels)

    with pytest.raises(TaskError, match=r"DAG 'Daily Sales' did not create cluster us-central1/c; .*cluster_uuid='u1'"):
        delete().submit(ctx, "pydag-1")
    assert dataproc.called("DeleteCluster") == []

    delete(cluster_uuid="u1").submit(ctx, "pydag-1")
    assert len(dataproc.called("DeleteCluster")) == 1


def test_a_teardown_deletes_only_the_cluster_of_its_setup(ctx: Context, dataproc: DataprocService) -> None:
    made = {"cluster_name": "c", "region": "us-central1", "cluster_uuid": "u1"}
    in_run = replace(ctx, outputs={"create": made, "other": {"cluster_name": "d", "cluster_uuid": "u9"}}.get)
    dataproc.add_cluster("c", uuid="u2", labels=OURS)

    handle = delete(teardown_of=["other", "create"]).submit(in_run, "pydag-1")
    assert (handle["existed"], handle["cluster_uuid"]) == (False, "u1")
    assert dataproc.called("DeleteCluster") == []

    dataproc.add_cluster("c", uuid="u1", labels=OURS)
    delete(teardown_of="create").submit(in_run, "pydag-1")
    assert [request.cluster_uuid for request in dataproc.called("DeleteCluster")] == ["u1"]


def test_a_teardown_whose_setup_came_to_nothing_deletes_what_its_dag_created(
    ctx: Context, dataproc: DataprocService
) -> None:
    nothing = replace(ctx, outputs=lambda _: None)
    dataproc.add_cluster("c", uuid="u1", labels=OURS)
    delete(teardown_of="create").submit(nothing, "pydag-1")
    assert [request.cluster_uuid for request in dataproc.called("DeleteCluster")] == ["u1"]

    dataproc.add_cluster("c", uuid="u2", labels={"pydag-dag": "somebody-elses"})
    with pytest.raises(TaskError, match="did not create cluster"):
        delete(teardown_of="create").submit(nothing, "pydag-2")


def test_a_uuid_may_come_from_upstream(ctx: Context, dataproc: DataprocService) -> None:
    task = delete(cluster_uuid=Output("create")["cluster_uuid"])
    assert task.resolved(replace(ctx, outputs=lambda _: {"cluster_uuid": "u1"})).cluster_uuid == "u1"
