"""The metadata database: runs, tasks and tries; records and leases lie in it, too.

SQLite by default, in WAL mode with ``synchronous=FULL``, or PostgreSQL: a method that writes returns when the row is
durable, which is what "about to submit" rests on. Other threads, processes and (on PostgreSQL) machines may use the
same database.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sa

from pydag_gcp import engines
from pydag_gcp.database import Database, Guard
from pydag_gcp.migration import migrate
from pydag_gcp.states import RunState, TaskState
from pydag_gcp.stored_records import StoredRecords
from pydag_gcp.tables import runs, tasks, tries

_GOOD = (TaskState.SUCCESS.value, TaskState.CACHED.value)
_OPEN = (RunState.RUNNING, RunState.INTERRUPTED)

# The statements of every task, compiled once.
_OF_RUN = runs.c.run_id == sa.bindparam("of_run")
_OF_TRY = (
    (tries.c.run_id == sa.bindparam("of_run"))
    & (tries.c.task_id == sa.bindparam("of_task"))
    & (tries.c.try_number == sa.bindparam("of_try"))
)
_CHANGE_RUN = runs.update().where(_OF_RUN)
_START_TRY = tries.insert()
_CHANGE_TRY = tries.update().where(_OF_TRY)
_CANCEL_REQUESTED = sa.select(runs.c.cancel_requested).where(_OF_RUN)


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
            there as a whole or not at all.
        LeaseLost: By every method that writes, once it is :meth:`guarded`.
    """

    def __init__(self, url: str) -> None:
        self.database = Database(engines.parse(url))
        self.records = StoredRecords(self.database)
        insert = self.database.insert(tasks)
        new = {column.name: column for column in insert.excluded if not column.primary_key}
        self._end_task = insert.on_conflict_do_update(index_elements=tasks.primary_key, set_=new)
        self._guard: Guard | None = None
        try:
            migrate(self.database)
        except BaseException:
            self.database.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.database.close()

    def together(self) -> AbstractContextManager[None]:
        """Make what is written inside durable in one step, or not at all."""
        return self.database.together()

    def guarded(self, lease: Guard) -> None:
        """From now on write only while the lease is ours."""
        self._guard = lease
        self.database.guarded(lease)

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
        self.database.write(
            runs.insert(),
            {
                "run_id": run_id,
                "dag_id": dag_id,
                "target": target,
                "state": RunState.RUNNING.value,
                "logical_date": logical_date.isoformat(),
                "definition": json.dumps(definition),
                "started": at.isoformat(),
                "file": None if file is None else _storable(str(file)),
                "options": json.dumps(options),
                **self._driver(pid, host, at),
            },
        )

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
            "file": None if file is None else _storable(str(file)),
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
        self.database.write(_CHANGE_RUN, {"of_run": run_id, **values})

    def request_cancel(self, run_id: str) -> None:
        """Ask whoever drives a run to cancel it; needs no lease."""
        self.database.write(_CHANGE_RUN, {"of_run": run_id, "cancel_requested": True})

    def end_run(self, run_id: str, state: RunState, *, at: datetime, error: str | None = None) -> None:
        """Record how a run ended."""
        values = {"state": state.value, "ended": at.isoformat(), "error": _storable(error)}
        self.database.write(_CHANGE_RUN, {"of_run": run_id, **values})

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
        self.database.write(
            _START_TRY,
            {
                "run_id": run_id,
                "task_id": task_id,
                "try_number": try_number,
                "state": TaskState.RUNNING.value,
                "job_id": job_id,
                "started": at.isoformat(),
                "reads": None if reads is None else json.dumps(dict(reads)),
            },
        )

    def submitted(self, run_id: str, task_id: str, try_number: int, *, handle: Any, at: datetime) -> None:
        """Record that the service has accepted the job."""
        values = {"state": TaskState.DEFERRED.value, "handle": json.dumps(handle), "submitted": at.isoformat()}
        self._change_try(run_id, task_id, try_number, values)

    def end_try(
        self, run_id: str, task_id: str, try_number: int, state: TaskState, *, error: str | None, at: datetime
    ) -> None:
        """Record how a try ended."""
        values = {"state": state.value, "error": _storable(error), "ended": at.isoformat()}
        self._change_try(run_id, task_id, try_number, values)

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
    ) -> None:
        """Record a task's final state, instead of the one it had.

        Args:
            run_id: The run.
            task_id: The task.
            state: How it ended.
            result: What it returned, as JSON can hold it.
            error: Why it failed.
            at: Now.
            cached_from: The run whose result it took.
            reason: Why it ran, or did not.
        """
        self.database.write(
            self._end_task,
            {
                "run_id": run_id,
                "task_id": task_id,
                "state": state.value,
                "result": json.dumps(result),
                "error": _storable(error),
                "ended": at.isoformat(),
                "cached_from": cached_from,
                "reason": _storable(reason),
            },
        )

    def forget_task(self, run_id: str, task_id: str) -> None:
        """Take back that a task has ended; its tries stay."""
        self.database.write(tasks.delete().where(tasks.c.run_id == run_id, tasks.c.task_id == task_id))

    # reads -------------------------------------------------------------------------------------------------------

    def run(self, run_id: str) -> dict[str, Any] | None:
        """The row of a run, or None."""
        found = self.database.read(sa.select(runs).where(runs.c.run_id == run_id))
        return found[0] if found else None

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
        columns = [column for column in runs.c if column is not runs.c.definition]
        query = sa.select(*columns).order_by(runs.c.started.desc(), runs.c.run_id).limit(limit)
        if dag_id is not None:
            query = query.where(runs.c.dag_id == dag_id)
        if target is not None:
            query = query.where(runs.c.target == target)
        if states:
            query = query.where(runs.c.state.in_([state.value for state in states]))
        if prefix:
            query = query.where(runs.c.run_id.startswith(_storable(prefix) or "", autoescape=True))
        return self.database.read(query)

    def open_runs(self, dag_id: str, target: str) -> list[dict[str, Any]]:
        """The rows of runs of a DAG on a target that have not ended for good, newest first."""
        return self.runs(dag_id=dag_id, target=target, states=_OPEN)

    def cancel_requested(self, run_id: str) -> bool:
        """Whether somebody asked to cancel a run since it was last taken up."""
        return any(row["cancel_requested"] for row in self.database.read(_CANCEL_REQUESTED, {"of_run": run_id}))

    def tasks(self, run_id: str) -> list[dict[str, Any]]:
        """The rows of a run's ended tasks, in the order of their ends."""
        return self.database.read(sa.select(tasks).where(tasks.c.run_id == run_id).order_by(tasks.c.ended))

    def tries(self, run_id: str) -> list[dict[str, Any]]:
        """The rows of a run's tries, in the order of their starts."""
        return self.database.read(sa.select(tries).where(tries.c.run_id == run_id).order_by(tries.c.started))

    def last_result(self, dag_id: str, target: str, task_id: str) -> dict[str, Any] | None:
        """The row of a task's newest success over all runs of a DAG on a target, or None."""
        query = (
            sa.select(tasks)
            .join(runs)
            .where(runs.c.dag_id == dag_id, runs.c.target == target)
            .where(tasks.c.task_id == task_id, tasks.c.state.in_(_GOOD))
            .order_by(tasks.c.ended.desc())
            .limit(1)
        )
        found = self.database.read(query)
        return found[0] if found else None

    def _change_try(self, run_id: str, task_id: str, try_number: int, values: Mapping[str, Any]) -> None:
        self.database.write(_CHANGE_TRY, {"of_run": run_id, "of_task": task_id, "of_try": try_number, **values})

    def _driver(self, pid: int, host: str, at: datetime) -> dict[str, Any]:
        epoch = None if self._guard is None else self._guard.epoch
        return {"pid": pid, "host": host, "driven_since": at.isoformat(), "epoch": epoch}


def _storable(text: str | None) -> str | None:
    """Text that every database can hold: without NUL characters and halves of characters, which are spelt out."""
    return None if text is None else text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
