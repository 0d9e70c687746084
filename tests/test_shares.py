"""Who gets processors: laws of the arithmetic, and what comes of them in time."""

from __future__ import annotations

import heapq
import math
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pydag_gcp.shares import PATIENCE, Claim, Decision, Member, decide, exact_shares

NOW = 100.0
#: More of the slow ones by hand.
IN_TIME = settings(deadline=None, max_examples=int(os.environ.get("PYDAG_TEST_EXAMPLES", "20")))


def waiting(tasks: int, *, slots: int = 1, since: float = NOW) -> Claim:
    return Claim(slots=slots, tasks=tasks, since=since)


def member(held: int = 0, *claims: Claim, weight: float = 1.0, most: int = 4096, spent: float = 0.0) -> Member:
    return Member(held=held, most=most, weight=weight, spent=spent, claims=claims)


def held_after(members: Sequence[Member], decision: Decision) -> list[int]:
    held = [one.held for one in members]
    for index, claim in decision.grants:
        held[index] += members[index].claims[claim].slots
    return held


CLAIMS = st.builds(
    Claim, slots=st.integers(1, 6), tasks=st.integers(1, 5), since=st.floats(NOW - 3, NOW, allow_nan=False)
)


@st.composite
def pools(draw: st.DrawFn) -> tuple[int, list[Member]]:
    """A pool in which runs hold no more than there is."""
    size = draw(st.integers(1, 12))
    left, members = size, []
    for _ in range(draw(st.integers(1, 6))):
        held = draw(st.integers(0, left))
        left -= held
        most = draw(st.integers(max(held, 1), size))
        kinds = draw(st.lists(CLAIMS, max_size=3, unique_by=lambda claim: claim.slots))
        members.append(
            Member(
                held=held,
                most=most,
                weight=draw(st.sampled_from([0.1, 0.5, 1.0, 2.0, 7.5])),
                spent=draw(st.floats(0, 50)),
                claims=tuple(claim for claim in kinds if claim.slots <= most),
            )
        )
    return size, members


@given(pools())
def test_no_processor_is_given_twice_nor_beyond_what_a_run_may_hold(pool: tuple[int, list[Member]]) -> None:
    size, members = pool
    decision = decide(size, members, NOW)
    held = held_after(members, decision)
    assert sum(held) <= size
    assert all(now <= one.most for now, one in zip(held, members, strict=True))
    for index, one in enumerate(members):
        for number, claim in enumerate(one.claims):
            assert list(decision.grants).count((index, number)) <= claim.tasks


@given(pools())
def test_nothing_is_idle_that_a_claim_fits_into_unless_it_is_reserved(pool: tuple[int, list[Member]]) -> None:
    size, members = pool
    decision = decide(size, members, NOW)
    held = held_after(members, decision)
    free = size - sum(held)
    old = {  # a run whose own tasks are in the way of one that has waited too long may get no others
        index
        for index, one in enumerate(members)
        for claim in one.claims
        if claim.slots > 1 and NOW - claim.since >= PATIENCE
    }
    fitting = [
        (index, number)
        for index, one in enumerate(members)
        for number, claim in enumerate(one.claims)
        if claim.slots <= free
        and index not in old
        and held[index] + claim.slots <= one.most
        and list(decision.grants).count((index, number)) < claim.tasks
    ]
    if decision.reserved is None or free == 0:
        assert not fitting or free == 0
    else:
        claim = members[decision.reserved[0]].claims[decision.reserved[1]]
        assert claim.slots > max(free, 1), "kept for a task that would fit, or needs only one"
        assert NOW - claim.since >= PATIENCE


@given(pools(), st.data())
def test_what_a_killed_run_held_is_free_at_once(pool: tuple[int, list[Member]], data: st.DataObject) -> None:
    # Given a full pool, in which somebody waits for single processors
    size, members = pool
    waiter = member(0, waiting(size))
    killed = data.draw(st.sampled_from(range(len(members))))
    # When one of the others is gone
    rest = [replace(one, claims=()) for index, one in enumerate(members) if index != killed]
    decision = decide(size, [*rest, waiter], NOW)
    # Then all that was its own, and all that was free, has gone to the one that waits
    assert sum(held_after([*rest, waiter], decision)) == size


