"""What becomes of each task of a run that goes on: decided before it starts, or when its upstreams have ended."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from pydag_gcp.decision import Decision, Verdict
from pydag_gcp.record import Record, Records, Success
from pydag_gcp.reuse import Reuse

_STARTED = Decision(verdict=Verdict.RUN, reason="had begun when the run was interrupted")
_ALWAYS = Decision(verdict=Verdict.RUN, reason="")


class Verdicts:
    """Decisions and current successes.

    :class:`~pydag_gcp.reuse.Reuse` asks the cloud for one thread at a time; the driving thread never waits for that.

    Args:
        reuse: Decides.
        records: Where successes are remembered.
        known: What is known from before this process took the run up: task id -> its current success.

    Attributes:
        reads: Tells the versions of what a task is going to read, as they were when it was decided.
        needs_observation: Tells whether :meth:`observe` would ask anybody for anything.
        idle: Whether nothing can be cached, so that nobody will ask how a task :meth:`ended`.
    """

    def __init__(self, reuse: Reuse, records: Records, known: Mapping[str, Success | None]) -> None:
        self._reuse = reuse
        self.reads, self.needs_observation = reuse.before, reuse.needs_observation
        self.idle = reuse.idle
        self._kept = records
        self._lock = threading.Lock()
        self._decisions: dict[str, Decision] = {}
        self._begun: set[str] = set()
        self._known = dict(known)  # it only grows, and is only looked up in, so that it is never copied
        self._records: dict[tuple[str, str, str], Record] = {}

    def decide(self, ended: Mapping[str, datetime] | None = None, *, since: datetime | None = None) -> list[str]:
        """Decide about every task; return what the author should know. Called once, before the first task starts.

        Args:
            ended: When those tasks did that have ended, if the run goes on.
            since: When it was begun, if it goes on.

        Raises:
            TargetUnreachable: The cloud is silent.
        """
        with self._lock:
            decisions = self._reuse.decide(self._known, ended=ended or {}, since=since)
            decisions.update(dict.fromkeys(self._begun, _STARTED))
            self._decisions = decisions
            return list(self._reuse.warnings)

    def had_begun(self, task_id: str, reads: Mapping[str, str | None] | None) -> None:
        """Take over that an earlier process began a task; before it is decided about others.

        Args:
            task_id: The task.
            reads: What it reads, as it was when its job was sent; None: it begins anew.
        """
        with self._lock:
            self._begun.add(task_id)
            self._decisions[task_id] = _STARTED
            if reads is not None:
                self._reuse.restore(task_id, reads)

    def of(self, task_id: str) -> Decision:
        """What becomes of a task; it runs, where nobody has decided."""
        return self._decisions.get(task_id, _ALWAYS)

    def made_with(self, task_id: str) -> frozenset[str]:
        """See :meth:`pydag_gcp.reuse.Reuse.made_with`."""
        with self._lock:
            return self._reuse.made_with(task_id)

    def newest_run(self, task_id: str) -> str | None:
        """See :meth:`pydag_gcp.reuse.Reuse.newest_run`."""
        with self._lock:
            return self._reuse.newest_run(task_id)

    def decide_now(self, task_id: str) -> list[str]:
        """Decide about a task that was left for later; its upstreams have ended. Return what the author should know.

        Raises:
            google.api_core.exceptions.GoogleAPICallError: The cloud does not say what there is.
        """
        with self._lock:
            told = len(self._reuse.warnings)
            self._decisions[task_id] = self._reuse.decide_now(task_id, self._known)
            return self._reuse.warnings[told:]

    def observe(self, task_id: str, success: Success, result: Any, *, last: bool) -> tuple[Record, ...]:
        """Make the records of a success; see :meth:`pydag_gcp.reuse.Reuse.record`."""
        with self._lock:
            # Of two members of a chain that end at once, the second one has to see that the first has ended.
            self._known[task_id] = success
            records = self._reuse.record(task_id, success.try_number, result, self._known, last=last)
            self._records.update({record.key: record for record in records})
            return records

    def keep(self, records: Iterable[Record]) -> None:
        """Remember these, as they stand now: another thread may have added to them since."""
        if now := [self._records[record.key] for record in records]:
            self._kept.put(now)

    def finish(self) -> None:
        """Remember what follows once all tasks have ended. Waits for :meth:`decide` if that goes on."""
        with self._lock:
            records = self._reuse.finish(self._known)
        self._kept.put(records)

    def ended(self, task_id: str, success: Success | None) -> None:
        """Take note of the end of a task: its success, or None if it was skipped or failed."""
        self._known[task_id] = success
