"""How tasks ended, be it with a try or without: the same to whoever reads it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from pydag_gcp.states import TaskState
from pydag_gcp.store import Store
from pydag_gcp.tables import tasks

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
GOOD, BAD, CACHED = TaskState.SUCCESS, TaskState.FAILED, TaskState.CACHED


def at(second: int) -> datetime:
    return NOW + timedelta(seconds=second)


def start(store: Store, run_id: str) -> None:
    store.start_run(
        run_id=run_id, dag_id="dag", target="local", logical_date=NOW, definition={}, pid=1, host="h", at=NOW
    )


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A store of each kind, with a run."""
    sqlite = f"sqlite:///{tmp_path / 'pydag.db'}"
    with Store(sqlite if request.param == "sqlite" else request.getfixturevalue("postgresql_url")) as store:
        start(store, "r")
        yield store


def test_a_task_that_ends_with_a_try_takes_one_row(store: Store) -> None:
    for task_id in ("failed_later", "good"):
        store.start_try("r", task_id, 1, job_id=None, at=at(0))
    store.settled()  # so that one row is there before, the other is new
    store.start_try("r", "new", 1, job_id=None, at=at(0))
    store.end_task("r", "failed_later", BAD, error="nul \0", at=at(3), reason="b\0", try_number=1)
    store.end_task("r", "new", GOOD, at=at(2), try_number=1)
    store.end_task("r", "good", GOOD, result={"rows": 7}, at=at(1), reason="SQL changed", try_number=1)
    empty: dict[str, Any] = {"run_id": "r", "error": None, "reason": None, "cached_from": None, "result": "null"}
    assert store.tasks("r") == [
        {**empty, "task_id": "good", "state": "success", "ended": at(1).isoformat()}
        | {"result": '{"rows": 7}', "reason": "SQL changed"},
        {**empty, "task_id": "new", "state": "success", "ended": at(2).isoformat()},
        {**empty, "task_id": "failed_later", "state": "failed", "ended": at(3).isoformat()}
        | {"error": r"nul \x00", "reason": r"b\x00"},
    ]
    assert store.database.read(sa.select(tasks)) == []
    assert {"result", "reason"}.isdisjoint(store.tries("r")[0])


def test_a_try_that_failed_is_no_end_of_its_task(store: Store) -> None:
    store.start_try("r", "a", 1, job_id=None, at=at(0))
    store.end_try("r", "a", 1, BAD, error="busy", at=at(1))
    assert store.tasks("r") == []
    store.end_task("r", "a", TaskState.CANCELLED, at=at(2))  # while it waited for its next try
    assert [(row["state"], row["error"]) for row in store.tasks("r")] == [("cancelled", None)]
    assert [(row["state"], row["error"]) for row in store.tries("r")] == [("failed", "busy")]


def test_the_newest_success_is_found_however_it_ended(store: Store) -> None:
    def newest() -> Any:
        row = store.last_result("dag", "local", "a")
        return row and json.loads(row["result"])

    for number, run_id in enumerate(["r1", "r2", "r3"], start=1):
        start(store, run_id)
        store.start_try(run_id, "a", 1, job_id=None, at=at(0))
        store.end_task(run_id, "a", BAD if run_id == "r3" else GOOD, result=run_id, at=at(number), try_number=1)
    assert newest() == "r2"
    store.end_task("r1", "a", CACHED, result="again", at=at(5), cached_from="r2")
    assert newest() == "again"
    # What a run no longer stands for is not taken for what it came to
    store.end_task("r1", "a", BAD, at=at(6))
    assert newest() == "r2"
    store.forget_task("r2", "a")
    assert newest() is None


def test_a_task_cannot_have_been_cached_and_tried(store: Store) -> None:
    with pytest.raises(ValueError, match="'a' cannot have ended with a try"):
        store.end_task("r", "a", CACHED, at=at(1), cached_from="r0", try_number=1)


# as if there were one row for each task ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def quick() -> Iterator[Store]:
    """A store that does not wait for the disk, which takes all the time."""
    with tempfile.TemporaryDirectory() as folder, Store(f"sqlite:///{folder}/pydag.db") as store:
        sa.event.listen(store.database._engine, "connect", lambda raw, _: raw.execute("PRAGMA synchronous=OFF"))
        store.database.close()
        yield store


steps = st.lists(
    st.tuples(
        st.sampled_from(["try", "end", "end alone", "forget", "settle"]), st.sampled_from("ab"), st.integers(0, 2)
    ),
    max_size=20,
)
numbers = count()


@settings(max_examples=50, deadline=None)
@given(steps=steps)
def test_a_task_ended_as_it_did_last_unless_that_was_taken_back(
    quick: Store, steps: list[tuple[str, str, int]]
) -> None:
    run_id, tries, known = f"run{next(numbers)}", dict.fromkeys("ab", 0), dict[str, tuple[str, str, str]]()
    start(quick, run_id)
    for moment, (what, task_id, which) in enumerate(steps):
        state, said = (GOOD, BAD, TaskState.CANCELLED)[which], str(moment)
        number = tries[task_id] if what == "end" else None
        if what == "settle":
            quick.settled()
        elif what == "forget":
            quick.forget_task(run_id, task_id)
            known.pop(task_id, None)
        elif what == "try" or number == 0:
            tries[task_id] += 1
            quick.start_try(run_id, task_id, tries[task_id], job_id=None, at=at(moment))
        else:
            quick.end_task(run_id, task_id, state, result=moment, at=at(moment), reason=said, try_number=number)
            known.pop(task_id, None)  # for the order
            known[task_id] = (state.value, said, said)
    found = [(row["task_id"], (row["state"], row["result"], row["reason"])) for row in quick.tasks(run_id)]
    assert found == list(known.items())
    assert len(quick.tries(run_id)) == sum(tries.values())
