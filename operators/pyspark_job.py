"""A PySpark job on a Dataproc cluster."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field, PrivateAttr, field_validator

from pydag_gcp.errors import DefinitionError, TaskError
from pydag_gcp.fingerprint import fields_of
from pydag_gcp.gcp import ONCE
from pydag_gcp.identity import request_label
from pydag_gcp.operator import Context, Done, Failed, Json, RemoteOperator, Running, Status
from pydag_gcp.operators.dataproc import find_cluster
from pydag_gcp.operators.declared import Declared, qualified
from pydag_gcp.operators.driver_output import copy_to_log
from pydag_gcp.operators.labels import Labels
from pydag_gcp.operators.staged_file import LocalFile, find_file, is_remote, look_at, stage
from pydag_gcp.operators.submission import REQUEST_LABEL, merged, message_from, one_line, refusals, submit_once
from pydag_gcp.resources import Cluster, GCSObject, Resource, is_template
from pydag_gcp.runtime_value import Param

if TYPE_CHECKING:
    from google.cloud.dataproc_v1 import Job as JobMessage

_STAGED = ("py_files", "jars", "files")
_ENDED = frozenset({"DONE", "ERROR", "CANCELLED"})
#: Jobs on a page of a list, and pages that are read: whatever goes on in the region is listed.
_PAGE, _MOST_PAGES = 1000, 20

# What Dataproc says when not the job but its own agent on the cluster failed:
# https://cloud.google.com/dataproc/docs/support/troubleshoot-job-errors
_AGENT_FAILED = re.compile(
    r"task not found|task was not acquired|no agent on master|agent (?:\w+ )*(?:failed|lost|unhealthy|stale)",
    re.IGNORECASE,
)


class DataprocPySparkJob(RemoteOperator):
    """Run a PySpark file on a cluster.

    Files on this machine are copied to the cluster's staging bucket under the hash of their content, which is fixed
    when the task is rendered: a request that is sent again is the same. The driver's output goes to the task's log. A
    job may stop half-way, so it is tried again only with ``idempotent=True``.
    """

    service: ClassVar[str] = "dataproc"

    cluster: Cluster = Field(description="The cluster it runs on")
    main: str = Field(min_length=1, description="The job's .py file: next to the pipeline file, or at gs://")
    args: Param[tuple[str, ...]] = Field(default=(), description="Command-line arguments of the job")
    properties: Param[dict[str, str]] = Field(
        default={}, description="Spark properties such as spark.sql.shuffle.partitions"
    )
    py_files: tuple[str, ...] = Field(
        default=(), description="Modules for the job: .py, .zip or .egg, here or at gs://"
    )
    jars: tuple[str, ...] = Field(default=(), description="Jars for driver and executors, here or at gs://")
    files: tuple[str, ...] = Field(
        default=(), description="Files for the working folder of executors, here or at gs://"
    )
    declared_reads: tuple[Declared, ...] | None = Field(
        default=None, alias="reads", description="Tables and objects that it reads; default: not known"
    )
    declared_writes: tuple[Declared, ...] | None = Field(
        default=None, alias="writes", description="Tables and objects that it writes; default: not known"
    )
    labels: Labels = Field(default={}, description="Labels of your own for the job")
    config: dict[str, Any] = Field(
        default={},
        description="Laid over the Job that is sent (archives, logging, scheduling...): "
        "https://cloud.google.com/dataproc/docs/reference/rest/v1/projects.regions.jobs#Job, names with underscores",
    )

    #: The files on this machine, by name, as they were when the task was rendered.
    _local: dict[str, LocalFile] = PrivateAttr(default_factory=dict)

    @field_validator("main")
    @classmethod
    def _python(cls, main: str) -> str:
        if not is_template(main) and not main.endswith(".py"):
            raise ValueError(f"expected a .py file, got {main!r}")
        return main

    def rendered(self, ctx: Context) -> Self:
        """See :meth:`~pydag_gcp.operator.Operator.rendered`; fixes what the files on this machine hold."""
        task = super().rendered(ctx)
        names = task._local_names().items()  # noqa: SLF001 - a copy of this very class
        task._local = {name: task._file(ctx, name, field) for name, field in names}  # noqa: SLF001
        return task

    def check(self, ctx: Context) -> None:
        """Make sure that the files on this machine exist, and check ``config`` against Dataproc's own definition."""
        for name, field in self._local_names().items():
            if name not in self._local:
                find_file(name, folder=ctx.folder, where=self._place(field))
        if not self.config:
            return
        try:
            known = self.model_copy(update={"args": (), "properties": {}})  # these may be known at run time only
            known._message(ctx, "checked", merged(known._request(ctx, {}), self.config), {})  # noqa: SLF001
        except ValueError as error:
            raise DefinitionError(str(error), where=self._place()) from None

    def reads(self, ctx: Context) -> frozenset[Resource] | None:
        """What the author declared, and the job's own files in buckets."""
        if self.declared_reads is None:
            return None
        names = [name for field in ("main", *_STAGED) for name in self._names(field) if name.startswith("gs://")]
        return qualified(self.declared_reads, ctx) | frozenset(map(GCSObject, names))

    def writes(self, ctx: Context) -> frozenset[Resource] | None:
        """What the author declared."""
        return None if self.declared_writes is None else qualified(self.declared_writes, ctx)

    def uses(self, ctx: Context) -> frozenset[Resource]:
        """The cluster."""
        return frozenset({self.cluster})

    def atomic(self, ctx: Context) -> bool:
        """No: nobody can tell what a job did before it failed."""
        return False

    def identity(self, ctx: Context) -> Mapping[str, Json]:
        """The fields, and what the files on this machine hold; files in buckets are read."""
        parts = fields_of(self, ctx, leave_out=("main", *_STAGED, "config"))
        for field in ("main", *_STAGED):
            names = self._names(field)
            if names:
                parts[f"field {field}"] = [name if is_remote(name) else Path(name).name for name in names]
            for name in (name for name in names if not is_remote(name)):
                parts.setdefault(f"file {Path(name).name}", []).append(self._file(ctx, name, field).digest)
        config = {name: value for name, value in self.config.items() if name != "labels"}
        return {**parts, "field config": config} if config else parts

    def submit(self, ctx: Context, job_id: str) -> dict[str, Json]:
        """See :meth:`~pydag_gcp.operator.RemoteOperator.submit`.

        The same request_id gives the first job back, a job id that is taken is ALREADY_EXISTS:
        https://cloud.google.com/dataproc/docs/reference/rpc/google.cloud.dataproc.v1#submitjobrequest
        """
        addresses = {name: self._file(ctx, name, field).address for name, field in self._local_names().items()}
        content = merged(self._request(ctx, addresses), self.config)
        content.pop("labels", None)
        label = request_label(content)  # without the bucket: it is known of a cluster only, which may be gone by now
        handle = {"job_id": job_id, "project": ctx.target.project, "region": self.cluster.region}
        submit_once(
            f"Dataproc job {job_id!r}",
            label,
            handle,
            create=lambda: self._send(ctx, job_id, label),
            fetch=lambda: self._get(ctx, job_id),
        )
        return handle

    def _send(self, ctx: Context, job_id: str, label: str) -> JobMessage:
        content = merged(self._request(ctx, self._stage_files(ctx)), self.config)
        labels = {**content.pop("labels", {}), **self.labels, **ctx.labels, REQUEST_LABEL: label}
        request = {
            "project_id": ctx.target.project,
            "region": self.cluster.region,
            "job": self._message(ctx, job_id, content, labels),
            "request_id": job_id,
        }
        return ctx.clients.jobs(self.cluster.region).submit_job(request=request, **ONCE)

    def poll(self, ctx: Context, handle: Mapping[str, Json]) -> Status:
        """See :meth:`~pydag_gcp.operator.RemoteOperator.poll`; a job that has ended leaves its output in the log."""
        with refusals(f"Dataproc job {handle['job_id']!r} cannot be looked at"):
            job = self._get(ctx, handle["job_id"])
        state = job.status.state.name
        if state not in _ENDED:
            return Running(detail=_progress(job))
        tail = copy_to_log(ctx, job.driver_output_resource_uri)
        if state == "DONE":
            return Done()
        details = one_line(job.status.details)
        agent_failed = state == "ERROR" and _AGENT_FAILED.search(details) is not None
        why = details if agent_failed else tail or details or "it printed nothing"
        verb = "was cancelled" if state == "CANCELLED" else "failed"
        return Failed(reason=f"Dataproc job {handle['job_id']!r} {verb}: {why}", transient=agent_failed)

    def listing(self, handle: Mapping[str, Json]) -> Hashable:
        """See :meth:`~pydag_gcp.operator.RemoteOperator.listing`."""
        return "Dataproc jobs", handle["project"], handle["region"]

    def listed(
        self, ctx: Context, handle: Mapping[str, Json], job_ids: frozenset[str], since: datetime
    ) -> Mapping[str, Running]:
        """See :meth:`~pydag_gcp.operator.RemoteOperator.listed`.

        https://cloud.google.com/dataproc/docs/reference/rpc/google.cloud.dataproc.v1#listjobsrequest
        """
        from google.cloud.dataproc_v1 import ListJobsRequest

        project, region = handle["project"], handle["region"]
        request = ListJobsRequest(
            project_id=project,
            region=region,
            job_state_matcher=ListJobsRequest.JobStateMatcher.ACTIVE,
            page_size=_PAGE,
        )
        with refusals(f"Dataproc jobs in region {region!r} cannot be listed"):
            found = ctx.clients.jobs(region).list_jobs(request=request, **ONCE)
            active = [job for page in islice(found.pages, _MOST_PAGES) for job in page.jobs]
        ours = (job for job in active if job.reference.job_id in job_ids and job.status.state.name not in _ENDED)
        return {job.reference.job_id: Running(detail=_progress(job)) for job in ours}

    def result(self, ctx: Context, handle: Mapping[str, Json]) -> Json:
        """See :meth:`~pydag_gcp.operator.RemoteOperator.result`."""
        with refusals(f"Dataproc job {handle['job_id']!r} cannot be looked at"):
            job = self._get(ctx, handle["job_id"])
        return {
            "job_id": handle["job_id"],
            "cluster_name": job.placement.cluster_name,
            "cluster_uuid": job.placement.cluster_uuid,
            "driver_output_uri": job.driver_output_resource_uri,
        }

    def cancel(self, ctx: Context, handle: Mapping[str, Json]) -> None:
        """See :meth:`~pydag_gcp.operator.RemoteOperator.cancel`."""
        from google.api_core.exceptions import FailedPrecondition

        request = {"project_id": handle["project"], "region": handle["region"], "job_id": handle["job_id"]}
        with refusals(f"Dataproc job {handle['job_id']!r} cannot be cancelled"):
            try:
                ctx.clients.jobs(self.cluster.region).cancel_job(request=request, **ONCE)
            except FailedPrecondition:
                ctx.log.info("job %s had ended already", handle["job_id"])

    def _names(self, field: str) -> tuple[str, ...]:
        return (self.main,) if field == "main" else getattr(self, field)

    def _local_names(self) -> dict[str, str]:
        """The files on this machine: name -> field."""
        return {name: field for field in ("main", *_STAGED) for name in self._names(field) if not is_remote(name)}

    def _file(self, ctx: Context, name: str, field: str) -> LocalFile:
        return self._local.get(name) or look_at(name, folder=ctx.folder, where=self._place(field))

    def _place(self, field: str | None = None) -> str:
        return self.source.place(task=self.task_id, field=field)

    def _stage_files(self, ctx: Context) -> dict[str, str]:
        """Copy what lies on this machine to the cluster's staging bucket; name -> address."""
        there = find_cluster(ctx, self.cluster)
        if there is None:
            raise TaskError(
                f"there is no cluster {self.cluster} in project {ctx.target.project!r}",
                hint="create it in an upstream task: DataprocCreateCluster",
            )
        bucket = there.config.config_bucket
        return {name: stage(ctx, self._file(ctx, name, field), bucket) for name, field in self._local_names().items()}

    def _request(self, ctx: Context, staged: Mapping[str, str]) -> dict[str, Json]:
        """https://cloud.google.com/dataproc/docs/reference/rest/v1/PySparkJob."""
        pyspark: dict[str, Json] = {
            "main_python_file_uri": staged.get(self.main, self.main),
            "args": list(self.args),
            "properties": dict(self.properties),
            "python_file_uris": [staged.get(name, name) for name in self.py_files],
            "jar_file_uris": [staged.get(name, name) for name in self.jars],
            "file_uris": [staged.get(name, name) for name in self.files],
        }
        return {"placement": {"cluster_name": self.cluster.name}, "pyspark_job": pyspark}

    def _message(self, ctx: Context, job_id: str, content: Mapping[str, Json], labels: Mapping[str, str]) -> JobMessage:
        from google.cloud.dataproc_v1 import Job

        reference = {"project_id": ctx.target.project, "job_id": job_id}
        full = {**content, "reference": reference, "labels": dict(labels)}
        message: JobMessage = message_from(Job, full, field="field 'config'")
        return message

    def _get(self, ctx: Context, job_id: str) -> JobMessage:
        request = {"project_id": ctx.target.project, "region": self.cluster.region, "job_id": job_id}
        return ctx.clients.jobs(self.cluster.region).get_job(request=request, **ONCE)


def _progress(job: JobMessage) -> str:
    running = [application.progress for application in job.yarn_applications]
    percent = f" {running[-1]:.0%}" if running else ""
    details = one_line(job.status.details)
    return f"Spark job {job.status.state.name}{percent}{f': {details}' if details else ''}"
