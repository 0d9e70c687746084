"""What a run reuses, and the words in which it says why not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pydag_gcp.dag import DAG
from pydag_gcp.decision import Verdict
from pydag_gcp.errors import DefinitionError
from pydag_gcp.function import task
from pydag_gcp.planner import plan
from pydag_gcp.redaction import MASK
from pydag_gcp.resources import Cluster, Table
from pydag_gcp.reuse import Reuse
from pydag_gcp.settings import load
from tests.reuse_cloud import RUNNING, P, Plain, Step
from tests.reuse_model import START, Crash, Drive, World

X, A, B, C = (Table(f"{P}.{name}") for name in "xabc")
PARTS = Table(f"{P}.a$20220101"), Table(f"{P}.a$20220102")


@dataclass
class Case:
    """A world, and a definition that may change."""

    world: World = field(default_factory=World)
    steps: dict[str, dict[str, Any]] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)

    def plan(self, **options: Any) -> Any:
        with DAG("reuse", infer=True) as dag:
            for task_id, fields in self.steps.items():
                (Plain if fields.get("plain") else Step)(
                    task_id=task_id, **{key: value for key, value in fields.items() if key != "plain"}
                )
            for above, below in self.edges:
                dag.tasks[above] >> dag.tasks[below]
        return plan(dag, load(Path.cwd()), **options)

    def run(self, **options: Any) -> Drive:
        drive = Drive(self.world, self.plan(**options))
        drive.go()
        return drive

    def why(self, **options: Any) -> dict[str, str]:
        """The reasons of all tasks that would not be cached."""
        planned = self.plan(**options)
        reuse = Reuse(planned, self.world.records, self.world.cloud, cache=planned.cache, clock=self.world.clock)
        return {t: d.reason for t, d in reuse.decide().items() if d.verdict is not Verdict.CACHED}


def killed_at(task_id: str, moment: str) -> Callable[[str, str], None]:
    """The fate of a driver that is killed then."""

    def fate(*now: str) -> None:
        if now == (task_id, moment):
            raise Crash

    return fate


@pytest.fixture
def case(project: Path) -> Case:
    """x -> stage (a) -> add (b, accumulating), and -> report (c)."""
    RUNNING.clear()
    case = Case()
    case.world.cloud.modify(str(X), 0)
    case.steps = {
        "stage": {"inputs": (X,), "into": A, "salt": "1"},
        "add": {"inputs": (A,), "into": B, "mode": "append"},
        "report": {"inputs": (B,), "into": C},
    }
    return case


def test_a_second_run_executes_nothing_and_says_from_which_run_things_are(case: Case) -> None:
    first = case.run()
    second = case.run()
    assert (first.executed, second.executed) == (["stage", "add", "report"], [])
    assert {d.record.success.run_id for d in second.decisions.values() if d.record} == {first.plan.run_id}


@pytest.mark.parametrize(
    ("change", "reasons"),
    [
        ({"modify": X}, {"stage": f"input {X} changed", "add": "upstream stage will run"}),
        ({"modify": A}, {"stage": f"table {A} was modified outside"}),
        ({"drop": A}, {"stage": f"table {A} was deleted outside"}),
        ({"modify": B}, {"report": f"input {B} changed"}),
        ({"modify": C}, {"report": f"table {C} was modified outside"}),
        ({"stage": {"salt": "2"}}, {"stage": "field changed: salt"}),
        ({"report": {"cache": False}}, {"report": "its cache is switched off"}),
        ({"report": {"cache": timedelta(seconds=1)}}, {"report": "expired 2 h ago"}),
        ({"cache": False}, {"stage": "--no-cache", "report": "--no-cache"}),
        ({"only": ["report"]}, {"report": "named on the command line"}),
    ],
)
def test_the_reasons(case: Case, change: Mapping[str, Any], reasons: Mapping[str, str]) -> None:
    case.run()
    case.world.minutes += 120
    options: dict[str, Any] = {}
    for key, value in change.items():
        if key in case.steps:
            case.steps[key] |= value
        elif key == "modify":
            case.world.cloud.modify(str(value), 1)
        elif key == "drop":
            case.world.cloud.drop(str(value))
        else:
            options[key] = value
    assert case.why(**options).items() >= reasons.items()


def test_what_another_version_of_the_task_wrote_is_not_called_modified_outside(case: Case) -> None:
    case.run()
    case.steps["stage"]["salt"] = "2"
    case.run()
    case.steps["stage"]["salt"] = "1"
    assert case.why()["stage"] == "field changed: salt"
    # But where somebody else has written since, that is said
    case.world.cloud.modify(str(A), "foreign")
    assert case.why()["stage"] == f"table {A} was modified outside"


def test_chance_is_never_the_same(case: Case) -> None:
    case.steps["report"]["steady"] = False
    case.run()
    assert case.why() == {"report": "its SQL is not deterministic"}


def test_an_upstream_that_runs(case: Case) -> None:
    case.steps["copy"] = {"inputs": (A,), "into": Table(f"{P}.e")}
    case.run()
    case.steps["stage"]["salt"] = "2"
    assert case.why()["copy"] == "upstream stage will run"


def test_what_is_added_is_not_added_again_when_its_source_is_repaired_or_made_again(case: Case) -> None:
    case.run()
    case.world.cloud.modify(str(A), "foreign")
    assert case.run().executed == ["stage"]
    assert case.run(cache=False).executed == ["stage", "report"]
    case.world.cloud.modify(str(X), 1)
    assert case.run().executed == ["stage", "add", "report"]


def test_rows_of_others_are_told_and_left_alone(case: Case) -> None:
    case.run()
    case.world.cloud.modify(str(B), "foreign")
    drive = case.run()
    assert drive.executed == ["report"]
    assert drive.warnings == [f"table {B} was modified outside; its rows are left alone"]


def test_partitions_of_one_table_do_not_disturb_each_other(case: Case) -> None:
    case.steps = {f"p{i}": {"inputs": (X,), "into": part} for i, part in enumerate(PARTS)}
    assert case.run().executed == ["p0", "p1"]
    assert case.run().executed == []
    case.steps["p0"]["salt"] = "2"
    assert case.run().executed == ["p0"]
    assert case.run().executed == []


def test_a_run_that_died_half_way_through_a_chain_is_done_again(case: Case) -> None:
    case.steps = {"load": {"inputs": (X,), "into": A}, "more": {"into": A, "mode": "append"}}
    drive = Drive(case.world, case.plan(), fate=killed_at("load", "record"))
    with pytest.raises(Crash):
        drive.go()
    drive.settle()
    assert case.why()["load"] == f"run {drive.plan.run_id} did not finish what writes {A}"
    assert case.run().executed == ["load", "more"]
    assert case.run().executed == []


def test_a_task_that_left_the_dag_leaves_nothing_in_a_replaced_table(case: Case) -> None:
    case.steps = {"load": {"inputs": (X,), "into": A}, "more": {"into": A, "mode": "append"}}
    case.run()
    del case.steps["more"]
    assert case.why() == {"load": f"other tasks write {A} now, or in another order"}


def test_a_cluster_is_started_only_if_it_is_used_and_not_there(case: Case) -> None:
    cluster = Cluster("c")
    case.steps = {"start": {"starts": cluster}, **case.steps}
    case.steps["stage"]["needs"] = cluster
    case.edges = [("start", "stage")]
    assert set(case.run().executed) == {"start", "stage", "add", "report"}
    RUNNING.clear()
    assert case.why() == {}
    case.world.cloud.modify(str(X), 1)
    assert case.why()["start"] == "task stage, which uses it, will run"
    RUNNING.add(str(cluster))
    drive = case.run()
    assert "start" not in drive.executed
    assert drive.decisions["start"].reason == "is running"


def test_the_same_output_makes_the_same_task(case: Case) -> None:
    case.steps = {"number": {"plain": True, "salt": "7"}}
    case.steps["use"] = {"into": A}
    world = case.world

    def run() -> Drive:
        with DAG("outputs") as dag:
            number = Plain(task_id="number", salt=case.steps["number"]["salt"])
            Step(task_id="use", into=A, value=number.output)
        drive = Drive(world, plan(dag, load(Path.cwd())))
        drive.go()
        return drive

    run()
    again = run()
    assert again.first["use"] is Verdict.LATER
    assert again.executed == ["number"]
    case.steps["number"]["salt"] = "8"
    assert run().executed == ["number", "use"]


def test_python_tasks_ask_nobody(project: Path) -> None:
    class Nobody:
        def __getattr__(self, name: str) -> Any:
            raise AssertionError(name)

    with DAG("python") as dag:
        first = task(task_id="first")(lambda: 1)
        task(task_id="second")(lambda value: value)(first())
    reuse = Reuse(plan(dag, load(Path.cwd())), Nobody(), Nobody())
    assert {d.verdict for d in reuse.decide().values()} == {Verdict.RUN}
    assert not reuse.needs_observation("first")
    assert reuse.before("first") == {}
    assert reuse.record("first", 1, None, {}) == ()


def test_what_changes_while_a_task_runs_is_unknown_also_if_another_task_sees_it_first(case: Case) -> None:
    # Given two tasks that read the same, and began before it was changed
    case.steps["stage_too"] = {"inputs": (X,), "into": Table(f"{P}.e")}
    reuse = Reuse(case.plan(), case.world.records, case.world.cloud, clock=case.world.clock)
    reuse.decide()
    reuse.before("stage")
    reuse.before("stage_too")
    case.world.cloud.modify(str(X), "meanwhile")
    # When one ends after the other
    for task_id in ("stage_too", "stage"):
        case.world.records.put(reuse.record(task_id, 1, None, {}))
    # Then neither stands for what there is now
    why = case.why()
    assert why["stage"] == why["stage_too"] == f"cannot tell whether input {X} has changed"


def test_a_run_goes_on_although_it_has_itself_changed_what_a_cached_task_had_read(case: Case) -> None:
    # Given a task that reads what a later one adds to
    case.steps = {
        "look": {"inputs": (B,), "into": C},
        "add": {"inputs": (X,), "into": B, "mode": "append"},
        "last": {"inputs": (B, C), "into": A},
    }
    case.edges = [("look", "add")]
    case.run()
    case.run()
    case.world.cloud.modify(str(X), "new")
    drive = Drive(case.world, case.plan(), fate=killed_at("add", "record"))
    with pytest.raises(Crash):
        drive.go()
    assert drive.executed == ["add"]
    # When
    drive.fate = lambda task_id, moment: None
    drive.go()
    # Then
    assert (drive.executed, drive.abandoned) == (["add", "last"], False)


@pytest.fixture
def feedback(case: Case) -> Case:
    """b -> look (a), more (a, too); feed adds to b in between, of what it finds there. It has been edited."""
    case.steps = {
        "look": {"inputs": (B,), "into": A},
        "feed": {"inputs": (B, X), "into": B, "mode": "append"},
        "more": {"into": A, "mode": "append", "cache": timedelta(minutes=30)},
    }
    case.edges = [("feed", "more")]
    case.run()
    assert case.run().executed == ["look", "more"]
    case.steps["feed"]["salt"] = "edited"
    return case


def killed_after(case: Case, task_id: str) -> Drive:
    drive = Drive(case.world, case.plan(), fate=killed_at(task_id, "record"))
    with pytest.raises(Crash):
        drive.go()
    drive.fate = lambda task_id, moment: None
    return drive


def test_a_run_goes_on_although_it_has_changed_of_what_the_table_it_would_add_to_was_made(feedback: Case) -> None:
    # Given a table that was taken from an earlier run, and then a task that changed what it had been made of
    drive = killed_after(feedback, "feed")
    # Then that is for the next run, as it would have been
    assert drive.go()
    assert drive.executed == ["feed"]
    assert feedback.run().executed == ["look", "more"]


def test_a_run_goes_on_although_a_record_has_expired_since_it_began(feedback: Case) -> None:
    drive = killed_after(feedback, "feed")
    feedback.world.minutes += 60
    assert drive.go()
    assert drive.executed == ["feed"]


def test_a_run_goes_on_although_others_have_changed_what_it_had_looked_at(feedback: Case) -> None:
    feedback.steps["look"]["inputs"] = (B, X)
    assert feedback.run().executed == ["look", "feed", "more"]
    feedback.steps["feed"]["salt"] = "edited again"
    feedback.run()
    feedback.steps["feed"]["salt"] = "and again"
    drive = killed_after(feedback, "feed")
    assert drive.executed == ["look", "feed"]
    feedback.world.cloud.modify(str(X), "new")
    assert drive.go()
    assert feedback.run().executed == ["look", "feed", "more"]


def test_a_run_does_not_go_on_if_it_would_add_to_what_others_have_changed(feedback: Case) -> None:
    drive = killed_after(feedback, "feed")
    feedback.world.cloud.modify(str(A), "foreign")
    assert not drive.go()
    assert drive.abandoned
    assert drive.decisions["look"].reason == f"task more, which writes {A} too, will run"
    assert feedback.run().executed == ["look", "more"]


def test_what_a_task_moves_is_no_change_for_one_that_runs_beside_it(case: Case) -> None:
    # Given a task that reads one partition while another one writes the other
    case.world.cloud.modify(str(A), "old")
    case.steps = {
        "write": {"inputs": (X,), "into": PARTS[0]},
        "read": {"inputs": (PARTS[1],), "into": C},
    }
    reuse = Reuse(case.plan(), case.world.records, case.world.cloud, clock=case.world.clock)
    reuse.decide()
    for task_id in case.steps:
        reuse.before(task_id)
    # When
    for task_id, table in (("write", A), ("read", C)):
        case.world.cloud.modify(str(table), task_id)
        case.world.records.put(reuse.record(task_id, 1, None, {}))
    # Then
    assert case.why() == {}


def test_a_success_is_that_of_what_the_task_was_when_it_began(case: Case) -> None:
    # Given a task that began before its definition was changed
    reuse = Reuse(case.plan(), case.world.records, case.world.cloud, clock=case.world.clock)
    reuse.decide()
    reads = reuse.before("add")
    case.steps["add"]["salt"] = "2"
    # When it is known, to another process, that it has succeeded
    later = Reuse(case.plan(), case.world.records, case.world.cloud, clock=case.world.clock)
    later.restore("add", reads)
    case.world.records.put(later.record("add", 1, None, {}))
    # Then that stands for what it was, not for what it is
    assert case.why()["add"] == "never succeeded with these parameters"
    case.steps["add"]["salt"] = ""
    assert "never" not in case.why().get("add", "")


def test_an_outage_at_the_end_of_an_addition_leaves_a_record(case: Case) -> None:
    planned = case.plan()
    reuse = Reuse(planned, case.world.records, case.world.cloud, clock=case.world.clock)
    reuse.decide()
    (record,) = reuse.record("add", 1, None, {}, last=True)
    assert record.reads[f"table {A}"] == reuse.before("add")[f"table {A}"]
    (record,) = reuse.record("stage", 1, None, {}, last=True)
    assert record.reads == {f"table {X}": None}


def test_a_recorded_secret_cannot_stand_for_an_addition(case: Case) -> None:
    case.run()
    records = case.world.records
    records.put([replace(r, result=MASK) for r in records.all() if r.task_id in {"add", "stage"}])
    assert case.why() == {}
    with DAG("reuse", infer=True) as dag:
        steps = {task_id: Step(task_id=task_id, **fields) for task_id, fields in case.steps.items()}
        Step(task_id="user", value=steps["add"].output)
    with pytest.raises(DefinitionError, match="'add': its recorded result holds a secret, and to run it again"):
        Reuse(plan(dag, load(Path.cwd())), records, case.world.cloud).decide()


@pytest.fixture
def beside(case: Case) -> Case:
    """x -> write (one partition of a); the other one -> copy (b) -> add (c, accumulating)."""
    case.world.cloud.modify(str(A), "old")
    case.steps = {
        "write": {"inputs": (X,), "into": PARTS[0]},
        "copy": {"inputs": (PARTS[1],), "into": B},
        "add": {"inputs": (B,), "into": C, "mode": "append"},
    }
    case.run()
    case.world.cloud.modify(str(X), "new")
    return case


def test_what_was_made_of_another_partition_long_before_is_known_to_be_the_same(beside: Case) -> None:
    # When one partition is written again, and after it whatever need not add rows
    drive = beside.run(cache=False)
    # Then the other one has another version, but nothing new in it
    assert drive.executed == ["write", "copy"]
    assert beside.run().executed == []


def test_what_was_made_of_another_partition_is_the_same_also_after_a_crash(beside: Case) -> None:
    drive = Drive(beside.world, beside.plan(cache=False), fate=killed_at("write", "effect"))
    with pytest.raises(Crash):
        drive.go()
    drive.fate = lambda task_id, moment: None
    drive.go()
    assert drive.executed == ["write", "copy"]


def test_what_another_task_sees_of_a_partition_before_its_writer_ends_is_the_writers_doing(beside: Case) -> None:
    reuse = Reuse(beside.plan(), beside.world.records, beside.world.cloud, clock=beside.world.clock)
    reuse.decide()
    reuse.before("write")
    beside.world.cloud.modify(str(A), "written")
    reuse.decide_now("copy", {})
    beside.world.records.put(reuse.record("write", 1, None, {}))
    assert beside.why() == {}


def test_what_was_edited_and_edited_back_adds_nothing_so_the_rows_of_in_between_are_no_news(case: Case) -> None:
    # Given a task that adds what it finds in the table that it adds to, also as another one has added it
    case.steps = {
        "rows": {"into": A, "mode": "append", "salt": "1"},
        "more": {"inputs": (A,), "into": A, "mode": "append"},
    }
    case.run()
    case.steps["rows"]["salt"] = "2"
    assert case.run().executed == ["rows", "more"]
    # When
    case.steps["rows"]["salt"] = "1"
    # Then
    assert case.run().executed == []


@pytest.fixture
def forked(case: Case) -> Callable[[str], Drive]:
    """insert (b, accumulating) -> a branch -> arm (b too) or other; runs it with what the branch picks."""

    def run(picked: str) -> Drive:
        with DAG("forked") as dag:
            insert = Step(task_id="insert", inputs=(X,), into=B, mode="append")
            arm = Step(task_id="arm", inputs=(X,), into=B, mode="append")
            insert >> task.branch(task_id="pick")(lambda: None)() >> [arm, Step(task_id="other")]
        case.world.picks["pick"] = picked
        drive = Drive(case.world, plan(dag, load(Path.cwd())))
        drive.go()
        return drive

    return run


def test_what_comes_before_an_arm_that_is_skipped_is_finished(case: Case, forked: Callable[[str], Drive]) -> None:
    # Given a table that two tasks have written, and then only the first, as the second was skipped
    forked("arm")
    case.world.cloud.modify(str(X), "new")
    assert "arm" not in forked("other").executed
    # Then that was not somebody else
    assert forked("other").warnings == []
    # But this is
    case.world.cloud.modify(str(B), "foreign")
    assert forked("other").warnings == [f"table {B} was modified outside; its rows are left alone"]


def test_what_changes_before_an_arm_is_skipped_was_not_written_by_the_run(
    case: Case, forked: Callable[[str], Drive]
) -> None:
    perform = Drive._perform

    def meddle(drive: Drive, task_id: str) -> None:
        perform(drive, task_id)
        if task_id == "pick":
            case.world.cloud.modify(str(B), "foreign")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Drive, "_perform", meddle)
        forked("other")
    assert forked("other").warnings == [f"table {B} was modified outside; its rows are left alone"]


def test_what_a_failed_run_did_not_finish_is_not_said_to_be_changed_outside(case: Case) -> None:
    case.steps = {
        "first": {"inputs": (X,), "into": B, "mode": "append"},
        "second": {"inputs": (X,), "into": B, "mode": "append"},
    }
    case.run()
    case.world.cloud.modify(str(X), "new")
    drive = Drive(case.world, case.plan(), fate=lambda task_id, moment: "fail" if task_id == "second" else None)
    drive.go()
    assert drive.executed == ["first"]
    assert case.run().warnings == []


def test_a_run_goes_on_although_it_has_written_the_table_that_was_there(case: Case) -> None:
    # Given a table that is there, and a task that replaces what it holds, if its input has changed
    with DAG("reuse", infer=True) as dag:
        number = Plain(task_id="number")
        Step(task_id="create", into=A, mode="create")
        Step(task_id="load", inputs=(X,), into=A, value=number.output)
    Drive(case.world, plan(dag, load(Path.cwd()))).go()
    case.world.cloud.modify(str(X), "new")

    drive = Drive(case.world, plan(dag, load(Path.cwd())), fate=killed_at("load", "effect"))
    with pytest.raises(Crash):
        drive.go()
    # When
    drive.fate = lambda task_id, moment: None
    # Then
    assert drive.go()
    assert drive.executed == ["number", "load"]


def test_what_is_added_late_is_known_to_be_built_on_what_a_newer_run_has_made(case: Case) -> None:
    # Given a day whose rows were not added, and a newer run that made anew what they are taken from
    def day(number: int, **options: Any) -> Any:
        return case.plan(logical_date=START.replace(day=number), **options)

    def fails(task_id: str, moment: str) -> str | None:
        return "fail" if task_id == "add" else None

    failed = Drive(case.world, day(1), fate=fails)
    assert not failed.go()
    Drive(case.world, day(2)).go()
    Drive(case.world, day(2, cache=False)).go()
    # When what failed is tried again
    late = failed.again(day(1, run_id=failed.plan.run_id))
    assert late is not None
    late.go()
    assert "add" in late.executed
    # Then another run of that day adds nothing more, although it makes the same anew
    again = Drive(case.world, day(1, cache=False))
    again.go()
    assert again.executed == ["stage", "report"]


def test_a_run_that_is_tried_again_adds_nothing_to_what_newer_ones_have_added(case: Case) -> None:
    # Given a run that failed after it had added rows, and newer ones of what has been edited, and edited back
    case.steps = {
        "rows": {"into": A, "mode": "append", "salt": "1"},
        "stage": {"inputs": (X,), "into": C, "cache": False},
        "more": {"inputs": (A, C), "into": A, "mode": "append"},
    }
    failed = Drive(case.world, case.plan(), fate=lambda task_id, moment: "fail" if task_id == "more" else None)
    assert not failed.go()
    case.steps["rows"]["salt"] = "2"
    assert case.run().executed == ["rows", "stage", "more"]
    case.steps["rows"]["salt"] = "1"
    assert case.run().executed == ["stage"]
    # When it is tried again
    late = failed.again(case.plan(run_id=failed.plan.run_id))
    assert late is not None
    assert late.go()
    # Then nothing is new
    assert late.executed == []


def test_nor_does_it_if_what_comes_before_is_never_cached(case: Case) -> None:
    # Given a run whose last task failed, and a newer one that did all
    case.steps = {
        "rows": {"plain": True, "into": A, "mode": "replace", "inputs": (A,)},
        "more": {"inputs": (A,), "into": A, "mode": "append"},
    }
    failed = Drive(case.world, case.plan(), fate=lambda task_id, moment: "fail" if task_id == "more" else None)
    assert not failed.go()
    assert case.run().executed == ["rows", "more"]
    # When the first one is tried again
    late = failed.again(case.plan(run_id=failed.plan.run_id))
    assert late is not None
    assert late.go()
    # Then what it had added was there already when the newer one took it
    assert late.executed == []


def test_what_was_replaced_when_another_task_begins_to_add_to_it_is_added_once(case: Case) -> None:
    # Given a task that replaced a part of a table, until another one was to add to the table, and edited since
    case.steps = {
        "part": {"into": PARTS[0], "salt": "1"},
        "add": {"inputs": (A,), "into": C, "mode": "append"},
    }
    case.run()
    case.steps = {"rows": {"into": A, "mode": "append"}, **case.steps}
    case.run()
    case.steps["part"]["salt"] = "2"
    assert case.run().executed == ["part", "add"]
    # When it is edited back
    case.steps["part"]["salt"] = "1"
    case.world.cloud.modify(str(A), "foreign")
    # Then it stays as it is, and so does what was made of it
    assert case.run().executed == []


def test_to_make_sure_of_a_table_is_nothing_new_even_if_it_is_never_the_same(case: Case) -> None:
    case.steps = {
        "load": {"inputs": (X,), "into": A},
        "create": {"into": A, "mode": "create", "steady": False},
        "report": {"inputs": (A,), "into": B},
        "add": {"inputs": (B,), "into": C, "mode": "append"},
    }
    case.run()
    assert case.run().executed == ["load", "create", "report"]


def test_what_a_killed_run_moved_is_known_once_that_run_is_settled(beside: Case) -> None:
    # Given a run that was killed while it wrote one partition
    drive = Drive(beside.world, beside.plan(cache=False), fate=killed_at("write", "effect"))
    with pytest.raises(Crash):
        drive.go()
    # When another one waits for its jobs, and records what came of them
    drive.settle()
    # Then what was made of the other partition still counts
    assert beside.why() == {}


def test_the_newest_success_is_known_although_the_clock_has_gone_back(case: Case) -> None:
    case.run()
    case.steps["stage"]["salt"] = "2"
    case.world.minutes -= 60
    last = case.run()
    newest = case.world.records.newest("reuse", "local", ["stage", "add"])
    assert {record.success.run_id for record in newest.values()} == {last.plan.run_id}


def test_making_a_table_adds_no_rows(case: Case) -> None:
    case.steps["create"] = {"into": B, "mode": "create"}
    case.run()
    assert {r.task_id for r in case.world.records.all() if r.accumulating} == {"add"}


@pytest.mark.parametrize("resumed", [True, False])
def test_what_is_added_from_one_partition_is_not_added_again_while_another_one_is_written(
    beside: Case, resumed: bool
) -> None:
    # Given a task that adds what it finds in one partition, decided about while the other one is written
    beside.steps["copy"]["mode"] = "append"
    beside.run()
    beside.world.cloud.modify(str(X), "newer")
    drive = Drive(beside.world, beside.plan(), fate=killed_at("write", "effect"))
    reuse = Reuse(drive.plan, beside.world.records, beside.world.cloud, clock=beside.world.clock)
    reuse.decide()
    reuse.before("write")
    with pytest.raises(Crash):
        drive.go()
    if resumed:
        drive.fate = lambda task_id, moment: None
        drive.go()
        assert drive.executed == ["write"]
    else:
        assert reuse.decide_now("copy", {}).verdict is Verdict.CACHED


def test_a_run_goes_on_although_what_is_left_of_a_table_is_to_make_sure_that_it_is_there(case: Case) -> None:
    # Given a cached task that has read what a later one adds to, and a third one that makes the same table if need be
    case.steps = {
        "look": {"inputs": (B,), "into": C},
        "add": {"inputs": (X,), "into": B, "mode": "append"},
        "create": {"into": C, "mode": "create"},
    }
    case.edges = [("look", "add"), ("add", "create")]
    case.run()
    case.run()
    case.world.cloud.modify(str(X), "new")
    drive = Drive(case.world, case.plan(), fate=killed_at("add", "record"))
    with pytest.raises(Crash):
        drive.go()
    # When
    drive.fate = lambda task_id, moment: None
    # Then
    assert drive.go()
