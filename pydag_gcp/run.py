"""Drives one run: gives processors to ready tasks, waits for what happens, takes in how tries end.

One thread, the caller's, owns all state. It sleeps in one place, the loop, until a worker has an answer, a timer is due
or a signal came. Local work and submits run on processors; polls and other short calls on a few threads beside them.
"""

from __future__ import annotations

import functools
import signal
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from pydag_gcp import cache
from pydag_gcp.attempt import Outcome
from pydag_gcp.decision import Verdict
from pydag_gcp.durations import remaining
from pydag_gcp.errors import LeaseLost, StoreError
from pydag_gcp.events import Listener
from pydag_gcp.function import BranchTask
from pydag_gcp.garbage import Frozen, seldom
from pydag_gcp.heartbeat import hear, keep
from pydag_gcp.lease import Lease
from pydag_gcp.ledger import Ledger
from pydag_gcp.operator import Operator, RemoteOperator
from pydag_gcp.outages import PATIENCE
from pydag_gcp.planner import Plan
from pydag_gcp.preparation import Prepared, prepare
from pydag_gcp.record import Record
from pydag_gcp.result import RunResult
from pydag_gcp.resumption import INTERRUPTED, OpenTry, Past
from pydag_gcp.retry import RESEND, RESEND_LIMIT, is_transient
from pydag_gcp.reuse import Reuse
from pydag_gcp.scheduler import FREE, Lane, Scheduler
from pydag_gcp.selection import of_kind
from pydag_gcp.signals import handled
from pydag_gcp.states import RunState, TaskState
from pydag_gcp.store import Store
from pydag_gcp.threads import Threads
from pydag_gcp.tries import LogHandler, Tries
from pydag_gcp.verdicts import Verdicts
from pydag_gcp.versions import Versions

#: How often in a row it is asked whether a task has to run, where the cloud does not answer: as long as for results.
_MOST_ASKED = round(RESEND_LIMIT / RESEND.max_wait)

# To look up a member of an enum takes longer than to use it, and this is done for every task.
_TO_RUN, _CACHED, _SUCCESS = Verdict.RUN, TaskState.CACHED, TaskState.SUCCESS


@functools.cache
def _lane(kind: type[Operator], slots: int) -> Lane:
    """The lane of tasks that run; remembered, as it is asked of every task."""
    return Lane(slots, kind.service if issubclass(kind, RemoteOperator) else None)


