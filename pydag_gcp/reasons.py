"""Why a task runs, in words."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING

from pydag_gcp.record import Record
from pydag_gcp.resources import GCSObject, Resource, Table

if TYPE_CHECKING:
    from pydag_gcp.chains import Chain

REQUESTED = "named on the command line"
NO_CACHE = "--no-cache"
SWITCHED_OFF = "its cache is switched off"
NEVER_CACHED = "not cached, as it does not declare cache="
OPAQUE = "what it reads and writes is not known, and it does not declare cache="
NEVER_SUCCEEDED = "never succeeded with these parameters"
CHANCE = "its SQL is not deterministic"
SECRET = "its recorded result holds a secret"  # noqa: S105 - words
UNCHANGED = "nothing has changed"
ADDED = "nothing new to add"
MAY_BE_SKIPPED = "may be skipped"
UNUSED = "no task that uses it will run"
IS_RUNNING = "is running"
_MISSING = "missing"


def changed_input(resource: Resource, old: str | None, new: str | None) -> str:
    """An input has another version, or one that is not known."""
    if old == _MISSING:
        return f"input {resource} did not exist"
    if new == _MISSING:
        return f"input {resource} is gone"
    if old is None or new is None:
        return f"cannot tell whether input {resource} has changed"
    if isinstance(resource, GCSObject) and not resource.many:
        return f"input {resource} changed: generation {old} -> {new}"
    return f"input {resource} changed"


def changed_outside(resource: Resource, old: str | None, new: str | None) -> str:
    """What was written has another version, or one that is not known."""
    kind = "table" if isinstance(resource, Table) else "object"
    if old is None or new is None:
        return f"cannot tell whether {kind} {resource} was modified outside"
    return f"{kind} {resource} {'was deleted' if new == _MISSING else 'was modified'} outside"


def expired(ago: timedelta) -> str:
    """A record is too old."""
    seconds = int(ago.total_seconds())
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"expired {seconds // size} {unit} ago"
    return f"expired {seconds} s ago"


def unrecorded(changes: Iterable[str], newest: Record | None, date: str) -> str:
    """There is no record of what the task is now.

    Args:
        changes: What is another than in its newest record, in words.
        newest: That record.
        date: The logical date that counts, if one does.
    """
    if newest is not None and date and newest.date and newest.date != date and not [*changes]:
        return f"nothing was added for {date}"
    return "; ".join(changes) or NEVER_SUCCEEDED


def unknown(why: str) -> str:
    """The task has no fingerprint."""
    return f"what it is cannot be told from what it was: {why}"


def will_run(upstream: str) -> str:
    """A task it depends on will run."""
    return f"upstream {upstream} will run"


def has_run(upstream: str) -> str:
    """A task it depends on has run after it."""
    return f"upstream {upstream} has run since"


def was_skipped(upstream: str) -> str:
    """A task it depends on came to nothing, then or now."""
    return f"upstream {upstream} is skipped in one run and not in the other"


def is_later(upstream: str) -> str:
    """A task it depends on is decided at run time."""
    return f"upstream {upstream} is decided at run time"


def other_upstreams(more: Iterable[str], fewer: Iterable[str]) -> str:
    """It depends on other tasks than it did."""
    gained, lost = ", ".join(sorted(more)), ", ".join(sorted(fewer))
    return f"depends on {gained} now" if gained else f"does not depend on {lost} any more"


def with_member(member: str, chain: Chain) -> str:
    """Another task that writes the same will run."""
    return f"task {member}, which writes {chain.named} too, will run"


def with_reader(reader: str, chain: Chain) -> str:
    """A task that reads in between what the chain writes will run."""
    return f"task {reader} will run, which reads {chain.named} before it is written over"


def with_later(member: str, chain: Chain) -> str:
    """Another task that writes or reads the same is decided at run time."""
    return f"task {member} is decided at run time and needs {chain.named} written anew"


def incomplete(chain: Chain, run_id: str) -> str:
    """Not all members of a chain succeeded in one run."""
    return f"run {run_id} did not finish what writes {chain.named}"


def other_writers(chain: Chain) -> str:
    """The members of the chain are others now."""
    return f"other tasks write {chain.named} now, or in another order"


def below_opaque(above: str) -> str:
    """It comes after an opaque task that will run."""
    return f"comes after {above}, of which it is not known what it writes"


def output_of(source: str) -> str:
    """It takes the output of a task that will run."""
    return f"takes the output of {source}, which will run"


def left_alone(chain: Chain, resource: Resource, old: str | None, new: str | None) -> str:
    """A warning: what an accumulating chain wrote was changed outside."""
    if new == _MISSING:
        what = f"its rows are not added again; run --only {chain.members[-1]} to do so"
        return f"{changed_outside(resource, old, new)}; {what}"
    return f"{changed_outside(resource, old, new)}; its rows are left alone"


def runs_if_started(setups: Iterable[str]) -> str:
    """A teardown."""
    return f"runs if {' or '.join(setups)} was started"


def not_ended(upstream: str) -> str:
    """A task it depends on may still run: its trigger rule does not wait for it."""
    return f"upstream {upstream} has not ended"


def used_by(user: str) -> str:
    """A service that a task needs."""
    return f"task {user}, which uses it, will run"


def may_be_used_by(user: str) -> str:
    """A service that a task may need."""
    return f"task {user}, which uses it, is decided at run time"
