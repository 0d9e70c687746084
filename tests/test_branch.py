"""What a branch skips: Airflow's rule, on random DAGs, and without a look at the whole DAG."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pydag_gcp.branch import Branches
from tests.test_scheduler import dags


def reached(upstream: dict[str, list[str]], starts: set[str]) -> set[str]:
    """Everything downstream of some tasks, with these."""
    found = set(starts)
    grew = True
    while grew:
        more = {name for name, above in upstream.items() if found & set(above)} - found
        grew, found = bool(more), found | more
    return found


@given(dags(), st.data())
def test_skipped_is_what_is_directly_below_and_follows_from_nothing_chosen(
    upstream: dict[str, list[str]], data: st.DataObject
) -> None:
    branches = Branches(upstream, frozenset())
    for task_id in upstream:
        choices = branches.choices(task_id)
        assert set(choices) == {name for name, above in upstream.items() if task_id in above}
        chosen = data.draw(st.sets(st.sampled_from(choices))) if choices else set()
        assert set(branches.not_picked(task_id, chosen)) == set(choices) - reached(upstream, chosen)


def test_teardowns_are_neither_picked_nor_skipped() -> None:
    branches = Branches({"x": [], "a": ["x"], "t": ["x", "a"]}, {"t"})
    assert branches.choices("x") == ("a",)
    assert branches.not_picked("x", []) == ["a"]
    assert branches.choices("t") == ()


@settings(max_examples=40)
@given(dags())
def test_what_each_pick_skips_is_what_is_not_picked(upstream: dict[str, list[str]]) -> None:
    branches = Branches(upstream, frozenset())
    for task_id in upstream:
        picks = branches.picks(task_id)
        assert [*picks] == [*branches.choices(task_id)]
        for name, skipped in picks.items():
            expected = branches.not_picked(task_id, [name])
            assert (sorted(skipped), len(skipped)) == (sorted(expected), len(expected))
            assert {other for other in upstream if other in skipped} == set(expected)
