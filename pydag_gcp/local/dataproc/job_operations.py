"""The operations of SubmitJobAsOperation: each ends when its job does, and cancels it when it is cancelled.

Contract: https://cloud.google.com/dataproc/docs/reference/rpc/google.cloud.dataproc.v1#jobmetadata
"""

from __future__ import annotations

from google.cloud import dataproc_v1
from google.longrunning import operations_pb2  # type: ignore[import-untyped]
from google.rpc import code_pb2  # type: ignore[import-untyped]

from pydag_gcp.local.dataproc.operations import Operations

#: (project, region, job id)
Key = tuple[str, str, str]


def job_of(operation: operations_pb2.Operation) -> Key | None:
    """Return which job an operation is of; None if it is a cluster's."""
    metadata = dataproc_v1.JobMetadata()
    if not operation.metadata.Unpack(dataproc_v1.JobMetadata.pb(metadata)):
        return None
    project, region = operation.name.split("/")[1:4:2]
    return project, region, metadata.job_id


def start(
    operations: Operations, request: dataproc_v1.SubmitJobRequest, job: dataproc_v1.Job
) -> operations_pb2.Operation:
    """Start the operation of a job that was just submitted."""
    metadata = dataproc_v1.JobMetadata(
        job_id=job.reference.job_id,
        status=job.status,
        operation_type="submit",
        start_time=job.status.state_start_time,
    )
    return operations.start(
        project=request.project_id, region=request.region, metadata=metadata, request_id=request.request_id
    )


def end(operations: Operations, key: Key, job: dataproc_v1.Job) -> None:
    """End the operations of a job that is over, the way it ended."""
    for operation in operations.unfinished():
        if job_of(operation) != key:
            continue
        if job.status.state == dataproc_v1.JobStatus.State.DONE:
            operations.finish(operation.name, job)
        elif job.status.state == dataproc_v1.JobStatus.State.CANCELLED:
            operations.fail(operation.name, code_pb2.CANCELLED, "Job was cancelled")
        else:
            operations.fail(operation.name, code_pb2.ABORTED, job.status.details)
