"""At most one active run per DAG and target: whoever drives one holds its lease.

On a SQLite store, which lies on one machine, a lease is a kernel lock, gone with the process. On a PostgreSQL store,
which machines share, it lasts some seconds by the database's clock unless it is renewed. Each lease has a higher epoch
than those before: whoever holds an old one notices, and writes nothing.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import platform
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from pydag_gcp import liveness
from pydag_gcp.database import Database
from pydag_gcp.errors import LeaseLost, RunHeld, StoreError
from pydag_gcp.kernel_lock import KernelLock
from pydag_gcp.store import Store
from pydag_gcp.tables import leases

if TYPE_CHECKING:
    from sqlalchemy.dialects.postgresql import Insert
    from sqlalchemy.sql.dml import ReturningInsert

#: Seconds that a lease lasts unless it is renewed.
TTL = 30.0
#: Seconds between two attempts to take what somebody else holds.
_LOOK = 0.5
#: For so long, in seconds, whoever holds it may just be about to give it back.
_MOMENT = 0.3

_OF_LEASE = (leases.c.dag_id == sa.bindparam("of_dag")) & (leases.c.target == sa.bindparam("of_target"))
_OURS = _OF_LEASE & (leases.c.epoch == sa.bindparam("of_epoch"))
_NOW = sa.func.clock_timestamp()  # now() would be when a transaction began to wait
_IN_TTL = _NOW + sa.bindparam("ttl", type_=sa.Interval)
_SHOW = sa.select(leases).where(_OF_LEASE)
_SHOW_LIVE = _SHOW.where(leases.c.expires > _NOW)
_CONFIRM = sa.select(leases.c.epoch).where(_OF_LEASE).with_for_update()
_EXTEND = leases.update().where(_OURS).values(expires=_IN_TTL).returning(leases.c.epoch)
_GIVE_BACK = leases.update().where(_OURS).values(expires=_NOW)


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Who holds a lease, or held it last.

    Attributes:
        since: When they took it, by their clock.
    """

    run_id: str
    pid: int
    host: str
    since: datetime

    def __str__(self) -> str:
        return f"pid {self.pid} on host {self.host}, since {self.since:%Y-%m-%d %H:%M:%S} UTC"


class Lease(ABC):
    """A held lease; see :func:`acquire`.

    Attributes:
        epoch: Higher than that of every holder before.
        ttl: Seconds that it lasts unless it is renewed: about every third of that.
        lost: Whether it was seen to be somebody else's.
    """

    def __init__(self, database: Database, whose: _Whose, *, epoch: int, ttl: float) -> None:
        self.epoch = epoch
        self.ttl = ttl
        self.lost = False
        self._database = database
        self._whose = whose

    @abstractmethod
    def renew(self) -> None:
        """Make it last another ``ttl`` seconds; by the driving thread.

        Raises:
            LeaseLost: Somebody else has it.
            StoreError: The metadata database has not answered for so long that somebody else may have it.
        """

    @abstractmethod
    def check(self) -> None:
        """Make sure that it is still ours, right before a remote call; cheap, from any thread.

        Raises:
            LeaseLost: It is not; or it may have expired, and the metadata database does not answer.
        """

    @abstractmethod
    def confirm(self, connection: sa.Connection) -> None:
        """See :class:`pydag_gcp.database.Guard`."""

    @abstractmethod
    def release(self) -> None:
        """Give it back, so that the next one need not wait. Nothing may be written under it any more.

        Where the metadata database does not answer, it expires by itself.
        """

    def _lose(self, why: str = "") -> LeaseLost:
        self.lost = True
        run_id, row = self._whose.run_id, self._whose.row(self._database)
        if row is None or row["epoch"] == self.epoch:
            return LeaseLost(f"run {run_id} is not driven by this process any more", hint=why or None)
        who = _holder(row)
        what = "it was taken over" if who.run_id == run_id else f"run {who.run_id} took its place"
        return LeaseLost(f"run {run_id} is not driven by this process any more: {what} ({who})")


