"""What a run sees of the data it reads and writes, and the records that follow from it."""

from __future__ import annotations

from collections import ChainMap, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, MutableMapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Protocol, cast

from pydag_gcp.equivalence import (
    ALL_UPSTREAM,
    CHANCE,
    FINGERPRINT,
    WRITERS,
    all_upstream,
    left_by,
    of_success,
    stored,
    substance,
    writers,
)
from pydag_gcp.findings import Findings
from pydag_gcp.fingerprint import Fingerprint
from pydag_gcp.lineage import Lineage
from pydag_gcp.record import Record, Success
from pydag_gcp.resources import Resource, Version, resource_key

if TYPE_CHECKING:
    from pydag_gcp.operator import Json
    from pydag_gcp.planner import Plan

#: Task id -> the current success of a task that has ended: of this run, or that of its record if it is cached;
#: None: it was skipped, or it failed.
Known = Mapping[str, Success | None]


class Versions(Protocol):
    """Who knows what resources hold; see :class:`pydag_gcp.versions.Versions`."""

    def of(self, resources: Iterable[Resource]) -> Mapping[Resource, Version]:
        """Ask anew for the version of each."""


def _with(known: Known, task_id: str, success: Success) -> Known:
    """The same and one more, without copying."""
    return ChainMap({task_id: success}, cast("MutableMapping[str, Success | None]", known))


