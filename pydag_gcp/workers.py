"""Threads that work: made when there is work for them, woken by a queue."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue


class Workers:
    """Threads that do what one other thread hands them; nothing waits while fewer are busy than there may be.

    They are daemons: a task that does not return (a thread cannot be cut) must not keep the process alive.

    Args:
        name: Prefix of the threads' names.
        size: Most threads at a time.
    """

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self._size = size
        self._work: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._threads = 0
        self._busy = 0

    def submit(self, work: Callable[[], object]) -> None:
        """Have ``work`` done by an idle thread; it must not raise. Say :meth:`done` when it is heard of."""
        self._busy += 1
        if self._busy > self._threads and self._threads < self._size:
            self._threads += 1
            threading.Thread(target=self._serve, name=f"{self._name}-{self._threads}", daemon=True).start()
        self._work.put(work)

    def done(self) -> None:
        """Take note that a piece of work is done."""
        self._busy -= 1

    def close(self) -> None:
        """Let every thread end once it has nothing to do. Does not wait."""
        for _ in range(self._threads):
            self._work.put(None)

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            work()
            del work  # or what it came to would be kept until there is more to do
