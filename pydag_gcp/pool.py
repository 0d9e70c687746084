"""The pool of processors of a machine and user, as one process sees it.

Every change happens under the table's lock, and ends with a decision on what is free then: whoever makes something free
writes the grants of others into their entries, and wakes them.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydag_gcp.pool_memory import PoolFile, PoolMemory, PrivateMemory, file_in, identity
from pydag_gcp.pool_table import Entry, PoolTable
from pydag_gcp.shares import Decision, decide

#: Seconds between two looks for processes that have died, as long as somebody waits; one process does it for all.
LOOK = 0.05
#: Seconds that a driving thread may wait for the table, which others hold for some microseconds.
MOMENT = 0.005
#: Seconds that the start and the end of a run may wait for the table.
PATIENCE = 1.0


class PoolUnusable(Exception):
    """The table cannot be used by this process."""


def reason(error: OSError | PoolUnusable) -> str:
    """Say in words why a pool cannot be used."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


class Pool:
    """A table and this process's runs in it. From any thread.

    Args:
        memory: Where the table lies.

    Attributes:
        table: Its words, as long as runs of this process are in it.
        mutex: Keeps this process's other threads from closing it.
        abandoned: Whether nothing of it may be touched any more.
    """

    def __init__(self, memory: PoolMemory) -> None:
        self.memory = memory
        self.table = PoolTable(memory.memory)
        self.mutex = threading.RLock()
        self._granted: dict[int, Callable[[], object]] = {}
        self._ring: set[int] = set()
        self.abandoned = False

    @property
    def used(self) -> bool:
        """Whether runs of this process are in it."""
        return bool(self._granted)

    def abandon(self) -> None:
        """Touch nothing any more: this is a forked child, and the runs are its parent's."""
        self.abandoned = True
        self.mutex = threading.RLock()  # who holds that of the parent is not here to release it

    @contextmanager
    def locked(self, patience: float) -> Iterator[bool]:
        """Keep all others out; those who were granted something meanwhile are woken in the end.

        Args:
            patience: Seconds to wait; yields False if that was not enough.
        """
        if self.abandoned or not self.mutex.acquire(timeout=patience):
            yield False
            return
        try:
            if self.abandoned or not self.memory.lock(patience):
                yield False
                return
            try:
                yield True
            finally:
                self.memory.unlock()
                ring, self._ring = self._ring, set()
        finally:
            self.mutex.release()
        for index in ring:
            self._wake(index)

    def enter(
        self, *, name: str, run_id: str, most: int, weight: float, size: int, granted: Callable[[], object]
    ) -> Entry:
        """Give a run an entry.

        Args:
            name: What others see of it.
            run_id: Its id.
            most: Most processors that it may hold.
            weight: Its share, in proportion to those of others.
            size: The pool's, if nobody is in it.
            granted: Called in any thread once it was granted something.

        Raises:
            PoolUnusable: The table is full, of another version, or locked for too long.
            OSError: It cannot be locked.
        """
        with self.locked(PATIENCE) as had:
            if not had:
                raise PoolUnusable("the pool's table is locked by a process that was stopped")
            if not self.used and self.memory.nobody():
                self.table.begin(size)
            elif not self.table.valid:
                raise PoolUnusable("the pool's table is that of another version of pydag-gcp, or damaged")
            self.sweep()
            entry = self.table.vacant()
            if entry is None:
                raise PoolUnusable("too many runs are in the pool")
            self.memory.live(entry.index)
            self._granted[entry.index] = granted
            most = min(most, self.table.size)
            entry.begin(pid=os.getpid(), name=name, run_id=run_id, most=most, weight=weight, now=time.time())
            return entry

    def leave(self, entry: Entry) -> None:
        """End a run's entry; what it held is free."""
        if self.abandoned:
            return
        with self.locked(PATIENCE) as had:
            if had:
                entry.clear()
                self.table.shrink()
                self.settle()
        # Without the lock the entry stays, and is that of a dead process.
        with self.mutex:
            self._granted.pop(entry.index, None)
            self.memory.die(entry.index)

    def settle(self) -> Decision:
        """Decide who gets what is free; under the lock."""
        now = time.monotonic()
        rows = [(entry, claims := entry.claims(), entry.member(claims, now)) for entry in self.table.entries()]
        decision = decide(self.table.size, [member for _, _, member in rows], now)
        for (entry, _, _), quota in zip(rows, decision.quotas, strict=True):
            entry.quota = quota
        for index, position in decision.grants:
            entry, claims, _ = rows[index]
            entry.grant(list(claims)[position], now)
            self._ring.add(entry.index)
        waiting = sum(claim.tasks for _, _, member in rows for claim in member.claims)
        self.table.waiting = waiting - len(decision.grants)
        return decision

    def hush(self, entry: Entry) -> None:
        """Do not wake a run for what it was just granted, as it asks right now; under the lock."""
        self._ring.discard(entry.index)

    def catch_up(self, entry: Entry) -> None:
        """Have a run that comes back neither pay nor be paid for what others were granted meanwhile; under the lock."""
        others = [one.spent for one in self.table.entries() if one.index != entry.index and one.active]
        entry.spent = min(max(entry.spent, min(others)), max(others)) if others else 0.0

    def look(self) -> None:
        """Free what dead processes held, unless somebody has looked just before."""
        now = time.monotonic()
        with self.locked(MOMENT) as had:
            if had and not 0 <= now - self.table.looked < LOOK:
                self.table.looked = now
                self.sweep()
                self.settle()

    def sweep(self) -> None:
        """End the entries of dead processes; under the lock."""
        dead = [e for e in self.table.entries() if e.index not in self._granted and not self.memory.lives(e.index)]
        for entry in dead:
            entry.clear()
        if dead:
            self.table.shrink()

    def close(self) -> None:
        """Let go of the table."""
        with self.mutex:
            self.abandoned = True
            self.table.close()
            self.memory.close()

    def _wake(self, index: int) -> None:
        granted = self._granted.get(index)
        if granted is not None:
            granted()
        else:
            self.memory.ring(index)


