"""What a run came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydag_gcp.errors import RunFailed
from pydag_gcp.states import RunState, TaskState


@dataclass(frozen=True, kw_only=True)
class TaskResult:
    """What a task came to.

    Attributes:
        state: Its state when the run ended.
        tries: How many tries it took; 0 if it never started.
        result: What it returned, as JSON.
        error: Why it failed, in one line.
        started: When its first try began.
        ended: When it got its final state.
        teardown: Whether it cleaned up after others: that it failed does not fail the run.
        cached_from: The run whose success stands for it, if it is cached.
        reason: Why it was run, or not.
    """

    task_id: str
    state: TaskState
    tries: int = 0
    result: Any = None
    error: str | None = None
    started: datetime | None = None
    ended: datetime | None = None
    teardown: bool = False
    cached_from: str | None = None
    reason: str = ""

    @property
    def seconds(self) -> float:
        """From the start of its first try to its end, in seconds; 0 if it never started."""
        if self.started is None or self.ended is None:
            return 0.0
        return (self.ended - self.started).total_seconds()


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What a run came to: ``result.tasks["ingest"].result``."""

    run_id: str
    dag_id: str
    target: str
    state: RunState
    logical_date: datetime
    started: datetime
    ended: datetime
    tasks: Mapping[str, TaskResult]
    upstream: Mapping[str, tuple[str, ...]]
    #: The signal that ended the run early.
    signal: int | None = None

    @property
    def makespan(self) -> float:
        """Seconds from start to end."""
        return (self.ended - self.started).total_seconds()

    @property
    def critical_path(self) -> tuple[str, ...]:
        """The chain of tasks whose durations add up to the most: no number of processors makes the run shorter."""
        return longest_path(self.upstream, {task_id: task.seconds for task_id, task in self.tasks.items()})

    @property
    def critical_seconds(self) -> float:
        """The sum of the durations along :attr:`critical_path`."""
        return sum(self.tasks[task_id].seconds for task_id in self.critical_path)

    def raise_for_state(self) -> RunResult:
        """Return the result if the run succeeded.

        Raises:
            RunFailed: It did not; names the first task that failed, and why.
        """
        __tracebackhide__ = True  # in a test the line that called is what matters
        if self.state is RunState.SUCCESS:
            return self
        failed = [task for task in self.tasks.values() if task.state is TaskState.FAILED and not task.teardown]
        first = min(failed, key=lambda task: task.ended or self.ended, default=None)
        why = f": task {first.task_id!r}: {first.error}" if first else ""
        raise RunFailed(f"{self.state.value}{why}", where=f"run {self.run_id} of {self.dag_id!r}")

    def to_json(self) -> dict[str, Any]:
        """The document that ``--json`` prints."""
        return {
            "run_id": self.run_id,
            "dag_id": self.dag_id,
            "target": self.target,
            "state": self.state.value,
            "logical_date": self.logical_date.isoformat(),
            "started": self.started.isoformat(),
            "ended": self.ended.isoformat(),
            "makespan": round(self.makespan, 3),
            "critical_path": list(self.critical_path),
            "critical_seconds": round(self.critical_seconds, 3),
            "tasks": {
                task.task_id: {
                    "state": task.state.value,
                    "tries": task.tries,
                    "seconds": round(task.seconds, 3),
                    "started": task.started.isoformat() if task.started else None,
                    "ended": task.ended.isoformat() if task.ended else None,
                    "result": task.result,
                    "error": task.error,
                    "cached_from": task.cached_from,
                    "reason": task.reason,
                }
                for task in self.tasks.values()
            },
        }


def longest_path(upstream: Mapping[str, tuple[str, ...]], seconds: Mapping[str, float]) -> tuple[str, ...]:
    """Find the path with the greatest sum of durations in a DAG whose keys are in topological order or not.

    Linear in tasks and edges.
    """
    import graphlib

    best: dict[str, float] = {}
    previous: dict[str, str] = {}
    for task_id in graphlib.TopologicalSorter(upstream).static_order():
        before = max(upstream.get(task_id, ()), key=lambda other: best[other], default=None)
        best[task_id] = seconds.get(task_id, 0.0) + (best[before] if before is not None else 0.0)
        if before is not None:
            previous[task_id] = before
    if not best:
        return ()
    path = [max(best, key=lambda task_id: best[task_id])]
    while path[-1] in previous:
        path.append(previous[path[-1]])
    return tuple(reversed(path))
