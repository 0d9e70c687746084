"""What is written to the metadata database in one transaction, folded into as few rows and statements as possible."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from pydag_gcp.bulk import BulkInsert
from pydag_gcp.database import Database
from pydag_gcp.states import TaskState
from pydag_gcp.tables import records, runs, tasks, tries

if TYPE_CHECKING:
    from sqlalchemy.dialects.postgresql import Insert

#: A method of :class:`Batch` and what to call it with.
Change = tuple[Callable[..., None], tuple[Any, ...]]

_CHANGE_RUN = runs.update().where(runs.c.run_id == sa.bindparam("of_run"))
_CHANGE_TRY = tries.update().where(
    (tries.c.run_id == sa.bindparam("of_run"))
    & (tries.c.task_id == sa.bindparam("of_task"))
    & (tries.c.try_number == sa.bindparam("of_try"))
)
_FORGET_TASK = tasks.delete().where(
    (tasks.c.run_id == sa.bindparam("of_run")) & (tasks.c.task_id == sa.bindparam("of_task"))
)

#: Column of a try -> its place in a row.
_PLACE = {column.name: place for place, column in enumerate(tries.c)}
_STATE, _ERROR, _ENDED = _PLACE["state"], _PLACE["error"], _PLACE["ended"]
_RUNNING = TaskState.RUNNING.value


class Inserts:
    """The statements that insert, compiled once for all databases of a kind."""

    def __init__(self, database: Database) -> None:
        self.tries = _insert(tries, database.insert)
        self.tasks = _upsert(tasks, database.insert)
        self.records = _upsert(records, database.insert)


class Batch:
    """Changes in the order in which they were made; what comes of them is what each by itself would have come to."""

    def __init__(self, changes: Iterable[Change] = ()) -> None:
        self._moments = _Moments()
        self._runs: list[tuple[sa.Executable, Mapping[str, Any]]] = []
        self._new: dict[tuple[str, str, int], list[Any]] = {}
        self._again: list[list[Any]] = []
        self._changed: dict[tuple[str, str, int], dict[str, Any]] = {}
        self._tasks: dict[tuple[str, str], tuple[Any, ...] | None] = {}
        self._records: dict[tuple[str, ...], tuple[Any, ...]] = {}
        for change, values in changes:
            change(self, *values)

    def execute(self, connection: sa.Connection, inserts: Inserts) -> None:
        """Write it."""
        for statement, values in self._runs:
            connection.execute(statement, values)
        inserts.tries.execute(connection, [*self._new.values(), *self._again])
        for (run_id, task_id, number), values in self._changed.items():
            connection.execute(_CHANGE_TRY, {"of_run": run_id, "of_task": task_id, "of_try": number, **values})
        for (run_id, task_id), row in self._tasks.items():
            if row is None:
                connection.execute(_FORGET_TASK, {"of_run": run_id, "of_task": task_id})
        inserts.tasks.execute(connection, [row for row in self._tasks.values() if row is not None])
        inserts.records.execute(connection, list(self._records.values()))

    # changes -----------------------------------------------------------------------------------------------------

    def start_run(self, values: Mapping[str, Any]) -> None:
        """A new run."""
        self._runs.append((runs.insert(), values))

    def change_run(self, run_id: str, values: Mapping[str, Any]) -> None:
        """Other values of a run."""
        self._runs.append((_CHANGE_RUN, {"of_run": run_id, **values}))

    def start_try(
        self, run_id: str, task_id: str, number: int, job_id: str | None, at: datetime, reads: str | None
    ) -> None:
        """A new try."""
        row = [run_id, task_id, number, _RUNNING, job_id, None, None, self._moments.text(at), None, None, reads]
        if self._new.setdefault((run_id, task_id, number), row) is not row:
            self._again.append(row)  # which the database refuses

    def submit_try(self, run_id: str, task_id: str, number: int, handle: str, at: datetime) -> None:
        """The service has accepted the job of a try."""
        values = {"state": TaskState.DEFERRED.value, "handle": handle, "submitted": self._moments.text(at)}
        self._change((run_id, task_id, number), values)

    def end_try(
        self, run_id: str, task_id: str, number: int, state: TaskState, error: str | None, at: datetime
    ) -> None:
        """A try has ended."""
        key = (run_id, task_id, number)
        row = self._new.get(key)
        if row is not None:
            row[_STATE], row[_ERROR], row[_ENDED] = str(state), storable(error), self._moments.text(at)
        else:
            self._change(key, {"state": str(state), "error": storable(error), "ended": self._moments.text(at)})

    def end_task(
        self,
        run_id: str,
        task_id: str,
        state: TaskState,
        result: str,
        error: str | None,
        at: datetime,
        cached_from: str | None,
        reason: str | None,
        try_number: int | None = None,
    ) -> None:
        """A task has ended, whatever it was before; and with it this try of it, in the same way."""
        ended = self._moments.text(at)
        row = (run_id, task_id, str(state), result, storable(error), ended, cached_from, storable(reason))
        self._tasks[run_id, task_id] = row
        if try_number is not None:
            self.end_try(run_id, task_id, try_number, state, error, at)

    def forget_task(self, run_id: str, task_id: str) -> None:
        """A task has not ended after all."""
        self._tasks[run_id, task_id] = None

    def put_record(self, key: tuple[str, ...], row: tuple[Any, ...]) -> None:
        """A record, instead of the one with the same key."""
        self._records[key] = row

    def _change(self, key: tuple[str, str, int], values: Mapping[str, Any]) -> None:
        row = self._new.get(key)
        if row is None:
            self._changed.setdefault(key, {}).update(values)
            return
        for name, value in values.items():
            row[_PLACE[name]] = value


def storable(text: str | None) -> str | None:
    """Text that every database can hold: without NUL characters and halves of characters, which are spelt out."""
    if text is None or (text.isascii() and "\0" not in text):
        return text
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


class _Moments:
    """Moments as text: to spell one out takes as long as the rest of a row, so those of a second share most of it."""

    def __init__(self) -> None:
        self._begin = self._end = self._last = datetime.min.replace(tzinfo=UTC)
        self._second = self._text = ""

    def text(self, at: datetime) -> str:
        """As :meth:`datetime.isoformat` has it."""
        if at is not self._last:
            self._last, self._text = at, self._spelt(at)
        return self._text

    def _spelt(self, at: datetime) -> str:
        if at.tzinfo is not UTC or not at.microsecond:
            return at.isoformat()
        if not self._begin <= at <= self._end:
            self._begin, self._end = at.replace(microsecond=0), at.replace(microsecond=999_999)
            self._second = at.isoformat()[:19]
        return f"{self._second}.{at.microsecond:06d}+00:00"


@functools.cache
def _insert(table: sa.Table, insert: Callable[[sa.Table], Insert]) -> BulkInsert:
    return BulkInsert(insert(table))


@functools.cache
def _upsert(table: sa.Table, insert: Callable[[sa.Table], Insert]) -> BulkInsert:
    statement = insert(table)
    new = {column.name: column for column in statement.excluded if not column.primary_key}
    return BulkInsert(statement.on_conflict_do_update(index_elements=table.primary_key, set_=new))
