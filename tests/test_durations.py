"""Which of two ready tasks starts first: the longest way to the end, by an oracle, in virtual time and in real runs."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pydag_gcp.dag import DAG
from pydag_gcp.durations import remaining
from pydag_gcp.executor import execute
from pydag_gcp.operator import Context
from pydag_gcp.planner import plan
from pydag_gcp.scheduler import Scheduler
from pydag_gcp.settings import load
from pydag_gcp.states import RunState, TaskState
from pydag_gcp.store import Store
from tests.service import Call
from tests.test_scheduler import dags

Upstream = Mapping[str, Sequence[str]]


def longest_way(task_id: str, upstream: Upstream, seconds: Mapping[str, float]) -> float:
    """The law, word for word: the longest of all ways that begin with a task."""
    below = [other for other, above in upstream.items() if task_id in above]
    return seconds[task_id] + max((longest_way(other, upstream, seconds) for other in below), default=0.0)


@given(dags(), st.data())
def test_it_is_the_longest_of_all_ways_to_the_end(upstream: Upstream, data: st.DataObject) -> None:
    # Given tasks of which some are known, and some cached
    upstream = dict(list(upstream.items())[:12])
    upstream = {task_id: [other for other in above if other in upstream] for task_id, above in upstream.items()}
    names = st.sampled_from(sorted(upstream) or ["none"])
    known = data.draw(st.dictionaries(names, st.integers(0, 1000).map(float)))
    cached = data.draw(st.sets(names))
    # When, then
    middle = sorted(known.values())[len(known) // 2 :: -1][: 2 - len(known) % 2]  # one value, or two in the middle
    usual = sum(middle) / len(middle) if middle else 1.0
    least = 0.0005  # of what is known to take no millisecond
    seconds = {name: 0.0 if name in cached else known.get(name, usual) or least for name in upstream}
    expected = {name: longest_way(name, upstream, seconds) for name in upstream}
    assert remaining(upstream, known, cached=cached) == expected


def test_a_chain_as_long_as_the_stack_is_deep_is_no_problem() -> None:
    upstream = {f"t{number}": (f"t{number - 1}",) if number else () for number in range(5_000)}
    backwards = dict(reversed(upstream.items()))
    assert remaining(upstream, {})["t0"] == remaining(backwards, {})["t0"] == 5_000


# in virtual time ---------------------------------------------------------------------------------------------------


def makespan(upstream: Upstream, seconds: Mapping[str, float], order: Mapping[str, float], processors: int) -> float:
    """Play a run: as soon as a processor is free and a task is ready, it starts."""
    scheduler = Scheduler(upstream, remaining=order)
    now, running = 0.0, list[tuple[float, str]]()
    while not scheduler.done():
        while len(running) < processors and (task_id := scheduler.ready()) is not None:
            scheduler.start(task_id)
            heapq.heappush(running, (now + seconds[task_id], task_id))
        now, task_id = heapq.heappop(running)
        scheduler.finish(task_id, TaskState.SUCCESS)
    return now


def chain_beside_many() -> tuple[dict[str, list[str]], dict[str, float]]:
    """200 tasks of 10 ms, declared first, beside a chain of 20 tasks of 50 ms; then a join."""
    short = {f"short{number}": list[str]() for number in range(200)}
    chain = {f"link{number}": [f"link{number - 1}"] if number else [] for number in range(20)}
    upstream = {**short, **chain, "join": [*short, "link19"]}
    return upstream, {name: 0.05 if name in chain else 0.01 for name in upstream}


@pytest.mark.parametrize("history", ["nothing", "all", "the chain", "the others"])
def test_a_long_chain_is_not_stuck_behind_many_short_tasks(history: str) -> None:
    # Given what is known, from nothing (the first run) to everything
    upstream, seconds = chain_beside_many()
    kinds = {"nothing": "-", "all": "", "the chain": "link", "the others": "short"}
    known = {name: took for name, took in seconds.items() if name.startswith(kinds[history])}
    order = remaining(upstream, known)
    # Then it takes no longer than the chain and the join: 20 x 50 ms + 10 ms
    assert makespan(upstream, seconds, order, processors=8) == pytest.approx(1.01)
    assert makespan(upstream, seconds, order, processors=1) == pytest.approx(20 * 0.05 + 201 * 0.01)


def test_without_that_order_the_chain_would_be_late() -> None:
    # As the test above must be able to fail: in the order written it begins after 200 x 10 ms / 8
    upstream, seconds = chain_beside_many()
    assert makespan(upstream, seconds, {}, processors=8) > 1.2


@given(dags(), st.data(), st.integers(1, 4))
def test_it_is_never_worse_than_the_bound_of_any_list_schedule(
    upstream: Upstream, data: st.DataObject, processors: int
) -> None:
    # https://doi.org/10.1137/0117039: at most work / processors + (1 - 1 / processors) * longest way
    seconds = {name: float(data.draw(st.integers(1, 50))) for name in upstream}
    longest = max(remaining(upstream, seconds).values(), default=0.0)
    most = sum(seconds.values()) / processors + (1 - 1 / processors) * longest
    found = makespan(upstream, seconds, remaining(upstream, seconds), processors)
    assert longest <= found <= most + 1e-9


# in real runs ------------------------------------------------------------------------------------------------------


def remember(dag: DAG, seconds: Mapping[str, float]) -> None:
    """Record an earlier run of a DAG in which tasks took so long."""
    settings = load(Path.cwd())
    began = datetime(2026, 1, 1, tzinfo=UTC)
    with Store(settings.store_url) as store:
        store.start_run(
            run_id="earlier",
            dag_id=dag.dag_id,
            target="local",
            logical_date=began,
            definition={},
            pid=1,
            host="h",
            at=began,
        )
        for task_id, took in seconds.items():
            ended = began + timedelta(seconds=took)
            store.start_try("earlier", task_id, 1, job_id=None, at=began)
            store.end_try("earlier", task_id, 1, TaskState.SUCCESS, error=None, at=ended)
            store.end_task("earlier", task_id, TaskState.SUCCESS, at=ended)
        store.end_run("earlier", RunState.SUCCESS, at=began)


def noting(dag: DAG, upstream: Upstream) -> list[str]:
    """Give a DAG tasks that write down in which order they start."""
    started: list[str] = []

    def note(ctx: Context) -> None:
        started.append(ctx.task_id)

    with dag:
        tasks = {name: Call(task_id=name, function=note) for name in upstream}
        for name, above in upstream.items():
            for other in above:
                tasks[other] >> tasks[name]
    return started


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    ("seconds", "order"),
    [
        ({}, ["b", "b2", "c", "a", "b3", "c2"]),  # by the number of tasks to the end
        ({"a": 9.0, "b": 1.0, "b2": 1.0, "b3": 1.0, "c": 1.0, "c2": 4.0}, ["a", "c", "c2", "b", "b2", "b3"]),
        ({"c2": 8.0, "a": 6.0, "b": 1.0}, ["c", "b", "b2", "c2", "a", "b3"]),  # unknown: 6, the median
    ],
)
def test_on_one_processor_tasks_start_in_the_order_of_their_longest_ways(
    seconds: Mapping[str, float], order: list[str]
) -> None:
    # Given a DAG whose chains are b, b2, b3 and c, c2, and what tasks took before
    dag = DAG("ordered")
    upstream = {"a": [], "b": [], "b2": ["b"], "b3": ["b2"], "c": [], "c2": ["c"]}
    started = noting(dag, upstream)
    remember(dag, seconds)
    # When
    execute(plan(dag, load(Path.cwd())), max_processors=1)
    # Then
    assert started == order


@pytest.mark.usefixtures("project")
def test_a_priority_that_was_stated_comes_first() -> None:
    dag, started = DAG("stated"), list[str]()
    note: Callable[[Context], None] = lambda ctx: started.append(ctx.task_id)  # noqa: E731
    with dag:
        Call(task_id="long", function=note)
        Call(task_id="urgent", function=note, priority=1)
    remember(dag, {"long": 60.0, "urgent": 1.0})
    execute(plan(dag, load(Path.cwd())), max_processors=1)
    assert started == ["urgent", "long"]
