"""Threads that work: made when there is work for them, woken one by another.

Whoever hands over work wakes one thread at most; that one wakes the next one if it finds more than it can do. Short
pieces of work are so done by few threads, and long ones by as many as there may be, at once.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable


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
        self._work: deque[Callable[[], object]] = deque()
        #: Those that wait, each before a lock of its own; the last one to fall asleep is woken first.
        self._asleep: list[threading.Lock] = []
        #: Whether one is being woken, or made, that has not looked for work yet; not any more if there is none to wake.
        self._rousing = False
        self._threads = 0
        self._making = threading.Lock()
        self._closed = False

    def submit(self, work: Callable[[], object]) -> None:
        """Have ``work`` done by an idle thread; it must not raise.

        Raises:
            RuntimeError: There is no thread, and none can be made.
        """
        self._work.append(work)
        if not self._rousing:
            self._rouse()

    def close(self) -> None:
        """Let every thread end once it has nothing to do. Does not wait."""
        self._closed = True
        while self._asleep:
            self._asleep.pop().release()

    def _rouse(self) -> None:
        self._rousing = True
        try:
            bed = self._asleep.pop()
        except IndexError:
            self._make_one()
        else:
            bed.release()

    def _make_one(self) -> None:
        """Make a thread, if there may be one more; else all are awake, and look for work before they sleep."""
        with self._making:
            if self._threads < self._size:
                thread = threading.Thread(target=self._serve, name=f"{self._name}-{self._threads + 1}", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # too many in this process
                    if not self._threads:
                        raise
                else:
                    self._threads += 1
                    return
            self._rousing = False
        if self._work and self._asleep:  # one fell asleep, and more came, while nobody was to be woken
            self._rouse()

    def _serve(self) -> None:
        bed = threading.Lock()
        bed.acquire()
        while True:
            self._rousing = False
            self._do_all()
            if self._closed:
                return
            self._asleep.append(bed)
            if (self._work or self._closed) and self._gets_up(bed):
                continue  # it came before anybody could know that this one sleeps
            bed.acquire()

    def _do_all(self) -> None:
        while self._work:
            try:
                work = self._work.popleft()
            except IndexError:
                return  # another one was faster
            if self._work and not self._rousing:
                self._rouse()
            work()
            del work  # or what it came to would be kept until there is more to do

    def _gets_up(self, bed: threading.Lock) -> bool:
        """Whether nobody has woken this one."""
        try:
            self._asleep.remove(bed)
        except ValueError:
            return False
        return True
