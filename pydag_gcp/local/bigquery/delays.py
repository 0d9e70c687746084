"""What begins only after a while: jobs that are asked to stay pending, as they do where a service is busy."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable


class Delays:
    """Calls functions later, all in one thread, which there is only once something is to be called."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._due: list[tuple[float, int]] = []
        self._actions: dict[int, Callable[[], object]] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    def after(self, seconds: float, action: Callable[[], object]) -> int:
        """Call ``action`` in ``seconds``, in another thread; return by what it is known to :meth:`hurry`."""
        with self._changed:
            number = next(self._numbers)
            self._actions[number] = action
            heapq.heappush(self._due, (time.monotonic() + seconds, number))
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="bigquery-delays", daemon=True)
                self._thread.start()
            self._changed.notify()
        return number

    def hurry(self, number: int) -> None:
        """Call it now, unless it has been called."""
        with self._changed:
            action = self._actions.pop(number, None)
        if action is not None:
            action()

    def close(self) -> None:
        """Call nothing any more."""
        with self._changed:
            self._closed = True
            self._actions.clear()
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._closed and (not self._due or self._due[0][0] > time.monotonic()):
                    self._changed.wait(self._due[0][0] - time.monotonic() if self._due else None)
                if self._closed:
                    return
                _, number = heapq.heappop(self._due)
            self.hurry(number)
