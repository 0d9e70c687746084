"""What becomes of the tasks below one that failed, was skipped or cancelled: a table, played on scheduler and executor.

The states are those of Airflow, save where a comment says so:

* trigger rules: https://airflow.apache.org/docs/apache-airflow/stable/core-concepts/dags.html#trigger-rules, decided in
  airflow/ti_deps/deps/trigger_rule_dep.py;
* branches: https://airflow.apache.org/docs/apache-airflow/stable/core-concepts/dags.html#branching, decided by
  skip_all_except in airflow/providers/standard/utils/skipmixin.py;
* teardowns: https://airflow.apache.org/docs/apache-airflow/stable/howto/setup-and-teardown.html. Ours also run when
  their setup was started and failed: half a cluster burns money, too.

A case is written as tasks: ``id [fails | picks IDS | is stopped] [< upstreams] [| rule | teardown of setups]``. A task
"is stopped" by Ctrl-C while it runs. States not listed are ``success``.
"""

from __future__ import annotations

import os
import random
import re
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pydag_gcp import task as python_task
from pydag_gcp.branch import Branches
from pydag_gcp.dag import DAG
from pydag_gcp.events import Event, RunWarned, TaskChanged
from pydag_gcp.executor import execute
from pydag_gcp.function import FunctionTask
from pydag_gcp.planner import plan
from pydag_gcp.retry import Retry
from pydag_gcp.scheduler import Scheduler
from pydag_gcp.settings import load
from pydag_gcp.states import TaskState, TriggerRule

_PART = re.compile(
    r"(?P<id>\w+)(?: (?P<what>fails|is stopped|picks(?P<picks>(?: \w+)*)))?"
    r"(?: < (?P<above>[\w ]+?))?(?: \| (?:teardown of (?P<setups>[\w ]+)|(?P<rule>\w+)))?"
)


@dataclass(frozen=True)
class Node:
    """A task of a case."""

    name: str
    what: str
    picks: tuple[str, ...] | None
    above: tuple[str, ...]
    setups: tuple[str, ...]
    rule: TriggerRule


def nodes_of(text: str) -> list[Node]:
    """Read the tasks of a case."""
    nodes = []
    for part in text.split(";"):
        found = _PART.fullmatch(part.strip())
        assert found, part
        setups = tuple((found["setups"] or "").split())
        above = tuple(dict.fromkeys([*(found["above"] or "").split(), *setups]))
        picks = None if found["picks"] is None else tuple(found["picks"].split())
        rule = TriggerRule(found["rule"] or "all_success")
        nodes.append(Node(found["id"], (found["what"] or "").partition(" ")[0], picks, above, setups, rule))
    return nodes


def expected_of(nodes: list[Node], text: str) -> tuple[dict[str, str], str]:
    """Read the expected states: of the tasks and of the run."""
    given = dict(part.split() for part in text.split(";") if part.strip())
    run = given.pop("run", "success")
    return {node.name: given.get(node.name, "success") for node in nodes}, run


S, F, U, K, C = "success", "failed", "upstream_failed", "skipped", "cancelled"

# Two upstreams that succeed (s), fail (f) or are skipped (k), and what becomes of a task of each rule below them.
_UPSTREAMS = {"ss": "s; s2", "sf": "s; f fails", "sk": "s; x picks; k < x", "ff": "f fails; f2 fails",
              "fk": "f fails; x picks; k < x", "kk": "x picks; k < x; k2 < x"}  # fmt: skip
_RULES = {
    "all_success": {"ss": S, "sf": U, "sk": K, "ff": U, "fk": U, "kk": K},
    "all_done": {"ss": S, "sf": S, "sk": S, "ff": S, "fk": S, "kk": S},
    "one_success": {"ss": S, "sf": S, "sk": S, "ff": U, "fk": U, "kk": K},
    "one_failed": {"ss": K, "sf": S, "sk": K, "ff": S, "fk": S, "kk": K},
    "none_failed": {"ss": S, "sf": U, "sk": S, "ff": U, "fk": U, "kk": S},
    "none_failed_min_one_success": {"ss": S, "sf": U, "sk": S, "ff": U, "fk": U, "kk": K},
    "always": {"ss": S, "sf": S, "sk": S, "ff": S, "fk": S, "kk": S},
}


def _rule_cases() -> list[tuple[str, str]]:
    cases = []
    for rule, row in _RULES.items():
        for states, outcome in row.items():
            above = {"ss": "s s2", "sf": "s f", "sk": "s k", "ff": "f f2", "fk": "f k", "kk": "k k2"}[states]
            ends = {"f": F, "f2": F, "k": K, "k2": K}
            known = [f"{name} {ends[name]}" for name in above.split() if name in ends]
            run = "; run failed" if "f" in states or outcome == U else ""
            cases.append((f"{_UPSTREAMS[states]}; t < {above} | {rule}", f"{'; '.join([*known, f't {outcome}'])}{run}"))
    return cases


