"""What is remembered of a success: what ran, what it saw and what it left, so that it need not run again."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol


@dataclass(frozen=True, kw_only=True)
class Success:
    """Which success of a task: the run and the try."""

    run_id: str
    try_number: int


@dataclass(frozen=True, kw_only=True)
class Record:
    """One success of a task; the newest for its DAG, target, task, fingerprint and date is kept.

    Attributes:
        parts: What the fingerprint was made of: name -> short hash.
        date: The logical date, for accumulating tasks of dated runs, else empty.
        at: When it succeeded.
        reads: Version of each external resource it read, by key; None: unknown.
        upstream: Which success of each task it depended on; None: that one was skipped or had failed.
        writes: Version of each resource that its chain wrote, once the chain's last writer had succeeded; else None.
        result: What it returned.
        accumulating: It added to what was there. Such a record neither expires nor is cleared by the way.
        expires: When it counts no more.
    """

    dag_id: str
    target: str
    task_id: str
    fingerprint: str
    parts: Mapping[str, str]
    date: str
    success: Success
    at: datetime
    reads: Mapping[str, str | None]
    upstream: Mapping[str, Success | None]
    writes: Mapping[str, str | None] | None
    result: Any
    accumulating: bool
    expires: datetime | None

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells it from the others of its DAG and target."""
        return self.task_id, self.fingerprint, self.date

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON can hold it."""
        return {
            "dag_id": self.dag_id,
            "target": self.target,
            "task_id": self.task_id,
            "fingerprint": self.fingerprint,
            "parts": dict(self.parts),
            "date": self.date,
            "success": _pair(self.success),
            "at": self.at.isoformat(),
            "reads": dict(self.reads),
            "upstream": {task_id: _pair(success) for task_id, success in self.upstream.items()},
            "writes": None if self.writes is None else dict(self.writes),
            "result": self.result,
            "accumulating": self.accumulating,
            "expires": self.expires.isoformat() if self.expires else None,
        }

    @classmethod
    def from_json(cls, document: Any) -> Record:
        """The record that :meth:`to_json` made a document of.

        Raises:
            ValueError: It is the document of something else.
        """
        try:
            return cls(
                dag_id=_text(document["dag_id"]),
                target=_text(document["target"]),
                task_id=_text(document["task_id"]),
                fingerprint=_text(document["fingerprint"]),
                parts=dict(document["parts"]),
                date=_text(document["date"]),
                success=_success(document["success"]),
                at=_moment(document["at"]),
                reads=dict(document["reads"]),
                upstream={
                    task_id: None if pair is None else _success(pair) for task_id, pair in document["upstream"].items()
                },
                writes=None if document["writes"] is None else dict(document["writes"]),
                result=document["result"],
                accumulating=bool(document["accumulating"]),
                expires=_moment(document["expires"]) if document["expires"] else None,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"not a record: {type(error).__name__} {error}") from error


class Records(Protocol):
    """Where records are kept: in the metadata database, and perhaps in a cache that machines share."""

    def matching(self, dag_id: str, target: str, wanted: Mapping[str, tuple[str, str]]) -> dict[str, Record]:
        """The records of tasks with just these fingerprints and dates, expired ones too.

        Args:
            dag_id: The DAG.
            target: The target's name.
            wanted: Task id -> fingerprint and date.
        """

    def newest(
        self, dag_id: str, target: str, task_ids: Collection[str], *, date: str | None = None
    ) -> dict[str, Record]:
        """The newest record of each of these tasks that has one, whatever its fingerprint.

        Args:
            dag_id: The DAG.
            target: The target's name.
            task_ids: The tasks.
            date: Only those for this logical date, and those without one that added nothing. None: for whatever date.
        """

    def put(self, records: Iterable[Record]) -> None:
        """Keep these, instead of older ones of the same tasks, fingerprints and dates."""

    def all(self, *, dag_id: str | None = None, target: str | None = None) -> list[Record]:
        """The records there are, newest first."""

    def clear(
        self,
        *,
        dag_id: str | None = None,
        target: str | None = None,
        task_id: str | None = None,
        appended: bool = False,
    ) -> int:
        """Forget records.

        Args:
            dag_id: Only those of this DAG.
            target: Only those on this target.
            task_id: Only those of this task.
            appended: Those of accumulating tasks, too: they will add their rows again.

        Returns:
            How many the metadata database forgot.
        """


def _pair(success: Success | None) -> list[Any] | None:
    return None if success is None else [success.run_id, success.try_number]


def _success(pair: Any) -> Success:
    run_id, try_number = pair
    return Success(run_id=_text(run_id), try_number=int(try_number))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, got {value!r}")
    return value


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return moment
