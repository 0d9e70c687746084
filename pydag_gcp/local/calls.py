"""Which calls were made, and what each was about: the record that tests and rehearsals read.

Only the request that makes a job carries labels; later ones name its id. So what a call is about is completed from
what was said of the same job before.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from pydag_gcp.local.subjects import NOTHING, Subject

#: How many calls are remembered one by one; all are counted.
REMEMBERED = 20_000

#: The id of a job of ours, which also stands in the names of objects that the job makes.
_JOB_ID = re.compile(r"pydag-[0-9a-f]{32}")


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call, as it arrived.

    Attributes:
        number: Its number among the calls of this method, from 1.
        method: Such as ``bigquery.jobs.insert``.
        subject: What it is about.
        fault: What was done to it; None for nothing.
    """

    number: int
    method: str
    subject: Subject = NOTHING
    fault: str | None = None

    @property
    def task(self) -> str:
        """The task whose work it is, or ""."""
        return self.subject.task

    @property
    def resource(self) -> str:
        """What else it is about."""
        return self.subject.resource

    def to_json(self) -> dict[str, Any]:
        """Return what ``GET /_pydag/calls?details=true`` says of it."""
        return {"number": self.number, "method": self.method, **asdict(self.subject), "fault": self.fault}

    @staticmethod
    def from_json(found: Mapping[str, Any]) -> Call:
        """Read what :meth:`to_json` made."""
        own = {"number", "method", "fault"}
        subject = Subject(**{name: value for name, value in found.items() if name not in own})
        return Call(number=found["number"], method=found["method"], subject=subject, fault=found["fault"])


class Calls:
    """The calls since the start; for one thread at a time."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._calls: deque[Call] = deque(maxlen=REMEMBERED)
        self._jobs: dict[str, Subject] = {}

    def __iter__(self) -> Iterator[Call]:
        """The last :data:`REMEMBERED` calls, the oldest first."""
        return iter(self._calls)

    @property
    def counts(self) -> Mapping[str, int]:
        """Method -> how often it was called."""
        return self._counts

    def arrived(self, method: str, subject: Subject) -> Call:
        """Take note of a call, and complete what it is about."""
        self._counts[method] += 1
        call = Call(number=self._counts[method], method=method, subject=self._completed(subject))
        self._calls.append(call)
        return call

    def disturbed(self, fault: str) -> None:
        """Take note of what is done to the call that arrived last."""
        self._calls[-1] = replace(self._calls[-1], fault=fault)

    def answered(self, call: Call, answer: Subject) -> None:
        """Take note of what the answer to a call says of a job, a cluster or an operation."""
        key = _key(answer)
        if key:
            known = self._jobs.get(key, NOTHING)
            task, run = ("", "") if key.startswith("cluster ") else (call.subject.task, call.subject.run)
            self._jobs[key] = Subject(
                task=known.task or answer.task or task, run=known.run or answer.run or run, over=answer.over
            )

    def clear(self) -> None:
        """Forget the calls, but not whose the jobs are."""
        self._counts.clear()
        self._calls.clear()

    def _completed(self, subject: Subject) -> Subject:
        key = _key(subject)
        known = self._jobs.get(key, NOTHING)
        if subject.job and subject.task:  # the request that makes the job
            self._jobs[key] = subject
        job = subject.job or (key if _JOB_ID.fullmatch(key) else "")
        return replace(subject, task=subject.task or known.task, run=subject.run or known.run, job=job, over=known.over)


def _key(subject: Subject) -> str:
    """By what later calls are recognised to be about the same thing."""
    if subject.job:
        return subject.job
    found = _JOB_ID.search(subject.resource)
    return found.group() if found else subject.resource
