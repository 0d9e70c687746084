"""The edges of a graph, the other way round."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pydag_gcp.edges import downstream_of

TASKS = st.sampled_from("abcdef")


@given(st.dictionaries(TASKS, st.lists(TASKS, unique=True)))
def test_turning_edges_round_twice_gives_the_same_edges(given_edges: dict[str, list[str]]) -> None:
    upstream = {task: given_edges.get(task, []) for task in "abcdef"}

    again = downstream_of(downstream_of(upstream))

    assert {task: sorted(above) for task, above in upstream.items()} == again


def test_downstreams_come_in_the_order_of_definition() -> None:
    assert downstream_of({"b": ["a"], "a": [], "c": ["a", "b"]}) == {"b": ["c"], "a": ["b", "c"], "c": []}
