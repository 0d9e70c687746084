"""The edges of a graph."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pydag_gcp.edges import downstream_of, in_order, topological

TASKS = st.sampled_from("abcdef")


@given(st.dictionaries(TASKS, st.lists(TASKS, unique=True)))
def test_turning_edges_round_twice_gives_the_same_edges(given_edges: dict[str, list[str]]) -> None:
    upstream = {task: given_edges.get(task, []) for task in "abcdef"}

    again = downstream_of(downstream_of(upstream))

    assert {task: sorted(above) for task, above in upstream.items()} == again


def test_downstreams_come_in_the_order_of_definition() -> None:
    assert downstream_of({"b": ["a"], "a": [], "c": ["a", "b"]}) == {"b": ["c"], "a": ["b", "c"], "c": []}


@given(st.permutations(range(16)), st.lists(st.tuples(st.integers(0, 15), st.integers(0, 15)), max_size=40))
def test_topological_order_respects_every_edge(defined: list[int], edges: list[tuple[int, int]]) -> None:
    upstream: dict[str, list[str]] = {str(n): [] for n in defined}
    for one, other in edges:
        if one != other:
            upstream[str(max(one, other))].append(str(min(one, other)))
    order = topological(upstream)
    assert sorted(order) == sorted(upstream)
    assert in_order({task: upstream[task] for task in order})


def test_tasks_that_stand_in_order_stay_as_they_are() -> None:
    assert topological({"b": [], "a": ["b"], "c": [], "d": ["a"]}) == ["b", "a", "c", "d"]
