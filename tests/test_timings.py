"""What tasks took in earlier runs, read from each kind of database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pydag_gcp import database
from pydag_gcp.states import TaskState
from pydag_gcp.store import Store
from pydag_gcp.timings import Timings

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


@pytest.mark.parametrize("at_once", [1, 2, 7, 1000])
def test_it_does_not_matter_how_many_rows_are_read_at_a_time(
    store: Store, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_SOME", at_once)
    for place in range(7):
        took(store, "run1", f"t{place}", place)
        took(store, "run0", f"t{place}", place + 0.5)
    assert store.durations("dag", "local") == {f"t{place}": place + 0.25 for place in range(7)}
    assert store.durations("dag", "local", enough=7) == {f"t{place}": float(place) for place in range(7)}


def test_tries_that_took_the_same_count_each(store: Store) -> None:
    for number, seconds in enumerate([0, -1, 0, 3, 3], start=1):  # a clock may be set back
        took(store, "run1", "t", seconds, number)
    store.settled()
    known = Timings()
    known.add(store.database, "run1", most=9)
    assert (known.tries, known.medians()) == (5, {"t": 0.0})
    assert store.durations("dag", "local") == {"t": 0.0}
    took(store, "run0", "t", 3)
    assert store.durations("dag", "local") == {"t": 1.5}
