"""Job resources as callers send them: checked, completed with defaults, made a :class:`Job`.

What the local cloud does not do is refused by name here, before the job exists.
Reference: https://cloud.google.com/bigquery/docs/reference/rest/v2/Job#JobConfiguration.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from typing import Any

from pydag_gcp.local.bigquery.job import Job, JobName
from pydag_gcp.local.bigquery.query import anonymous_result
from pydag_gcp.local.bigquery.resources import check_labels
from pydag_gcp.local.http import ApiError, not_implemented

_JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,1024}")
_WRITING = frozenset({"destinationTable", "createDisposition", "writeDisposition"})
_SHAPING = frozenset({"schemaUpdateOptions", "timePartitioning", "rangePartitioning", "clustering"})
#: What each kind of job may set. A flag that changes nothing here is marked by being in ``_IDLE`` too.
_KNOWN: Mapping[str, frozenset[str]] = {
    "query": _WRITING | _SHAPING | frozenset({
        "query", "defaultDataset", "priority", "maximumBytesBilled", "useQueryCache", "useLegacySql", "parameterMode",
        "queryParameters", "allowLargeResults", "flattenResults", "maximumBillingTier", "preserveNulls",
    }),
    "load": _WRITING | _SHAPING | frozenset({
        "sourceUris", "sourceFormat", "schema", "fieldDelimiter", "skipLeadingRows", "encoding", "quote",
        "maxBadRecords", "allowQuotedNewlines", "allowJaggedRows", "ignoreUnknownValues", "autodetect", "nullMarker",
        "nullMarkers", "destinationTableProperties", "useAvroLogicalTypes",
    }),
    "extract": frozenset({
        "sourceTable", "destinationUris", "destinationUri", "destinationFormat", "fieldDelimiter", "printHeader",
        "compression", "useAvroLogicalTypes",
    }),
    "copy": _WRITING | frozenset({"sourceTable", "sourceTables", "operationType"}),
}  # fmt: skip
#: Values that ask for nothing: a key we do not know is refused only if it asks for something.
_NOTHING: tuple[Any, ...] = (None, False, "", [], {})
_REQUIRED = {
    "query": ("query",),
    "load": ("destinationTable",),
    "extract": ("sourceTable",),
    "copy": ("destinationTable",),
}
_REFUSED_JOB_KEYS = ("jobTimeoutMs", "reservation", "maxSlots")


def job_of(
    project: str, resource: Mapping[str, Any], *, now: int, location: str, upload: str | None = None
) -> tuple[Job, bool]:
    """Make a Job of the resource that a caller sends.

    Args:
        project: The project in the request's path.
        resource: The Job resource.
        now: The job's creation time.
        location: Where it runs if it does not say.
        upload: The file that came along, of a load job.

    Returns:
        The job, and whether it is a dry run.

    Raises:
        ApiError: 400 for what means nothing, 501 for what the local cloud does not do.
    """
    configuration = dict(resource.get("configuration") or {})
    kinds = [kind for kind in _KNOWN if configuration.get(kind) is not None]
    if len(kinds) != 1:
        raise ApiError(400, "required", "Required parameter is missing: a job is one of query, load, extract and copy")
    (kind,) = kinds
    for key in _REFUSED_JOB_KEYS:
        if configuration.get(key):
            raise not_implemented(f"configuration.{key} of a job")
    check_labels(configuration.get("labels") or {})
    name = _name(project, resource.get("jobReference") or {}, location)
    options = _options(kind, configuration[kind])
    dry = bool(configuration.get("dryRun"))
    if dry and kind != "query":
        raise not_implemented(f"a dry run of a {kind} job")
    if kind == "query" and not options.get("destinationTable") and not dry:
        options["destinationTable"] = anonymous_result(name).to_api()
    _complete_references(options, name.project)
    if kind == "load":
        _check_source(options, upload)
    kept = {key: configuration[key] for key in ("labels", "dryRun") if configuration.get(key)}
    return Job(name=name, configuration={**kept, kind: options}, created=now, upload=upload), dry


def _name(project: str, reference: Mapping[str, Any], location: str) -> JobName:
    if reference.get("projectId") not in (None, "", project):
        raise ApiError(400, "invalid", f"Invalid project: {reference['projectId']} is not {project} of the request")
    job_id = reference.get("jobId") or f"job_{uuid.uuid4().hex}"
    if not _JOB_ID.fullmatch(str(job_id)):
        message = (
            f'Invalid job ID "{job_id}". Job IDs must be alphanumeric (plus underscores and dashes) and must be at '
            "most 1024 characters long."
        )
        raise ApiError(400, "invalid", message)
    return JobName(project=project, location=normal_location(reference.get("location") or location), job_id=str(job_id))


def normal_location(location: str) -> str:
    """Return a location as BigQuery writes it: multi-regions in capitals."""
    return location.upper() if location.lower() in ("us", "eu") else location.lower()


def _options(kind: str, given: Mapping[str, Any]) -> dict[str, Any]:
    for key, value in given.items():
        if key not in _KNOWN[kind] and value not in _NOTHING:
            raise not_implemented(f"configuration.{kind}.{key}")
    options = {key: value for key, value in given.items() if key in _KNOWN[kind] and value is not None}
    missing = [key for key in _REQUIRED[kind] if not options.get(key)]
    if missing:
        raise ApiError(400, "required", f"Required parameter is missing: {missing[0]}")
    if kind == "query" and options.get("useLegacySql", True):
        raise not_implemented("legacy SQL (send configuration.query.useLegacySql = false)")
    if kind == "copy" and options.get("operationType", "COPY") not in ("COPY", "OPERATION_TYPE_UNSPECIFIED"):
        raise not_implemented(f"configuration.copy.operationType {options['operationType']}")
    return options


def _complete_references(options: dict[str, Any], project: str) -> None:
    """Fill in the project where a table or dataset is named without one."""
    for key in ("destinationTable", "sourceTable", "defaultDataset"):
        if options.get(key):
            options[key] = _completed(options[key], project, key)
    if options.get("sourceTables"):
        options["sourceTables"] = [_completed(table, project, "sourceTables") for table in options["sourceTables"]]


def _completed(reference: Mapping[str, Any], project: str, key: str) -> dict[str, Any]:
    parts = ("datasetId",) if key == "defaultDataset" else ("datasetId", "tableId")
    for part in parts:
        if not reference.get(part):
            raise ApiError(400, "required", f"Required parameter is missing: {key}.{part}")
    return {**reference, "projectId": reference.get("projectId") or project}


def _check_source(options: Mapping[str, Any], upload: str | None) -> None:
    uris = options.get("sourceUris") or ()
    if upload is None and not uris:
        raise ApiError(400, "required", "Required parameter is missing: configuration.load.sourceUris")
    if upload is not None and uris:
        raise ApiError(400, "invalid", "A load job has either sourceUris or an upload, not both")
    for uri in uris:
        if not str(uri).startswith("gs://"):
            raise ApiError(400, "invalid", f"Source URI must be a Google Cloud Storage location: {uri}")
