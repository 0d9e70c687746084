"""Drives one run: gives processors to ready tasks, waits for what happens, takes in how tries end.

One thread, the caller's, owns all state. It sleeps in one place, the loop, until a worker has an answer, a timer is due
or a signal came. Local work and submits run on processors; polls and other short calls on a few threads beside them.
"""

from __future__ import annotations

import os
import platform
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
from pydag_gcp.events import Event, Listener, RunEnded, RunStarted, RunWarned, TaskChanged
from pydag_gcp.logs import Redactor, TryLog
from pydag_gcp.loop import Loop, Timer
from pydag_gcp.operator import RemoteOperator
from pydag_gcp.planner import Plan
from pydag_gcp.processors import Workers, default_size
from pydag_gcp.remote_attempt import RemoteAttempt
from pydag_gcp.result import RunResult, TaskResult
from pydag_gcp.scheduler import Scheduler
from pydag_gcp.signals import handled
from pydag_gcp.states import RunState, TaskState
from pydag_gcp.store import Store

#: Threads for calls that hold no processor. One is enough unless the service is slow to answer.
CALLERS = 4


def execute(plan: Plan, *, max_processors: int | None = None, listeners: Sequence[Listener] = ()) -> RunResult:
    """Execute a plan and wait for its end.

    In the main thread, Ctrl-C cancels the remote jobs and waits for their ends (a second one leaves at once); SIGTERM
    leaves them running unless the DAG says ``on_sigterm="cancel"``. :attr:`RunResult.signal` tells.

    Args:
        plan: From :func:`pydag_gcp.planner.plan`.
        max_processors: Most processors the run may hold.
        listeners: Called with every event, in the calling thread.

    Raises:
        TargetUnreachable: Nothing ran: the target does not answer.
        SettingsError: Nothing ran: a dataset is missing and may not be created.
        StoreError: The metadata database failed; jobs that were submitted go on.
    """
    wanted = max_processors or plan.dag.max_processors or plan.settings.processors or default_size()
    with Store(plan.settings.store_url) as store:
        run = _Run(plan, store, wanted, listeners)
        with handled(run.signalled):
            return run.drive()


