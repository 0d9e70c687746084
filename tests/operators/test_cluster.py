"""Every state that a cluster can be found in.

https://cloud.google.com/dataproc/docs/reference/rpc/google.cloud.dataproc.v1#state_1
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from pydag_gcp.errors import DefinitionError, NotYet, TaskError
from pydag_gcp.operator import Context, Done, Failed, Running
from pydag_gcp.operators import DataprocCreateCluster
from pydag_gcp.resources import Cluster
from pydag_gcp.retry import is_transient

if TYPE_CHECKING:
    from tests.operators.conftest import DataprocService


def create(**fields: Any) -> DataprocCreateCluster:
    return DataprocCreateCluster(**{"task_id": "t", "cluster": Cluster("c"), **fields})


def ours(task: DataprocCreateCluster, ctx: Context, dataproc: DataprocService) -> dict[str, str]:
    """The labels that a cluster of the task's specification has, made by another try."""
    task.submit(ctx, "pydag-before")
    labels = dict(dataproc.clusters.pop("c").labels)
    dataproc.calls.clear()
    dataproc.operations.clear()
    return labels


# nothing there --------------------------------------------------------------------------------------------------------


def test_a_missing_cluster_is_created_by_one_request(ctx: Context, dataproc: DataprocService) -> None:
    task = create(workers=3, labels={"team": "sales"})

    handle = task.submit(ctx, "pydag-1")

    [request] = dataproc.called("CreateCluster")
    assert (request.project_id, request.region, request.request_id) == ("acme-1", "us-central1", "pydag-1")
    labels = dict(request.cluster.labels)
    assert labels.pop("pydag-spec") == labels.pop("pydag-request") == handle["spec"]
    assert labels == {
        "team": "sales",
        "pydag-try": "pydag-1",
        "pydag-dag": "daily-sales",
        "pydag-run": "r1",
        "pydag-task": "t",
    }
    config = request.cluster.config
    assert (config.master_config.num_instances, config.worker_config.num_instances) == (1, 3)
    assert config.worker_config.machine_type_uri == "e2-standard-4"
    assert config.software_config.image_version == "2.2-debian12"
    assert config.lifecycle_config.idle_delete_ttl == timedelta(minutes=30)
    assert config.lifecycle_config.auto_delete_ttl == timedelta(hours=8)


def test_a_single_node_has_no_workers(ctx: Context, dataproc: DataprocService) -> None:
    create(workers=0).submit(ctx, "pydag-1")

    config = dataproc.clusters["c"].config
    assert "worker_config" not in config
    assert dict(config.software_config.properties) == {"dataproc:dataproc.allow.zero.workers": "true"}


def test_it_is_done_only_when_the_cluster_runs(ctx: Context, dataproc: DataprocService) -> None:
    task = create()
    handle = task.submit(ctx, "pydag-1")

    assert task.poll(ctx, handle) == Running(detail="cluster c CREATING")
    dataproc.set_state("c", "RUNNING")
    assert task.poll(ctx, handle) == Done()
    uuid = dataproc.clusters["c"].cluster_uuid
    assert task.result(ctx, handle) == {
        "cluster_name": "c",
        "region": "us-central1",
        "cluster_uuid": uuid,
        "reused": False,
    }


def test_a_create_that_was_accepted_without_saying_so_leaves_one_cluster(
    ctx: Context, dataproc: DataprocService
) -> None:
    task = create()
    dataproc.faults["CreateCluster"] = ["accepted"]
    with pytest.raises(Exception, match="try again") as caught:
        task.submit(ctx, "pydag-1")
    assert is_transient(caught.value)
    assert len(dataproc.called("CreateCluster")) == 1

    handle = task.submit(ctx, "pydag-1")

    assert len(dataproc.called("CreateCluster")) == 1
    dataproc.set_state("c", "RUNNING")
    assert task.poll(ctx, handle) == Done()
    assert task.result(ctx, handle)["reused"] is False


