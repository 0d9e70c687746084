"""Dataproc's ClusterController: clusters whose machines are one warm Spark on this machine.

Contract: https://cloud.google.com/dataproc/docs/reference/rpc/google.cloud.dataproc.v1#clustercontroller
"""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from google.cloud import dataproc_v1
from google.longrunning import operations_pb2  # type: ignore[import-untyped]
from google.rpc import code_pb2  # type: ignore[import-untyped]

from pydag_gcp.errors import LocalCloudError
from pydag_gcp.local import rpc
from pydag_gcp.local.dataproc import cluster_config
from pydag_gcp.local.dataproc.listing import page, parse
from pydag_gcp.local.dataproc.operations import Operations
from pydag_gcp.local.dataproc.records import Record, Records
from pydag_gcp.local.dataproc.spark import Engine
from pydag_gcp.local.storage.objects import Objects

State = dataproc_v1.ClusterStatus.State

#: How often the deadlines of lifecycle settings are looked at, in seconds; the shortest allowed one is 300.
SWEEP = 5.0


class Tenant(Protocol):
    """Who runs jobs on clusters."""

    def evict(self, cluster_uuid: str) -> None:
        """Cancel every job of a cluster, and return when they are over."""

    def idle_since(self, cluster_uuid: str) -> float | None:
        """Return when a cluster's last job ended, as a POSIX time; 0 if it had none, None while it has one."""


