"""One try of a task, from its start to its end.

An attempt lives in the executor's one driving thread: its methods never block and never run at the same time. What
blocks is handed to the driver, which calls back with the :class:`Outcome`. The rules of "exactly once" are kept here:

* the id of a remote job is durable in the store before it is sent;
* a submit whose answer is lost or refused as transient is sent again under the same id: that is no new try;
* the try ends only when the job is seen finished, or its submit was definitely rejected;
* timeout and cancel request the job's end, then look until it has ended; if it succeeded after all, it succeeded.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

from pydag_gcp.errors import TaskError, TaskTimeout
from pydag_gcp.operator import Context, Done, Failed, Operator, RemoteOperator, Running, Status, remote_id
from pydag_gcp.retry import RESEND, is_transient
from pydag_gcp.states import TaskState
from pydag_gcp.store import Store

#: Seconds for which a submit is sent again before the task fails, its outcome unknown.
RESEND_LIMIT = 600.0
#: A job is looked at after a tenth of the time it has taken so far, within these bounds, in seconds.
POLL_EVERY = (0.05, 5.0)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a call: a value, or the error it raised."""

    value: Any = None
    error: BaseException | None = None


@dataclass(frozen=True, kw_only=True)
class End:
    """How a try ended.

    Attributes:
        state: ``success``, ``failed`` or ``cancelled``.
        error: Why it failed.
        again: Whether another try would be safe: nothing of this one is left behind, and nothing still runs.
    """

    state: TaskState
    result: Any = None
    error: BaseException | None = None
    again: bool = True


class Timer(Protocol):
    """Something that will happen."""

    def cancel(self) -> None:
        """Make it not happen."""


class Driver(Protocol):
    """What an attempt needs of the executor."""

    store: Store

    def work(self, attempt: Attempt, function: Callable[[], Any], then: Callable[[Outcome], None]) -> None:
        """Call ``function`` on the processor that the attempt holds, then ``then``; the processor is free again."""

    def call(self, function: Callable[[], Any], then: Callable[[Outcome], None]) -> None:
        """Make one short API call that holds no processor, then ``then``."""

    def after(self, seconds: float, action: Callable[[], None]) -> Timer:
        """Call ``action`` in ``seconds``."""

    def clock(self) -> float:
        """Seconds on a clock that never goes back."""

    def report(self, attempt: Attempt, state: TaskState, detail: str = "") -> None:
        """Tell whoever watches."""

    def wants_another(self, attempt: Attempt, end: End) -> bool:
        """Tell whether another try would follow this end."""

    def ended(self, attempt: Attempt, end: End) -> None:
        """Take the end of a try."""


class Attempt(ABC):
    """One try; see :class:`LocalAttempt` and :class:`RemoteAttempt`.

    Args:
        task: The rendered task.
        ctx: Its context; names the try.
        driver: Does what blocks.
    """

    #: The id of its remote job, chosen beforehand; empty for local work.
    job_id: str = ""

    def __init__(self, task: Operator, ctx: Context, driver: Driver) -> None:
        self.task = task
        self.ctx = ctx
        self.driver = driver
        self.started = datetime.now(UTC)
        self._began = driver.clock()
        self._over = False
        self._deadline: Timer | None = None

    def start(self) -> None:
        """Begin. The caller has given it a processor.

        Raises:
            StoreError: The try could not be recorded, so it was not begun.
        """
        ctx = self.ctx
        self.driver.store.start_try(
            ctx.run_id, ctx.task_id, ctx.try_number, job_id=self.job_id or None, at=self.started
        )
        self.driver.report(self, TaskState.RUNNING)
        if self.task.timeout is not None:
            self._deadline = self.driver.after(self.task.timeout.total_seconds(), self._timed_out)
        self._start()

    @abstractmethod
    def cancel(self) -> None:
        """End it as ``cancelled``, as soon as that is true."""

    @abstractmethod
    def _start(self) -> None: ...

    @abstractmethod
    def _timed_out(self) -> None: ...

    def _timeout_end(self, *, again: bool) -> End:
        seconds = self.task.timeout.total_seconds() if self.task.timeout else 0.0
        hint = "raise its timeout if that is too short"
        error = TaskTimeout(f"timed out after {seconds:g} s", transient=True, hint=hint)
        return End(state=TaskState.FAILED, error=error, again=again)

    def _end(self, end: End) -> None:
        if self._over:
            return
        self._over = True
        if self._deadline is not None:
            self._deadline.cancel()
        self.driver.ended(self, end)


