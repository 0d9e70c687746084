"""What is known of a run: kept in memory, written to the store, told to whoever watches."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydag_gcp.context import Context
from pydag_gcp.decision import Decision
from pydag_gcp.events import Event, Listener, RunEnded, RunStarted, RunWarned, TaskChanged
from pydag_gcp.planner import Plan
from pydag_gcp.redaction import Redactor
from pydag_gcp.result import RunResult, TaskResult
from pydag_gcp.resumption import Past, described
from pydag_gcp.secret import Secrets
from pydag_gcp.states import BAD, RunState, TaskState
from pydag_gcp.store import Store


class Ledger:
    """The one place where the states of a run and its tasks change.

    Belongs to the driving thread; only :meth:`output_of` and :meth:`succeeded` are called by others.

    Args:
        plan: What the run does.
        store: Where it is recorded.
        listeners: Called with every event.
        past: What is known of the run, if it goes on.
    """

    def __init__(self, plan: Plan, store: Store, listeners: Sequence[Listener], past: Past | None = None) -> None:
        self.tasks = {task_id: _first_known(task_id, plan, past) for task_id in plan.tasks}
        self.started = past.started if past else datetime.now(UTC)
        self.redact = Redactor()
        self._plan = plan
        self._store = store
        self._listeners = list(listeners)
        self._past = past

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
                at=datetime.now(UTC),
                run_id=plan.run_id,
                dag_id=plan.dag.dag_id,
                target=target,
                logical_date=plan.context.logical_date,
                upstream=plan.upstream,
                processors=processors,
                logs=logs,
                teardowns=frozenset(plan.teardowns),
                resumed=self._past is not None,
                ended={task_id: task.state for task_id, task in self.tasks.items() if task.state.final},
            )
        )

    def _reopen(self, past: Past) -> None:
        """Record that the run goes on; as what it is now, if that was asked for."""
        changed = self._recorded() if past.forgotten else {}
        now = {"pid": os.getpid(), "host": platform.node(), "at": datetime.now(UTC)}
        with self._store.together():
            self._store.reopen_run(past.run_id, **{**changed, **now})
            self.forget(past.forgotten)

    def _recorded(self) -> dict[str, Any]:
        """What a run is recorded with, so that it can be planned again."""
        return {
            "definition": self._definition(),
            "file": self._plan.file,
            "options": self.redact.within({**self._plan.options, "dated": self._plan.dated}),
        }

    def forget(self, task_ids: Iterable[str]) -> None:
        """Take back that tasks have ended: they start again."""
        for task_id in task_ids:
            self._store.forget_task(self._plan.run_id, task_id)
            self._know(task_id, state=TaskState.SCHEDULED, result=None, error=None, ended=None, cached_from=None)

    def end(self, stopped: RunState | None, *, signal: int | None) -> RunResult:
        """Record the run's end.

        Args:
            stopped: How the run ended if not by itself; by itself it failed if any task but a teardown did.
            signal: What ended it early.
        """
        failed = any(task.state in BAD and not task.teardown for task in self.tasks.values())
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
            tasks=self.tasks,
            upstream=self._plan.upstream,
            signal=signal,
        )

    def broke(self, error: BaseException) -> None:
        """Record that the run cannot go on: as one to resume, if anything of it has begun."""
        begun = self._past is not None or any(task.tries for task in self.tasks.values())
        state = RunState.INTERRUPTED if begun else RunState.FAILED
        self._store.end_run(self._plan.run_id, state, at=datetime.now(UTC), error=self.redact.said(error))

    def warn(self, message: str, *, task_id: str | None = None) -> None:
        """Tell what the user should know."""
        message = self.redact(message)
        self._emit(RunWarned(at=datetime.now(UTC), run_id=self._plan.run_id, message=message, task_id=task_id))

    # its tasks ---------------------------------------------------------------------------------------------------

    def begin(self, task_id: str, try_number: int, *, at: datetime, reason: str = "") -> None:
        """Take note that a try begins, and why."""
        self._know(task_id, tries=try_number, started=self.tasks[task_id].started or at, reason=reason)

    def cached(self, task_id: str, decision: Decision) -> None:
        """Let an earlier success stand for a task."""
        record = decision.record
        cached_from = record.success.run_id if record else None
        self._know(task_id, cached_from=cached_from, reason=decision.reason)
        told = f"{decision.reason}, from run {cached_from}" if cached_from else decision.reason
        self.settle(task_id, TaskState.CACHED, result=record.result if record else None, detail=told)

    def change(
        self, task_id: str, state: TaskState, detail: str = "", *, error: str | None = None, job_id: str | None = None
    ) -> None:
        """Give a task another state, or tell more of it."""
        self._know(task_id, state=state)
        self._emit(
            TaskChanged(
                at=datetime.now(UTC),
                run_id=self._plan.run_id,
                task_id=task_id,
                state=state,
                try_number=self.tasks[task_id].tries,
                detail=self.redact(detail),
                error=error,
                job_id=job_id,
            )
        )

    def settle(
        self, task_id: str, state: TaskState, *, result: Any = None, error: str | None = None, detail: str = ""
    ) -> None:
        """Give a task its final state, and record it."""
        now = datetime.now(UTC)
        self._know(task_id, result=result, error=error, ended=now)
        task = self.tasks[task_id]
        self._store.end_task(
            self._plan.run_id,
            task_id,
            state,
            result=self.redact.within(result),
            error=error,
            at=now,
            cached_from=task.cached_from,
            reason=self.redact(task.reason) or None,
        )
        self.change(task_id, state, detail, error=error)
        if state is TaskState.FAILED and self.tasks[task_id].teardown:
            self.warn(f"teardown {task_id!r} failed, which does not fail the run: {error}", task_id=task_id)

    @property
    def bytes_left(self) -> int | None:
        """What the run's queries may still be billed for."""
        if self._plan.max_bytes is None:
            return None
        results = [task.result for task in self.tasks.values() if task.state is TaskState.SUCCESS]
        billed = sum(result.get("bytes_billed") or 0 for result in results if isinstance(result, dict))
        return max(self._plan.max_bytes - billed, 1)  # 0 might be taken for no limit

    def context(self, before: Context) -> Context:
        """A run's context: one that knows what its tasks came to, and secrets."""
        secrets = Secrets(before.clients).value
        return replace(before, outputs=self.output_of, successes=self.succeeded, secrets=secrets)

    def output_of(self, task_id: str) -> Any:
        """What a task that has ended returned, in a copy; an earlier run's, where this run does not take the task."""
        known = self.tasks.get(task_id)
        return json.loads(json.dumps(self._plan.recorded.get(task_id) if known is None else known.result))

    def succeeded(self, task_id: str) -> bool:
        """Whether a task that has ended did what it should; one that this run does not take did so earlier."""
        known = self.tasks.get(task_id)
        return known is None or known.state.good

    def _definition(self) -> dict[str, Any]:
        """What the run does, as it is recorded."""
        return {
            "tasks": {
                task_id: {
                    "operator": type(task).__name__,
                    **self._masked(task.model_dump(mode="json", by_alias=True, fallback=repr)),
                }
                for task_id, task in self._plan.tasks.items()
            },
            "upstream": self._plan.upstream,
            "fingerprints": described(self._plan),
            "params": self._masked({name: str(value) for name, value in self._plan.context.params.items()}),
        }

    def _masked(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Mask what fields hold; their names stay, whatever word a secret may be."""
        return {name: self.redact.within({name: value}).popitem()[1] for name, value in fields.items()}

    def _know(self, task_id: str, **fields: Any) -> None:
        self.tasks[task_id] = replace(self.tasks[task_id], **fields)

    def _emit(self, event: Event) -> None:
        for listener in list(self._listeners):
            try:
                listener(event)
            except Exception as error:  # noqa: BLE001 - whoever watches must not be able to end the run
                self._listeners.remove(listener)
                self.warn(f"{listener!r} is told nothing more, as it failed: {self.redact.said(error)}")


def _first_known(task_id: str, plan: Plan, past: Past | None) -> TaskResult:
    """What is known of a task before this process does anything."""
    teardown = task_id in plan.teardowns
    new = TaskResult(task_id=task_id, state=TaskState.SCHEDULED, teardown=teardown)
    if past is None:
        return new
    if task_id in past.ended:
        return replace(past.ended[task_id], teardown=teardown)
    started = past.open[task_id].started if task_id in past.open else None
    return replace(new, tries=past.tries.get(task_id, 0), started=started)
