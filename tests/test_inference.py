"""Inferred edges: the run equals the tasks run one after another, in the order written."""

from __future__ import annotations

import graphlib
import random
from collections.abc import Mapping, Sequence

import pytest

from pydag_gcp import races
from pydag_gcp.access import Access
from pydag_gcp.branch import Branches
from pydag_gcp.inference import infer
from pydag_gcp.resources import Cluster, Resource, Table
from pydag_gcp.states import TriggerRule

Edges = dict[str, tuple[str, ...]]

NAMES = ("acme-1.d.t", "acme-1.d.u", "acme-1.d.v$20220131", "acme-1.d.v")
AUDIT = Table("acme-1.d.audit", shared=True)


def inferred(
    tasks: Mapping[str, Access],
    upstream: Mapping[str, Sequence[str]] | None = None,
    *,
    rules: Mapping[str, str] | None = None,
    branches: Sequence[str] = (),
    teardowns: Mapping[str, tuple[str, ...]] | None = None,
) -> Edges:
    edges = {task: (upstream or {}).get(task, ()) for task in tasks}
    return infer(
        tasks,
        edges,
        rules={task: TriggerRule((rules or {}).get(task, "all_success")) for task in tasks},
        branches={branch: Branches(edges, teardowns or {}).picks(branch) for branch in branches},
        teardowns=teardowns or {},
    )


def access(reads: str = "", writes: str = "") -> Access:
    return Access(reads=tables(reads), writes=tables(writes))


def tables(names: str) -> frozenset[Resource]:
    return frozenset(Table(f"acme-1.d.{name}") for name in names.split())


def test_who_reads_comes_after_who_writes_and_before_who_writes_again() -> None:
    tasks = {"load": access("", "t"), "report": access("t"), "again": access("", "t"), "other": access("u", "x")}

    assert inferred(tasks) == {"report": ("load",), "again": ("report",)}


def test_an_edge_that_is_there_turns_the_order() -> None:
    tasks = {"report": access("t"), "load": access("", "t")}

    assert inferred(tasks) == {"load": ("report",)}
    assert inferred(tasks, {"report": ["load"]}) == {}


def test_what_a_path_orders_gets_no_edge() -> None:
    tasks = {"a": access("", "t"), "x": access(), "b": access("t")}

    assert inferred(tasks, {"x": ["a"], "b": ["x"]}) == {}


def test_an_edge_is_found_through_a_view() -> None:
    view = Table("acme-1.d.view")
    make = Access(reads=tables("t"), writes=frozenset({view}), views={view: tables("t")})

    found = inferred(
        {"make": make, "load": access("", "t"), "report": Access(reads=frozenset({view}), writes=tables(""))}
    )

    assert found == {"load": ("make",), "report": ("load",)}


def test_a_teardown_comes_last_wherever_it_is_written() -> None:
    cluster: frozenset[Resource] = frozenset({Cluster("c")})
    job = Access(reads=tables(""), writes=tables(""), uses=cluster)
    change = Access(reads=tables(""), writes=cluster)
    tasks = {"create": change, "delete": change, "job": job, "other": job}

    found = inferred(tasks, {"delete": ["create"]}, teardowns={"delete": ("create",)})

    assert found == {"job": ("create",), "other": ("create",), "delete": ("job", "other")}


def test_arms_of_a_branch_get_no_edges() -> None:
    tasks = {"pick": access(), "full": access("", "t"), "delta": access("", "t"), "report": access("t")}
    upstream = {"full": ["pick"], "delta": ["pick"]}

    assert inferred(tasks, upstream, branches=["pick"]) == {"report": ("full", "delta")}
    assert inferred(tasks, upstream) == {"delta": ("full",), "report": ("delta",)}


