"""Who gets the pool's processors: pure arithmetic on what every run holds and claims.

A run's exact share is weighted max-min: as much as it can use, up to what its weight gives it; what some leave, the
others share in the same way (D. Bertsekas, R. Gallager, Data Networks, 1992, section 6.5). Nothing is taken from a run
before its tasks end, so shares decide who gets what is free.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

#: Seconds after which what is free is kept together for a task that needs several processors.
PATIENCE = 1.0
#: Below this, parts of a processor are rounding errors.
_TINY = 1e-9


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """Tasks of a run that are ready and wait for processors.

    Attributes:
        slots: Processors that each of them needs, at once.
        tasks: How many they are.
        since: When they began to wait, or one of them last got what it waited for; seconds, monotonic.
    """

    slots: int
    tasks: int
    since: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """A run.

    Attributes:
        held: Processors that it holds.
        most: Most that it may hold.
        weight: Its share, in proportion to those of others.
        spent: What it was granted so far, over its weight: of runs with the same in proportion, who has less is next.
        claims: What it waits for.
    """

    held: int
    most: int
    weight: float = 1.0
    spent: float = 0.0
    claims: tuple[Claim, ...] = ()

    @property
    def demand(self) -> int:
        """Processors that it could use now."""
        return min(self.most, self.held + sum(claim.slots * claim.tasks for claim in self.claims))


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What is to be done.

    Attributes:
        grants: Pairs of a member's and of its claim's position: one task each that now gets its processors.
        quotas: For each member, so many processors are its own: it may pass them from task to task without asking.
        reserved: The member and claim for which what is free is kept, if any.
    """

    grants: Sequence[tuple[int, int]]
    quotas: Sequence[int]
    reserved: tuple[int, int] | None


def decide(size: int, members: Sequence[Member], now: float) -> Decision:
    """Divide what is free in a pool.

    All that is free is given away while a claim fits into it, except for what is reserved: the claim that has waited
    longest for several processors, and for over a second, gets the next ones. A run whose own tasks are in the way of
    that, as it has its share or may hold no more, gets nothing else until they have ended.

    Args:
        size: Processors of the pool.
        members: All runs that hold or claim some.
        now: Seconds, by the clock of the claims.
    """
    shares = exact_shares(size, members)
    division = _Division(size, members, shares, now)
    reserved = division.divide()
    several = any(claim.slots > 1 for member in members for claim in member.claims)
    quotas = [0 if several else math.floor(share + _TINY) for share in shares]
    return Decision(grants=division.grants, quotas=quotas, reserved=reserved)


def exact_shares(size: int, members: Sequence[Member]) -> list[float]:
    """Divide a pool by weight; nobody gets more than it can use."""
    shares = [0.0] * len(members)
    left, weights = float(size), sum(member.weight for member in members)
    for index in sorted(range(len(members)), key=lambda i: members[i].demand / members[i].weight):
        member = members[index]
        shares[index] = min(float(member.demand), left * member.weight / weights if weights > _TINY else left)
        left -= shares[index]
        weights -= member.weight
    return shares


class _Division:
    """One decision in the making: what each holds by now, and what it still waits for."""

    def __init__(self, size: int, members: Sequence[Member], shares: Sequence[float], now: float) -> None:
        self.grants: list[tuple[int, int]] = []
        self._members = members
        self._shares = shares
        self._now = now
        self._free = size - sum(member.held for member in members)
        self._held = [member.held for member in members]
        self._waiting = [[claim.tasks for claim in member.claims] for member in members]
        self._whole = self._whole_shares()

    def divide(self) -> tuple[int, int] | None:
        """Grant what can be granted; return for whom the rest is kept."""
        while True:
            kept, barred = self._reservation()
            best = kept or self._best(barred)
            if self._free <= 0 or best is None or not self._fits(*best):
                return kept
            self._grant(*best)

    def _reservation(self) -> tuple[tuple[int, int] | None, Collection[int]]:
        """For which claim what is free is kept, and which runs get nothing because they keep themselves from theirs."""
        barred = set()
        for index, claim in self._starving():
            if self._held[index] >= self._shares[index] - _TINY or not self._may_hold(index, claim):
                barred.add(index)
            elif self._slots(index, claim) > 1:
                return (index, claim), barred
            else:
                break  # it comes first among the others, and needs nothing kept
        return None, barred

    def _whole_shares(self) -> list[int]:
        """Round shares such that their sum stays."""
        whole = [math.floor(share + _TINY) for share in self._shares]
        odd = round(sum(self._shares)) - sum(whole)
        broken = [i for i, share in enumerate(self._shares) if share - whole[i] > _TINY]
        for index in sorted(broken, key=self._turn)[:odd]:
            whole[index] += 1
        return whole

    def _turn(self, index: int) -> tuple[float, ...]:
        """Whose turn it is, of runs that have the same in proportion; the least."""
        since = self._oldest(index)
        if not self._held[index] and self._now - since >= PATIENCE:
            return 0.0, since
        return 1.0, self._members[index].spent, since

    def _oldest(self, index: int) -> float:
        return min((claim.since for claim in self._members[index].claims), default=math.inf)

    def _fits(self, index: int, claim: int) -> bool:
        return self._slots(index, claim) <= self._free and self._may_hold(index, claim)

    def _slots(self, index: int, claim: int) -> int:
        return self._members[index].claims[claim].slots

    def _may_hold(self, index: int, claim: int) -> bool:
        """Whether the run may hold so many more."""
        return self._held[index] + self._slots(index, claim) <= self._members[index].most

    def _starving(self) -> list[tuple[int, int]]:
        """The claims that have waited too long, oldest first: those for several processors, and of runs that have none.

        Only the oldest of a run's counts, as it would else starve its own small tasks.
        """
        found = [
            (claim.since, index, i)
            for index, member in enumerate(self._members)
            for i, claim in enumerate(member.claims)
            if self._now - claim.since >= PATIENCE
            and (claim.slots > 1 or not self._held[index])
            and claim.since == self._oldest(index)
            and self._waiting[index][i] == claim.tasks  # else one of them was served just now
        ]
        return [(index, claim) for _, index, claim in sorted(found)]

    def _best(self, barred: Collection[int]) -> tuple[int, int] | None:
        """The claim that is to be served next: of a run below its share, with the least in proportion."""
        found = []
        for index, member in enumerate(self._members):
            if not member.claims or index in barred:
                continue
            waiting = self._waiting[index]
            fitting = [i for i in range(len(member.claims)) if waiting[i] and self._fits(index, i)]
            if fitting:
                first = min(fitting, key=lambda i: member.claims[i].since)
                held = self._held[index]
                beyond = held + member.claims[first].slots > self._shares[index] + _TINY
                rank = (held >= self._whole[index], beyond, held / member.weight, self._turn(index))
                found.append((rank, index, first))
        return min(found)[1:] if found else None

    def _grant(self, index: int, claim: int) -> None:
        slots = self._slots(index, claim)
        self._free -= slots
        self._held[index] += slots
        self._waiting[index][claim] -= 1
        self.grants.append((index, claim))
