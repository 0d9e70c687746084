"""What a rehearsal came to, in a table, a line and a document."""

from __future__ import annotations

import io

import pytest

from pydag_gcp.rehearsal.boundary import Boundary
from pydag_gcp.rehearsal.disturbance import DISTURBANCES
from pydag_gcp.rehearsal.rehearser import Choice, Rehearsal, Round
from pydag_gcp.rehearsal.report import print_report, print_round, to_json

INSERT = Boundary(method="bigquery.jobs.insert", task="load")
GET = Boundary(method="bigquery.jobs.get", task="load", over=True)
KILL = DISTURBANCES[-1]


def _rehearsal(*rounds: Round) -> Rehearsal:
    return Rehearsal(dag_id="sales", boundaries=(INSERT, GET), rounds=rounds, warnings=("w",), seconds=3.0)


def _printed(rehearsal: Rehearsal, encoding: str = "utf-8") -> str:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    print_report(rehearsal, stream)
    stream.flush()
    return stream.buffer.getvalue().decode(encoding)


GOOD = [Round(boundary=boundary, disturbance=found) for boundary, found in Choice().rounds([INSERT, GET])]


def test_all_ticks() -> None:
    printed = _printed(_rehearsal(*GOOD))

    assert printed.count("✓") == len(GOOD) + 1  # the legend
    assert "✗" not in printed.replace("✗ different", "")
    assert (
        printed.splitlines()[-1]
        == "sales: 11 rounds at 2 calls in 3.0 s: each came to what an undisturbed run comes to"
    )


def test_a_difference_is_shown_and_told() -> None:
    bad = Round(boundary=INSERT, disturbance=KILL, differences=tuple(f"table t{n} is missing" for n in range(7)))
    lines = _printed(_rehearsal(*GOOD[:-1], bad)).splitlines()

    assert "load bigquery.jobs.insert, process killed after the call, before the answer:" in lines
    assert "  table t0 is missing" in lines
    assert "  ... and 2 more" in lines
    assert lines[-1].endswith(": 1 did not come to what an undisturbed run comes to")


def test_a_call_that_was_not_reached_is_no_tick() -> None:
    rehearsal = _rehearsal(Round(boundary=INSERT, disturbance=KILL, reached=False))

    assert "✓" not in _printed(rehearsal).replace("✓ as", "")
    assert ", 1 not reached" in _printed(rehearsal)


def test_where_there_are_no_ticks_there_are_words() -> None:
    assert " ok " in _printed(_rehearsal(*GOOD), encoding="ascii")


def test_the_document_has_every_round() -> None:
    document = to_json(_rehearsal(*GOOD))

    assert document["differing"] == 0
    assert document["rounds"][0] == {
        "call": "bigquery.jobs.insert",
        "about": "load",
        "disturbance": "429",
        "reached": True,
        "differences": [],
    }


def test_progress_is_a_line_a_round() -> None:
    stream = io.StringIO()
    print_round(GOOD[0], 1, 11, stream)
    assert stream.getvalue() == "round 1 of 11: load bigquery.jobs.insert, refused: too many requests: the same\n"


@pytest.mark.parametrize(
    ("choice", "rounds"),
    [
        (Choice(), 7 + 4),
        (Choice(boundaries=["at the end"]), 4),
        (Choice(boundaries=["load*insert"]), 7),
        (Choice(disturbances=["kill-after"]), 1),
        (Choice(boundaries=["clean"]), 0),
    ],
)
def test_rounds_can_be_chosen(choice: Choice, rounds: int) -> None:
    assert len(choice.rounds([INSERT, GET])) == rounds