def test_a_new_edge_may_take_a_task_out_of_an_arm() -> None:
    # "join" runs as soon as "first" has succeeded, whatever "pick" picks: then it may run with "delta"
    tasks = {
        "first": access("", "u"),
        "pick": access(),
        "full": access(),
        "delta": access("", "t"),
        "join": access("u", "t"),
    }
    upstream = {"full": ["pick"], "delta": ["pick"], "join": ["full"]}
    rules = {"join": "none_failed_min_one_success"}

    found = inferred(tasks, upstream, rules=rules, branches=["pick"])

    assert found == {"join": ("first", "delta")}


def test_who_does_not_wait_gets_no_edge() -> None:
    tasks = {"a": access("", "t"), "b": access("t")}

    assert inferred(tasks, rules={"b": "one_success"}) == {}


def test_of_an_opaque_task_what_is_known_counts() -> None:
    tasks = {"a": Access(reads=None, writes=tables("t")), "b": access("t"), "c": Access(reads=None, writes=None)}

    assert inferred(tasks) == {"b": ("a",)}


# laws -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(60))
def test_laws(seed: int) -> None:
    chance = random.Random(seed)
    tasks = {f"t{number}": _access(chance) for number in range(chance.randint(2, 9))}
    names = list(tasks)
    shuffled = chance.sample(names, len(names))  # edges need not follow the order of definition
    upstream = {
        task: tuple(other for other in names if shuffled.index(other) < shuffled.index(task) and chance.random() < 0.15)
        for task in names
    }

    further = inferred(tasks, upstream)
    edges = {task: (*above, *further.get(task, ())) for task, above in upstream.items()}

    # It is acyclic and free of races,
    graphlib.TopologicalSorter(edges).prepare()
    rules = dict.fromkeys(tasks, TriggerRule.ALL_SUCCESS)
    races.check(tasks, edges, rules=rules, branches={}, teardowns={}, place_of=str)
    # no edge can be left out,
    for task, above in further.items():
        for other in above:
            rest = {name: [one for one in found if (one, name) != (other, task)] for name, found in edges.items()}
            assert other not in _ancestors(rest, task)
    # and whatever the tasks' speed, the outcome is that of the order written.
    expected = _outcome(tasks, _first_written(upstream))
    for _ in range(10):
        assert _outcome(tasks, _some_order(edges, chance)) == expected


def _access(chance: random.Random) -> Access:
    def some(most: int) -> frozenset[Resource]:
        return frozenset(map(Table, chance.sample(NAMES, chance.randint(0, most))))

    written = some(2) | (frozenset({AUDIT}) if chance.random() < 0.3 else frozenset())
    return Access(reads=some(2), writes=written)


def _ancestors(upstream: Mapping[str, Sequence[str]], task: str) -> set[str]:
    return set(upstream[task]).union(*(_ancestors(upstream, above) for above in upstream[task]))


def _first_written(upstream: Mapping[str, Sequence[str]]) -> list[str]:
    order: list[str] = []
    while len(order) < len(upstream):
        order.append(next(task for task, above in upstream.items() if task not in order and set(above) <= {*order}))
    return order


def _some_order(upstream: Mapping[str, Sequence[str]], chance: random.Random) -> list[str]:
    order: list[str] = []
    while len(order) < len(upstream):
        ready = [task for task, above in upstream.items() if task not in order and set(above) <= {*order}]
        order.append(chance.choice(ready))
    return order


def _outcome(tasks: Mapping[str, Access], order: Sequence[str]) -> dict[str, list[str]]:
    """Each partition holds the story of who wrote it, and of what that task had read."""
    cells: dict[str, list[str]] = {}
    for task in order:
        seen = repr([(cell, cells.get(cell)) for cell in sorted(_cells(tasks[task].reads))])
        for cell in _cells(tasks[task].writes):
            cells.setdefault(cell, []).append(f"{task} saw {seen}")
    audit = cells.get(AUDIT.table, [])
    return {**cells, AUDIT.table: sorted(audit)}  # appended in any order


def _cells(resources: frozenset[Resource] | None) -> set[str]:
    names = {str(resource) for resource in resources or ()}
    return names | ({"acme-1.d.v$20220131"} if "acme-1.d.v" in names else set())
