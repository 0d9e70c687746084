"""What is known of a run while it goes on: events go in, rows and words for whoever watches come out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from pydag_gcp.events import RunStarted, TaskChanged
from pydag_gcp.states import BAD, TaskState

_ACTIVE = frozenset({TaskState.RUNNING, TaskState.DEFERRED, TaskState.UP_FOR_RETRY})
_IDLE = {
    TaskState.QUEUED: "waits for a processor",
    TaskState.RUNNING: "running",
    TaskState.DEFERRED: "waits for its job",
    TaskState.UP_FOR_RETRY: "waits before it is tried again",
    TaskState.SUCCESS: "",
    TaskState.CACHED: "unchanged, not run",
    TaskState.CANCELLED: "cancelled",
}
#: How many names a list of tasks has before the rest is only counted.
_NAMES = 5


def headline(started: RunStarted) -> str:
    """Say what has begun: the first line of every run."""
    count = len(started.upstream)
    ended = f", {len(started.ended)} of them ended before" if started.ended else ""
    return (
        f"run {started.run_id} of {started.dag_id} on {started.target}{' goes on' if started.resumed else ''}, "
        f"logical date {started.logical_date:%Y-%m-%dT%H:%M:%S}, {count} task{'s' * (count != 1)}{ended}"
    )


def one_line(text: str) -> str:
    """Make a text safe to show: on one line, with control characters (which could drive a terminal) spelled out."""
    if text.isprintable():
        return text
    joined = " ".join(text.splitlines())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in joined)


def duration(seconds: float) -> str:
    """Write a duration for people: ``0.25 s``, ``12.3 s``, ``3 min 05 s``, ``2 h 03 min``."""
    if seconds < 0.9995:
        return f"{max(seconds, 0.0):.2f} s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def name_some(names: Iterable[str]) -> str:
    """List the first few names and count the rest: ``a, b and 7 more``."""
    known = list(names)
    shown = ", ".join(known[:_NAMES])
    return f"{shown} and {len(known) - _NAMES} more" if len(known) > _NAMES else shown


@dataclass(slots=True)
class Row:
    """What is known of one task."""

    task_id: str
    state: TaskState = TaskState.SCHEDULED
    try_number: int = 0
    detail: str = ""
    error: str = ""
    began: datetime | None = None
    ended: datetime | None = None

    def elapsed(self, now: datetime) -> float | None:
        """Seconds since its first try began, or that it took; None if it never began."""
        return None if self.began is None else ((self.ended or now) - self.began).total_seconds()


class Board:
    """What is known of a run. Taking in an event costs the same however many tasks there are."""

    def __init__(self, started: RunStarted) -> None:
        self.started = started
        #: When the run ended.
        self.ended: datetime | None = None
        self.rows: Mapping[str, Row] = {
            task_id: Row(task_id, started.ended.get(task_id, TaskState.SCHEDULED)) for task_id in started.upstream
        }
        self.counts = Counter(row.state for row in self.rows.values())
        self._active: dict[str, None] = {}
        self._failed: list[str] = []
        self._succeeded: list[str] = []
        for task_id in started.ended:
            self._file(self.rows[task_id])

    def apply(self, event: TaskChanged) -> bool:
        """Take in an event; tell whether it says anything new."""
        row = self.rows[event.task_id]
        detail, error = one_line(event.detail), one_line(event.error or "")
        if (row.state, row.try_number, row.detail, row.error) == (event.state, event.try_number, detail, error):
            return False
        self.counts[row.state] -= 1
        self.counts[event.state] += 1
        row.state, row.try_number, row.detail, row.error = event.state, event.try_number, detail, error
        if row.began is None and event.state in _ACTIVE:
            row.began = event.at
        if event.state.final:
            row.ended = event.at
            self._file(row)
        if event.state in _ACTIVE:
            self._active[row.task_id] = None
        else:
            self._active.pop(row.task_id, None)
        return True

    def _file(self, row: Row) -> None:
        if row.state is TaskState.FAILED:
            self._failed.append(row.task_id)
        elif row.state not in BAD:
            self._succeeded.append(row.task_id)

    def pick(self, most: int) -> tuple[list[Row], int]:
        """Choose at most ``most`` rows to show, and count those left out.

        All of them where they fit; else some that failed, those that ended well last, and the active ones.
        """
        if len(self.rows) <= most:
            return list(self.rows.values()), 0
        if most < 1:
            return [], len(self.rows)
        failed = list(islice(self._failed, max(most // 4, 1)))
        active = list(islice(self._active, most - len(failed)))
        ended = list(islice(reversed(self._succeeded), most - len(failed) - len(active)))
        shown = [self.rows[task_id] for task_id in (*failed, *reversed(ended), *active)]
        return shown, len(self.rows) - len(shown)

    def words(self, row: Row) -> str:
        """Say what a task does, what it waits for, or why it ended the way it did."""
        if row.state is TaskState.SCHEDULED:
            return f"waits for {name_some(self._unfinished(row)) or 'its turn'}"
        if row.state is TaskState.UPSTREAM_FAILED:
            return f"not run: {name_some(self._blamed(row))} did not succeed"
        if row.state is TaskState.SKIPPED:
            return f"not run: {self._why_skipped(row)}"
        if row.state is TaskState.CANCELLED and not row.try_number:
            return "cancelled before it began"
        text = row.detail or _IDLE.get(row.state, "")
        if row.error:
            text = f"{row.error}; {row.detail}" if row.detail else row.error
        return f"try {row.try_number}: {text}" if row.try_number > 1 and not row.state.final else text

    @property
    def summary(self) -> str:
        """Counts of tasks: ``3 of 8 ended, 2 active, 1 failed``."""
        ended = sum(count for state, count in self.counts.items() if state.final)
        parts = [f"{ended} of {len(self.rows)} ended"]
        if self._active:
            parts.append(f"{len(self._active)} active")
        torn = sum(name in self.started.teardowns for name in self._failed)
        for state in (*BAD, TaskState.SKIPPED):
            count = self.counts[state] - torn * (state is TaskState.FAILED)
            parts.extend([f"{count} {state.value}"] if count else [])
        return ", ".join([*parts, *([f"{torn} teardown{'s' * (torn != 1)} failed"] if torn else [])])

    def _unfinished(self, row: Row) -> Iterator[str]:
        return (name for name in self.started.upstream[row.task_id] if not self.rows[name].state.final)

    def _why_skipped(self, row: Row) -> str:
        above = [self.rows[name] for name in self.started.upstream[row.task_id]]
        idle = [other.task_id for other in above if other.state.final and not other.try_number]
        if idle:
            return f"{name_some(idle)} did not run"
        return "not chosen upstream, or its trigger rule was not met"

    def _blamed(self, row: Row) -> Iterator[str]:
        return (name for name in self.started.upstream[row.task_id] if self.rows[name].state in BAD)
