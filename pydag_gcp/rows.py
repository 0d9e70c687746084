"""What is known of the tasks of a run while it goes on."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydag_gcp.result import TaskResult
from pydag_gcp.states import TaskState


@dataclass(slots=True, kw_only=True, eq=False)
class Row:
    """What is known of one task: the fields of :class:`~pydag_gcp.result.TaskResult` that change."""

    state: TaskState = TaskState.SCHEDULED
    tries: int = 0
    result: Any = None
    error: str | None = None
    started: datetime | None = None
    ended: datetime | None = None
    cached_from: str | None = None
    reason: str = ""

    @classmethod
    def of(cls, task: TaskResult) -> Row:
        """What an earlier process knew."""
        return cls(
            state=task.state,
            tries=task.tries,
            result=task.result,
            error=task.error,
            started=task.started,
            ended=task.ended,
            cached_from=task.cached_from,
            reason=task.reason,
        )

    def forget_end(self) -> None:
        """Take back that the task has ended: it starts again."""
        self.state, self.ended = TaskState.SCHEDULED, None
        self.result = self.error = self.cached_from = None


class Results(Mapping[str, TaskResult]):
    """Rows, as the caller of a run gets to see them; each result is made when it is asked for.

    Args:
        rows: By task id.
        teardowns: The tasks that clean up after others.
    """

    def __init__(self, rows: Mapping[str, Row], teardowns: Collection[str]) -> None:
        self._rows = rows
        self._teardowns = teardowns

    def __getitem__(self, task_id: str) -> TaskResult:
        row = self._rows[task_id]
        return TaskResult(
            task_id=task_id,
            state=row.state,
            tries=row.tries,
            result=row.result,
            error=row.error,
            started=row.started,
            ended=row.ended,
            teardown=task_id in self._teardowns,
            cached_from=row.cached_from,
            reason=row.reason,
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        return repr(dict(self))
