"""The threads of a run, its processors, and the loop in which one thread hears what the others did."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Self

from pydag_gcp.attempt import Outcome
from pydag_gcp.loop import Loop
from pydag_gcp.processors import Share
from pydag_gcp.workers import Workers

#: Threads for calls that hold no processor. One is enough unless the service is slow to answer.
_CALLERS = 4


class Threads:
    """Workers on processors, callers beside them, and the loop of the thread that drives; a context manager.

    Args:
        share: The processors that the run may hold.
        loop: Where outcomes arrive.

    Attributes:
        share: As given.
        loop: As given.
        after: Has an action called in the loop, in so many seconds; may be cancelled.
    """

    def __init__(self, share: Share, loop: Loop) -> None:
        self.share = share
        self.loop = loop
        self.after = loop.after
        self._workers = Workers("pydag-processor", share.size)
        self._callers = Workers("pydag-caller", _CALLERS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Let every thread end once it has nothing to do, and give all processors back. Does not wait."""
        self._workers.close()
        self._callers.close()
        self.share.leave()

    def work(self, slots: int, function: Callable[[], Any], then: Callable[[Outcome], None]) -> None:
        """Call ``function`` on a worker, then ``then`` in the loop.

        Args:
            slots: The processors that were taken for it, and are given back when its outcome is heard.
            function: What to do.
            then: Takes its outcome.
        """
        workers = self._workers
        workers.submit(partial(self._work, workers, slots, function, then))

    def call(self, function: Callable[[], Any], then: Callable[[Outcome], None]) -> None:
        """Call ``function``, which is short and holds no processor, then ``then`` in the loop."""
        self._callers.submit(partial(self._call, function, then))

    def give_up_workers(self) -> None:
        """Give all processors back: a function that does not return must not keep anybody waiting any more."""
        self._workers.close()
        self._workers = Workers("pydag-processor", self.share.size)
        self.share.give(self.share.held)

    def _work(self, workers: Workers, slots: int, function: Callable[[], Any], then: Callable[[Outcome], None]) -> None:
        self.loop.soon(partial(self._worked, workers, slots, then, _outcome_of(function)))

    def _call(self, function: Callable[[], Any], then: Callable[[Outcome], None]) -> None:
        self.loop.soon(partial(then, _outcome_of(function)))

    def _worked(self, workers: Workers, slots: int, then: Callable[[Outcome], None], outcome: Outcome) -> None:
        if workers is self._workers:  # and not those that were given up, with all that they held
            self.share.give(slots)
        then(outcome)


def _outcome_of(function: Callable[[], Any]) -> Outcome:
    try:
        return Outcome(function())
    except BaseException as error:  # noqa: BLE001 - a task's own code: whatever it raises is its outcome
        return Outcome(error=error)
