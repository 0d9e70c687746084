"""The scheduler's laws, on random DAGs, and Airflow's trigger rules."""

from __future__ import annotations

import functools
import gc
import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pydag_gcp.readiness import Node
from pydag_gcp.scheduler import FREE, Lane, Scheduler
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
def test_after_cancel_nothing_starts_and_all_that_waits_ends(upstream: dict[str, list[str]], steps: int) -> None:
    scheduler = Scheduler(upstream)
    running, ended = [], []
    for _ in range(steps):
        if (ready := scheduler.ready()) is not None:
            scheduler.start(ready)
            running.append(ready)
        elif running:
            ended.append(running.pop(0))
            scheduler.finish(ended[-1], S)
    cancelled = scheduler.cancel()
    assert scheduler.ready() is None
    for task_id in running:
        cancelled += scheduler.finish(task_id, TaskState.CANCELLED)
        assert scheduler.ready() is None
    assert scheduler.done()
    assert {state for _, state in cancelled} <= {TaskState.CANCELLED}
    assert sorted([name for name, _ in cancelled] + running + ended) == sorted(upstream)


def test_after_cancel_a_teardown_waits_for_what_still_runs_far_upstream() -> None:
    # Given a job that runs on a cluster, another one that is to follow, and the teardown after that one
    upstream = {"create": [], "job1": ["create"], "job2": ["job1"], "delete": ["job2", "create"], "after": ["delete"]}
    scheduler = Scheduler(upstream, teardowns={"delete": ["create"]})
    for name in ("create", "job1"):
        scheduler.start(name)
        if name == "create":
            scheduler.finish(name, S)
    # When the run is cancelled while the job runs
    assert scheduler.cancel() == []
    # Then the cluster stays until the job has stopped
    assert scheduler.ready() is None
    assert scheduler.finish("job1", TaskState.CANCELLED) == [("job2", TaskState.CANCELLED)]
    assert scheduler.ready() == "delete"
    scheduler.start("delete")
    assert scheduler.finish("delete", S) == [("after", TaskState.CANCELLED)]
    assert scheduler.done()


def test_what_a_branch_left_out_is_skipped_also_if_the_run_is_cancelled() -> None:
    scheduler = Scheduler({"slow": [], "pick": [], "unwanted": ["slow", "pick"], "last": ["slow"]})
    for name in ("slow", "pick"):
        scheduler.start(name)
    scheduler.finish("pick", S, skip=["unwanted"])
    assert scheduler.cancel() == []
    assert scheduler.finish("slow", S) == [("unwanted", K), ("last", TaskState.CANCELLED)]


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
    with pytest.raises(ValueError, match="task 'a' is success, not started"):
        scheduler.again("a")


def test_little_is_kept_of_tasks_that_have_ended() -> None:
    scheduler = Scheduler({"gone-a": [], "gone-b": ["gone-a"], "gone-c": ["gone-b"], "there": ["gone-a"]})
    for name, state in (("gone-a", S), ("gone-b", F)):
        assert scheduler.ready() == name
        scheduler.start(name)
        scheduler.finish(name, state)

    kept = [one.task_id for one in gc.get_objects() if type(one) is Node]
    assert [name for name in kept if name in ("gone-a", "gone-b", "gone-c", "there")] == ["there"]


def test_a_teardown_knows_that_its_setup_was_started_when_that_has_ended_long_ago() -> None:
    upstream = {"create": [], "job": ["create"], "delete": ["job"]}
    for started, state in ((True, S), (False, K)):
        scheduler = Scheduler(upstream, teardowns={"delete": ["create"]})
        if started:
            scheduler.start("create")
        ends = scheduler.finish("create", state)
        if started:
            scheduler.start("job")
            ends += scheduler.finish("job", S)
        assert scheduler.ready() == ("delete" if started else None)
        assert ends == ([] if started else [("job", K), ("delete", K)])


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
    for order in dict.fromkeys((states, states[::-1]))
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


