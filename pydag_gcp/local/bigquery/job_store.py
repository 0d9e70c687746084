"""The durable side of jobs: rows of ``pydag.jobs``."""

# ruff: noqa: S608  (names are quoted identifiers of our own making; values are bound)
from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import duckdb

from pydag_gcp.local.bigquery.job import Job, JobName

_COLUMNS = (
    "project, location, job_id, configuration, state, created, started, ended, request_id, parent, upload, progress,"
    " statistics, errors"
)
_KEY = "project = ? AND location = ? AND job_id = ?"


@dataclass(frozen=True, kw_only=True)
class JobFilter:
    """Which jobs to list, newest first.

    Attributes:
        project: Their project.
        states: The states they may have, in capitals; none: any.
        created_from: Milliseconds since the epoch.
        created_until: The same.
        parent: The script that they are parts of; None: they are part of none.
        before: Creation time and id of the last one of the page before.
        limit: Jobs on a page.
    """

    project: str
    states: Collection[str] = ()
    created_from: int | None = None
    created_until: int | None = None
    parent: str | None = None
    before: tuple[int, str] | None = None
    limit: int = 1000

    def takes(self, job: Job) -> bool:
        """Tell whether a job is to be listed."""
        return (
            job.name.project == self.project
            and (not self.states or job.state in self.states)
            and job.parent == self.parent
            and (self.created_from is None or job.created >= self.created_from)
            and (self.created_until is None or job.created <= self.created_until)
            and (self.before is None or (job.created, job.name.job_id) < self.before)
        )


def insert(connection: duckdb.DuckDBPyConnection, job: Job) -> None:
    """Store a new job."""
    name = job.name
    values = (
        *(name.project, name.location, name.job_id, json.dumps(job.configuration), job.state, job.created),
        *(job.started, job.ended, job.request_id, job.parent, job.upload, job.progress),
        *(json.dumps(job.statistics), json.dumps(list(job.errors))),
    )
    connection.execute(f"INSERT INTO pydag.jobs ({_COLUMNS}) VALUES ({', '.join('?' * len(values))})", values)


def update(connection: duckdb.DuckDBPyConnection, job: Job) -> None:
    """Store how far a job got."""
    progress = (job.state, job.started, job.ended, job.progress)
    connection.execute(
        "UPDATE pydag.jobs SET state = ?, started = ?, ended = ?, progress = ?, statistics = ?, errors = ?"
        f" WHERE {_KEY}",
        (*progress, json.dumps(job.statistics), json.dumps(list(job.errors)), *_key(job.name)),
    )


def delete(connection: duckdb.DuckDBPyConnection, name: JobName) -> None:
    """Forget a job."""
    connection.execute(f"DELETE FROM pydag.jobs WHERE {_KEY}", _key(name))


def find(connection: duckdb.DuckDBPyConnection, name: JobName) -> Job | None:
    """Return a job, or None."""
    rows = connection.execute(f"SELECT {_COLUMNS} FROM pydag.jobs WHERE {_KEY}", _key(name)).fetchall()
    return _job(rows[0]) if rows else None


def find_request(connection: duckdb.DuckDBPyConnection, project: str, request_id: str, since: int) -> Job | None:
    """Return the job that a ``jobs.query`` call with this idempotency key made, or None."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM pydag.jobs WHERE project = ? AND request_id = ? AND created >= ?",
        (project, request_id, since),
    ).fetchall()
    return _job(rows[0]) if rows else None


def unfinished(connection: duckdb.DuckDBPyConnection) -> list[Job]:
    """List the jobs that are not DONE, oldest first."""
    rows = connection.execute(f"SELECT {_COLUMNS} FROM pydag.jobs WHERE state != 'DONE' ORDER BY created").fetchall()
    return [_job(row) for row in rows]


def select(connection: duckdb.DuckDBPyConnection, wanted: JobFilter) -> list[Job]:
    """List jobs, newest first, one more than asked for if there are more.

    Which of the unfinished ones run is not stored, so of ``wanted.states`` only a lone DONE is looked at, and without a
    limit where others are wanted, too.
    """
    conditions, values = ["project = ?"], [wanted.project]
    optional: tuple[tuple[str, Any], ...] = (
        ("created >= ?", wanted.created_from),
        ("created <= ?", wanted.created_until),
        ("parent = ?", wanted.parent),
    )
    for condition, value in optional:
        if value is not None:
            conditions.append(condition)
            values.append(value)
    if wanted.parent is None:
        conditions.append("parent IS NULL")
    if wanted.before is not None:
        conditions.append("(created, job_id) < (?, ?)")
        values.extend(wanted.before)  # type: ignore[arg-type]
    states = set(wanted.states)
    if states == {"DONE"}:
        conditions.append("state = 'DONE'")
    limit = f" LIMIT {wanted.limit + 1}" if states in (set(), {"DONE"}) else ""
    order = f"ORDER BY created DESC, job_id DESC{limit}"
    sql = f"SELECT {_COLUMNS} FROM pydag.jobs WHERE {' AND '.join(conditions)} {order}"
    return [_job(row) for row in connection.execute(sql, values).fetchall()]


def _key(name: JobName) -> tuple[str, str, str]:
    return name.project, name.location, name.job_id


def _job(row: tuple[Any, ...]) -> Job:
    project, location, job_id, configuration, state, *times = row[:8]
    request_id, parent, upload, progress, statistics, errors = row[8:]
    created, started, ended = times
    return Job(
        name=JobName(project=project, location=location, job_id=job_id),
        configuration=json.loads(configuration),
        state=state,
        created=created,
        started=started,
        ended=ended,
        request_id=request_id,
        parent=parent,
        upload=upload,
        progress=progress,
        statistics=json.loads(statistics),
        errors=json.loads(errors or "[]"),
    )
