"""The rules of docs/caching.md written down a second time, in the plainest way, and held against every decision.

The oracle knows nothing of our code: it watches runs, keeps its own memory of them, looks at all pairs of tasks, and
repeats its rules until nothing changes. PYDAG_TEST_ORACLE_WORLDS says how many worlds it judges.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pydag_gcp.dag import DAG
from pydag_gcp.decision import Verdict
from pydag_gcp.planner import Plan, plan
from pydag_gcp.resources import Table
from pydag_gcp.settings import Settings, load
from tests.reuse_cloud import P, Step, name
from tests.reuse_model import START, Drive, World

WORLDS = int(os.environ.get("PYDAG_TEST_ORACLE_WORLDS", "40"))
SOURCES, TABLES = [f"{P}.x", f"{P}.y"], [f"{P}.a", f"{P}.b", f"{P}.c"]


@dataclass
class Memory:
    """What the oracle remembers of a success."""

    run: str
    number: int
    saw: dict[str, Any]
    above: dict[str, str]
    left: dict[str, Any]
    essence: Any
    wrote: tuple[Any, ...] | None = None


@dataclass
class Oracle:
    """Says of each task whether it is cached, runs, or is decided at run time."""

    world: World
    memories: dict[tuple[str, str, Any], Memory] = field(default_factory=dict)
    plan: Plan | None = None
    count: int = 0

    # the shape of the DAG -------------------------------------------------------------------------------------------

    def look_at(self, planned: Plan) -> None:
        self.plan = planned
        self.steps: dict[str, Step] = {t: s for t, s in planned.tasks.items() if isinstance(s, Step)}
        self.order: list[str] = []
        while len(self.order) < len(self.steps):
            self.order.append(
                next(t for t in self.steps if t not in self.order and set(planned.upstream[t]) <= set(self.order))
            )

    def into(self, task: str) -> str:
        table = self.steps[task].into
        assert table is not None
        return str(table)

    def inputs(self, task: str) -> list[str]:
        return [str(table) for table in self.steps[task].inputs]

    def chain(self, table: str) -> list[str]:
        return [task for task in self.order if self.into(task) == table]

    def replacing(self, table: str) -> bool:
        rows = [task for task in self.chain(table) if self.steps[task].mode != "create"]
        return not rows or (self.steps[rows[0]].mode == "replace" and table not in self.inputs(rows[0]))

    def adds(self, task: str) -> bool:
        return not self.replacing(self.into(task))

    def before(self, task: str, table: str) -> list[str]:
        return [other for other in self.chain(table) if self.order.index(other) < self.order.index(task)]

    def makers(self, task: str, table: str) -> list[str]:
        """The tasks whose work is what a task finds in a table."""
        before = self.before(task, table)
        if self.settled(task, table):
            last = max(i for i, other in enumerate(before) if self.steps[other].mode == "replace")
            before = before[last:]
        return [other for other in before if self.steps[other].mode != "create" or not self.adds(task)]

    def settled(self, task: str, table: str) -> bool:
        return self.replacing(table) and any(self.steps[t].mode == "replace" for t in self.before(task, table))

    def in_between(self, task: str) -> list[str]:
        """The tables that it reads while a replacing chain is at work on them."""
        return [
            table
            for table in self.inputs(task)
            if table != self.into(task) and self.replacing(table)
            if any(self.steps[other].mode != "create" for other in self.makers(task, table))
            if self.chain(table)[-1] not in self.before(task, table)
        ]

    # what is remembered ---------------------------------------------------------------------------------------------

    def key(self, task: str) -> tuple[str, str, Any]:
        assert self.plan is not None
        dated = self.plan.dated and self.adds(task)
        return task, self.steps[task].salt, self.plan.context.logical_date if dated else None

    def memory(self, task: str) -> Memory | None:
        found = self.memories.get(self.key(task))
        if found is None and self.key(task)[2] is not None:
            other = self.memories.get((task, self.steps[task].salt, None))
            found = other if other is not None and other.essence is not None else None
        return found

    def left_by(self, task: str) -> Any:
        """What a success left; one that adds rows, and is what it was before, left those that it added last."""
        found = self.memory(task)
        if found is not None and self.adds(task):
            date = self.key(task)[2]
            alike = [one for (other, _, when), one in self.memories.items() if (other, when) == (task, date)]
            found = max([found, *alike], key=lambda one: one.number)
        return None if found is None else found.essence or found.number

    def now(self, table: str) -> Any:
        return self.world.cloud.versions.get(table)

    def succeeded(self, task: str, drive: Drive) -> None:
        """A task has run to its end."""
        assert self.plan is not None
        self.count += 1
        current = {other: self.current(other, drive) for other in self.order if other != task}
        left: dict[str, Any] = {}
        above: dict[str, str] = {}
        for table in self.inputs(task):
            if self.adds(task) or self.settled(task, table):
                for other in self.makers(task, table):
                    found = current[other]
                    above[other] = found.run if found else "?"
                    left[other] = self.left_by(other) if found else "?"
        own = [table for table in self.inputs(task) if self.adds(task) and table == self.into(task)]
        saw = {table: self.now(table) for table in self.inputs(task) if table not in own}
        counted = {t: v for t, v in saw.items() if self.adds(task) or not self.settled(task, t)}
        essence = (task, self.steps[task].salt, sorted(map(repr, counted.items())), sorted(map(repr, left.items())))
        self.memories[self.key(task)] = mine = Memory(
            self.plan.run_id, self.count, counted, above, left, None if self.adds(task) else repr(essence)
        )
        members = self.chain(self.into(task))
        if all(t == task or t in drive.known or drive.decisions[t].verdict is Verdict.CACHED for t in members):
            for other in members:
                found = mine if other == task else current[other]
                if found is not None:
                    found.wrote = (self.now(self.into(task)), members)

    def current(self, task: str, drive: Drive) -> Memory | None:
        """The memory of what stands for a task in this run."""
        cached = drive.decisions[task].verdict is Verdict.CACHED
        return self.memory(task) if cached or drive.known.get(task) else None

    # the rules ------------------------------------------------------------------------------------------------------

    def verdicts(self) -> dict[str, str]:
        found = {task: "run" if self.must_run(task) else "cached" for task in self.order}
        self.repeat(found)
        for task in self.order:
            if self.adds(task) and found[task] == "cached" and self.something_new(task):
                found[task] = "run"
                self.repeat(found)
        return found

    def must_run(self, task: str) -> bool:
        assert self.plan is not None
        memory = self.memory(task)
        if memory is None:
            return True
        if self.adds(task):
            return self.steps[task].mode == "create" and self.now(self.into(task)) is None
        if not self.plan.cache or self.steps[task].cache is False:
            return True
        if any(memory.saw.get(t, "?") != self.now(t) for t in self.inputs(task) if not self.settled(task, t)):
            return True
        makers = {m for t in self.inputs(task) if self.settled(task, t) for m in self.makers(task, t)}
        if set(memory.above) != makers:
            return True
        for maker in makers:
            other = self.memory(maker)
            if other is not None and other.run != memory.above[maker]:
                return True
        return memory.wrote != (self.now(self.into(task)), self.chain(self.into(task)))

    def something_new(self, task: str) -> bool:
        memory = self.memory(task)
        assert memory is not None
        for table in self.inputs(task):
            own = table == self.into(task)
            if not own and memory.saw.get(table, "?") == self.now(table):
                continue
            if not own and not self.settled(task, table) and (not self.chain(table) or self.replacing(table)):
                return True
            for maker in self.makers(task, table):
                other = self.left_by(maker)
                if other is None or memory.left.get(maker) != other:
                    return True
        return False

    def repeat(self, found: dict[str, str]) -> None:
        """Until nothing changes: what is built on, or belongs to, what runs."""
        while True:
            older = dict(found)
            for task in self.order:
                found[task] = max(found[task], self.follows(task, found), key=["cached", "later", "run"].index)
            if found == older:
                return

    def follows(self, task: str, found: dict[str, str]) -> str:
        above = {found[maker] for table in self.inputs(task) for maker in self.makers(task, table)}
        if self.adds(task):
            return "later" if above & {"run", "later"} else "cached"
        together = [t for t in self.order if self.into(t) == self.into(task) or self.into(task) in self.in_between(t)]
        if "run" in above or any(found[other] == "run" for other in together):
            return "run"
        later = [self.order.index(other) for other in together if found[other] == "later"]
        mine = self.order.index(task)
        if later and found[task] == "cached" and not (self.steps[task].mode == "create" and mine < later[0]):
            return "run" if mine < later[-1] else "later"
        return "later" if "later" in above else "cached"


@dataclass
class Trial:
    """A pipeline of tasks that say all they touch, in a world that changes."""

    chance: random.Random
    settings: Settings
    world: World = field(default_factory=World)
    steps: dict[str, dict[str, Any]] = field(default_factory=dict)
    story: list[str] = field(default_factory=list)
    day: int = 0

    def hold(self) -> None:
        chance, oracle = self.chance, Oracle(self.world)
        for number in range(chance.randint(2, 7)):
            mode = chance.choice(["replace", "replace", "append", "create"])
            self.steps[f"t{number}"] = {
                "mode": mode,
                "into": Table(chance.choice(TABLES)),
                "inputs": tuple(
                    map(Table, chance.sample([*SOURCES, *TABLES], chance.randint(0, 2) if mode != "create" else 0))
                ),
                "cache": chance.choice([None] * 8 + [False]),
                "salt": "0",
            }
        self.world.cloud.modify(SOURCES[0], 0)
        schedule = chance.choice([None, "0 0 * * *"])
        for _ in range(chance.randint(3, 8)):
            with DAG("judged", infer=True, schedule=schedule) as dag:
                for task_id, fields in self.steps.items():
                    Step(task_id=task_id, **fields)
            date = START.replace(month=1 + self.day) if schedule else None
            planned = plan(dag, self.settings, logical_date=date, cache=chance.random() > 0.1)
            self.judge(oracle, planned)
            for _ in range(chance.choice([0, 1, 1, 2])):
                self.change()

    def judge(self, oracle: Oracle, planned: Plan) -> None:
        oracle.look_at(planned)
        expected = oracle.verdicts()
        fails = self.chance.random() < 0.3
        drive = Drive(self.world, planned)

        def watch(task_id: str, moment: str) -> str | None:
            if moment == "effect":
                oracle.succeeded(task_id, drive)
            return "fail" if fails and moment == "start" and self.chance.random() < 0.2 else None

        drive.fate = watch
        drive.go()
        decided = {task_id: _SHORT[verdict] for task_id, verdict in drive.first.items()}
        self.story += [
            f"  {t} {self.steps[t]['mode']} {name(self.steps[t]['into'])} of "
            f"{[*map(str, self.steps[t]['inputs'])]} {drive.decisions[t].reason}"
            for t in oracle.order
        ]
        self.story += [f"decided  {decided} cache={planned.cache}", f"expected {expected}; executed {drive.executed}"]
        assert decided == expected

    def change(self) -> None:
        chance, cloud = self.chance, self.world.cloud
        what = chance.choice(["source", "table", "drop", "salt", "day", "remove"])
        table, some = chance.choice(TABLES), chance.choice(sorted(self.steps))
        self.story.append(f"{what} {table} {some}")
        if what == "source":
            cloud.modify(chance.choice(SOURCES), 1)
        elif what == "table" and table in cloud.tables:
            cloud.modify(table, 1)
        elif what == "drop":
            cloud.drop(table)
        elif what == "salt":
            self.steps[some]["salt"] = chance.choice("01")
        elif what == "day":
            self.day = chance.randint(0, 2)
        elif len(self.steps) > 2 and what == "remove":
            del self.steps[some]


_SHORT = {Verdict.RUN: "run", Verdict.CACHED: "cached", Verdict.LATER: "later"}


@pytest.fixture(scope="module")
def project_settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder: Path = tmp_path_factory.mktemp("oracle")
    (folder / "pydag.toml").write_text("")
    return load(folder)


@settings(max_examples=WORLDS, deadline=None, database=None)
@given(seed=st.integers(0, 2**40))
def test_every_decision_is_that_of_the_rules(seed: int, project_settings: Settings) -> None:
    trial = Trial(random.Random(seed), project_settings)
    try:
        trial.hold()
    except AssertionError as error:
        raise AssertionError(f"seed {seed}\n" + "\n".join(trial.story)) from error
