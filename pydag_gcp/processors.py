"""Processors: the slots in which local work runs.

The executor counts how many a run holds; :class:`Workers` are the threads behind them.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable


def default_size() -> int:
    """Processors of this machine: min(32, CPUs we may use + 4)."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(32, cpus + 4)


class Workers:
    """Threads that are made when there is work for them.

    They are daemons: a task that does not return (a thread cannot be cut) must not keep the process alive.

    Args:
        name: Prefix of the threads' names.
        size: Most threads at a time.
    """

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self._size = size
        self._work: deque[Callable[[], object]] = deque()
        self._changed = threading.Condition(threading.Lock())
        self._threads = 0
        self._idle = 0
        self._closed = False

    def submit(self, work: Callable[[], object]) -> None:
        """Have ``work`` done by the first idle thread; it must not raise."""
        with self._changed:
            self._work.append(work)
            if self._idle >= len(self._work):
                self._changed.notify()
            elif self._threads < self._size:
                self._threads += 1
                threading.Thread(target=self._serve, name=f"{self._name}-{self._threads}", daemon=True).start()

    def close(self) -> None:
        """Let every thread end once it has nothing to do. Does not wait."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _next(self) -> Callable[[], object] | None:
        with self._changed:
            while not self._work and not self._closed:
                self._idle += 1
                self._changed.wait()
                self._idle -= 1
            return self._work.popleft() if self._work else None

    def _serve(self) -> None:
        while (work := self._next()) is not None:
            work()