CASES = [
    *_rule_cases(),
    # chains
    ("a fails; b < a; c < b; d < c", "a failed; b upstream_failed; c upstream_failed; d upstream_failed; run failed"),
    ("a fails; b < a; c < b | all_done", "a failed; b upstream_failed; run failed"),
    ("a fails; b < a; c < b | one_failed", "a failed; b upstream_failed; run failed"),
    ("a fails; b < a; c < b | none_failed", "a failed; b upstream_failed; c upstream_failed; run failed"),
    ("a fails; b < a; c; d < b c | one_success", "a failed; b upstream_failed; run failed"),
    ("x picks; a < x; b < a; c < b", "a skipped; b skipped; c skipped"),
    ("x picks; a < x; b < a; c < b | none_failed; d < c", "a skipped; b skipped"),
    ("x picks; a < x; b < a; c < b | one_failed", "a skipped; b skipped; c skipped"),
    ("x picks; a < x; b fails < a | all_done; c < b", "a skipped; b failed; c upstream_failed; run failed"),
    ("a fails; b; c < a; d < b; e < c d", "a failed; c upstream_failed; e upstream_failed; run failed"),
    ("a fails; b < a; c", "a failed; b upstream_failed; run failed"),
    # branches
    ("x picks a; a < x; b < x", "b skipped"),
    ("x picks a b; a < x; b < x; c < x", "c skipped"),
    ("x picks; a < x; b < x", "a skipped; b skipped"),
    ("x picks a; a < x; b < x; join < a b", "b skipped; join skipped"),
    ("x picks a; a < x; b < x; join < a b | none_failed_min_one_success", "b skipped"),
    ("x picks a; a < x; b < x; join < a b | one_success", "b skipped"),
    ("x picks a; a < x; b < x; join < a b | none_failed", "b skipped"),
    ("x picks a; a < x; b < x; join < a b | all_done", "b skipped"),
    ("x picks; a < x; b < x; join < a b | none_failed_min_one_success", "a skipped; b skipped; join skipped"),
    ("x picks a; a < x; join < x a", ""),  # an empty arm: join follows from the chosen one
    ("x picks join; a < x; join < x a | none_failed_min_one_success", "a skipped"),
    ("x picks join; a < x; join < x a", "a skipped; join skipped"),
    ("x picks a; a < x; a2 < a; a3 < a2; join < x a3", ""),
    ("x picks a; a < x; b < x | all_done; c < b | all_done", "b skipped"),  # whatever its rule
    ("x picks a; a < x; b < x | always", ""),  # which waits for nobody
    ("x picks a; a < x; b < x; b2 < b; c < b2 | one_success", "b skipped; b2 skipped; c skipped"),
    ("x picks y; y picks a < x; a < y; b < y; c < x", "b skipped; c skipped"),
    ("x picks c; y picks a < x; a < y; b < y; c < x", "y skipped; a skipped; b skipped"),
    ("x fails; a < x; b < x | all_done", "x failed; a upstream_failed; run failed"),
    ("x picks a; a fails < x; b < x; join < a b | none_failed_min_one_success",
     "a failed; b skipped; join upstream_failed; run failed"),
    ("x picks a; y picks b; a < x; b < y; c < x y", "c skipped"),
    # teardowns
    ("s; w < s; t < w | teardown of s", ""),
    ("s; w fails < s; t < w | teardown of s", "w failed; run failed"),
    ("s; w fails < s; v < w; t < v | teardown of s", "w failed; v upstream_failed; run failed"),
    ("s fails; w < s; t < w | teardown of s", "s failed; w upstream_failed; run failed"),  # Airflow: t does not run
    ("x picks; s < x; w < s; t < w | teardown of s", "s skipped; w skipped; t skipped"),
    ("a fails; s < a; w < s; t < w | teardown of s",
     "a failed; s upstream_failed; w upstream_failed; t skipped; run failed"),  # Airflow: t is upstream_failed
    ("s; w < s; t fails < w | teardown of s", "t failed"),
    ("s; w fails < s; t fails < w | teardown of s", "w failed; t failed; run failed"),
    ("s; t fails | teardown of s; after < t", "t failed; after upstream_failed; run failed"),
    ("s; t fails | teardown of s; after < t | all_done", "t failed"),
    ("x picks; s < x; t | teardown of s; after < t", "s skipped; t skipped; after skipped"),
    ("s; w < s; t < w | teardown of s; after < t", ""),
    ("x picks a; s < x; a < x; r; w < s r | none_failed; t < w | teardown of s r", "s skipped"),
    ("s; x picks a < s; a < x; b < x; t < a b x | teardown of s", "b skipped"),
    ("x picks a; a < x; t < a | teardown of x", ""),  # a branch does not skip its own teardown
    ("x picks; a < x; t < x | teardown of x", "a skipped"),
    # cancelled
    ("a is stopped; b < a; c < b", "a cancelled; b cancelled; c cancelled; run cancelled"),
    ("a is stopped; b < a | all_done", "a cancelled; b cancelled; run cancelled"),
    ("a is stopped; b < a | always; c < a b", "a cancelled; c cancelled; run cancelled"),
    ("s; w is stopped < s; t < w | teardown of s", "w cancelled; run cancelled"),
    ("s is stopped; w < s; t < w | teardown of s", "s cancelled; w cancelled; run cancelled"),
    ("s; w is stopped < s; v < w; t < v | teardown of s", "w cancelled; v cancelled; run cancelled"),
    ("a is stopped; s < a; t | teardown of s", "a cancelled; s cancelled; t cancelled; run cancelled"),
    ("s; r < s; w is stopped < r; t < w | teardown of r; u < t | teardown of s; after < u",
     "w cancelled; after cancelled; run cancelled"),
    ("s; w is stopped < s; t fails < w | teardown of s; u < t | teardown of s", "w cancelled; t failed; run cancelled"),
]  # fmt: skip


