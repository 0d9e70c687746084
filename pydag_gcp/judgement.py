"""What about a task itself makes it run: what it is, its record, and what it read and wrote, as that stands now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from pydag_gcp import reasons
from pydag_gcp.chains import Chain
from pydag_gcp.equivalence import (
    ALL_UPSTREAM,
    CHANCE,
    NOTHING,
    WRITERS,
    all_upstream,
    left_by,
    of_success,
    same,
    still_there,
    stored,
    substance,
    writers,
)
from pydag_gcp.fingerprint import Fingerprint
from pydag_gcp.lineage import Lineage, Read, Ties
from pydag_gcp.record import Record, Success
from pydag_gcp.resources import MISSING, Resource, Version, resource_key


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of a task beside what binds it to others.

    Attributes:
        always: Why it runs whatever is recorded; empty if it need not.
        off: Why its record does not count, unless running it again would add rows twice; empty if it does.
        fingerprint: None while an output that it takes is not known.
        date: The logical date, if it counts.
        record: Its newest success with this fingerprint and date.
        newest: Its newest success.
        last: Its newest success for the date: which has left what is there.
        lifetime: How long a record counts; None: for ever.
        deterministic: The same data gives the same result.
        secret: Its recorded result holds a secret, and another task takes it.
    """

    always: str = ""
    off: str = ""
    fingerprint: Fingerprint | None = None
    date: str = ""
    record: Record | None = None
    newest: Record | None = None
    last: Record | None = None
    lifetime: timedelta | None = None
    deterministic: bool = True
    secret: bool = False


class View(Protocol):
    """What is known of other tasks where one is judged."""

    def success(self, task: str) -> Success | str | None:
        """The current success of a task; None if it was skipped or failed; text: why there is none yet.

        Empty text: whatever comes of the task is taken care of when it is known.
        """

    def left(self, task: str) -> str | None:
        """What its current success left; see :func:`pydag_gcp.equivalence.substance`. None if that is not known."""

    def taken(self, task: str, record: Record) -> bool:
        """Tell whether its current success surely was there already when a record was made of what comes after it."""

    def all_upstream(self, task: str) -> str | None:
        """See :data:`pydag_gcp.equivalence.ALL_UPSTREAM`; None if that is not known yet."""


class Beforehand:
    """No task has started: one is cached, or those that depend on it will be told that it is not.

    Args:
        lineage: What binds tasks.
        facts: Of every task.
    """

    def __init__(self, lineage: Lineage, facts: Mapping[str, Facts]) -> None:
        self._lineage, self._facts = lineage, facts
        self._memo: dict[str, str] = {}

    def success(self, task: str) -> Success | str | None:
        """See :class:`View`."""
        record = self._facts[task].record
        return "" if record is None or self._lineage.ties[task].conditional else record.success

    def left(self, task: str) -> str | None:
        """See :class:`View`."""
        facts, ties = self._facts[task], self._lineage.ties[task]
        if facts.record is None:
            return None
        left = still_there(facts.record, facts.last, accumulating=ties.accumulating)
        return substance(left, opaque=ties.opaque)

    def taken(self, task: str, record: Record) -> bool:
        """See :class:`View`."""
        return False

    def all_upstream(self, task: str) -> str | None:
        """See :class:`View`."""
        return all_upstream(task, self._lineage, self._recorded, self._memo)

    def _recorded(self, task: str) -> Success | None:
        record = self._facts[task].record
        return None if record is None else record.success


class AtRunTime:
    """All upstreams of the task that is judged have ended.

    Args:
        lineage: What binds tasks.
        known: The current successes of the tasks that have ended.
        left: What these have left, where there is a record of it.
        ended: When those of them did that had ended before the run was taken up again.
    """

    def __init__(
        self,
        lineage: Lineage,
        known: Mapping[str, Success | None],
        left: Mapping[str, str],
        *,
        ended: Mapping[str, datetime],
    ) -> None:
        self.known = known
        self._left, self._lineage, self._ended = left, lineage, ended
        self._memo: dict[str, str] = {}

    def success(self, task: str) -> Success | str | None:
        """See :class:`View`."""
        return self.known[task] if task in self.known else reasons.not_ended(task)

    def left(self, task: str) -> str | None:
        """See :class:`View`."""
        return self._left.get(task) or of_success(self.known.get(task))

    def taken(self, task: str, record: Record) -> bool:
        """See :class:`View`; a run that is tried again may come after newer ones."""
        return task in self._ended and self._ended[task] < record.at

    def all_upstream(self, task: str) -> str | None:
        """See :class:`View`."""
        return all_upstream(task, self._lineage, self.known.get, self._memo)


