"""One BigQuery job as data: its name, its states, the error it may end with, and how it looks over REST.

Reference: https://cloud.google.com/bigquery/docs/reference/rest/v2/Job and
https://cloud.google.com/bigquery/docs/error-messages.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydag_gcp.local.http import ApiError

#: The HTTP status that goes with a reason (https://cloud.google.com/bigquery/docs/error-messages).
_STATUS = {
    "accessDenied": 403,
    "backendError": 503,
    "bytesBilledLimitExceeded": 400,
    "duplicate": 409,
    "internalError": 500,
    "notFound": 404,
    "notImplemented": 501,
    "resourceInUse": 400,
    "stopped": 200,
}
_KINDS = {"query": "QUERY", "load": "LOAD", "extract": "EXTRACT", "copy": "COPY"}


class JobError(Exception):
    """Why a job failed: its ``errorResult``.

    Args:
        reason: BigQuery's word for it, such as ``invalidQuery``.
        message: The sentence that the user sees.
        location: ``query``, or the URI that is to blame.
        details: Further entries of ``errors[]``, most specific last.
    """

    def __init__(
        self, reason: str, message: str, *, location: str | None = None, details: Sequence[JobError] = ()
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.location = location
        self.details = tuple(details)

    def to_api(self) -> dict[str, str]:
        """Return the ErrorProto."""
        proto = {"reason": self.reason, "message": self.message}
        return proto if self.location is None else proto | {"location": self.location}

    def to_json(self) -> str:
        """Return the whole ``errors[]``, ``errorResult`` first."""
        return json.dumps([error.to_api() for error in (self, *self.details)])

    def to_http(self) -> ApiError:
        """Return the same as the answer of a call that waits for the job."""
        return http_error(self.to_api())


def http_error(proto: Mapping[str, str]) -> ApiError:
    """Return an ErrorProto as the answer of a call."""
    reason = proto["reason"]
    return ApiError(_STATUS.get(reason, 400), reason, proto["message"], location=proto.get("location"))


@dataclass(frozen=True, kw_only=True)
class JobName:
    """A job's full name; ids are unique per project and location."""

    project: str
    location: str
    job_id: str

    def __str__(self) -> str:
        return f"{self.project}:{self.location}.{self.job_id}"

    @property
    def digest(self) -> str:
        """A name for files and result tables of this job."""
        return hashlib.sha256(str(self).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job as it was last stored, or as it runs.

    Attributes:
        name: Its name.
        configuration: The JobConfiguration, as it is echoed.
        state: ``PENDING``, ``RUNNING`` or ``DONE``.
        created: Milliseconds since the epoch, as the other times.
        started: When it began to run.
        ended: When it was done.
        request_id: The idempotency key of ``jobs.query``.
        parent: The id of the script that it is a part of.
        upload: The file in the spool that a load job's caller sent along.
        progress: How many of its steps are committed.
        statistics: What those steps report; keys that start with ``_`` are our own.
        errors: Its ``errors[]``; the first is the ``errorResult``.
    """

    name: JobName
    configuration: Mapping[str, Any]
    state: str = "PENDING"
    created: int
    started: int | None = None
    ended: int | None = None
    request_id: str | None = None
    parent: str | None = None
    upload: str | None = None
    progress: int = 0
    statistics: Mapping[str, Any] = field(default_factory=dict)
    errors: Sequence[Mapping[str, str]] = ()

    @property
    def kind(self) -> str:
        """``query``, ``load``, ``extract`` or ``copy``."""
        return next(kind for kind in _KINDS if kind in self.configuration)

    @property
    def options(self) -> Mapping[str, Any]:
        """The part of the configuration that is about this kind of job."""
        options: Mapping[str, Any] = self.configuration[self.kind]
        return options

    @property
    def status(self) -> dict[str, Any]:
        """The JobStatus."""
        status: dict[str, Any] = {"state": self.state}
        if self.errors:
            status |= {"errorResult": self.errors[0], "errors": list(self.errors)}
        elif self.statistics.get("_warnings"):
            status["errors"] = self.statistics["_warnings"]
        return status

    def to_api(self) -> dict[str, Any]:
        """Return the Job resource."""
        resource = self._resource()
        text = json.dumps(resource, sort_keys=True)
        return resource | {"etag": base64.b64encode(hashlib.sha256(text.encode()).digest()[:16]).decode()}

    def _resource(self) -> dict[str, Any]:
        shown = {key: value for key, value in self.statistics.items() if not key.startswith("_")}
        statistics = {"creationTime": str(self.created), **shown}
        if self.started is not None:
            statistics["startTime"] = str(self.started)
        if self.ended is not None:
            statistics["endTime"] = str(self.ended)
        if self.parent is not None:
            statistics["parentJobId"] = self.parent
        return {
            "kind": "bigquery#job",
            "id": str(self.name),
            "selfLink": (
                f"/bigquery/v2/projects/{self.name.project}/jobs/{self.name.job_id}?location={self.name.location}"
            ),
            "user_email": "local@pydag",
            "configuration": {**self._shown_configuration(), "jobType": _KINDS[self.kind]},
            "jobReference": {
                "projectId": self.name.project,
                "jobId": self.name.job_id,
                "location": self.name.location,
            },
            "statistics": statistics,
            "status": self.status,
        }

    def _shown_configuration(self) -> Mapping[str, Any]:
        """Return the configuration, with what a finished definition made instead of a result that it has not."""
        if self.kind != "query" or self.state != "DONE" or self.statistics.get("_result") or self.errors:
            return self.configuration
        options = {key: value for key, value in self.options.items() if key != "destinationTable"}
        made = self.statistics.get("query", {}).get("ddlTargetTable")
        return {**self.configuration, "query": {**options, "destinationTable": made} if made else options}

    def to_list(self, *, full: bool) -> dict[str, Any]:
        """Return the job as jobs.list shows it; only in full with its configuration."""
        resource = {**self._resource(), "state": self.state}
        if self.errors:
            resource["errorResult"] = self.errors[0]
        if not full:
            del resource["configuration"]
        return resource
