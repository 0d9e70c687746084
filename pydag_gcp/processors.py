"""Processors: the slots in which local work runs.

All runs of a user on a machine share one pool. A run holds as many as it has local work at this moment; an idle one
goes at once to whoever has a ready task. See :mod:`pydag_gcp.shares` for who gets what.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pydag_gcp import cpus, runtime_folder
from pydag_gcp.pool import MOMENT, Pool, PoolUnusable, opened, reason, tidy
from pydag_gcp.pool_table import CLAIMS, LARGEST, Entry
from pydag_gcp.pool_watch import Watch


def default_size() -> int:
    """Processors of this machine: min(32, CPUs we may use + 4)."""
    return min(32, cpus.usable() + 4)


class _Claim:
    """A claim that a share has in the table.

    Attributes:
        number: Its place there.
        tasks: For how many tasks it was made: what is missing there was granted.
        asked: For how many the run has asked in vain since it rested.
    """

    __slots__ = ("asked", "number", "tasks")

    def __init__(self, number: int) -> None:
        self.number = number
        self.tasks = 0
        self.asked = 0


class Share:
    """What one run holds of the pool; see :func:`join`. Only its driving thread may use it.

    As long as nobody else waits, passing processors from task to task touches nothing that processes share.

    Attributes:
        size: Most processors that it can ever hold.
        held: Processors that its work holds.
        warnings: What the user should be told about the pool.
    """

    def __init__(self, pool: Pool, entry: Entry, watch: Watch, warnings: Sequence[str]) -> None:
        self.size = entry.most
        self.held = 0
        self.warnings = tuple(warnings)
        self._pool = pool
        self._table = pool.table
        self._entry = entry
        self._watch = watch
        self._spare = 0  # held by no work, and not given back yet
        self._claims: dict[int, _Claim] = {}
        self._left = False

    def take(self, slots: int, ready: int = 1) -> bool:
        """Hold so many processors more, or all that there can be; at once or not at all.

        Args:
            slots: Processors that one task needs.
            ready: Tasks that need as many and are ready now, this one counted.

        Returns:
            Whether they are held now. If not, a claim stands, and ``granted`` is called when it is worth asking again;
            except where the run itself must first give some back, as it may not hold more.
        """
        if slots > self.size:
            slots = self.size
        if self._left or (self.held == self.size and slots == 1):
            return False
        claim = self._claims.get(slots) if self._claims else None
        if claim is not None and self._granted(claim):
            self._collect(slots, claim)
        elif slots <= self._spare and (not self._table.waiting or self._entitled(slots)):
            self._spare -= slots
            self.held += slots
        else:
            return self._wait(slots, ready, claim)
        return True

    def give(self, slots: int) -> None:
        """Hold so many less: the work of one task has ended. They stay at hand until the run rests."""
        if slots > self.held:
            slots = self.held
        self.held -= slots
        self._spare += slots

    def rest(self) -> None:
        """Give what is at hand to the pool, and withdraw what was not asked for again since the last rest."""
        if self._spare or self._claims:
            self._rest()

    def leave(self) -> None:
        """Give everything back; again does nothing."""
        if not self._left:
            self._left = True
            self.held = self._spare = 0
            self._watch.stop()
            self._pool.leave(self._entry)
            tidy()

    def _rest(self) -> None:
        for slots in [slots for slots, claim in self._claims.items() if not claim.tasks]:
            del self._claims[slots]  # all of it was granted and taken
        too_much = any(self._entry.tasks(claim.number) > claim.asked for claim in self._claims.values())
        if self._spare or too_much or any(not claim.asked for claim in self._claims.values()):
            self._give_back()
        for claim in self._claims.values():
            claim.asked = 0

    def _granted(self, claim: _Claim) -> int:
        """How many tasks of a claim have got their processors, and were not asked for again yet."""
        return claim.tasks - self._entry.tasks(claim.number)

    def _collect(self, slots: int, claim: _Claim) -> None:
        claim.tasks -= 1
        self.held += slots

    def _entitled(self, slots: int) -> bool:
        """Whether the run may pass so many on although others wait: they are its own."""
        return self._entry.held - self._spare + slots <= self._entry.quota

    @property
    def _counted(self) -> int:
        """What the run's work holds, and what it was granted for more."""
        return self.held + sum(slots * self._granted(claim) for slots, claim in self._claims.items())

    def _wait(self, slots: int, ready: int, claim: _Claim | None) -> bool:
        """Let a claim stand; return whether it could be granted at once."""
        worth = max(1, min(ready, self._table.size // slots))  # no more could ever be granted at once
        if claim is not None:
            claim.asked = max(claim.asked, worth)
            self._entry.set_ready(claim.number, ready)
            if self._entry.tasks(claim.number) >= worth and self._entry.held == self._counted:
                return False  # it stands already, and nothing is at hand
        with self._pool.locked(MOMENT) as had:
            if had and self._ask(slots, worth, claim):
                return True
        if had and slots in self._claims:
            self._entry.set_ready(self._claims[slots].number, ready)
            self._watch.wait()
        elif not had:
            self._watch.again()
        return False

    def _ask(self, slots: int, worth: int, claim: _Claim | None) -> bool:
        """Claim processors; under the lock. Return whether they were free."""
        claim = claim or self._new_claim(slots)
        if claim is None:
            return False
        if not self._granted(claim):  # else it was granted just now
            self._publish(slots, worth, claim)
            self._pool.settle()
        if not self._granted(claim):
            return False
        self._collect(slots, claim)
        if self._counted == self.held + slots * self._granted(claim):
            self._pool.hush(self._entry)
        return True

    def _new_claim(self, slots: int) -> _Claim | None:
        """Make a claim, unless there are too many kinds: then one of the others is granted first."""
        used = {claim.number for claim in self._claims.values()}
        number = next((number for number in range(CLAIMS) if number not in used), None)
        if number is None:
            return None
        return self._claims.setdefault(slots, _Claim(number))

    def _publish(self, slots: int, worth: int, claim: _Claim) -> None:
        now = time.monotonic()
        if not self._entry.active:
            self._pool.catch_up(self._entry)
        standing = self._entry.tasks(claim.number)
        since = self._entry.since(claim.number) if standing else now
        self._let_go()
        self._entry.seen = now if self._pool.memory.shared else math.inf
        claim.asked = max(claim.asked, worth)
        claim.tasks = max(standing, worth)
        self._entry.claim(claim.number, slots=slots, tasks=claim.tasks, since=since)

    def _give_back(self) -> None:
        with self._pool.locked(MOMENT) as had:
            if had:
                for slots, claim in list(self._claims.items()):
                    self._lower(slots, claim)
                self._let_go()
                self._pool.settle()
        if not had:
            self._watch.again()

    def _lower(self, slots: int, claim: _Claim) -> None:
        """Let a claim stand for no more than was asked for; under the lock."""
        if not claim.asked:
            del self._claims[slots]
        standing = self._entry.tasks(claim.number)
        if standing > claim.asked:
            claim.tasks -= standing - claim.asked
            since = self._entry.since(claim.number)
            self._entry.claim(claim.number, slots=slots, tasks=claim.asked, since=since)

    def _let_go(self) -> None:
        """Free what is at hand; under the lock."""
        self._entry.held = self._counted
        self._spare = 0


def join(
    name: str,
    *,
    run_id: str,
    weight: float = 1.0,
    most: int | None = None,
    size: int | None = None,
    granted: Callable[[], object],
    folder: Path | None = None,
) -> Share:
    """Let a run have its share of the pool.

    Where processes cannot meet, the pool is that of this process, and a warning says why.

    Args:
        name: What others see of it: the pipeline's id.
        run_id: Its id.
        weight: Its share under contention, in proportion to those of others.
        most: Most processors that it may hold.
        size: Size of the pool, if nobody uses it yet; default: :func:`default_size`.
        granted: Called from any thread when what was refused may be there now.
        folder: Where the processes meet; default: :func:`pydag_gcp.runtime_folder.find`.
    """
    wanted = size or default_size()

    def enter(folder: Path | None) -> tuple[Pool, Entry]:
        with opened(folder) as found:
            return found, found.enter(
                name=name, run_id=run_id, most=most or LARGEST, weight=weight, size=wanted, granted=granted
            )

    warnings = []
    try:
        found, entry = enter(folder or runtime_folder.find())
    except (OSError, PoolUnusable) as error:
        warnings.append(f"processors are not shared with other processes: {reason(error)}")
        found, entry = enter(None)
    if size is not None and size != found.table.size:
        warnings.append(
            f"the pool has {found.table.size} processors, not {size}, until the runs end that were there before; "
            "`pydag top` shows them"
        )
    return Share(found, entry, Watch(found, entry, granted), warnings)