class _KernelLease(Lease):
    """On a SQLite store."""

    def __init__(self, store: Store, whose: _Whose, lock: KernelLock, *, epoch: int, ttl: float) -> None:
        super().__init__(store.database, whose, epoch=epoch, ttl=ttl)
        self._store = store
        self._lock = lock

    def renew(self) -> None:
        if not self._lock.intact():
            raise self._lose(f"the file {self._lock.file} was removed")

    def check(self) -> None:
        if self.lost:
            raise self._lose()

    def confirm(self, connection: sa.Connection) -> None:
        self.check()

    def release(self) -> None:
        try:
            self._store.drained()  # or what is still queued would be refused
        finally:
            self.lost = True
            self._lock.release()


class _TimedLease(Lease):
    """On a PostgreSQL store."""

    def __init__(self, database: Database, whose: _Whose, *, epoch: int, ttl: float, since: float) -> None:
        super().__init__(database, whose, epoch=epoch, ttl=ttl)
        self._until = since + ttl
        self._mutex = threading.Lock()

    def renew(self) -> None:
        try:
            self._extend()
        except StoreError:
            if _clock() >= self._until:
                raise

    def check(self) -> None:
        if not self.lost and _clock() < self._until:
            return
        with self._mutex:  # one of many threads asks
            if not self.lost and _clock() < self._until:
                return
            try:
                self._extend()
            except StoreError as error:
                what = f"run {self._whose.run_id} may be driven by another process by now, as it was not heard of"
                raise LeaseLost(f"{what} for over {self.ttl:g} s: {error}") from error

    def confirm(self, connection: sa.Connection) -> None:
        epoch = connection.execute(_CONFIRM, self._whose.key).scalar_one_or_none()
        if self.lost or epoch != self.epoch:
            raise self._lose()

    def release(self) -> None:
        if not self.lost:
            self.lost = True
            with contextlib.suppress(StoreError):
                self._database.alone(_GIVE_BACK, {**self._whose.key, "of_epoch": self.epoch})

    def _extend(self) -> None:
        asked = _clock()
        values = {**self._whose.key, "of_epoch": self.epoch, "ttl": timedelta(seconds=self.ttl)}
        if self.lost or not self._database.alone(_EXTEND, values):
            raise self._lose()
        self._until = max(self._until, asked + self.ttl)


@dataclass(frozen=True, kw_only=True)
class _Whose:
    """Which lease, and for what run."""

    dag_id: str
    target: str
    run_id: str

    @property
    def key(self) -> dict[str, str]:
        return {"of_dag": self.dag_id, "of_target": self.target}

    def row(self, database: Database) -> dict[str, Any] | None:
        """Who held it last."""
        found = database.read(_SHOW, self.key)
        return found[0] if found else None

    def values(self) -> dict[str, Any]:
        """What is written down of who holds it now."""
        return {
            "dag_id": self.dag_id,
            "target": self.target,
            "run_id": self.run_id,
            "pid": os.getpid(),
            "host": platform.node(),
            "mark": liveness.mark(),
            "since": datetime.now(UTC).isoformat(),
            "epoch": 1,
        }


def acquire(
    store: Store,
    *,
    dag_id: str,
    target: str,
    run_id: str,
    ttl: float = TTL,
    wait: bool = False,
    told: Callable[[str], None] | None = None,
) -> Lease:
    """Take the lease of a DAG on a target.

    Args:
        store: The metadata database; what it writes need not be guarded until ``store.guarded(lease)``.
        dag_id: The DAG.
        target: The target's name.
        run_id: The run that is about to be driven.
        ttl: Seconds that it lasts unless it is renewed.
        wait: Wait for whoever holds it.
        told: Called once with who that is, if there is something to wait for.

    Raises:
        RunHeld: Another process, or another run of this process, holds it.
        StoreError: The metadata database cannot be used.
    """
    whose = _Whose(dag_id=dag_id, target=target, run_id=run_id)
    take = _take_timed if store.database.serves else _take_lock
    patient_until = time.monotonic() + _MOMENT
    while (lease := take(store, whose, ttl)) is None:
        if time.monotonic() > patient_until:
            row = whose.row(store.database)
            held = _held(whose, row)
            if not wait:
                hint = f"wait for its end with --wait, or `pydag cancel {row['run_id'] if row else 'RUN_ID'}`"
                raise RunHeld(held, hint=hint)
            if told is not None:
                told(f"{held}; waiting for its end")
                told = None
        time.sleep(_LOOK if told is None and wait else _MOMENT / 5)
    return lease


