"""The DuckDB database under the local BigQuery: connections, transactions, and who may write what when.

One file holds the rows of every table, the catalogue and the jobs, so one commit makes a job's data, its table's
metadata and its DONE state durable together. DuckDB is optimistic: of two writers of one table the later one fails.
BigQuery lets both succeed, so writers of a table take turns here, before their transaction takes its snapshot.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

import duckdb

from pydag_gcp import cpus
from pydag_gcp.local.bigquery.locks import NameLocks

#: Where Linux says how much memory this process may have, narrowest first.
_MEMORY_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


class Clock:
    """Milliseconds since the epoch that never repeat and never run backwards, across restarts too.

    A table's ``lastModifiedTime`` is how others see that it changed, so two changes must never share one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def start_after(self, last: int) -> None:
        """Give out only times after ``last`` from now on."""
        with self._lock:
            self._last = max(self._last, last)

    def now(self) -> int:
        """Tell the present time; it may repeat."""
        return max(int(time.time() * 1000), self._last)

    def next(self) -> int:
        """Give out the present time, or the next free one."""
        with self._lock:
            self._last = max(int(time.time() * 1000), self._last + 1)
            return self._last


class Warehouse:
    """The database file ``<home>/bigquery.duckdb``.

    Args:
        home: The data directory of the local cloud.
        threads: Threads DuckDB may use; default: the processors this process may run on.
        memory: Bytes DuckDB may use before it spills to disk; default: half of what this process may have.
    """

    def __init__(self, home: Path, *, threads: int | None = None, memory: int | None = None) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.spool = home / "spool" / "bigquery"
        self.spool.mkdir(parents=True, exist_ok=True)
        for abandoned in (*self.spool.glob("source-*"), *self.spool.glob("export-*")):
            abandoned.unlink(missing_ok=True)
        self.clock = Clock()
        self.locks = NameLocks()
        #: Whether DuckDB has given up on the database until it is opened anew.
        self.broken = False
        self._root = duckdb.connect(
            str(home / "bigquery.duckdb"),
            config={
                "threads": str(threads or cpus.usable()),
                "memory_limit": f"{(memory or _memory() // 2) >> 20}MiB",
                "temp_directory": str(self.spool / "duckdb"),
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
            },
        )
        self._root.execute("SET GLOBAL TimeZone = 'UTC'")
        self._root.execute(resources.files(__package__).joinpath("warehouse.sql").read_text())
        latest = self._root.execute("SELECT coalesce(max(modified), 0) FROM pydag.tables").fetchone()
        self.clock.start_after(latest[0] if latest else 0)

    @contextmanager
    def reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Open a read-only transaction: one consistent snapshot of everything."""
        with self._transaction("BEGIN TRANSACTION READ ONLY") as connection:
            yield connection

    @contextmanager
    def writing(
        self,
        exclusive: Collection[str] = (),
        shared: Collection[str] = (),
        *,
        given_up: Callable[[], bool] = lambda: False,
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """Open a transaction that commits at the end of the block, or leaves no trace if the block raises.

        Args:
            exclusive: Lock names of what the transaction changes.
            shared: Lock names of what must not disappear meanwhile.
            given_up: Asked while others hold those names.

        Raises:
            GivenUp: ``given_up`` said so.
        """
        held = self.locks.hold(exclusive, shared, given_up=given_up)
        with held, self._transaction("BEGIN TRANSACTION") as connection:
            yield connection

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[duckdb.DuckDBPyConnection]:
        connection = self._root.cursor()
        try:
            connection.execute(begin)
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")
        except duckdb.FatalException:
            self.broken = True
            raise
        finally:
            connection.close()

    def close(self) -> None:
        """Close the database; a crash instead of a close loses nothing either."""
        self._root.close()


def _memory() -> int:
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in _MEMORY_LIMITS:
        text = path.read_text().strip() if path.exists() else "max"
        if text.isdigit():
            limits.append(int(text))
    return min(limits)
