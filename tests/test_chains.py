"""Write chains: who belongs together, and whether running all of them again gives what is there."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import pytest

from pydag_gcp.access import Access
from pydag_gcp.chains import Chain
from pydag_gcp.lineage import Lineage
from pydag_gcp.resources import GCSObject, Resource, Table
from pydag_gcp.states import TriggerRule

P = "acme-1.d"
T, U, PART, OTHER_PART = Table(f"{P}.t"), Table(f"{P}.u"), Table(f"{P}.t$20220131"), Table(f"{P}.t$20220201")
DATASET = Table(f"{P}.*")


def replaces(*resources: Resource, reads: frozenset[Resource] = frozenset()) -> Access:
    return Access(reads=reads, writes=frozenset(resources), replaces=frozenset(resources))


def adds(*resources: Resource, reads: frozenset[Resource] = frozenset()) -> Access:
    return Access(reads=reads, writes=frozenset(resources))


def repeats(*resources: Resource, reads: frozenset[Resource] = frozenset()) -> Access:
    return Access(reads=reads, writes=frozenset(resources), idempotent=True)


def makes(*resources: Resource) -> Access:
    return Access(reads=frozenset(), writes=frozenset(resources), shapes=frozenset(resources))


def reads(*resources: Resource) -> Access:
    return Access(reads=frozenset(resources), writes=frozenset())


def lineage(tasks: Mapping[str, Access], *, rules: Mapping[str, TriggerRule] | None = None) -> Lineage:
    """Tasks one after another."""
    upstream: dict[str, tuple[str, ...]] = dict.fromkeys(tasks, ())
    for above, below in itertools.pairwise(tasks):
        upstream[below] = (above,)
    return Lineage(
        tasks,
        upstream,
        sources={},
        rules={task: (rules or {}).get(task, TriggerRule.ALL_SUCCESS) for task in tasks},
        branches={},
        teardowns={},
    )


def chain(tasks: Mapping[str, Access], task: str, **rules: TriggerRule) -> Chain:
    return lineage(tasks, rules=rules).chains[task]


def test_tasks_that_write_the_same_table_are_a_chain_in_their_order() -> None:
    found = chain({"create": makes(T), "load": replaces(T), "other": adds(U), "more": adds(T)}, "more")
    assert found.members == ("create", "load", "more")
    assert found.shapers == {"create"}
    assert found.replacing


@pytest.mark.parametrize(
    ("tasks", "replacing"),
    [
        ({"a": replaces(T)}, True),
        ({"a": adds(T)}, False),
        ({"a": makes(T)}, True),  # it writes no row
        ({"a": makes(T), "b": adds(T)}, False),
        ({"a": adds(T), "b": replaces(T)}, False),  # what a adds to is older than the run
        ({"a": replaces(T), "b": adds(PART)}, True),
        ({"a": replaces(PART), "b": adds(T)}, False),
        ({"a": replaces(PART), "b": adds(PART)}, True),
        ({"a": replaces(T, reads=frozenset({T}))}, False),  # it builds on what was there
        ({"a": replaces(T), "b": replaces(T, reads=frozenset({T}))}, True),  # on what a has made
        ({"a": replaces(T, U), "b": adds(U)}, True),
        ({"a": replaces(T), "b": adds(T, U)}, False),  # of U nothing was replaced
        ({"a": replaces(GCSObject("gs://bucket/out/")), "b": adds(GCSObject("gs://bucket/out/x.csv"))}, True),
        ({"a": repeats(T)}, True),
        ({"a": repeats(T, reads=frozenset({T}))}, True),  # its author says so
        ({"a": repeats(T), "b": adds(T)}, False),  # it may leave what b has added
        ({"a": adds(T), "b": repeats(T)}, False),
    ],
)
def test_a_chain_is_replacing_if_running_it_again_adds_nothing_to_what_was_there(
    tasks: Mapping[str, Access], replacing: bool
) -> None:
    assert chain(tasks, "a").replacing is replacing


@pytest.mark.parametrize("rule", [TriggerRule.ALL_DONE, TriggerRule.NONE_FAILED])
def test_what_replaces_must_surely_have_run(rule: TriggerRule) -> None:
    assert not chain({"a": replaces(T), "b": adds(T)}, "a", b=rule).replacing


def test_partitions_meet_only_in_their_table() -> None:
    apart = lineage({"a": replaces(PART), "b": replaces(OTHER_PART)}).chains
    assert apart["a"] is not apart["b"]
    joined = lineage({"a": replaces(PART), "all": adds(T), "b": replaces(OTHER_PART)}).chains
    assert joined["a"] is joined["all"] is joined["b"]


def test_who_makes_a_dataset_has_no_part_in_its_tables_but_who_drops_it_has() -> None:
    made = lineage({"schema": makes(DATASET), "a": adds(T), "b": adds(U)}).chains
    assert len({id(found) for found in made.values()}) == 3
    dropped = lineage({"drop": replaces(DATASET), "a": adds(T), "b": adds(U)}).chains
    assert dropped["a"] is dropped["b"] is dropped["drop"]
    assert dropped["a"].replacing


def test_what_surely_was_replaced_before_is_known_by_its_tasks_and_all_else_by_its_version() -> None:
    ties = lineage({"a": replaces(T), "b": adds(T), "c": adds(U), "read": reads(T, U)}).ties["read"]
    assert ties.tracked == (U,)
    assert (ties.dependencies, ties.built_on) == (("a", "b", "c"), ("a", "b"))


def test_who_reads_before_a_table_is_written_over_belongs_to_its_chain() -> None:
    found = lineage({"a": replaces(T), "read": reads(T), "b": adds(T)})
    assert found.ties["read"].between == (found.chains["a"],)
    assert found.together[found.chains["a"]] == ("a", "read", "b")
    assert lineage({"a": replaces(T), "b": adds(T), "read": reads(T)}).ties["read"].between == ()


def test_a_partition_moves_the_version_of_others_and_of_views() -> None:
    view = Table(f"{P}.v")
    tasks = {
        "view": Access(reads=frozenset({T}), writes=frozenset({view}), views={view: frozenset({T})}),
        "a": replaces(PART),
        "b": replaces(OTHER_PART),
    }
    assert lineage(tasks).moved_by("a") == {OTHER_PART, view}
