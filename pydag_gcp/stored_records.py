"""Records in the metadata database."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa

from pydag_gcp.batch import Batch, Change
from pydag_gcp.database import Database
from pydag_gcp.journal import Journal
from pydag_gcp.record import Record
from pydag_gcp.tables import records

#: So many tasks are asked for in one query: databases allow only so many values in one.
_AT_ONCE = 500

_T = TypeVar("_T")

_OF_TASKS = (
    (records.c.dag_id == sa.bindparam("of_dag"))
    & (records.c.target == sa.bindparam("of_target"))
    & records.c.task_id.in_(sa.bindparam("tasks", expanding=True))
)
_KEY = sa.tuple_(records.c.task_id, records.c.fingerprint, records.c.date)
#: What the primary key begins with comes as values of its own: only so do databases look there at few of many dates.
_MATCHING = sa.select(records.c.record).where(
    _OF_TASKS,
    records.c.date.in_(sa.bindparam("dates", expanding=True)),
    _KEY.in_(sa.bindparam("keys", expanding=True)),
)
#: For one date, and without one what added nothing.
_FOR_DATE = records.c.date.in_(("", sa.bindparam("date"))) & ((records.c.date != "") | ~records.c.accumulating)


def _newest(*which: sa.ColumnElement[bool]) -> sa.Select[Any]:
    place = sa.func.row_number().over(partition_by=records.c.task_id, order_by=records.c.at.desc())
    ranked = sa.select(records.c.record, place.label("place")).where(_OF_TASKS, *which).subquery()
    return sa.select(ranked.c.record).where(ranked.c.place == 1)


_NEWEST, _NEWEST_FOR_DATE = _newest(), _newest(_FOR_DATE)


class StoredRecords:
    """The records of a metadata database; see :class:`pydag_gcp.record.Records`."""

    def __init__(self, database: Database, journal: Journal[Change]) -> None:
        self._database = database
        self._journal = journal

    def matching(self, dag_id: str, target: str, wanted: Mapping[str, tuple[str, str]]) -> dict[str, Record]:
        """See :class:`pydag_gcp.record.Records`."""
        keys = [(task_id, fingerprint, date) for task_id, (fingerprint, date) in wanted.items()]
        return self._by_task(
            _MATCHING,
            dag_id,
            target,
            (
                {"tasks": [task_id for task_id, *_ in some], "dates": [*{date for *_, date in some}], "keys": some}
                for some in _few(keys)
            ),
        )

    def newest(
        self, dag_id: str, target: str, task_ids: Collection[str], *, date: str | None = None
    ) -> dict[str, Record]:
        """See :class:`pydag_gcp.record.Records`."""
        query, of_date = (_NEWEST, {}) if date is None else (_NEWEST_FOR_DATE, {"date": date})
        return self._by_task(query, dag_id, target, ({"tasks": some, **of_date} for some in _few(list(task_ids))))

    def put(self, records: Iterable[Record]) -> None:
        """See :class:`pydag_gcp.record.Records`."""
        for record in records:
            self._journal.add((Batch.put_record, _row(record)))

    def all(self, *, dag_id: str | None = None, target: str | None = None) -> list[Record]:
        """See :class:`pydag_gcp.record.Records`."""
        query = sa.select(records.c.record).where(*_among(dag_id=dag_id, target=target))
        return [_record(row) for row in self._read(query.order_by(records.c.at.desc(), records.c.task_id))]

    def clear(
        self,
        *,
        dag_id: str | None = None,
        target: str | None = None,
        task_id: str | None = None,
        appended: bool = False,
    ) -> int:
        """See :class:`pydag_gcp.record.Records`."""
        which = _among(dag_id=dag_id, target=target, task_id=task_id)
        kept = () if appended else (records.c.accumulating.is_(sa.false()),)
        self._journal.settled()
        return self._database.write(records.delete().where(*which, *kept))

    def _by_task(
        self, query: sa.Select[Any], dag_id: str, target: str, values: Iterable[Mapping[str, Any]]
    ) -> dict[str, Record]:
        of_dag = {"of_dag": dag_id, "of_target": target}
        found = (_record(row) for some in values for row in self._read(query, {**of_dag, **some}))
        return {record.task_id: record for record in found}

    def _read(self, query: sa.Select[Any], values: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        self._journal.settled()
        return self._database.read(query, values)


def _among(**columns: str | None) -> list[sa.ColumnElement[bool]]:
    return [records.c[name] == value for name, value in columns.items() if value is not None]


def _row(record: Record) -> tuple[tuple[str, ...], tuple[Any, ...]]:
    key = (record.dag_id, record.target, record.task_id, record.date, record.fingerprint)
    return key, (*key, record.at.isoformat(), record.accumulating, json.dumps(record.to_json()))


def _record(row: Mapping[str, Any]) -> Record:
    return Record.from_json(json.loads(row["record"]))


def _few(values: Sequence[_T]) -> Iterator[Sequence[_T]]:
    for start in range(0, len(values), _AT_ONCE):
        yield values[start : start + _AT_ONCE]