def test_losing_the_race_to_create_means_looking_again(ctx: Context, dataproc: DataprocService) -> None:
    task = create()
    labels = ours(task, ctx, dataproc)
    dataproc.add_cluster("c", "CREATING", labels=labels)
    dataproc.faults["GetCluster"] = ["hidden"]

    with pytest.raises(TaskError, match="is being created by another task") as caught:
        task.submit(ctx, "pydag-1")

    assert is_transient(caught.value)
    assert task.submit(ctx, "pydag-1")["operation"] is None


def test_a_refused_create_is_one_clear_line(ctx: Context, dataproc: DataprocService) -> None:
    dataproc.refuse("CreateCluster", "PERMISSION_DENIED", "Required 'compute.networks.use' permission")

    with pytest.raises(TaskError, match="cluster us-central1/c cannot be created: Required 'compute") as caught:
        create().submit(ctx, "pydag-1")

    assert not is_transient(caught.value)


# something there ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["RUNNING", "UPDATING"])
def test_a_running_cluster_of_the_same_specification_is_shared(
    ctx: Context, dataproc: DataprocService, state: str
) -> None:
    task = create()
    dataproc.add_cluster("c", state, labels=ours(task, ctx, dataproc))

    handle = task.submit(ctx, "pydag-1")

    assert task.poll(ctx, handle) == Done()
    assert task.result(ctx, handle)["reused"] is True
    assert dataproc.called("CreateCluster") == []


@pytest.mark.parametrize("state", ["RUNNING", "CREATING", "UPDATING", "STOPPED"])
def test_a_cluster_of_another_specification_is_refused_by_name(
    ctx: Context, dataproc: DataprocService, state: str
) -> None:
    dataproc.add_cluster("c", state, labels=ours(create(workers=5), ctx, dataproc))

    with pytest.raises(TaskError, match=f"cluster us-central1/c of another specification .*, {state}; delete it"):
        create().submit(ctx, "pydag-1")

    assert dataproc.called("CreateCluster") == dataproc.called("DeleteCluster") == []


def test_a_cluster_that_pydag_did_not_create_is_refused(ctx: Context, dataproc: DataprocService) -> None:
    dataproc.add_cluster("c")

    with pytest.raises(TaskError, match="that pydag did not create, RUNNING"):
        create().submit(ctx, "pydag-1")


@pytest.mark.parametrize("state", ["CREATING", "STARTING", "REPAIRING", "UNKNOWN"])
def test_a_cluster_on_its_way_is_waited_for(ctx: Context, dataproc: DataprocService, state: str) -> None:
    task = create()
    dataproc.add_cluster("c", state, labels=ours(task, ctx, dataproc))

    handle = task.submit(ctx, "pydag-1")

    assert task.poll(ctx, handle) == Running(detail=f"cluster c {state}")
    dataproc.set_state("c", "RUNNING")
    assert task.poll(ctx, handle) == Done()
    assert task.result(ctx, handle)["reused"] is True


@pytest.mark.parametrize("state", ["STOPPING", "STOPPED"])
def test_a_stopped_cluster_is_refused(ctx: Context, dataproc: DataprocService, state: str) -> None:
    task = create()
    dataproc.add_cluster("c", state, labels=ours(task, ctx, dataproc))

    with pytest.raises(TaskError, match=f"cluster us-central1/c is {state}; start it again, or delete it"):
        task.submit(ctx, "pydag-1")


def test_a_cluster_being_deleted_is_waited_for_and_created_anew(ctx: Context, dataproc: DataprocService) -> None:
    task = create()
    dataproc.add_cluster("c", "DELETING", labels=ours(task, ctx, dataproc))

    with pytest.raises(NotYet, match="is being deleted") as caught:
        task.submit(ctx, "pydag-1")
    assert is_transient(caught.value)
    del dataproc.clusters["c"]

    task.submit(ctx, "pydag-1")

    assert dataproc.clusters["c"].labels["pydag-try"] == "pydag-1"


