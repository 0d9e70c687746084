"""Drives one run: gives processors to ready tasks, waits for what happens, takes in how tries end.

One thread, the caller's, owns all state. It sleeps in one place, the loop, until a worker has an answer, a timer is due
or a signal came. Local work and submits run on processors; polls and other short calls on a few threads beside them.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from pydag_gcp import datasets
from pydag_gcp.attempt import Attempt, End, LocalAttempt, Outcome
from pydag_gcp.errors import PydagError, StoreError
from pydag_gcp.events import Listener
from pydag_gcp.fetching import fetch
from pydag_gcp.function import BranchTask
from pydag_gcp.ledger import Ledger
from pydag_gcp.logs import TryLog
from pydag_gcp.loop import Loop, Timer
from pydag_gcp.operator import RemoteOperator
from pydag_gcp.outages import PATIENCE, Outages
from pydag_gcp.planner import Plan
from pydag_gcp.processors import Workers, default_size
from pydag_gcp.remote_attempt import RemoteAttempt
from pydag_gcp.result import RunResult
from pydag_gcp.scheduler import Scheduler
from pydag_gcp.secret import Secrets
from pydag_gcp.signals import handled
from pydag_gcp.states import RunState, TaskState
from pydag_gcp.store import Store

#: Threads for calls that hold no processor. One is enough unless the service is slow to answer.
CALLERS = 4

LogHandler = Callable[[str, int], logging.Handler]


def execute(
    plan: Plan,
    *,
    max_processors: int | None = None,
    listeners: Sequence[Listener] = (),
    log_handler: LogHandler | None = None,
) -> RunResult:
    """Execute a plan and wait for its end.

    In the main thread, Ctrl-C cancels the remote jobs and waits for their ends (a second one leaves at once); SIGTERM
    leaves them running unless the DAG says ``on_sigterm="cancel"``. :attr:`RunResult.signal` tells.

    Args:
        plan: From :func:`pydag_gcp.planner.plan`.
        max_processors: Most processors the run may hold.
        listeners: Called with every event, in the calling thread.
        log_handler: Makes a handler of what a try logs, beside its file; given the task's id and the try's number.

    Raises:
        TargetUnreachable: Nothing ran: the target does not answer.
        SettingsError: Nothing ran: a dataset is missing and may not be created.
        StoreError: The metadata database failed; jobs that were submitted go on.
    """
    wanted = max_processors or plan.dag.max_processors or plan.settings.processors or default_size()
    with Store(plan.settings.store_url) as store:
        run = _Run(plan, store, wanted, listeners, log_handler)
        with handled(run.signalled):
            return run.drive()


class _Run:
    def __init__(
        self,
        plan: Plan,
        store: Store,
        processors: int,
        listeners: Sequence[Listener],
        log_handler: LogHandler | None,
    ) -> None:
        self._log_handler = log_handler
        self.store = store
        self.ledger = Ledger(plan, store, listeners)
        secrets = Secrets(plan.clients)
        context = replace(plan.context, outputs=self.ledger.output_of, secrets=secrets.value)
        self.plan = replace(plan, context=context)
        self.signal: int | None = None
        self._processors = processors
        self._free = processors
        self._scheduler = Scheduler(
            plan.upstream,
            rules=plan.rules,
            priority={task_id: task.priority for task_id, task in plan.tasks.items()},
            teardowns=plan.teardowns,
        )
        self._active: dict[str, Attempt] = {}
        self._retrying: dict[str, Timer] = {}
        self._logs: dict[Attempt, TryLog] = {}
        self.outages = Outages(self.ledger.warn)
        self._loop = Loop()
        self._workers = Workers("pydag-processor", processors)
        self._callers = Workers("pydag-caller", CALLERS)
        self._ready = False
        self._failure: BaseException | None = None
        self._leaving = False
        self._cancelled = False

    # the loop ----------------------------------------------------------------------------------------------------

    def drive(self) -> RunResult:
        """Run to the end."""
        self.ledger.start(processors=self._processors, logs=self._log_folder)
        try:
            self._reaching = self.after(PATIENCE, self._not_reached)
            self.call(self._prepare, self._prepared)
            while not self._leaving and not self._scheduler.done():
                if self._ready:
                    self._fill()
                self._loop.wait()
            self._raise_failure()
            return self.ledger.end(self._stopped, signal=self.signal)
        except StoreError as error:
            raise _with_live_jobs(error, self._active.values()) from error
        except BaseException as error:
            self.ledger.broke(error)
            raise
        finally:
            self._workers.close()
            self._callers.close()
            for log in self._logs.values():
                log.close()
            self.plan.clients.close()

    @property
    def _log_folder(self) -> Path:
        return self.plan.settings.home / "logs" / self.plan.dag.dag_id / self.plan.run_id

    def _prepare(self) -> list[str]:
        """Reach the target, read what lies there, make its datasets; called beside the thread that hears signals."""
        if not any(isinstance(task, RemoteOperator) for task in self.plan.tasks.values()):
            return list(self.plan.warnings)  # local work that needs the cloud will find out
        self.plan.clients.check()
        warnings = fetch(self.plan)
        created = datasets.ensure(self.plan.clients, self.plan.written_tables())
        return [*warnings, *(f"created missing dataset {dataset}" for dataset in created)]

    def _not_reached(self) -> None:
        target = self.plan.clients.target.name
        self.ledger.warn(f"target {target!r} could not be reached for over {PATIENCE:g} s; waiting for its answer")

    def _prepared(self, outcome: Outcome) -> None:
        self._reaching.cancel()
        if outcome.error is not None:
            self._failure = outcome.error
            self._leave()
            return
        self._ready = True
        for warning in outcome.value:
            self.ledger.warn(warning)
        for task_id, run_id in self.plan.recorded_by.items():
            self.ledger.warn(f"the output of {task_id!r}, which is not in this run, is that of run {run_id}")

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _fill(self) -> None:
        """Start ready tasks while processors are free."""
        while (task_id := self._scheduler.ready()) is not None:
            task = self.plan.tasks[task_id]
            if self._free < min(task.slots, self._processors):
                return
            self._scheduler.start(task_id)
            self._start(task_id)

    @property
    def _stopped(self) -> RunState | None:
        if self._leaving:
            return RunState.INTERRUPTED
        return RunState.CANCELLED if self._cancelled else None

    # tries -------------------------------------------------------------------------------------------------------

    def _start(self, task_id: str) -> None:
        number = self.ledger.tasks[task_id].tries + 1
        task = self.plan.tasks[task_id]
        also = self._log_handler(task_id, number) if self._log_handler else None
        log = TryLog(self._log_folder / task_id / f"{number}.log", self.ledger.redact, also)
        ctx = self.plan.context_of(task_id, number, log.logger)
        attempt: Attempt
        attempt = RemoteAttempt(task, ctx, self) if isinstance(task, RemoteOperator) else LocalAttempt(task, ctx, self)
        self.ledger.begin(task_id, number, at=attempt.started)
        self._active[task_id] = attempt
        self._logs[attempt] = log
        attempt.start()

    def ended(self, attempt: Attempt, end: End) -> None:
        """Take the end of a try; see :class:`pydag_gcp.attempt.Driver`."""
        task_id, number = attempt.ctx.task_id, attempt.ctx.try_number
        again = self.wants_another(attempt, end)
        text = None if end.error is None else self.ledger.redact.said(end.error)
        if end.error is not None:
            attempt.ctx.log.error("%s", text, exc_info=end.error if not isinstance(end.error, PydagError) else None)
            if end.held_back and not end.again and self._policy_wants(attempt, end.error):
                text = f"{text}; {end.held_back}"
        del self._active[task_id]
        self._logs.pop(attempt).close()
        with self.store.together():  # so that no kill can part a task's end from its last try's
            self.store.end_try(self.plan.run_id, task_id, number, end.state, error=text, at=datetime.now(UTC))
            if not again:
                self._end_task(task_id, end.state, result=end.result, error=text)
        if again:
            self._try_later(task_id, number, text)

    def wants_another(self, attempt: Attempt, end: End) -> bool:
        """Tell whether another try would follow; see :class:`pydag_gcp.attempt.Driver`."""
        if end.error is None or not end.again or (self._cancelled and not self._outlives_cancel(attempt.ctx.task_id)):
            return False
        return self._policy_wants(attempt, end.error)

    def _policy_wants(self, attempt: Attempt, error: BaseException) -> bool:
        policy = self.plan.dag.retry_of(attempt.task)
        remote = isinstance(attempt.task, RemoteOperator)
        return attempt.ctx.try_number < policy.attempts and policy.wants(error, transient_only=remote)

    def _try_later(self, task_id: str, number: int, error: str | None) -> None:
        delay = self.plan.dag.retry_of(self.plan.tasks[task_id]).delay(number)
        self.ledger.change(task_id, TaskState.UP_FOR_RETRY, f"tries again in {delay:.1f} s", error=error)
        self._retrying[task_id] = self.after(delay, partial(self._try_again, task_id))

    def _try_again(self, task_id: str) -> None:
        del self._retrying[task_id]
        self.ledger.change(task_id, TaskState.QUEUED)
        self._scheduler.again(task_id)

    def _end_task(self, task_id: str, state: TaskState, *, result: Any = None, error: str | None = None) -> None:
        never_started = self._scheduler.finish(task_id, state, self._not_picked(task_id, state, result))
        self.ledger.settle(task_id, state, result=result, error=error)
        for other, outcome in never_started:
            self.ledger.settle(other, outcome)

    def _not_picked(self, task_id: str, state: TaskState, result: Any) -> list[str]:
        """The tasks that a branch that has ended well leaves out."""
        if state is not TaskState.SUCCESS or not isinstance(self.plan.tasks[task_id], BranchTask):
            return []
        return [other for other in self.plan.branches.not_picked(task_id, result) if other in self.plan.tasks]

    # what an attempt needs (Driver) ------------------------------------------------------------------------------

    def clock(self) -> float:
        """Seconds on a clock that never goes back."""
        return self._loop.clock()

    def work(self, attempt: Attempt, function: Callable[[], Any], then: Callable[[Outcome], None]) -> None:
        """See :class:`pydag_gcp.attempt.Driver`."""
        slots = min(attempt.task.slots, self._processors)
        self._free -= slots

        def free_then(outcome: Outcome) -> None:
            self._free = min(self._free + slots, self._processors)
            then(outcome)

        self._workers.submit(partial(self._call, function, free_then))

    def call(self, function: Callable[[], Any], then: Callable[[Outcome], None]) -> None:
        """See :class:`pydag_gcp.attempt.Driver`."""
        self._callers.submit(partial(self._call, function, then))

    def after(self, seconds: float, action: Callable[[], None]) -> Timer:
        """See :class:`pydag_gcp.attempt.Driver`."""
        return self._loop.after(seconds, action)

    def report(self, attempt: Attempt, state: TaskState, detail: str = "") -> None:
        """See :class:`pydag_gcp.attempt.Driver`."""
        self.ledger.change(attempt.ctx.task_id, state, detail, job_id=attempt.job_id or None)

    def _call(self, function: Callable[[], Any], then: Callable[[Outcome], None]) -> None:
        try:
            outcome = Outcome(value=function())
        except BaseException as error:  # noqa: BLE001 - a task's own code: whatever it raises is its outcome
            outcome = Outcome(error=error)
        self._loop.soon(partial(then, outcome))

    # signals -----------------------------------------------------------------------------------------------------

    def signalled(self, number: int) -> None:
        """Take in a signal; called between any two instructions of the driving thread."""
        self._loop.soon(partial(self._on_signal, number))

    def _on_signal(self, number: int) -> None:
        second = self.signal is not None
        self.signal = number
        if second or (number == signal.SIGTERM and self.plan.dag.on_sigterm == "detach"):
            self._leave()
        else:
            self._cancel()

    def _leave(self) -> None:
        self._leaving = True
        self._loop.stop()

    def _cancel(self) -> None:
        self._cancelled = True
        self.ledger.warn("cancelling the jobs and waiting for their ends; press Ctrl-C again to leave at once")
        self._give_up_threads()
        with self.store.together():
            for task_id, state in self._scheduler.cancel():
                self.ledger.settle(task_id, state)
            for task_id in [task_id for task_id in self._retrying if not self._outlives_cancel(task_id)]:
                self._retrying.pop(task_id).cancel()
                self._end_task(task_id, TaskState.CANCELLED)
        for task_id, attempt in list(self._active.items()):
            if not self._outlives_cancel(task_id):
                attempt.cancel()

    def _outlives_cancel(self, task_id: str) -> bool:
        return task_id in self.plan.teardowns

    def _give_up_threads(self) -> None:
        """Let teardowns have all processors: a function that does not return must not keep them waiting."""
        self._workers.close()
        self._workers = Workers("pydag-processor", self._processors)
        self._free = self._processors


def _with_live_jobs(error: StoreError, active: Iterable[Attempt]) -> StoreError:
    """Name the jobs that nobody watches any more."""
    jobs = [attempt.job_id for attempt in active if attempt.job_id]
    if not jobs:
        return error
    return StoreError(f"{error.what}; not watched any more: {', '.join(jobs)}", where=error.where, hint=error.hint)
