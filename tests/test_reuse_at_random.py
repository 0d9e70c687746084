"""Random DAGs in a changing world: what is cached is what would be made anew, and nothing is added twice.

PYDAG_TEST_REUSE_WORLDS says how many worlds are tried, PYDAG_TEST_SEED repeats one.
"""

from __future__ import annotations

import copy
import os
import random
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pydag_gcp.dag import DAG
from pydag_gcp.errors import DefinitionError
from pydag_gcp.function import task
from pydag_gcp.lineage import Ties
from pydag_gcp.operator import Operator
from pydag_gcp.planner import Plan, plan
from pydag_gcp.resources import Cluster, Table
from pydag_gcp.reuse import Reuse
from pydag_gcp.settings import Settings, load
from pydag_gcp.states import TriggerRule
from tests.reuse_cloud import RUNNING, P, Plain, Step
from tests.reuse_model import START, Crash, Drive, World, from_scratch
from tests.test_reuse import Case

WORLDS = int(os.environ.get("PYDAG_TEST_REUSE_WORLDS", "40"))
#: The same worlds every time, unless more are asked for.
SAME = "PYDAG_TEST_REUSE_WORLDS" not in os.environ
SEED = os.environ.get("PYDAG_TEST_SEED")

SOURCES = [f"{P}.x", f"{P}.y"]
TABLES = [f"{P}.a", f"{P}.b", f"{P}.c", f"{P}.e"]
PARTS = [f"{P}.a$20220101", f"{P}.a$20220102"]
CLUSTER = Cluster("c")
RULES = [TriggerRule.ALL_SUCCESS] * 8 + [TriggerRule.ALL_DONE, TriggerRule.NONE_FAILED]


@dataclass
class Wanted:
    """A task to be: its class, its fields, and what it waits for beside what follows."""

    kind: type[Step] | None
    fields: dict[str, Any] = field(default_factory=dict)
    above: list[str] = field(default_factory=list)
    takes: str = ""

    def __str__(self) -> str:
        fields = {key: str(value) if isinstance(value, Table) else value for key, value in self.fields.items()}
        return f"{fields | {'inputs': [*map(str, fields.get('inputs', ()))]}} above={self.above} takes={self.takes}"


