"""Who holds and who waits for processors at a moment."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydag_gcp import runtime_folder
from pydag_gcp.errors import PydagError
from pydag_gcp.pool import PATIENCE, Pool, opened, reason
from pydag_gcp.pool_memory import file_in
from pydag_gcp.pool_table import AWAKE, Entry
from pydag_gcp.shares import Claim, decide


@dataclass(frozen=True, kw_only=True)
class Wait:
    """Tasks of a run that wait.

    Attributes:
        tasks: How many.
        slots: Processors that each of them needs.
        seconds: For how long, or since one of them last got what it waited for.
        reserved: Whether what becomes free is kept for them.
    """

    tasks: int
    slots: int
    seconds: float
    reserved: bool


@dataclass(frozen=True, kw_only=True)
class Resident:
    """A run in the pool.

    Attributes:
        most: Most processors that it may hold.
        since: When it joined.
        stopped: Whether it waits and its process does not look any more, so that it gets nothing.
    """

    dag_id: str
    run_id: str
    pid: int
    weight: float
    held: int
    most: int
    since: datetime
    stopped: bool
    waits: Sequence[Wait]


@dataclass(frozen=True, kw_only=True)
class Census:
    """A pool at a moment.

    Attributes:
        size: Its processors; None: there is no pool, as nothing runs.
    """

    size: int | None
    runs: Sequence[Resident]

    @property
    def held(self) -> int:
        """Processors that runs hold."""
        return sum(run.held for run in self.runs)

    @property
    def waiting(self) -> int:
        """Tasks that wait."""
        return sum(wait.tasks for run in self.runs for wait in run.waits)

    def to_json(self) -> dict[str, Any]:
        """The census as JSON."""
        runs = [{**asdict(run), "since": run.since.isoformat()} for run in self.runs]
        return {"size": self.size, "held": self.held, "waiting": self.waiting, "runs": runs}


def take_census(folder: Path | None = None) -> Census:
    """Look who is in the pool of this machine and user. Entries of dead processes are ended by it.

    Args:
        folder: Where the processes meet; default: :func:`pydag_gcp.runtime_folder.find`.

    Raises:
        PydagError: The pool cannot be looked at.
    """
    try:
        folder = folder or runtime_folder.find()
        if not file_in(folder).exists():
            return Census(size=None, runs=())
        with opened(folder) as pool:
            return _census(pool)
    except OSError as error:
        raise PydagError(f"the pool of processors cannot be looked at: {reason(error)}") from error


def _census(pool: Pool) -> Census:
    with pool.locked(PATIENCE) as had:
        if not had:
            raise PydagError(
                "the pool of processors cannot be looked at: a process has locked its table and was stopped",
                hint="see `ps -o pid,stat,args -u $USER` for one in state T, and kill -CONT it",
            )
        if not pool.used and pool.memory.nobody():
            return Census(size=None, runs=())
        if not pool.table.valid:
            raise PydagError("the pool of processors is used by runs of another version of pydag-gcp")
        pool.sweep()
        pool.settle()
        return _read(pool, time.monotonic())


def _read(pool: Pool, now: float) -> Census:
    rows = [(entry, entry.claims()) for entry in pool.table.entries()]
    reserved = decide(pool.table.size, [entry.member(claims, now) for entry, claims in rows], now).reserved
    runs = [
        _resident(entry, claims, now, reserved[1] if reserved is not None and reserved[0] == index else None)
        for index, (entry, claims) in enumerate(rows)
    ]
    return Census(size=pool.table.size, runs=sorted(runs, key=lambda run: run.since))


def _resident(entry: Entry, claims: dict[int, Claim], now: float, reserved: int | None) -> Resident:
    waits = [
        Wait(
            tasks=max(claim.tasks, entry.ready(number)),
            slots=claim.slots,
            seconds=round(max(now - claim.since, 0.0), 3),
            reserved=position == reserved,
        )
        for position, (number, claim) in enumerate(claims.items())
    ]
    return Resident(
        dag_id=entry.name,
        run_id=entry.run_id,
        pid=entry.pid,
        weight=entry.weight,
        held=entry.held,
        most=entry.most,
        since=datetime.fromtimestamp(entry.joined, UTC),
        stopped=bool(waits) and entry.pid != os.getpid() and now - entry.seen > AWAKE,
        waits=waits,
    )
