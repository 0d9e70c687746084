"""The threads of a run, and the loop in which one of them hears what the others did."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from pydag_gcp.attempt import Outcome
from pydag_gcp.loop import Loop, Timer
from pydag_gcp.processors import Workers

#: Threads for calls that hold no processor. One is enough unless the service is slow to answer.
_CALLERS = 4


class Threads:
    """Workers on processors, callers beside them, and the loop of the thread that drives.

    Args:
        size: Processors.

    Attributes:
        size: Processors.
        free: Those of them that nobody holds.
        loop: Where outcomes arrive.
    """

    def __init__(self, size: int) -> None:
        self.size = self.free = size
        self.loop = Loop()
        self._workers = Workers("pydag-processor", size)
        self._callers = Workers("pydag-caller", _CALLERS)

    def fits(self, slots: int) -> bool:
        """Whether so many processors are free; of a task that wants more than there are, whether all are."""
        return self.free >= min(slots, self.size)

    def work(self, slots: int, function: Callable[[], Any], then: Callable[[Outcome], None]) -> None:
        """Call ``function`` on a worker that holds so many processors, then ``then`` in the loop."""
        held = min(slots, self.size)
        self.free -= held

        def free_then(outcome: Outcome) -> None:
            self.free = min(self.free + held, self.size)
            then(outcome)

        self._workers.submit(partial(self._call, function, free_then))

    def call(self, function: Callable[[], Any], then: Callable[[Outcome], None]) -> None:
        """Call ``function``, which is short and holds no processor, then ``then`` in the loop."""
        self._callers.submit(partial(self._call, function, then))

    def after(self, seconds: float, action: Callable[[], None]) -> Timer:
        """Have ``action`` called in the loop, in ``seconds``."""
        return self.loop.after(seconds, action)

    def give_up_workers(self) -> None:
        """Free all processors: a function that does not return must not keep anybody waiting any more."""
        self._workers.close()
        self._workers = Workers("pydag-processor", self.size)
        self.free = self.size

    def close(self) -> None:
        """Let every thread end once it has nothing to do. Does not wait."""
        self._workers.close()
        self._callers.close()

    def _call(self, function: Callable[[], Any], then: Callable[[Outcome], None]) -> None:
        try:
            outcome = Outcome(value=function())
        except BaseException as error:  # noqa: BLE001 - a task's own code: whatever it raises is its outcome
            outcome = Outcome(error=error)
        self.loop.soon(partial(then, outcome))