@dataclass
class Pipeline:
    """A definition that changes from run to run."""

    chance: random.Random
    tasks: dict[str, Wanted] = field(default_factory=dict)
    schedule: str | None = None

    def draw(self) -> None:
        for number in range(self.chance.randint(2, 7)):
            self.draw_task(f"t{number}")
        self.schedule = self.chance.choice([None, "0 0 * * *"])

    def draw_task(self, task_id: str) -> None:
        kind = self.chance.choices(
            ["replace", "append", "create", "opaque", "plain", "branch", "service"], [8, 5, 3, 2, 1, 2, 1]
        )[0]
        getattr(self, f"_draw_{kind}", self._draw_step)(task_id, kind)

    def _draw_step(self, task_id: str, mode: str) -> None:
        some = [*SOURCES, *TABLES, *PARTS, *(str(t.fields["into"]) for t in self._opaque())]
        inputs = [] if mode == "create" else self.chance.sample(some, self.chance.choice([0, 1, 1, 2]))
        makers = [other for other, wanted in self.tasks.items() if str(wanted.fields.get("into")) in inputs]
        wanted = Wanted(
            Plain if mode == "plain" else Step,
            {
                "inputs": tuple(map(Table, inputs)),
                "into": Table(self.chance.choice([*TABLES, *TABLES, *PARTS])),
                "mode": "replace" if mode == "plain" else mode,
                "salt": "0",
                "steady": self.chance.random() < 0.95,
                "trigger_rule": self.chance.choice(RULES),
                "cache": self.chance.choice([None] * 6 + [False, True, timedelta(minutes=30)]),
            },
            above=[other for other in makers if not self.tasks[other].fields.get("known", True)],
        )
        takeable = [
            other for other, one in self.tasks.items() if one.kind is not None and one.fields.get("known", True)
        ]
        if takeable and mode != "create" and self.chance.random() < 0.15:
            wanted.takes = self.chance.choice(takeable)
        if "starts" in str([one.fields for one in self.tasks.values()]) and self.chance.random() < 0.3:
            wanted.fields["needs"] = CLUSTER
            wanted.above += [other for other, one in self.tasks.items() if "starts" in one.fields]
        self.tasks[task_id] = wanted

    def _opaque(self) -> list[Wanted]:
        return [one for one in self.tasks.values() if not one.fields.get("known", True)]

    def _draw_opaque(self, task_id: str, _: str) -> None:
        """One that reads what nobody else touches and only tasks before it write, and writes what it alone does."""
        base = f"{P}.h{task_id}"
        self.tasks[f"{task_id}h"] = Wanted(
            Step, {"inputs": (Table(self.chance.choice(SOURCES)),), "into": Table(base), "salt": "0"}
        )
        fields: dict[str, Any] = {"known": False, "hidden": (Table(base),), "into": Table(f"{P}.o{task_id}")}
        fields |= {"salt": "0", "cache": self.chance.choice([None, True])}
        others = [other for other in self.tasks if self.chance.random() < 0.2]
        middle = self.chance.random() < 0.3
        if middle:
            self.tasks[f"{task_id}m"] = Wanted(Step, {"salt": "0"}, above=[f"{task_id}h"])
        self.tasks[task_id] = Wanted(Step, fields, above=[*others, f"{task_id}m" if middle else f"{task_id}h"])

    def _draw_branch(self, task_id: str, _: str) -> None:
        self.tasks[task_id] = Wanted(None)
        for arm in ("l", "r"):
            self._draw_step(f"{task_id}{arm}", self.chance.choice(["replace", "replace", "append"]))
            self.tasks[f"{task_id}{arm}"].above.append(task_id)
            self.tasks[f"{task_id}{arm}"].fields["trigger_rule"] = TriggerRule.ALL_SUCCESS

    def _draw_service(self, task_id: str, _: str) -> None:
        if not any("starts" in one.fields for one in self.tasks.values()):
            self.tasks[task_id] = Wanted(Step, {"starts": CLUSTER, "salt": "0"})

    def blindfold(self, chance: random.Random) -> None:
        """Let it be unknown what some of those read that add rows."""
        for wanted in self.tasks.values():
            if wanted.fields.get("mode") == "append" and chance.random() < 0.5:
                wanted.fields |= {"blind": True, "inputs": (), "cache": True}

    def dag(self) -> DAG:
        made: dict[str, Operator] = {}
        with DAG("random", infer=True, schedule=self.schedule) as dag:
            for task_id, wanted in self.tasks.items():
                more = {"value": made[wanted.takes].output} if wanted.takes in made else {}
                if wanted.kind is None:
                    made[task_id] = task.branch(task_id=task_id, reads=[], writes=[])(_pick)()
                else:
                    made[task_id] = wanted.kind(task_id=task_id, **wanted.fields, **more)
                for above in wanted.above:
                    if above in made:
                        made[above] >> made[task_id]
        return dag


def _pick() -> None:
    """The model picks."""


def how_read(ties: Ties, table: Table) -> str:
    """What tells whether a table that a task reads holds something new, see :class:`Drive`."""
    for read in ties.reads:
        if read.resource == table:
            added = read.own or read.appended
            return "made" if read.settled else "" if not added else "added" if ties.accumulating else "news"
    return "made"


def observed(world: World, planned: Plan) -> Drive:
    """A run in which the model takes note of what is added, and of what had been read for that."""
    ties = Reuse(planned, world.records, world.cloud)._lineage.ties
    return Drive(
        world,
        planned,
        accumulates=lambda task_id: ties[task_id].accumulating,
        how_read=lambda task_id, table: how_read(ties[task_id], table),
    )


