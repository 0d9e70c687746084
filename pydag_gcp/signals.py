"""SIGINT and SIGTERM, handed to whoever drives a run."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Handler = Callable[[int], None]


class Relay:
    """Hands the signals that the main thread hears to those who drive runs in other threads.

    Attributes:
        heard: Whether there was a signal: nobody begins to drive a run any more.
    """

    def __init__(self) -> None:
        self.heard = False
        self._handlers: list[Handler] = []

    @property
    def drives(self) -> bool:
        """Whether anybody drives a run now."""
        return bool(self._handlers)

    def hand_on(self, number: int) -> None:
        """Hand a signal to everybody."""
        self.heard = True
        for handler in tuple(self._handlers):
            handler(number)

    @contextmanager
    def handled(self, handler: Handler) -> Iterator[None]:
        """See :func:`handled`.

        Raises:
            KeyboardInterrupt: The signal came before the block, so that nothing of it happens.
        """
        self._handlers.append(handler)  # before the look, or a signal between the two would be lost
        try:
            if self.heard:
                raise KeyboardInterrupt
            yield
        finally:
            self._handlers.remove(handler)


_relay: ContextVar[Relay | None] = ContextVar("relay", default=None)


@contextmanager
def handled(handler: Handler) -> Iterator[None]:
    """Have ``handler`` called with the number of each SIGINT and SIGTERM inside the block.

    It is called between any two instructions of the main thread, as Python allows handlers in that one only. In another
    thread the block hears no signals, unless its context comes from a :func:`relayed` block of the main thread.
    """
    if (relay := _relay.get()) is not None:
        with relay.handled(handler):
            yield
        return
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda received, _frame: handler(received)) for number in numbers}
    try:
        yield
    finally:
        for number, previous in before.items():
            # None: it was set by no Python code, so Python cannot set it back
            signal.signal(number, previous if previous is not None else signal.SIG_DFL)


@contextmanager
def relayed() -> Iterator[Relay]:
    """Hand each signal inside the block to all who handle signals in threads that have a copy of its context."""
    relay = Relay()
    with handled(relay.hand_on):
        token = _relay.set(relay)
        try:
            yield relay
        finally:
            _relay.reset(token)