def test_a_task_that_is_not_picked_ends_when_its_other_upstreams_have() -> None:
    upstream = {"slow": (), "pick": (), "unwanted": ("slow", "pick"), "after": ("unwanted",)}
    scheduler = Scheduler(upstream, rules={"after": TriggerRule.ALL_DONE})
    scheduler.start("slow")
    scheduler.start("pick")

    # "after" comes after "slow", on whatever way
    assert scheduler.finish("pick", TaskState.SUCCESS, skip=["unwanted"]) == []
    assert scheduler.ready() is None

    assert scheduler.finish("slow", TaskState.SUCCESS) == [("unwanted", TaskState.SKIPPED)]
    assert scheduler.ready() == "after"


def test_what_waits_for_all_waits_although_its_verdict_is_clear() -> None:
    # Given w, which runs whatever became of v, and v, which will not run because f has failed
    upstream = {"u": [], "f": [], "v": ["u", "f"], "w": ["v"]}
    for rule in (TriggerRule.ALL_SUCCESS, TriggerRule.NONE_FAILED, TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS):
        scheduler = Scheduler(upstream, rules={"v": rule, "w": TriggerRule.ALL_DONE})
        for name in ("u", "f"):
            scheduler.start(name)
        # When f fails while u still runs
        assert scheduler.finish("f", F) == []
        # Then w, which comes after u, does not start beside it
        assert scheduler.ready() is None
        assert scheduler.finish("u", S) == [("v", UF)]
        assert scheduler.ready() == "w"


def test_finish_skips_what_has_not_started_whatever_its_rule() -> None:
    scheduler = Scheduler(
        {"branch": [], "other": [], "a": ["branch"], "b": ["branch", "other"], "c": ["a"]},
        rules={"a": TriggerRule.ALL_DONE, "b": TriggerRule.ONE_SUCCESS, "c": TriggerRule.NONE_FAILED},
    )
    for name in ("branch", "other"):
        scheduler.start(name)
    scheduler.finish("other", S)
    scheduler.start("b")
    assert scheduler.finish("branch", S, skip=["a", "b"]) == [("a", K)]
    assert scheduler.ready() == "c"


def test_a_ready_task_that_is_skipped_is_not_ready_any_more() -> None:
    scheduler = Scheduler({"branch": [], "a": ["branch"]}, rules={"a": TriggerRule.ALWAYS})
    scheduler.start("branch")
    assert scheduler.ready() == "a"
    scheduler.finish("branch", S, skip=["a"])
    assert scheduler.ready() is None
    assert scheduler.done()


@st.composite
def runs(draw: st.DrawFn) -> tuple[dict[str, list[str]], dict[str, TriggerRule], dict[str, list[str]]]:
    """A DAG whose tasks have any rules, and some of them are teardowns of tasks upstream that are none."""
    upstream = draw(dags())
    teardowns: dict[str, list[str]] = {}
    for task_id, above in sorted(upstream.items(), key=lambda item: int(item[0][1:])):
        setups = [other for other in above if other not in teardowns]
        if draw(st.booleans()) and setups:
            teardowns[task_id] = draw(st.lists(st.sampled_from(setups), min_size=1, unique=True))
    rules = {task_id: draw(st.sampled_from(list(TriggerRule))) for task_id in upstream}
    return upstream, rules, teardowns


def play(
    run: tuple[dict[str, list[str]], dict[str, TriggerRule], dict[str, list[str]]],
    chance: random.Random,
    failing: set[str],
    cancel_after: int | None = None,
) -> tuple[dict[str, TaskState], list[str]]:
    """Run to the end; return the final states, and the starts and ends in order."""
    upstream, rules, teardowns = run
    scheduler = Scheduler(upstream, rules=rules, teardowns=teardowns)
    ends: dict[str, TaskState] = {}
    log: list[str] = []
    running: list[str] = []
    while not scheduler.done():
        while (ready := scheduler.ready()) is not None and (not running or chance.random() < 0.7):
            scheduler.start(ready)
            running.append(ready)
            log.append(f"start {ready}")
        if len(ends) == cancel_after:
            cancel_after = None
            ends.update(scheduler.cancel())
            continue
        name = running.pop(chance.randrange(len(running)))
        ends[name] = F if name in failing else S
        log.append(f"end {name}")
        ends.update(scheduler.finish(name, ends[name]))
    return ends, log


