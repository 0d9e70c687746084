"""What a call is about, as far as its request or its answer says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

#: The token that jobs on clusters find as their credentials: who calls with it is a job.
TOKEN_OF_JOBS = "local"  # noqa: S105 - it opens nothing
AUTHORIZATION_OF_JOBS = f"Bearer {TOKEN_OF_JOBS}"


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What a call is about.

    Attributes:
        task: The task whose work it is, by the label ``pydag-task`` of its job or cluster.
        run: The run, by the label ``pydag-run``.
        job: The id of the job.
        resource: What else it is about: ``gs://bucket/name``, ``project.dataset.table``, ``cluster name``.
        over: Whether an answer has said that this job or operation is done, or that this cluster takes jobs.
        by_job: Whether a job on a cluster calls.
    """

    task: str = ""
    run: str = ""
    job: str = ""
    resource: str = ""
    over: bool = False
    by_job: bool = False


#: A call of which nothing is known but its method.
NOTHING = Subject()


def of_request(
    values: Mapping[str, str], query: Mapping[str, str], body: Mapping[str, Any], *, by_job: bool
) -> Subject:
    """Tell what a request to a JSON API is about.

    Args:
        values: The parts of its path, by name.
        query: What follows the path, by name.
        body: The resource it carries, or nothing.
        by_job: Whether a job on a cluster sent it.
    """
    reference = _part(body, "jobReference")
    return replace(
        _whose(_part(_part(body, "configuration"), "labels")),
        job=str(reference.get("jobId") or values.get("job_id") or ""),
        resource=_object(values, query, body) if "bucket" in values else _table(values, body),
        by_job=by_job,
    )


def of_answer(body: Mapping[str, Any]) -> Subject:
    """Tell what an answer of a JSON API is about; of interest are only jobs."""
    reference = _part(body, "jobReference")
    over = _part(body, "status").get("state") == "DONE" or bool(body.get("jobComplete"))
    return replace(
        _whose(_part(_part(body, "configuration"), "labels")),
        job=str(reference.get("jobId") or ""),
        over=over,
    )


def of_message(message: Any) -> Subject:
    """Tell what a gRPC request or answer is about: a message of Dataproc's, or an operation."""
    job, cluster = getattr(message, "job", None), getattr(message, "cluster", None)
    reference = getattr(job or message, "reference", None)
    return replace(
        _whose(getattr(job or cluster or message, "labels", None) or {}),
        job=getattr(reference, "job_id", "") or getattr(message, "job_id", ""),
        resource=_cluster(message, cluster) or getattr(message, "name", "") or getattr(message, "parent", ""),
        over=_is_over(message),
    )


def _part(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """What a resource has under a name; whatever else may be there, its own handler will say."""
    found = body.get(name)
    return found if isinstance(found, Mapping) else {}


def _whose(labels: Mapping[str, str]) -> Subject:
    return Subject(task=str(labels.get("pydag-task", "")), run=str(labels.get("pydag-run", "")))


def _object(values: Mapping[str, str], query: Mapping[str, str], body: Mapping[str, Any]) -> str:
    name = values.get("name") or query.get("name") or query.get("prefix") or body.get("name") or ""
    return f"gs://{values['bucket']}/{name}"


def _table(values: Mapping[str, str], body: Mapping[str, Any]) -> str:
    reference = _part(body, "tableReference") or _part(body, "datasetReference")
    dataset = values.get("dataset") or reference.get("datasetId")
    table = values.get("table") or reference.get("tableId")
    return ".".join(str(part) for part in (values.get("project"), dataset, table) if part)


def _cluster(message: Any, cluster: Any) -> str:
    name = getattr(cluster, "cluster_name", "") or getattr(message, "cluster_name", "")
    return f"cluster {name}" if name else ""


def _is_over(message: Any) -> bool:
    if getattr(message, "done", False):  # a job or an operation
        return True
    state = getattr(getattr(message, "status", None), "state", None)
    return bool(getattr(message, "cluster_name", "")) and getattr(state, "name", "") == "RUNNING"
