"""The scheduler's laws, on random DAGs, and Airflow's trigger rules."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pydag_gcp.scheduler import Scheduler
from pydag_gcp.states import TaskState, TriggerRule

S, F, K = TaskState.SUCCESS, TaskState.FAILED, TaskState.SKIPPED
UF = TaskState.UPSTREAM_FAILED


@st.composite
def dags(draw: st.DrawFn) -> dict[str, list[str]]:
    """Task i may depend on tasks before it, so every graph is acyclic; the order of the keys is shuffled."""
    size = draw(st.integers(0, 25))
    upstream = {
        f"t{i}": [f"t{j}" for j in sorted(draw(st.sets(st.integers(0, i - 1), max_size=4)))] if i else []
        for i in range(size)
    }
    names = draw(st.permutations(list(upstream)))
    return {name: upstream[name] for name in names}


def drain(scheduler: Scheduler, seed: int, outcomes: dict[str, TaskState]) -> list[tuple[str, str]]:
    """Play a run with unlimited processors in a random but reproducible order; return starts and ends."""
    chance = random.Random(seed)
    running: list[str] = []
    log: list[tuple[str, str]] = []
    while not scheduler.done():
        while (ready := scheduler.ready()) is not None:
            scheduler.start(ready)
            running.append(ready)
            log.append(("start", ready))
        task_id = running.pop(chance.randrange(len(running)))
        log.append(("end", task_id))
        log += [("never", other) for other, _ in scheduler.finish(task_id, outcomes.get(task_id, S))]
    return log


@given(dags(), st.integers())
def test_every_task_runs_once_and_after_its_upstreams(upstream: dict[str, list[str]], seed: int) -> None:
    log = drain(Scheduler(upstream), seed, {})
    starts = [name for what, name in log if what == "start"]
    assert sorted(starts) == sorted(upstream)
    for task_id, above in upstream.items():
        for other in above:
            assert log.index(("end", other)) < log.index(("start", task_id))


@given(dags(), st.integers())
def test_a_task_is_ready_the_moment_its_last_upstream_ends(upstream: dict[str, list[str]], seed: int) -> None:
    # With unlimited processors: between the last upstream's end and the task's start nothing else ends
    log = drain(Scheduler(upstream), seed, {})
    for task_id, above in upstream.items():
        last = max((log.index(("end", other)) for other in above), default=0)
        between = log[last + 1 : log.index(("start", task_id))] if above else log[: log.index(("start", task_id))]
        assert all(what == "start" for what, _ in between)


@given(dags(), st.integers())
def test_the_same_events_give_the_same_run(upstream: dict[str, list[str]], seed: int) -> None:
    assert drain(Scheduler(upstream), seed, {}) == drain(Scheduler(upstream), seed, {})


@given(dags(), st.integers(), st.data())
def test_exactly_the_descendants_of_a_failed_task_never_start(
    upstream: dict[str, list[str]], seed: int, data: st.DataObject
) -> None:
    failed = set(data.draw(st.lists(st.sampled_from(sorted(upstream) or ["-"]), max_size=3)))
    log = drain(Scheduler(upstream), seed, dict.fromkeys(failed, F))
    doomed: set[str] = set()
    changed = True
    while changed:
        more = {name for name, above in upstream.items() if any(other in failed | doomed for other in above)} - doomed
        changed = bool(more)
        doomed |= more
    assert {name for what, name in log if what == "never"} == doomed
    assert {name for what, name in log if what == "start"} == set(upstream) - doomed


@given(dags(), st.integers(0, 40))
def test_cancel_ends_all_that_has_not_started(upstream: dict[str, list[str]], steps: int) -> None:
    scheduler = Scheduler(upstream)
    running = []
    for _ in range(steps):
        if (ready := scheduler.ready()) is not None:
            scheduler.start(ready)
            running.append(ready)
        elif running:
            scheduler.finish(running.pop(0), S)
    cancelled = scheduler.cancel()
    assert scheduler.ready() is None
    for task_id in running:
        assert scheduler.finish(task_id, TaskState.CANCELLED) == []
    assert scheduler.done()
    assert len(cancelled) == len(set(cancelled))


def test_ready_tasks_come_by_priority_and_then_by_definition() -> None:
    scheduler = Scheduler({"a": [], "b": [], "c": [], "d": []}, priority={"c": 5, "d": 1})
    order = []
    while (ready := scheduler.ready()) is not None:
        scheduler.start(ready)
        order.append(ready)
    assert order == ["c", "d", "a", "b"]


def test_a_task_that_is_tried_again_is_ready_again() -> None:
    scheduler = Scheduler({"a": [], "b": ["a"]})
    scheduler.start("a")
    assert scheduler.ready() is None
    scheduler.again("a")
    assert scheduler.ready() == "a"
    scheduler.start("a")
    assert scheduler.finish("a", S) == []
    assert scheduler.ready() == "b"


def test_a_task_named_twice_as_upstream_counts_once() -> None:
    scheduler = Scheduler({"a": [], "b": ["a", "a"]})
    scheduler.start("a")
    scheduler.finish("a", S)
    assert scheduler.ready() == "b"


def test_wrong_calls_are_refused() -> None:
    scheduler = Scheduler({"a": [], "b": ["a"]})
    with pytest.raises(ValueError, match="not ready"):
        scheduler.start("b")
    with pytest.raises(ValueError, match="not started"):
        scheduler.again("b")
    scheduler.start("a")
    with pytest.raises(ValueError, match="running -> deferred"):
        scheduler.finish("a", TaskState.DEFERRED)
    scheduler.finish("a", S)
    with pytest.raises(ValueError, match="success -> failed"):
        scheduler.finish("a", F)


# Two upstreams end in these states; the task then starts (True) or ends so without starting.
# airflow/ti_deps/deps/trigger_rule_dep.py
RULES: dict[TriggerRule, dict[tuple[TaskState, TaskState], bool | TaskState]] = {
    TriggerRule.ALL_SUCCESS: {(S, S): True, (S, F): UF, (S, K): K, (F, F): UF, (F, K): UF, (K, K): K},
    TriggerRule.ALL_DONE: {(S, S): True, (S, F): True, (S, K): True, (F, F): True, (F, K): True, (K, K): True},
    TriggerRule.ONE_SUCCESS: {(S, S): True, (S, F): True, (S, K): True, (F, F): UF, (F, K): UF, (K, K): K},
    TriggerRule.ONE_FAILED: {(S, S): K, (S, F): True, (S, K): K, (F, F): True, (F, K): True, (K, K): K},
    TriggerRule.NONE_FAILED: {(S, S): True, (S, F): UF, (S, K): True, (F, F): UF, (F, K): UF, (K, K): True},
    TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS: {
        (S, S): True, (S, F): UF, (S, K): True, (F, F): UF, (F, K): UF, (K, K): K,
    },
    TriggerRule.ALWAYS: {(S, S): True, (S, F): True, (S, K): True, (F, F): True, (F, K): True, (K, K): True},
}  # fmt: skip
CASES = [
    (rule, *order, expected)
    for rule, table in RULES.items()
    for states, expected in table.items()
    for order in {states, states[::-1]}
]


@pytest.mark.parametrize(("rule", "first", "second", "expected"), CASES)
def test_trigger_rules(rule: TriggerRule, first: TaskState, second: TaskState, expected: bool | TaskState) -> None:
    scheduler = Scheduler({"a": [], "b": [], "c": ["a", "b"]}, rules={"c": rule})
    never: list[tuple[str, TaskState]] = []
    for name in ("a", "b"):
        scheduler.start(name)
    for name, state in (("a", first), ("b", second)):
        never += scheduler.finish(name, state)
    if expected is True:
        assert never == []
        assert scheduler.ready() == "c"
    else:
        assert never == [("c", expected)]
        assert scheduler.done()


@pytest.mark.parametrize("rule", list(TriggerRule))
def test_without_upstreams_every_rule_starts(rule: TriggerRule) -> None:
    assert Scheduler({"a": []}, rules={"a": rule}).ready() == "a"


def test_one_success_and_one_failed_do_not_wait_for_the_rest() -> None:
    for rule, state in ((TriggerRule.ONE_SUCCESS, S), (TriggerRule.ONE_FAILED, F)):
        scheduler = Scheduler({"a": [], "b": [], "c": ["a", "b"]}, rules={"c": rule})
        scheduler.start("a")
        scheduler.start("b")
        scheduler.finish("a", state)
        assert scheduler.ready() == "c"


def test_a_long_chain_of_failures_does_not_recurse() -> None:
    upstream = {"t0": [], **{f"t{i + 1}": [f"t{i}"] for i in range(20_000)}}
    scheduler = Scheduler(upstream)
    scheduler.start("t0")
    ended = [name for name, _ in scheduler.finish("t0", F)]
    assert len(ended) == 20_000
    assert all(int(a[1:]) + 1 == int(b[1:]) for a, b in pairwise(ended))