class Run:
    """One run, from its row in the store to its end.

    Args:
        plan: What it does.
        store: Where it is recorded.
        lease: Nothing is done without it.
        threads: Do what blocks.
        listeners: Called with every event.
        log_handler: Makes a handler of what a try logs, beside its file.
        past: What is known of the run, if it goes on.
        cancel: Whether it goes on only to end its jobs and to clean up.
    """

    def __init__(
        self,
        plan: Plan,
        store: Store,
        lease: Lease,
        threads: Threads,
        listeners: Sequence[Listener],
        log_handler: LogHandler | None,
        past: Past | None,
        *,
        cancel: bool,
    ) -> None:
        self._frozen = Frozen()
        self._store = store
        self._lease = lease
        self._past = past
        self._left: dict[str, OpenTry] = {}
        self._ledger = Ledger(plan, store, listeners, past, threads.loop.moment)
        self._plan = replace(plan, context=self._ledger.context(plan.context))
        self._signal: int | None = None
        self._scheduler = Scheduler({})  # until it is known what comes first
        self._threads = threads
        self._loop = threads.loop
        records = cache.records(store, plan.settings, lambda text: self._loop.soon(partial(self._ledger.warn, text)))
        reuse = Reuse(self._plan, records, Versions(plan.clients), cache=plan.cache)
        self._verdicts = Verdicts(reuse, records, past.known if past else {})
        self._tries = Tries(self._plan, store, lease, self._threads, self._ledger, self._verdicts, self, log_handler)
        self._tries.uncounted.update(past.free if past else {})
        self._branches = frozenset(of_kind(plan.tasks, BranchTask))
        self._ready = False
        self._failure: BaseException | None = None
        self._leaving = False
        self._only_cancel = cancel
        self._cancelled = False
        self._catching_up = False

    # the loop ----------------------------------------------------------------------------------------------------

    def drive(self) -> RunResult:
        """Run to the end."""
        with seldom(), self._frozen, handled(self._signalled):
            self._ledger.start(processors=self._threads.share.size, logs=self._plan.logs)
            return self._drive()

    def _drive(self) -> RunResult:
        try:
            self._store.on_failure(lambda error: self._loop.soon(partial(self.fail, error)))
            for warning in self._threads.share.warnings:
                self._ledger.warn(warning)
            keep(self._lease, self._threads)
            hear(self._store, self._plan.run_id, self._threads, partial(self._end_early, "as somebody asked for"))
            self._prepare()
            while not self._leaving and not self._over:
                if self._ready:
                    self._fill()
                if not self._over:  # as it is if all that was left is cached
                    self._threads.share.rest()
                    self._loop.wait()
            self._raise_failure()
            if self._ready and self._scheduler.done():
                self._verdicts.finish()
            return self._ledger.end(self._stopped, signal=self._signal)
        except LeaseLost:
            raise  # nothing of the run is ours any more, its record least of all
        except StoreError as error:
            raise self._tries.unwatched(error) from error
        except BaseException as error:
            self._ledger.broke(error)
            raise
        finally:
            self._tries.close()
            self._plan.clients.close()

    def _prepare(self) -> None:
        self._reaching = self._threads.after(PATIENCE, self._not_reached)
        preparing = partial(prepare, self._plan, self._verdicts, self._past, self._store, cancel=self._only_cancel)
        self._threads.call(preparing, self._prepared)

    def _not_reached(self) -> None:
        target = self._plan.clients.target.name
        self._ledger.warn(f"target {target!r} could not be reached for over {PATIENCE:g} s; waiting for its answer")

    def _prepared(self, outcome: Outcome) -> None:
        self._reaching.cancel()
        if self._cancelled:  # before anything stood in line; nothing may any more
            return
        if outcome.error is not None:
            self.fail(outcome.error)
            return
        prepared: Prepared = outcome.value
        self._line_up(remaining(self._plan.upstream, prepared.durations, cached=prepared.rest))
        self._ready = True
        for warning in prepared.warnings:
            self._ledger.warn(warning)
        for task_id, run_id in self._plan.recorded_by.items():
            self._ledger.warn(f"the output of {task_id!r}, which is not in this run, is that of run {run_id}")
        if self._past is not None:
            self._take_up(self._past, prepared.repeat)
        if self._only_cancel:
            self._cancel()
        self._loop.look()  # where there are many tasks, that took a while

    def _line_up(self, remaining: Mapping[str, float]) -> None:
        """Put the tasks in order."""
        plan = self._plan
        self._scheduler = Scheduler(
            plan.upstream,
            rules=plan.rules,
            priority={task_id: task.priority for task_id, task in plan.tasks.items() if task.priority},
            remaining=remaining,
            teardowns=plan.teardowns,
            lane_of=self._lane_of,
        )
        self._frozen.more()

    def _fill(self) -> None:
        """Start ready tasks while there is what they need."""
        if self._store.behind:
            self._catch_up()
            return
        scheduler, share, full = self._scheduler, self._threads.share, self._tries.limits.full
        shut: set[Lane] = set()
        while (task_id := scheduler.ready(shut)) is not None:
            lane = scheduler.lane
            if lane is FREE:
                self._pass(task_id, shut)
            elif lane.service not in full and share.take(lane.slots, scheduler.waiting):
                scheduler.start(task_id)
                self._tries.begin(task_id, self._left.pop(task_id, None) if self._left else None)
            else:
                shut.add(lane)

    def _catch_up(self) -> None:
        """Start nothing until all is durable that was recorded: a slow disk must not fill the memory."""
        if not self._catching_up:
            self._catching_up = True
            self._threads.call(self._store.settled, self._caught_up)

    def _caught_up(self, _outcome: Outcome) -> None:
        self._catching_up = False  # a failure is told by the store itself

    def _pass(self, task_id: str, shut: Collection[Lane]) -> None:
        """Do with a ready task what needs no processor."""
        if self._verdicts.of(task_id).verdict is Verdict.CACHED:
            self._take_cached(shut)
            self._loop.look()  # they may have been many
        else:
            self._scheduler.hold(task_id)
            self._decide(task_id)

    def _lane_of(self, task_id: str) -> Lane:
        if self._verdicts.of(task_id).verdict is not _TO_RUN:
            return FREE
        task = self._plan.tasks[task_id]
        return _lane(type(task), task.slots)

    @property
    def _over(self) -> bool:
        return (self._ready or self._cancelled) and self._scheduler.done()

    @property
    def _stopped(self) -> RunState | None:
        if self._leaving:
            return RunState.INTERRUPTED
        return RunState.CANCELLED if self._cancelled else None

    def again(self, task_id: str) -> None:
        """See :class:`pydag_gcp.tries.Course`."""
        self._scheduler.again(task_id)

    def fail(self, error: BaseException) -> None:
        """See :class:`pydag_gcp.tries.Course`."""
        self._failure = self._failure or error
        self._leave()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    # what need not run -------------------------------------------------------------------------------------------

    def _take_cached(self, shut: Collection[Lane]) -> None:
        """End ready tasks that are cached, and those that become ready by it, in one step."""
        with self._store.together():
            while (task_id := self._scheduler.ready(shut)) is not None:
                decision = self._verdicts.of(task_id)
                if decision.verdict is not Verdict.CACHED:
                    return
                self._ledger.cached(task_id, decision)
                self._verdicts.ended(task_id, decision.record.success if decision.record else None)
                picked = self._not_picked(task_id, _CACHED, self._ledger.rows[task_id].result)
                for other, outcome in self._scheduler.finish(task_id, _CACHED, picked):
                    self._settle(other, outcome)

    def _decide(self, task_id: str, asked: int = 1) -> None:
        """Decide about a task whose upstreams have ended."""
        self._threads.call(partial(self._verdicts.decide_now, task_id), partial(self._decided, task_id, asked))

    def _decided(self, task_id: str, asked: int, outcome: Outcome) -> None:
        error = outcome.error
        for warning in outcome.value or ():
            self._ledger.warn(warning)
        if self._cancelled and task_id not in self._plan.teardowns:
            self.end_task(task_id, TaskState.CANCELLED)
        elif isinstance(error, StoreError):
            self.fail(error)
        elif error is None:
            self._scheduler.again(task_id)
        elif is_transient(error) and asked < _MOST_ASKED:
            self._threads.after(RESEND.delay(asked), partial(self._decide, task_id, asked + 1))
        else:
            text = f"cannot tell whether it has to run: {self._ledger.redact.said(error)}"
            self.end_task(task_id, TaskState.FAILED, error=text)

    # a run that goes on ------------------------------------------------------------------------------------------

    def _take_up(self, past: Past, repeat: Collection[str]) -> None:
        """Go on where another process stopped."""
        undone = {name for name, setups in self._plan.teardowns.items() if not set(setups).isdisjoint(repeat)}
        again = undone | set(repeat)
        ended = {name: task for name, task in past.ended.items() if name in self._plan.tasks and name not in again}
        skip = [name for task in ended.values() for name in self._not_picked(task.task_id, task.state, task.result)]
        self._tries.uncounted.update({name: past.tries[name] for name in again if name in past.tries})
        states = {name: task.state for name, task in ended.items()}
        begun = (past.begun - again) & self._plan.tasks.keys()
        with self._store.together():
            self._ledger.forget(again & past.ended.keys())
            for name, outcome in self._scheduler.restore(states, begun, skip=skip, repeat=repeat):
                self._settle(name, outcome)
            for name in past.open.keys() & begun:
                self._take_up_try(name, past.open[name])
        for name, one in past.open.items():
            if name in begun and one.has_job and one.handle is not None:
                self._tries.begin(name, one)

    def _take_up_try(self, task_id: str, one: OpenTry) -> None:
        if one.over:
            self._scheduler.again(task_id)
        elif one.job_id is None:
            at = self._loop.moment()
            self._store.end_try(self._plan.run_id, task_id, one.number, TaskState.FAILED, error=INTERRUPTED, at=at)
            self._tries.uncounted[task_id] += 1
            self._scheduler.again(task_id)
        elif one.handle is None:
            self._left[task_id] = one
            self._scheduler.again(task_id, surely=True)

    # ends of tasks ------------------------------------------------------------------------------------------------

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
        """See :class:`pydag_gcp.tries.Course`."""
        others = self._scheduler.finish(task_id, state, self._not_picked(task_id, state, result))
        if records or others:
            with self._store.together():  # so that no kill can part them
                self._verdicts.keep(records)
                self._end(task_id, state, result, error, try_number)
                for other, outcome in others:
                    self._settle(other, outcome)
        else:
            self._end(task_id, state, result, error, try_number)

    def _end(self, task_id: str, state: TaskState, result: Any, error: str | None, try_number: int | None) -> None:
        self._ledger.settle(task_id, state, result=result, error=error, try_number=try_number)
        if not self._verdicts.idle:
            self._verdicts.ended(task_id, self._ledger.success_of(task_id) if state is _SUCCESS else None)

    def _settle(self, task_id: str, state: TaskState) -> None:
        """End a task that never started."""
        self._verdicts.ended(task_id, None)
        self._ledger.settle(task_id, state)

    def _not_picked(self, task_id: str, state: TaskState, picked: Any) -> Sequence[str]:
        """The tasks that are left out by a task that has ended so, and has returned this, if it is a branch."""
        if task_id not in self._branches or not state.good:
            return ()
        return [other for other in self._plan.branches.not_picked(task_id, picked) if other in self._plan.tasks]

    # its end from outside ----------------------------------------------------------------------------------------

    def _signalled(self, number: int) -> None:
        """Take in a signal; called between any two instructions of the driving thread."""
        self._loop.soon(partial(self._on_signal, number))

    def _on_signal(self, number: int) -> None:
        second = self._signal is not None
        self._signal = number
        if second or (number == signal.SIGTERM and self._plan.dag.on_sigterm == "detach"):
            self._leave()
        else:
            self._end_early("press Ctrl-C again to leave at once")

    def _leave(self) -> None:
        self._leaving = True
        self._loop.stop()

    def _end_early(self, why: str) -> None:
        """Cancel, as soon as it is known what there is to cancel."""
        self._ledger.warn(f"cancelling the jobs and waiting for their ends; {why}")
        if self._ready or self._past is None:
            self._cancel()
        self._only_cancel = True

    def _cancel(self) -> None:
        if self._cancelled:
            return
        self._cancelled = True
        if not self._ready:
            self._line_up({})
        self._threads.give_up_workers()
        with self._store.together():
            for task_id, state in self._scheduler.cancel():
                self._settle(task_id, state)
            self._tries.cancel_waiting()
        self._tries.cancel()
