"""A database: statements in transactions, guarded by a lease, the same on SQLite and PostgreSQL."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from pydag_gcp import engines
from pydag_gcp.errors import PydagError, StoreError

if TYPE_CHECKING:
    from sqlalchemy.dialects.postgresql import Insert

#: What is bound to a statement; a sequence of it executes the statement for each.
Values = Mapping[str, Any] | Sequence[Mapping[str, Any]]

#: Seconds that a server which was there may be gone: it is restarted, or its network blinks.
_PATIENCE = 30.0
_PAUSE = 0.25

_T = TypeVar("_T")

_HELLO: sa.Select[Any] = sa.select(sa.literal_column("1"))
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


class _Mine(threading.local):
    """What a thread is writing together."""

    connection: sa.Connection | None = None
    afterwards: list[Callable[[], None]] = []  # noqa: RUF012 - every transaction brings its own


class Database:
    """An open database.

    Any thread may use it.

    Args:
        url: From :func:`pydag_gcp.engines.parse`.

    Raises:
        StoreError: By every method: the database fails, or a server that was there does not come back.
    """

    def __init__(self, url: sa.URL) -> None:
        self.place = engines.place(url)
        self.serves = url.get_backend_name() != "sqlite"
        self.file = None if self.serves else url.database
        self._guard: Guard | None = None
        self._mine = _Mine()
        self._seen = False
        with self._errors():
            self._engine = engines.make(url)
        # A server commits each statement by itself: that saves two of three trips.
        options = {"isolation_level": "AUTOCOMMIT"} if self.serves else {engines.READS: True}
        self._readers = self._engine.execution_options(**options)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def guarded(self, guard: Guard) -> None:
        """From now on confirm every transaction that writes."""
        self._guard = guard

    def insert(self, table: sa.Table) -> Insert:
        """An insert that may say what to do on a conflict."""
        if self.serves:
            from sqlalchemy.dialects.postgresql import insert
        else:  # the same methods, the same SQL
            from sqlalchemy.dialects.sqlite import insert  # type: ignore[assignment]
        return insert(table)

    # writes ------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Make what this thread writes inside durable in one step, or not at all."""
        mine = self._mine
        if mine.connection is not None:
            yield
            return
        with self._errors(), self._transaction() as connection:
            mine.connection, mine.afterwards = connection, []
            try:
                yield
            finally:
                mine.connection = None
        for action in mine.afterwards:
            action()

    def write(self, statement: sa.Executable, values: Values | None = None) -> int:
        """Execute a statement, durably unless inside :meth:`together`; the number of rows it found."""
        connection = self._mine.connection
        if connection is None:
            with self.together():
                return self.write(statement, values)
        with self._errors():
            return connection.execute(statement, values).rowcount

    def afterwards(self, action: Callable[[], None]) -> None:
        """Call this once what is being written is durable; at once if that is nothing."""
        if self._mine.connection is None:
            action()
        else:
            self._mine.afterwards.append(action)

    def alone(self, statement: sa.Executable, values: Mapping[str, Any]) -> Sequence[sa.Row[Any]]:
        """Execute a statement of the guard itself, which nobody guards; the rows it returns."""
        connection = self._mine.connection
        if connection is not None:  # a transaction of its own would wait for what this one has locked
            with self._errors():
                return _rows(connection.execute(statement, values))
        with self._errors(), self._transaction(guarded=False) as connection:
            return _rows(connection.execute(statement, values))

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[sa.Connection]:
        """A transaction beside which nobody else has one that is exclusive."""
        with self._errors(), self._transaction(guarded=False) as connection:
            if self.serves:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
            yield connection

    # reads -------------------------------------------------------------------------------------------------------

    def read(self, query: sa.Select[Any], values: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """The rows of a query."""
        with self._errors():
            return self._again(lambda: self._select(query, values))

    def has(self, table: sa.Table) -> bool:
        """Whether there is such a table."""
        with self._errors(), self._readers.connect() as connection:
            return sa.inspect(connection).has_table(table.name)

    def _select(self, query: sa.Select[Any], values: Mapping[str, Any] | None) -> list[dict[str, Any]]:
        with self._readers.connect() as connection:
            return [dict(row) for row in connection.execute(query, values).mappings()]

    # connections -------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _transaction(self, *, guarded: bool = True) -> Iterator[sa.Connection]:
        connection = self._again(lambda: self._begin(self._guard if guarded else None))
        with connection:
            yield connection
            connection.commit()

    def _begin(self, guard: Guard | None) -> sa.Connection:
        """A connection in a transaction which is known to have reached the server, so that nothing is sent twice."""
        connection = self._engine.connect()
        try:
            if guard is not None:
                guard.confirm(connection)
            elif self.serves:
                connection.execute(_HELLO)
        except BaseException:
            connection.close()
            raise
        return connection

    def _again(self, action: Callable[[], _T]) -> _T:
        """Do what changes nothing, again if a server that was there is gone for a moment."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                found = action()
            except DBAPIError as error:
                gone = error.connection_invalidated or isinstance(error, sa.exc.OperationalError)
                if not (self.serves and self._seen and gone) or time.monotonic() > deadline:
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


def _rows(result: sa.CursorResult[Any]) -> Sequence[sa.Row[Any]]:
    return result.all() if result.returns_rows else ()