@given(runs(), st.integers(), st.data())
def test_a_teardown_runs_after_all_its_upstreams_if_a_setup_was_started(
    run: tuple[dict[str, list[str]], dict[str, TriggerRule], dict[str, list[str]]], seed: int, data: st.DataObject
) -> None:
    upstream, _, teardowns = run
    failing = set(data.draw(st.lists(st.sampled_from(sorted(upstream) or ["-"]))))
    cancel_after = data.draw(st.none() | st.integers(0, len(upstream)))
    ends, log = play(run, random.Random(seed), failing, cancel_after)
    assert ends.keys() == upstream.keys()
    for teardown, setups in teardowns.items():
        was_started = any(f"start {setup}" in log for setup in setups)
        assert (f"start {teardown}" in log) == was_started
        if not was_started:
            assert ends[teardown] in (K, TaskState.CANCELLED)
            continue
        for other in upstream[teardown]:
            assert ends[other].final
            if f"start {other}" in log:
                assert log.index(f"end {other}") < log.index(f"start {teardown}")


@given(runs(), st.data())
def test_how_tasks_end_does_not_depend_on_which_is_quicker(
    run: tuple[dict[str, list[str]], dict[str, TriggerRule], dict[str, list[str]]], data: st.DataObject
) -> None:
    failing = set(data.draw(st.lists(st.sampled_from(sorted(run[0]) or ["-"]))))
    first, _ = play(run, random.Random(data.draw(st.integers())), failing)
    second, _ = play(run, random.Random(data.draw(st.integers())), failing)
    assert first == second


@given(runs(), st.integers(), st.data())
def test_no_task_starts_while_anything_that_it_waits_for_still_runs_or_is_still_to_end(
    run: tuple[dict[str, list[str]], dict[str, TriggerRule], dict[str, list[str]]], seed: int, data: st.DataObject
) -> None:
    upstream, rules, teardowns = run
    failing = set(data.draw(st.lists(st.sampled_from(sorted(upstream) or ["-"]))))
    cancel_after = data.draw(st.none() | st.integers(0, len(upstream)))
    _, log = play(run, random.Random(seed), failing, cancel_after)
    impatient = {TriggerRule.ONE_SUCCESS, TriggerRule.ONE_FAILED, TriggerRule.ALWAYS}
    for position, entry in enumerate(log):
        what, name = entry.split()
        if what != "start" or (name not in teardowns and rules[name] in impatient):
            continue
        before = log[:position]
        waits_for, stack = set(), [name]
        while stack:
            for other in upstream[stack.pop()]:
                hurried = other not in teardowns and rules[other] in impatient and f"start {other}" in before
                stack += [] if hurried or other in waits_for else [other]
                waits_for.add(other)
        assert not [other for other in waits_for if f"start {other}" in before and f"end {other}" not in before]


Run = tuple[dict[str, list[str]], dict[str, TriggerRule], dict[str, list[str]]]


def scheduler_of(run: Run) -> Scheduler:
    upstream, rules, teardowns = run
    return Scheduler(upstream, rules=rules, teardowns=teardowns)


