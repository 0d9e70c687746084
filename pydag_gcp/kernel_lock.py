"""Locks between the processes of a machine that the kernel takes back when a process ends, however it ends."""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path

#: The process, device and inode of each lock that this process holds -> its descriptor. Closing *any* descriptor of a
#: file drops the locks that the process has on it, so a held file must never be opened again:
#: https://man7.org/linux/man-pages/man2/fcntl_locking.2.html (a forked child inherits the table, but no lock).
_held: dict[tuple[int, int, int], int] = {}
_mutex = threading.Lock()


class KernelLock:
    """A lock that is held; :meth:`take` takes one.

    Attributes:
        file: The file that it is on; it stays when the lock is gone.
    """

    def __init__(self, file: Path, key: tuple[int, int, int]) -> None:
        self.file = file
        self._key = key

    @classmethod
    def take(cls, file: Path) -> KernelLock | None:
        """Take the lock, or None if somebody holds it, be it this process.

        Raises:
            OSError: The file cannot be made or locked.
        """
        with _mutex:
            while _key(file) not in _held:
                descriptor = _opened(file)
                key = None
                try:
                    if not _locked(descriptor, fcntl.LOCK_EX):
                        return None
                    found = os.fstat(descriptor)
                    key = (os.getpid(), found.st_dev, found.st_ino)
                    if _key(file) == key:  # else somebody removed the file just before: its lock keeps nobody out
                        _held[key] = descriptor
                        return cls(file, key)
                finally:
                    if key not in _held:
                        os.close(descriptor)
        return None

    @staticmethod
    def is_taken(file: Path) -> bool:
        """Whether somebody holds the lock on a file, be it this process.

        Raises:
            OSError: The file cannot be read.
        """
        with _mutex:
            try:
                if _key(file) in _held:
                    return True
                descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return False
            try:
                return not _locked(descriptor, fcntl.LOCK_SH)
            finally:
                os.close(descriptor)

    def intact(self) -> bool:
        """Whether the lock still keeps others out: it does not once its file was removed."""
        return self._key in _held and _key(self.file) == self._key

    def release(self) -> None:
        """Give it back; again does nothing."""
        with _mutex:
            descriptor = _held.pop(self._key, None)
            if descriptor is not None:
                os.close(descriptor)


def _opened(file: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    try:
        return os.open(file, flags, 0o666)
    except FileNotFoundError:
        file.parent.mkdir(parents=True, exist_ok=True)
        return os.open(file, flags, 0o666)


def _key(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return os.getpid(), found.st_dev, found.st_ino


def _locked(descriptor: int, kind: int) -> bool:
    try:
        fcntl.lockf(descriptor, kind | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # which of the two differs by system
        return False
    return True