class _Run:
    def __init__(self, plan: Plan, store: Store, processors: int, listeners: Sequence[Listener]) -> None:
        self.plan = plan
        self.store = store
        self.listeners = list(listeners)
        self.signal: int | None = None
        self._processors = processors
        self._free = processors
        self._scheduler = Scheduler(
            plan.upstream,
            rules={task_id: task.trigger_rule for task_id, task in plan.tasks.items()},
            priority={task_id: task.priority for task_id, task in plan.tasks.items()},
        )
        self._tasks = {task_id: TaskResult(task_id=task_id, state=TaskState.SCHEDULED) for task_id in plan.tasks}
        self._active: dict[str, Attempt] = {}
        self._retrying: dict[str, Timer] = {}
        self._logs: dict[Attempt, TryLog] = {}
        self._redact = Redactor()
        self._loop = Loop()
        self._workers = Workers("pydag-processor", processors)
        self._callers = Workers("pydag-caller", CALLERS)
        self._ready = False
        self._failure: BaseException | None = None
        self._leaving = False
        self._cancelled = False
        self._started = datetime.now(UTC)

    # the loop ----------------------------------------------------------------------------------------------------

    def drive(self) -> RunResult:
        """Run to the end."""
        self._record_start()
        try:
            self.call(self._prepare, self._prepared)
            while not self._leaving and not self._scheduler.done():
                if self._ready:
                    self._fill()
                self._loop.wait()
            self._raise_failure()
            return self._finish()
        except StoreError as error:
            raise _with_live_jobs(error, self._active.values()) from error
        except BaseException as error:
            self.store.end_run(self.plan.run_id, RunState.FAILED, at=datetime.now(UTC), error=self._redact.said(error))
            raise
        finally:
            self._workers.close()
            self._callers.close()
            for log in self._logs.values():
                log.close()
            self.plan.clients.close()

    def _record_start(self) -> None:
        plan = self.plan
        definition = {
            "tasks": {
                task_id: {"operator": type(task).__name__, **task.model_dump(mode="json", by_alias=True, fallback=repr)}
                for task_id, task in plan.tasks.items()
            },
            "upstream": plan.upstream,
            "params": {name: str(value) for name, value in plan.context.params.items()},
        }
        target = plan.clients.target.name
        self.store.start_run(
            run_id=plan.run_id,
            dag_id=plan.dag.dag_id,
            target=target,
            logical_date=plan.context.logical_date,
            definition=self._redact.within(definition),
            pid=os.getpid(),
            host=platform.node(),
            at=self._started,
        )
        self._emit(
            RunStarted(
                at=self._started,
                run_id=plan.run_id,
                dag_id=plan.dag.dag_id,
                target=target,
                logical_date=plan.context.logical_date,
                upstream=plan.upstream,
                processors=self._processors,
                logs=self._log_folder,
            )
        )

    @property
    def _log_folder(self) -> Path:
        return self.plan.settings.home / "logs" / self.plan.dag.dag_id / self.plan.run_id

    def _prepare(self) -> list[str]:
        """Reach the target and make its datasets; called beside the driving thread, which goes on hearing signals."""
        if not any(isinstance(task, RemoteOperator) for task in self.plan.tasks.values()):
            return []  # local work that needs the cloud will find out
        self.plan.clients.check()
        return datasets.ensure(self.plan.clients, self.plan.written_tables())

    def _prepared(self, outcome: Outcome) -> None:
        if outcome.error is not None:
            self._failure = outcome.error
            self._leave()
            return
        self._ready = True
        for dataset in outcome.value:
            self._warn(f"created missing dataset {dataset}")

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

    def _finish(self) -> RunResult:
        now = datetime.now(UTC)
        state = self._state()
        self.store.end_run(self.plan.run_id, state, at=now)
        self._emit(RunEnded(at=now, run_id=self.plan.run_id, state=state))
        return RunResult(
            run_id=self.plan.run_id,
            dag_id=self.plan.dag.dag_id,
            target=self.plan.clients.target.name,
            state=state,
            logical_date=self.plan.context.logical_date,
            started=self._started,
            ended=now,
            tasks=self._tasks,
            upstream=self.plan.upstream,
            signal=self.signal,
        )

    def _state(self) -> RunState:
        if self._leaving:
            return RunState.INTERRUPTED
        if self._cancelled:
            return RunState.CANCELLED
        states = {task.state for task in self._tasks.values()}
        failed = states & {TaskState.FAILED, TaskState.UPSTREAM_FAILED, TaskState.CANCELLED}
        return RunState.FAILED if failed else RunState.SUCCESS

    # tries -------------------------------------------------------------------------------------------------------

    def _start(self, task_id: str) -> None:
        number = self._tasks[task_id].tries + 1
        task = self.plan.tasks[task_id]
        log = TryLog(self._log_folder / task_id / f"{number}.log", self._redact)
        ctx = self.plan.context_of(task_id, number, log.logger)
        attempt: Attempt
        attempt = RemoteAttempt(task, ctx, self) if isinstance(task, RemoteOperator) else LocalAttempt(task, ctx, self)
        self._know(task_id, tries=number, started=self._tasks[task_id].started or attempt.started)
        self._active[task_id] = attempt
        self._logs[attempt] = log
        attempt.start()

    def ended(self, attempt: Attempt, end: End) -> None:
        """Take the end of a try; see :class:`pydag_gcp.attempt.Driver`."""
        task_id, number = attempt.ctx.task_id, attempt.ctx.try_number
        again = self.wants_another(attempt, end)
        text = None if end.error is None else self._redact.said(end.error)
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
        if end.error is None or self._cancelled or not end.again:
            return False
        return self._policy_wants(attempt, end.error)

    def _policy_wants(self, attempt: Attempt, error: BaseException) -> bool:
        policy = self.plan.dag.retry_of(attempt.task)
        remote = isinstance(attempt.task, RemoteOperator)
        return attempt.ctx.try_number < policy.attempts and policy.wants(error, transient_only=remote)

    def _try_later(self, task_id: str, number: int, error: str | None) -> None:
        delay = self.plan.dag.retry_of(self.plan.tasks[task_id]).delay(number)
        self._change(task_id, TaskState.UP_FOR_RETRY, f"tries again in {delay:.1f} s", error=error)
        self._retrying[task_id] = self.after(delay, partial(self._try_again, task_id))

    def _try_again(self, task_id: str) -> None:
        del self._retrying[task_id]
        self._change(task_id, TaskState.QUEUED)
        self._scheduler.again(task_id)

    def _end_task(self, task_id: str, state: TaskState, *, result: Any = None, error: str | None = None) -> None:
        never_started = self._scheduler.finish(task_id, state)
        self._settle(task_id, state, result=result, error=error)
        for other, outcome in never_started:
            self._settle(other, outcome)

    def _settle(self, task_id: str, state: TaskState, *, result: Any = None, error: str | None = None) -> None:
        now = datetime.now(UTC)
        self._know(task_id, result=result, error=error, ended=now)
        stored = self._redact.within(result)
        self.store.end_task(self.plan.run_id, task_id, state, result=stored, error=error, at=now)
        self._change(task_id, state, error=error)

    # what an attempt needs (Driver) ------------------------------------------------------------------------------

    def clock(self) -> float:
        """Seconds on a clock that never goes back."""
        return self._loop.clock()

    def work(self, attempt: Attempt, function: Callable[[], Any], then: Callable[[Outcome], None]) -> None:
        """See :class:`pydag_gcp.attempt.Driver`."""
        slots = min(attempt.task.slots, self._processors)
        self._free -= slots

        def free_then(outcome: Outcome) -> None:
            self._free += slots
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
        self._change(attempt.ctx.task_id, state, detail, job_id=attempt.job_id or None)

    def _call(self, function: Callable[[], Any], then: Callable[[Outcome], None]) -> None:
        try:
            outcome = Outcome(value=function())
        except BaseException as error:  # noqa: BLE001 - a task's own code: whatever it raises is its outcome
            outcome = Outcome(error=error)
        self._loop.soon(partial(then, outcome))

    # events ------------------------------------------------------------------------------------------------------

    def _change(
        self, task_id: str, state: TaskState, detail: str = "", *, error: str | None = None, job_id: str | None = None
    ) -> None:
        self._know(task_id, state=state)
        self._emit(
            TaskChanged(
                at=datetime.now(UTC),
                run_id=self.plan.run_id,
                task_id=task_id,
                state=state,
                try_number=self._tasks[task_id].tries,
                detail=self._redact(detail),
                error=error,
                job_id=job_id,
            )
        )

    def _warn(self, message: str) -> None:
        self._emit(RunWarned(at=datetime.now(UTC), run_id=self.plan.run_id, message=message))

    def _know(self, task_id: str, **fields: Any) -> None:
        self._tasks[task_id] = replace(self._tasks[task_id], **fields)

    def _emit(self, event: Event) -> None:
        for listener in list(self.listeners):
            try:
                listener(event)
            except Exception as error:  # noqa: BLE001 - whoever watches must not be able to end the run
                self.listeners.remove(listener)
                self._warn(f"{listener!r} is told nothing more, as it failed: {self._redact.said(error)}")

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
        self._warn("cancelling the jobs and waiting for their ends; press Ctrl-C again to leave at once")
        for attempt in list(self._active.values()):
            attempt.cancel()
        with self.store.together():
            for task_id in self._scheduler.cancel():
                self._settle(task_id, TaskState.CANCELLED)
            for task_id, timer in self._retrying.items():
                timer.cancel()
                self._end_task(task_id, TaskState.CANCELLED)
        self._retrying.clear()


def _with_live_jobs(error: StoreError, active: Iterable[Attempt]) -> StoreError:
    """Name the jobs that nobody watches any more."""
    jobs = [attempt.job_id for attempt in active if attempt.job_id]
    if not jobs:
        return error
    return StoreError(f"{error.what}; not watched any more: {', '.join(jobs)}", where=error.where, hint=error.hint)