class Played:
    """A run that is played, and what a store would know of it."""

    def __init__(self, run: Run, chance: random.Random) -> None:
        self.scheduler = scheduler_of(run)
        self.chance = chance
        self.upstream = run[0]
        self.ended: dict[str, TaskState] = {}
        self.never_started: set[str] = set()
        self.started: set[str] = set()
        self.skip: list[str] = []

    @property
    def running(self) -> list[str]:
        return sorted(self.started - self.ended.keys() - {self.scheduler.ready()})

    def steps(self, most: int) -> None:
        """Start one task, or end one well or badly, with or without a choice of what is left out, or try it again."""
        for _ in range(most):
            ready = self.scheduler.ready()
            if ready is not None and (not self.running or self.chance.random() < 0.5):
                self.scheduler.start(ready)
                self.started.add(ready)
            elif self.running:
                name = self.chance.choice(self.running)
                below = [other for other, above in self.upstream.items() if name in above]
                skip = [other for other in below if self.chance.random() < 0.2]
                self.finish(name, self.chance.choice([S, S, F, K]), skip)

    def finish(self, name: str, state: TaskState, skip: list[str]) -> None:
        self.skip += skip
        self.ended[name] = state
        never = dict(self.scheduler.finish(name, state, skip))
        self.never_started |= never.keys()
        self.ended.update(never)


@given(runs(), st.integers(), st.integers(0, 60))
def test_a_restored_scheduler_goes_on_as_the_undisturbed_one_would(run: Run, seed: int, steps: int) -> None:
    # Given a run that is left at any point
    played = Played(run, random.Random(seed))
    played.steps(steps)
    restored = scheduler_of(run)
    assert restored.restore(played.ended, played.started, skip=played.skip) == []
    # When both go on with the same events, of which a second try is one, then they say the same
    chance = random.Random(seed + 1)
    running = sorted(played.started - played.ended.keys())
    for name in [name for name in running if chance.random() < 0.5]:
        played.scheduler.again(name)
        restored.again(name)
        running.remove(name)
    while not played.scheduler.done():
        ready = played.scheduler.ready()
        assert restored.ready() == ready
        if ready is not None:
            played.scheduler.start(ready)
            restored.start(ready)
            running.append(ready)
        elif chance.random() < 0.1:
            assert sorted(restored.cancel()) == sorted(played.scheduler.cancel())
        if running and (ready is None or chance.random() < 0.5):
            name, state = running.pop(chance.randrange(len(running))), chance.choice([S, F, K])
            assert sorted(restored.finish(name, state)) == sorted(played.scheduler.finish(name, state))
    assert restored.done()


@given(runs(), st.integers(), st.integers(0, 60))
def test_what_never_starts_ends_so_also_if_that_was_not_written_down(run: Run, seed: int, steps: int) -> None:
    played = Played(run, random.Random(seed))
    played.steps(steps)
    known = {name: state for name, state in played.ended.items() if name not in played.never_started}
    found = scheduler_of(run).restore(known, played.started, skip=played.skip)
    assert {**known, **dict(found)} == played.ended


def waits_for_all(run: Run, name: str) -> bool:
    impatient = {TriggerRule.ONE_SUCCESS, TriggerRule.ONE_FAILED, TriggerRule.ALWAYS}
    return name in run[2] or run[1][name] not in impatient


def behind(run: Run, first: str) -> set[str]:
    """What is ordered after a task, by a path of tasks that wait for all their upstreams."""
    found: set[str] = {first}
    grown = True
    while grown:
        more = {name for name, above in run[0].items() if found & set(above) and waits_for_all(run, name)} - found
        grown = bool(more)
        found |= more
    return found - {first}


