"""Which tasks always wait for which: against a look at every path."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from pydag_gcp import ordering
from pydag_gcp.edges import in_order
from pydag_gcp.ordering import Ordering, Pair
from pydag_gcp.states import TriggerRule

RULES = st.sampled_from([TriggerRule.ALL_SUCCESS, TriggerRule.ALL_DONE, TriggerRule.ONE_SUCCESS, TriggerRule.ALWAYS])


@st.composite
def graphs(draw: st.DrawFn) -> tuple[dict[str, list[str]], dict[str, TriggerRule], dict[str, list[str]]]:
    """Upstreams in any order of definition, trigger rules, and teardowns."""
    size = draw(st.integers(1, 9))
    names = [f"t{number}" for number in range(size)]
    edges = draw(st.sets(st.tuples(st.integers(0, size - 1), st.integers(0, size - 1))))
    above = {name: [names[a] for a, b in sorted(edges) if a < b == number] for number, name in enumerate(names)}
    defined = draw(st.permutations(names)) if draw(st.booleans()) else names
    teardowns = {name: above[name][:1] for name in names if above[name] and draw(st.integers(0, 9)) == 0}
    return {name: above[name] for name in defined}, {name: draw(RULES) for name in names}, teardowns


def paths(order: Ordering, upstream: Mapping[str, list[str]], added: Iterable[Pair]) -> tuple[set[Pair], set[Pair]]:
    """The pairs that a path connects, and those that a path of at least two edges does."""
    edges = {(order.position[a], order.position[b]) for b, above in upstream.items() for a in above}
    near = {(a, b) for a, b in edges if order.waits[b]} | set(added)
    some, far = set(near), set[Pair]()
    for _ in order.tasks:
        far |= {(a, d) for a, b in some for c, d in near if b == c}
        some |= far
    return some, far


@settings(max_examples=60)
@given(graph=graphs(), data=st.data(), at_once=st.sampled_from([1, 2, 4096]))
def test_it_says_what_a_look_at_every_path_says(
    graph: tuple[dict[str, list[str]], dict[str, TriggerRule], dict[str, list[str]]],
    data: st.DataObject,
    at_once: int,
) -> None:
    upstream, rules, teardowns = graph
    order = Ordering(upstream, upstream, rules=rules, teardowns=teardowns)
    every = [(a, b) for b in range(len(upstream)) for a in range(b)]
    pairs = data.draw(st.sets(st.sampled_from(every))) if every else set()
    added = data.draw(st.sets(st.sampled_from(every))) if every else set()
    with patch.object(ordering, "_AT_ONCE", at_once):
        assert order.unordered(pairs, added) == pairs - paths(order, upstream, added)[0]
        assert order.without_detours(pairs) == pairs - paths(order, upstream, pairs)[1]


@given(graphs())
def test_tasks_come_as_they_were_written_as_far_as_the_edges_allow(
    graph: tuple[dict[str, list[str]], dict[str, TriggerRule], dict[str, list[str]]],
) -> None:
    upstream, rules, teardowns = graph
    left, expected = list(upstream), list[str]()
    while left:
        ready = [task for task in left if not set(upstream[task]) & set(left)]
        expected.append(min(ready, key=lambda task: (task in teardowns, [*upstream].index(task))))
        left.remove(expected[-1])

    assert Ordering(upstream, upstream, rules=rules, teardowns=teardowns).tasks == expected
    assert in_order(upstream) == all([*upstream].index(a) < [*upstream].index(b) for b in upstream for a in upstream[b])


def test_one_writer_and_very_many_readers_are_looked_at_once() -> None:
    readers = [f"r{number}" for number in range(20_000)]
    upstream = {**{name: [] for name in readers}, "join": readers, "writer": ["join"], "other": list[str]()}
    order = Ordering(upstream, upstream, rules=dict.fromkeys(upstream, TriggerRule.ALL_SUCCESS), teardowns=())
    writer, other = order.position["writer"], order.position["other"]
    early = {(order.position[name], writer) for name in readers}

    with patch.object(ordering, "_connected", side_effect=AssertionError("follows the edges from 20,000 sources")):
        assert order.unordered(early) == set()
    assert order.unordered({(writer, other)}) == {(writer, other)}
