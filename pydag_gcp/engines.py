"""From the URL of a metadata database to connections that behave the same on SQLite and PostgreSQL."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError

from pydag_gcp.errors import SettingsError

if TYPE_CHECKING:
    from sqlalchemy.dialects.postgresql import Insert

#: How a transaction that writes begins on SQLite. One that reads before it writes could else fail as "locked" without
#: waiting for its turn; one that only reads begins by itself, and keeps nobody waiting.
BEGIN = "BEGIN IMMEDIATE"

_LIKE = "write PYDAG_STORE like sqlite:////folder/pydag.db or postgresql://user@host/database"
#: Seconds that a statement waits for others.
_BUSY = 30

#: A server that is gone must be noticed: https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
_LIBPQ = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
    "application_name": "pydag",
}

_BACK = "`pydag resume` goes on once the server is back"

#: Part of a driver's message -> how to mend it.
_HINTS = {
    "disk is full": "make room on the disk",
    "disk I/O error": "see whether the disk is full, or set PYDAG_HOME elsewhere",
    "readonly": "make it writable, or set PYDAG_HOME elsewhere",
    "unable to open": "make it writable, or set PYDAG_HOME elsewhere",
    "not a database": "move the file away, or set PYDAG_STORE",
    "database is locked": f"another process holds it for over {_BUSY} s; stop that one",
    "lock timeout": f"another process holds it for over {_BUSY} s; stop that one",
    "password authentication failed": "check the user and the password in PYDAG_STORE",
    "no password supplied": "give it in PYDAG_STORE, PGPASSWORD or ~/.pgpass",
    "permission denied for schema": "grant the user CREATE on that schema",
    "does not exist": "create it, or check PYDAG_STORE",
    "Connection refused": "start the server, or check host and port in PYDAG_STORE",
    "resolve host": "check the host in PYDAG_STORE",
    "No space left": "make room on the server's disk",
    "server closed the connection": _BACK,
    "terminating connection": _BACK,
}


def parse(url: str) -> sa.URL:
    """Read the URL of a metadata database.

    Raises:
        SettingsError: It is none, or that of a database that is not supported. Never tells a password.
    """
    try:
        parsed = sa.make_url(url)
        port = parsed.port
    except (ArgumentError, ValueError) as error:  # their texts quote parts of the URL
        raise SettingsError("PYDAG_STORE is not a URL", hint=_LIKE) from error
    backend = parsed.get_backend_name()
    if backend == "postgres":  # what some hosts write
        backend = "postgresql"
    if backend not in ("sqlite", "postgresql"):
        raise SettingsError(f"PYDAG_STORE: {backend} is not supported", hint=_LIKE)
    if backend == "sqlite" and (parsed.host or port):
        raise SettingsError("PYDAG_STORE: a SQLite URL has three slashes before its path", hint=_LIKE)
    if backend == "sqlite" and (not parsed.database or parsed.database.startswith((":memory:", "file:"))):
        raise SettingsError("PYDAG_STORE: a database in memory would forget what ran", hint=_LIKE)
    if backend == "postgresql" and importlib.util.find_spec("psycopg") is None:
        hint = "install it: pip install 'pydag-gcp[postgres]'"
        raise SettingsError("PYDAG_STORE: PostgreSQL needs psycopg", hint=hint)
    if backend == "sqlite":
        return parsed.set(drivername="sqlite", database=str(Path(parsed.database or "").absolute()))
    return parsed.set(drivername="postgresql+psycopg")


def place(url: sa.URL) -> str:
    """Name a database in a message, without user and password."""
    if url.get_backend_name() == "sqlite":
        return f"metadata database {url.database}"
    port = f":{url.port}" if url.port else ""
    return f"metadata database postgresql://{url.host or url.query.get('host') or ''}{port}/{url.database or ''}"


def make(url: sa.URL) -> sa.Engine:
    """Make an engine, or take one that was left; a SQLite file's folder is made, too. Connects to nothing."""
    if url.get_backend_name() == "sqlite":
        assert url.database  # noqa: S101 - parse() saw to it
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    try:
        return _left(url).pop()
    except IndexError:
        return _sqlite(url) if url.get_backend_name() == "sqlite" else _postgresql(url)


def leave(engine: sa.Engine) -> None:
    """Close the connections of an engine, and leave it to whoever needs one next.

    To make one, and to compile what it executes, takes longer than a short run:
    https://docs.sqlalchemy.org/en/20/core/connections.html#sql-caching
    """
    engine.dispose()
    left = _left(engine.url)
    if engine not in left:
        left.append(engine)


def insert(url: sa.URL) -> Callable[[sa.Table], Insert]:
    """What makes inserts that may say what to do on a conflict."""
    if url.get_backend_name() == "sqlite":  # the same methods, the same SQL
        from sqlalchemy.dialects.sqlite import insert as found

        return cast("Callable[[sa.Table], Insert]", found)
    from sqlalchemy.dialects.postgresql import insert

    return insert


def hint(message: str) -> str | None:
    """How to mend what a driver says is wrong."""
    return next((hint for words, hint in _HINTS.items() if words in message), None)


@functools.lru_cache(maxsize=8)
def _left(url: sa.URL) -> list[sa.Engine]:  # noqa: ARG001 - one list for each
    """Engines that nobody uses."""
    return []


def _sqlite(url: sa.URL) -> sa.Engine:
    engine = sa.create_engine(url, connect_args={"timeout": _BUSY})
    sa.event.listen(engine, "connect", _durable)
    return engine


def _durable(connection: Any, _record: object) -> None:
    # Python's sqlite3 would begin transactions by itself, and never for the making of tables.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _postgresql(url: sa.URL) -> sa.Engine:
    arguments = {name: value for name, value in _LIBPQ.items() if name not in url.query}
    # A pooler between us and the server may give each transaction another connection of its own, without the
    # statements that were prepared before: https://www.psycopg.org/psycopg3/docs/advanced/prepare.html
    arguments["prepare_threshold"] = None
    engine = sa.create_engine(url, connect_args=arguments, isolation_level="READ COMMITTED")
    sa.event.listen(engine, "connect", _patient)
    return engine


def _patient(connection: Any, _record: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SET lock_timeout = '{_BUSY}s'")
    connection.commit()