def _moved_along(
    versions: Mapping[str, str | None], moves: Mapping[tuple[str, str | None], str | None]
) -> Mapping[str, str | None]:
    return {key: moves.get((key, version), version) for key, version in versions.items()}


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
        self._seen: dict[Resource, Version] = {}
        self._began: dict[str, Mapping[str, str | None]] = {}
        self._current: dict[str, Record] = {}
        self._upstream: dict[str, str] = {}

    def see(self, task_ids: Iterable[str]) -> Mapping[Resource, Version]:
        """Ask for what tasks read and what their chains write, as far as versions count; asks nobody if none does."""
        wanted: set[Resource] = set()
        for task_id in task_ids:
            wanted |= self._tracked(task_id) | self._written(task_id)
        return self._ask(wanted)

    def _ask(self, wanted: Collection[Resource]) -> Mapping[Resource, Version]:
        if wanted:
            self._seen.update(self._versions.of(wanted))
        return self._seen

    def before(self, task_id: str) -> Mapping[str, str | None]:
        """What a task is that begins now, and the versions of what it will read; whatever is seen while it runs."""
        found = {resource_key(r): stored(self._seen[r]) for r in self._tracked(task_id) if r in self._seen}
        if self._findings.recordable(task_id):
            found[FINGERPRINT] = self._findings.fingerprint(task_id).digest or None
        self._began[task_id] = found
        return found

    def restore(self, task_id: str, reads: Mapping[str, str | None]) -> None:
        """Take over what was seen before the first submit."""
        self._began[task_id] = reads

    def needed(self, task_id: str) -> bool:
        """Tell whether a success gives records, or changes what tasks after it read."""
        touched = self._written(task_id) or self._watched(task_id) or self._kin(task_id)
        return self._findings.recordable(task_id) or bool(touched)

    def holds(self, record: Record) -> None:
        """Take note of the record of a cached task."""
        self._current[record.task_id] = record

    def left(self, task_ids: Iterable[str], known: Known) -> dict[str, str]:
        """What tasks that have ended have left, where there is a record of it."""
        current = self._current_records(task_ids, known)
        return {t: substance(record, opaque=self._lineage.ties[t].opaque) for t, record in current.items()}

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
        older = {resource: self._seen[resource] for resource in self._moved(task_id) if resource in self._seen}
        complete = not blind and self._completes(task_id, known)
        if not blind:
            written = self._written(task_id) if complete else set()
            self._ask(self._tracked(task_id) | written | self._watched(task_id) | self._kin(task_id))
        changed = dict.fromkeys([task_id]) if self._make(task_id, success, result, known, before, blind=blind) else {}
        if complete:
            changed |= dict.fromkeys(self._complete(task_id, known))
        if not blind:
            changed |= dict.fromkeys(self._shift(task_id, older))
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
        now = self._clock()
        lifetime = task.cache if isinstance(task.cache, timedelta) and not ties.accumulating else None
        self._current[task_id] = Record(
            dag_id=self._plan.dag.dag_id,
            target=self._plan.clients.target.name,
            task_id=task_id,
            fingerprint=one.digest,
            parts=one.parts,
            date=self._findings.date(task_id),
            success=success,
            at=now,
            reads=dict([*self._versions_read(task_id, before, blind=blind), *self._what_else(task_id, known)]),
            upstream={other: known.get(other) for other in ties.built_on},
            writes=None,
            result=result,
            accumulating=ties.accumulating,
            expires=now + lifetime if lifetime is not None else None,
        )
        return True

    def _versions_read(
        self, task_id: str, before: Mapping[str, str | None], *, blind: bool
    ) -> Iterator[tuple[str, str | None]]:
        """What it read is known if it was the same before and after, or if nobody but the task itself changed it."""
        moved = self._lineage.moved_by(task_id)
        for resource in self._tracked(task_id):
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
        if not self._plan.tasks[task_id].deterministic(self._plan.context_of(task_id)):
            yield CHANCE, None
        if ties.opaque:
            yield ALL_UPSTREAM, all_upstream(task_id, self._lineage, known.get, self._upstream)

    def _left_before(self, task_ids: Iterable[str]) -> dict[str, str]:
        newest = self._findings.newest([t for t in task_ids if self._findings.recordable(t)])
        return {t: substance(record, opaque=self._lineage.ties[t].opaque) for t, record in newest.items()}

    # other records ------------------------------------------------------------------------------------------------

    def _completes(self, task_id: str, known: Known) -> bool:
        """Tell whether no other member of its chain is still to come."""
        chain = self._lineage.ties[task_id].chain
        return chain is not None and all(
            other in known or other in self._current or self._lineage.apart(task_id, other)
            for other in reversed(chain.members)  # those to come are the last ones
        )

    def _complete(self, task_id: str, known: Known) -> list[str]:
        chain = self._lineage.ties[task_id].chain
        if chain is None or not self._written(task_id):
            return []
        writes = {resource_key(r): stored(self._seen[r]) for r in chain.resources}
        current = self._current_records(chain.members, known)
        for other, record in current.items():
            self._current[other] = replace(record, writes={**writes, WRITERS: writers(chain)})
        return list(current)

    def _shift(self, task_id: str, older: Mapping[Resource, Version]) -> list[str]:
        """Where a task has changed the version of what it does not write, records go along: nothing of it changed."""
        moves: dict[tuple[str, str | None], str | None] = {}
        for resource in self._moved(task_id):
            old, new = stored(older[resource]) if resource in older else None, stored(self._seen[resource])
            if None not in (old, new) and old != new:
                moves[resource_key(resource), old] = new
        for other in [other for other in self._began if moves and other != task_id]:
            self._began[other] = _moved_along(self._began[other], moves)
        shifted = []
        for other in sorted(self._current, key=self._lineage.position.__getitem__) if moves else ():
            record = self._current[other]
            reads, writes = _moved_along(record.reads, moves), record.writes and _moved_along(record.writes, moves)
            if (reads, writes) != (record.reads, record.writes):
                self._current[other] = replace(record, reads=reads, writes=writes)
                opaque = self._lineage.ties[other].opaque
                left, now = substance(record, opaque=opaque), substance(self._current[other], opaque=opaque)
                moves[left_by(other), left] = now
                shifted.append(other)
        return shifted

    def _current_records(self, task_ids: Iterable[str], known: Known) -> dict[str, Record]:
        """The records of the current successes of tasks; of those that an earlier process recorded, the store's."""
        found = {t: self._current[t] for t in task_ids if t in self._current}
        found = {t: record for t, record in found.items() if t not in known or record.success == known[t]}
        rest = [t for t in task_ids if t not in found and known.get(t) and self._findings.recordable(t)]
        stored_ones = self._findings.newest(rest) if rest else {}
        found.update({t: record for t, record in stored_ones.items() if record.success == known[t]})
        self._current.update(found)
        return found

    # what counts --------------------------------------------------------------------------------------------------

    def _tracked(self, task_id: str) -> set[Resource]:
        return set(self._lineage.ties[task_id].tracked) if self._findings.recordable(task_id) else set()

    def _written(self, task_id: str) -> set[Resource]:
        chain = self._lineage.ties[task_id].chain
        if chain is None or not any(map(self._findings.recordable, chain.members)):
            return set()
        return set(chain.resources)

    def _watched(self, task_id: str) -> set[Resource]:
        return self._readers.get(task_id, set())

    @cached_property
    def _readers(self) -> Mapping[str, set[Resource]]:
        """Task -> what it writes, and tasks after it read by version."""
        found: dict[str, set[Resource]] = defaultdict(set)
        for task_id in self._lineage.order:
            tracked = self._tracked(task_id)
            for read in self._lineage.ties[task_id].reads if tracked else ():
                for writer in read.writers if read.resource in tracked else ():
                    found[writer].add(read.resource)
        return found

    def _moved(self, task_id: str) -> frozenset[Resource]:
        """What it does not write, but whose version changes when it writes, where records have that version."""
        return self._lineage.moved_by(task_id) & self._counting

    def _kin(self, task_id: str) -> set[Resource]:
        """Of what can be so moved by some task, all that this one changes, so that each change has its author."""
        return {*self._moved(task_id), *self._lineage.overlapping(task_id, self._movable)}

    @cached_property
    def _movable(self) -> frozenset[Resource]:
        return frozenset().union(*map(self._moved, self._lineage.order))

    @cached_property
    def _counting(self) -> frozenset[Resource]:
        """Everything of which a version is in records."""
        return frozenset().union(*(self._tracked(t) | self._written(t) for t in self._lineage.order))
