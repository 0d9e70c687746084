"""Tasks that read a table which others write after them, whether or not any has before."""

from __future__ import annotations

from pathlib import Path

import pytest

from pydag_gcp.resources import Table
from tests.reuse_cloud import P
from tests.reuse_model import Drive
from tests.test_reuse import Case

X, A, B = (Table(f"{P}.{name}") for name in "xab")


@pytest.fixture
def case(project: Path) -> Case:
    """first makes b, look makes a of it, whatever has become of first, and over adds x to b."""
    case = Case()
    case.world.cloud.modify(str(X), 0)
    case.steps = {
        "first": {"into": B},
        "look": {"inputs": (B,), "into": A, "trigger_rule": "all_done"},
        "over": {"inputs": (X,), "into": B, "mode": "append"},
    }
    case.edges = [("first", "over")]
    return case


def test_a_task_that_has_looked_although_nothing_was_made_for_it_looks_again(case: Case) -> None:
    # Given one that found what the run before had left, as the task that should have made it anew had failed
    case.run()
    case.steps["look"]["salt"] = "edited"
    drive = Drive(case.world, case.plan(), fate=lambda *now: "fail" if now == ("first", "start") else None)
    assert not drive.go()
    assert drive.executed == ["look"]
    # Then
    assert case.run().executed == ["first", "look", "over"]


def test_what_was_made_of_the_rows_that_a_task_has_added_is_new_input_to_it_each_time(case: Case) -> None:
    # Given a table that is made of those rows before the task adds to them what it finds there
    case.edges = []
    case.steps = {
        "stage": {"inputs": (B,), "into": A},
        "add": {"inputs": (A,), "into": B, "mode": "append"},
    }
    assert [case.run().executed for _ in range(3)] == [["stage", "add"]] * 3
    # But where that table stays as it is, nothing is added, although the rows are others
    case.steps["stage"] = {"inputs": (X,), "into": A}
    assert case.run().executed == ["stage", "add"]
    case.world.cloud.modify(str(B), "foreign")
    assert case.run().executed == case.run(cache=False).executed[1:] == []
