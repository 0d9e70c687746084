"""Dataproc's JobController: jobs queue on their cluster and run one after another on its Spark.

Contract: https://cloud.google.com/dataproc/docs/reference/rpc/google.cloud.dataproc.v1#jobcontroller
"""

from __future__ import annotations

import queue
import re
import shutil
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from google.cloud import dataproc_v1
from google.longrunning import operations_pb2  # type: ignore[import-untyped]
from google.protobuf import empty_pb2

from pydag_gcp.errors import LocalCloudError
from pydag_gcp.local import rpc
from pydag_gcp.local.dataproc import driver_output, job_operations
from pydag_gcp.local.dataproc.cluster_config import check_labels, posix, timestamp
from pydag_gcp.local.dataproc.clusters import Clusters
from pydag_gcp.local.dataproc.job_operations import Key
from pydag_gcp.local.dataproc.listing import page, parse
from pydag_gcp.local.dataproc.operations import Operations
from pydag_gcp.local.dataproc.records import Record, Records
from pydag_gcp.local.dataproc.spark import Run, Work
from pydag_gcp.local.dataproc.work import Unfit, check, prepare
from pydag_gcp.local.storage.objects import Objects, StorageError

State = dataproc_v1.JobStatus.State
Matcher = dataproc_v1.ListJobsRequest.JobStateMatcher

_ENDED = frozenset({State.CANCELLED, State.DONE, State.ERROR})
_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
# As when a cluster loses its master: nobody knows how far the job came, and it may well succeed the next time.
_LOST = "Agent lost: the local cloud stopped while the job ran, and its Spark with it"


