"""A database: statements in transactions, guarded by a lease, the same on SQLite and PostgreSQL."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from pydag_gcp import engines
from pydag_gcp.errors import PydagError, StoreError

#: What is bound to a statement; a sequence of it executes the statement for each.
Values = Mapping[str, Any] | Sequence[Mapping[str, Any]]

#: Seconds that a server which was there may be gone: it is restarted, or its network blinks.
_PATIENCE = 30.0
_PAUSE = 0.25

_T = TypeVar("_T")

#: The key of the lock behind :meth:`Database.exclusive`; any number that others who use the database do not.
_LOCK = 0x7079646167  # "pydag"


class Guard(Protocol):
    """Says whether this process may still write; see :class:`pydag_gcp.lease.Lease`."""

    epoch: int

    def confirm(self, connection: sa.Connection) -> None:
        """Make sure of it until the end of the connection's transaction.

        Raises:
            LeaseLost: It may not.
        """


class Database:
    """An open database.

    Any thread may use it.

    Args:
        url: From :func:`pydag_gcp.engines.parse`.

    Attributes:
        insert: Makes an insert that may say what to do on a conflict.

    Raises:
        StoreError: By every method: the database fails, or a server that was there does not come back.
    """

    def __init__(self, url: sa.URL) -> None:
        self.place = engines.place(url)
        self.serves = url.get_backend_name() != "sqlite"
        self.file = None if self.serves else url.database
        self._guard: Guard | None = None
        self._seen = False
        with self._errors():
            self._engine = engines.make(url)
            self.insert = engines.insert(url)
        # A server commits each statement by itself: that saves two of three trips.
        self._readers = self._engine.execution_options(isolation_level="AUTOCOMMIT") if self.serves else self._engine

    def close(self) -> None:
        """Close all connections."""
        engines.leave(self._engine)

    def guarded(self, guard: Guard) -> None:
        """From now on confirm every transaction that writes."""
        self._guard = guard

    # writes ------------------------------------------------------------------------------------------------------

    def transact(self, action: Callable[[sa.Connection], _T], *, guarded: bool = True) -> _T:
        """Do something in one transaction, durably; what it returned.

        It is done again if the server goes away before it was asked to commit: nothing of it had happened then.

        Raises:
            StoreError: It has happened as a whole or not at all.
        """
        with self._errors():
            connection, found = self._again(lambda: self._prepare(action, self._guard if guarded else None))
            with connection:
                connection.commit()
        return found

    def write(self, statement: sa.Executable, values: Values | None = None) -> int:
        """Execute a statement, durably; the number of rows it found."""
        return self.transact(lambda connection: connection.execute(statement, values).rowcount)

    def alone(self, statement: sa.Executable, values: Mapping[str, Any]) -> Sequence[sa.Row[Any]]:
        """Execute a statement of the guard itself, which nobody guards; the rows it returns."""
        return self.transact(lambda connection: _rows(connection.execute(statement, values)), guarded=False)

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[sa.Connection]:
        """A transaction beside which nobody else has one that is exclusive."""
        with self._errors():
            connection, _ = self._again(lambda: self._prepare(self._lock, None))
            with connection:
                yield connection
                connection.commit()

    def _lock(self, connection: sa.Connection) -> None:
        if self.serves:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))

    # reads -------------------------------------------------------------------------------------------------------

    def read(self, query: sa.Select[Any], values: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """The rows of a query."""
        return [row._asdict() for row in self.rows(query, values)]

    def rows(self, query: sa.Select[Any], values: Mapping[str, Any] | None = None) -> Sequence[sa.Row[Any]]:
        """The rows of a query, where there may be many."""
        with self._errors():
            return self._again(lambda: self._select(query, values))

    def has(self, table: sa.Table) -> bool:
        """Whether there is such a table."""
        with self._errors(), self._readers.connect() as connection:
            return sa.inspect(connection).has_table(table.name)

    def _select(self, query: sa.Select[Any], values: Mapping[str, Any] | None) -> Sequence[sa.Row[Any]]:
        with self._readers.connect() as connection:
            return connection.execute(query, values).all()

    # connections -------------------------------------------------------------------------------------------------

    def _prepare(self, action: Callable[[sa.Connection], _T], guard: Guard | None) -> tuple[sa.Connection, _T]:
        """Do all of a transaction but its end; the connection that it is open on, and what the action returned."""
        connection = self._engine.connect()
        try:
            if not self.serves:
                connection.exec_driver_sql(engines.BEGIN)
            if guard is not None:
                guard.confirm(connection)
            return connection, action(connection)
        except BaseException:
            connection.close()
            raise

    def _again(self, action: Callable[[], _T]) -> _T:
        """Do what changes nothing, again if a server that was there is gone for a moment."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                found = action()
            except DBAPIError as error:
                if not (self.serves and self._seen and _gone(error)) or time.monotonic() > deadline:
                    self._seen = False  # whoever asks next need not wait as long again
                    raise
                time.sleep(_PAUSE)
            else:
                self._seen = True
                return found

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except PydagError:
            raise
        except DBAPIError as error:
            said = " ".join(str(error.orig).split())
            raise StoreError(said, where=self.place, hint=engines.hint(said)) from error
        except SQLAlchemyError as error:
            raise StoreError(str(error).splitlines()[0], where=self.place) from error
        except OSError as error:
            what = str(error.strerror or error)
            raise StoreError(what, where=self.place, hint="set PYDAG_HOME elsewhere") from error


def _gone(error: DBAPIError) -> bool:
    """Whether a server was cut off, or cannot be connected to; then it has sent no code."""
    unreached = isinstance(error, sa.exc.OperationalError) and getattr(error.orig, "sqlstate", None) is None
    return error.connection_invalidated or unreached


def _rows(result: sa.CursorResult[Any]) -> Sequence[sa.Row[Any]]:
    return result.all() if result.returns_rows else ()
