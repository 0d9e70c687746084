"""The life of BigQuery jobs: accepted durably, run once in effect, seen by everyone, stopped on request.

A job is a list of steps (a script has several, everything else one). A step's rows, the metadata it changes and the
job's own progress commit in one transaction, so a crash at any moment leaves a step either done and recorded or not
begun; :meth:`Jobs.recover` runs the rest after a restart.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import duckdb

from pydag_gcp.local.bigquery import job_store
from pydag_gcp.local.bigquery.delays import Delays
from pydag_gcp.local.bigquery.job import Job, JobError, JobName
from pydag_gcp.local.bigquery.job_store import JobFilter
from pydag_gcp.local.bigquery.locks import GivenUp
from pydag_gcp.local.bigquery.warehouse import Warehouse
from pydag_gcp.local.http import ApiError

#: Jobs that may exist as threads, most of them waiting for each other's tables.
_THREADS = 64
#: Jobs that work at the same time; each one uses all of DuckDB's threads when it can.
_AT_WORK = 4
#: How often a step is run again because DuckDB saw a conflict that our locks did not foresee.
_CONFLICTS = 20
#: For how long a ``requestId`` is remembered: https://cloud.google.com/bigquery/docs/reference/rest/v2/jobs/query.
_REQUEST_ID_LIFE = 15 * 60 * 1000
_INTERRUPT_EVERY = 0.02
#: How often the end of a job is tried to be recorded where the disk does not take it, in seconds.
_RECORD_EVERY = 1.0
#: How often a job is begun anew because the process ended before it; then it is most likely the job that ends it.
_MOST_RECOVERIES = 5
#: Where the statistics count that.
_RECOVERIES = "_recoveries"

_log = logging.getLogger(__name__)

#: What a step does, inside its transaction; gets the statistics so far and returns them completed.
Action = Callable[[duckdb.DuckDBPyConnection, Mapping[str, Any]], Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Step:
    """A part of a job that takes effect as a whole.

    Attributes:
        run: The work.
        exclusive: Lock names of what it changes.
        shared: Lock names of what must not disappear meanwhile.
        careful: A slower way to do the same, tried in a new transaction when DuckDB fails in ``run``.
    """

    run: Action
    exclusive: frozenset[str] = frozenset()
    shared: frozenset[str] = frozenset()
    careful: Action | None = None


#: Makes the steps of a job; raises JobError where the configuration cannot be carried out.
Planner = Callable[[Job], Sequence[Step]]


@dataclass
class _Live:
    """A job that is not DONE: what others see of it and may do to it."""

    job: Job
    cancelled: bool = False
    delay: int | None = None
    connection: duckdb.DuckDBPyConnection | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    done: threading.Event = field(default_factory=threading.Event)

    def open(self, connection: duckdb.DuckDBPyConnection) -> None:
        """From now on a cancel interrupts ``connection``."""
        with self.lock:
            self.connection = connection

    def close(self) -> None:
        """From now on a cancel comes too late for this transaction: it may be committing."""
        with self.lock:
            self.connection = None

    def decide(self) -> None:
        """Like :meth:`close`, but if the cancel came first it wins."""
        with self.lock:
            self.connection = None
            if self.cancelled:
                raise _stopped()


class Jobs:
    """All jobs of the local BigQuery.

    Args:
        warehouse: Where they are stored and take effect.
        planners: The steps of a job, by kind: ``query``, ``load``, ``extract``, ``copy``.
    """

    def __init__(self, warehouse: Warehouse, planners: Mapping[str, Planner]) -> None:
        self._warehouse = warehouse
        self._planners = planners
        self._live: dict[JobName, _Live] = {}
        self._admission = threading.Lock()
        self._at_work = threading.BoundedSemaphore(_AT_WORK)
        self._closing = threading.Event()
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="bigquery-job")
        self._delays = Delays()

    def recover(self) -> None:
        """Run what an earlier process accepted and did not finish; but no job for ever."""
        with self._warehouse.writing() as connection:
            left = [_recovered(job) for job in job_store.unfinished(connection)]
            for job in left:
                job_store.update(connection, job)
        for job in left:
            self._start(job)

    def insert(self, job: Job, *, pending: float = 0.0) -> Job:
        """Accept a job durably, and start it.

        Args:
            job: The job.
            pending: For so many seconds it does not begin, unless it is cancelled or the process begins anew.

        Raises:
            ApiError: 409 ``duplicate``: the id is taken, whatever the job that has it is.
        """
        with self._admission:
            if job.request_id is not None:
                known = self._request(job)
                if known is not None:
                    return known
            if self.find(job.name) is not None:
                raise ApiError(409, "duplicate", f"Already Exists: Job {job.name}")
            with self._warehouse.writing() as connection:
                job_store.insert(connection, job)
            return self._start(job, pending)

    def _request(self, job: Job) -> Job | None:
        since = job.created - _REQUEST_ID_LIFE
        with self._warehouse.reading() as connection:
            stored = job_store.find_request(connection, job.name.project, str(job.request_id), since)
        return self._present(stored) if stored else None

    def _start(self, job: Job, pending: float = 0.0) -> Job:
        live = _Live(job=job)
        self._live[job.name] = live
        if pending:
            live.delay = self._delays.after(pending, lambda: self._pool.submit(self._run, live))
        else:
            self._pool.submit(self._run, live)
        return job

    def get(self, name: JobName) -> Job:
        """Return a job.

        Raises:
            ApiError: 404: there is none of that name.
        """
        job = self.find(name)
        if job is None:
            raise ApiError(404, "notFound", f"Not found: Job {name}")
        return job

    def find(self, name: JobName) -> Job | None:
        """Return a job, or None."""
        live = self._live.get(name)
        if live is not None:
            return live.job
        with self._warehouse.reading() as connection:
            return job_store.find(connection, name)

    def list(self, wanted: JobFilter) -> Sequence[Job]:
        """List jobs, newest first, one more than asked for if there are more."""
        if wanted.states and "DONE" not in wanted.states:
            found = [live.job for live in list(self._live.values()) if wanted.takes(live.job)]
            return sorted(found, key=lambda job: (job.created, job.name.job_id), reverse=True)[: wanted.limit + 1]
        with self._warehouse.reading() as connection:
            stored = job_store.select(connection, wanted)
        return [job for job in map(self._present, stored) if wanted.takes(job)][: wanted.limit + 1]

    def _present(self, stored: Job) -> Job:
        live = self._live.get(stored.name)
        return live.job if live is not None and stored.state != "DONE" else stored

    def wait(self, name: JobName, seconds: float) -> Job:
        """Return a job once it is DONE, or as it is after ``seconds``.

        Raises:
            ApiError: 404: there is none of that name.
        """
        live = self._live.get(name)
        if live is not None:
            live.done.wait(seconds)
        return self.get(name)

    def cancel(self, name: JobName) -> Job:
        """Ask a job to stop; it may yet succeed.

        Raises:
            ApiError: 404: there is none of that name.
        """
        live = self._live.get(name)
        if live is not None:
            with live.lock:
                live.cancelled = True
            self._warehouse.locks.wake()
            if live.delay is not None:
                self._delays.hurry(live.delay)
            threading.Thread(target=self._interrupt, args=(live,), daemon=True).start()
        return self.get(name)

    @staticmethod
    def _interrupt(live: _Live) -> None:
        # An interrupt hits only a statement that is running, so it is repeated until the job has noticed.
        while not live.done.wait(_INTERRUPT_EVERY):
            with live.lock:
                if live.connection is not None:
                    live.connection.interrupt()

    def delete(self, name: JobName) -> None:
        """Forget a job that is DONE.

        Raises:
            ApiError: 404: there is none of that name; 400: it is not DONE.
        """
        if self.get(name).state != "DONE":
            raise ApiError(400, "invalid", f"Cannot delete job {name}: it has not finished yet; cancel it first")
        with self._warehouse.writing() as connection:
            job_store.delete(connection, name)

    def busy(self) -> bool:
        """Tell whether any job is not DONE."""
        return bool(self._live)

    def close(self) -> None:
        """Interrupt everything without recording it: it will run again after a restart."""
        self._closing.set()
        self._delays.close()
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._warehouse.locks.wake()
        for live in [live for live in list(self._live.values()) if live.job.state == "RUNNING"]:
            self._interrupt(live)

    def _run(self, live: _Live) -> None:
        try:
            live.job = replace(live.job, state="RUNNING", started=live.job.started or self._warehouse.clock.now())
            self._take_steps(live)
        except JobError as error:
            self._fail(live, error)
        except Exception as error:  # noqa: BLE001  whatever it is, the job must end and say so
            _log.exception("job %s failed", live.job.name)
            # Not internalError: clients would repeat the job for minutes, and our mistake would stay one.
            what = f"The local cloud failed: {type(error).__name__}: {error}; see daemon.log"
            self._fail(live, JobError("notImplemented", what))
        else:
            self._live.pop(live.job.name, None)
        finally:
            live.done.set()
            if live.job.upload is not None and live.job.state == "DONE":
                Path(live.job.upload).unlink(missing_ok=True)

    def _take_steps(self, live: _Live) -> None:
        if live.job.statistics.get(_RECOVERIES, 0) > _MOST_RECOVERIES:
            raise JobError("notImplemented", f"The local cloud ended {_MOST_RECOVERIES + 1} times before this job did")
        steps = self._planners[live.job.kind](live.job)
        for number in range(live.job.progress, len(steps)):
            self._take(live, steps[number], last=number == len(steps) - 1)

    def _take(self, live: _Live, step: Step, *, last: bool) -> None:
        """Take one step, as often as DuckDB sees conflicts, then once more with care if it fails otherwise."""
        action, conflicts = step.run, 0
        while True:
            try:
                live.job = self._attempt(live, step, action, last=last)
            except (GivenUp, duckdb.InterruptException):
                raise _stopped() from None
            except duckdb.TransactionException:
                conflicts += 1
                if conflicts > _CONFLICTS:
                    raise
                time.sleep(0.01 * conflicts)
            except duckdb.Error as error:
                if step.careful is None or action is step.careful:
                    raise JobError("invalid", f"DuckDB: {error}") from error
                action = step.careful
            else:
                return

    def _attempt(self, live: _Live, step: Step, action: Action, *, last: bool) -> Job:
        def given_up() -> bool:
            return live.cancelled or self._closing.is_set()

        with self._warehouse.writing(step.exclusive, step.shared, given_up=given_up) as connection, self._at_work:
            try:
                live.open(connection)
                statistics = action(connection, live.job.statistics)
                done = replace(live.job, progress=live.job.progress + 1, statistics=statistics)
                if last:
                    done = replace(done, state="DONE", ended=self._warehouse.clock.now())
                job_store.update(connection, done)
                live.decide()
            finally:
                live.close()
        return done

    def _fail(self, live: _Live, error: JobError) -> None:
        if self._closing.is_set():
            return
        errors = [part.to_api() for part in (error, *error.details)]
        failed = replace(live.job, state="DONE", ended=self._warehouse.clock.now(), errors=errors)
        while not self._recorded(failed):
            if self._closing.wait(_RECORD_EVERY):
                return
        live.job = failed
        self._live.pop(live.job.name, None)

    def _recorded(self, job: Job) -> bool:
        """Record the end of a job; until that is durable nobody may see it, as after a crash it would run again."""
        try:
            with self._warehouse.writing() as connection:
                job_store.update(connection, job)
        except duckdb.Error:
            _log.exception("the end of job %s cannot be recorded; trying again in %s s", job.name, _RECORD_EVERY)
            return False
        return True


def _recovered(job: Job) -> Job:
    return replace(job, statistics={**job.statistics, _RECOVERIES: job.statistics.get(_RECOVERIES, 0) + 1})


def _stopped() -> JobError:
    return JobError("stopped", "Job execution was cancelled: User requested cancellation")
