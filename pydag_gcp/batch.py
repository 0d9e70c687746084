"""What is written to the metadata database in one transaction, folded into as few rows and statements as possible."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
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
        self._spelt = _speller()
        self._reason: str | None = None
        self._told: str | None = None
        self._first: list[tuple[sa.Executable, Mapping[str, Any]]] = []
        #: Run and number of a try -> task -> row. No key is made for each row, which takes as long as half of one.
        self._new: defaultdict[tuple[str, int], dict[str, list[Any]]] = defaultdict(dict)
        self._again: list[list[Any]] = []
        self._changed: dict[tuple[str, str, int], dict[str, Any]] = {}
        #: Run -> task -> row, if it has ended after all.
        self._tasks: defaultdict[str, dict[str, tuple[Any, ...] | None]] = defaultdict(dict)
        self._records: dict[tuple[str, ...], tuple[Any, ...]] = {}
        for change, values in changes:
            change(self, values)

    def execute(self, connection: sa.Connection, inserts: Inserts) -> None:
        """Write it."""
        for statement, values in self._first:
            connection.execute(statement, values)
        begun = chain.from_iterable(rows.values() for rows in self._new.values())
        inserts.tries.execute(connection, [*begun, *self._again])
        for (run_id, task_id, number), values in self._changed.items():
            connection.execute(_CHANGE_TRY, {"of_run": run_id, "of_task": task_id, "of_try": number, **values})
        for run_id, rows in self._tasks.items():
            for task_id in [task_id for task_id, row in rows.items() if row is None]:
                connection.execute(_FORGET_TASK, {"of_run": run_id, "of_task": task_id})
            inserts.tasks.execute(connection, [row for row in rows.values() if row is not None])
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
        row = [run_id, task_id, number, _RUNNING, job_id, None, None, self._spelt(at), None, None, reads]
        if self._new[run_id, number].setdefault(task_id, row) is not row:
            self._again.append(row)  # which the database refuses

    def submit_try(self, change: tuple[str, str, int, str, datetime]) -> None:
        """The service has accepted the job of a try: its run, task, number, the job's handle, and when."""
        run_id, task_id, number, handle, at = change
        values = {"state": TaskState.DEFERRED.value, "handle": handle, "submitted": self._spelt(at)}
        self._change(run_id, task_id, number, values)

    def end_try(self, change: tuple[str, str, int, TaskState, str | None, datetime]) -> None:
        """A try has ended: its run, task, number, how, why, and when."""
        run_id, task_id, number, state, error, at = change
        self._end_try(run_id, task_id, number, str(state), storable(error), self._spelt(at))

    def end_task(
        self,
        change: tuple[str, str, TaskState, str, str | None, datetime, str | None, str | None, int | None],
    ) -> None:
        """A task has ended, whatever it was before; and a try of it in the same way, if its number is there.

        The change is its run, task, how, result, why, when, whose result it took, why it ran, and that number.
        """
        run_id, task_id, state, result, error, at, cached_from, reason, number = change
        how, ended, error = str(state), self._spelt(at), error and storable(error)
        if reason is not self._reason:  # as a rule that of the task before
            self._reason, self._told = reason, storable(reason)
        self._tasks[run_id][task_id] = (run_id, task_id, how, result, error, ended, cached_from, self._told)
        if number is not None:
            self._end_try(run_id, task_id, number, how, error, ended)

    def forget_task(self, change: tuple[str, str]) -> None:
        """A task has not ended after all: its run, and its id."""
        run_id, task_id = change
        self._tasks[run_id][task_id] = None

    def put_record(self, change: tuple[tuple[str, ...], tuple[Any, ...]]) -> None:
        """A success to remember, instead of the one with this key: that, and its row."""
        key, row = change
        self._records[key] = row

    def _end_try(self, run_id: str, task_id: str, number: int, state: str, error: str | None, ended: str) -> None:
        row = self._new[run_id, number].get(task_id)
        if row is None:
            self._change(run_id, task_id, number, {"state": state, "error": error, "ended": ended})
        else:
            row[_STATE], row[_ERROR], row[_ENDED] = state, error, ended

    def _change(self, run_id: str, task_id: str, number: int, values: Mapping[str, Any]) -> None:
        row = self._new[run_id, number].get(task_id)
        if row is None:
            self._changed.setdefault((run_id, task_id, number), {}).update(values)
            return
        for name, value in values.items():
            row[_PLACE[name]] = value


def storable(text: str | None) -> str | None:
    """Text that every database can hold: without NUL characters and halves of characters, which are spelt out."""
    if text is None or (text.isascii() and "\0" not in text):
        return text
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def _speller() -> Callable[[datetime], str]:
    """Moments as :meth:`datetime.isoformat` has them.

    To spell one out takes as long as the rest of a row: those of a second share most of it, and digits are looked up.
    """
    digits = _three_digits()
    begin = end = datetime.min.replace(tzinfo=UTC)
    second = ""

    def spelt(at: datetime) -> str:
        nonlocal begin, end, second
        microsecond = at.microsecond
        if at.tzinfo is not UTC or not microsecond:
            return at.isoformat()
        if not begin <= at <= end:
            begin, end = at.replace(microsecond=0), at.replace(microsecond=999_999)
            second = at.isoformat()[:19]
        return f"{second}.{digits[microsecond // 1000]}{digits[microsecond % 1000]}+00:00"

    return spelt


@functools.cache
def _three_digits() -> list[str]:
    return [f"{number:03d}" for number in range(1000)]


@functools.cache
def _insert(table: sa.Table, insert: Callable[[sa.Table], Insert]) -> BulkInsert:
    return BulkInsert(insert(table))


@functools.cache
def _upsert(table: sa.Table, insert: Callable[[sa.Table], Insert]) -> BulkInsert:
    statement = insert(table)
    new = {column.name: column for column in statement.excluded if not column.primary_key}
    return BulkInsert(statement.on_conflict_do_update(index_elements=table.primary_key, set_=new))
