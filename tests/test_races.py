"""The race check: which pairs of tasks are refused, with which words."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping

import pytest

from pydag_gcp import races
from pydag_gcp.access import Access
from pydag_gcp.branch import Branches
from pydag_gcp.errors import DefinitionError
from pydag_gcp.resources import Cluster, Resource, Table
from pydag_gcp.states import TriggerRule

P = "acme-1.d"
T = Table(f"{P}.t")
AUDIT = Table(f"{P}.audit", shared=True)


def reads(*resources: Resource) -> Access:
    return Access(reads=frozenset(resources), writes=frozenset())


def writes(*resources: Resource, **fields: frozenset[Resource]) -> Access:
    return Access(reads=frozenset(), writes=frozenset(resources), **fields)  # type: ignore[arg-type]


def check(
    tasks: Mapping[str, Access],
    *edges: str,
    rules: Mapping[str, str] | None = None,
    branches: Iterable[str] = (),
    teardowns: Mapping[str, tuple[str, ...]] | None = None,
) -> tuple[str, ...]:
    """Check a DAG whose edges are written ``a >> b >> c``."""
    upstream: dict[str, list[str]] = {task: [] for task in tasks}
    for chain in edges:
        for above, below in itertools.pairwise(chain.split(" >> ")):
            upstream[below].append(above)
    return races.check(
        tasks,
        upstream,
        rules={task: TriggerRule((rules or {}).get(task, "all_success")) for task in tasks},
        branches={branch: Branches(upstream, teardowns or {}).picks(branch) for branch in branches},
        teardowns=teardowns or {},
        place_of=lambda task: f"p.py:{[*tasks].index(task) + 1}: task {task!r}",
    )


def test_a_race_names_both_tasks_the_resource_and_the_missing_edge() -> None:
    with pytest.raises(DefinitionError) as raised:
        check({"load": writes(T), "report": reads(T)})
    assert str(raised.value) == (
        "p.py:2: task 'report': is in a race with task 'load': 'load' writes acme-1.d.t while 'report' reads "
        "acme-1.d.t; add the edge load >> report"
    )


def test_an_edge_or_a_path_ends_it() -> None:
    assert check({"a": writes(T), "b": reads(T)}, "a >> b") == ()
    assert check({"a": writes(T), "x": reads(), "b": reads(T)}, "a >> x >> b") == ()


@pytest.mark.parametrize("rule", ["one_success", "one_failed", "always"])
def test_a_rule_that_does_not_wait_orders_nothing(rule: str) -> None:
    with pytest.raises(DefinitionError, match=f"its trigger_rule '{rule}' does not wait for all upstreams: choose one"):
        check({"a": writes(T), "b": reads(T)}, "a >> b", rules={"b": rule})
    with pytest.raises(DefinitionError, match="add the edge a >> c"):
        check({"a": writes(T), "b": reads(), "c": reads(T)}, "a >> b >> c", rules={"b": rule})


@pytest.mark.parametrize("rule", ["all_success", "all_done", "none_failed", "none_failed_min_one_success"])
def test_a_rule_that_waits_for_all_orders(rule: str) -> None:
    assert check({"a": writes(T), "b": reads(T)}, "a >> b", rules={"b": rule}) == ()


def test_several_may_append_to_a_shared_table() -> None:
    assert check({"a": writes(AUDIT), "b": writes(AUDIT)}) == ()


@pytest.mark.parametrize(
    "other",
    [
        writes(AUDIT, replaces=frozenset({AUDIT})),
        writes(AUDIT, replaces=frozenset({Table(f"{P}.audit$20220131")})),
        writes(Table(f"{P}.audit")),  # this one does not say that it only appends
        reads(AUDIT),  # what it sees depends on who is first
    ],
)
def test_what_is_more_than_an_append_to_a_shared_table_is_a_race(other: Access) -> None:
    with pytest.raises(DefinitionError, match=r"'a' appends to acme-1\.d\.audit"):
        check({"a": writes(AUDIT), "b": other})


def test_who_reads_a_view_reads_what_is_behind_it() -> None:
    view, upper = Table(f"{P}.v"), Table(f"{P}.w")
    tasks = {
        "view": Access(reads=frozenset({T}), writes=frozenset({view}), views={view: frozenset({T})}),
        "upper": Access(reads=frozenset({view}), writes=frozenset({upper}), views={upper: frozenset({view})}),
        "load": writes(T),
        "report": reads(upper),
    }

    with pytest.raises(DefinitionError, match=r"'report' reads acme-1\.d\.t through the view acme-1\.d\.w; add"):
        check(tasks, "view >> upper >> load", "upper >> report")
    assert check(tasks, "view >> upper >> load >> report") == ()


def test_views_that_read_each_other_end_the_search() -> None:
    one, other = Table(f"{P}.v"), Table(f"{P}.w")
    tasks = {
        "one": Access(reads=frozenset(), writes=frozenset({one}), views={one: frozenset({other})}),
        "other": Access(reads=frozenset(), writes=frozenset({other}), views={other: frozenset({one})}),
        "report": reads(one),
    }

    assert check(tasks, "one >> other >> report") == ()


def test_a_job_on_a_cluster_and_its_deletion_are_ordered() -> None:
    job = Access(reads=frozenset(), writes=frozenset(), uses=frozenset({Cluster("c")}))
    tasks = {"create": writes(Cluster("c")), "job": job, "other": job, "delete": writes(Cluster("c"))}

    assert check(tasks, "create >> job >> delete", "create >> other >> delete", "create >> delete") == ()
    with pytest.raises(DefinitionError, match=r"'other' reads us-central1/c while 'delete' writes us-central1/c"):
        check(tasks, "create >> job >> delete", "create >> other", teardowns={"delete": ("create",)})


def test_a_teardown_waits_whatever_its_rule() -> None:
    tasks = {"create": writes(Cluster("c")), "job": reads(Cluster("c")), "delete": writes(Cluster("c"))}

    edges = ("create >> job >> delete", "create >> delete")
    assert check(tasks, *edges, rules={"delete": "always"}, teardowns={"delete": ("create",)}) == ()


def test_arms_of_a_branch_never_race() -> None:
    tasks = {"pick": reads(), "full": writes(T), "delta": writes(T), "after": writes(T), "join": reads(T)}
    edges = ("pick >> full >> after >> join", "pick >> delta >> join")
    rules = {"join": "none_failed_min_one_success"}

    assert check(tasks, *edges, rules=rules, branches=["pick"]) == ()
    with pytest.raises(DefinitionError, match="race"):
        check(tasks, *edges, rules=rules)


def test_a_head_below_another_head_may_run_with_it() -> None:
    tasks = {"pick": reads(), "a": writes(), "b": reads(), "x": writes(T), "y": writes(T)}

    with pytest.raises(DefinitionError, match="add the edge x >> y"):
        check(tasks, "pick >> a >> b", "pick >> b", "a >> x", "b >> y", branches=["pick"])


def test_heads_that_follow_from_a_third_may_run_together() -> None:
    tasks = {"pick": reads(), "both": reads(), "x": writes(T), "y": writes(T)}

    edges = ("pick >> both", "pick >> x", "pick >> y")
    assert check(tasks, *edges, branches=["pick"]) == ()
    with pytest.raises(DefinitionError, match="add the edge x >> y"):
        check(tasks, *edges, "both >> x", "both >> y", branches=["pick"])


def test_what_waits_only_for_one_arm_is_no_part_of_it_if_it_runs_nevertheless() -> None:
    tasks = {"pick": reads(), "a": reads(), "b": writes(T), "after": writes(T)}

    with pytest.raises(DefinitionError, match="'b' writes"):
        check(tasks, "pick >> a >> after", "pick >> b", rules={"after": "all_done"}, branches=["pick"])
    with pytest.raises(DefinitionError, match="'b' writes"):  # it runs also if the branch fails
        check(tasks, "pick >> a >> after", "pick >> b", rules={"b": "all_done"}, branches=["pick"])
    assert check(tasks, "pick >> a >> after", "pick >> b", branches=["pick"]) == ()


def test_a_task_behind_one_arm_is_compared_with_what_came_before_the_other() -> None:
    # "first" and "second" are ordered; "third" never runs with "second", but it does with "first"
    tasks = {"first": writes(T), "pick": reads(), "second": writes(T), "third": writes(T)}

    with pytest.raises(DefinitionError, match="add the edge first >> third"):
        check(tasks, "first >> second", "pick >> second", "pick >> third", branches=["pick"])


@pytest.mark.parametrize("unknown", ["reads", "writes", "uses"])
def test_tasks_of_which_not_all_is_known_are_warned_of_once(unknown: str) -> None:
    known: dict[str, frozenset[Resource]] = {"reads": frozenset(), "writes": frozenset(), "uses": frozenset()}
    opaque = Access(**{**known, unknown: None})  # type: ignore[arg-type]

    assert check({"a": opaque, "b": reads()}) == ()
    assert check({"a": opaque, "b": opaque}, "a >> b") == ()
    (warning,) = check(dict.fromkeys("abcde", opaque), "a >> b")
    assert warning.startswith(
        "tasks 'b', 'c', 'd' and 1 more may run at the same time, and not all they read and write"
    )


def test_what_is_known_of_an_opaque_task_is_checked() -> None:
    with pytest.raises(DefinitionError, match=r"'b' writes acme-1\.d\.t"):
        check({"a": reads(T), "b": Access(reads=None, writes=frozenset({T}))})


def test_opaque_arms_of_a_branch_are_no_reason_to_warn() -> None:
    opaque = Access(reads=None, writes=None)
    tasks = {"pick": reads(), "a": opaque, "b": opaque}

    assert check(tasks, "pick >> a", "pick >> b", branches=["pick"]) == ()