@pytest.mark.parametrize("state", ["ERROR", "ERROR_DUE_TO_UPDATE"])
def test_a_broken_cluster_is_replaced(ctx: Context, dataproc: DataprocService, state: str) -> None:
    task = create()
    dataproc.add_cluster("c", state, labels=ours(task, ctx, dataproc), uuid="broken")

    with pytest.raises(NotYet, match=f"was in {state}") as caught:
        task.submit(ctx, "pydag-1")

    assert is_transient(caught.value)
    [deletion] = dataproc.called("DeleteCluster")
    assert deletion.cluster_uuid == "broken"
    with pytest.raises(NotYet, match="is being deleted"):
        task.submit(ctx, "pydag-1")
    assert len(dataproc.called("DeleteCluster")) == 1
    del dataproc.clusters["c"]
    handle = task.submit(ctx, "pydag-1")
    dataproc.set_state("c", "RUNNING")
    assert task.poll(ctx, handle) == Done()


def test_a_foreign_cluster_that_still_runs_jobs_is_never_deleted(ctx: Context, dataproc: DataprocService) -> None:
    dataproc.add_cluster("c", "ERROR_DUE_TO_UPDATE")

    with pytest.raises(TaskError, match="that pydag did not create"):
        create().submit(ctx, "pydag-1")

    assert dataproc.called("DeleteCluster") == []


# it goes wrong --------------------------------------------------------------------------------------------------------


def test_a_failed_creation_is_told_and_does_not_burn_on(ctx: Context, dataproc: DataprocService) -> None:
    task = create()
    handle = task.submit(ctx, "pydag-1")
    dataproc.set_state("c", "ERROR", "Insufficient 'CPUS' quota.\nRequested 12")

    status = task.poll(ctx, handle)

    assert status == Failed(
        reason="cluster us-central1/c is in ERROR: Insufficient 'CPUS' quota. Requested 12; it is being deleted"
    )
    assert len(dataproc.called("DeleteCluster")) == 1


def test_a_failed_creation_is_never_sent_again_under_its_id(ctx: Context, dataproc: DataprocService) -> None:
    """The answer was lost; when it is asked for again the cluster has failed already."""
    task = create()
    dataproc.faults["CreateCluster"] = ["accepted"]
    with pytest.raises(Exception, match="try again"):
        task.submit(ctx, "pydag-1")
    dataproc.set_state("c", "ERROR", "broken")

    handle = task.submit(ctx, "pydag-1")

    assert isinstance(task.poll(ctx, handle), Failed)
    assert len(dataproc.called("CreateCluster")) == 1


def test_a_cluster_that_another_try_broke_is_worth_a_new_one(ctx: Context, dataproc: DataprocService) -> None:
    task = create()
    dataproc.add_cluster("c", "CREATING", labels=ours(task, ctx, dataproc))
    handle = task.submit(ctx, "pydag-1")
    dataproc.set_state("c", "ERROR")

    status = task.poll(ctx, handle)

    assert isinstance(status, Failed)
    assert status.transient
    assert dataproc.called("DeleteCluster") == []  # its own try sees to that


def test_a_cluster_deleted_during_its_creation_is_no_success(ctx: Context, dataproc: DataprocService) -> None:
    """https://github.com/apache/airflow/issues/61947: the operation ends well all the same."""
    task = create()
    handle = task.submit(ctx, "pydag-1")
    del dataproc.clusters["c"]
    assert isinstance(task.poll(ctx, handle), Running)
    dataproc.end_operation()

    assert task.poll(ctx, handle) == Failed(reason="cluster us-central1/c was deleted before it was ready")


@pytest.mark.parametrize(("code", "transient"), [(13, True), (8, False), (3, False)])
def test_a_creation_that_left_no_cluster_tells_why(
    ctx: Context, dataproc: DataprocService, code: int, transient: bool
) -> None:
    task = create()
    handle = task.submit(ctx, "pydag-1")
    del dataproc.clusters["c"]
    dataproc.end_operation(code=code, message="no such zone")

    assert task.poll(ctx, handle) == Failed(
        reason="cluster us-central1/c could not be created: no such zone", transient=transient
    )


def test_a_cluster_replaced_meanwhile_is_no_success(ctx: Context, dataproc: DataprocService) -> None:
    task = create()
    other = ours(create(workers=5), ctx, dataproc)
    handle = task.submit(ctx, "pydag-1")
    dataproc.add_cluster("c", "RUNNING", labels=other)

    assert task.poll(ctx, handle) == Failed(reason="cluster us-central1/c was replaced by another meanwhile")


