"""When two successes of a task left the same behind, so that what was built on one may stand on the other.

A record's ``reads`` hold, beside the versions of resources, under names that no resource has: what each upstream had
left (:func:`left_by`), what decides the result beside data (:data:`CHANCE`), and, for an opaque task, which successes
all came before it (:data:`ALL_UPSTREAM`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Final

from pydag_gcp.chains import Chain
from pydag_gcp.lineage import Lineage
from pydag_gcp.record import Record, Success
from pydag_gcp.resources import MISSING, UNKNOWN, Version

#: The clock, a random number or a session: never the same.
CHANCE: Final = "chance"
ALL_UPSTREAM: Final = "all upstream"
#: In ``writes``: which tasks wrote, in which order.
WRITERS: Final = "writers"

#: In what is kept of a try: what the task was when it began.
FINGERPRINT: Final = "fingerprint"

#: What a task left that was skipped, or failed.
NOTHING: Final = "nothing"


def left_by(task: str) -> str:
    """The name under which a record keeps what a task before it had left."""
    return f"task {task}"


def stored(version: Version) -> str | None:
    """A version as records hold it."""
    if version is UNKNOWN:
        return None
    return "missing" if version is MISSING else str(version)


def substance(record: Record, *, opaque: bool) -> str:
    """What a success left: equal for two that did the same with the same data.

    Args:
        record: Of the success.
        opaque: Not all that it read is known.
    """
    if opaque or record.accumulating or None in record.reads.values():
        return of_success(record.success)
    return _digest([record.fingerprint, sorted(record.reads.items())])


def still_there(record: Record, last: Record | None, *, accumulating: bool) -> Record:
    """Which success has left what is there, where a record stands for a task.

    An accumulating task that is again what it once was adds nothing. So what it was in between, for the same date, has
    added the last rows.

    Args:
        record: Of what the task is.
        last: Of whatever it was last, for the date.
        accumulating: Whether it adds to what is there, as its chain now stands.
    """
    return last if accumulating and last is not None else record


def of_success(success: Success | None) -> str:
    """What a success left of which nothing more is known: equal only to itself."""
    return NOTHING if success is None else f"{success.run_id}/{success.try_number}"


def writers(chain: Chain) -> str:
    """Which tasks write a chain's resources, in which order."""
    return _digest(chain.members)


def all_upstream(task: str, lineage: Lineage, success_of: Callable[[str], Success | None], memo: dict[str, str]) -> str:
    """Which successes came before a task.

    Args:
        task: The task.
        lineage: Of its run.
        success_of: Tells the current success of a task.
        memo: What is known of other tasks; added to.
    """
    stack = [task]
    while stack:
        current = stack[-1]
        above = lineage.upstream[current]
        missing = [other for other in above if other not in memo]
        stack += missing
        if not missing:
            memo[current] = _digest([[t, _counted(t, lineage, success_of), memo[t]] for t in sorted(above)])
            stack.pop()
    return memo[task]


def _counted(task: str, lineage: Lineage, success_of: Callable[[str], Success | None]) -> str:
    aside = lineage.ties[task].service is not None or task in lineage.teardowns
    return NOTHING if aside else of_success(success_of(task))


def same(old: Mapping[str, str | None], key: str, new: str | None) -> bool:
    """Tell whether a version is the recorded one; unknown is never equal."""
    return new is not None and old.get(key) == new


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:32]
