"""What BigQuery's jobs have in common: one job resource, inserted once under a chosen id, then looked at.

https://cloud.google.com/bigquery/docs/reference/rest/v2/Job
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Mapping
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, field_validator

from pydag_gcp.fingerprint import fields_of
from pydag_gcp.gcp import ONCE
from pydag_gcp.identity import request_label
from pydag_gcp.operator import Context, Done, Failed, Json, RemoteOperator, Running, Status
from pydag_gcp.operators.labels import Labels
from pydag_gcp.operators.submission import REQUEST_LABEL, merged, one_line, refusals, submit_once
from pydag_gcp.retry import is_rate_reason, is_transient_reason

if TYPE_CHECKING:
    from google.cloud.bigquery import CopyJob, ExtractJob, LoadJob, QueryJob

    _Job = CopyJob | ExtractJob | LoadJob | QueryJob

#: Settings of a job of any kind; ``dryRun`` is left out, because a dry run does nothing.
_SETTINGS = frozenset({"jobTimeoutMs", "labels", "maxSlots", "reservation"})
#: The states of a job that is not over, in their order: one that moves on between two lists is in the second.
_ACTIVE = ("pending", "running")
#: Jobs on a page of a list, and pages that are read: what others have going on under the same account is listed, too.
_PAGE, _MOST_PAGES = 1000, 20
#: For how much longer than jobs go on they are listed: our clock and the service's need not agree.
_CLOCKS_DIFFER = timedelta(hours=1)
#: Errors of single rows and files that a message repeats, at most.
_MOST_ERRORS = 3

_HINTS = {
    "bytesBilledLimitExceeded": "raise --max-bytes or the task's maximum_bytes_billed, or read less",
    "accessDenied": "grant the account that runs this the permission it names",
    "quotaExceeded": "wait, or ask for more quota: https://cloud.google.com/bigquery/quotas",
}


class BigQueryJob(RemoteOperator):
    """One BigQuery job."""

    service: ClassVar[str] = "bigquery"
    #: The key of the job's own part in its configuration.
    kind: ClassVar[str]
    #: What ``config`` may not say, because what the task reads and writes is taken from these fields of ours.
    own_fields: ClassVar[Mapping[str, str]]

    labels: Labels = Field(default={}, description="Labels of your own for the job")
    config: dict[str, Any] = Field(
        default={},
        description="Laid over the job configuration that is sent, in the names of "
        "https://cloud.google.com/bigquery/docs/reference/rest/v2/Job#JobConfiguration",
    )

    @field_validator("config")
    @classmethod
    def _known_settings(cls, config: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(config.get(cls.kind, {}), dict):
            raise ValueError(f"{cls.kind!r} holds settings by name, got {config[cls.kind]!r}")  # noqa: TRY004  pydantic wants a ValueError
        for name in sorted(config.keys() - _SETTINGS - {cls.kind}):
            raise ValueError(
                f"no setting {name!r} of a {cls.kind} job; known: {', '.join(sorted(_SETTINGS | {cls.kind}))} "
                f"(what only a {cls.kind} job has goes inside {cls.kind!r})"
            )
        for name in sorted(cls.own_fields.keys() & config.get(cls.kind, {}).keys()):
            raise ValueError(f"{cls.kind}.{name} is what the field {cls.own_fields[name]!r} says; set that")
        return config

    @abstractmethod
    def configuration(self, ctx: Context) -> dict[str, Json]:
        """What is sent, without labels and the author's ``config``."""

    @abstractmethod
    def _insert(self, ctx: Context, configuration: dict[str, Json], job_id: str) -> _Job:
        """Send one jobs.insert."""

    def submit(self, ctx: Context, job_id: str) -> dict[str, Json]:
        """See :meth:`~pydag_gcp.operator.RemoteOperator.submit`.

        https://cloud.google.com/bigquery/docs/reference/rest/v2/jobs/insert: an id can be used once per location.
        """
        request = merged(self.configuration(ctx), self.config)
        extra = request.pop("labels", {})
        label = request_label(request)
        sent = {**self._capped(ctx, request), "labels": {**extra, **self.labels, **ctx.labels, REQUEST_LABEL: label}}
        handle = {"project": ctx.target.project, "location": ctx.target.location, "job_id": job_id}
        submit_once(
            self._title(job_id),
            label,
            handle,
            create=lambda: self._insert(ctx, sent, job_id),
            fetch=lambda: _get(ctx, handle),
        )
        return handle

    def identity(self, ctx: Context) -> Mapping[str, Json]:
        """The fields; of ``config`` only what is about the job itself."""
        parts = fields_of(self, ctx, leave_out=("config",))
        config = {name: value for name, value in self.config.get(self.kind, {}).items() if name != "maximumBytesBilled"}
        return {**parts, "field config": config} if config else parts

    def _capped(self, ctx: Context, request: dict[str, Json]) -> dict[str, Json]:
        """The request with what the run has left to spend laid over it; a job that was sent before still matches it."""
        return request

    def poll(self, ctx: Context, handle: Mapping[str, Json]) -> Status:
        """See :meth:`~pydag_gcp.operator.RemoteOperator.poll`."""
        with refusals(f"BigQuery job {handle['job_id']!r} cannot be looked at"):
            job = _get(ctx, handle)
        if job.state != "DONE":
            return Running(detail=_progress(job))
        if job.error_result is None:
            return Done()
        reason = job.error_result.get("reason")
        return Failed(
            reason=self._failure(job, handle["job_id"]),
            transient=is_transient_reason(reason),
            throttled=is_rate_reason(reason),
        )

    def listing(self, handle: Mapping[str, Json]) -> Hashable:
        """See :meth:`~pydag_gcp.operator.RemoteOperator.listing`."""
        return "BigQuery jobs", handle["project"], handle["location"]

    def listed(
        self, ctx: Context, handle: Mapping[str, Json], job_ids: frozenset[str], since: datetime
    ) -> Mapping[str, Running]:
        """See :meth:`~pydag_gcp.operator.RemoteOperator.listed`.

        https://cloud.google.com/bigquery/docs/reference/rest/v2/jobs/list: the jobs of this account, in all locations,
        newest first. Nothing is promised of how soon a job is in it, or in its new state.
        """
        found: dict[str, Running] = {}
        with refusals(f"BigQuery jobs of project {handle['project']!r} cannot be listed"):
            for state in _ACTIVE:
                jobs = ctx.clients.bigquery().list_jobs(
                    project=handle["project"],
                    state_filter=state,
                    min_creation_time=since - _CLOCKS_DIFFER,
                    page_size=_PAGE,
                    **ONCE,
                )
                for page in islice(jobs.pages, _MOST_PAGES):
                    active = (job for job in page if job.job_id in job_ids and _goes_on(job, handle))
                    found |= {job.job_id: Running(detail=_progress(job)) for job in active}
                    if len(found) == len(job_ids):
                        return found
        return found

    def cancel(self, ctx: Context, handle: Mapping[str, Json]) -> None:
        """See :meth:`~pydag_gcp.operator.RemoteOperator.cancel`."""
        with refusals(f"BigQuery job {handle['job_id']!r} cannot be cancelled"):
            ctx.clients.bigquery().cancel_job(
                handle["job_id"],
                project=handle["project"],
                location=handle["location"],
                **ONCE,
            )

    def result(self, ctx: Context, handle: Mapping[str, Json]) -> Json:
        """See :meth:`~pydag_gcp.operator.RemoteOperator.result`."""
        with refusals(f"BigQuery job {handle['job_id']!r} cannot be looked at"):
            job = _get(ctx, handle)
        self._settle(ctx, job)
        return {"job_id": handle["job_id"], "location": handle["location"], **self._summary(job)}

    def _settle(self, ctx: Context, job: Any) -> None:
        """Do what is left once a job has succeeded; done again if it was interrupted."""

    @abstractmethod
    def _summary(self, job: Any) -> dict[str, Json]:
        """What a finished job came to."""

    def _title(self, job_id: str) -> str:
        return f"BigQuery {self.kind} job {job_id!r}"

    @property
    def _hint_if_there(self) -> str:
        """How to mend that the destination holds something."""
        return "write='WRITE_TRUNCATE' replaces what is there, write='WRITE_APPEND' adds to it"

    def _failure(self, job: _Job, job_id: str) -> str:
        """Say in one line why a job failed, with the errors that name files and rows."""
        first = job.error_result or {}
        reason = str(first.get("reason", "unknown"))
        parts = [_sentence(first)]
        for error in job.errors or []:
            sentence = _sentence(error)
            if not any(sentence in part or part in sentence for part in parts):
                parts.append(sentence)
            elif any(part in sentence for part in parts):  # the same error, but it says where
                parts = [sentence if part in sentence else part for part in parts]
        parts = [part for part in parts if "giving up" not in part] or parts  # others say what it gave up over
        text = f"{self._title(job_id)} failed: {'; '.join(parts[:_MOST_ERRORS])} ({reason})"
        refused_to_write = getattr(job, "write_disposition", None) == "WRITE_EMPTY" and reason == "duplicate"
        hint = self._hint_if_there if refused_to_write else _HINTS.get(reason)
        return f"{text}; {hint}" if hint else text


def _goes_on(job: _Job, handle: Mapping[str, Json]) -> bool:
    return job.state != "DONE" and str(job.location).lower() == str(handle["location"]).lower()


def _progress(job: _Job) -> str:
    return f"BigQuery job {job.state}"


def listed(value: Any) -> Any:
    """Take one value for a list of one."""
    return value if isinstance(value, (list, tuple)) else (value,)


def statistics_of(job: _Job, kind: str) -> Mapping[str, Any]:
    """What BigQuery tells of a job of a kind, also where the client has no property for it."""
    found: Mapping[str, Any] = job._properties.get("statistics", {}).get(kind, {})  # noqa: SLF001 - nowhere else
    return found


def _sentence(error: Mapping[str, Any]) -> str:
    message, location = one_line(str(error.get("message", ""))), str(error.get("location") or "")
    return f"{location}: {message}" if location not in {"", "query"} and location not in message else message


def _get(ctx: Context, handle: Mapping[str, Json]) -> Any:
    return ctx.clients.bigquery().get_job(
        handle["job_id"],
        project=handle["project"],
        location=handle["location"],
        **ONCE,
    )
