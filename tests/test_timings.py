"""What tasks took in earlier runs, read from each kind of database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pydag_gcp.states import TaskState
from pydag_gcp.store import Store

NOW = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A store of each kind, with two runs."""
    sqlite = f"sqlite:///{tmp_path / 'pydag.db'}"
    with Store(sqlite if request.param == "sqlite" else request.getfixturevalue("postgresql_url")) as store:
        for number in (0, 1):
            store.start_run(
                run_id=f"run{number}",
                dag_id="dag",
                target="local",
                logical_date=NOW,
                definition={},
                pid=1,
                host="h",
                at=NOW + timedelta(days=number),
            )
        yield store


def took(store: Store, run_id: str, task_id: str, seconds: float, number: int = 1) -> None:
    store.start_try(run_id, task_id, number, job_id=None, at=NOW)
    store.end_try(run_id, task_id, number, TaskState.SUCCESS, error=None, at=NOW + timedelta(seconds=seconds))


def test_what_a_task_took_is_known_to_the_millisecond(store: Store) -> None:
    known = {"nothing": 0.0, "a\"b\\c'd": 0.001, "short": 0.25, "long": 100 * 86400.5}
    for task_id, seconds in known.items():
        took(store, "run1", task_id, seconds)
    took(store, "run1", "shorter", 0.0001)
    assert store.durations("dag", "local", enough=1) == {**known, "shorter": 0.0}


def test_of_two_runs_the_one_in_the_middle_counts(store: Store) -> None:
    for place in range(7):
        took(store, "run1", f"t{place}", place)
        took(store, "run0", f"t{place}", place + 0.5)
    assert store.durations("dag", "local") == {f"t{place}": place + 0.25 for place in range(7)}
    assert store.durations("dag", "local", enough=7) == {f"t{place}": float(place) for place in range(7)}


def test_tries_that_took_the_same_count_each(store: Store) -> None:
    for number, seconds in enumerate([0, -1, 0, 3, 3], start=1):  # a clock may be set back
        took(store, "run1", "t", seconds, number)
    assert store.durations("dag", "local") == {"t": 0.0}
    assert store.durations("dag", "local", enough=5) == {"t": 0.0}
    took(store, "run0", "t", 3)
    assert store.durations("dag", "local", enough=5) == {"t": 0.0}
    assert store.durations("dag", "local", enough=6) == {"t": 1.5}
