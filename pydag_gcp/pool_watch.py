"""The thread that waits for a run's processors, while the run itself goes on."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections.abc import Callable

from pydag_gcp.pool import LOOK, Pool
from pydag_gcp.pool_table import Entry

#: Seconds without a claim after which it sleeps until there is one, or for so long.
_LULL = 1.0


class Watch:
    """Hears when others grant a run something, and looks for dead processes as long as it waits.

    It begins when it is first needed. All but the thread itself is the driving thread's.

    Args:
        pool: Where the run waits.
        entry: The run's.
        granted: Called when it is worth asking again.
    """

    def __init__(self, pool: Pool, entry: Entry, granted: Callable[[], object]) -> None:
        self._pool = pool
        self._entry = entry
        self._granted = granted
        self._bell: int | None = None
        self._thread: threading.Thread | None = None
        self._held = 0
        self._until = 0.0
        self._asleep = False
        self._again = False
        self._stopped = False

    def wait(self) -> None:
        """A claim stands now."""
        if self._thread is None:
            self._begin()
        elif self._asleep:
            self._wake()

    def again(self) -> None:
        """Have the run ask again in a moment: the table was locked."""
        if self._pool.abandoned:
            return
        self._again = True
        self.wait()
        if self._thread is None:
            self._granted()

    def stop(self) -> None:
        """Let the thread end."""
        if self._thread is None or self._pool.abandoned:
            return
        self._stopped = True
        self._wake()
        self._thread.join(LOOK)  # not for long: whoever has this entry next rings the same bell

    def _begin(self) -> None:
        if self._pool.memory.shared:
            self._bell = self._pool.memory.bell(self._entry.index)
            self._thread = threading.Thread(target=self._serve, args=(self._bell,), name="pydag-pool", daemon=True)
            self._thread.start()

    def _wake(self) -> None:
        with self._pool.mutex:
            if self._bell is not None:
                self._pool.memory.ring(self._entry.index)

    def _serve(self, bell: int | None) -> None:
        poll = select.poll()
        if bell is not None:
            poll.register(bell, select.POLLIN)
        try:
            while not self._stopped:
                rung = bool(poll.poll(1000 * (_LULL if self._asleep else LOOK)))
                if rung and bell is not None:
                    with contextlib.suppress(BlockingIOError):
                        os.read(bell, 4096)
                if self._hear() or rung:
                    self._granted()
        finally:
            with self._pool.mutex:
                self._bell = None
                if bell is not None:
                    os.close(bell)

    def _hear(self) -> bool:
        """Look after the run's claims; return whether it should ask again."""
        with self._pool.mutex:
            if self._stopped:
                return False
            now = time.monotonic()
            waits = self._entry.waits
            if waits:
                self._entry.seen = self._until = now
            self._asleep = now - self._until > _LULL and not self._again and self._bell is not None
            again = self._again or self._entry.held > self._held
            self._again, self._held = False, self._entry.held
        if waits:
            self._pool.look()
        return again
