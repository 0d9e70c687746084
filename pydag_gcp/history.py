"""What ran: the runs, tasks and tries of a project, read from its metadata database."""

from __future__ import annotations

import contextlib
import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from pydag_gcp import outline, project_store
from pydag_gcp.errors import SettingsError, did_you_mean
from pydag_gcp.lease import acquire, holder
from pydag_gcp.past_run import PastRun, PastTask, PastTry
from pydag_gcp.settings import Settings
from pydag_gcp.settling import forget
from pydag_gcp.states import RunState, TaskState

#: Of so many newest runs the ids are looked at for one that was meant.
_NEAR = 1000


class History:
    """The runs of a project; a context manager. A project in which nothing has run is left as it is.

    Raises:
        StoreError: The metadata database cannot be read. Every method raises it, too.
    """

    def __init__(self, settings: Settings) -> None:
        self._logs = settings.home / "logs"
        self._open = contextlib.ExitStack()
        self._store = self._open.enter_context(project_store.opened(settings))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def runs(
        self, *, dag_id: str | None = None, state: RunState | None = None, limit: int | None = None
    ) -> list[PastRun]:
        """Runs, the newest first.

        Args:
            dag_id: Only those of this DAG.
            state: Only those in this state.
            limit: At most so many.
        """
        if state not in (RunState.RUNNING, RunState.INTERRUPTED):
            rows = self._store.runs(dag_id=dag_id, states=[state] if state else (), limit=limit)
            return [self._run(row) for row in rows]
        # Of those recorded as running, some may have been interrupted since.
        rows = self._store.runs(dag_id=dag_id, states={state, RunState.RUNNING})
        return [run for run in map(self._run, rows) if run.state is state][:limit]

    def check_dag(self, dag_id: str) -> None:
        """Check that a DAG has run here, if anything has.

        Raises:
            SettingsError: It has not.
        """
        known = {run.dag_id for run in self.runs(limit=_NEAR)}
        if known and dag_id not in known and not self.runs(dag_id=dag_id, limit=1):
            hint = did_you_mean(dag_id, known) or f"these have: {', '.join(sorted(known)[:10])}"
            raise SettingsError(f"no DAG {dag_id!r} has run in this project", hint=hint)

    def find(self, run_id: str | None = None) -> PastRun:
        """The run with this id, or with the only id that begins with it; without one, the newest.

        Raises:
            SettingsError: There is none, or more than one.
        """
        prefix = run_id or ""
        found = self._store.runs(prefix=prefix, limit=2 if run_id else 1)
        exact = [row for row in found if row["run_id"] == run_id]
        if len(exact or found) == 1:
            return self._run((exact or found)[0])
        if found:
            names = " and ".join(row["run_id"] for row in found)
            raise SettingsError(f"more than one run begins with {run_id!r}", hint=f"for instance {names}")
        known = [run.run_id for run in self.runs(limit=_NEAR)]
        if not known:
            raise SettingsError("nothing has run in this project", hint="start with `pydag run PIPELINE`")
        raise SettingsError(f"no run {run_id!r}", hint=did_you_mean(prefix, known) or "`pydag runs` lists them")

    def tasks(self, run: PastRun) -> dict[str, PastTask]:
        """Task id -> the task, in the order of definition."""
        row = self._store.run(run.run_id)
        definition = outline.read(json.loads(row["definition"]) if row else {})
        ended = {task["task_id"]: task for task in self._store.tasks(run.run_id)}
        tries = self.tries(run)
        return {
            task_id: _task(
                task_id, fields, definition["upstream"].get(task_id, ()), tries[task_id], ended.get(task_id), run
            )
            for task_id, fields in definition["tasks"].items()
        }

    def tries(self, run: PastRun) -> defaultdict[str, tuple[PastTry, ...]]:
        """Task id -> its tries so far, both in the order of their starts."""
        found: defaultdict[str, tuple[PastTry, ...]] = defaultdict(tuple)
        for row in self._store.tries(run.run_id):
            found[row["task_id"]] += (_try(row, run.logs),)
        return found

    def request_cancel(self, run: PastRun) -> None:
        """Ask the process that drives a run to cancel it."""
        self._store.request_cancel(run.run_id)

    def forget(self, run: PastRun) -> None:
        """Mark a run as cancelled, whatever its jobs do, unless it has ended meanwhile.

        Raises:
            RunHeld: Somebody drives it, or another run of its DAG on its target, which would settle it.
        """
        lease = acquire(self._store, dag_id=run.dag_id, target=run.target, run_id=run.run_id)
        try:
            self._store.guarded(lease)
            if self.find(run.run_id).is_open:
                forget(self._store, run.run_id)
        finally:
            lease.release()

    def _run(self, row: Mapping[str, Any]) -> PastRun:
        run = _past(row, self._logs)
        if run.state is not RunState.RUNNING or self._driven(run):
            return run
        now = self._store.run(run.run_id)  # it may have ended since it was read
        if now is None or now["state"] != RunState.RUNNING:
            return run if now is None else _past(now, self._logs)
        return replace(run, state=RunState.INTERRUPTED)

    def _driven(self, run: PastRun) -> bool:
        """Whether a process drives a run: it holds the lease then."""
        held = holder(self._store, dag_id=run.dag_id, target=run.target)
        return held is not None and held.run_id == run.run_id


def _past(row: Mapping[str, Any], logs: Path) -> PastRun:
    return PastRun(
        run_id=row["run_id"],
        dag_id=row["dag_id"],
        target=row["target"],
        state=RunState(row["state"]),
        logical_date=datetime.fromisoformat(row["logical_date"]),
        started=datetime.fromisoformat(row["started"]),
        ended=_moment(row["ended"]),
        error=row["error"],
        pid=row["pid"],
        host=row["host"],
        logs=logs / row["dag_id"] / row["run_id"],
        file=row["file"],
        cancelling=row["cancel_requested"],
    )


def _task(
    task_id: str,
    fields: Mapping[str, Any],
    upstream: tuple[str, ...],
    tries: tuple[PastTry, ...],
    ended: Mapping[str, Any] | None,
    run: PastRun,
) -> PastTask:
    known = PastTask(
        task_id=task_id,
        operator=fields.get("operator", ""),
        upstream=tuple(upstream),
        state=TaskState.CANCELLED if run.state is RunState.CANCELLED else _going(tries),
        tries=tries,
        teardown=bool(fields.get("teardown_of")),
    )
    if ended is None:
        return known
    return replace(
        known,
        state=TaskState(ended["state"]),
        result=json.loads(ended["result"]) if ended["result"] else None,
        error=ended["error"],
        ended=_moment(ended["ended"]),
        cached_from=ended["cached_from"],
        reason=ended["reason"] or "",
    )


def _going(tries: tuple[PastTry, ...]) -> TaskState:
    """The state of a task that has not ended, which only its tries tell."""
    if not tries:
        return TaskState.SCHEDULED
    return TaskState.UP_FOR_RETRY if tries[-1].ended else tries[-1].state


def _try(row: Mapping[str, Any], logs: Path) -> PastTry:
    return PastTry(
        task_id=row["task_id"],
        number=row["try_number"],
        state=TaskState(row["state"]),
        job_id=row["job_id"],
        handle=json.loads(row["handle"]) if row["handle"] else None,
        error=row["error"],
        started=datetime.fromisoformat(row["started"]),
        submitted=_moment(row["submitted"]),
        ended=_moment(row["ended"]),
        log=logs / row["task_id"] / f"{row['try_number']}.log",
    )


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