@dataclass
class History:
    """What happens to a pipeline and its world, round by round, and the laws that hold after each."""

    seed: int
    settings: Settings
    world: World = field(default_factory=World)
    story: list[str] = field(default_factory=list)
    day: int = 0
    failed: Drive | None = None

    def __post_init__(self) -> None:
        self.chance, self.retries = random.Random(self.seed), random.Random(f"retries of {self.seed}")
        self.detours = random.Random(f"detours of {self.seed}")

    def live(self) -> None:
        RUNNING.clear()
        pipeline = Pipeline(self.chance)
        pipeline.draw()
        if self.detours.random() < 0.15:
            pipeline.blindfold(self.detours)
        for table in SOURCES:
            self.world.cloud.modify(table, 0)
        if not (lives := self.planned(pipeline)):
            return
        self.round(pipeline, lives)
        roundabout = self.detours.random() < 0.4
        for _ in range(self.chance.randint(3, 8)):
            if roundabout and self.detours.random() < 0.4:
                self.detour(pipeline)
            for _ in range(self.chance.choice([0, 0, 1, 1, 2])):
                self.change(pipeline)
            if self.failed is not None and self.retries.random() < 0.3:
                self.retry(pipeline, self.failed)
            if lives := self.planned(pipeline):
                self.round(pipeline, lives)

    def planned(self, pipeline: Pipeline) -> Plan | None:
        """None: the change has made a race."""
        date = START.replace(month=1 + self.day) if pipeline.schedule else None
        self.story += [f"    {task_id} {wanted}" for task_id, wanted in pipeline.tasks.items()]
        try:
            return plan(pipeline.dag(), self.settings, logical_date=date, cache=self.chance.random() > 0.1)
        except DefinitionError as error:
            self.story.append(f"refused: {error}")
            return None

    def change(self, pipeline: Pipeline) -> None:
        chance, cloud = self.chance, self.world.cloud
        what = chance.choice(
            ["source", "table", "drop", "salt", "salt", "day", "pick", "time", "stop", "remove", "add"]
        )
        self.story.append(what)
        some = chance.choice(sorted(pipeline.tasks))
        if what == "source":
            cloud.modify(chance.choice(SOURCES), next(cloud.ticks))
        elif what == "table":
            table = chance.choice(TABLES)
            if table in cloud.tables:
                self.failed = None  # what it had written before it failed is not there any more
                cloud.modify(table, next(cloud.ticks))
                self.story.append(table)
        elif what == "drop":
            self.failed = None
            cloud.drop(chance.choice(TABLES))
        elif what == "salt" and "salt" in pipeline.tasks[some].fields:
            pipeline.tasks[some].fields["salt"] = chance.choice("012")
            self.story.append(some)
        elif what == "day":
            self.day = chance.randint(0, 2)
        elif what == "pick":
            for branch in [t for t, one in pipeline.tasks.items() if one.kind is None]:
                self.world.picks[branch] = branch + chance.choice("lr")
        elif what == "time":
            self.world.minutes += chance.randint(0, 60)
        elif what == "stop":
            RUNNING.clear()
        elif what == "remove" and len(pipeline.tasks) > 2 and pipeline.tasks[some].kind is not None:
            if pipeline.tasks[some].fields.get("known", True) and not some.endswith(("h", "m", "l", "r")):
                del pipeline.tasks[some]
                self.story.append(some)
                self.reshaped()
        elif what == "add" and f"n{len(self.story)}" not in pipeline.tasks:
            pipeline.draw_task(f"n{len(self.story)}")
            self.reshaped()

    def detour(self, pipeline: Pipeline) -> None:
        """Edit tasks, run for some dates, and edit them back, for the date that it was."""
        chance, day, salted = self.detours, self.day, [one for one in pipeline.tasks.values() if "salt" in one.fields]
        before = [(one, one.fields["salt"]) for one in salted]
        self.story.append("detour")
        for _ in range(chance.randint(1, 4)):
            for one in chance.sample(salted, min(len(salted), chance.choice([0, 1, 1, 2]))):
                one.fields["salt"] = chance.choice("012")
            self.day = chance.randint(0, 2)
            if lives := self.planned(pipeline):
                self.round(pipeline, lives)
        self.story.append("and back")
        self.day = day
        for one, salt in before:
            one.fields["salt"] = salt
        if lives := self.planned(pipeline):
            self.round(pipeline, lives)

    def reshaped(self) -> None:
        self.failed = None
        self.world.added.clear()  # whose work a task builds on may be judged otherwise now

    def retry(self, pipeline: Pipeline, failed: Drive) -> None:
        """Try again what had failed in an earlier run, whatever was run since."""
        old, self.failed = failed.plan, None
        date = old.context.logical_date if pipeline.schedule else None
        planned = plan(pipeline.dag(), self.settings, logical_date=date, cache=old.cache, run_id=old.run_id)
        if (drive := failed.again(planned)) is not None:
            drive.go()
            self.tell(drive)
            assert self.world.doubled == []

    def round(self, pipeline: Pipeline, planned: Plan) -> None:
        before, cloud = copy.deepcopy(self.world.cloud.tables), self.world.cloud
        drive = replace(observed(self.world, planned), fate=self.fate())
        disturbed: set[str] = set()
        while True:
            self.story.append(f"run {planned.run_id} cache={planned.cache} {planned.context.logical_date:%m}")
            try:
                ended = drive.go()
                break
            except Crash:
                self.story.append(f"crash; executed {drive.executed}, open {[*drive.open]}")
                if self.chance.random() < 0.3:
                    disturbed.add(source := self.chance.choice(SOURCES))
                    cloud.modify(source, next(cloud.ticks))
                # Of a table that the run has written it could not tell whose the last rows are.
                others = sorted({*TABLES} & cloud.tables.keys() - drive.written())
                if self.detours.random() < 0.1 and others:
                    disturbed.add(table := self.detours.choice(others))
                    cloud.modify(table, next(cloud.ticks))
                    self.story.append(f"meanwhile {table}")
                    self.failed = None
                if self.chance.random() < 0.4:
                    drive.settle()
                    if disturbed:
                        self.world.added.clear()
                    return
        self.tell(drive)
        assert self.world.doubled == []
        # A run that is resumed comes to an end, unless what has still to run finds other data than what is done.
        assert not drive.abandoned or disturbed & drive.still_touches()
        if disturbed:
            self.world.added.clear()  # nobody knows which of two versions a job has read
        if ended and not disturbed:
            scratch = from_scratch(before, drive)
            assert cloud.tables == scratch

        self.failed = self.failed if ended or drive.abandoned else drive

    def tell(self, drive: Drive) -> None:
        self.story.append(f"executed {drive.executed}; {[(t, s.value) for t, s, _ in drive.ended]}")
        self.story += [f"    {t}: {d.verdict.value}: {d.reason}" for t, d in drive.decisions.items()]

    def fate(self) -> Any:
        if self.chance.random() < 0.6:
            return lambda task_id, moment: None
        crash, fail = self.chance.random() < 0.6, self.chance.random() < 0.6

        def decide(task_id: str, moment: str) -> str | None:
            if crash and self.chance.random() < 0.1:
                raise Crash
            return "fail" if fail and moment == "start" and self.chance.random() < 0.15 else None

        return decide


