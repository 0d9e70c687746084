"""A Dataproc cluster that is gone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from pydag_gcp.errors import TaskError
from pydag_gcp.operator import Context, Done, Failed, Json, RemoteOperator, Running, Status
from pydag_gcp.operators.dataproc import delete_cluster, failed_operation, find_cluster, find_operation, state_of
from pydag_gcp.operators.submission import one_line
from pydag_gcp.resources import Cluster, Resource
from pydag_gcp.runtime_value import Param


class DataprocDeleteCluster(RemoteOperator):
    """Delete a cluster. That it is gone already is success.

    Without a ``cluster_uuid`` only a cluster that this DAG created is deleted, told by its ``pydag-dag`` label; and as
    the teardown of the task that created it, only that very cluster.
    """

    service: ClassVar[str] = "dataproc"

    cluster: Cluster = Field(description="Name and region")
    cluster_uuid: Param[str | None] = Field(
        default=None, description="Delete the cluster of this uuid, whoever created it, and no other of the same name"
    )

    def reads(self, ctx: Context) -> frozenset[Resource]:
        """Nothing."""
        return frozenset()

    def writes(self, ctx: Context) -> frozenset[Resource]:
        """The cluster."""
        return frozenset({self.cluster})

    def uses(self, ctx: Context) -> frozenset[Resource]:
        """The cluster."""
        return frozenset({self.cluster})

    def submit(self, ctx: Context, job_id: str) -> dict[str, Json]:
        """See :meth:`~pydag_gcp.operator.RemoteOperator.submit`.

        The request names the uuid of the cluster that was seen, and the service takes a request_id once: sent again,
        it never hits a later cluster.

        Raises:
            TaskError: It is somebody else's cluster and its uuid was not named, or the service refused.
        """
        there, uuid = find_cluster(ctx, self.cluster), self.cluster_uuid or self._set_up(ctx)
        if there is None or (uuid or there.cluster_uuid) != there.cluster_uuid:
            ctx.log.info("cluster %s is gone already", self.cluster)
            return {"job_id": job_id, "cluster_uuid": uuid, "operation": None, "existed": False}
        handle = {"job_id": job_id, "cluster_uuid": there.cluster_uuid, "operation": None, "existed": True}
        if state_of(there) == "DELETING":
            return handle
        if self.cluster_uuid is None and there.labels.get("pydag-dag") != ctx.labels["pydag-dag"]:
            raise TaskError(
                f"DAG {ctx.dag_id!r} did not create cluster {self.cluster}",
                hint=f"if it is to be deleted, set cluster_uuid={there.cluster_uuid!r}",
            )
        operation = delete_cluster(ctx, self.cluster, there.cluster_uuid, request_id=job_id)
        if operation is not None:
            handle["operation"] = operation.operation.name
            handle["cluster_uuid"] = operation.metadata.cluster_uuid or there.cluster_uuid
        return handle

    def poll(self, ctx: Context, handle: Mapping[str, Json]) -> Status:
        """See :meth:`~pydag_gcp.operator.RemoteOperator.poll`."""
        operation = find_operation(ctx, self.cluster, handle["operation"]) if handle["operation"] else None
        there = find_cluster(ctx, self.cluster) if handle["existed"] else None
        if there is None or there.cluster_uuid != handle["cluster_uuid"]:
            return Done()
        if operation is not None and operation.HasField("error"):
            return failed_operation(f"cluster {self.cluster} could not be deleted", operation)
        state = state_of(there)
        if state == "DELETING" or (operation is not None and not operation.done):
            return Running(detail=f"cluster {self.cluster.name} {state}")
        detail = one_line(there.status.detail) or "no details"
        return Failed(reason=f"cluster {self.cluster} could not be deleted, it is {state}: {detail}", transient=True)

    def result(self, ctx: Context, handle: Mapping[str, Json]) -> Json:
        """See :meth:`~pydag_gcp.operator.RemoteOperator.result`."""
        return {
            "cluster_name": self.cluster.name,
            "region": self.cluster.region,
            "cluster_uuid": handle["cluster_uuid"],
            "existed": handle["existed"],
        }

    def _set_up(self, ctx: Context) -> str | None:
        """The uuid of the cluster that a setup of this task came to."""
        for setup in self.teardown_of:
            made = ctx.output_of(setup)
            if isinstance(made, dict) and made.get("cluster_name") == self.cluster.name:
                uuid: str | None = made.get("cluster_uuid")
                return uuid
        return None

    def cancel(self, ctx: Context, handle: Mapping[str, Json]) -> None:
        """A deletion cannot be taken back; it is waited for."""
