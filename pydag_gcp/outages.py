"""Waiting for a service that does not answer: it may take as long as it takes, but not in silence."""

from __future__ import annotations

from collections.abc import Callable, Hashable

#: Seconds without an answer after which the user is told.
PATIENCE = 10.0


class Outages:
    """Who has waited for an answer for long. The user is told of the first one only: a thousand jobs may wait.

    Args:
        tell: Called with what to say.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._waiting: set[Hashable] = set()

    def begin(self, who: Hashable, message: str) -> None:
        """Take note of someone who waits; ``message`` is told unless others waited already."""
        if not self._waiting:
            self._tell(message)
        self._waiting.add(who)

    def end(self, who: Hashable) -> None:
        """Take note of someone who waits no longer."""
        self._waiting.discard(who)
