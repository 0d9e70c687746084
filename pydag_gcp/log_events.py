"""What happens in a run, as entries of a :class:`~pydag_gcp.log_format.JsonLog`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime

from pydag_gcp.events import Event, RunEnded, RunStarted, RunWarned, TaskChanged
from pydag_gcp.identity import remote_id
from pydag_gcp.log_format import JsonLog
from pydag_gcp.logs import Formatter
from pydag_gcp.operator import RemoteOperator
from pydag_gcp.planner import Plan
from pydag_gcp.progress import PlainLines
from pydag_gcp.states import RunState, TaskState

_SEVERITIES = {
    TaskState.FAILED: "ERROR",
    TaskState.UPSTREAM_FAILED: "WARNING",
    TaskState.UP_FOR_RETRY: "WARNING",
    TaskState.CANCELLED: "WARNING",
    RunState.FAILED: "ERROR",
    RunState.CANCELLED: "WARNING",
    RunState.INTERRUPTED: "WARNING",
}


class LogEvents(PlainLines):
    """Says in entries what plain lines say: a listener of events. It makes the handlers of the tasks' logs, too.

    Args:
        log: Where the entries go.
        plan: The run that is listened to.
    """

    def __init__(self, log: JsonLog, plan: Plan) -> None:
        super().__init__(log.stream)
        self._log = log
        self._plan = plan

    def handler(self, task_id: str, try_number: int) -> logging.Handler:
        """The handler of what one try logs."""
        return _TaskHandler(self._log, self._labels(task_id, try_number))

    def _say(self, event: Event, text: str) -> None:
        match event:
            case TaskChanged():
                labels, state = self._labels(event.task_id, event.try_number), event.state.value
                self._write(event, _SEVERITIES.get(event.state, "INFO"), text, labels, state=state)
            case RunEnded():
                severity = _SEVERITIES.get(event.state, "INFO")
                self._write(event, severity, text, self._labels(), state=event.state.value)
            case RunWarned():
                self._write(event, "WARNING", text, self._labels(event.task_id))
            case RunStarted():
                self._write(event, "INFO", text, self._labels())

    def _write(self, event: Event, severity: str, text: str, labels: dict[str, str], **fields: str) -> None:
        self._log.write(severity, text, at=event.at, labels=labels, **fields)

    def _labels(self, task_id: str | None = None, try_number: int = 0) -> dict[str, str]:
        labels = {"dag_id": self._plan.dag.dag_id, "run_id": self._plan.run_id}
        if task_id is not None:
            labels["task_id"] = task_id
        if task_id is not None and try_number:
            labels["try_number"] = str(try_number)
            if isinstance(self._plan.tasks[task_id], RemoteOperator):
                labels["job_id"] = remote_id(self._plan.run_id, task_id, try_number)
        return labels


class _TaskHandler(logging.Handler):
    """Writes what one try of a task logs. Never raises: a log must not fail its task.

    Args:
        log: Where to.
        labels: The try's.
    """

    def __init__(self, log: JsonLog, labels: Mapping[str, str]) -> None:
        super().__init__()
        self._log = log
        self._labels = labels
        self._text = Formatter(log.redact)
        self._over = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        if self._over:
            return
        try:
            at = datetime.fromtimestamp(record.created, tz=UTC)
            self._log.write(_severity_of(record.levelno), self._text.message(record), at=at, labels=self._labels)
        except Exception:  # noqa: BLE001 - whatever it is, it is not the task's fault
            self.handleError(record)

    def close(self) -> None:
        """Drop what is logged from now on."""
        self._over = True
        super().close()


def _severity_of(level: int) -> str:
    """Name a level of Python's logging as Cloud Logging does."""
    names = ((50, "CRITICAL"), (40, "ERROR"), (30, "WARNING"), (20, "INFO"))
    return next((name for least, name in names if level >= least), "DEBUG")
