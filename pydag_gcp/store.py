"""The metadata database: runs, tasks and tries.

SQLite by default, in WAL mode with ``synchronous=FULL``: a method that writes returns when the row is durable, which is
what "about to submit" rests on. One :class:`Store` belongs to one thread; other processes may use the same file.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from pydag_gcp.errors import SettingsError, StoreError
from pydag_gcp.states import RunState, TaskState

#: Raised with every change of the tables.
SCHEMA_VERSION = 1

#: Execution option of connections that never write.
_READS = "pydag_reads"
_GOOD = (TaskState.SUCCESS.value, TaskState.CACHED.value)

_metadata = sa.MetaData()

schema_version = sa.Table("schema_version", _metadata, sa.Column("version", sa.Integer, primary_key=True))

runs = sa.Table(
    "runs",
    _metadata,
    sa.Column("run_id", sa.String, primary_key=True),
    sa.Column("dag_id", sa.String, nullable=False, index=True),
    sa.Column("target", sa.String, nullable=False),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("logical_date", sa.String, nullable=False),
    sa.Column("definition", sa.Text, nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("host", sa.String, nullable=False),
    sa.Column("started", sa.String, nullable=False),
    sa.Column("ended", sa.String),
    sa.Column("error", sa.Text),
)

tasks = sa.Table(
    "tasks",
    _metadata,
    sa.Column("run_id", sa.String, sa.ForeignKey("runs.run_id"), primary_key=True),
    sa.Column("task_id", sa.String, primary_key=True),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("result", sa.Text),
    sa.Column("error", sa.Text),
    sa.Column("ended", sa.String, nullable=False),
)

tries = sa.Table(
    "tries",
    _metadata,
    sa.Column("run_id", sa.String, sa.ForeignKey("runs.run_id"), primary_key=True),
    sa.Column("task_id", sa.String, primary_key=True),
    sa.Column("try_number", sa.Integer, primary_key=True),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("job_id", sa.String),
    sa.Column("handle", sa.Text),
    sa.Column("error", sa.Text),
    sa.Column("started", sa.String, nullable=False),
    sa.Column("submitted", sa.String),
    sa.Column("ended", sa.String),
)


class Store:
    """An open metadata database; a context manager.

    Args:
        url: SQLAlchemy URL. The folder of a SQLite file is made.

    Raises:
        SettingsError: The URL is none, or of a database that is not supported.
        StoreError: It cannot be opened, or another version of pydag-gcp made it. Every method raises it, too, when the
            database fails: disk full, no permission, locked for over 30 s.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._open: sa.Connection | None = None
        with self._errors():
            self._engine = _engine(url)
            self._readers = self._engine.execution_options(**{_READS: True})
            with self._engine.begin() as connection:
                self._open_schema(connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._engine.dispose()

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
    ) -> None:
        """Record a new run as ``running``."""
        self._write(
            runs.insert().values(
                run_id=run_id,
                dag_id=dag_id,
                target=target,
                state=RunState.RUNNING.value,
                logical_date=logical_date.isoformat(),
                definition=json.dumps(definition),
                pid=pid,
                host=host,
                started=at.isoformat(),
            )
        )

    def end_run(self, run_id: str, state: RunState, *, at: datetime, error: str | None = None) -> None:
        """Record how a run ended."""
        self._write(
            runs.update().where(runs.c.run_id == run_id).values(state=state.value, ended=at.isoformat(), error=error)
        )

    def start_try(self, run_id: str, task_id: str, try_number: int, *, job_id: str | None, at: datetime) -> None:
        """Record that a try is about to start; for remote work, that ``job_id`` is about to be submitted."""
        self._write(
            tries.insert().values(
                run_id=run_id,
                task_id=task_id,
                try_number=try_number,
                state=TaskState.RUNNING.value,
                job_id=job_id,
                started=at.isoformat(),
            )
        )

    def submitted(self, run_id: str, task_id: str, try_number: int, *, handle: Any, at: datetime) -> None:
        """Record that the service has accepted the job."""
        values = {"state": TaskState.DEFERRED.value, "handle": json.dumps(handle), "submitted": at.isoformat()}
        self._write(self._try(run_id, task_id, try_number).values(**values))

    def end_try(
        self, run_id: str, task_id: str, try_number: int, state: TaskState, *, error: str | None, at: datetime
    ) -> None:
        """Record how a try ended."""
        self._write(self._try(run_id, task_id, try_number).values(state=state.value, error=error, ended=at.isoformat()))

    def end_task(
        self, run_id: str, task_id: str, state: TaskState, *, result: Any = None, error: str | None = None, at: datetime
    ) -> None:
        """Record a task's final state."""
        self._write(
            tasks.insert().values(
                run_id=run_id,
                task_id=task_id,
                state=state.value,
                result=json.dumps(result),
                error=error,
                ended=at.isoformat(),
            )
        )

    def run(self, run_id: str) -> dict[str, Any] | None:
        """The row of a run, or None."""
        found = self._read(sa.select(runs).where(runs.c.run_id == run_id))
        return found[0] if found else None

    def runs(
        self,
        *,
        dag_id: str | None = None,
        states: Collection[RunState] = (),
        prefix: str = "",
        limit: int | None = None,
    ) -> list[dict[str, Any]]:
        """The rows of runs without their definitions, newest first.

        Args:
            dag_id: Only those of this DAG.
            states: Only those in one of these states, as recorded.
            prefix: Only those whose id begins with it.
            limit: At most so many.
        """
        columns = [column for column in runs.c if column is not runs.c.definition]
        query = sa.select(*columns).order_by(runs.c.started.desc(), runs.c.run_id).limit(limit)
        if dag_id is not None:
            query = query.where(runs.c.dag_id == dag_id)
        if states:
            query = query.where(runs.c.state.in_([state.value for state in states]))
        if prefix:
            query = query.where(runs.c.run_id.startswith(prefix, autoescape=True))
        return self._read(query)

    def tasks(self, run_id: str) -> list[dict[str, Any]]:
        """The rows of a run's ended tasks, in the order of their ends."""
        return self._read(sa.select(tasks).where(tasks.c.run_id == run_id).order_by(tasks.c.ended))

    def tries(self, run_id: str) -> list[dict[str, Any]]:
        """The rows of a run's tries, in the order of their starts."""
        return self._read(sa.select(tries).where(tries.c.run_id == run_id).order_by(tries.c.started))

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
        found = self._read(query)
        return found[0] if found else None

    @staticmethod
    def _try(run_id: str, task_id: str, try_number: int) -> sa.Update:
        return tries.update().where(
            tries.c.run_id == run_id, tries.c.task_id == task_id, tries.c.try_number == try_number
        )

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Make what is written inside durable in one step, or not at all."""
        with self._errors(), self._engine.begin() as connection:
            self._open = connection
            try:
                yield
            finally:
                self._open = None

    def _write(self, statement: sa.Executable) -> None:
        if self._open is not None:
            with self._errors():
                self._open.execute(statement)
            return
        with self.together():
            self._write(statement)

    def _read(self, query: sa.Select[Any]) -> list[dict[str, Any]]:
        with self._errors(), self._readers.connect() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        where = "metadata database " + self.url.removeprefix("sqlite:///")
        try:
            yield
        except StoreError:
            raise
        except (ArgumentError, NoSuchModuleError) as error:
            hint = "write PYDAG_STORE like sqlite:////folder/pydag.db"
            raise SettingsError(str(error).splitlines()[0], where=where, hint=hint) from error
        except DBAPIError as error:
            raise StoreError(str(error.orig), where=where, hint=_hint(str(error.orig))) from error
        except SQLAlchemyError as error:
            raise StoreError(str(error).splitlines()[0], where=where) from error
        except OSError as error:
            raise StoreError(str(error.strerror or error), where=where, hint="set PYDAG_HOME elsewhere") from error

    def _open_schema(self, connection: sa.Connection) -> None:
        if sa.inspect(connection).has_table(schema_version.name):
            found = connection.execute(sa.select(schema_version.c.version)).scalar_one_or_none()
            if found != SCHEMA_VERSION:
                newer = found is not None and found > SCHEMA_VERSION
                raise StoreError(
                    f"has schema version {found}, this pydag-gcp knows {SCHEMA_VERSION}",
                    where="metadata database " + self.url.removeprefix("sqlite:///"),
                    hint="upgrade pydag-gcp" if newer else "set PYDAG_STORE to a new file",
                )
            return
        _metadata.create_all(connection)
        connection.execute(schema_version.insert().values(version=SCHEMA_VERSION))


def _hint(message: str) -> str | None:
    hints = {
        "full": "make room on the disk",
        "readonly": "make it writable, or set PYDAG_HOME elsewhere",
        "unable to open": "make it writable, or set PYDAG_HOME elsewhere",
        "not a database": "move the file away, or set PYDAG_STORE",
        "locked": "another process holds it for over 30 s; stop that one",
    }
    return next((hint for words, hint in hints.items() if words in message), None)


def _engine(url: str) -> sa.Engine:
    parsed = sa.make_url(url)
    if parsed.get_backend_name() != "sqlite":
        raise ArgumentError(f"{parsed.get_backend_name()} is not supported yet")
    if parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(parsed, connect_args={"timeout": 30})
    sa.event.listen(engine, "connect", _durable)
    sa.event.listen(engine, "begin", _begin)
    return engine


def _durable(connection: Any, _record: object) -> None:
    # Python's sqlite3 would begin transactions by itself, and never for the making of tables.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin(connection: sa.Connection) -> None:
    # A transaction that reads before it writes could else fail as "locked" without waiting for its turn. One that only
    # reads keeps nobody waiting: whoever follows a run must not slow it down.
    reads = connection.get_execution_options().get(_READS, False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
