"""What is written to the metadata database in one transaction, folded into as few rows and statements as possible."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from pydag_gcp.bulk import BulkInsert
from pydag_gcp.database import Database
from pydag_gcp.states import TaskState
from pydag_gcp.tables import records, runs, tasks, tries

if TYPE_CHECKING:
    from sqlalchemy.dialects.postgresql import Insert

#: A method of :class:`Batch` and what to call it with: one tuple, as to spread it takes long.
Change = tuple[Callable[["Batch", Any], None], tuple[Any, ...]]

_START_RUN = runs.insert()
_CHANGE_RUN = runs.update().where(runs.c.run_id == sa.bindparam("of_run"))
_CHANGE_TRY = tries.update().where(
    (tries.c.run_id == sa.bindparam("of_run"))
    & (tries.c.task_id == sa.bindparam("of_task"))
    & (tries.c.try_number == sa.bindparam("of_try"))
)
_FORGET_TASK = tasks.delete().where(
    (tasks.c.run_id == sa.bindparam("of_run")) & (tasks.c.task_id == sa.bindparam("of_task"))
)
_FORGET_WITH_TRY = (
    tries.update()
    .where((tries.c.run_id == sa.bindparam("of_run")) & (tries.c.task_id == sa.bindparam("of_task")))
    .where(tries.c.result.is_not(None))
    .values(result=None, reason=None)
)

#: Column of a try -> its place in a row.
_PLACE = {column.name: place for place, column in enumerate(tries.c)}
_STATE, _ERROR, _ENDED, _RESULT, _REASON = (_PLACE[name] for name in ("state", "error", "ended", "result", "reason"))
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
        self._moment: datetime | None = None
        self._told = ""
        #: Statements that come before all rows: of runs, and what nothing here depends on.
        self._first: list[tuple[sa.Executable, Mapping[str, Any]]] = []
        #: Tasks whose ends are taken back: those in the database before anything is written, those in here at once.
        self._forgotten: list[dict[str, str]] = []
        #: Run and number of a try -> task -> row. No key is made for each row, which takes as long as half of one.
        self._new: defaultdict[tuple[str, int], dict[str, list[Any]]] = defaultdict(dict)
        self._again: list[list[Any]] = []
        #: The same -> other values of a row that is not new.
        self._changed: defaultdict[tuple[str, int], dict[str, dict[str, Any]]] = defaultdict(dict)
        #: Run and task -> row, if it ended without a try.
        self._tasks: dict[tuple[str, str], tuple[Any, ...]] = {}
        self._records: dict[tuple[str, ...], tuple[Any, ...]] = {}
        for change, values in changes:
            change(self, values)

    def execute(self, connection: sa.Connection, inserts: Inserts) -> None:
        """Write it."""
        for statement, values in self._first:
            connection.execute(statement, values)
        if self._forgotten:
            for statement in (_FORGET_TASK, _FORGET_WITH_TRY):
                connection.execute(statement, self._forgotten)
        begun = chain.from_iterable(rows.values() for rows in self._new.values())
        inserts.tries.execute(connection, [*begun, *self._again])
        for (run_id, number), changed in self._changed.items():
            for task_id, values in changed.items():
                connection.execute(_CHANGE_TRY, {"of_run": run_id, "of_task": task_id, "of_try": number, **values})
        inserts.tasks.execute(connection, list(self._tasks.values()))
        inserts.records.execute(connection, list(self._records.values()))

    # changes -----------------------------------------------------------------------------------------------------

    def other(self, change: tuple[sa.Executable, Mapping[str, Any]]) -> None:
        """Something that nothing here depends on: a statement, and its values."""
        self._first.append(change)

    def start_run(self, change: tuple[Mapping[str, Any]]) -> None:
        """A new run: its row."""
        self._first.append((_START_RUN, *change))

    def change_run(self, change: tuple[str, Mapping[str, Any]]) -> None:
        """Other values of a run: its id, and they."""
        run_id, values = change
        self._first.append((_CHANGE_RUN, {"of_run": run_id, **values}))

    def start_try(self, change: tuple[str, str, int, str | None, datetime, str | None]) -> None:
        """A new try: its run, task, number, job's id, when, and what it reads."""
        run_id, task_id, number, job_id, at, reads = change
        row = [run_id, task_id, number, _RUNNING, job_id, None, None, self._spelt(at), None, None, reads, None, None]
        if self._new[run_id, number].setdefault(task_id, row) is not row:
            self._again.append(row)  # which the database refuses

    def submit_try(self, change: tuple[str, str, int, str, datetime]) -> None:
        """The service has accepted the job of a try: its run, task, number, the job's handle, and when."""
        run_id, task_id, number, handle, at = change
        values = {"state": TaskState.DEFERRED.value, "handle": handle, "submitted": self._spelt(at)}
        self._change(run_id, task_id, number, values)

    def end_try(self, change: tuple[str, str, int, TaskState, str | None, datetime]) -> None:
        """A try has ended, its task has not: its run, task, number, how, why, and when."""
        run_id, task_id, number, state, error, at = change
        values = {"state": str(state), "error": storable(error), "ended": self._spelt(at)}
        self._change(run_id, task_id, number, values)

    def end_with_try(self, change: tuple[str, str, int, TaskState, str, str | None, datetime, str | None]) -> None:
        """A task has ended with a try, in the same way: its run, task, number, how, result, why, when, why it ran."""
        run_id, task_id, number, state, result, error, at, reason = change
        how, ended, error, reason = str(state), self._spelt(at), error and storable(error), reason and storable(reason)
        row = self._new[run_id, number].get(task_id)
        if row is None:
            values = {"state": how, "error": error, "ended": ended, "result": result, "reason": reason}
            self._change(run_id, task_id, number, values)
        else:  # as nearly always, and faster
            row[_STATE], row[_ERROR], row[_ENDED], row[_RESULT], row[_REASON] = how, error, ended, result, reason

    def end_task(self, change: tuple[str, str, TaskState, str, str | None, datetime, str | None, str | None]) -> None:
        """A task has ended without a try: its run, task, how, result, why, when, whose result it took, why it ran."""
        run_id, task_id, state, result, error, at, cached_from, reason = change
        row = (run_id, task_id, str(state), result, storable(error), self._spelt(at), cached_from, storable(reason))
        self._tasks[run_id, task_id] = row

    def forget_task(self, change: tuple[str, str]) -> None:
        """A task has not ended after all: its run, and its id."""
        run_id, task_id = change
        self._forgotten.append({"of_run": run_id, "of_task": task_id})
        self._tasks.pop(change, None)
        for (of_run, _), rows in self._new.items():
            if of_run == run_id and task_id in rows:
                rows[task_id][_RESULT] = rows[task_id][_REASON] = None
        for (of_run, _), changed in self._changed.items():
            if of_run == run_id and task_id in changed:
                changed[task_id].update(result=None, reason=None)

    def put_record(self, change: tuple[tuple[str, ...], tuple[Any, ...]]) -> None:
        """A success to remember, instead of the one with this key: that, and its row."""
        key, row = change
        self._records[key] = row

    def _spelt(self, at: datetime) -> str:
        """A moment as it is stored; as a rule it is that of the change before, as one turn of a run's loop has one."""
        if at is not self._moment:
            self._moment, self._told = at, at.isoformat()
        return self._told

    def _change(self, run_id: str, task_id: str, number: int, values: Mapping[str, Any]) -> None:
        row = self._new[run_id, number].get(task_id)
        if row is None:
            self._changed[run_id, number].setdefault(task_id, {}).update(values)
            return
        for name, value in values.items():
            row[_PLACE[name]] = value


def storable(text: str | None) -> str | None:
    """Text that every database can hold: without NUL characters and halves of characters, which are spelt out."""
    if text is None or (text.isascii() and "\0" not in text):
        return text
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


@functools.cache
def _insert(table: sa.Table, insert: Callable[[sa.Table], Insert]) -> BulkInsert:
    return BulkInsert(insert(table))


@functools.cache
def _upsert(table: sa.Table, insert: Callable[[sa.Table], Insert]) -> BulkInsert:
    statement = insert(table)
    new = {column.name: column for column in statement.excluded if not column.primary_key}
    return BulkInsert(statement.on_conflict_do_update(index_elements=table.primary_key, set_=new))
