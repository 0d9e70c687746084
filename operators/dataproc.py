"""Dataproc clusters and their operations, asked for once per call.

https://cloud.google.com/dataproc/docs/reference/rpc/google.cloud.dataproc.v1
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydag_gcp.gcp import ONCE
from pydag_gcp.operator import Context, Failed
from pydag_gcp.operators.submission import one_line, refusals
from pydag_gcp.resources import Cluster

if TYPE_CHECKING:
    from google.cloud.dataproc_v1 import Cluster as ClusterMessage
    from google.longrunning.operations_pb2 import Operation  # type: ignore[import-untyped]

# UNKNOWN, DEADLINE_EXCEEDED, ABORTED, INTERNAL, UNAVAILABLE; not RESOURCE_EXHAUSTED, for a quota does not grow itself:
# https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto
_TRANSIENT_CODES = frozenset({2, 4, 10, 13, 14})


def find_cluster(ctx: Context, cluster: Cluster) -> ClusterMessage | None:
    """Get a cluster, or None if there is none of this name.

    Raises:
        TaskError: The service refused to say.
    """
    from google.api_core.exceptions import NotFound

    request = {"project_id": ctx.target.project, "region": cluster.region, "cluster_name": cluster.name}
    with refusals(f"cluster {cluster} cannot be looked at"):
        try:
            return ctx.clients.clusters(cluster.region).get_cluster(request=request, **ONCE)
        except NotFound:
            return None


def delete_cluster(ctx: Context, cluster: Cluster, uuid: str, *, request_id: str | None = None) -> Any | None:
    """Request that one cluster, told by its uuid, is deleted; return the operation, None if it is gone already.

    Raises:
        TaskError: The service refused.
    """
    from google.api_core.exceptions import NotFound

    request = {
        "project_id": ctx.target.project,
        "region": cluster.region,
        "cluster_name": cluster.name,
        "cluster_uuid": uuid,
        "request_id": request_id or "",
    }
    with refusals(f"cluster {cluster} cannot be deleted"):
        try:
            return ctx.clients.clusters(cluster.region).delete_cluster(request=request, **ONCE)
        except NotFound:
            return None


def find_operation(ctx: Context, cluster: Cluster, name: str) -> Operation | None:
    """Get an operation, or None if the service has forgotten it.

    Raises:
        TaskError: The service refused to say.
    """
    from google.api_core.exceptions import NotFound

    with refusals(f"operation {name!r} cannot be looked at"):
        try:
            found: Operation = ctx.clients.clusters(cluster.region).get_operation(request={"name": name}, **ONCE)
        except NotFound:
            return None
        return found


def failed_operation(what: str, operation: Operation) -> Failed:
    """Say why an operation failed."""
    return Failed(
        reason=f"{what}: {one_line(operation.error.message)}",
        transient=operation.error.code in _TRANSIENT_CODES,
    )


def state_of(cluster: ClusterMessage) -> str:
    """The state by its name: ``RUNNING``, ``ERROR_DUE_TO_UPDATE``."""
    return str(cluster.status.state.name)
