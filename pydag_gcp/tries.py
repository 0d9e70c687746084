"""The tries of a run's tasks: begun, taken up, made again by the retry policy, ended."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from itertools import chain
from typing import Any, Protocol, cast

from pydag_gcp.attempt import Attempt, End, LocalAttempt
from pydag_gcp.errors import JobUnsettled, LeaseLost, PydagError, StoreError
from pydag_gcp.lease import Lease
from pydag_gcp.ledger import Ledger
from pydag_gcp.limits import Limits
from pydag_gcp.logs import RunLogs
from pydag_gcp.loop import Timer
from pydag_gcp.operator import Operator, RemoteOperator
from pydag_gcp.outages import Outages
from pydag_gcp.planner import Plan
from pydag_gcp.polling import Polling
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

    def end_task(
        self,
        task_id: str,
        state: TaskState,
        result: Any = None,
        records: tuple[Record, ...] = (),
        *,
        error: str | None = None,
        try_number: int | None = None,
    ) -> None:
        """Take the end of a task, and of a try of it in the same way, with the records of its success."""

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
        self.limits = Limits(plan.dag.limits, ledger.warn)
        self.polling = Polling(self, ledger.warn)
        self.setups = frozenset(chain.from_iterable(plan.teardowns.values()))
        # What is only passed on, and often asked for.
        self.clock, self.moment = threads.loop.clock, threads.loop.moment
        self.work, self.call, self.after = threads.work, threads.call, threads.after
        self.needs_observation = verdicts.needs_observation
        self.uncounted = defaultdict[str, int](int)
        self._plan = plan
        self._lease = lease
        self._threads = threads
        self._ledger = ledger
        self._verdicts = verdicts
        self._course = course
        self._active: dict[str, Attempt] = {}
        self._retrying: dict[str, Timer] = {}
        self._logs = RunLogs(plan.logs, ledger.redact, log_handler, self._is_over)
        self._context = replace(plan.context, logs=self._logs.of, max_bytes=plan.max_bytes)
        self._cancelled = False

    def unwatched(self, error: StoreError) -> StoreError:
        """The error that ends the run, with the ids of the jobs that go on."""
        jobs = ", ".join(attempt.job_id for attempt in self._active.values() if attempt.job_id)
        if not jobs:
            return error
        return StoreError(f"{error.what}; not watched any more: {jobs}", where=error.where, hint=error.hint)

    def begin(self, task_id: str, left: OpenTry | None = None) -> None:
        """Begin a try, or take up one that another process left."""
        number = left.number if left else self._ledger.rows[task_id].tries + 1
        self._active[task_id] = attempt = self._attempt(task_id, number)
        if attempt.service is not None:
            self.limits.begin(attempt.service)
        if left is None or not isinstance(attempt, RemoteAttempt):
            attempt.start()
        else:
            self._take_up(attempt, left)

    def _take_up(self, attempt: RemoteAttempt, left: OpenTry) -> None:
        task_id = attempt.ctx.task_id
        self._ledger.take_up(task_id, left.number, self._verdicts.of(task_id).reason, at=left.started)
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
        self._active.clear()
        self._logs.close_all()

    def _attempt(self, task_id: str, number: int) -> Attempt:
        task, ctx = self._plan.tasks[task_id], self._context.of_try(task_id, number)
        if ctx.max_bytes is not None:
            ctx = replace(ctx, max_bytes=self._ledger.bytes_left)
        if is_remote(type(task)):
            return RemoteAttempt(cast("RemoteOperator", task), ctx, self)
        return LocalAttempt(task, ctx, self)

    def _is_over(self, task_id: str, number: int) -> bool:
        attempt = self._active.get(task_id)
        return attempt is None or attempt.ctx.try_number != number

    def _outlives_cancel(self, task_id: str) -> bool:
        return task_id in self._plan.teardowns

    # ends of tries -----------------------------------------------------------------------------------------------

    def ended(self, attempt: Attempt, end: End) -> None:
        """Take the end of a try; see :class:`pydag_gcp.attempt.Driver`."""
        task_id, number = attempt.ctx.task_id, attempt.ctx.try_number
        again, text = (False, None) if end.error is None else self._judged(attempt, end, end.error)
        del self._active[task_id]
        if attempt.service is not None:
            self.limits.end(attempt.service)
        self._logs.close(task_id, number)
        if again:
            self.store.end_try(self._plan.run_id, task_id, number, end.state, error=text, at=self.moment())
            self._try_later(task_id, number, text)
        else:
            self._course.end_task(task_id, end.state, end.result, end.records, error=text, try_number=number)

    def leave(self, attempt: Attempt, error: JobUnsettled) -> None:
        """Leave a try open, and with it the run; see :class:`pydag_gcp.attempt.Driver`."""
        attempt.ctx.log.error("%s", self._ledger.redact.said(error))
        self._course.fail(error)

    def _judged(self, attempt: Attempt, end: End, error: BaseException) -> tuple[bool, str]:
        """Tell whether another try follows one that failed, and why it failed."""
        again, text = self.wants_another(attempt, end), self._told(attempt, error, end)
        if again and end.free:
            self.uncounted[attempt.ctx.task_id] += 1
            text = INTERRUPTED
        return again, text

    def _told(self, attempt: Attempt, error: BaseException, end: End) -> str:
        """Say why a try failed, and log that."""
        text = self._ledger.redact.said(error)
        attempt.ctx.log.error("%s", text, exc_info=error if not isinstance(error, PydagError) else None)
        held_back = end.held_back and not end.again and self._policy_wants(attempt, error)
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

    def begun(self, attempt: Attempt) -> None:
        """See :class:`pydag_gcp.attempt.Driver`."""
        ctx, at, job_id = attempt.ctx, attempt.started, attempt.job_id or None
        task_id, number, verdicts = ctx.task_id, ctx.try_number, self._verdicts
        self.store.start_try(ctx.run_id, task_id, number, job_id=job_id, at=at, reads=verdicts.reads(task_id))
        self._ledger.begin(task_id, number, verdicts.of(task_id).reason, job_id, at=at)

    def report(self, attempt: Attempt, state: TaskState, detail: str = "") -> None:
        """See :class:`pydag_gcp.attempt.Driver`."""
        self._ledger.change(attempt.ctx.task_id, state, detail, job_id=attempt.job_id or None)

    def check_lease(self) -> None:
        """See :class:`pydag_gcp.attempt.Driver`."""
        try:
            self._lease.check()
        except (LeaseLost, StoreError) as error:
            self._fail_soon(error)
            raise

    def settled(self) -> None:
        """See :class:`pydag_gcp.attempt.Driver`."""
        try:
            self.store.settled()
        except (LeaseLost, StoreError) as error:
            self._fail_soon(error)
            raise

    def observe(self, attempt: Attempt, result: Any, *, last: bool) -> tuple[Record, ...]:
        """See :class:`pydag_gcp.attempt.Driver`."""
        success = Success(run_id=self._plan.run_id, try_number=attempt.ctx.try_number)
        try:
            return self._verdicts.observe(attempt.ctx.task_id, success, self._ledger.redact.within(result), last=last)
        except StoreError as error:  # a success that is not recorded would be repeated: leave it to whoever resumes
            self._fail_soon(error)
            raise

    def _fail_soon(self, error: BaseException) -> None:
        """Have the run left as it is, where another thread finds that it cannot be driven on."""
        self._threads.loop.soon(partial(self._course.fail, error))


@cache
def is_remote(kind: type[Operator]) -> bool:
    """Whether the work of such tasks are jobs in the cloud; remembered, as it is asked of every task."""
    return issubclass(kind, RemoteOperator)
