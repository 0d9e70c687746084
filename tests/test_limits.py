"""Limits: never passed, halved by refusals, grown by successes, each once per round trip."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pydag_gcp.limits import Limit, Limits

#: What happens to a service: jobs start and end; calls, each sent some seconds before its answer, are refused or not.
_ROUND_TRIP = st.floats(min_value=0, max_value=5)
_EVENTS = st.lists(st.tuples(st.sampled_from(["start", "end", "refused", "accepted"]), _ROUND_TRIP), max_size=200)
_BOUND = st.none() | st.integers(min_value=1, max_value=50)


def played(limit: Limit, events: list[tuple[str, float]]) -> None:
    """One event a second; a job starts only where there is room."""
    for second, (event, took) in enumerate(events):
        if event == "start" and not limit.full:
            limit.flying += 1
        elif event == "end" and limit.flying:
            limit.flying -= 1
        elif event == "refused":
            limit.refused(sent=second - took, now=second)
        elif event == "accepted":
            limit.accepted(sent=second - took, now=second)


@given(bound=_BOUND, events=_EVENTS)
def test_what_is_allowed_is_at_least_one_and_at_most_the_bound(
    bound: int | None, events: list[tuple[str, float]]
) -> None:
    limit = Limit(bound)
    for event in events:
        played(limit, [event])
        assert limit.allowed is None or limit.allowed >= 1
        assert bound is None or (limit.allowed is not None and limit.allowed <= bound)
        assert bound is None or limit.flying <= bound


@given(bound=_BOUND, events=_EVENTS)
def test_without_a_refusal_nothing_changes(bound: int | None, events: list[tuple[str, float]]) -> None:
    limit = Limit(bound)
    played(limit, [event for event in events if event[0] != "refused"])
    assert limit.allowed == bound


@given(flying=st.integers(min_value=0, max_value=500), bound=_BOUND)
def test_a_refusal_halves_what_is_in_flight(flying: int, bound: int | None) -> None:
    limit = Limit(bound)
    limit.flying = flying
    assert limit.refused(sent=0, now=1)
    assert limit.allowed == max(min(flying, bound or flying) // 2, 1)


@given(flying=st.integers(min_value=2, max_value=500), others=st.integers(min_value=1, max_value=100))
def test_refusals_of_one_round_trip_count_once(flying: int, others: int) -> None:
    # Given many calls that were sent together
    limit = Limit()
    limit.flying = flying
    # When all of them are refused
    narrowed = [limit.refused(sent=0, now=1 + number) for number in range(1 + others)]
    # Then the first one counts
    assert narrowed == [True] + [False] * others
    assert limit.allowed == flying // 2
    # And one that was sent since counts again
    assert limit.refused(sent=1 + others, now=2 + others)
    assert limit.allowed == max(flying // 4, 1)


@given(bound=st.integers(min_value=1, max_value=100), trips=st.integers(min_value=0, max_value=200))
def test_it_recovers_by_one_with_each_round_trip_up_to_the_bound(bound: int, trips: int) -> None:
    limit = Limit(bound)
    limit.flying = bound
    limit.refused(sent=0, now=1)
    narrow = limit.allowed
    assert narrow is not None
    for trip in range(trips):
        for _ in range(3):  # accepted together
            limit.accepted(sent=2 + trip, now=2.5 + trip)
    assert limit.allowed == min(narrow + trips, bound)


def test_what_was_accepted_before_a_refusal_widens_nothing() -> None:
    limit = Limit(8)
    limit.flying = 8
    limit.refused(sent=1, now=2)
    limit.accepted(sent=1.5, now=3)
    assert limit.allowed == 4


def test_the_services_of_a_run_are_full_each_by_itself_and_the_user_is_told_once() -> None:
    told: list[str] = []
    limits = Limits({"bigquery": 2}, told.append)
    # When as many jobs fly as may
    limits.begin("bigquery")
    limits.begin("dataproc")
    assert limits.full == set()
    limits.begin("bigquery")
    # Then that service takes no more, until one has ended
    assert limits.full == {"bigquery"}
    limits.end("bigquery")
    assert limits.full == set()
    # When a service refuses, again and again
    for second in range(10, 20):
        limits.refused("bigquery", sent=second, now=second + 0.5)
    # Then fewer fly, which is said once
    assert limits.full == {"bigquery"}
    assert told == ["bigquery refuses for its rate: at most 1 job at a time for now"]
    # And it recovers
    limits.accepted("bigquery", sent=30, now=31)
    assert limits.full == set()