class Jobs:
    """All jobs of all projects.

    Args:
        folder: Where they are kept, and where they run.
        objects: Where their files and their output are.
        operations: Where the operations of SubmitJobAsOperation are.
        clusters: What they run on.
        clock: POSIX time.
    """

    def __init__(
        self,
        folder: Path,
        *,
        objects: Objects,
        operations: Operations,
        clusters: Clusters,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder
        self._records: Records[dataproc_v1.Job] = Records(folder / "jobs", dataproc_v1.Job)
        self._objects = objects
        self._operations = operations
        self._clusters = clusters
        self._clock = clock
        self._lock = threading.RLock()
        self._ended = threading.Condition(self._lock)
        self._known: dict[Key, Record[dataproc_v1.Job]] = {}
        self._queues: dict[str, queue.SimpleQueue[Key | None]] = {}
        self._threads: list[threading.Thread] = []
        self._runs: dict[Key, Run] = {}
        self._closing = False

    def open(self) -> None:
        """Take up what an earlier daemon left: what had started is lost, what waited runs now."""
        self._operations.on_cancel(self._cancel_operation)
        shutil.rmtree(self._folder / "work", ignore_errors=True)
        with self._lock:
            for record in self._records.load():
                self._known[record.project, record.region, record.message.reference.job_id] = record
            for key, job in self._active():
                if job.status.state in (State.PENDING, State.SETUP_DONE):
                    self._enter(key, State.PENDING)
                    self._enqueue(key)
                elif job.status.state in (State.CANCEL_PENDING, State.CANCEL_STARTED):
                    self._enter(key, State.CANCELLED)
                else:
                    self._enter(key, State.ERROR, _LOST)

    def close(self) -> None:
        """End every job that runs; what waits goes on waiting for the next daemon."""
        with self._lock:
            self._closing = True
            runs = list(self._runs.values())
            for waiting in self._queues.values():
                waiting.put(None)
        for run in runs:
            run.cancel()
        for thread in self._threads:  # one may be about to begin a job, with files that will not be there
            thread.join(timeout=10)

    def busy(self) -> bool:
        """Tell whether any job is not over."""
        with self._lock:
            return bool(self._active())

    def evict(self, cluster_uuid: str) -> None:
        """Cancel every job of a cluster, and return when they are over."""
        with self._lock:
            keys = [key for key, job in self._active() if job.placement.cluster_uuid == cluster_uuid]
        for key in keys:
            self._cancel(key)
        with self._lock:
            self._ended.wait_for(lambda: all(self._job(key).status.state in _ENDED for key in keys))
            waiting = self._queues.pop(cluster_uuid, None)
        if waiting is not None:
            waiting.put(None)

    def idle_since(self, cluster_uuid: str) -> float | None:
        """Return when a cluster's last job ended, as a POSIX time; 0 if it had none, None while it has one."""
        with self._lock:
            jobs = [r.message for r in self._known.values() if r.message.placement.cluster_uuid == cluster_uuid]
            if any(job.status.state not in _ENDED for job in jobs):
                return None
            return max((posix(job.status) for job in jobs), default=0.0)

    def service(self) -> rpc.Service:
        """Offer them over gRPC."""
        v1 = dataproc_v1
        methods: dict[str, tuple[Callable[..., object], type, type]] = {
            "SubmitJob": (self._submit, v1.SubmitJobRequest, v1.Job),
            "SubmitJobAsOperation": (
                self._submit_as_operation,
                v1.SubmitJobRequest,
                operations_pb2.Operation,
            ),
            "GetJob": (self._get, v1.GetJobRequest, v1.Job),
            "ListJobs": (self._list, v1.ListJobsRequest, v1.ListJobsResponse),
            "UpdateJob": (self._update, v1.UpdateJobRequest, v1.Job),
            "CancelJob": (self._cancel_requested, v1.CancelJobRequest, v1.Job),
            "DeleteJob": (self._delete, v1.DeleteJobRequest, empty_pb2.Empty),
        }
        return rpc.service(
            "google.cloud.dataproc.v1.JobController",
            "dataproc",
            {
                name: rpc.Method(function=function, request=request, response=response)
                for name, (function, request, response) in methods.items()
            },
        )

    def _submit(self, request: dataproc_v1.SubmitJobRequest) -> dataproc_v1.Job:
        rpc.check_request_id(request.request_id)
        with self._lock:
            earlier = self._requested(request)
            if earlier is not None:
                return earlier
            key, job = self._accepted(request)
            self._known[key] = Record(project=key[0], region=key[1], request_id=request.request_id, message=job)
            self._enter(key, State.PENDING)
            self._enqueue(key)
            return dataproc_v1.Job(job)

    def _requested(self, request: dataproc_v1.SubmitJobRequest) -> dataproc_v1.Job | None:
        wanted = (request.project_id, request.region, request.request_id)
        for record in self._known.values():
            if request.request_id and (record.project, record.region, record.request_id) == wanted:
                return dataproc_v1.Job(record.message)
        return None

    def _accepted(self, request: dataproc_v1.SubmitJobRequest) -> tuple[Key, dataproc_v1.Job]:
        project, region, job = request.project_id, request.region, dataproc_v1.Job(request.job)
        if job.reference.project_id not in ("", project):
            raise rpc.invalid_argument(f"Job is in project '{job.reference.project_id}', the request in '{project}'")
        job_id = job.reference.job_id or str(uuid.uuid4())
        if not _ID.fullmatch(job_id):
            raise rpc.invalid_argument(
                f"Invalid job id '{job_id}': expected at most 100 letters, numbers, underscores and hyphens"
            )
        if (project, region, job_id) in self._known:
            raise rpc.already_exists(f"Already exists: Failed to submit job: Job {_path((project, region, job_id))}")
        check_labels(dict(job.labels))
        if job.placement.cluster_labels:
            raise rpc.unimplemented("The local cloud takes placement.cluster_name, not placement.cluster_labels")
        check(job)
        cluster = self._clusters.running(project, region, job.placement.cluster_name)
        home = f"google-cloud-dataproc-metainfo/{cluster.cluster_uuid}/jobs/{job_id}"
        job.reference = dataproc_v1.JobReference(project_id=project, job_id=job_id)
        job.placement.cluster_uuid = cluster.cluster_uuid
        job.job_uuid = str(uuid.uuid4())
        job.driver_control_files_uri = f"gs://{cluster.config.config_bucket}/{home}/"
        job.driver_output_resource_uri = f"gs://{cluster.config.config_bucket}/{home}/driveroutput"
        return (project, region, job_id), job

    def _submit_as_operation(self, request: dataproc_v1.SubmitJobRequest) -> operations_pb2.Operation:
        with self._lock:
            earlier = self._operations.requested(request.project_id, request.region, request.request_id)
            if earlier is not None:
                return earlier
            return job_operations.start(self._operations, request, self._submit(request))

    def _get(self, request: dataproc_v1.GetJobRequest) -> dataproc_v1.Job:
        with self._lock:
            return dataproc_v1.Job(self._job((request.project_id, request.region, request.job_id)))

    def _list(self, request: dataproc_v1.ListJobsRequest) -> dataproc_v1.ListJobsResponse:
        fits = parse(request.filter, ["status.state"])
        matcher = "" if request.filter else Matcher(request.job_state_matcher).name
        with self._lock:
            found = []
            for key, record in sorted(self._known.items()):
                job = record.message
                activity = "NON_ACTIVE" if job.status.state in _ENDED else "ACTIVE"
                if (
                    key[:2] == (request.project_id, request.region)
                    and request.cluster_name in ("", job.placement.cluster_name)
                    and matcher in ("", "ALL", activity)
                    and fits({"status.state": f"{State(job.status.state).name}|{activity}"}, dict(job.labels))
                ):
                    found.append(dataproc_v1.Job(job))
        jobs, token = page(found, size=request.page_size, token=request.page_token)
        return dataproc_v1.ListJobsResponse(jobs=jobs, next_page_token=token)

    def _update(self, request: dataproc_v1.UpdateJobRequest) -> dataproc_v1.Job:
        key = (request.project_id, request.region, request.job_id)
        with self._lock:
            job = self._job(key)
            if list(request.update_mask.paths) != ["labels"]:
                named = ", ".join(request.update_mask.paths) or "a change without update_mask"
                raise rpc.unimplemented(f"The local cloud updates a job's labels only, not {named}")
            check_labels(dict(request.job.labels))
            job.labels = dict(request.job.labels)
            self._save(key)
            return dataproc_v1.Job(job)

    def _cancel_requested(self, request: dataproc_v1.CancelJobRequest) -> dataproc_v1.Job:
        key = (request.project_id, request.region, request.job_id)
        with self._lock:
            state = State(self._job(key).status.state)
            if state in _ENDED:
                raise rpc.failed_precondition(
                    f"Cannot cancel jobId '{key[2]}' in projectId '{key[0]}' in state: '{state.name}';"
                    " cancellable states: '[PENDING, RUNNING]'"
                )
        self._cancel(key)
        with self._lock:
            return dataproc_v1.Job(self._job(key))

    def _delete(self, request: dataproc_v1.DeleteJobRequest) -> empty_pb2.Empty:
        key = (request.project_id, request.region, request.job_id)
        with self._lock:
            state = State(self._job(key).status.state)
            if state not in _ENDED:
                raise rpc.failed_precondition(f"Cannot delete job '{key[2]}' in state {state.name}: it is active")
            del self._known[key]
            self._records.forget("/".join(key))
        return empty_pb2.Empty()

    def _cancel(self, key: Key) -> None:
        with self._lock:
            state = self._job(key).status.state
            if state == State.PENDING:
                self._enter(key, State.CANCELLED)
            elif state in (State.SETUP_DONE, State.RUNNING):
                self._enter(key, State.CANCEL_PENDING)
            run = self._runs.get(key)
        if run is not None:
            run.cancel()

    def _cancel_operation(self, operation: operations_pb2.Operation) -> None:
        key = job_operations.job_of(operation)
        if key is not None:  # else a cluster's: cancelling is best effort, and creating one takes a second
            self._cancel(key)

    def _enqueue(self, key: Key) -> None:
        cluster_uuid = self._job(key).placement.cluster_uuid
        if cluster_uuid not in self._queues:
            waiting: queue.SimpleQueue[Key | None] = queue.SimpleQueue()
            self._queues[cluster_uuid] = waiting
            thread = threading.Thread(target=self._serve, args=(waiting,), name="dataproc-jobs", daemon=True)
            self._threads = [*(old for old in self._threads if old.is_alive()), thread]
            thread.start()
        self._queues[cluster_uuid].put(key)
        self._clusters.hurry(cluster_uuid)

    def _serve(self, waiting: queue.SimpleQueue[Key | None]) -> None:
        """Run one cluster's jobs as they come."""
        while (key := waiting.get()) is not None and not self._closing:
            with self._lock:
                record = self._known.get(key)
                if record is None or record.message.status.state != State.PENDING:  # cancelled while it waited
                    continue
                job = dataproc_v1.Job(record.message)
            self._run(key, job)
            if waiting.empty() and not self._closing:
                self._clusters.recover(job.placement.cluster_uuid)

    def _run(self, key: Key, job: dataproc_v1.Job) -> None:
        folder = self._folder / "work" / job.job_uuid
        code, details = 1, ""
        try:
            bucket, _, name = job.driver_output_resource_uri.removeprefix("gs://").partition("/")
            output = self._objects.write(bucket, f"{name}.000000000", [], content_type="text/plain").path
            work = prepare(job, objects=self._objects, folder=folder, output=output)
            cluster = self._clusters.running(key[0], key[1], job.placement.cluster_name)
            code = self._execute(key, job, work, cluster)
            details = driver_output.details(output, uri=job.driver_output_resource_uri, code=code)
        except (Unfit, LocalCloudError, rpc.RpcError, StorageError, OSError) as error:
            details = f"Job failed with message [{error}]."
        shutil.rmtree(folder, ignore_errors=True)
        self._end(key, job, code=code, details=details)

    def _execute(self, key: Key, job: dataproc_v1.Job, work: Work, cluster: dataproc_v1.Cluster) -> int:
        run = Run(work)
        with self._lock:
            if not self._same(key, job) or self._job(key).status.state != State.PENDING or self._closing:
                run.cancelled = True
            else:
                self._enter(key, State.SETUP_DONE)
                self._enter(key, State.RUNNING)
            self._runs[key] = run
        try:
            return self._clusters.spark(cluster).run(run)
        finally:
            with self._lock:
                del self._runs[key]

    def _end(self, key: Key, job: dataproc_v1.Job, *, code: int, details: str) -> None:
        with self._lock:
            if not self._same(key, job):
                return
            state = self._job(key).status.state
            if self._closing and state == State.PENDING:
                return  # it has not begun, so the next daemon runs it
            if code == 0:
                self._enter(key, State.DONE)
            elif state in (State.CANCEL_PENDING, State.CANCELLED):
                self._enter(key, State.CANCELLED)
            elif self._closing:
                self._enter(key, State.ERROR, _LOST)
            else:
                self._enter(key, State.ERROR, details)

    def _same(self, key: Key, job: dataproc_v1.Job) -> bool:
        """Tell whether a job is still there: meanwhile it may have been cancelled, and then even deleted."""
        return key in self._known and self._known[key].message.job_uuid == job.job_uuid

    def _job(self, key: Key) -> dataproc_v1.Job:
        if key not in self._known:
            raise rpc.not_found(f"Not found: Job {_path(key)}")
        return self._known[key].message

    def _active(self) -> list[tuple[Key, dataproc_v1.Job]]:
        jobs = [(key, record.message) for key, record in self._known.items()]
        return [(key, job) for key, job in jobs if job.status.state not in _ENDED]

    def _enter(self, key: Key, state: int, details: str = "") -> None:
        """Move a job to a state and store it; at its end, end its operation too."""
        job = self._job(key)
        if job.status.state == state:
            return
        if job.status.state:
            job.status_history.append(job.status)
        job.status = dataproc_v1.JobStatus(state=state, details=details, state_start_time=timestamp(self._clock()))
        job.done = state in _ENDED
        self._save(key)
        if job.done:
            job_operations.end(self._operations, key, job)
            self._ended.notify_all()

    def _save(self, key: Key) -> None:
        self._records.save("/".join(key), self._known[key])


def _path(key: Key) -> str:
    return f"projects/{key[0]}/regions/{key[1]}/jobs/{key[2]}"