@given(runs(), st.integers(), st.integers(1, 60), st.integers(0, 3))
def test_what_is_behind_a_task_that_is_repeated_waits_for_it(run: Run, seed: int, steps: int, most: int) -> None:
    # Given a run that is left, and some of its successes that are not there any more
    chance = random.Random(seed)
    played = Played(run, chance)
    played.steps(steps)
    gone = [name for name in sorted(played.started & played.ended.keys()) if played.ended[name] is S]
    repeat = chance.sample(gone, min(most, len(gone)))
    known = {name: state for name, state in played.ended.items() if name not in repeat}
    restored = scheduler_of(run)
    ended = dict(restored.restore(known, played.started, skip=played.skip, repeat=repeat))
    running = sorted(played.started - played.ended.keys())
    for name in list(running):
        if chance.random() < 0.5:
            restored.again(name, surely=True)
            running.remove(name)
    # When it goes on
    while not restored.done():
        while (ready := restored.ready()) is not None and (not running or chance.random() < 0.7):
            # Then nothing that is behind one of these starts before that has ended
            assert not [name for name in repeat if name not in ended and ready in behind(run, name)]
            assert ready not in known
            restored.start(ready)
            running.append(ready)
        name = running.pop(chance.randrange(len(running)))
        ended[name] = chance.choice([S, F])
        ended.update(restored.finish(name, ended[name]))
    # And what had not ended has, once
    assert ended.keys() | known.keys() == run[0].keys()
    assert not ended.keys() & known.keys()


def test_a_job_on_a_cluster_that_is_started_again_waits_for_it_by_way_of_one_that_has_ended() -> None:
    upstream = {"create": [], "job1": ["create"], "job2": ["job1"], "other": [], "delete": ["job2", "create"]}
    scheduler = Scheduler(upstream, teardowns={"delete": ["create"]})
    scheduler.restore({"job1": S}, ["create", "job1"], repeat=["create"])
    for expected in ("create", "other"):
        assert scheduler.ready() == expected
        scheduler.start(expected)
    assert scheduler.ready() is None
    scheduler.finish("create", S)
    assert scheduler.ready() == "job2"
    scheduler.start("job2")
    scheduler.finish("job2", S)
    assert scheduler.ready() == "delete"


def test_what_follows_a_running_task_waits_for_a_cluster_that_is_started_again() -> None:
    scheduler = Scheduler({"create": [], "job1": ["create"], "job2": ["job1"], "job3": ["job2"]})
    # Given job2, which runs on, and whose cluster is gone for what follows
    scheduler.restore({"job1": S}, ["create", "job1", "job2"], repeat=["create"])
    scheduler.start("create")
    scheduler.finish("job2", S)
    assert scheduler.ready() is None
    scheduler.finish("create", S)
    assert scheduler.ready() == "job3"


def test_what_an_earlier_process_may_have_sent_is_looked_at_also_if_the_run_is_cancelled() -> None:
    upstream = {"sent": [], "tried": [], "after": ["sent"]}
    scheduler = Scheduler(upstream)
    scheduler.restore({}, ["sent", "tried"])
    scheduler.again("sent", surely=True)
    scheduler.again("tried")
    assert scheduler.cancel() == [("tried", TaskState.CANCELLED)]
    assert scheduler.ready() == "sent"
    scheduler.start("sent")
    assert scheduler.finish("sent", TaskState.CANCELLED) == [("after", TaskState.CANCELLED)]
    assert scheduler.done()


def test_a_teardown_of_what_an_earlier_process_started_runs() -> None:
    scheduler = Scheduler({"create": [], "job": ["create"], "delete": ["job"]}, teardowns={"delete": ["create"]})
    scheduler.restore({"create": S}, ["create"])
    assert scheduler.cancel() == [("job", TaskState.CANCELLED)]
    assert scheduler.ready() == "delete"


def test_a_state_that_is_not_final_is_not_restored() -> None:
    with pytest.raises(ValueError, match="task 'a' cannot be restored as running"):
        Scheduler({"a": []}).restore({"a": TaskState.RUNNING})
    with pytest.raises(ValueError, match="task 'a' cannot be restored as success"):
        Scheduler({"a": []}).restore({"a": S}, repeat=["a"])


# lanes ----------------------------------------------------------------------------------------------------------------

LANES = [Lane(1), Lane(2), Lane(4), Lane(1, "bigquery"), Lane(1, "dataproc"), FREE]