def holder(store: Store, *, dag_id: str, target: str) -> Holder | None:
    """Who holds the lease of a DAG on a target, if anybody does.

    Raises:
        StoreError: The metadata database cannot be used.
    """
    whose = _Whose(dag_id=dag_id, target=target, run_id="")
    if store.database.serves:
        found = store.database.read(_SHOW_LIVE, whose.key)
        row = found[0] if found and not liveness.gone(found[0]["pid"], found[0]["mark"]) else None
    else:
        file = _lock_file(store.database, whose)
        with _locking(file):
            row = whose.row(store.database) if KernelLock.is_taken(file) else None
    return _holder(row) if row else None


def _take_lock(store: Store, whose: _Whose, ttl: float) -> Lease | None:
    file = _lock_file(store.database, whose)
    with _locking(file):
        lock = KernelLock.take(file)
    if lock is None:
        return None
    try:
        row = whose.row(store.database)
        lease = _KernelLease(store, whose, lock, epoch=row["epoch"] + 1 if row else 1, ttl=ttl)
        store.guarded(lease)  # by no other any more, of which nothing can be written
        # The lock keeps others out. That is written down before, or with, whatever is written under it.
        store.later(_take_over(store.database.insert), {**whose.values(), "expires": None})
    except BaseException:
        lock.release()
        raise
    return lease


def _take_timed(store: Store, whose: _Whose, ttl: float) -> Lease | None:
    database = store.database
    row = whose.row(database)
    dead = row["epoch"] if row and liveness.gone(row["pid"], row["mark"]) else None
    asked = _clock()
    values = {**whose.values(), "ttl": timedelta(seconds=ttl), "dead": dead}
    taken = database.alone(_take_free(database.insert), values)
    return _TimedLease(database, whose, epoch=taken[0].epoch, ttl=ttl, since=asked) if taken else None


@functools.cache  # to make a statement takes longer than to execute it
def _take_over(insert: Callable[[sa.Table], Insert], where: sa.ColumnElement[bool] | None = None) -> Insert:
    """Write down that it is held from now on, under a new epoch."""
    statement = insert(leases)
    new = {column.name: column for column in statement.excluded if not column.primary_key}
    return statement.on_conflict_do_update(
        index_elements=leases.primary_key, set_={**new, "epoch": leases.c.epoch + 1}, where=where
    )


@functools.cache
def _take_free(insert: Callable[[sa.Table], Insert]) -> ReturningInsert[tuple[int]]:
    """The same for a while, if it is free: it may have been taken since we looked; the new epoch."""
    free = (leases.c.expires <= _NOW) | (leases.c.epoch == sa.bindparam("dead", type_=sa.Integer))
    return _take_over(insert, free).values(expires=_IN_TTL).returning(leases.c.epoch)


def _lock_file(database: Database, whose: _Whose) -> Path:
    """The file that stands for the lease: beside the database, whatever way leads there."""
    assert database.file  # noqa: S101 - it is a SQLite store
    folder, file = os.path.split(os.path.realpath(database.file))
    name = hashlib.sha256(f"{file}\0{whose.dag_id}\0{whose.target}".encode()).hexdigest()[:32]
    return Path(folder, "leases", f"{name}.lock")


@contextlib.contextmanager
def _locking(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        hint = "put the metadata database into a writable folder on a local disk: set PYDAG_HOME elsewhere"
        raise StoreError(f"cannot be locked: {error.strerror or error}", where=str(file), hint=hint) from error


def _held(whose: _Whose, row: Mapping[str, Any] | None) -> str:
    what = f"DAG {whose.dag_id} on target {whose.target}"
    if row is None:
        return f"another run of {what} is active"
    who = _holder(row)
    return f"run {who.run_id} of {what} is active ({who})"


def _holder(row: Mapping[str, Any]) -> Holder:
    since = datetime.fromisoformat(row["since"])
    return Holder(run_id=row["run_id"], pid=row["pid"], host=row["host"], since=since)


def _clock() -> float:
    """Seconds on a clock that never goes back, nor stops while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
