"""Tasks that add rows for a logical date: whatever was run in between, for other dates too, adds none of them again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pydag_gcp.dag import DAG
from pydag_gcp.function import task
from pydag_gcp.planner import plan
from pydag_gcp.record import Record
from pydag_gcp.resources import Table
from pydag_gcp.settings import load
from tests.reuse_cloud import P, Step
from tests.reuse_model import START, Drive, World
from tests.test_reuse import Case

X, A, B, C = (Table(f"{P}.{name}") for name in "xabc")
#: Every other run of the task that is edited: day of the month, and what it is then.
Runs = Sequence[tuple[int, str]]


@pytest.fixture
def case(project: Path) -> Case:
    """create, rows, more: they make a, add to it, and add to it what they find there; far adds that to b, last to c."""
    case = Case()
    case.world.cloud.modify(str(X), 0)
    case.steps = {
        "create": {"into": A, "mode": "create"},
        "rows": {"inputs": (X,), "into": A, "mode": "append", "salt": "1", "cache": timedelta(minutes=30)},
        "more": {"inputs": (A,), "into": A, "mode": "append"},
        "far": {"inputs": (A,), "into": B, "mode": "append"},
        "last": {"inputs": (B,), "into": C, "mode": "append", "cache": timedelta(minutes=30)},
    }
    return case


def day(case: Case, number: int, salt: str, **options: Any) -> list[str]:
    """Run for a day, with ``rows`` being this; tell what was executed."""
    case.steps["rows"]["salt"] = salt
    return case.run(logical_date=START.replace(day=number), **options).executed


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize(
    "between",
    [
        [(1, "2")],
        [(2, "2")],
        [(1, "2"), (2, "2")],
        [(2, "2"), (1, "2"), (3, "2")],
        [(1, "2"), (2, "3"), (1, "3"), (3, "1"), (2, "1")],
    ],
    ids=str,
)
def test_what_is_edited_back_after_runs_of_other_dates_adds_nothing(case: Case, between: Runs, *, cache: bool) -> None:
    # Given a day that is taken in, and runs of an edited task, for that day and for others
    assert day(case, 1, "1") == ["create", "rows", "more", "far", "last"]
    for number, salt in between:
        day(case, number, salt)
    case.world.minutes += 120
    # Then the first day has its rows, and so has each other one
    for number, salt in [(1, "1"), *between]:
        assert day(case, number, salt, cache=cache) == []


@pytest.mark.parametrize("between", [[(2, "1")], [(2, "2")], [(1, "2"), (2, "2")]], ids=str)
def test_a_source_that_has_changed_is_added_once_more_for_each_date(case: Case, between: Runs) -> None:
    day(case, 1, "1")
    for number, salt in between:
        day(case, number, salt)
    case.world.cloud.modify(str(X), "new")
    assert day(case, 1, "1") == ["rows", "more", "far", "last"]
    assert day(case, 1, "1") == []


def test_what_was_dropped_after_runs_of_other_dates_is_made_but_not_filled_again(case: Case) -> None:
    for number, salt in [(1, "1"), (1, "2"), (2, "2")]:
        day(case, number, salt)
    case.world.cloud.drop(str(A))
    assert day(case, 1, "1") == ["create"]


def test_a_task_of_which_it_is_not_known_what_it_reads_adds_nothing_again_for_a_date_either(case: Case) -> None:
    def run(number: int, salt: str) -> list[str]:
        with DAG("blind") as dag:
            Step(task_id="add", into=A, mode="append", salt=salt, blind=True, cache=True)
        drive = Drive(case.world, plan(dag, load(Path.cwd()), logical_date=START.replace(day=number)))
        drive.go()
        return drive.executed

    runs = [(1, "1"), (2, "1"), (1, "2"), (2, "2")]
    assert [run(*one) for one in runs] == [["add"]] * 4
    # Then
    assert [run(*one) for one in runs] == [[]] * 4


def test_nor_does_it_after_something_that_has_failed_again(case: Case) -> None:
    # Given one that runs also if what is before it fails
    def run(*fails: str) -> list[str]:
        with DAG("blind") as dag:
            add = Step(task_id="add", into=A, mode="append", blind=True, cache=True, trigger_rule="all_done")
            Step(task_id="before", inputs=(X,), into=B, cache=False) >> add
        drive = Drive(
            case.world,
            plan(dag, load(Path.cwd())),
            fate=lambda task_id, moment: "fail" if task_id in fails and moment == "start" else None,
        )
        drive.go()
        return drive.executed

    assert run("before") == ["add"]
    # Then it does not, until that succeeds
    assert run("before") == []
    assert run() == ["before", "add"]


def test_what_an_arm_added_that_is_skipped_this_time_is_that_of_the_date(project: Path) -> None:
    # Given a branch, one of whose arms adds rows, and a task that adds what is then there to another table
    world = World()

    def run(number: int, picked: str, salt: str) -> list[str]:
        with DAG("forked") as dag:
            arm = Step(task_id="arm", into=A, mode="append")
            add = Step(task_id="add", inputs=(A,), into=B, mode="append", trigger_rule="none_failed", salt=salt)
            task.branch(task_id="pick")(lambda: None)() >> [arm, Step(task_id="other")]
            arm >> add
        world.picks["pick"] = picked
        drive = Drive(world, plan(dag, load(Path.cwd()), logical_date=START.replace(day=number)))
        drive.go()
        return [task_id for task_id in drive.executed if task_id in ("arm", "add")]

    assert run(1, "arm", "1") == ["arm", "add"]
    assert run(2, "arm", "1") == ["arm", "add"]
    # When the task behind it is edited, and run for the first day without the arm
    assert run(1, "other", "1") == []
    assert run(1, "other", "2") == ["add"]
    assert run(3, "arm", "2") == ["arm", "add"]
    # Then it has added what the arm had added for that day
    assert run(1, "arm", "2") == run(1, "arm", "1") == run(2, "arm", "1") == []


@pytest.fixture
def asked(case: Case, monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """For which dates newest records are asked for."""
    dates: list[str | None] = []
    newest: Callable[..., dict[str, Record]] = case.world.records.newest

    def noted(*which: Any, date: str | None = None) -> dict[str, Record]:
        dates.append(date)
        return newest(*which, date=date)

    monkeypatch.setattr(case.world.records, "newest", noted)
    return dates


def test_nobody_asks_by_date_where_the_newest_records_are_of_that_date(case: Case, asked: list[str | None]) -> None:
    day(case, 1, "1")
    day(case, 1, "1")
    assert set(asked) == {None}
    day(case, 2, "1")
    assert START.replace(day=2).isoformat() in asked