class _Pools:
    """The pools that are open in this process: each file once, as the first descriptor closed drops all its locks."""

    def __init__(self) -> None:
        self.mutex = threading.RLock()
        self.private: Pool | None = None
        self.shared: dict[tuple[int, int], Pool] = {}


_pools = _Pools()
_hooked = False


def _forget() -> None:
    """In a forked child: the pools are its parent's."""
    global _pools
    for pool in (*_pools.shared.values(), *filter(None, [_pools.private])):
        pool.abandon()
    _pools = _Pools()


@contextmanager
def opened(folder: Path | None) -> Iterator[Pool]:
    """Open the pool in a folder, or that of this process; it stays open while runs of this process are in it.

    Raises:
        OSError: The file cannot be made or mapped.
    """
    global _hooked
    with _pools.mutex:
        if not _hooked:
            os.register_at_fork(after_in_child=_forget)
            _hooked = True
        pool = _private() if folder is None else _shared(folder)
        try:
            yield pool
        finally:
            _tidy()


def tidy() -> None:
    """Close the pools in which no run of this process is any more."""
    with _pools.mutex:
        _tidy()


def _private() -> Pool:
    _pools.private = _pools.private or Pool(PrivateMemory())
    return _pools.private


def _shared(folder: Path) -> Pool:
    key = identity(file_in(folder))
    if key is not None and key in _pools.shared:
        return _pools.shared[key]
    memory = PoolFile(folder)
    if identity(file_in(folder)) != memory.identity:
        memory.close()
        raise FileNotFoundError(f"{file_in(folder)} was removed just now")
    _pools.shared[memory.identity] = pool = Pool(memory)
    return pool


def _tidy() -> None:
    for key, pool in list(_pools.shared.items()):
        if not pool.used:
            del _pools.shared[key]
            pool.close()
    if _pools.private is not None and not _pools.private.used:
        _pools.private.close()
        _pools.private = None
