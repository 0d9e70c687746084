"""The ``jobs`` methods of BigQuery's REST API.

Reference: https://cloud.google.com/bigquery/docs/reference/rest/v2/jobs.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from werkzeug.wrappers import Request, Response

from pydag_gcp.local.bigquery.catalogue import Catalogue, DatasetName, NotFound, TableName
from pydag_gcp.local.bigquery.job import Job, JobError, JobName, http_error
from pydag_gcp.local.bigquery.job_requests import job_of, normal_location
from pydag_gcp.local.bigquery.job_store import JobFilter
from pydag_gcp.local.bigquery.job_uploads import JobUploads
from pydag_gcp.local.bigquery.jobs import Jobs
from pydag_gcp.local.bigquery.query import Queries
from pydag_gcp.local.bigquery.results import PageRequest, page, whole
from pydag_gcp.local.bigquery.schemas import schema_to_api
from pydag_gcp.local.bigquery.sizes import Sizes
from pydag_gcp.local.bigquery.warehouse import Warehouse
from pydag_gcp.local.http import Api, ApiError, json_body, not_implemented, pending_of

_STATES = ("DONE", "PENDING", "RUNNING")
_DEFAULT_WAIT_MS = 10_000
_LONGEST_WAIT_MS = 200_000
#: What jobs.query takes over into the query's configuration.
_QUERY_KEYS = (
    "query", "defaultDataset", "useLegacySql", "parameterMode", "queryParameters", "maximumBytesBilled",
    "preserveNulls", "useQueryCache", "createSession", "connectionProperties", "destinationEncryptionConfiguration",
    "continuous", "writeIncrementalResults",
)  # fmt: skip
_QUERY_OWN_KEYS = frozenset({
    "kind", "maxResults", "timeoutMs", "dryRun", "location", "formatOptions", "labels", "requestId", "jobCreationMode",
    "jobTimeoutMs",
})  # fmt: skip


class JobRoutes:
    """Answers the ``jobs`` methods.

    Args:
        warehouse: Where results are read.
        jobs: The jobs.
        queries: For dry runs.
        uploads: Files that come along with load jobs.
        sizes: For pages of bounded size.
        location: Where jobs run that do not say.
    """

    def __init__(
        self, warehouse: Warehouse, jobs: Jobs, queries: Queries, uploads: JobUploads, sizes: Sizes, location: str
    ) -> None:
        self._warehouse = warehouse
        self._jobs = jobs
        self._queries = queries
        self._uploads = uploads
        self._sizes = sizes
        self._location = location

    def register(self, api: Api) -> None:
        """Add the routes."""
        base = "/bigquery/v2/projects/<project>"
        for method, verb, rule, handler in (
            ("insert", "POST", f"{base}/jobs", self.insert),
            ("insert", "POST", "/upload/bigquery/v2/projects/<project>/jobs", self.upload),
            ("insert", "POST", "/resumable/upload/bigquery/v2/projects/<project>/jobs", self.upload),
            ("insert", "PUT", "/upload/bigquery/v2/projects/<project>/jobs", self.upload_part),
            ("list", "GET", f"{base}/jobs", self.list),
            ("get", "GET", f"{base}/jobs/<job_id>", self.get),
            ("cancel", "POST", f"{base}/jobs/<job_id>/cancel", self.cancel),
            ("delete", "DELETE", f"{base}/jobs/<job_id>/delete", self.delete),
            ("query", "POST", f"{base}/queries", self.query),
            ("getQueryResults", "GET", f"{base}/queries/<job_id>", self.results),
        ):
            api.route(f"bigquery.jobs.{method}", verb, rule)(handler)

    def insert(self, request: Request, project: str) -> Mapping[str, Any]:
        """Accept a job."""
        return self._insert(project, json_body(request), None, pending=pending_of(request))

    def upload(self, request: Request, project: str) -> Mapping[str, Any] | Response:
        """Accept a load job whose file comes along (multipart), or is about to (resumable)."""
        kind = request.args.get("uploadType")
        if kind == "multipart":
            resource, path = self._uploads.multipart(request)
            return self._insert(project, resource, path)
        if kind == "resumable":
            return self._uploads.begin(request, project)
        raise not_implemented(f"uploadType {kind} of bigquery.jobs.insert")

    def upload_part(self, request: Request, project: str) -> Response:
        """Take the next part of a resumable upload; the last one makes the job."""

        def accept(resource: Mapping[str, Any], path: str) -> Mapping[str, Any]:
            return self._insert(project, resource, path)

        return self._uploads.part(request, accept)

    def _insert(
        self, project: str, resource: Mapping[str, Any], upload: str | None, *, pending: float = 0.0
    ) -> Mapping[str, Any]:
        job, dry = job_of(
            project,
            resource,
            now=self._warehouse.clock.next(),
            location=self._default_location(project, resource),
            upload=upload,
        )
        if dry:
            return self._dry_run(job).to_api()
        try:
            return self._jobs.insert(job, pending=pending).to_api()
        except ApiError:
            if upload is not None:
                Path(upload).unlink(missing_ok=True)
            raise

    def _dry_run(self, job: Job) -> Job:
        try:
            statistics = self._queries.dry_run(job)
        except JobError as error:
            raise error.to_http() from error
        return replace(job, state="DONE", statistics=statistics)

    def _default_location(self, project: str, resource: Mapping[str, Any]) -> str:
        """Return where a job's datasets are; a job that does not say runs there."""
        configuration = resource.get("configuration") or {}
        options: Mapping[str, Any] = next((part for part in configuration.values() if isinstance(part, dict)), {})
        references = (options.get(key) or {} for key in ("destinationTable", "defaultDataset", "sourceTable"))
        with self._warehouse.reading() as connection:
            catalogue = Catalogue(connection, self._warehouse.clock)
            for reference in references:
                name = DatasetName(
                    project=reference.get("projectId") or project, dataset=reference.get("datasetId", "")
                )
                dataset = catalogue.find_dataset(name)
                if dataset is not None:
                    return dataset.location
        return self._location

    def _name(self, request: Request, project: str, job_id: str) -> JobName:
        location = normal_location(request.args.get("location") or self._location)
        return JobName(project=project, location=location, job_id=job_id)

    def get(self, request: Request, project: str, job_id: str) -> Mapping[str, Any]:
        """Return a job."""
        return self._jobs.get(self._name(request, project, job_id)).to_api()

    def cancel(self, request: Request, project: str, job_id: str) -> Mapping[str, Any]:
        """Ask a job to stop."""
        job = self._jobs.cancel(self._name(request, project, job_id))
        return {"kind": "bigquery#jobCancelResponse", "job": job.to_api()}

    def delete(self, request: Request, project: str, job_id: str) -> None:
        """Forget a job that is DONE."""
        self._jobs.delete(self._name(request, project, job_id))

    def list(self, request: Request, project: str) -> Mapping[str, Any]:
        """List jobs, newest first.

        https://cloud.google.com/bigquery/docs/reference/rest/v2/jobs/list
        """
        arguments = request.args
        limit = whole(arguments.get("maxResults"), "maxResults") or 1000
        wanted = JobFilter(
            project=project,
            states={_one_of(_STATES, state, "stateFilter") for state in arguments.getlist("stateFilter")},
            created_from=whole(arguments.get("minCreationTime"), "minCreationTime"),
            created_until=whole(arguments.get("maxCreationTime"), "maxCreationTime"),
            parent=arguments.get("parentJobId"),
            before=_job_token(arguments.get("pageToken")),
            limit=limit,
        )
        full = _one_of(("FULL", "MINIMAL"), arguments.get("projection") or "FULL", "projection") == "FULL"
        found = self._jobs.list(wanted)
        shown = [job.to_list(full=full) for job in found[:limit]]
        answer: dict[str, Any] = {"kind": "bigquery#jobList", "jobs": shown}
        if len(found) > limit:
            last = found[limit - 1]
            text = json.dumps([last.created, last.name.job_id])
            answer["nextPageToken"] = base64.urlsafe_b64encode(text.encode()).decode()
        return answer

    def query(self, request: Request, project: str) -> Mapping[str, Any]:
        """Run a query and wait for its first rows for a while."""
        body = json_body(request)
        unknown = [key for key in body if key not in _QUERY_OWN_KEYS and key not in _QUERY_KEYS and body[key]]
        if unknown:
            raise not_implemented(f"{unknown[0]} of bigquery.jobs.query")
        configuration = {
            "query": {key: body[key] for key in _QUERY_KEYS if key in body},
            "labels": body.get("labels") or {},
            "dryRun": body.get("dryRun", False),
            "jobTimeoutMs": body.get("jobTimeoutMs"),
        }
        resource = {"jobReference": {"location": body.get("location")}, "configuration": configuration}
        location = self._default_location(project, resource)
        job, dry = job_of(project, resource, now=self._warehouse.clock.next(), location=location)
        if dry:
            return self._dry_answer(self._dry_run(job))
        accepted = self._jobs.insert(replace(job, request_id=body.get("requestId") or None))
        options = body.get("formatOptions") or {}
        wanted = PageRequest(
            rows=None if body.get("maxResults") is None else int(body["maxResults"]),
            int64_timestamps=bool(options.get("useInt64Timestamp")) or options.get("timestampOutputFormat") == "INT64",
        )
        answer = self._answer(accepted.name, body.get("timeoutMs"), wanted)
        return {**answer, "kind": "bigquery#queryResponse"}

    def results(self, request: Request, project: str, job_id: str) -> Mapping[str, Any]:
        """Return a page of a query's result, waiting for it for a while."""
        wait = whole(request.args.get("timeoutMs"), "timeoutMs")
        return self._answer(self._name(request, project, job_id), wait, PageRequest.of(request))

    def _answer(self, name: JobName, wait: int | None, wanted: PageRequest) -> Mapping[str, Any]:
        milliseconds = min(_DEFAULT_WAIT_MS if wait is None else int(wait), _LONGEST_WAIT_MS)
        job = self._jobs.wait(name, milliseconds / 1000)
        if job.kind != "query":
            raise ApiError(400, "invalid", f"Cannot get the query results of job {name}: it is a {job.kind} job")
        answer: dict[str, Any] = {
            "kind": "bigquery#getQueryResultsResponse",
            "jobReference": {"projectId": name.project, "jobId": name.job_id, "location": name.location},
            "jobComplete": job.state == "DONE",
        }
        if job.state != "DONE":
            return answer
        if job.errors:
            raise http_error(job.errors[0])
        answer |= _totals(job)
        result = job.statistics.get("_result")
        return {**answer, **self._page(result, wanted)} if result else answer

    def _page(self, result: Mapping[str, str], wanted: PageRequest) -> Mapping[str, Any]:
        name = TableName(project=result["projectId"], dataset=result["datasetId"], table=result["tableId"])
        with self._warehouse.reading() as connection:
            catalogue = Catalogue(connection, self._warehouse.clock)
            try:
                table = catalogue.table(name)
            except NotFound as error:
                raise ApiError(404, "notFound", str(error)) from None
            return {"schema": schema_to_api(table.fields), **page(catalogue, table, wanted, self._sizes)}

    def _dry_answer(self, job: Job) -> Mapping[str, Any]:
        return {
            "kind": "bigquery#queryResponse",
            "jobReference": {"projectId": job.name.project, "location": job.name.location},
            "jobComplete": True,
            "schema": job.statistics["query"]["schema"],
            **_totals(job),
        }


def _totals(job: Job) -> dict[str, Any]:
    query = job.statistics["query"]
    totals = {
        "totalBytesProcessed": job.statistics["totalBytesProcessed"],
        "totalBytesBilled": query["totalBytesBilled"],
        "totalSlotMs": "0",
        "cacheHit": False,
        "location": job.name.location,
        "creationTime": str(job.created),
        "statementType": query["statementType"],
    }
    if job.started is not None and job.ended is not None:
        totals |= {"startTime": str(job.started), "endTime": str(job.ended)}
    return totals | {key: query[key] for key in ("numDmlAffectedRows", "dmlStats") if key in query}


def _one_of(known: Sequence[str], text: str, name: str) -> str:
    if text.upper() not in known:
        raise ApiError(400, "invalid", f"Invalid value for {name}: {text} is none of {', '.join(known)}", location=name)
    return text.upper()


def _job_token(token: str | None) -> tuple[int, str] | None:
    if not token:
        return None
    try:
        created, job_id = json.loads(base64.urlsafe_b64decode(token))
        return int(created), str(job_id)
    except ValueError:
        raise ApiError(400, "invalid", f"Invalid page token: {token}", location="pageToken") from None