@pytest.fixture(scope="module")
def project_settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder: Path = tmp_path_factory.mktemp("reuse")
    (folder / "pydag.toml").write_text("")
    return load(folder)


@settings(max_examples=WORLDS, deadline=None, database=None, derandomize=SAME)
@given(seed=st.integers(0, 2**40) if SEED is None else st.just(int(SEED)))
def test_cached_is_what_would_be_made_anew_and_nothing_is_added_twice(seed: int, project_settings: Settings) -> None:
    history = History(seed, project_settings)
    try:
        history.live()
    except AssertionError as error:
        raise AssertionError(f"PYDAG_TEST_SEED={seed}\n" + "\n".join(history.story)) from error


def test_what_is_replaced_is_news_to_the_model_though_its_task_had_added_there_once(project: Path) -> None:
    # Given tasks that add to a table, one of them by way of a partition that another one replaces
    case, (first, second) = Case(), map(Table, PARTS)
    case.steps = {
        "stage": {"inputs": (first,), "into": second},
        "add": {"inputs": (Table(TABLES[0]),), "into": first, "mode": "append"},
        "notes": {"into": Table(TABLES[0]), "mode": "append"},
    }

    def run() -> list[str]:
        drive = observed(case.world, case.plan())
        drive.go()
        return drive.executed

    assert run() == ["stage", "add", "notes"]
    # When nobody adds to that partition any more, so that it follows from what is staged
    del case.steps["notes"]
    case.world.added.clear()
    # Then each run finds there what was made of the rows that the last one added
    assert [run(), run()] == [["stage", "add"]] * 2
    assert case.world.doubled == []
