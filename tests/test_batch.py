"""What is written in one transaction comes to what each change by itself would have come to."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from pydag_gcp.batch import Batch, Change, Inserts, storable
from pydag_gcp.states import RunState, TaskState
from pydag_gcp.store import Store
from pydag_gcp.tables import records, runs, tasks, tries
from tests.test_bulk import statements

NOW = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
RUN = {
    "run_id": "r",
    "dag_id": "d",
    "target": "local",
    "state": "running",
    "logical_date": NOW.isoformat(),
    "definition": "{}",
    "pid": 1,
    "host": "h",
    "started": NOW.isoformat(),
}

ids = st.sampled_from(["a", "b"])
states = st.sampled_from([TaskState.SUCCESS, TaskState.FAILED])
texts = st.sampled_from([None, "boom"])
moments = st.integers(0, 3_000_000).map(lambda passed: NOW + timedelta(microseconds=passed))


@st.composite
def stories(draw: st.DrawFn) -> list[Change]:
    """What may happen to the tries and tasks of a run, in an order that is possible."""
    begun: dict[str, int] = {}
    story: list[Change] = []
    for _ in range(draw(st.integers(0, 25))):
        task_id = draw(ids)
        number = begun.get(task_id, 0)
        what = draw(
            st.sampled_from(["start", "submit", "end_try", "end_with_try", "end_task", "forget", "run", "record"])
        )
        if what == "start" or (not number and what in ("submit", "end_try", "end_with_try")):
            begun[task_id] = number + 1
            job_id = draw(st.sampled_from([None, "pydag-1"]))
            values: tuple[Any, ...] = ("r", task_id, number + 1, job_id, draw(moments), draw(texts))
            story.append((Batch.start_try, values))
        elif what == "submit":
            story.append((Batch.submit_try, ("r", task_id, number, "{}", draw(moments))))
        elif what == "end_try":
            story.append((Batch.end_try, ("r", task_id, number, draw(states), draw(texts), draw(moments))))
        elif what == "end_with_try":
            values = ("r", task_id, draw(st.integers(1, number)), draw(states), "1", draw(texts), draw(moments))
            story.append((Batch.end_with_try, (*values, draw(texts))))
        elif what == "end_task":
            values = ("r", task_id, draw(states), "1", draw(texts), draw(moments), draw(texts), draw(texts))
            story.append((Batch.end_task, values))
        elif what == "forget":
            story.append((Batch.forget_task, ("r", task_id)))
        elif what == "run":
            state = draw(st.sampled_from(list(RunState)))
            story.append((Batch.change_run, ("r", {"state": state.value, "error": draw(texts)})))
        else:
            key = ("d", "local", task_id, "f", "")
            story.append((Batch.put_record, (key, (*key, draw(moments).isoformat(), draw(st.booleans()), "{}"))))
    return story


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with tempfile.TemporaryDirectory() as folder, Store(f"sqlite:///{folder}/pydag.db") as store:
        # Not a promise that this test is about, and it takes all the time
        sa.event.listen(store.database._engine, "connect", lambda raw, _: raw.execute("PRAGMA synchronous=OFF"))
        store.database.close()
        yield store


def outcome(store: Store, batches: list[list[Change]]) -> list[set[tuple[Any, ...]]]:
    """All rows after some transactions, from an empty database on."""
    for table in (tasks, tries, records, runs):
        store.database.write(table.delete())
    inserts = Inserts(store.database)
    first: list[Change] = [(Batch.start_run, (RUN,))]
    for changes in (first, *batches):
        store.database.transact(partial(Batch(changes).execute, inserts=inserts))
    return [{tuple(row) for row in store.database.rows(sa.select(table))} for table in (runs, tries, tasks, records)]


@settings(max_examples=60, deadline=None)
@given(story=stories(), cuts=st.sets(st.integers(0, 25)))
def test_however_changes_are_put_together_they_come_to_the_same(
    store: Store, story: list[Change], cuts: set[int]
) -> None:
    places = [0, *sorted(cut for cut in cuts if cut < len(story)), len(story)]
    together = [story[begin:end] for begin, end in pairwise(places)]
    assert outcome(store, together) == outcome(store, [[change] for change in story])


def test_a_task_that_begins_and_ends_with_a_try_is_one_row(store: Store) -> None:
    outcome(store, [])
    sent = statements(store.database)
    batch = Batch()
    for task_id in ("a", "b", "c", "d"):
        batch.start_try(("r", task_id, 1, None, NOW, None))
        batch.end_with_try(("r", task_id, 1, TaskState.SUCCESS, "null", None, NOW, None))
    store.database.transact(partial(batch.execute, inserts=Inserts(store.database)))
    assert [text.split(" (")[0] for text in sent] == ["BEGIN IMMEDIATE", "INSERT INTO tries"]


@pytest.mark.parametrize(
    ("text", "stored"), [(None, None), ("", ""), ("ÿ 日本", "ÿ 日本"), ("a\0b", r"a\x00b"), ("\udc80", r"\udc80")]
)
def test_text_that_a_database_would_refuse_is_spelt_out(text: str | None, stored: str | None) -> None:
    assert storable(text) == stored