@given(pools())
def test_exact_shares_are_the_fairest_that_use_everything(pool: tuple[int, list[Member]]) -> None:
    size, members = pool
    shares = exact_shares(size, members)
    assert math.isclose(sum(shares), min(size, sum(one.demand for one in members)), abs_tol=1e-6)
    levels = [share / one.weight for share, one in zip(shares, members, strict=True)]
    for share, level, one in zip(shares, levels, members, strict=True):
        assert -1e-9 <= share <= one.demand + 1e-9
        if share < one.demand - 1e-6:  # it wants more: nobody has more in proportion
            assert level >= max(levels) - 1e-6


@given(pools())
def test_what_a_run_may_pass_on_without_asking_never_adds_up_to_more_than_the_pool(
    pool: tuple[int, list[Member]],
) -> None:
    size, members = pool
    decision = decide(size, members, NOW)
    assert sum(decision.quotas) <= size
    if any(claim.slots > 1 for one in members for claim in one.claims):
        assert not any(decision.quotas), "a task that needs several could not be served"


@pytest.mark.parametrize(
    ("size", "weights", "expected"),
    [
        (8, [1, 1], [4, 4]),
        (8, [3, 1], [6, 2]),  # 8 * 3/4
        (6, [2, 1], [4, 2]),  # 6 * 2/3
        (9, [1, 1, 1], [3, 3, 3]),
        (10, [0.5, 2], [2, 8]),  # 10 * 1/5
    ],
)
def test_an_empty_pool_is_divided_by_weight(size: int, weights: list[float], expected: list[int]) -> None:
    members = [member(0, waiting(size), weight=weight) for weight in weights]
    assert held_after(members, decide(size, members, NOW)) == expected


def test_what_a_run_cannot_use_goes_to_the_others_by_weight() -> None:
    # Given three runs of which one has only two tasks: 12 - 2 are left for weights 1 and 3
    members = [member(0, waiting(2)), member(0, waiting(12), weight=3.0), member(0, waiting(12))]
    shares = exact_shares(12, members)
    assert shares == pytest.approx([2, 7.5, 2.5])
    assert held_after(members, decide(12, members, NOW)) in ([2, 8, 2], [2, 7, 3])


def test_what_is_free_goes_to_whoever_has_least_for_its_weight() -> None:
    # Given a run that took everything while it was alone, and gives back one
    members = [member(7, waiting(5)), member(0, waiting(5))]
    assert held_after(members, decide(8, members, NOW)) == [7, 1]


def test_the_odd_processor_goes_to_whoever_was_granted_least() -> None:
    members = [member(0, waiting(1, since=NOW - 0.5), spent=3.0), member(0, waiting(1), spent=2.0)]
    assert held_after(members, decide(1, members, NOW)) == [0, 1]
    members = [member(0, waiting(1, since=NOW - 0.5)), member(0, waiting(1))]
    assert held_after(members, decide(1, members, NOW)) == [1, 0], "of equals, to the one that waits longest"
    members = [member(0, waiting(1, since=NOW - 1), spent=3.0), member(0, waiting(1), spent=2.0)]
    assert held_after(members, decide(1, members, NOW)) == [1, 0], "to whoever waits for a second"


def test_a_task_that_needs_several_is_passed_over_for_a_second_and_then_waited_for() -> None:
    # Given one processor that is free, and a task that needs three
    small, young = member(3, waiting(5)), member(0, waiting(1, slots=3, since=NOW - 0.9))
    assert held_after([small, young], decide(4, [small, young], NOW)) == [4, 0]
    # When it has waited for a second
    old = member(0, waiting(1, slots=3, since=NOW - 1.0))
    decision = decide(4, [small, old], NOW)
    # Then the one is kept for it,
    assert decision.grants == []
    assert decision.reserved == (1, 0)
    # and it begins as soon as there are three
    assert decide(4, [replace(small, held=1), old], NOW).grants[0] == (1, 0)


