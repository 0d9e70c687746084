"""One try of remote work, and with it the rules of "exactly once".

* the id of a job is durable in the store before it is sent (:meth:`~pydag_gcp.attempt.Attempt.start`);
* a submit whose answer is lost or refused as transient is sent again under the same id: that is no new try;
* the try ends only when the job is seen finished, or its submit was definitely rejected at its first sending;
* timeout and cancel request the job's end, then look until it has ended; if it succeeded after all, it succeeded.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from pydag_gcp.attempt import Attempt, Driver, End, Outcome, Timer, as_json
from pydag_gcp.errors import NotYet, TaskError
from pydag_gcp.operator import Context, Done, Failed, RemoteOperator, Running, Status, remote_id
from pydag_gcp.retry import RESEND, is_transient
from pydag_gcp.states import TaskState

#: Seconds for which a submit is sent again before the task fails, its outcome unknown.
RESEND_LIMIT = 600.0
#: A job is looked at after a tenth of the time it has taken so far, within these bounds, in seconds.
POLL_EVERY = (0.05, 5.0)
#: How often looking at a job may be refused for good before the job is cancelled unseen.
REFUSED_LOOKS = 5

_PARTIAL = "not tried again, as it may have had part of its effect: set idempotent=True if that does no harm"


class RemoteAttempt(Attempt):
    """A job in the cloud: submitted on a processor, then only looked at."""

    task: RemoteOperator

    def __init__(self, task: RemoteOperator, ctx: Context, driver: Driver) -> None:
        super().__init__(task, ctx, driver)
        self.job_id = remote_id(ctx.run_id, ctx.task_id, ctx.try_number)
        self._handle: Mapping[str, Any] | None = None
        self._repeatable = False
        self._sent_unanswered = False
        self._sends = 0
        self._waiting: Timer | None = None
        self._next_look: Timer | None = None
        self._unseen = 0
        self._cancelling: Literal["cancel", "timeout", "unseen"] | None = None
        self._detail = ""

    def cancel(self) -> None:
        """Request the job's end; the try ends when the job has."""
        self._request_end("cancel")

    def _start(self) -> None:
        self.driver.work(self, self._submit, self._answered)

    def _timed_out(self) -> None:
        self._request_end("timeout")

    # submit ------------------------------------------------------------------------------------------------------

    def _submit(self) -> tuple[dict[str, Any], bool]:
        """Return the handle, and whether a failure of the job would leave nothing behind."""
        self.ctx.log.info("submitting job %s", self.job_id)
        handle = self.task.submit(self.ctx, self.job_id)
        self._sent_unanswered = True  # the job exists: whatever goes wrong from here on is no rejection
        return as_json(handle), self.task.idempotent or self.task.atomic(self.ctx)

    def _submit_again(self) -> tuple[dict[str, Any], bool]:
        self.ctx.clients.revive()
        return self._submit()

    def _answered(self, outcome: Outcome) -> None:
        match outcome.error:
            case None:
                self._handle, self._repeatable = outcome.value
                self._accepted(outcome.value[0])
            case NotYet() as error if not self._sent_unanswered and self._cancelling is not None:
                self.ctx.log.info("nothing was sent: %s", error)
                self._end_as_told()
            case error if is_transient(error) and self._elapsed() <= RESEND_LIMIT:
                self._send_later(error)
            case NotYet() as error if not self._sent_unanswered:
                self._end(End(state=TaskState.FAILED, error=error))
            case error if self._sent_unanswered or is_transient(error):
                hint = "look for it before you run again"
                lost = TaskError(f"cannot tell whether job {self.job_id} was accepted: {error}", hint=hint)
                self._end(End(state=TaskState.FAILED, error=lost, again=False))
            case error:
                self._end(End(state=TaskState.FAILED, error=error))

    def _send_later(self, error: BaseException) -> None:
        self._sent_unanswered |= not isinstance(error, NotYet)
        self._sends += 1
        delay = RESEND.delay(self._sends)
        self.ctx.log.warning("sending job %s again in %.1f s: %s", self.job_id, delay, error)
        self.driver.report(self, TaskState.RUNNING, f"sends the same job again: {error}")
        self._waiting = self.driver.after(delay, self._send_again)

    def _send_again(self) -> None:
        self._waiting = None
        self.driver.call(self._submit_again, self._answered)

    def _accepted(self, handle: Mapping[str, Any]) -> None:
        ctx, now = self.ctx, datetime.now(UTC)
        self.driver.store.submitted(ctx.run_id, ctx.task_id, ctx.try_number, handle=handle, at=now)
        self.driver.report(self, TaskState.DEFERRED, f"job {self.job_id}")
        if self._cancelling is not None:
            self._send_cancel()
        else:
            self._poll_later()

    # poll --------------------------------------------------------------------------------------------------------

    def _elapsed(self) -> float:
        return self.driver.clock() - self._began

    def _poll_later(self) -> None:
        shortest, longest = POLL_EVERY
        self._look_in(min(max(self._elapsed() / 10, shortest), 0.5 if self._cancelling else longest))

    def _look_in(self, seconds: float) -> None:
        self._next_look = self.driver.after(seconds, self._look)

    def _look(self) -> None:
        self._next_look = None
        self.driver.call(self._poll, self._polled)

    def _poll(self) -> Status:
        if self._unseen:
            self.ctx.clients.revive()
        return self.task.poll(self.ctx, self._handle or {})

    def _polled(self, outcome: Outcome) -> None:
        if outcome.error is not None:
            self._not_seen(outcome.error)
            return
        self._unseen = 0
        match outcome.value:
            case Failed() as failed:
                self._failed(failed)
            case _ if self._cancel_unsent:
                self._send_cancel()  # a Done seen before the cancel was answered may be undone by it
            case Done():
                self._fetch()
            case Running(detail=detail):
                if detail != self._detail:
                    self._detail = detail
                    self.driver.report(self, TaskState.DEFERRED, detail)
                self._poll_later()

    def _not_seen(self, error: BaseException) -> None:
        self._unseen += 1
        lasting = not is_transient(error)
        if lasting and self._cancelling == "unseen":
            self._end(End(state=TaskState.FAILED, error=self._unfollowed(error), again=False))
            return
        if lasting and self._unseen >= REFUSED_LOOKS:
            self._request_end("unseen")
        elif self._unseen == 1:
            self.ctx.log.warning("cannot look at job %s now: %s", self.job_id, error)
            self.driver.report(self, TaskState.DEFERRED, f"cannot look at the job now: {error}")
        if self._cancel_unsent:
            self._send_cancel()
        else:
            self._look_in(RESEND.delay(self._unseen))

    def _unfollowed(self, error: BaseException) -> TaskError:
        what = f"cannot follow job {self.job_id}, which was told to stop but may still run: {error}"
        return TaskError(what, hint="look for it before you run again")

    def _failed(self, failed: Failed) -> None:
        held_back = "" if self._repeatable else _PARTIAL
        if self._cancelling is not None:
            self.ctx.log.error("stopped: %s", failed.reason)
        if self._cancelling == "timeout":
            self._end(self._timeout_end(again=self._repeatable, held_back=held_back))
        elif self._cancelling == "cancel":
            self._end(End(state=TaskState.CANCELLED))
        else:
            error = TaskError(failed.reason, transient=failed.transient)
            self._end(End(state=TaskState.FAILED, error=error, again=self._repeatable, held_back=held_back))

    def _fetch(self) -> None:
        self.driver.call(lambda: as_json(self.task.result(self.ctx, self._handle or {})), self._fetched)

    def _fetched(self, outcome: Outcome) -> None:
        if outcome.error is None:
            self._end(End(state=TaskState.SUCCESS, result=outcome.value))
        elif is_transient(outcome.error):
            self._unseen += 1
            self.driver.after(RESEND.delay(self._unseen), self._fetch)
        else:
            error = TaskError(f"job {self.job_id} succeeded, but its result cannot be read: {outcome.error}")
            self._end(End(state=TaskState.FAILED, error=error, again=False))

    # cancel ------------------------------------------------------------------------------------------------------

    _cancel_unsent = False

    def _request_end(self, why: Literal["cancel", "timeout", "unseen"]) -> None:
        if self._over or self._cancelling == "cancel":
            return
        self._cancel_unsent = self._cancelling is None
        self._cancelling = why
        if self._waiting is not None and not self._sent_unanswered:  # nothing was ever sent
            self._waiting.cancel()
            self._end_as_told()
            return
        self.driver.report(self, TaskState.DEFERRED if self._handle else TaskState.RUNNING, "cancelling its job")
        if self._next_look is not None and self._cancel_unsent:
            self._next_look.cancel()
            self._next_look = None
            self._send_cancel()

    def _end_as_told(self) -> None:
        if self._cancelling == "cancel":
            self._end(End(state=TaskState.CANCELLED))
        else:
            self._end(self._timeout_end())

    def _send_cancel(self) -> None:
        self._cancel_unsent = False
        self.ctx.log.warning("cancelling job %s", self.job_id)
        self.driver.call(lambda: self.task.cancel(self.ctx, self._handle or {}), self._cancel_answered)

    def _cancel_answered(self, outcome: Outcome) -> None:
        if outcome.error is not None and is_transient(outcome.error):
            self._unseen += 1
            self.driver.after(RESEND.delay(self._unseen), self._send_cancel)
            return
        if outcome.error is not None:  # for instance: it has just ended by itself. Polling tells.
            self.ctx.log.warning("job %s could not be cancelled: %s", self.job_id, outcome.error)
        self._poll_later()