class LocalAttempt(Attempt):
    """Local work on a processor. A thread cannot be cut: what timed out keeps its processor until it returns."""

    _late = False

    def cancel(self) -> None:
        """End it at once; its thread may go on for a while, and its result is dropped."""
        self._end(End(state=TaskState.CANCELLED))

    def _start(self) -> None:
        self.driver.work(self, lambda: self.task.execute(self.ctx), self._returned)

    def _timed_out(self) -> None:
        self._late = True
        self.ctx.log.error("timed out; its thread cannot be cut and keeps its processor until it returns")
        end = self._timeout_end(again=True)
        if self.driver.wants_another(self, end):
            self.driver.report(self, TaskState.RUNNING, "timed out, waits for its thread to return")
        else:
            self._end(end)

    def _returned(self, outcome: Outcome) -> None:
        if self._late:
            self._end(self._timeout_end(again=True))
        elif outcome.error is not None:
            self._end(End(state=TaskState.FAILED, error=outcome.error))
        else:
            self._end(End(state=TaskState.SUCCESS, result=outcome.value))


class RemoteAttempt(Attempt):
    """A job in the cloud: submitted on a processor, then only looked at."""

    task: RemoteOperator

    def __init__(self, task: RemoteOperator, ctx: Context, driver: Driver) -> None:
        super().__init__(task, ctx, driver)
        self.job_id = remote_id(ctx.run_id, ctx.task_id, ctx.try_number)
        self._handle: Mapping[str, Any] | None = None
        self._resends = 0
        self._cancelling: Literal["cancel", "timeout"] | None = None
        self._detail = ""

    def cancel(self) -> None:
        """Request the job's end; the try ends when the job has."""
        self._request_end("cancel")

    def _start(self) -> None:
        self.driver.work(self, self._submit, self._answered)

    def _timed_out(self) -> None:
        self._request_end("timeout")

    # submit ------------------------------------------------------------------------------------------------------

    def _submit(self) -> dict[str, Any]:
        self.ctx.log.info("submitting job %s", self.job_id)
        return self.task.submit(self.ctx, self.job_id)

    def _submit_again(self) -> dict[str, Any]:
        self.ctx.clients.revive()
        return self._submit()

    def _answered(self, outcome: Outcome) -> None:
        error = outcome.error
        if error is None:
            self._accepted(outcome.value)
        elif not is_transient(error):
            self._end(End(state=TaskState.FAILED, error=error))
        elif self._elapsed() > RESEND_LIMIT:
            lost = TaskError(
                f"cannot tell whether job {self.job_id} was accepted: {error}", hint="look for it before you run again"
            )
            self._end(End(state=TaskState.FAILED, error=lost, again=False))
        else:
            self._resends += 1
            delay = RESEND.delay(self._resends)
            self.ctx.log.warning("sending job %s again in %.1f s: %s", self.job_id, delay, error)
            self.driver.report(self, TaskState.RUNNING, f"sends the same job again: {error}")
            self.driver.after(delay, lambda: self.driver.call(self._submit_again, self._answered))

    def _accepted(self, handle: Mapping[str, Any]) -> None:
        self._handle = handle
        ctx, now = self.ctx, datetime.now(UTC)
        self.driver.store.submitted(ctx.run_id, ctx.task_id, ctx.try_number, handle=handle, at=now)
        self.driver.report(self, TaskState.DEFERRED, f"job {self.job_id}")
        if self._cancelling is not None:
            self._send_cancel()
        self._poll_later()

    # poll --------------------------------------------------------------------------------------------------------

    def _elapsed(self) -> float:
        return self.driver.clock() - self._began

    def _poll_later(self) -> None:
        shortest, longest = POLL_EVERY
        delay = min(max(self._elapsed() / 10, shortest), 0.5 if self._cancelling else longest)
        self.driver.after(delay, lambda: self.driver.call(self._poll, self._polled))

    def _poll(self) -> Status:
        return self.task.poll(self.ctx, self._handle or {})

    def _polled(self, outcome: Outcome) -> None:
        match outcome:
            case Outcome(error=None, value=Running(detail=detail)):
                if detail != self._detail:
                    self._detail = detail
                    self.driver.report(self, TaskState.DEFERRED, detail)
                self._poll_later()
            case Outcome(error=None, value=Done()):
                self.driver.call(lambda: self.task.result(self.ctx, self._handle or {}), self._fetched)
            case Outcome(error=None, value=Failed() as failed):
                self._failed(failed)
            case Outcome(error=BaseException() as error) if is_transient(error):
                self.ctx.log.warning("cannot look at job %s now: %s", self.job_id, error)
                self.driver.report(self, TaskState.DEFERRED, f"cannot look at the job now: {error}")
                self.driver.after(1.0, lambda: self.driver.call(self._poll_revived, self._polled))
            case Outcome(error=error):
                self._end(End(state=TaskState.FAILED, error=self._unfollowed(error), again=False))

    def _poll_revived(self) -> Status:
        self.ctx.clients.revive()
        return self._poll()

    def _unfollowed(self, error: BaseException | None) -> TaskError:
        return TaskError(f"cannot follow job {self.job_id}, which may still run: {error}")

    def _failed(self, failed: Failed) -> None:
        if self._cancelling == "timeout":
            self.ctx.log.error("stopped: %s", failed.reason)
            self._end(self._timeout_end(again=self._may_repeat()))
        elif self._cancelling == "cancel":
            self._end(End(state=TaskState.CANCELLED))
        else:
            error = TaskError(failed.reason, transient=failed.transient)
            self._end(End(state=TaskState.FAILED, error=error, again=self._may_repeat()))

    def _may_repeat(self) -> bool:
        return self.task.idempotent or self.task.atomic(self.ctx)

    def _fetched(self, outcome: Outcome) -> None:
        if outcome.error is None:
            self._end(End(state=TaskState.SUCCESS, result=outcome.value))
        elif is_transient(outcome.error):
            self.driver.after(1.0, lambda: self._polled(Outcome(value=Done())))
        else:
            error = TaskError(f"job {self.job_id} succeeded, but its result cannot be read: {outcome.error}")
            self._end(End(state=TaskState.FAILED, error=error, again=False))

    # cancel ------------------------------------------------------------------------------------------------------

    def _request_end(self, why: Literal["cancel", "timeout"]) -> None:
        if self._over or self._cancelling == "cancel":
            return
        first = self._cancelling is None
        self._cancelling = why
        self.driver.report(self, TaskState.DEFERRED if self._handle else TaskState.RUNNING, "cancelling its job")
        if first and self._handle is not None:
            self._send_cancel()

    def _send_cancel(self) -> None:
        self.ctx.log.warning("cancelling job %s", self.job_id)
        self.driver.call(lambda: self.task.cancel(self.ctx, self._handle or {}), self._cancel_answered)

    def _cancel_answered(self, outcome: Outcome) -> None:
        if outcome.error is None or self._over:
            return
        if is_transient(outcome.error):
            self.driver.after(1.0, self._send_cancel)
        else:  # for instance: it has just ended by itself. Polling tells.
            self.ctx.log.warning("job %s could not be cancelled: %s", self.job_id, outcome.error)
