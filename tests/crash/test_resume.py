"""`pydag resume` after kills at random moments: what the run leaves is what an undisturbed one leaves.

PYDAG_TEST_KILLS says how many runs are killed, PYDAG_TEST_SEED repeats their moments.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from tests.crash.chaos import Chaos, assert_nothing_open, assert_one_effect, rounds, seed, timed
from tests.crash.conftest import FACT, ROWS
from tests.crash.project import Project

ROUNDS = rounds("PYDAG_TEST_KILLS", 1)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120 + 60 * ROUNDS)]

#: What a run executes that takes nothing from the cache; create_log is of a chain that accumulates, and is done.
TASKS = {"append", "create", "export", "fact", "insert", "load", "note"}
ADDED = 10


def begin(project: Project, number: int) -> tuple[str, ...]:
    """Put the input of a round into its bucket; return the command that takes it in."""
    project.put(f"input/round-{number}.csv", "".join(f"{number},{n}\n" for n in range(ADDED)))
    return ("run", "busy.py", "--param", f"round={number}", "--no-cache")


def outcome(project: Project, number: int) -> dict[str, Any]:
    """All that a round has left."""
    tables = {table: project.rows(f"busy_{table}") for table in ("loaded", "replaced", "fact")}
    added = {table: [n for other, n in project.rows(f"busy_{table}") if other == number] for table in ("log", "rounds")}
    fact = (Path(project.endpoints().buckets) / "output" / "fact.csv").read_bytes()
    return {**tables, **added, "export": fact}


def test_runs_killed_at_random_end_as_undisturbed_ones(busy: Project) -> None:
    # Given what an undisturbed run leaves
    chance = random.Random(seed())
    chaos = Chaos(project=busy, chance=chance, seconds=timed(lambda: busy.pydag(*begin(busy, 0))))
    expected = outcome(busy, 0)
    assert expected["fact"] == FACT
    assert expected["log"] == list(range(ROWS))
    for number in range(1, ROUNDS + 1):
        # When a run, or the local cloud, or both are killed at random, again and again, and the run is resumed
        run_id = chaos.survive(*begin(busy, number))
        # Then it leaves the same, each of its jobs took effect once, and nothing is left open
        assert outcome(busy, number) == expected, chaos.story
        assert busy.succeeded(run_id) == TASKS
        assert_one_effect(busy, run_id, TASKS)
        assert_nothing_open(busy)
    # And `until pydag resume; do :; done` comes to an end
    assert busy.pydag("resume").code == 0