class Judge:
    """Says why a task must run, for reasons of its own. Pure.

    Args:
        lineage: What binds tasks.
        facts: What is known of tasks.
        versions: Of what they read and write.
        now: The time.
        view: What is known of other tasks.
    """

    def __init__(
        self,
        lineage: Lineage,
        facts: Mapping[str, Facts],
        versions: Mapping[Resource, Version],
        *,
        now: datetime,
        view: View,
    ) -> None:
        self._lineage, self._facts, self._versions = lineage, facts, versions
        self._now, self._view = now, view

    def reason(self, task: str) -> str:
        """Why it must run, or empty; of an accumulating task :meth:`new_input` is another question."""
        return next(filter(None, self._reasons(task)), "")

    def new_input(self, task: str) -> str:
        """Why an accumulating task has something new to add, or empty."""
        ties, record = self._lineage.ties[task], self._facts[task].record
        if record is None:
            return ""
        if ties.opaque and (why := self._upstream_changed(task, ties, record)):
            return why
        return next(filter(None, (self._read_anew(read, ties, record) for read in ties.reads)), "")

    def _reasons(self, task: str) -> Iterator[str]:
        facts, ties = self._facts[task], self._lineage.ties[task]
        yield facts.always
        if facts.fingerprint is None:
            return
        yield reasons.unknown(facts.fingerprint.unknown) if facts.fingerprint.unknown else ""
        yield "" if ties.accumulating else facts.off
        if facts.record is None:
            changes = facts.fingerprint.changed(facts.newest.parts) if facts.newest and facts.newest.parts else []
            yield reasons.unrecorded(changes, facts.newest, facts.date)
            return
        yield reasons.SECRET if facts.secret else ""
        if ties.accumulating:
            yield self._unmade(ties)
        else:
            yield from self._not_as_recorded(task, facts, ties, facts.record)

    def _not_as_recorded(self, task: str, facts: Facts, ties: Ties, record: Record) -> Iterator[str]:
        if facts.lifetime is not None and record.at + facts.lifetime <= self._now:
            yield reasons.expired(self._now - record.at - facts.lifetime)
        yield "" if facts.deterministic and CHANCE not in record.reads else reasons.CHANCE
        for resource in ties.tracked:
            yield self._read_changed(resource, record)
        yield self._upstream_changed(task, ties, record)
        if ties.chain is not None:
            yield from self._written_changed(ties.chain, record, facts)

    def _unmade(self, ties: Ties) -> str:
        """A table that is gone can be made again without adding a row."""
        if ties.shaper and ties.chain is not None:
            for resource in ties.chain.resources:
                if self._versions.get(resource) is MISSING:
                    return reasons.changed_outside(resource, "", stored(MISSING))
        return ""

    # what it read -------------------------------------------------------------------------------------------------

    def _read_changed(self, resource: Resource, record: Record) -> str:
        key, new = resource_key(resource), self._now_of(resource)
        if same(record.reads, key, new):
            return ""
        return reasons.changed_input(resource, record.reads.get(key), new)

    def _read_anew(self, read: Read, ties: Ties, record: Record) -> str:
        """Its data counts; where tasks of the run made it, so does whether they did the same as before."""
        key, new = resource_key(read.resource), self._now_of(read.resource)
        if not read.own and same(record.reads, key, new):
            return ""
        if read.settled or read.appended or read.own:
            makers = [writer for writer in read.writers if writer in ties.dependencies]
            other = [maker for maker in makers if self._left_something_else(maker, record)]
            return reasons.has_run(other[0]) if other else ""
        return reasons.changed_input(read.resource, record.reads.get(key), new)

    def _left_something_else(self, writer: str, record: Record) -> bool:
        if self._view.taken(writer, record):
            return False
        left = self._view.left(writer)
        return left != NOTHING and not same(record.reads, left_by(writer), left)

    def _upstream_changed(self, task: str, ties: Ties, record: Record) -> str:
        recorded = record.upstream
        if set(recorded) != set(ties.built_on):
            return reasons.other_upstreams(set(ties.built_on) - set(recorded), set(recorded) - set(ties.built_on))
        for other in ties.built_on:
            current = self._view.success(other)
            if isinstance(current, str):
                if current:
                    return current
            elif current != recorded[other]:
                return reasons.has_run(other) if current and recorded[other] else reasons.was_skipped(other)
        if ties.opaque:
            digest = self._view.all_upstream(task)
            return "" if digest is None or same(record.reads, ALL_UPSTREAM, digest) else reasons.has_run("work")
        return ""

    # what its chain wrote -----------------------------------------------------------------------------------------

    def _written_changed(self, chain: Chain, record: Record, facts: Facts) -> Iterator[str]:
        if record.writes is None:
            yield reasons.incomplete(chain, record.success.run_id)
            return
        yield "" if record.writes.get(WRITERS) == writers(chain) else reasons.other_writers(chain)
        for resource in chain.resources:
            key, new = resource_key(resource), self._now_of(resource)
            if not same(record.writes, key, new):
                yield _edited(facts, key, new) or reasons.changed_outside(resource, record.writes.get(key), new)

    def _now_of(self, resource: Resource) -> str | None:
        version = self._versions.get(resource)
        return None if version is None else stored(version)


def _edited(facts: Facts, key: str, new: str | None) -> str:
    """What is another than in the newest success, in words, if that one wrote what is there now."""
    newest = facts.newest
    if facts.fingerprint is None or newest is None or not newest.parts or not same(newest.writes or {}, key, new):
        return ""
    return "; ".join(facts.fingerprint.changed(newest.parts))