def test_there_are_more_than_sixty_cases() -> None:
    assert len({case for case, _ in CASES}) == len(CASES) > 60


@pytest.mark.parametrize(("case", "expected"), CASES, ids=[case for case, _ in CASES])
def test_on_the_scheduler_in_any_order(case: str, expected: str) -> None:
    nodes = nodes_of(case)
    for seed in range(5):
        assert play(nodes, random.Random(seed)) == expected_of(nodes, expected)[0]


def play(nodes: list[Node], chance: random.Random) -> dict[str, str]:
    """Run a case on the scheduler alone; return how each task ended."""
    upstream = {node.name: node.above for node in nodes}
    teardowns = {node.name: node.setups for node in nodes if node.setups}
    scheduler = Scheduler(upstream, rules={node.name: node.rule for node in nodes}, teardowns=teardowns)
    branches = Branches(upstream, teardowns)
    by_name = {node.name: node for node in nodes}
    ends: dict[str, TaskState] = {}
    running: list[str] = []
    while not scheduler.done():
        while (ready := scheduler.ready()) is not None:
            scheduler.start(ready)
            running.append(ready)
        going = [name for name in running if by_name[name].what != "is"]
        if going:  # what is to be stopped waits until nothing else runs
            node = by_name[running.pop(running.index(chance.choice(going)))]
            ends[node.name] = TaskState.FAILED if node.what == "fails" else TaskState.SUCCESS
            skip = branches.not_picked(node.name, node.picks) if node.picks is not None else ()
            ends.update(scheduler.finish(node.name, ends[node.name], skip))
        else:
            ends.update(scheduler.cancel())
            for name in running:
                ends[name] = TaskState.CANCELLED
                ends.update(scheduler.finish(name, TaskState.CANCELLED))
            running.clear()
    return {name: state.value for name, state in ends.items()}


@pytest.mark.parametrize(("case", "expected"), CASES, ids=[case for case, _ in CASES])
def test_on_the_executor_with_functions(case: str, expected: str, project: Path) -> None:
    # Given
    nodes = nodes_of(case)
    states, run_state = expected_of(nodes, expected)
    cancelling = threading.Event()
    ended = threading.Semaphore(0)

    def listener(event: Event) -> None:
        if isinstance(event, RunWarned) and "cancelling" in event.message:
            cancelling.set()
        if isinstance(event, TaskChanged) and event.state is TaskState.SUCCESS:
            ended.release()

    def stopped() -> None:
        for _ in before_the_signal(nodes, states):
            assert ended.acquire(timeout=10)
        os.kill(os.getpid(), signal.SIGINT)
        assert cancelling.wait(10)

    with DAG("case", retry=Retry(attempts=2, wait=0, jitter=0)) as dag:
        tasks = {node.name: make(node, stopped) for node in nodes}
        for node in nodes:
            for other in node.above:
                tasks[other] >> tasks[node.name]
    # When
    result = execute(plan(dag, load(project)), max_processors=4, listeners=[listener])
    # Then
    assert {name: task.state.value for name, task in result.tasks.items()} == states
    assert result.state.value == run_state
    tries = {S: 1, F: 2, U: 0, K: 0}  # a failure is tried again, also a teardown's, also after Ctrl-C
    for node in nodes:
        task = result.tasks[node.name]
        assert task.tries == tries.get(task.state.value, int(node.what == "is"))


def before_the_signal(nodes: list[Node], states: dict[str, str]) -> list[str]:
    """The tasks that have to end first, so that the case is the same each time: all that succeed but teardowns."""
    return [node.name for node in nodes if states[node.name] == S and not node.setups]


def make(node: Node, stopped: Callable[[], None]) -> FunctionTask:
    """Make a Python task that does what a case says."""

    def function() -> Any:
        if node.what == "fails":
            raise ValueError("as the case says")
        if node.what == "is":
            stopped()
        return None if node.picks is None else list(node.picks)

    function.__name__ = node.name
    decorator = python_task if node.picks is None else python_task.branch
    rule: dict[str, Any] = {"teardown_of": list(node.setups)} if node.setups else {"trigger_rule": node.rule}
    made: FunctionTask = decorator(reads=[], writes=[], **rule)(function)()
    return made
