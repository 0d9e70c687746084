"""What happens in a run, as events with fields. Whoever watches a run is a function that takes an event."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from pydag_gcp.states import RunState, TaskState


@dataclass(frozen=True, kw_only=True)
class RunStarted:
    """A run has its id and its place in the store; nothing else has happened."""

    at: datetime
    run_id: str
    dag_id: str
    target: str
    logical_date: datetime
    #: Task id -> ids of its upstreams, in the order of definition.
    upstream: Mapping[str, tuple[str, ...]]
    processors: int
    #: The folder of the run's log files.
    logs: Path
    #: Tasks that clean up after others: that one fails does not fail the run.
    teardowns: Collection[str] = ()
    #: Whether the run goes on after its process was gone, or after it had ended.
    resumed: bool = False
    #: Task id -> its state, for tasks that had ended before.
    ended: Mapping[str, TaskState] = field(default_factory=dict)


class TaskChanged(NamedTuple):
    """A task has another state, or more is known of it. The one event of which there are very many, hence a tuple."""

    at: datetime
    run_id: str
    task_id: str
    state: TaskState
    #: 0 while no try has begun.
    try_number: int
    #: What it does or waits for: a job id, "waits 2.1 s before try 2", "cancelling".
    detail: str = ""
    #: Why the try failed, in one line.
    error: str | None = None
    job_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class RunWarned:
    """Something the user should know that fails nothing."""

    at: datetime
    run_id: str
    message: str
    task_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class RunEnded:
    """The run has its final state."""

    at: datetime
    run_id: str
    state: RunState


Event = RunStarted | TaskChanged | RunWarned | RunEnded
Listener = Callable[[Event], None]