class Clusters:
    """All clusters of all projects.

    Args:
        folder: Where they are kept.
        objects: Where their staging buckets are.
        operations: Where their operations are.
        start_spark: Makes the Spark of a cluster; nothing runs before its first use.
        clock: POSIX time.
    """

    def __init__(
        self,
        folder: Path,
        *,
        objects: Objects,
        operations: Operations,
        start_spark: Callable[[dataproc_v1.Cluster], Engine],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._records: Records[dataproc_v1.Cluster] = Records(folder, dataproc_v1.Cluster)
        self._objects = objects
        self._operations = operations
        self._start_spark = start_spark
        self._clock = clock
        self._lock = threading.RLock()
        self._known: dict[tuple[str, str, str], dataproc_v1.Cluster] = {}
        self._sparks: dict[str, Engine] = {}
        self._tenant: Tenant | None = None
        self._closing = threading.Event()

    def open(self, tenant: Tenant) -> None:
        """Take up what an earlier daemon left, and watch lifecycle settings from now on.

        Args:
            tenant: Who runs the jobs.
        """
        self._tenant = tenant
        for record in self._records.load():
            cluster = record.message
            key = (record.project, record.region, cluster.cluster_name)
            if cluster.status.state == State.DELETING:
                self._records.forget("/".join(key))
                continue
            self._known[key] = cluster
            if cluster.status.state not in (State.ERROR, State.RUNNING):
                self._enter(key, State.RUNNING)
        self._settle()
        threading.Thread(target=self._watch, name="clusters", daemon=True).start()

    def close(self) -> None:
        """End every cluster's processes; the clusters stay."""
        self._closing.set()
        with self._lock:
            sparks = list(self._sparks.values())
        for spark in sparks:
            spark.close()

    def running(self, project: str, region: str, name: str) -> dataproc_v1.Cluster:
        """Return a cluster that takes jobs.

        Raises:
            RpcError: NOT_FOUND, or FAILED_PRECONDITION if it is not running.
        """
        with self._lock:
            cluster = self._find((project, region, name))
            if cluster.status.state not in (State.RUNNING, State.UPDATING):
                state = State(cluster.status.state).name
                raise rpc.failed_precondition(f"Cluster '{name}' must be in state RUNNING, but it is {state}")
            return dataproc_v1.Cluster(cluster)

    def spark(self, cluster: dataproc_v1.Cluster) -> Engine:
        """Return a cluster's Spark, cold if the cluster is from before the daemon's start."""
        with self._lock:
            if cluster.cluster_uuid not in self._sparks:
                self._sparks[cluster.cluster_uuid] = self._start_spark(cluster)
            return self._sparks[cluster.cluster_uuid]

    def hurry(self, cluster_uuid: str) -> None:
        """Cut a cluster's warm-up short, because a job is there."""
        with self._lock:
            spark = self._sparks.get(cluster_uuid)
        if spark is not None:
            spark.hurry()

    def recover(self, cluster_uuid: str) -> None:
        """Make a cluster's Spark warm again after a job that took it along."""
        with self._lock:
            spark = self._sparks.get(cluster_uuid)
        if spark is not None:
            with contextlib.suppress(LocalCloudError):  # the next job tries again, and says why it fails
                spark.recover()

    def sweep(self) -> None:
        """Delete the clusters whose time is over."""
        now = self._clock()
        for key, cluster in list(self._known.items()):
            idle = self._tenant.idle_since(cluster.cluster_uuid) if self._tenant else None
            if cluster.status.state == State.RUNNING and cluster_config.is_over(cluster, now=now, idle_since=idle):
                self._delete(key, request_id="")

    def service(self) -> rpc.Service:
        """Offer them over gRPC."""
        operation = operations_pb2.Operation
        return rpc.service(
            "google.cloud.dataproc.v1.ClusterController",
            "dataproc",
            {
                "CreateCluster": rpc.Method(
                    function=self._create, request=dataproc_v1.CreateClusterRequest, response=operation
                ),
                "UpdateCluster": rpc.Method(
                    function=self._update, request=dataproc_v1.UpdateClusterRequest, response=operation
                ),
                "DeleteCluster": rpc.Method(
                    function=self._delete_requested, request=dataproc_v1.DeleteClusterRequest, response=operation
                ),
                "GetCluster": rpc.Method(
                    function=self._get, request=dataproc_v1.GetClusterRequest, response=dataproc_v1.Cluster
                ),
                "ListClusters": rpc.Method(
                    function=self._list,
                    request=dataproc_v1.ListClustersRequest,
                    response=dataproc_v1.ListClustersResponse,
                ),
            },
        )

    def _create(self, request: dataproc_v1.CreateClusterRequest) -> operations_pb2.Operation:
        project, region = request.project_id, request.region
        key = (project, region, request.cluster.cluster_name)
        with self._lock:
            rpc.check_request_id(request.request_id)
            earlier = self._operations.requested(project, region, request.request_id)
            if earlier is not None:
                return earlier
            cluster_config.check(request.cluster, project=project)
            if key in self._known:
                raise rpc.already_exists(f"Already exists: Failed to create cluster: Cluster {_path(key)}")
            cluster = cluster_config.completed(
                request.cluster, project=project, region=region, cluster_uuid=str(uuid.uuid4()), objects=self._objects
            )
            self._known[key] = cluster
            self._enter(key, State.CREATING)
            operation = self._begin(key, "CREATE", "Create cluster", request.request_id)
        self._in_background(self._finish_creation, key, cluster.cluster_uuid, operation.name)
        return operation

    def _finish_creation(self, key: tuple[str, str, str], cluster_uuid: str, operation: str) -> None:
        cluster = self._known[key]
        spark = self.spark(cluster)
        try:
            spark.start()
        except LocalCloudError as error:
            if self._still(key, cluster_uuid, State.CREATING):
                self._enter(key, State.ERROR, str(error))
            self._operations.fail(operation, code_pb2.INTERNAL, str(error))
            return
        with self._lock:
            if not self._still(key, cluster_uuid, State.CREATING):
                self._operations.fail(operation, code_pb2.ABORTED, f"Cluster {_path(key)} was deleted meanwhile")
                return
            self._enter(key, State.RUNNING)
            self._operations.finish(operation, self._known[key])
        with contextlib.suppress(LocalCloudError):  # the cluster is being deleted, or the next job says why
            spark.warm_up()

    def _update(self, request: dataproc_v1.UpdateClusterRequest) -> operations_pb2.Operation:
        key = (request.project_id, request.region, request.cluster_name)
        with self._lock:
            rpc.check_request_id(request.request_id)
            earlier = self._operations.requested(key[0], key[1], request.request_id)
            if earlier is not None:
                return earlier
            cluster = self._find(key)
            refused = [path for path in request.update_mask.paths if path != "labels"]
            if refused or not request.update_mask.paths:
                named = ", ".join(refused) or "a change without update_mask"
                raise rpc.unimplemented(f"The local cloud updates a cluster's labels only, not {named}")
            cluster_config.check_labels(dict(request.cluster.labels))
            cluster.labels = {**cluster_config.own_labels(cluster), **request.cluster.labels}
            self._save(key)
            operation = self._begin(key, "UPDATE", "Update cluster", request.request_id)
            self._operations.finish(operation.name, cluster)
            return operation

    def _delete_requested(self, request: dataproc_v1.DeleteClusterRequest) -> operations_pb2.Operation:
        key = (request.project_id, request.region, request.cluster_name)
        with self._lock:
            rpc.check_request_id(request.request_id)
            earlier = self._operations.requested(key[0], key[1], request.request_id)
            if earlier is not None:
                return earlier
            cluster = self._find(key)
            if request.cluster_uuid not in ("", cluster.cluster_uuid):
                raise rpc.not_found(f"Not found: Cluster {_path(key)} with UUID {request.cluster_uuid}")
            if cluster.status.state == State.DELETING:
                raise rpc.failed_precondition(
                    f"Cannot delete cluster '{key[2]}' while it has other pending delete operations."
                )
            return self._delete(key, request_id=request.request_id)

    def _delete(self, key: tuple[str, str, str], *, request_id: str) -> operations_pb2.Operation:
        with self._lock:
            self._enter(key, State.DELETING)
            operation = self._begin(key, "DELETE", "Delete cluster", request_id)
        self._in_background(self._finish_deletion, key, operation.name)
        return operation

    def _finish_deletion(self, key: tuple[str, str, str], operation: str) -> None:
        cluster = self._known[key]
        if self._tenant is not None:
            self._tenant.evict(cluster.cluster_uuid)
        self.spark(cluster).remove()
        with self._lock:
            self._sparks.pop(cluster.cluster_uuid, None)
            del self._known[key]
            self._records.forget("/".join(key))
        self._operations.finish(operation)

    def _get(self, request: dataproc_v1.GetClusterRequest) -> dataproc_v1.Cluster:
        with self._lock:
            return dataproc_v1.Cluster(self._find((request.project_id, request.region, request.cluster_name)))

    def _list(self, request: dataproc_v1.ListClustersRequest) -> dataproc_v1.ListClustersResponse:
        fits = parse(request.filter, ["status.state", "clusterName"])
        with self._lock:
            found = [
                dataproc_v1.Cluster(cluster)
                for key, cluster in sorted(self._known.items())
                if key[:2] == (request.project_id, request.region) and fits(_filterable(cluster), dict(cluster.labels))
            ]
        clusters, token = page(found, size=request.page_size, token=request.page_token)
        return dataproc_v1.ListClustersResponse(clusters=clusters, next_page_token=token)

    def _find(self, key: tuple[str, str, str]) -> dataproc_v1.Cluster:
        if key not in self._known:
            raise rpc.not_found(f"Not found: Cluster {_path(key)}")
        return self._known[key]

    def _still(self, key: tuple[str, str, str], cluster_uuid: str, state: int) -> bool:
        cluster = self._known.get(key)
        return cluster is not None and cluster.cluster_uuid == cluster_uuid and cluster.status.state == state

    def _enter(self, key: tuple[str, str, str], state: int, detail: str = "") -> None:
        """Move a cluster to a state, and store it."""
        cluster = self._known[key]
        if cluster.status.state:
            cluster.status_history.append(cluster.status)
        cluster.status = dataproc_v1.ClusterStatus(
            state=state, detail=detail, state_start_time=cluster_config.timestamp(self._clock())
        )
        self._save(key)

    def _save(self, key: tuple[str, str, str]) -> None:
        self._records.save("/".join(key), Record(project=key[0], region=key[1], message=self._known[key]))

    def _begin(
        self, key: tuple[str, str, str], kind: str, description: str, request_id: str
    ) -> operations_pb2.Operation:
        cluster = self._known[key]
        status = dataproc_v1.ClusterOperationStatus(
            state=dataproc_v1.ClusterOperationStatus.State.RUNNING,
            state_start_time=cluster_config.timestamp(self._clock()),
        )
        metadata = dataproc_v1.ClusterOperationMetadata(
            cluster_name=key[2],
            cluster_uuid=cluster.cluster_uuid,
            status=status,
            operation_type=kind,
            description=description,
            labels=dict(cluster.labels),
            warnings=cluster_config.not_done(cluster) if kind == "CREATE" else [],
        )
        return self._operations.start(project=key[0], region=key[1], metadata=metadata, request_id=request_id)

    def _settle(self) -> None:
        """End the operations that an earlier daemon did not."""
        for operation in self._operations.unfinished():
            metadata = dataproc_v1.ClusterOperationMetadata()
            if not operation.metadata.Unpack(dataproc_v1.ClusterOperationMetadata.pb(metadata)):
                continue
            cluster = next(
                (known for known in self._known.values() if known.cluster_uuid == metadata.cluster_uuid), None
            )
            self._operations.finish(operation.name, None if metadata.operation_type == "DELETE" else cluster)

    def _watch(self) -> None:
        while not self._closing.wait(SWEEP):
            self.sweep()

    def _in_background(self, work: Callable[..., None], *args: object) -> None:
        threading.Thread(target=work, args=args, name=work.__name__, daemon=True).start()


def _path(key: tuple[str, str, str]) -> str:
    return f"projects/{key[0]}/regions/{key[1]}/clusters/{key[2]}"


def _filterable(cluster: dataproc_v1.Cluster) -> dict[str, str]:
    state = State(cluster.status.state)
    inactive = state in (State.ERROR, State.DELETING, State.STOPPING, State.STOPPED)
    return {
        "status.state": f"{state.name}|{'INACTIVE' if inactive else 'ACTIVE'}",
        "clusterName": cluster.cluster_name,
    }
