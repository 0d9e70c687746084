"""The metadata database: runs, tasks and tries; records and leases lie in it, too.

SQLite by default, in WAL mode with ``synchronous=FULL``, or PostgreSQL. What is written of tasks and tries is queued,
and made durable soon, in that order, many rows at a time: :meth:`Store.settled` waits for it, which is what "about to
submit" rests on. What is written of runs is durable when the method returns. Other threads, processes and (on
PostgreSQL) machines may use the same database.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sa

from pydag_gcp import ends, engines, timings
from pydag_gcp.batch import Batch, Change, Inserts, storable
from pydag_gcp.database import Database, Guard
from pydag_gcp.errors import PydagError
from pydag_gcp.journal import Journal
from pydag_gcp.migration import migrate
from pydag_gcp.states import RunState, TaskState
from pydag_gcp.stored_records import StoredRecords
from pydag_gcp.tables import runs, tries

_OPEN = (RunState.RUNNING.value, RunState.INTERRUPTED.value)

_RUN = sa.select(runs).where(runs.c.run_id == sa.bindparam("of_run"))
_CANCEL_REQUESTED = sa.select(runs.c.cancel_requested).where(runs.c.run_id == sa.bindparam("of_run"))
_RUNS = sa.select(*(column for column in runs.c if column is not runs.c.definition)).order_by(
    runs.c.started.desc(), runs.c.run_id
)
_OPEN_RUNS = _RUNS.where(
    runs.c.dag_id == sa.bindparam("of_dag"),
    runs.c.target == sa.bindparam("of_target"),
    sa.or_(*(runs.c.state == state for state in _OPEN)),  # as a list is spelt out each time
)


class Store:
    """An open metadata database; a context manager.

    Args:
        url: SQLAlchemy URL. The folder of a SQLite file is made; the tables are, and those of an older version changed.

    Attributes:
        database: What it lies in.
        records: The successes that the cache rests on.

    Raises:
        SettingsError: The URL is none, or of a database that is not supported.
        StoreError: It cannot be opened, or another version of pydag-gcp made it. Every method raises it, too, when the
            database fails: disk full, no permission, locked for over 30 s, server gone. What was being written then is
            there as a whole or not at all, and nothing is written after it: every method raises the same again, save
            for :meth:`cancel_requested`.
        LeaseLost: In the same way, once it is :meth:`guarded`.
    """

    def __init__(self, url: str) -> None:
        self.database = Database(engines.parse(url))
        self._inserts = Inserts(self.database)
        self._journal: Journal[Change] = Journal(self._write)
        self.records = StoredRecords(self.database, self._journal)
        self._guard: Guard | None = None
        try:
            migrate(self.database)
        except BaseException:
            self.database.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self.close()
        except PydagError:
            if kind is None:  # else what was raised first says more
                raise

    def close(self) -> None:
        """Write what is queued, and close the database.

        Raises:
            StoreError: It could not be written, and nobody was told.
            LeaseLost: The same.
        """
        try:
            self._journal.close()
        finally:
            self.database.close()

    def together(self) -> AbstractContextManager[None]:
        """Make what this thread writes inside durable in one step, or not at all."""
        return self._journal.together()

    def guarded(self, lease: Guard) -> None:
        """From now on write only while the lease is ours."""
        self._guard = lease
        self.database.guarded(lease)

    def settled(self) -> None:
        """Wait until all that was written before is durable; from any thread. Many that wait are served by one commit.

        Raises:
            StoreError: It could not be written, and nothing will be any more.
            LeaseLost: The same, as the lease is somebody else's.
        """
        self._journal.settled()

    def drained(self) -> None:
        """Wait until nothing is left to be written of what was written before, be it that it cannot be."""
        self._journal.drained()

    def later(self, statement: sa.Executable, values: Mapping[str, Any]) -> None:
        """Execute a statement, not before what was written before, and not after what is written then."""
        self._journal.add((Batch.other, (statement, values)))

    def afterwards(self, action: Callable[[], None]) -> None:
        """Have this called, in another thread, once all that was written before is durable."""
        self._journal.afterwards(action)

    def on_failure(self, callback: Callable[[BaseException], None]) -> None:
        """Have the error told because of which nothing is written any more; once, in another thread."""
        self._journal.on_failure(callback)

    @property
    def behind(self) -> bool:
        """Whether so much waits to be written that whoever writes more should stop until it is :meth:`settled`."""
        return self._journal.behind

    def _write(self, changes: Sequence[Change]) -> None:
        batch = Batch(changes)
        self.database.transact(lambda connection: batch.execute(connection, self._inserts))

    def _read(self, query: sa.Select[Any], values: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """The rows of a query, which finds all that was written before."""
        self._journal.settled()
        return self.database.read(query, values)

    # writes: runs ------------------------------------------------------------------------------------------------

    def start_run(
        self,
        *,
        run_id: str,
        dag_id: str,
        target: str,
        logical_date: datetime,
        definition: Any,
        pid: int,
        host: str,
        at: datetime,
        file: Path | str | None = None,
        options: Any = None,
    ) -> None:
        """Record a new run as ``running``.

        Args:
            run_id: Its id.
            dag_id: The DAG.
            target: The target's name.
            logical_date: What it is for.
            definition: What it does, as JSON can hold it.
            pid: The process that drives it.
            host: Where that is.
            at: Now.
            file: The pipeline file.
            options: What is needed to plan it again, as JSON can hold it.
        """
        values = {
            "run_id": run_id,
            "dag_id": dag_id,
            "target": target,
            "state": RunState.RUNNING.value,
            "logical_date": logical_date.isoformat(),
            "definition": json.dumps(definition),
            "started": at.isoformat(),
            "file": None if file is None else storable(str(file)),
            "options": json.dumps(options),
            **self._driver(pid, host, at),
        }
        self._journal.add_and_settle((Batch.start_run, (values,)))

    def reopen_run(
        self,
        run_id: str,
        *,
        pid: int,
        host: str,
        at: datetime,
        definition: Any = None,
        file: Path | str | None = None,
        options: Any = None,
    ) -> None:
        """Record that this process drives a run on.

        Args:
            run_id: Its id.
            pid: The process that drives it from now on.
            host: Where that is.
            at: Now.
            definition: What it does from now on; default: what it did.
            file: The pipeline file; default: the one before.
            options: What is needed to plan it again; default: those before.
        """
        new = {
            "definition": None if definition is None else json.dumps(definition),
            "file": None if file is None else storable(str(file)),
            "options": None if options is None else json.dumps(options),
        }
        values = {
            "state": RunState.RUNNING.value,
            "ended": None,
            "error": None,
            "cancel_requested": False,
            **{name: value for name, value in new.items() if value is not None},
            **self._driver(pid, host, at),
        }
        self._change_run(run_id, values)

    def request_cancel(self, run_id: str) -> None:
        """Ask whoever drives a run to cancel it; needs no lease."""
        self._change_run(run_id, {"cancel_requested": True})

    def end_run(self, run_id: str, state: RunState, *, at: datetime, error: str | None = None) -> None:
        """Record how a run ended."""
        values = {"state": state.value, "ended": at.isoformat(), "error": storable(error)}
        self._change_run(run_id, values)

    def _change_run(self, run_id: str, values: Mapping[str, Any]) -> None:
        self._journal.add_and_settle((Batch.change_run, (run_id, values)))

    # writes: tasks and tries -------------------------------------------------------------------------------------

    def start_try(
        self,
        run_id: str,
        task_id: str,
        try_number: int,
        *,
        job_id: str | None,
        at: datetime,
        reads: Mapping[str, str | None] | None = None,
    ) -> None:
        """Record that a try is about to start; for remote work, that ``job_id`` is about to be submitted.

        Args:
            run_id: The run.
            task_id: The task.
            try_number: The number of the try, from 1; never used before.
            job_id: The id of the remote job.
            at: Now.
            reads: Versions of what it reads, as seen before.
        """
        seen = None if reads is None else json.dumps(dict(reads)) if reads else "{}"
        self._journal.add((Batch.start_try, (run_id, task_id, try_number, job_id, at, seen)))

    def submitted(self, run_id: str, task_id: str, try_number: int, *, handle: Any, at: datetime) -> None:
        """Record that the service has accepted the job."""
        self._journal.add((Batch.submit_try, (run_id, task_id, try_number, json.dumps(handle), at)))

    def end_try(
        self, run_id: str, task_id: str, try_number: int, state: TaskState, *, error: str | None, at: datetime
    ) -> None:
        """Record how a try ended."""
        self._journal.add((Batch.end_try, (run_id, task_id, try_number, state, error, at)))

    def end_task(
        self,
        run_id: str,
        task_id: str,
        state: TaskState,
        *,
        result: Any = None,
        error: str | None = None,
        at: datetime,
        cached_from: str | None = None,
        reason: str | None = None,
        try_number: int | None = None,
    ) -> None:
        """Record a task's final state, instead of the one it had.

        Args:
            run_id: The run.
            task_id: The task.
            state: How it ended.
            result: What it returned, as JSON can hold it.
            error: Why it failed.
            at: Now.
            cached_from: The run whose result it took; it ended without a try then.
            reason: Why it ran, or did not.
            try_number: The number of its last try, if that ends with it, in the same way.
        """
        said = "null" if result is None else json.dumps(result)
        if try_number is None:
            self._journal.add((Batch.end_task, (run_id, task_id, state, said, error, at, cached_from, reason)))
        elif cached_from is not None:
            raise ValueError(f"task {task_id!r} cannot have ended with a try and taken run {cached_from!r}'s result")
        else:
            self._journal.add((Batch.end_with_try, (run_id, task_id, try_number, state, said, error, at, reason)))

    def forget_task(self, run_id: str, task_id: str) -> None:
        """Take back that a task has ended; its tries stay."""
        self._journal.add((Batch.forget_task, (run_id, task_id)))

    # reads -------------------------------------------------------------------------------------------------------

    def run(self, run_id: str) -> dict[str, Any] | None:
        """The row of a run, or None."""
        return next(iter(self.database.read(_RUN, {"of_run": run_id})), None)

    def runs(
        self,
        *,
        dag_id: str | None = None,
        target: str | None = None,
        states: Collection[RunState] = (),
        prefix: str = "",
        limit: int | None = None,
    ) -> list[dict[str, Any]]:
        """The rows of runs without their definitions, newest first.

        Args:
            dag_id: Only those of this DAG.
            target: Only those on this target.
            states: Only those in one of these states, as recorded.
            prefix: Only those whose id begins with it.
            limit: At most so many.
        """
        query = _RUNS.limit(limit)
        if dag_id is not None:
            query = query.where(runs.c.dag_id == dag_id)
        if target is not None:
            query = query.where(runs.c.target == target)
        if states:
            query = query.where(runs.c.state.in_([state.value for state in states]))
        if prefix:
            query = query.where(runs.c.run_id.startswith(storable(prefix) or "", autoescape=True))
        return self.database.read(query)

    def open_runs(self, dag_id: str, target: str) -> list[dict[str, Any]]:
        """The rows of runs of a DAG on a target that have not ended for good, newest first."""
        return self.database.read(_OPEN_RUNS, {"of_dag": dag_id, "of_target": target})

    def cancel_requested(self, run_id: str) -> bool:
        """Whether somebody asked to cancel a run since it was last taken up."""
        return any(row["cancel_requested"] for row in self.database.read(_CANCEL_REQUESTED, {"of_run": run_id}))

    def tasks(self, run_id: str) -> list[dict[str, Any]]:
        """The rows of a run's ended tasks, in the order of their ends; in any, where that was at one moment."""
        return self._read(ends.of_run(run_id))

    def tries(self, run_id: str) -> list[dict[str, Any]]:
        """The rows of a run's tries, in the order of their starts, and those of a task in that of their numbers."""
        own = [column for column in tries.c if column.name not in ("result", "reason")]  # the others are its task's
        return self._read(sa.select(*own).where(tries.c.run_id == run_id).order_by(tries.c.started, tries.c.try_number))

    def last_result(self, dag_id: str, target: str, task_id: str) -> dict[str, Any] | None:
        """The row of a task's newest success over all runs of a DAG on a target, or None."""
        found = self._read(ends.last_good(dag_id, target, task_id))
        return found[0] if found else None

    def durations(
        self, dag_id: str, target: str, *, most_runs: int = 3, enough: int = 1000, most_tries: int = 100_000
    ) -> dict[str, float]:
        """The median of the seconds that successful tries of each task took, to the millisecond, as far as is known.

        Args:
            dag_id: The DAG.
            target: The target's name.
            most_runs: So many of the newest runs count, of those that have any such try.
            enough: Once so many tries are known, no older run is looked at.
            most_tries: At most so many tries count, those of the newest runs first.
        """
        self._journal.settled()
        return timings.medians(self.database, dag_id, target, most_runs=most_runs, enough=enough, most_tries=most_tries)

    def _driver(self, pid: int, host: str, at: datetime) -> dict[str, Any]:
        epoch = None if self._guard is None else self._guard.epoch
        return {"pid": pid, "host": host, "driven_since": at.isoformat(), "epoch": epoch}
