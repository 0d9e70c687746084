"""Where the table of a pool lies: in a file that the processes of a machine share, or in one process."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
from mmap import mmap
from pathlib import Path
from typing import Protocol

from pydag_gcp.pool_table import BYTES, ENTRIES

#: Seconds between two attempts to lock the table, which others hold for some microseconds.
_PAUSE = 20e-6
#: Seconds that the first processes wait for each other to make the table.
_PATIENCE = 1.0


class PoolMemory(Protocol):
    """Memory with a lock, signs of life and bells.

    Attributes:
        memory: Zeros, or what others have written.
        shared: Whether other processes see it.
    """

    memory: mmap
    shared: bool

    def lock(self, patience: float) -> bool:
        """Keep others out, if that can be had within so many seconds."""

    def unlock(self) -> None:
        """Let others in."""

    def nobody(self) -> bool:
        """Whether no process is alive that uses it. Only before this one lives."""

    def live(self, index: int) -> None:
        """Give a sign of life for an entry, which ends with this process."""

    def die(self, index: int) -> None:
        """End it."""

    def lives(self, index: int) -> bool:
        """Whether another process gives one; not for entries of this one."""

    def bell(self, index: int) -> int | None:
        """Open what can be waited for (and read empty) until somebody rings; None: nobody ever does."""

    def ring(self, index: int) -> None:
        """Wake the process of an entry."""

    def close(self) -> None:
        """Let go of it."""


class PoolFile:
    """A file in which byte ranges are locked: the first byte is the table's lock, the others are signs of life.

    Locks of this kind are a process's own: a forked child has none, and all are gone when it ends, or when it closes
    any descriptor of the file. Hence it is opened once in a process, see :mod:`pydag_gcp.pool`.
    https://man7.org/linux/man-pages/man2/fcntl_locking.2.html

    Args:
        folder: From :func:`pydag_gcp.runtime_folder.find`.

    Attributes:
        identity: What tells the file from one that was made in its place; see :func:`identity`.

    Raises:
        OSError: The file cannot be made or mapped.
    """

    shared = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = file_in(folder)
        self._descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            self._fill_up()
            self.memory = mmap(self._descriptor, BYTES)
            self.identity = _identity(os.fstat(self._descriptor))
        except BaseException:
            os.close(self._descriptor)
            raise

    def _fill_up(self) -> None:
        """Write zeros up to the table's end: a mapped page that a full disk has no room for is fatal."""
        if self._missing <= 0:
            return
        if not self.lock(_PATIENCE):  # else they might come after what another process writes there
            raise BlockingIOError(f"{self._file} is locked by a process that was stopped")
        try:
            while (missing := self._missing) > 0:
                os.pwrite(self._descriptor, bytes(missing), BYTES - missing)
        finally:
            self.unlock()

    @property
    def _missing(self) -> int:
        return BYTES - os.fstat(self._descriptor).st_size

    def lock(self, patience: float) -> bool:
        """See :class:`PoolMemory`. Does not block: whoever has the lock may have been stopped."""
        until = time.monotonic() + patience if patience else 0.0
        while not self._locked(0, 1):
            if time.monotonic() >= until:
                return False
            time.sleep(_PAUSE)
        return True

    def unlock(self) -> None:
        """See :class:`PoolMemory`."""
        fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, 0)

    def nobody(self) -> bool:
        """See :class:`PoolMemory`. It holds for tables of any version."""
        if not self._locked(1, 0):
            return False
        fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 0, 1)
        return True

    def live(self, index: int) -> None:
        """See :class:`PoolMemory`."""
        if not self._locked(1 + index, 1):
            raise BlockingIOError(f"{self._file}: entry {index} is nobody's, and yet somebody lives there")

    def die(self, index: int) -> None:
        """See :class:`PoolMemory`."""
        fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, 1 + index)

    def lives(self, index: int) -> bool:
        """See :class:`PoolMemory`."""
        if not self._locked(1 + index, 1):
            return True
        self.die(index)
        return False

    def bell(self, index: int) -> int | None:
        """See :class:`PoolMemory`. Opened for both ends, so that it neither blocks nor ends: a Linux extension.

        https://man7.org/linux/man-pages/man7/fifo.7.html
        """
        file = self._bell(index)
        try:
            if file.exists() and not stat.S_ISFIFO(file.lstat().st_mode):
                file.unlink()
            with contextlib.suppress(FileExistsError):
                os.mkfifo(file, 0o600)
            return os.open(file, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None  # the folder is gone, or full

    def ring(self, index: int) -> None:
        """See :class:`PoolMemory`. If it cannot be heard, its process notices when it looks the next time."""
        with contextlib.suppress(OSError):
            descriptor = os.open(self._bell(index), os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                os.write(descriptor, b"\0")
            finally:
                os.close(descriptor)

    def close(self) -> None:
        """See :class:`PoolMemory`. All that this process has locked there is lost."""
        self.memory.close()
        os.close(self._descriptor)

    def _bell(self, index: int) -> Path:
        return self._folder / f"bell-{index}"

    def _locked(self, start: int, length: int) -> bool:
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, length, start)
        except (BlockingIOError, PermissionError):  # which of the two differs by system
            return False
        return True


class PrivateMemory:
    """Memory of this process alone, for where processes cannot meet."""

    shared = False

    def __init__(self) -> None:
        self.memory = mmap(-1, BYTES)
        self._living = bytearray(ENTRIES)

    def lock(self, patience: float) -> bool:
        """See :class:`PoolMemory`."""
        return True

    def unlock(self) -> None:
        """See :class:`PoolMemory`."""

    def nobody(self) -> bool:
        """See :class:`PoolMemory`."""
        return not any(self._living)

    def live(self, index: int) -> None:
        """See :class:`PoolMemory`."""
        self._living[index] = 1

    def die(self, index: int) -> None:
        """See :class:`PoolMemory`."""
        self._living[index] = 0

    def lives(self, index: int) -> bool:
        """See :class:`PoolMemory`."""
        return bool(self._living[index])

    def bell(self, index: int) -> int | None:
        """See :class:`PoolMemory`."""
        return None

    def ring(self, index: int) -> None:
        """See :class:`PoolMemory`."""

    def close(self) -> None:
        """See :class:`PoolMemory`."""
        self.memory.close()


def file_in(folder: Path) -> Path:
    """The file of the pool's table."""
    return folder / "processors"


def identity(file: Path) -> tuple[int, int] | None:
    """What tells a file from every other; None: there is none."""
    try:
        return _identity(file.stat())
    except FileNotFoundError:
        return None


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino
