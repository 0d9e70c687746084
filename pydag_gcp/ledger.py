"""What is known of a run: kept in memory, written to the store, told to whoever watches."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydag_gcp.events import Event, Listener, RunEnded, RunStarted, RunWarned, TaskChanged
from pydag_gcp.planner import Plan
from pydag_gcp.redaction import Redactor
from pydag_gcp.result import RunResult, TaskResult
from pydag_gcp.states import BAD, RunState, TaskState
from pydag_gcp.store import Store


class Ledger:
    """The one place where the states of a run and its tasks change.

    Belongs to the driving thread; only :meth:`output_of` is called by others.

    Args:
        plan: What the run does.
        store: Where it is recorded.
        listeners: Called with every event.
    """

    def __init__(self, plan: Plan, store: Store, listeners: Sequence[Listener]) -> None:
        self.tasks = {
            task_id: TaskResult(task_id=task_id, state=TaskState.SCHEDULED, teardown=task_id in plan.teardowns)
            for task_id in plan.tasks
        }
        self.started = datetime.now(UTC)
        self.redact = Redactor()
        self._plan = plan
        self._store = store
        self._listeners = list(listeners)

    # the run -----------------------------------------------------------------------------------------------------

    def start(self, *, processors: int, logs: Path) -> None:
        """Record the run; nothing has happened yet."""
        plan, target = self._plan, self._plan.clients.target.name
        self._store.start_run(
            run_id=plan.run_id,
            dag_id=plan.dag.dag_id,
            target=target,
            logical_date=plan.context.logical_date,
            definition=self._definition(),
            pid=os.getpid(),
            host=platform.node(),
            at=self.started,
        )
        self._emit(
            RunStarted(
                at=self.started,
                run_id=plan.run_id,
                dag_id=plan.dag.dag_id,
                target=target,
                logical_date=plan.context.logical_date,
                upstream=plan.upstream,
                processors=processors,
                logs=logs,
                teardowns=frozenset(plan.teardowns),
            )
        )

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
        """Record that the run cannot go on."""
        text = self.redact.said(error)
        self._store.end_run(self._plan.run_id, RunState.FAILED, at=datetime.now(UTC), error=text)

    def warn(self, message: str, *, task_id: str | None = None) -> None:
        """Tell what the user should know."""
        message = self.redact(message)
        self._emit(RunWarned(at=datetime.now(UTC), run_id=self._plan.run_id, message=message, task_id=task_id))

    # its tasks ---------------------------------------------------------------------------------------------------

    def begin(self, task_id: str, try_number: int, *, at: datetime) -> None:
        """Take note that a try begins."""
        self._know(task_id, tries=try_number, started=self.tasks[task_id].started or at)

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

    def settle(self, task_id: str, state: TaskState, *, result: Any = None, error: str | None = None) -> None:
        """Give a task its final state, and record it."""
        now = datetime.now(UTC)
        self._know(task_id, result=result, error=error, ended=now)
        stored = self.redact.within(result)
        self._store.end_task(self._plan.run_id, task_id, state, result=stored, error=error, at=now)
        self.change(task_id, state, error=error)
        if state is TaskState.FAILED and self.tasks[task_id].teardown:
            self.warn(f"teardown {task_id!r} failed, which does not fail the run: {error}", task_id=task_id)

    def output_of(self, task_id: str) -> Any:
        """What a task that has ended returned, in a copy; an earlier run's, where this run does not take the task."""
        known = self.tasks.get(task_id)
        return json.loads(json.dumps(self._plan.recorded.get(task_id) if known is None else known.result))

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