def test_cancel_deletes_the_cluster_that_this_try_created(ctx: Context, dataproc: DataprocService) -> None:
    task = create()
    handle = task.submit(ctx, "pydag-1")

    task.cancel(ctx, handle)

    [deletion] = dataproc.called("DeleteCluster")
    assert deletion.cluster_uuid == dataproc.clusters["c"].cluster_uuid
    assert task.poll(ctx, handle) == Running(detail="cluster c DELETING")
    task.cancel(ctx, handle)
    assert len(dataproc.called("DeleteCluster")) == 1
    del dataproc.clusters["c"]
    dataproc.end_operation()
    assert isinstance(task.poll(ctx, handle), Failed | Running)


def test_cancel_leaves_a_shared_cluster_alone(ctx: Context, dataproc: DataprocService) -> None:
    task = create()
    dataproc.add_cluster("c", "CREATING", labels=ours(task, ctx, dataproc))
    handle = task.submit(ctx, "pydag-1")

    task.cancel(ctx, handle)

    assert dataproc.called("DeleteCluster") == []


# the specification ----------------------------------------------------------------------------------------------------


def test_config_is_merged_over_what_is_sent(ctx: Context, dataproc: DataprocService) -> None:
    config = {
        "gce_cluster_config": {"subnetwork_uri": "sub", "service_account": "a@b"},
        "worker_config": {"disk_config": {"num_local_ssds": 1}},
        "lifecycle_config": {"auto_delete_ttl": "3600s"},
    }

    create(config=config, disk_gb=50).submit(ctx, "pydag-1")

    sent = dataproc.called("CreateCluster")[0].cluster.config
    assert sent.gce_cluster_config.subnetwork_uri == "sub"
    assert sent.worker_config.disk_config.num_local_ssds == 1
    assert sent.worker_config.disk_config.boot_disk_size_gb == 50
    assert sent.lifecycle_config.auto_delete_ttl == timedelta(hours=1)
    assert sent.lifecycle_config.idle_delete_ttl == timedelta(minutes=30)


def test_labels_are_no_part_of_the_specification(ctx: Context, dataproc: DataprocService) -> None:
    dataproc.add_cluster("c", labels=ours(create(labels={"team": "sales"}), ctx, dataproc))

    assert create().poll(ctx, create().submit(ctx, "pydag-1")) == Done()


def test_config_that_dataproc_does_not_know_is_told_before_anything_runs(
    ctx: Context, dataproc: DataprocService
) -> None:
    with pytest.raises(DefinitionError, match=r"task 't': field 'config': .*subnet"):
        create(config={"gce_cluster_config": {"subnet": "x"}}).check(ctx)
    assert dataproc.calls == []


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"workers": 1}, r"0 workers \(a single node\) or at least 2, got 1"),
        ({"cluster": {"name": "C"}}, "expected lower-case letters"),
        ({"cluster": {"name": "c", "region": "us central1"}}, "expected a region such as 'us-central1'"),
        ({"idle_delete": 60}, "field 'idle_delete'"),
        ({"max_age": timedelta(days=15)}, "field 'max_age'"),
        ({"worker": 2}, "did you mean 'workers'?"),
    ],
)
def test_a_mistake_is_told_at_construction(fields: dict[str, Any], expected: str) -> None:
    with pytest.raises(DefinitionError, match=expected):
        create(**fields)


def test_it_uses_and_writes_its_cluster(ctx: Context) -> None:
    task = create()

    assert task.uses(ctx) == task.writes(ctx) == {Cluster("c")}
    assert task.reads(ctx) == frozenset()


@pytest.mark.parametrize(
    ("state", "there"),
    [("RUNNING", True), ("UPDATING", True), ("CREATING", False), ("ERROR", False), ("STOPPED", False)],
)
def test_a_service_is_there_if_its_cluster_takes_jobs(
    ctx: Context, dataproc: DataprocService, state: str, there: bool
) -> None:
    task = create()
    assert not task.fulfilled(ctx)
    dataproc.add_cluster("c", state, labels=ours(task, ctx, dataproc))
    assert task.fulfilled(ctx) is there
    assert not create(workers=5).fulfilled(ctx)
    assert not dataproc.called("CreateCluster")
