"""The tries of a run's tasks: begun, taken up, made again by the retry policy, ended."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol

from pydag_gcp.attempt import Attempt, End, LocalAttempt, Outcome
from pydag_gcp.errors import JobUnsettled, LeaseLost, PydagError, StoreError
from pydag_gcp.lease import Lease
from pydag_gcp.ledger import Ledger
from pydag_gcp.logs import TryLog
from pydag_gcp.loop import Timer
from pydag_gcp.operator import Context, Operator, RemoteOperator
from pydag_gcp.outages import Outages
from pydag_gcp.planner import Plan
from pydag_gcp.record import Record, Success
from pydag_gcp.remote_attempt import RemoteAttempt
from pydag_gcp.resumption import INTERRUPTED, OpenTry
from pydag_gcp.states import TaskState
from pydag_gcp.store import Store
from pydag_gcp.threads import Threads
from pydag_gcp.verdicts import Verdicts

LogHandler = Callable[[str, int], logging.Handler]


class Course(Protocol):
    """What tries need of the run that they belong to."""

    def again(self, task_id: str) -> None:
        """Have another try of a task begin, as soon as there is a processor."""

    def end_task(self, task_id: str, state: TaskState, *, result: Any = None, error: str | None = None) -> None:
        """Take the end of a task."""

    def fail(self, error: BaseException) -> None:
        """Leave the run as it is."""


class Tries:
    """The tries that go on, and those that wait; what an attempt needs (:class:`pydag_gcp.attempt.Driver`).

    Args:
        plan: What the run does.
        store: Where tries are recorded.
        lease: The run's; nothing is done without it.
        threads: Does what blocks.
        ledger: What is known of the run.
        verdicts: Why tasks run, and what is remembered of their successes.
        course: The run.
        log_handler: Makes a handler of what a try logs, beside its file.

    Attributes:
        uncounted: Task id -> how many of its tries do not count against the retry policy.
    """

    def __init__(
        self,
        plan: Plan,
        store: Store,
        lease: Lease,
        threads: Threads,
        ledger: Ledger,
        verdicts: Verdicts,
        course: Course,
        log_handler: LogHandler | None,
    ) -> None:
        self.store = store
        self.outages = Outages(ledger.warn)
        self.uncounted = defaultdict[str, int](int)
        self._plan = plan
        self._lease = lease
        self._threads = threads
        self._ledger = ledger
        self._verdicts = verdicts
        self._course = course
        self._log_handler = log_handler
        self._active: dict[str, Attempt] = {}
        self._retrying: dict[str, Timer] = {}
        self._logs: dict[Attempt, TryLog] = {}
        self._cancelled = False

    @property
    def jobs(self) -> list[str]:
        """The ids of the jobs that go on."""
        return [attempt.job_id for attempt in self._active.values() if attempt.job_id]

    def begin(self, task_id: str, left: OpenTry | None = None) -> None:
        """Begin a try, or take up one that another process left."""
        number = left.number if left else self._ledger.tasks[task_id].tries + 1
        log = self._log(task_id, number)
        ctx = replace(self._plan.context_of(task_id, number, log.logger), max_bytes=self._ledger.bytes_left)
        attempt = self._attempt(self._plan.tasks[task_id], ctx)
        began = left.started if left else attempt.started
        self._ledger.begin(task_id, number, at=began, reason=self._verdicts.of(task_id).reason)
        self._active[task_id] = attempt
        self._logs[attempt] = log
        if left is None or not isinstance(attempt, RemoteAttempt):
            attempt.start()
            return
        attempt.attach(left.handle, started=left.started)
        if self._cancelled and not self._outlives_cancel(task_id):
            attempt.cancel()

    def cancel_waiting(self) -> None:
        """End the tasks that wait for their next try, save for teardowns."""
        self._cancelled = True
        for task_id in [task_id for task_id in self._retrying if not self._outlives_cancel(task_id)]:
            self._retrying.pop(task_id).cancel()
            self._course.end_task(task_id, TaskState.CANCELLED)

    def cancel(self) -> None:
        """End the tries that go on, save for those of teardowns."""
        for task_id, attempt in list(self._active.items()):
            if not self._outlives_cancel(task_id):
                attempt.cancel()

    def close(self) -> None:
        """Drop what is logged from now on."""
        for log in self._logs.values():
            log.close()

    def _attempt(self, task: Operator, ctx: Context) -> Attempt:
        return RemoteAttempt(task, ctx, self) if isinstance(task, RemoteOperator) else LocalAttempt(task, ctx, self)

    def _log(self, task_id: str, number: int) -> TryLog:
        also = self._log_handler(task_id, number) if self._log_handler else None
        return TryLog(self._plan.logs / task_id / f"{number}.log", self._ledger.redact, also)

    def _outlives_cancel(self, task_id: str) -> bool:
        return task_id in self._plan.teardowns

    # ends of tries -----------------------------------------------------------------------------------------------

    def ended(self, attempt: Attempt, end: End) -> None:
        """Take the end of a try; see :class:`pydag_gcp.attempt.Driver`."""
        task_id, number = attempt.ctx.task_id, attempt.ctx.try_number
        again = self.wants_another(attempt, end)
        text = self._told(attempt, end) if end.error is not None else None
        if again and end.free:
            self.uncounted[task_id] += 1
            text = INTERRUPTED
        del self._active[task_id]
        self._logs.pop(attempt).close()
        with self.store.together():  # so that no kill can part a task's end from its last try's, nor from its record
            self.store.end_try(self._plan.run_id, task_id, number, end.state, error=text, at=datetime.now(UTC))
            self._verdicts.keep(end.records)
            if not again:
                self._course.end_task(task_id, end.state, result=end.result, error=text)
        if again:
            self._try_later(task_id, number, text)

    def leave(self, attempt: Attempt, error: JobUnsettled) -> None:
        """Leave a try open, and with it the run; see :class:`pydag_gcp.attempt.Driver`."""
        attempt.ctx.log.error("%s", self._ledger.redact.said(error))
        self._course.fail(error)

    def _told(self, attempt: Attempt, end: End) -> str:
        """Say why a try failed, and log that."""
        assert end.error is not None  # noqa: S101 - the caller has looked
        text = self._ledger.redact.said(end.error)
        attempt.ctx.log.error("%s", text, exc_info=end.error if not isinstance(end.error, PydagError) else None)
        held_back = end.held_back and not end.again and self._policy_wants(attempt, end.error)
        return f"{text}; {end.held_back}" if held_back else text

    def wants_another(self, attempt: Attempt, end: End) -> bool:
        """Tell whether another try would follow; see :class:`pydag_gcp.attempt.Driver`."""
        if end.error is None or (self._cancelled and not self._outlives_cancel(attempt.ctx.task_id)):
            return False
        return end.free or (end.again and self._policy_wants(attempt, end.error))

    def _policy_wants(self, attempt: Attempt, error: BaseException) -> bool:
        policy = self._plan.dag.retry_of(attempt.task)
        remote = isinstance(attempt.task, RemoteOperator)
        counted = self._counted(attempt.ctx.task_id, attempt.ctx.try_number)
        return counted < policy.attempts and policy.wants(error, transient_only=remote)

    def _counted(self, task_id: str, number: int) -> int:
        """The number of a try among those that count against the retry policy."""
        return max(number - self.uncounted[task_id], 1)

    def _try_later(self, task_id: str, number: int, error: str | None) -> None:
        delay = self._plan.dag.retry_of(self._plan.tasks[task_id]).delay(self._counted(task_id, number))
        self._ledger.change(task_id, TaskState.UP_FOR_RETRY, f"tries again in {delay:.1f} s", error=error)
        self._retrying[task_id] = self.after(delay, partial(self._try_again, task_id))

    def _try_again(self, task_id: str) -> None:
        del self._retrying[task_id]
        self._ledger.change(task_id, TaskState.QUEUED)
        self._course.again(task_id)

    # what an attempt needs (Driver) ------------------------------------------------------------------------------

    def clock(self) -> float:
        """Seconds on a clock that never goes back."""
        return self._threads.loop.clock()

    def work(self, attempt: Attempt, function: Callable[[], Any], then: Callable[[Outcome], None]) -> None:
        """See :class:`pydag_gcp.attempt.Driver`."""
        self._threads.work(attempt.task.slots, function, then)

    def call(self, function: Callable[[], Any], then: Callable[[Outcome], None]) -> None:
        """See :class:`pydag_gcp.attempt.Driver`."""
        self._threads.call(function, then)

    def after(self, seconds: float, action: Callable[[], None]) -> Timer:
        """See :class:`pydag_gcp.attempt.Driver`."""
        return self._threads.after(seconds, action)

    def report(self, attempt: Attempt, state: TaskState, detail: str = "") -> None:
        """See :class:`pydag_gcp.attempt.Driver`."""
        self._ledger.change(attempt.ctx.task_id, state, detail, job_id=attempt.job_id or None)

    def check_lease(self) -> None:
        """See :class:`pydag_gcp.attempt.Driver`."""
        try:
            self._lease.check()
        except (LeaseLost, StoreError) as error:
            self._threads.loop.soon(partial(self._course.fail, error))
            raise

    def reads(self, attempt: Attempt) -> Mapping[str, str | None]:
        """See :class:`pydag_gcp.attempt.Driver`."""
        return self._verdicts.reads(attempt.ctx.task_id)

    def needs_observation(self, attempt: Attempt) -> bool:
        """See :class:`pydag_gcp.attempt.Driver`."""
        return self._verdicts.needs_observation(attempt.ctx.task_id)

    def observe(self, attempt: Attempt, result: Any, *, last: bool) -> tuple[Record, ...]:
        """See :class:`pydag_gcp.attempt.Driver`."""
        success = Success(run_id=self._plan.run_id, try_number=attempt.ctx.try_number)
        try:
            return self._verdicts.observe(attempt.ctx.task_id, success, self._ledger.redact.within(result), last=last)
        except StoreError as error:  # a success that is not recorded would be repeated: leave it to whoever resumes
            self._threads.loop.soon(partial(self._course.fail, error))
            raise
