"""What a run sees of the data it reads and writes, and the records that follow from it."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, MutableMapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol, cast

from pydag_gcp.chains import Chain
from pydag_gcp.equivalence import (
    ALL_UPSTREAM,
    CHANCE,
    FINGERPRINT,
    WRITERS,
    all_upstream,
    left_by,
    of_success,
    still_there,
    stored,
    substance,
    writers,
)
from pydag_gcp.findings import Findings
from pydag_gcp.fingerprint import Fingerprint
from pydag_gcp.lineage import Lineage
from pydag_gcp.moves import Moves
from pydag_gcp.record import Record, Success
from pydag_gcp.resources import Resource, Version, resource_key
from pydag_gcp.tracking import Tracking

if TYPE_CHECKING:
    from pydag_gcp.operator import Json
    from pydag_gcp.planner import Plan

#: Task id -> the current success of a task that has ended: of this run, or that of its record if it is cached;
#: None: it was skipped, or it failed.
Known = Mapping[str, Success | None]

_LATER = timedelta(microseconds=1)


class Versions(Protocol):
    """Who knows what resources hold; see :class:`pydag_gcp.versions.Versions`."""

    def of(self, resources: Iterable[Resource]) -> Mapping[Resource, Version]:
        """Ask anew for the version of each."""


def _with(known: Known, task_id: str, success: Success) -> Known:
    """The same and one more, without copying."""
    return ChainMap({task_id: success}, cast("MutableMapping[str, Success | None]", known))


class Recorder:
    """Keeps the versions that were seen last, and the records that hold now.

    Args:
        plan: What the run does.
        lineage: What binds its tasks.
        findings: What is known of them.
        versions: Asks the cloud.
        clock: Tells the time.
    """

    def __init__(
        self, plan: Plan, lineage: Lineage, findings: Findings, versions: Versions, clock: Callable[[], datetime]
    ) -> None:
        self._plan, self._lineage, self._findings = plan, lineage, findings
        self._versions, self._clock = versions, clock
        self._tracking = Tracking(lineage, findings.recordable)
        self._seen: dict[Resource, Version] = {}
        self._began: dict[str, Mapping[str, str | None]] = {}
        self._movers: set[str] = set()
        self._current: dict[str, Record] = {}
        self._others: dict[tuple[str, str, str], Record] = {}
        self._made: set[str] = set()
        self._recalled = False
        self._latest: dict[str, datetime] = {}
        self._moves = Moves()
        #: What chains had written when the member succeeded after which others may come, or be skipped.
        self._left: dict[Chain, Mapping[str, str | None]] = {}
        self._upstream: dict[str, str] = {}

    def see(self, task_ids: Iterable[str], known: Known) -> Mapping[Resource, Version]:
        """Ask for what tasks read and what their chains write, as far as versions count; asks nobody if none does.

        What a task that goes on moves is as it was before: it may have been moved already, which is not known yet.
        """
        wanted: set[Resource] = set()
        for task_id in task_ids:
            wanted |= self._tracking.read(task_id) | self._tracking.written(task_id)
        return {**self._ask(wanted), **self._moving(wanted, known)}

    def _moving(self, wanted: Collection[Resource], known: Known) -> dict[Resource, Version]:
        found: dict[Resource, Version] = {}
        for task_id in [t for t in self._movers.copy() if t not in known]:
            before = self._began[task_id]
            for name, parts in self._tracking.beside(task_id).items():
                old = {part: before.get(resource_key(part), before.get(name)) for part in parts if part in wanted}
                found.update({part: version for part, version in old.items() if version is not None})
        return found

    def _ask(self, wanted: Collection[Resource]) -> Mapping[Resource, Version]:
        if wanted:
            self._seen.update(self._versions.of(wanted))
        return self._seen

    def before(self, task_id: str) -> Mapping[str, str | None]:
        """What a task is that begins now, and the versions of what it will read; whatever is seen while it runs."""
        found = self._seen_of(self._tracking.read(task_id))
        for name, parts in self._tracking.beside(task_id).items():
            seen = self._seen_of(parts)
            found |= {name: next(iter(seen.values()))} if len({*seen.values()}) == 1 else seen
        if self._findings.recordable(task_id):
            found[FINGERPRINT] = self._findings.fingerprint(task_id).digest or None
        self.restore(task_id, found)
        return found

    def _seen_of(self, resources: Iterable[Resource]) -> dict[str, str | None]:
        return {resource_key(r): stored(self._seen[r]) for r in resources if r in self._seen}

    def restore(self, task_id: str, reads: Mapping[str, str | None]) -> None:
        """Take over what was seen before the first submit."""
        self._began[task_id] = reads
        if self._tracking.moved(task_id):
            self._movers.add(task_id)

    def needed(self, task_id: str) -> bool:
        """Tell whether a success gives records, or changes what tasks after it read."""
        touched = self._tracking.written(task_id) or self._tracking.watched(task_id) or self._tracking.kin(task_id)
        return self._findings.recordable(task_id) or bool(touched)

    def recall(self, records: Iterable[Record]) -> None:
        """Take note of what is recorded of all tasks."""
        self._recalled = True
        for record in records:
            self.as_it_stands(record)

    def as_it_stands(self, record: Record) -> Record:
        """What the store says, as it would if it had everything that was seen since; from now on that is kept up."""
        current, held = self._current.get(record.task_id), self._others.get(record.key)
        if current is not None and current.key == record.key:
            return current
        if held is None or held.success != record.success:
            self._others[record.key] = held = self._along(record)
            self._note_time(record)
        return held

    def holds(self, record: Record) -> None:
        """Take note of the record of a cached task."""
        self._others.pop(record.key, None)
        self._current[record.task_id] = record
        self._note_time(record)

    def _note_time(self, record: Record) -> None:
        self._latest[record.task_id] = max(record.at, self._latest.get(record.task_id, record.at))

    def left(self, task_ids: Iterable[str], known: Known) -> dict[str, str]:
        """What tasks that have ended have left, where there is a record of it."""
        done = [t for t in task_ids if known.get(t, t in self._current)]
        found = {t: record for t in done if (record := self._current.get(t)) and not self._is_of_old(record)}
        newest = self._newest([t for t in done if t not in found and self._findings.recordable(t)])
        for task_id, record in newest.items():  # whichever run made it: that is what is there
            held = self._current.get(task_id)
            if held is not None:
                found[task_id] = still_there(held, record, accumulating=self._lineage.ties[task_id].accumulating)
            elif record.date in ("", self._findings.date(task_id)):
                found[task_id] = record
        found = {t: record for t, record in found.items() if record.success == known.get(t) or self._is_recorded(t)}
        return {t: substance(record, opaque=self._lineage.ties[t].opaque) for t, record in found.items()}

    def _is_recorded(self, task_id: str) -> bool:
        """Tell whether its successes are; else an older record says nothing of the last one."""
        return not self._findings.fingerprint(task_id).unknown

    def _is_of_old(self, record: Record) -> bool:
        """Tell whether something may have been added since; also of this run's, if it goes on after others."""
        return self._lineage.ties[record.task_id].accumulating and record.task_id not in self._made

    def record(self, task_id: str, try_number: int, result: Json, known: Known, *, blind: bool) -> tuple[Record, ...]:
        """Make the records that a success gives, and those that it changes.

        Args:
            task_id: It has succeeded.
            try_number: Which try did.
            result: What it returned.
            known: The successes of tasks that have ended.
            blind: Ask the cloud nothing: what was seen before counts, where another run would add rows twice.
        """
        success = Success(run_id=self._plan.run_id, try_number=try_number)
        known = _with(known, task_id, success)
        before = self._began[task_id] if task_id in self._began else self.before(task_id)
        chain = self._lineage.ties[task_id].chain
        may_come = None if chain is None or blind else self._may_come(chain, task_id, known)
        written = set() if may_come is None else self._tracking.written(task_id)
        if not blind:
            self._ask(
                self._tracking.read(task_id) | written | self._tracking.watched(task_id) | self._tracking.kin(task_id)
            )
        changed = [task_id] if self._make(task_id, success, result, known, before, blind=blind) else []
        if chain is not None:
            self._left.pop(chain, None)
        if chain is not None and written:
            self._left[chain] = self._seen_of(chain.resources)
            changed += [] if may_come else self._complete(chain, known)
        replaced = self._others.pop(self._current[task_id].key, None) if task_id in changed else None
        found = {self._current[t].key: self._current[t] for t in changed}
        if not blind:
            found |= {record.key: record for record in self._shift(task_id, before, replaced)}
        self._movers.discard(task_id)
        return tuple(found.values())

    def finish(self, known: Known) -> tuple[Record, ...]:
        """Now that all tasks have ended: those that were skipped have not changed what their chains had written."""
        changed = [task_id for chain in list(self._left) for task_id in self._complete(chain, known)]
        return tuple(self._current[t] for t in changed)

    # the record of the task itself --------------------------------------------------------------------------------

    def _make(
        self,
        task_id: str,
        success: Success,
        result: Json,
        known: Known,
        before: Mapping[str, str | None],
        *,
        blind: bool,
    ) -> bool:
        if not self._findings.recordable(task_id):
            return False
        one, task, ties = self._findings.fingerprint(task_id), self._plan.tasks[task_id], self._lineage.ties[task_id]
        if (sent := before.get(FINGERPRINT)) not in (None, one.digest):
            one = Fingerprint(digest=sent)  # its pipeline has changed since
        if one.unknown:
            return False
        self._made.add(task_id)
        now = self._clock()
        older = self._latest.get(task_id)
        lifetime = task.cache if isinstance(task.cache, timedelta) and not ties.accumulating else None
        self._current[task_id] = Record(
            dag_id=self._plan.dag.dag_id,
            target=self._plan.clients.target.name,
            task_id=task_id,
            fingerprint=one.digest,
            parts=one.parts,
            date=self._findings.date(task_id),
            success=success,
            at=max(now, older + _LATER) if older else now,  # the newest one, even if the clock has gone back
            reads=dict([*self._versions_read(task_id, before, blind=blind), *self._what_else(task_id, known)]),
            upstream={other: known.get(other) for other in ties.built_on},
            writes=None,
            result=result,
            accumulating=ties.accumulating and not ties.shaper,
            expires=now + lifetime if lifetime is not None else None,
        )
        return True

    def _versions_read(
        self, task_id: str, before: Mapping[str, str | None], *, blind: bool
    ) -> Iterator[tuple[str, str | None]]:
        """What it read is known if it was the same before and after, or if nobody but the task itself changed it."""
        moved = self._lineage.moved_by(task_id)
        for resource in self._tracking.read(task_id):
            key = resource_key(resource)
            if blind:
                yield key, before.get(key) if self._lineage.ties[task_id].accumulating else None
            else:
                new = stored(self._seen[resource])
                yield key, new if resource in moved or new == before.get(key) else None

    def _what_else(self, task_id: str, known: Known) -> Iterator[tuple[str, str | None]]:
        ties = self._lineage.ties[task_id]
        left = self.left(ties.built_on, known)
        if ties.accumulating:  # what was skipped this time has added what it added before
            left |= self._left_before([other for other in ties.built_on if known.get(other) is None])
        for other in ties.built_on:
            yield left_by(other), left.get(other) or of_success(known.get(other))
        if not ties.shaper and not self._plan.tasks[task_id].deterministic(self._plan.context_of(task_id)):
            yield CHANCE, None
        if ties.opaque:
            yield ALL_UPSTREAM, all_upstream(task_id, self._lineage, known.get, self._upstream)

    def _left_before(self, task_ids: Iterable[str]) -> dict[str, str]:
        newest = self._newest([t for t in task_ids if self._findings.recordable(t)])
        return {t: substance(record, opaque=self._lineage.ties[t].opaque) for t, record in newest.items()}

    # other records ------------------------------------------------------------------------------------------------

    def _may_come(self, chain: Chain, task_id: str, known: Known) -> list[str] | None:
        """The members that may still come, unless they are skipped; None: one comes if nothing fails."""
        found = []
        for other in reversed(chain.members):  # those to come are the last ones
            if other in known or other in self._current or self._lineage.apart(task_id, other):
                continue
            if not self._lineage.ties[other].conditional:
                return None
            found.append(other)
        return found

    def _complete(self, chain: Chain, known: Known) -> list[str]:
        writes = {**self._moves.of_versions(self._left.pop(chain)), WRITERS: writers(chain)}
        current = self._current_records(chain.members, known)
        for other, record in current.items():
            self._current[other] = replace(record, writes=writes)
        return list(current)

    def _shift(self, task_id: str, before: Mapping[str, str | None], replaced: Record | None) -> list[Record]:
        """Where a task has changed the version of what it does not write, records go along: nothing of it changed."""
        parts_beside = self._tracking.beside(task_id)
        if parts_beside and not self._recalled:  # a run that only ends has decided nothing
            newest = self._findings.newest(filter(self._findings.recordable, self._lineage.order))
            self.recall([*newest.values(), *self._findings.last(newest).values()])
        moves = [
            self._moves.add(key, before.get(resource_key(part), before.get(name)), stored(self._seen[part]))
            for name, parts in parts_beside.items()
            for part in parts
            for key in (resource_key(part), name)
        ]
        if not any(moves):
            return []
        for other in self._began.keys() - {task_id}:
            self._began[other] = self._moves.of_versions(self._began[other])
        known = [*self._current.values(), *self._others.values(), *([replaced] if replaced else [])]
        shifted = []
        for record in sorted(known, key=lambda record: self._lineage.position[record.task_id]):
            now = self._along(record)
            if now is not record and record is not replaced:  # which only tells what others know of it
                self._put(now)
                shifted.append(now)
        return shifted

    def _put(self, record: Record) -> None:
        if record.key in self._others:
            self._others[record.key] = record
        else:
            self._current[record.task_id] = record

    def _newest(self, task_ids: Collection[str]) -> dict[str, Record]:
        found = self._findings.last(task_ids) if task_ids else {}
        return {t: self.as_it_stands(record) for t, record in found.items()}

    def _along(self, record: Record) -> Record:
        return self._moves.of_record(record, opaque=self._lineage.ties[record.task_id].opaque)

    def _current_records(self, task_ids: Iterable[str], known: Known) -> dict[str, Record]:
        """The records of the current successes of tasks; of those that an earlier process recorded, the store's."""
        found = {t: self._current[t] for t in task_ids if t in self._current}
        found = {t: record for t, record in found.items() if t not in known or record.success == known[t]}
        rest = [t for t in task_ids if t not in found and known.get(t) and self._findings.recordable(t)]
        for task_id, record in self._newest(rest).items():
            if record.success == known[task_id]:
                found[task_id] = record
                self.holds(record)
        return found
