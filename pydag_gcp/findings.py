"""What is known of tasks when it is decided about them: what they are, and what is recorded of them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from pydag_gcp import fingerprint, reasons
from pydag_gcp.canonical import Unhashable
from pydag_gcp.decision import may_be_cached
from pydag_gcp.errors import DefinitionError
from pydag_gcp.fingerprint import Fingerprint
from pydag_gcp.judgement import Facts
from pydag_gcp.lineage import Lineage
from pydag_gcp.operator import Context, Json
from pydag_gcp.output import Output
from pydag_gcp.record import Record, Records
from pydag_gcp.redaction import MASK, Redactor

if TYPE_CHECKING:
    from pydag_gcp.planner import Plan


class Findings:
    """Takes fingerprints and looks up records.

    Args:
        plan: What the run would do.
        lineage: What binds its tasks.
        records: Of earlier runs.
        cache: Whether these count.
    """

    def __init__(self, plan: Plan, lineage: Lineage, records: Records, *, cache: bool) -> None:
        self._plan, self._lineage, self._records, self._cache = plan, lineage, records, cache
        self._fingerprints: dict[str, Fingerprint] = {}
        self._redact = Redactor()

    def recordable(self, task_id: str) -> bool:
        """Tell whether a success of the task may stand for it in a later run, or be built on there."""
        aside = self._lineage.ties[task_id].service is not None or task_id in self._lineage.teardowns
        return not aside and not self._never(task_id)

    def date(self, task_id: str) -> str:
        """The logical date, where a run of another date adds other rows."""
        return self._date if self._plan.dated and self._lineage.ties[task_id].accumulating else ""

    def beforehand(self) -> dict[str, Facts]:
        """Find out what is known of every task before any has started; asks the store once for each depth of outputs.

        Raises:
            DefinitionError: A recorded result cannot be used, and the task cannot run again without adding rows twice.
        """
        found: dict[str, Record] = {}
        for level in self._levels():
            for task_id in level:
                if (known := self._recorded_results(task_id, found)) is not None:
                    self._fingerprints[task_id] = self._fingerprint(task_id, known)
            found.update(self._matching(level))
        newest = self._newest(list(self._fingerprints))
        last = self._last(newest)
        return {task_id: self._facts(task_id, found.get(task_id), newest, last) for task_id in self._lineage.order}

    def at_run_time(self, task_id: str) -> Facts:
        """Find out what is known of a task whose upstreams have ended."""
        if not self.recordable(task_id):
            return self._facts(task_id, None, {}, {})
        self.fingerprint(task_id)
        record = self._matching([task_id]).get(task_id)
        newest = self._newest([task_id])
        return self._facts(task_id, record, newest, self._last(newest))

    def fingerprint(self, task_id: str) -> Fingerprint:
        """What a task is whose upstreams have ended."""
        if self._lineage.ties[task_id].sources or task_id not in self._fingerprints:
            ctx = self._plan.context_of(task_id)
            others = {s: ctx.output_of(s) for s in self._lineage.ties[task_id].sources}
            self._fingerprints[task_id] = self._fingerprint(task_id, {**self._plan.recorded, **others})
        return self._fingerprints[task_id]

    def newest(self, task_ids: Iterable[str]) -> dict[str, Record]:
        """The newest record of each task that has one, of whatever date."""
        return self._newest(list(task_ids))

    def last(self, task_ids: Iterable[str]) -> dict[str, Record]:
        """The newest record of each task that has one, for the run's date where that counts."""
        return self._last(self.newest(task_ids))

    # why it is never, or not now, cached --------------------------------------------------------------------------

    def _never(self, task_id: str) -> str:
        task, ties = self._plan.tasks[task_id], self._lineage.ties[task_id]
        if not may_be_cached(task):
            return reasons.SWITCHED_OFF if task.cache is False else reasons.NEVER_CACHED
        if ties.opaque and task.cache in (None, False):
            return reasons.OPAQUE
        return ""

    def _facts(
        self, task_id: str, record: Record | None, newest: Mapping[str, Record], last: Mapping[str, Record]
    ) -> Facts:
        task, ties = self._plan.tasks[task_id], self._lineage.ties[task_id]
        requested = reasons.REQUESTED if task_id in self._plan.requested else ""
        if not self.recordable(task_id):
            serves = reasons.NO_CACHE if ties.service is not None and not self._cache else ""
            aside = ties.service is not None or task_id in self._lineage.teardowns
            return Facts(always=requested or serves or ("" if aside else self._never(task_id)))
        secret = record is not None and bool(self._lineage.takers.get(task_id)) and MASK in json.dumps(record.result)
        if secret and ties.accumulating and not requested:
            what = "its recorded result holds a secret, and to run it again would add its rows twice"
            where = task.source.place(task=task_id)
            raise DefinitionError(what, where=where, hint=f"run it nevertheless: --from {task_id}")
        off = reasons.SWITCHED_OFF if task.cache is False else "" if self._cache else reasons.NO_CACHE
        return Facts(
            always=requested,
            off=off,
            fingerprint=self._fingerprints.get(task_id),
            date=self.date(task_id),
            record=record,
            newest=newest.get(task_id),
            last=last.get(task_id),
            lifetime=task.cache if isinstance(task.cache, timedelta) else None,
            deterministic=task.deterministic(self._plan.context_of(task_id)),
            secret=secret,
        )

    # what it is, and its records ----------------------------------------------------------------------------------

    def _levels(self) -> list[list[str]]:
        """The tasks that may have records, those first that take no outputs, then those that take only theirs, ..."""
        depth: dict[str, int] = {}
        levels: dict[int, list[str]] = defaultdict(list)
        for task_id in self._lineage.order:
            sources = self._lineage.ties[task_id].sources
            depth[task_id] = max((depth[source] + 1 for source in sources), default=0)
            if self.recordable(task_id):
                levels[depth[task_id]].append(task_id)
        return [levels[number] for number in sorted(levels)]

    def _recorded_results(self, task_id: str, found: Mapping[str, Record]) -> dict[str, Json] | None:
        """The outputs that it takes, if those tasks are cached; None if one of them surely is not."""
        sources = self._lineage.ties[task_id].sources
        if any(source not in found or source in self._plan.requested for source in sources):
            return None
        return {**self._plan.recorded, **{source: found[source].result for source in sources}}

    def _fingerprint(self, task_id: str, results: Mapping[str, Json]) -> Fingerprint:
        ctx = replace(self._plan.context_of(task_id), outputs=results.__getitem__)
        return fingerprint.of(self._plan.tasks[task_id], ctx, lambda output: self._value(output, ctx))

    def _value(self, output: Output, ctx: Context) -> Any:
        value = output.resolve(ctx)
        if self._redact.within(value) != value or MASK in json.dumps(value):
            raise Unhashable(f"the output of {output.task_id} holds a secret")
        return value

    def _matching(self, task_ids: Iterable[str]) -> dict[str, Record]:
        known = {t: self._fingerprints[t] for t in task_ids if t in self._fingerprints}
        wanted = {t: (one.digest, self.date(t)) for t, one in known.items() if not one.unknown}
        found = self._look_up(wanted)
        ties = self._lineage.ties
        blind = [task_id for task_id in found if ties[task_id].opaque and not ties[task_id].accumulating]
        newest = self._newest(blind)  # what such a task wrote since, as it was then, cannot be seen
        found = {t: r for t, r in found.items() if t not in blind or newest[t].success == r.success}
        # A part of a DAG may leave out what replaces a table: what was recorded then, without a date, still is there.
        undated = {t: (digest, "") for t, (digest, date) in wanted.items() if date and t not in found}
        return {**{t: r for t, r in self._look_up(undated).items() if not r.accumulating}, **found}

    def _look_up(self, wanted: Mapping[str, tuple[str, str]]) -> dict[str, Record]:
        if not wanted:
            return {}
        return self._records.matching(self._plan.dag.dag_id, self._plan.clients.target.name, wanted)

    def _newest(self, task_ids: list[str], *, date: str | None = None) -> dict[str, Record]:
        if not task_ids:
            return {}
        return self._records.newest(self._plan.dag.dag_id, self._plan.clients.target.name, task_ids, date=date)

    def _last(self, newest: Mapping[str, Record]) -> dict[str, Record]:
        """What of this is for the run's date, or the newest that is: what another date has added says nothing of it."""
        found = {task_id: record for task_id, record in newest.items() if self.date(task_id) in ("", record.date)}
        return {**found, **self._newest([task_id for task_id in newest if task_id not in found], date=self._date)}

    @property
    def _date(self) -> str:
        return self._plan.context.logical_date.isoformat()
