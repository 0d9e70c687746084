"""What is known of a run: kept in memory, written to the store, told to whoever watches."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydag_gcp.context import Context
from pydag_gcp.decision import Decision
from pydag_gcp.events import Event, Listener, RunEnded, RunStarted, RunWarned, TaskChanged
from pydag_gcp.outline import outline
from pydag_gcp.planner import Plan
from pydag_gcp.record import Success
from pydag_gcp.redaction import Redactor
from pydag_gcp.result import RunResult
from pydag_gcp.resumption import Past
from pydag_gcp.rows import Results, Row
from pydag_gcp.secret import Secrets
from pydag_gcp.states import BAD, FINAL, RunState, TaskState
from pydag_gcp.store import Store

_RUNNING = TaskState.RUNNING


class Ledger:
    """The one place where the states of a run and its tasks change.

    Belongs to the driving thread; only :meth:`output_of` and :meth:`succeeded` are called by others.

    Args:
        plan: What the run does.
        store: Where it is recorded.
        listeners: Called with every event.
        past: What is known of the run, if it goes on.
        moment: Tells the date and time of what is done now.
    """

    def __init__(
        self, plan: Plan, store: Store, listeners: Sequence[Listener], past: Past | None, moment: Callable[[], datetime]
    ) -> None:
        self.rows = {task_id: Row() for task_id in plan.tasks} if past is None else _known(plan.tasks, past)
        self.started = past.started if past else moment()
        self.redact = Redactor()
        self._plan = plan
        self._run_id = plan.run_id
        self._store = store
        self._listeners = tuple(listeners)
        self._past = past
        self._moment = moment
        self._billed = sum(map(_billed, self.rows.values())) if past else 0
        self._successes: dict[int, Success] = {}

    # the run -----------------------------------------------------------------------------------------------------

    def start(self, *, processors: int, logs: Path) -> None:
        """Record that the run begins, or goes on; nothing has happened yet."""
        plan, target = self._plan, self._plan.clients.target.name
        if self._past is None:
            self._store.start_run(
                run_id=plan.run_id,
                dag_id=plan.dag.dag_id,
                target=target,
                logical_date=plan.context.logical_date,
                pid=os.getpid(),
                host=platform.node(),
                at=self.started,
                **self._recorded(),
            )
        else:
            self._reopen(self._past)
        self._emit(
            RunStarted(
                at=self._moment(),
                run_id=plan.run_id,
                dag_id=plan.dag.dag_id,
                target=target,
                logical_date=plan.context.logical_date,
                upstream=plan.upstream,
                processors=processors,
                logs=logs,
                teardowns=frozenset(plan.teardowns),
                resumed=self._past is not None,
                ended={task_id: row.state for task_id, row in self.rows.items() if row.state in FINAL},
            )
        )

    def _reopen(self, past: Past) -> None:
        """Record that the run goes on; as what it is now, if that was asked for."""
        changed = {} if past.state in (RunState.RUNNING, RunState.INTERRUPTED) else self._recorded()
        now = {"pid": os.getpid(), "host": platform.node(), "at": datetime.now(UTC)}
        with self._store.together():
            self._store.reopen_run(past.run_id, **{**changed, **now})
            self.forget(past.forgotten)
            for task_id in past.loose:  # that one was cached would hide, after a kill, that it has begun since
                self._store.forget_task(past.run_id, task_id)

    def _recorded(self) -> dict[str, Any]:
        """What a run is recorded with, so that it can be planned again; the tries before that are not counted then."""
        tried = {} if self._past is None else {"tried": dict(self._past.tries)}
        return {
            "definition": self._definition(),
            "file": self._plan.file,
            "options": self.redact.within({**self._plan.options, **tried, "dated": self._plan.dated}),
        }

    def forget(self, task_ids: Iterable[str]) -> None:
        """Take back that tasks have ended: they start again."""
        for task_id in task_ids:
            self._store.forget_task(self._plan.run_id, task_id)
            row = self.rows[task_id]
            self._billed -= _billed(row)
            row.forget_end()

    def end(self, stopped: RunState | None, *, signal: int | None) -> RunResult:
        """Record the run's end.

        Args:
            stopped: How the run ended if not by itself; by itself it failed if any task but a teardown did.
            signal: What ended it early.
        """
        teardowns = self._plan.teardowns
        failed = any(row.state in BAD and task_id not in teardowns for task_id, row in self.rows.items())
        state = stopped or (RunState.FAILED if failed else RunState.SUCCESS)
        now = datetime.now(UTC)
        self._store.end_run(self._plan.run_id, state, at=now)
        self._emit(RunEnded(at=now, run_id=self._plan.run_id, state=state))
        return RunResult(
            run_id=self._plan.run_id,
            dag_id=self._plan.dag.dag_id,
            target=self._plan.clients.target.name,
            state=state,
            logical_date=self._plan.context.logical_date,
            started=self.started,
            ended=now,
            tasks=Results(self.rows, teardowns),
            upstream=self._plan.upstream,
            signal=signal,
        )

    def broke(self, error: BaseException) -> None:
        """Record that the run cannot go on: as one to resume, if anything of it has begun."""
        begun = self._past is not None or any(row.tries for row in self.rows.values())
        state = RunState.INTERRUPTED if begun else RunState.FAILED
        self._store.end_run(self._plan.run_id, state, at=datetime.now(UTC), error=self.redact.said(error))

    def warn(self, message: str, *, task_id: str | None = None) -> None:
        """Tell what the user should know."""
        message = self.redact(message)
        self._emit(RunWarned(at=self._moment(), run_id=self._plan.run_id, message=message, task_id=task_id))

    # its tasks ---------------------------------------------------------------------------------------------------

    def begin(self, task_id: str, try_number: int, reason: str, job_id: str | None, *, at: datetime) -> None:
        """Take note that a try begins, and why."""
        row = self.rows[task_id]
        row.state, row.tries, row.started, row.reason = _RUNNING, try_number, row.started or at, reason
        if self._listeners:
            self._emit(TaskChanged(at, self._run_id, task_id, _RUNNING, try_number, "", None, job_id))

    def take_up(self, task_id: str, try_number: int, reason: str, *, at: datetime) -> None:
        """Take note that a try goes on that another process began."""
        row = self.rows[task_id]
        row.tries, row.started, row.reason = try_number, row.started or at, reason

    def cached(self, task_id: str, decision: Decision) -> None:
        """Let an earlier success stand for a task."""
        record = decision.record
        cached_from = record.success.run_id if record else None
        row = self.rows[task_id]
        row.cached_from, row.reason = cached_from, decision.reason
        told = f"{decision.reason}, from run {cached_from}" if cached_from else decision.reason
        self.settle(task_id, TaskState.CACHED, result=record.result if record else None, detail=told)

    def change(
        self, task_id: str, state: TaskState, detail: str = "", *, error: str | None = None, job_id: str | None = None
    ) -> None:
        """Give a task another state, or tell more of it."""
        row = self.rows[task_id]
        row.state = state
        self._tell(self._moment(), task_id, row, detail, error, job_id)

    def settle(
        self,
        task_id: str,
        state: TaskState,
        *,
        result: Any = None,
        error: str | None = None,
        detail: str = "",
        try_number: int | None = None,
    ) -> None:
        """Give a task its final state, and record it, and in the same way a try that ended with it."""
        row = self.rows[task_id]
        row.result, row.error, row.ended = result, error, self._moment()
        self._store.end_task(
            self._run_id,
            task_id,
            state,
            result=self.redact.within(result),
            error=error,
            at=row.ended,
            cached_from=row.cached_from,
            reason=self.redact.often(row.reason) if row.reason else None,
            try_number=try_number,
        )
        row.state = state
        self._tell(row.ended, task_id, row, detail, error)
        if result is not None:
            self._billed += _billed(row)
        if error is not None and state is TaskState.FAILED and task_id in self._plan.teardowns:
            self.warn(f"teardown {task_id!r} failed, which does not fail the run: {error}", task_id=task_id)

    def success_of(self, task_id: str) -> Success:
        """The success of the last try of a task: one value for all tasks whose try has the same number."""
        number = self.rows[task_id].tries
        if number not in self._successes:
            self._successes[number] = Success(run_id=self._run_id, try_number=number)
        return self._successes[number]

    @property
    def bytes_left(self) -> int | None:
        """What the run's queries may still be billed for."""
        if self._plan.max_bytes is None:
            return None
        return max(self._plan.max_bytes - self._billed, 1)  # 0 might be taken for no limit

    def context(self, before: Context) -> Context:
        """A run's context: one that knows what its tasks came to, and secrets."""
        secrets = Secrets(before.clients).value
        return replace(before, outputs=self.output_of, successes=self.succeeded, secrets=secrets)

    def output_of(self, task_id: str) -> Any:
        """What a task that has ended returned, in a copy; an earlier run's, where this run does not take the task."""
        known = self.rows.get(task_id)
        return json.loads(json.dumps(self._plan.recorded.get(task_id) if known is None else known.result))

    def succeeded(self, task_id: str) -> bool:
        """Whether a task that has ended did what it should; one that this run does not take did so earlier."""
        known = self.rows.get(task_id)
        return known is None or known.state.good

    def _definition(self) -> dict[str, Any]:
        """What the run does, as it is recorded."""
        return {
            **outline(self._plan),
            "params": self._masked({name: str(value) for name, value in self._plan.context.params.items()}),
        }

    def _masked(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Mask what fields hold; their names stay, whatever word a secret may be."""
        return {name: self.redact.within({name: value}).popitem()[1] for name, value in fields.items()}

    def _tell(
        self,
        at: datetime,
        task_id: str,
        row: Row,
        detail: str = "",
        error: str | None = None,
        job_id: str | None = None,
    ) -> None:
        if self._listeners:
            told = detail and self.redact(detail)
            self._emit(TaskChanged(at, self._run_id, task_id, row.state, row.tries, told, error, job_id))

    def _emit(self, event: Event) -> None:
        for listener in self._listeners:
            try:
                listener(event)
            except Exception as error:  # noqa: BLE001 - whoever watches must not be able to end the run
                self._listeners = tuple(other for other in self._listeners if other is not listener)
                self.warn(f"{listener!r} is told nothing more, as it failed: {self.redact.said(error)}")


def _known(task_ids: Iterable[str], past: Past) -> dict[str, Row]:
    """What is known of tasks before this process does anything."""
    rows = {task_id: Row(tries=past.tries.get(task_id, 0)) for task_id in task_ids}
    for task_id in rows.keys() & past.open.keys():
        rows[task_id].started = past.open[task_id].started
    return rows | {task_id: Row.of(task) for task_id, task in past.ended.items() if task_id in rows}


def _billed(row: Row) -> int:
    """What a task's success was billed for, in bytes."""
    if row.state is not TaskState.SUCCESS or not isinstance(row.result, dict):
        return 0
    billed = row.result.get("bytes_billed")
    return billed if isinstance(billed, int) else 0