def longest_ways(upstream: dict[str, list[str]], seconds: dict[str, int]) -> dict[str, float]:
    """The seconds that a task and what is downstream of it take, by definition."""
    below = {name: [other for other, above in upstream.items() if name in above] for name in upstream}

    @functools.cache
    def way(name: str) -> float:
        return seconds[name] + max(map(way, below[name]), default=0)

    return {name: way(name) for name in upstream}


@given(dags(), st.data())
def test_on_one_processor_the_order_is_that_of_the_longest_way_to_the_end(
    upstream: dict[str, list[str]], data: st.DataObject
) -> None:
    # Given durations that are known, and sometimes priorities
    seconds = {name: data.draw(st.integers(0, 5)) for name in upstream}
    priority = data.draw(st.dictionaries(st.sampled_from(sorted(upstream) or ["-"]), st.integers(-1, 1)))
    remaining = longest_ways(upstream, seconds)
    lanes = {name: data.draw(st.sampled_from(LANES)) for name in upstream}
    scheduler = Scheduler(upstream, priority=priority, remaining=remaining, lane_of=lanes.__getitem__)
    rank = {name: (-priority.get(name, 0), -remaining[name], number) for number, name in enumerate(upstream)}
    done: list[str] = []
    while not scheduler.done():
        # When one after the other runs, whatever lanes they stand in
        found = scheduler.ready()
        assert found is not None
        ready = [n for n, above in upstream.items() if n not in done and all(other in done for other in above)]
        # Then it is always the one with the longest way that starts, by hand: of all that are ready
        assert found == min(ready, key=rank.__getitem__)
        assert scheduler.lane == lanes[found]
        assert scheduler.waiting == sum(lanes[name] == lanes[found] for name in ready)
        scheduler.start(found)
        scheduler.finish(found, S)
        done.append(found)


@given(dags(), st.integers(), st.data())
def test_with_a_free_processor_what_is_ready_in_an_open_lane_starts(
    upstream: dict[str, list[str]], seed: int, data: st.DataObject
) -> None:
    # Given processors, and tasks of several slots and of services that take few jobs
    size, limit, chance = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 2)), random.Random(seed)
    lanes = {name: data.draw(st.sampled_from(LANES)) for name in upstream}
    scheduler = Scheduler(upstream, lane_of=lanes.__getitem__)
    running: list[str] = []
    done: set[str] = set()

    def need(lane: Lane) -> int:
        return min(lane.slots, size)

    def fits(lane: Lane) -> bool:
        free = size - sum(need(lanes[name]) for name in running)
        flying = sum(lanes[name].service == lane.service for name in running)
        return need(lane) <= free and (lane.service is None or flying < limit)

    while not scheduler.done():
        # When lanes are shut one by one, as the executor does
        shut: set[Lane] = set()
        while (found := scheduler.ready(shut)) is not None:
            if fits(lanes[found]):
                scheduler.start(found)
                running.append(found)
            else:
                shut.add(lanes[found])
        # Then nothing is left that could start, and never too much runs
        waiting = [n for n, above in upstream.items() if n not in done and n not in running and set(above) <= done]
        assert not any(fits(lanes[name]) for name in waiting)
        assert sum(need(lanes[name]) for name in running) <= size
        name = running.pop(chance.randrange(len(running)))
        done.add(name)
        scheduler.finish(name, S)


def test_a_task_that_is_held_and_ready_again_stands_in_its_new_lane_only() -> None:
    # Given a task that waits for a decision, in the lane for that
    lanes = {"a": FREE}
    scheduler = Scheduler({"a": []}, lane_of=lanes.__getitem__)
    assert scheduler.ready() == "a"
    scheduler.hold("a")
    # When it is decided that it runs, and the lane where it runs is shut
    lanes["a"] = Lane(2)
    scheduler.again("a")
    # Then it is not found where it stood before
    assert scheduler.ready({Lane(2)}) is None
    assert (scheduler.ready(), scheduler.lane) == ("a", Lane(2))
