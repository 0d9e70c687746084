"""Waiting for a service that does not answer: it may take as long as it takes, but not in silence."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydag_gcp.attempt import Driver, Timer
    from pydag_gcp.operator import Context

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


class Patience:
    """That of one try, which waits for answers about its job.

    Args:
        ctx: The context of the try.
        job_id: The job.
        driver: Counts the time, and knows who else waits.
    """

    __slots__ = ("_ctx", "_driver", "_job_id", "_timer", "_trouble")

    def __init__(self, ctx: Context, job_id: str, driver: Driver) -> None:
        self._ctx = ctx
        self._job_id = job_id
        self._driver = driver
        self._timer: Timer | None = None
        self._trouble = ""

    def wait(self, error: BaseException) -> None:
        """Take note of a call without an answer; the first in a row starts the clock."""
        self._trouble = f": {error}"
        if self._timer is None:
            self._timer = self._driver.after(PATIENCE, self._tell)

    def end(self) -> None:
        """Take note that there was an answer, or that nobody waits for one any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._driver.outages.end(self)

    def _tell(self) -> None:
        target, task_id = self._ctx.target.name, self._ctx.task_id
        about = f"about job {self._job_id} of task {task_id!r}"
        self._ctx.log.warning("no answer for over %g s%s", PATIENCE, self._trouble)
        what = f"target {target!r} has not answered for over {PATIENCE:g} s {about}, and is asked again{self._trouble}"
        self._driver.outages.begin(self, what)
