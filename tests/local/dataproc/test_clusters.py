"""Clusters, through Google's own client.

Contract: https://cloud.google.com/dataproc/docs/reference/rpc/google.cloud.dataproc.v1#clustercontroller
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from google.api_core import exceptions
from google.cloud import dataproc_v1
from google.protobuf import duration_pb2, field_mask_pb2

if TYPE_CHECKING:
    from tests.local.dataproc.service import DataprocService

pytest_plugins = ("tests.local.dataproc.service",)

REGION = "us-central1"
RUNNING = dataproc_v1.ClusterStatus.State.RUNNING


def create(dataproc: DataprocService, cluster: dataproc_v1.Cluster, request_id: str = "") -> dataproc_v1.Cluster:
    request = dataproc_v1.CreateClusterRequest(project_id="p", region=REGION, cluster=cluster, request_id=request_id)
    created: dataproc_v1.Cluster = dataproc.finish(dataproc.clusters.create_cluster(request=request))
    return created


def get(dataproc: DataprocService, name: str = "c1") -> dataproc_v1.Cluster:
    return dataproc.clusters.get_cluster(project_id="p", region=REGION, cluster_name=name)


def delete(dataproc: DataprocService, name: str = "c1", cluster_uuid: str = "") -> None:
    request = dataproc_v1.DeleteClusterRequest(
        project_id="p", region=REGION, cluster_name=name, cluster_uuid=cluster_uuid
    )
    dataproc.finish(dataproc.clusters.delete_cluster(request=request))


def names(dataproc: DataprocService, text: str = "") -> list[str]:
    request = dataproc_v1.ListClustersRequest(project_id="p", region=REGION, filter=text)
    return [cluster.cluster_name for cluster in dataproc.clusters.list_clusters(request=request)]


def test_a_created_cluster_runs_and_is_completed(dataproc: DataprocService) -> None:
    # Given / When
    created = create(dataproc, dataproc_v1.Cluster(cluster_name="c1", labels={"team": "data"}))

    # Then it went through CREATING, and has what Dataproc fills in
    assert created.status.state == RUNNING
    assert [status.state.name for status in created.status_history] == ["CREATING"]
    assert created.config.config_bucket == "dataproc-staging-p"
    assert dataproc.objects.bucket("dataproc-staging-p")
    assert created.labels["team"] == "data"
    assert created.labels["goog-dataproc-cluster-uuid"] == created.cluster_uuid
    assert get(dataproc) == created


def test_a_taken_name_already_exists(dataproc: DataprocService) -> None:
    create(dataproc, dataproc_v1.Cluster(cluster_name="c1"))
    with pytest.raises(exceptions.AlreadyExists, match="projects/p/regions/us-central1/clusters/c1"):
        create(dataproc, dataproc_v1.Cluster(cluster_name="c1"))


def test_the_same_request_id_gives_the_same_operation(dataproc: DataprocService) -> None:
    first = create(dataproc, dataproc_v1.Cluster(cluster_name="c1"), request_id="r-1")
    again = create(dataproc, dataproc_v1.Cluster(cluster_name="c1"), request_id="r-1")
    assert again.cluster_uuid == first.cluster_uuid


def test_an_answer_that_was_lost_leaves_one_cluster(dataproc: DataprocService) -> None:
    # Given a creation whose answer is lost
    dataproc.faults.add("dataproc.CreateCluster", kind="lost-answer")
    request = dataproc_v1.CreateClusterRequest(
        project_id="p", region=REGION, cluster=dataproc_v1.Cluster(cluster_name="c1"), request_id="r-1"
    )
    with pytest.raises(exceptions.ServiceUnavailable):
        dataproc.clusters.create_cluster(request=request, retry=None)

    # When it is sent again; Then it is the cluster of the first request
    created = dataproc.finish(dataproc.clusters.create_cluster(request=request))
    assert get(dataproc).cluster_uuid == created.cluster_uuid


@pytest.mark.parametrize(
    ("cluster", "error", "named"),
    [
        ({"cluster_name": "C1"}, exceptions.InvalidArgument, "C1"),
        ({"cluster_name": "c" * 53}, exceptions.InvalidArgument, "51"),
        ({"cluster_name": "c1", "labels": {"Team": "x"}}, exceptions.InvalidArgument, "Team=x"),
        ({"cluster_name": "c1", "config": {"config_bucket": "none"}}, exceptions.InvalidArgument, "none"),
        ({"cluster_name": "c1", "virtual_cluster_config": {}}, exceptions.MethodNotImplemented, "virtual_cluster"),
        (
            {"cluster_name": "c1", "config": {"lifecycle_config": {"idle_delete_ttl": {"seconds": 60}}}},
            exceptions.InvalidArgument,
            "idle_delete_ttl",
        ),
        (
            {"cluster_name": "c1", "config": {"lifecycle_config": {"idle_stop_ttl": {"seconds": 600}}}},
            exceptions.MethodNotImplemented,
            "idle_stop_ttl",
        ),
    ],
)
def test_what_no_cluster_can_be_is_refused_by_name(
    dataproc: DataprocService, cluster: dict[str, object], error: type[Exception], named: str
) -> None:
    with pytest.raises(error, match=named):
        create(dataproc, dataproc_v1.Cluster(cluster))
    assert names(dataproc) == []


def test_initialization_actions_are_reported_as_not_done(dataproc: DataprocService) -> None:
    cluster = dataproc_v1.Cluster(
        cluster_name="c1",
        config=dataproc_v1.ClusterConfig(
            initialization_actions=[dataproc_v1.NodeInitializationAction(executable_file="gs://b/pip.sh")]
        ),
    )
    operation = dataproc.clusters.create_cluster(project_id="p", region=REGION, cluster=cluster)
    dataproc.finish(operation)
    assert any("gs://b/pip.sh" in warning for warning in operation.metadata.warnings)


def test_a_missing_cluster_is_not_found(dataproc: DataprocService) -> None:
    with pytest.raises(exceptions.NotFound, match="Cluster projects/p/regions/us-central1/clusters/c1"):
        get(dataproc)
    with pytest.raises(exceptions.NotFound):
        delete(dataproc)


def test_delete_checks_the_uuid(dataproc: DataprocService) -> None:
    # DeleteClusterRequest.cluster_uuid: the call fails with NOT_FOUND if no cluster has that UUID.
    created = create(dataproc, dataproc_v1.Cluster(cluster_name="c1"))
    with pytest.raises(exceptions.NotFound, match="other"):
        delete(dataproc, cluster_uuid="other")
    delete(dataproc, cluster_uuid=created.cluster_uuid)
    assert names(dataproc) == []


def test_a_deleted_name_can_be_used_again(dataproc: DataprocService) -> None:
    first = create(dataproc, dataproc_v1.Cluster(cluster_name="c1"))
    delete(dataproc)
    assert create(dataproc, dataproc_v1.Cluster(cluster_name="c1")).cluster_uuid != first.cluster_uuid


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ["c1", "c2"]),
        ("labels.team = data", ["c1"]),
        ("labels.team:x", None),
        ("labels.team = *", ["c1", "c2"]),
        ("status.state = ACTIVE AND labels.team = ops", ["c2"]),
        ("status.state = RUNNING clusterName = c1", ["c1"]),
        ("status.state = ERROR", []),
        ("zone = a", None),
    ],
)
def test_list_filters(dataproc: DataprocService, text: str, found: list[str] | None) -> None:
    # Given two clusters
    create(dataproc, dataproc_v1.Cluster(cluster_name="c1", labels={"team": "data"}))
    create(dataproc, dataproc_v1.Cluster(cluster_name="c2", labels={"team": "ops"}))

    # When they are listed; Then the filter holds, or is refused
    if found is None:
        with pytest.raises((exceptions.InvalidArgument, exceptions.MethodNotImplemented)):
            names(dataproc, text)
    else:
        assert names(dataproc, text) == found


def test_list_pages(dataproc: DataprocService) -> None:
    for name in ("c1", "c2", "c3"):
        create(dataproc, dataproc_v1.Cluster(cluster_name=name))
    request = dataproc_v1.ListClustersRequest(project_id="p", region=REGION, page_size=2)
    pages = [
        [cluster.cluster_name for cluster in page.clusters]
        for page in dataproc.clusters.list_clusters(request=request).pages
    ]
    assert pages == [["c1", "c2"], ["c3"]]


def test_labels_can_be_updated_and_nothing_else(dataproc: DataprocService) -> None:
    created = create(dataproc, dataproc_v1.Cluster(cluster_name="c1", labels={"team": "data"}))

    def update(path: str) -> None:
        operation = dataproc.clusters.update_cluster(
            project_id="p",
            region=REGION,
            cluster_name="c1",
            cluster=dataproc_v1.Cluster(labels={"team": "ops"}),
            update_mask=field_mask_pb2.FieldMask(paths=[path]),
        )
        dataproc.finish(operation)

    update("labels")
    assert get(dataproc).labels["team"] == "ops"
    assert get(dataproc).labels["goog-dataproc-cluster-uuid"] == created.cluster_uuid
    with pytest.raises(exceptions.MethodNotImplemented, match=r"config.worker_config.num_instances"):
        update("config.worker_config.num_instances")


@pytest.mark.parametrize("verb", ["stop_cluster", "start_cluster", "diagnose_cluster"])
def test_what_is_not_offered_is_refused_by_name(dataproc: DataprocService, verb: str) -> None:
    request = {"project_id": "p", "region": REGION, "cluster_name": "c1"}
    with pytest.raises(exceptions.MethodNotImplemented, match="ClusterController"):
        getattr(dataproc.clusters, verb)(request=request)


def test_a_spark_that_does_not_start_leaves_a_cluster_in_error(tmp_path: Path) -> None:
    from tests.local.dataproc.service import DataprocService, PretendedSpark

    # Given a machine without Java
    spark = PretendedSpark()
    spark.broken = "no Java 17 or 21 for Spark"
    service = DataprocService(tmp_path / "home", engine=lambda _: spark)

    # When a cluster is created; Then the operation fails, and the cluster says why
    with pytest.raises(exceptions.GoogleAPICallError, match="no Java"):
        service.create()
    assert get(service).status.state == dataproc_v1.ClusterStatus.State.ERROR
    assert "no Java" in get(service).status.detail
    service.stop()


def test_clusters_survive_a_restart(dataproc: DataprocService) -> None:
    created = create(dataproc, dataproc_v1.Cluster(cluster_name="c1", labels={"a": "b"}))
    dataproc.restart()
    assert get(dataproc) == created


def lifecycle(**ttl: int) -> dataproc_v1.ClusterConfig:
    durations = {name: duration_pb2.Duration(seconds=seconds) for name, seconds in ttl.items()}
    return dataproc_v1.ClusterConfig(lifecycle_config=dataproc_v1.LifecycleConfig(durations))


@pytest.mark.parametrize(
    ("ttl", "later", "left"),
    [
        ({"idle_delete_ttl": 300}, 299, ["c1"]),
        ({"idle_delete_ttl": 300}, 301, []),
        ({"auto_delete_ttl": 600}, 599, ["c1"]),
        ({"auto_delete_ttl": 600}, 601, []),
    ],
)
def test_lifecycle_settings_delete_clusters(
    dataproc: DataprocService, ttl: dict[str, int], later: float, left: list[str]
) -> None:
    # Given a cluster with a time to live, at second 1,000,000
    dataproc.now = 1_000_000.0
    create(dataproc, dataproc_v1.Cluster(cluster_name="c1", config=lifecycle(**ttl)))

    # When time passes
    dataproc.now += later
    dataproc.dataproc.sweep()

    # Then it is gone when it should be
    gone_or_deleting = names(dataproc, "status.state = ACTIVE")
    assert gone_or_deleting == left


def test_a_cluster_with_a_job_is_not_idle(dataproc: DataprocService) -> None:
    # Given a cluster whose job runs on, past its idle time
    dataproc.now = 1_000_000.0
    dataproc.create("c1", config=lifecycle(idle_delete_ttl=300))
    job = dataproc.submit(dataproc.job("wait"))
    dataproc.until(job, dataproc_v1.JobStatus.State.RUNNING)
    dataproc.now += 1000
    dataproc.dataproc.sweep()
    assert names(dataproc, "status.state = ACTIVE") == ["c1"]

    # When the job has ended; Then the idle time starts
    dataproc.cancel(job)
    dataproc.until(job)
    dataproc.now += 200
    dataproc.dataproc.sweep()
    assert names(dataproc, "status.state = ACTIVE") == ["c1"]
    dataproc.now += 101
    dataproc.dataproc.sweep()
    assert names(dataproc, "status.state = ACTIVE") == []
