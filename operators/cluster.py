"""A Dataproc cluster that is there, RUNNING, and of the specification that was asked for.

What a try does follows from what it sees: it creates a cluster where there is none, shares one of the same
specification, waits for one that is being created or deleted, and replaces one in ERROR. Two labels on the cluster
carry all that must be known of it, so that any process can go on: ``pydag-spec``, the hash of its specification, and
``pydag-try``, the id of the try that created it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final

from pydantic import Field, field_validator

from pydag_gcp.duration import SPAN
from pydag_gcp.errors import DefinitionError, NotYet, TaskError
from pydag_gcp.gcp import ONCE
from pydag_gcp.identity import request_label
from pydag_gcp.operator import Context, Done, Failed, Json, RemoteOperator, Running, Status
from pydag_gcp.operators.dataproc import delete_cluster, failed_operation, find_cluster, find_operation, state_of
from pydag_gcp.operators.labels import Labels
from pydag_gcp.operators.submission import REQUEST_LABEL, merged, message_from, one_line, refusals
from pydag_gcp.resources import Cluster, Resource

if TYPE_CHECKING:
    from google.cloud.dataproc_v1 import Cluster as ClusterMessage

SPEC_LABEL: Final = "pydag-spec"
TRY_LABEL: Final = "pydag-try"

_USABLE = frozenset({"RUNNING", "UPDATING"})
_ON_THE_WAY = frozenset({"CREATING", "STARTING", "REPAIRING", "UNKNOWN"})
_BROKEN = frozenset({"ERROR", "ERROR_DUE_TO_UPDATE"})

# https://cloud.google.com/dataproc/docs/reference/rpc/google.cloud.dataproc.v1#lifecycleconfig
_LONGEST = timedelta(days=14)


class DataprocCreateCluster(RemoteOperator):
    """Make sure that a cluster runs.

    A running cluster is shared only if it was created from the same specification. Every cluster deletes itself when it
    has been idle or has lived for too long.
    """

    service: ClassVar[str] = "dataproc"

    cluster: Cluster = Field(description="Name and region")
    workers: int = Field(default=2, ge=0, description="Workers: 0 for a single node, else at least 2")
    machine_type: str = Field(default="e2-standard-4", min_length=1, description="Machine type of master and workers")
    disk_gb: int = Field(default=100, ge=10, description="Boot disk of each machine, in GB")
    image_version: str = Field(
        default="2.2-debian12", min_length=1, description="Dataproc image: decides Spark's version"
    )
    idle_delete: Annotated[timedelta, Field(ge=timedelta(minutes=5), le=_LONGEST), SPAN] = Field(
        default=timedelta(minutes=30), description="Delete the cluster when no job has run for so long"
    )
    max_age: Annotated[timedelta, Field(ge=timedelta(minutes=10), le=_LONGEST), SPAN] = Field(
        default=timedelta(hours=8), description="Delete the cluster at this age, whatever it does"
    )
    labels: Labels = Field(default={}, description="Labels of your own for the cluster")
    config: dict[str, Any] = Field(
        default={},
        description="Laid over the ClusterConfig that is sent (subnetwork, service account, autoscaling, CMEK...): "
        "https://cloud.google.com/dataproc/docs/reference/rest/v1/ClusterConfig, names with underscores",
    )

    @field_validator("workers")
    @classmethod
    def _no_lonely_worker(cls, workers: int) -> int:
        """https://cloud.google.com/dataproc/docs/concepts/configuring-clusters/single-node-clusters."""
        if workers == 1:
            raise ValueError("a cluster has 0 workers (a single node) or at least 2, got 1")
        return workers

    def check(self, ctx: Context) -> None:
        """Check ``config`` against Dataproc's own definition."""
        if not self.config:
            return
        try:
            self._message(ctx, {})
        except ValueError as error:
            raise DefinitionError(str(error), where=self.source.place(task=self.task_id)) from None

    def reads(self, ctx: Context) -> frozenset[Resource]:
        """Nothing."""
        return frozenset()

    def writes(self, ctx: Context) -> frozenset[Resource]:
        """The cluster."""
        return frozenset({self.cluster})

    def uses(self, ctx: Context) -> frozenset[Resource]:
        """The cluster."""
        return frozenset({self.cluster})

    def fulfilled(self, ctx: Context) -> bool:
        """Whether a cluster of the same specification is there and takes jobs."""
        there = find_cluster(ctx, self.cluster)
        return there is not None and state_of(there) in _USABLE and there.labels.get(SPEC_LABEL) == self._spec

    def submit(self, ctx: Context, job_id: str) -> dict[str, Json]:
        """See :meth:`~pydag_gcp.operator.RemoteOperator.submit`.

        Raises:
            NotYet: A cluster of this name is being deleted: ask again.
            TaskError: The one that is there has another specification or is stopped, or the creation was refused.
        """
        there = find_cluster(ctx, self.cluster)
        if there is None:
            return self._create(ctx, job_id)
        handle = self._handle(job_id)
        if there.labels.get(TRY_LABEL) == job_id:  # this try created it; the answer was lost
            return handle
        state = state_of(there)
        if state == "DELETING":
            raise NotYet(f"cluster {self.cluster} is being deleted; it is created anew when it is gone")
        if state in _BROKEN:
            self._replace(ctx, there)
        self._require_same(there)
        if state not in _USABLE | _ON_THE_WAY:
            raise TaskError(f"cluster {self.cluster} is {state}", hint="start it again, or delete it")
        return handle

    def poll(self, ctx: Context, handle: Mapping[str, Json]) -> Status:
        """See :meth:`~pydag_gcp.operator.RemoteOperator.poll`; the cluster's state decides, not the operation's end."""
        there = find_cluster(ctx, self.cluster)
        if there is None:
            return self._gone(ctx, handle)
        state = state_of(there)
        if state in _USABLE:
            same = there.labels.get(SPEC_LABEL) == handle["spec"]
            return Done() if same else Failed(reason=f"cluster {self.cluster} was replaced by another meanwhile")
        if state in _BROKEN:
            return self._broken(ctx, handle, there)
        if state in {"STOPPING", "STOPPED"}:
            return Failed(reason=f"cluster {self.cluster} is {state}; start it again, or delete it")
        return Running(detail=f"cluster {self.cluster.name} {state}")

    def result(self, ctx: Context, handle: Mapping[str, Json]) -> Json:
        """See :meth:`~pydag_gcp.operator.RemoteOperator.result`."""
        there = find_cluster(ctx, self.cluster)
        if there is None:
            raise TaskError(f"cluster {self.cluster} was deleted meanwhile")
        return {
            "cluster_name": self.cluster.name,
            "region": self.cluster.region,
            "cluster_uuid": there.cluster_uuid,
            "reused": there.labels.get(TRY_LABEL) != handle["job_id"],
        }

    def cancel(self, ctx: Context, handle: Mapping[str, Json]) -> None:
        """Delete the cluster if this try created it."""
        there = find_cluster(ctx, self.cluster)
        if there is not None and there.labels.get(TRY_LABEL) == handle["job_id"] and state_of(there) != "DELETING":
            delete_cluster(ctx, self.cluster, there.cluster_uuid)

    # what is sent ------------------------------------------------------------------------------------------------

    def _config(self) -> dict[str, Json]:
        """https://cloud.google.com/dataproc/docs/reference/rest/v1/ClusterConfig."""
        machine = {"machine_type_uri": self.machine_type, "disk_config": {"boot_disk_size_gb": self.disk_gb}}
        sent: dict[str, Json] = {
            "master_config": {"num_instances": 1, **machine},
            "software_config": {"image_version": self.image_version},
            "lifecycle_config": {
                "idle_delete_ttl": _seconds(self.idle_delete),
                "auto_delete_ttl": _seconds(self.max_age),
            },
        }
        if self.workers:
            sent["worker_config"] = {"num_instances": self.workers, **machine}
        else:
            sent["software_config"]["properties"] = {"dataproc:dataproc.allow.zero.workers": "true"}
        return merged(sent, self.config)

    @property
    def _spec(self) -> str:
        return request_label(self._config())

    def _message(self, ctx: Context, labels: Mapping[str, str]) -> ClusterMessage:
        from google.cloud.dataproc_v1 import Cluster as Message

        content = {
            "project_id": ctx.target.project,
            "cluster_name": self.cluster.name,
            "config": self._config(),
            "labels": dict(labels),
        }
        message: ClusterMessage = message_from(Message, content, field="field 'config'")
        return message

    def _handle(self, job_id: str, operation: str | None = None) -> dict[str, Json]:
        return {"job_id": job_id, "spec": self._spec, "operation": operation}

    def _create(self, ctx: Context, job_id: str) -> dict[str, Json]:
        from google.api_core.exceptions import AlreadyExists

        ours = {REQUEST_LABEL: self._spec, SPEC_LABEL: self._spec, TRY_LABEL: job_id}
        request = {
            "project_id": ctx.target.project,
            "region": self.cluster.region,
            "cluster": self._message(ctx, {**self.labels, **ctx.labels, **ours}),
            "request_id": job_id,
        }
        with refusals(f"cluster {self.cluster} cannot be created"):
            try:
                operation = ctx.clients.clusters(self.cluster.region).create_cluster(request=request, **ONCE)
            except AlreadyExists as error:  # somebody created one in this very moment: look again
                raise TaskError(f"cluster {self.cluster} is being created by another task", transient=True) from error
        return self._handle(job_id, str(operation.operation.name))

    # what is there -----------------------------------------------------------------------------------------------

    def _require_same(self, there: ClusterMessage) -> None:
        found = there.labels.get(SPEC_LABEL)
        if found == self._spec:
            return
        whose = (
            f"of another specification ({SPEC_LABEL} {found}, expected {self._spec})"
            if found
            else "that pydag did not create"
        )
        raise TaskError(
            f"there is already a cluster {self.cluster} {whose}, {state_of(there)}",
            hint="delete it, or give this task's cluster another name",
        )

    def _replace(self, ctx: Context, there: ClusterMessage) -> None:
        """Delete a broken cluster; the next look creates one.

        ERROR_DUE_TO_UPDATE still runs jobs, so that one is deleted only if pydag created it.
        """
        state = state_of(there)
        if state == "ERROR_DUE_TO_UPDATE" and SPEC_LABEL not in there.labels:
            self._require_same(there)
        ctx.log.warning("cluster %s is in %s and is deleted: %s", self.cluster, state, one_line(there.status.detail))
        delete_cluster(ctx, self.cluster, there.cluster_uuid)
        raise NotYet(f"cluster {self.cluster} was in {state}; it is created anew when it is gone")

    def _broken(self, ctx: Context, handle: Mapping[str, Json], there: ClusterMessage) -> Failed:
        """Tell why, and leave nothing burning. What another try created and broke is worth a new one."""
        mine = there.labels.get(TRY_LABEL) == handle["job_id"]
        reason = f"cluster {self.cluster} is in {state_of(there)}: {one_line(there.status.detail) or 'no details'}"
        if mine:
            delete_cluster(ctx, self.cluster, there.cluster_uuid)
            reason += "; it is being deleted"
        return Failed(reason=reason, transient=not mine)

    def _gone(self, ctx: Context, handle: Mapping[str, Json]) -> Status:
        """A create may end well although the cluster was deleted: https://github.com/apache/airflow/issues/61947."""
        operation = find_operation(ctx, self.cluster, handle["operation"]) if handle["operation"] else None
        if operation is not None and not operation.done:
            return Running(detail=f"cluster {self.cluster.name} not there yet")
        if operation is not None and operation.HasField("error"):
            return failed_operation(f"cluster {self.cluster} could not be created", operation)
        if find_cluster(ctx, self.cluster) is not None:  # it appeared between the two looks
            return Running(detail=f"cluster {self.cluster.name} appeared")
        return Failed(reason=f"cluster {self.cluster} was deleted before it was ready")


def _seconds(span: timedelta) -> str:
    """https://protobuf.dev/reference/protobuf/google.protobuf/#duration."""
    return f"{span.total_seconds():g}s"
