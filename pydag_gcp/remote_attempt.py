"""One try of remote work, and with it the rules of "exactly once".

* the id of a job is durable in the store before it is sent (:meth:`~pydag_gcp.attempt.Attempt.start`);
* a submit whose answer is lost or refused as transient is sent again under the same id: that is no new try;
* the try ends only when the job is seen finished, or its submit was definitely rejected: at its first sending, or
  later, where again and again the service shows no such job either;
* where the service does not tell, the try stays open, and the run is left to whoever goes on with it: a new try, of
  this run or a later one, might do the same once more;
* timeout and cancel request the job's end, then look until it has ended; if it succeeded after all, it succeeded;
* a try that another process left is taken up where the store says it stood (:meth:`RemoteAttempt.attach`): that process
  may have sent the job.

Whatever call goes unanswered, the next one first makes sure that there is someone to answer (:meth:`Clients.revive
<pydag_gcp.gcp.Clients.revive>`): nobody else might.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any, Literal

from pydag_gcp.answers import REFUSED_LOOKS, REFUSED_SENDS, Answers
from pydag_gcp.attempt import Attempt, Driver, End, Outcome, Timer, as_json
from pydag_gcp.errors import JobRefused, JobTaken, JobUnsettled, LocalCloudError, NotYet, TaskError, TaskTimeout
from pydag_gcp.identity import remote_id
from pydag_gcp.operator import Context, Done, Failed, RemoteOperator, Running, Status
from pydag_gcp.outages import Patience
from pydag_gcp.polling import POLL_EVERY, Watch
from pydag_gcp.retry import RESEND, RESEND_LIMIT, is_rate_refusal, is_transient
from pydag_gcp.selection import is_service
from pydag_gcp.states import TaskState

_PARTIAL = "not tried again, as it may have had part of its effect: set idempotent=True if that does no harm"


class RemoteAttempt(Attempt):
    """A job in the cloud: submitted on a processor, then only looked at."""

    task: RemoteOperator

    def __init__(self, task: RemoteOperator, ctx: Context, driver: Driver) -> None:
        super().__init__(task, ctx, driver)
        self.job_id = remote_id(ctx.run_id, ctx.task_id, ctx.try_number)
        self.service = task.service
        self._handle: Mapping[str, Any] | None = None
        self._resolved = False
        self._repeatable = False
        self._left_alone = False  # since another process left it nobody has looked at the job
        self._sent_unanswered = False
        self._changed: JobTaken | None = None  # what that process sent is not what the task is now
        self._sends = 0
        self._waiting: Timer | None = None
        self._watch: Watch | None = None
        self._next_look: Watch | None = None
        self._called = self._submitted = self._began  # when the last call was made, and the last submit
        self._answers = Answers(Patience(ctx, self.job_id, driver))
        self._fetch_until = 0.0
        self._cancelling: Literal["cancel", "timeout", "unseen"] | None = None
        self._cancel_unsent = False
        self._detail = ""

    def attach(self, handle: Mapping[str, Any] | None, *, started: datetime) -> None:
        """Go on, instead of :meth:`start`, with a try that another process left.

        A job that was accepted is looked at, and its timeout, which counts from ``started``, matters only if it still
        runs. Without a handle nobody knows whether it was: it is sent again under the same id, and its time starts
        anew, or a job that never was would be begun only to be cut.

        Args:
            handle: What :meth:`RemoteOperator.submit <pydag_gcp.operator.RemoteOperator.submit>` returned, if that is
                recorded.
            started: When that process began the try.
        """
        self.started = started
        self._sent_unanswered = self._left_alone = True
        self.ctx.log.info("taking up job %s, which another process left", self.job_id)
        if handle is None:
            self.driver.report(self, TaskState.RUNNING, "sends the job again: it is not known whether it was accepted")
            self._mind_the_time()
            self._start()
            return
        self._handle = handle
        self._began -= max((self.driver.moment() - started).total_seconds(), 0.0)
        self.driver.report(self, TaskState.DEFERRED, f"job {self.job_id}")
        self._next().again_in(0)

    def cancel(self) -> None:
        """Request the job's end; the try ends when the job has."""
        self._hurried = True
        self._request_end("cancel")

    def _start(self) -> None:
        self.driver.work(self.task.slots, self._ours(self._submit), self._answered)

    def _timed_out(self) -> None:
        self._request_end("timeout")

    # submit ------------------------------------------------------------------------------------------------------

    def _submit(self) -> dict[str, Any]:
        self._resolve()
        self.driver.settled()
        if self._cancelling is not None and not self._sent_unanswered:
            raise NotYet(f"it was told to stop before: {self._cancelling}")
        self.driver.check_lease()  # once more, as that may have taken long
        self._submitted = self._called = self.driver.clock()
        self.ctx.log.info("submitting job %s", self.job_id)
        handle = self.task.submit(self.ctx, self.job_id)
        self._sent_unanswered = True  # the job exists: whatever goes wrong from here on is no rejection
        found: dict[str, Any] = as_json(handle)
        return found

    def _resolve(self) -> None:
        """Fill in the values that are known only now, once: what is sent again is the same."""
        if self._resolved:
            return
        try:
            self.task = self.task.resolved(self.ctx)
        except Exception as error:
            if is_transient(error):  # nothing was sent
                raise NotYet(str(error)) from error
            raise
        self._resolved = True

    def _answered(self, outcome: Outcome) -> None:
        again = self._missed(outcome.error)
        match outcome.error:
            case None:
                self.driver.limits.accepted(self.task.service, sent=self._submitted, now=self.driver.clock())
                self._handle = outcome.value
                self._accepted(outcome.value)
            case JobTaken(handle=handle) as error if self._sent_unanswered:
                self._answers.heard()
                self._changed, self._handle = error, handle
                self._accepted(handle)
            case NotYet() | LocalCloudError() as error if not self._sent_unanswered and self._cancelling is not None:
                self.ctx.log.info("nothing was sent: %s", error)
                self._end_as_told()
            case JobRefused() as error if not self._sent_unanswered or self._answers.refused >= REFUSED_SENDS:
                self._end(End(state=TaskState.FAILED, error=error))
            case error if (again and self._elapsed() <= RESEND_LIMIT) or isinstance(error, JobRefused):
                self._send_later(error)
            case NotYet() as error if not self._sent_unanswered:
                self._end(End(state=TaskState.FAILED, error=error))
            case error if self._sent_unanswered or is_transient(error):
                self._leave("cannot tell whether", " was accepted", error)
            case error:
                self._end(End(state=TaskState.FAILED, error=error))

    def _send_later(self, error: BaseException) -> None:
        self._sent_unanswered |= not isinstance(error, (NotYet, LocalCloudError))
        self._sends += 1
        delay = RESEND.delay(self._sends)
        self.ctx.log.warning("sending job %s again in %.1f s: %s", self.job_id, delay, error)
        self.driver.report(self, TaskState.RUNNING, f"sends the same job again: {error}")
        self._waiting = self.driver.after(delay, self._send_again)

    def _send_again(self) -> None:
        self._waiting = None
        self._call(self._submit, self._answered)

    def _accepted(self, handle: Mapping[str, Any]) -> None:
        ctx, at = self.ctx, self.driver.moment()
        self.driver.store.submitted(ctx.run_id, ctx.task_id, ctx.try_number, handle=handle, at=at)
        self.driver.report(self, TaskState.DEFERRED, f"job {self.job_id}")
        if self._cancelling is not None:
            self._send_cancel()
        else:
            self._poll_later()

    # calls without an answer -------------------------------------------------------------------------------------

    def _call(self, function: Callable[[], Any], then: Callable[[Outcome], None]) -> None:
        """Make one short call."""
        self.driver.call(self._ours(function), then)

    def _ours(self, function: Callable[[], Any]) -> Callable[[], Any]:
        """Precede a call by what must be so: the run is ours; after one without an answer, the local cloud is up."""
        missed = bool(self._answers.missed)

        def call() -> Any:
            if missed:
                self.ctx.clients.revive()
            self.driver.check_lease()
            self._called = self.driver.clock()
            return function()

        return call

    def _missed(self, error: BaseException | None) -> bool:
        """Take note of how a call ended; tell whether the same call may well be answered the next time."""
        if error is None:
            self._answers.heard()
            return False
        if is_rate_refusal(error):
            self.driver.limits.refused(self.task.service, sent=self._called, now=self.driver.clock())
        return self._answers.miss(error)

    def _end(self, end: End) -> None:
        self._answers.expect_no_more()
        super()._end(end)

    def _leave(self, unknown: str, what: str, why: BaseException) -> None:
        """Give up asking, but not the job: its try stays open."""
        if is_service(self.task.writes(self.ctx)):  # whoever wants it again looks for it by its name
            lost = TaskError(f"{unknown} job {self.job_id}{what}: {why}", hint="look for it before you run again")
            self._end(End(state=TaskState.FAILED, error=lost, again=False))
            return
        self._answers.expect_no_more()
        run_id = self.ctx.run_id
        text = f"{unknown} job {self.job_id} of task {self.ctx.task_id!r}{what}: {why}"
        hint = f"`pydag resume {run_id}` asks again, as does the next run; `pydag cancel --forget {run_id}` gives it up"
        self.driver.leave(self, JobUnsettled(text, where=f"run {run_id}", hint=hint))

    # poll --------------------------------------------------------------------------------------------------------

    def _poll_later(self) -> None:
        shortest, longest = POLL_EVERY
        self._next().again_in(min(max(self._elapsed() / 10, shortest), 0.5 if self._cancelling else longest))

    def _next(self) -> Watch:
        """The next look at it: by itself, or in a list."""
        if self._watch is None:
            self._watch = self.driver.polling.watch(self, self.task.listing(self._handle or {}))
        self._next_look = self._watch
        return self._watch

    def listed(self, job_ids: frozenset[str], since: datetime, *, revive: bool) -> Mapping[str, Running]:
        """See :class:`pydag_gcp.polling.Watched`."""
        if revive:
            self.ctx.clients.revive()
        self.driver.check_lease()
        return self.task.listed(self.ctx, self._handle or {}, job_ids, since)

    def seen(self, status: Running) -> None:
        """See :class:`pydag_gcp.polling.Watched`."""
        self._next_look = None
        self._polled(Outcome(value=status))

    def look(self) -> None:
        """See :class:`pydag_gcp.polling.Watched`."""
        self._next_look = None
        self._call(self._poll, self._polled)

    def _poll(self) -> Status:
        self._resolve()
        status = self.task.poll(self.ctx, self._handle or {})
        if isinstance(status, Failed):
            self._repeatable = self.task.idempotent or self.task.atomic(self.ctx)
        return status

    def _polled(self, outcome: Outcome) -> None:
        after_outage = self._answers.missed > 0
        self._missed(outcome.error)
        if outcome.error is not None:
            self._not_seen(outcome.error)
            return
        match outcome.value:
            case Failed() as failed:
                self._failed(failed)
            case _ if self._cancel_unsent:
                self._send_cancel()  # a Done seen before the cancel was answered may be undone by it
            case Done() if self._changed is not None:
                self._unread(self._changed)
            case Done():
                self._fetch_until = self.driver.clock() + RESEND_LIMIT
                self._fetch()
            case Running() if after_outage and self._cancelling is not None:
                self._send_cancel()  # again, as a service that begins anew may have forgotten it
            case Running(detail=detail):
                self._left_alone = False
                self._mind_the_time()
                if detail != self._detail:
                    self._detail = detail
                    self.driver.report(self, TaskState.DEFERRED, detail)
                self._poll_later()

    def _not_seen(self, error: BaseException) -> None:
        given_up = self._answers.refused >= (1 if self._cancelling == "unseen" else REFUSED_LOOKS)
        if given_up and self._cancelling in ("unseen", "cancel"):
            self._leave("cannot follow", ", which was told to stop but may still run", error)
            return
        if given_up:
            self._request_end("unseen")
        elif self._answers.missed == 1:
            self.ctx.log.warning("cannot look at job %s now: %s", self.job_id, error)
            self.driver.report(self, TaskState.DEFERRED, f"cannot look at the job now: {error}")
        if self._cancel_unsent:
            self._send_cancel()
        else:
            self._next().alone_in(RESEND.delay(self._answers.missed))

    def _failed(self, failed: Failed) -> None:
        if failed.throttled:
            self.driver.limits.refused(self.task.service, sent=self._submitted, now=self.driver.clock())
        held_back = "" if self._repeatable else _PARTIAL
        if self._cancelling is not None:
            self.ctx.log.error("stopped: %s", failed.reason)
        if self._cancelling == "timeout":
            self._end(self._timeout_end(again=self._repeatable, held_back=held_back))
        elif self._cancelling == "cancel":
            self._end(End(state=TaskState.CANCELLED))
        elif self._changed is not None:
            self._end(End(state=TaskState.FAILED, error=self._changed, again=False))
        else:
            error, free = self._reason(failed), self._left_alone and is_service(self.task.writes(self.ctx))
            self._end(End(state=TaskState.FAILED, error=error, again=self._repeatable, held_back=held_back, free=free))

    def _reason(self, failed: Failed) -> TaskError:
        if self._left_alone and self.task.timeout is not None and self._elapsed() > self._timeout:
            # The process that left it may have stopped it for that.
            what = f"timed out after {self._timeout:g} s, or failed while nobody looked: {failed.reason}"
            return TaskTimeout(what, transient=True)
        return TaskError(failed.reason, transient=failed.transient)

    def _fetch(self) -> None:
        self._call(lambda: as_json(self.task.result(self.ctx, self._handle or {})), self._fetched)

    def _fetched(self, outcome: Outcome) -> None:
        again = self._missed(outcome.error)
        error = outcome.error
        if error is None:
            self._succeed(outcome.value)
        elif again and self._cancelling != "cancel" and self.driver.clock() <= self._fetch_until:
            self.ctx.log.warning("cannot read the result of job %s now: %s", self.job_id, error)
            self.driver.report(self, TaskState.DEFERRED, f"cannot read the job's result now: {error}")
            self.driver.after(RESEND.delay(self._answers.missed), self._fetch)
        else:
            self._unread(TaskError(f"job {self.job_id} succeeded, but its result cannot be read: {error}"))

    def _unread(self, error: TaskError) -> None:
        """Fail, but where running it again would add its rows once more, remember that it has added them."""
        if not self.driver.needs_observation(self.ctx.task_id):
            self._end(End(state=TaskState.FAILED, error=error, again=False))
            return

        def end(outcome: Outcome) -> None:
            records = tuple(record for record in outcome.value or () if record.accumulating)
            self._end(End(state=TaskState.FAILED, error=error, again=False, records=records))

        self.driver.call(partial(self.driver.observe, self, None, last=True), end)

    # cancel ------------------------------------------------------------------------------------------------------

    def _request_end(self, why: Literal["cancel", "timeout", "unseen"]) -> None:
        if self._over or self._succeeded or self._cancelling == "cancel":
            return
        self._cancel_unsent |= self._cancelling is None
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
        self._call(lambda: self.task.cancel(self.ctx, self._handle or {}), self._cancel_answered)

    def _cancel_answered(self, outcome: Outcome) -> None:
        if self._missed(outcome.error):
            self.ctx.log.warning("cannot cancel job %s now: %s", self.job_id, outcome.error)
            self._cancel_unsent = True  # until a look has shown that it has not ended meanwhile
            self._next().alone_in(RESEND.delay(self._answers.missed))
            return
        if outcome.error is not None:  # for instance: it has just ended by itself. Polling tells.
            self.ctx.log.warning("job %s could not be cancelled: %s", self.job_id, outcome.error)
            if not isinstance(outcome.error, LocalCloudError):
                self._answers.heard()
        self._poll_later()
