"""A run of the past, its tasks and their tries, as the metadata database knows them; the run may be going on still."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydag_gcp.result import RunResult, TaskResult
from pydag_gcp.states import RunState, TaskState


@dataclass(frozen=True, kw_only=True)
class PastTry:
    """One try of a task.

    Attributes:
        job_id: The id under which its remote job was submitted.
        handle: What the service said of the job, once it had accepted it.
        submitted: When that was.
        log: Its log file, which there is once something was logged.
    """

    task_id: str
    number: int
    state: TaskState
    job_id: str | None
    handle: Mapping[str, Any] | None
    error: str | None
    started: datetime
    submitted: datetime | None
    ended: datetime | None
    log: Path

    def to_json(self) -> dict[str, Any]:
        """Its part of the document that ``--json`` prints."""
        return {
            "try_number": self.number,
            "state": self.state.value,
            "started": _text(self.started),
            "submitted": _text(self.submitted),
            "ended": _text(self.ended),
            "error": self.error,
            "job_id": self.job_id,
            "handle": self.handle,
            "log": str(self.log),
        }


@dataclass(frozen=True, kw_only=True)
class PastTask:
    """A task of a run; it may not have begun, or not have ended."""

    task_id: str
    operator: str
    upstream: tuple[str, ...]
    state: TaskState
    tries: tuple[PastTry, ...] = ()
    result: Any = None
    error: str | None = None
    ended: datetime | None = None
    #: Whether it cleaned up after others.
    teardown: bool = False
    #: The run whose success stands for it, if it is cached.
    cached_from: str | None = None
    #: Why it was run, or not.
    reason: str = ""

    @property
    def started(self) -> datetime | None:
        """When its first try began."""
        return self.tries[0].started if self.tries else None

    def to_json(self) -> dict[str, Any]:
        """Its part of the document that ``--json`` prints."""
        return {
            "operator": self.operator,
            "upstream": list(self.upstream),
            "state": self.state.value,
            "started": _text(self.started),
            "ended": _text(self.ended),
            "result": self.result,
            "error": self.error,
            "cached_from": self.cached_from,
            "reason": self.reason,
            "tries": [one.to_json() for one in self.tries],
        }


@dataclass(frozen=True, kw_only=True)
class PastRun:
    """A run; ``interrupted`` also if the process that drove it has died without a word."""

    run_id: str
    dag_id: str
    target: str
    state: RunState
    logical_date: datetime
    started: datetime
    ended: datetime | None
    error: str | None
    pid: int
    host: str
    #: The folder of its log files.
    logs: Path
    #: The pipeline file, where it is known.
    file: str | None = None
    #: Whether it was asked to cancel.
    cancelling: bool = False

    @property
    def is_open(self) -> bool:
        """Whether it has not ended: it is active, or can go on."""
        return self.state in (RunState.RUNNING, RunState.INTERRUPTED)

    def seconds(self, now: datetime) -> float | None:
        """How long it took, or has taken so far; None if nobody knows when its process died."""
        if self.ended is None and self.state is not RunState.RUNNING:
            return None
        return ((self.ended or now) - self.started).total_seconds()

    def to_json(self, now: datetime) -> dict[str, Any]:
        """The document that ``--json`` prints."""
        seconds = self.seconds(now)
        return {
            "run_id": self.run_id,
            "dag_id": self.dag_id,
            "target": self.target,
            "state": self.state.value,
            "logical_date": _text(self.logical_date),
            "started": _text(self.started),
            "ended": _text(self.ended),
            "seconds": None if seconds is None else round(seconds, 3),
            "error": self.error,
            "pid": self.pid,
            "host": self.host,
            "file": self.file,
            "cancel_requested": self.cancelling,
            "logs": str(self.logs),
        }


def result_of(run: PastRun, tasks: Mapping[str, PastTask], now: datetime) -> RunResult:
    """What a run has come to so far, in the form in which one that just ended is told of."""
    return RunResult(
        run_id=run.run_id,
        dag_id=run.dag_id,
        target=run.target,
        state=run.state,
        logical_date=run.logical_date,
        started=run.started,
        ended=run.ended or now,
        tasks={
            task_id: TaskResult(
                task_id=task_id,
                state=task.state,
                tries=len(task.tries),
                result=task.result,
                error=task.error,
                started=task.started,
                ended=task.ended,
                teardown=task.teardown,
                cached_from=task.cached_from,
                reason=task.reason,
            )
            for task_id, task in tasks.items()
        },
        upstream={task_id: task.upstream for task_id, task in tasks.items()},
    )


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
