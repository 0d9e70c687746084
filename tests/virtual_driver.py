"""A driver of tries, in no time."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from pydag_gcp.attempt import Attempt, End, Outcome
from pydag_gcp.errors import JobUnsettled, LeaseLost
from pydag_gcp.limits import Limits
from pydag_gcp.loop import Timer
from pydag_gcp.outages import Outages
from pydag_gcp.polling import Polling
from pydag_gcp.record import Record, Success
from pydag_gcp.states import TaskState
from pydag_gcp.store import Store


@contextmanager
def driving(folder: Path) -> Iterator[Virtual]:
    """A driver of the tries of run1, whose store lies in a folder."""
    with Store(f"sqlite:///{folder}/pydag.db") as store:
        moment = datetime(2026, 1, 1, tzinfo=UTC)
        store.start_run(
            run_id="run1",
            dag_id="a",
            target="local",
            logical_date=moment,
            definition={},
            pid=1,
            host="h",
            at=moment,
        )
        yield Virtual(store)


class Virtual:
    """Drives tries in no time: every call is answered at once, and a timer that is waited for is due."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.now = 0.0
        self.told: list[tuple[float, str]] = []
        self.outages = Outages(self._tell)
        self.limits = Limits({}, self._tell)
        self.polling = Polling(self, self._tell)
        self.setups: frozenset[str] = frozenset()
        self.ends: dict[Attempt, End] = {}
        self.unsettled: dict[Attempt, JobUnsettled] = {}
        #: Errors of looking at what a success has left, one each time; None: it is never looked at.
        self.observations: list[Exception] | None = None
        self.observed: list[tuple[float, bool]] = []
        self.lost = self.left = False
        self.reported: list[str] = []
        self._timers: list[Timer] = []
        self._numbers = itertools.count()

    def _tell(self, message: str) -> None:
        self.told.append((self.now, message))

    def clock(self) -> float:
        return self.now

    def moment(self) -> datetime:
        return datetime.now(UTC)

    def after(self, seconds: float, action: Callable[[], None]) -> Timer:
        timer = Timer(self.now + seconds, next(self._numbers), action)
        heapq.heappush(self._timers, timer)
        return timer

    def call(self, function: Callable[[], Any], then: Callable[[Outcome], None]) -> None:
        try:
            outcome = Outcome(value=function())
        except Exception as error:  # noqa: BLE001  as the executor does
            outcome = Outcome(error=error)
        self.after(0.01, partial(then, outcome))

    def work(self, slots: int, function: Callable[[], Any], then: Callable[[Outcome], None]) -> None:
        self.call(function, then)

    def begun(self, attempt: Attempt) -> None:
        ctx, job_id, reads = attempt.ctx, attempt.job_id or None, {"table p.d.t": "1"}
        self.store.start_try(ctx.run_id, ctx.task_id, ctx.try_number, job_id=job_id, at=attempt.started, reads=reads)
        self.report(attempt, TaskState.RUNNING)

    def report(self, attempt: Attempt, state: TaskState, detail: str = "") -> None:
        self.reported.append(f"{state.value}: {detail}")

    def wants_another(self, attempt: Attempt, end: End) -> bool:
        return False

    def settled(self) -> None:
        self.store.settled()

    def check_lease(self) -> None:
        if self.lost:
            self.left = True  # as the executor, which calls nothing back any more
            raise LeaseLost("somebody took over")

    def needs_observation(self, task_id: str) -> bool:
        return self.observations is not None

    def observe(self, attempt: Attempt, result: Any, *, last: bool) -> tuple[Record, ...]:
        self.observed.append((self.now, last))
        if self.observations and not last:
            raise self.observations.pop(0)
        return (record_of(attempt, result),)

    def ended(self, attempt: Attempt, end: End) -> None:
        self.ends[attempt] = end

    def leave(self, attempt: Attempt, error: JobUnsettled) -> None:
        self.unsettled[attempt] = error
        self.left = True

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        until = self.now + seconds
        while self._timers and self._timers[0].due <= until and not self.left:
            timer = heapq.heappop(self._timers)
            if not timer.cancelled:
                self.now = max(self.now, timer.due)
                timer.action()
        self.now = until


def record_of(attempt: Attempt, result: Any) -> Record:
    """What is remembered of a success."""
    return Record(
        dag_id=attempt.ctx.dag_id,
        target="local",
        task_id=attempt.ctx.task_id,
        fingerprint="f",
        parts={},
        date="",
        success=Success(run_id=attempt.ctx.run_id, try_number=attempt.ctx.try_number),
        at=datetime(2026, 1, 1, tzinfo=UTC),
        reads={},
        upstream={},
        writes={},
        result=result,
        accumulating=False,
        expires=None,
    )