def test_nothing_is_kept_from_others_for_a_run_that_has_its_share() -> None:
    # Given weights 2 and 1, thus shares 2.67 and 1.33, and an old task of the second that needs three
    old = waiting(1, slots=3, since=NOW - 9)
    decision = decide(4, [member(2, waiting(5), weight=2.0), member(1, old)], NOW)
    assert decision.reserved == (1, 0), "it holds less than its share"
    # When it holds two, then what is free goes to the others, but to none of its own small ones
    small = waiting(5, since=NOW - 1)
    members = [member(1, waiting(5), weight=2.0), member(2, old, small)]
    decision = decide(4, members, NOW)
    assert decision.reserved is None
    assert held_after(members, decision) == [2, 2]
    alone = [member(2, old, small, most=4)]
    assert decide(4, alone, NOW).grants == []


# in time -------------------------------------------------------------------------------------------------------------


@dataclass
class Run:
    """A run that always has ready tasks of some kinds."""

    weight: float
    kinds: list[int]
    held: int = 0
    spent: float = 0.0
    since: dict[int, float] = field(default_factory=dict)
    served: int = 0

    def member(self, size: int) -> Member:
        claims = tuple(Claim(slots=k, tasks=size, since=self.since[k]) for k in self.kinds)
        return Member(held=self.held, most=size, weight=self.weight, spent=self.spent, claims=claims)


class Machine:
    """Runs that share a pool in virtual time; every task takes up to a second."""

    def __init__(self, size: int, runs: list[Run], seed: int) -> None:
        self.size, self.runs = size, runs
        self.now, self.longest_wait = 0.0, 0.0
        self._random = random.Random(seed)
        self._ends: list[tuple[float, int, int, int]] = []
        for run in runs:
            run.since = dict.fromkeys(run.kinds, 0.0)
        self._divide()

    def step(self) -> None:
        """Let the next task end."""
        self.now, _, index, slots = heapq.heappop(self._ends)
        self.runs[index].held -= slots
        self._divide()

    def _divide(self) -> None:
        members = [run.member(self.size) for run in self.runs]
        for index, number in decide(self.size, members, self.now).grants:
            run = self.runs[index]
            slots = run.kinds[number]
            run.held += slots
            run.served += 1
            run.spent += slots / run.weight
            self.longest_wait = max(self.longest_wait, self.now - run.since[slots])
            run.since[slots] = self.now
            end = self.now + self._random.uniform(0.01, 1.0)
            heapq.heappush(self._ends, (end, self._random.getrandbits(32), index, slots))

    def waits(self) -> float:
        """The longest that anybody has waited, or waits now."""
        return max(self.longest_wait, *(self.now - since for run in self.runs for since in run.since.values()))


@IN_TIME
@given(
    size=st.integers(1, 8),
    weights=st.lists(st.sampled_from([0.5, 1.0, 2.0, 3.0]), min_size=2, max_size=5),
    seed=st.integers(0, 99),
)
def test_every_run_keeps_its_share_within_one_task(size: int, weights: list[float], seed: int) -> None:
    # Given runs that always have more tasks than there are processors, the first of which was there before the others
    machine = Machine(size, [Run(weight, [1]) for weight in weights], seed)
    exact = [size * weight / sum(weights) for weight in weights]
    for _ in range(200):
        machine.step()
        # Then whatever ends, nobody has a whole task more or less than its share
        for run, share in zip(machine.runs, exact, strict=True):
            assert abs(run.held - share) < 1 + 1e-6, (run, share)
    assert all(run.served for run in machine.runs)


@IN_TIME
@given(
    size=st.integers(2, 6),
    kinds=st.lists(st.sampled_from([[1], [1, 2], [6], [1, 6], [3], [2, 3]]), min_size=1, max_size=4),
    seed=st.integers(0, 99),
)
def test_nobody_starves(size: int, kinds: list[list[int]], seed: int) -> None:
    # Given runs that never end to have tasks of all sizes
    weights = random.Random(seed).choices([0.5, 1.0, 3.0], k=len(kinds))
    runs = [Run(w, sorted({min(slots, size) for slots in kind})) for w, kind in zip(weights, kinds, strict=True)]
    machine = Machine(size, runs, seed)
    for _ in range(300):
        machine.step()
    # Then none waits longer than until a second is over, and all that waited before have run for one each
    assert machine.waits() < PATIENCE + 2 * sum(len(run.kinds) for run in runs) * (1 + 1 / min(weights))
