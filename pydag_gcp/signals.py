"""SIGINT and SIGTERM, handed to whoever drives a run."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def handled(handler: Callable[[int], None]) -> Iterator[None]:
    """Have ``handler`` called with the number of each SIGINT and SIGTERM inside the block.

    It is called between any two instructions of the main thread. In another thread the block hears no signals, as
    Python allows handlers in the main thread only.
    """
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
