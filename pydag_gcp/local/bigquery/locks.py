"""Locks on names: who may write which table, so that DuckDB never sees two writers of one table."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager


class GivenUp(Exception):
    """Whoever waited for a lock no longer wants it."""


class NameLocks:
    """Shared and exclusive locks on any hashable name, taken all at once or not at all.

    Taking them all at once makes a deadlock impossible: whoever waits holds nothing.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._exclusive: set[str] = set()
        self._shared: Counter[str] = Counter()

    @contextmanager
    def hold(
        self,
        exclusive: Collection[str] = (),
        shared: Collection[str] = (),
        *,
        given_up: Callable[[], bool] = lambda: False,
    ) -> Iterator[None]:
        """Wait until all names are free for us, then hold them for the length of the ``with`` block.

        Args:
            exclusive: Names nobody else may hold at the same time.
            shared: Names that others may share, but not hold exclusively.
            given_up: Asked while waiting, and again whenever :meth:`wake` is called.

        Raises:
            GivenUp: ``given_up`` said so before the names were free.
        """
        alone, together = set(exclusive), set(shared) - set(exclusive)
        with self._changed:
            self._changed.wait_for(lambda: given_up() or self._free(alone, together))
            if given_up():
                raise GivenUp
            self._exclusive |= alone
            self._shared.update(together)
        try:
            yield
        finally:
            with self._changed:
                self._exclusive -= alone
                self._shared.subtract(together)
                self._shared += Counter()  # drops the zeros
                self._changed.notify_all()

    def wake(self) -> None:
        """Let everyone who waits ask again whether it has given up."""
        with self._changed:
            self._changed.notify_all()

    def _free(self, exclusive: set[str], shared: set[str]) -> bool:
        taken = self._exclusive
        return taken.isdisjoint(exclusive | shared) and exclusive.isdisjoint(self._shared)
