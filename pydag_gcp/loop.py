"""One thread's event loop: an inbox that other threads fill, and timers."""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from queue import Empty, SimpleQueue

# A signal that comes just before the inbox blocks is handled only when something wakes it: this long after, at most.
_LONGEST = 0.5


@dataclass(order=True, slots=True)
class Timer:
    """An action at a time."""

    due: float
    number: int
    action: Callable[[], None] = field(compare=False)
    cancelled: bool = field(default=False, compare=False)

    def cancel(self) -> None:
        """Make it not happen."""
        self.cancelled = True
        self.action = _nothing  # it may stand in line for long, and must not keep what it was for


def _nothing() -> None:
    return


class Loop:
    """Calls what other threads and timers ask for, in the thread that waits.

    Args:
        clock: Seconds; never goes back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._moment = datetime.now(UTC)
        self._inbox: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._timers: list[Timer] = []
        self._numbers = itertools.count()
        self._stopped = False

    def moment(self) -> datetime:
        """When it awoke, or was made to :meth:`look`: what is done before it sleeps again happens at one moment.

        As https://docs.libuv.org/en/v1.x/loop.html#c.uv_now: a look at the clock takes long beside what is done.
        """
        return self._moment

    def look(self) -> None:
        """Look at the clock: what is done from here on happens now."""
        self._moment = datetime.now(UTC)

    def soon(self, action: Callable[[], None]) -> None:
        """Have ``action`` called; from any thread, and from a signal handler."""
        self._inbox.put(action)

    def after(self, seconds: float, action: Callable[[], None]) -> Timer:
        """Have ``action`` called in ``seconds``."""
        timer = Timer(self.clock() + seconds, next(self._numbers), action)
        heapq.heappush(self._timers, timer)
        return timer

    def wake(self) -> None:
        """Have :meth:`wait` return; from any thread."""
        self._inbox.put(_nothing)

    def stop(self) -> None:
        """Call nothing any more."""
        self._stopped = True

    def wait(self) -> None:
        """Sleep until something is to be done, then do all that is."""
        while self._timers and self._timers[0].cancelled:
            heapq.heappop(self._timers)
        timeout = min(max(0.0, self._timers[0].due - self.clock()), _LONGEST) if self._timers else _LONGEST
        inbox = self._inbox
        try:
            action = inbox.get(timeout=timeout)
        except Empty:
            action = _nothing
        self.look()
        there = inbox.qsize()
        action()
        for _ in range(there):  # and not what comes meanwhile: those who wait for a processor are next
            if self._stopped:
                return
            inbox.get()()
        self._fire()

    def _fire(self) -> None:
        while self._timers and self._timers[0].due <= self.clock() and not self._stopped:
            timer = heapq.heappop(self._timers)
            if not timer.cancelled:
                timer.action()
