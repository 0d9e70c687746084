"""Records: the same rules wherever they are kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pydag_gcp.cache import SharedRecords
from pydag_gcp.record import Record, Records, Success
from pydag_gcp.store import Store

NOW = datetime(2026, 1, 2, tzinfo=UTC)
RECORD = Record(
    dag_id="dag",
    target="local",
    task_id="a",
    fingerprint="f1",
    parts={"SQL sql/a.sql": "12ab"},
    date="",
    success=Success(run_id="run1", try_number=2),
    at=NOW,
    reads={"table p.d.t": "1", "object gs://b/n": None},
    upstream={"x": Success(run_id="run0", try_number=1), "y": None},
    writes={"table p.d.u": "7", "table p.d.v": None},
    result={"rows": 7, "text": "nul \0, half \udc80, 日本"},
    accumulating=False,
    expires=NOW + timedelta(hours=1),
)

versions = st.dictionaries(st.text(max_size=5), st.none() | st.text(max_size=5), max_size=3)
successes = st.builds(Success, run_id=st.text(max_size=5), try_number=st.integers(1, 99))
moments = st.datetimes(timezones=st.just(UTC))
any_record = st.builds(
    Record,
    dag_id=st.text(max_size=5),
    target=st.text(max_size=5),
    task_id=st.text(max_size=5),
    fingerprint=st.text(max_size=5),
    parts=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
    date=st.text(max_size=5),
    success=successes,
    at=moments,
    reads=versions,
    upstream=st.dictionaries(st.text(max_size=5), st.none() | successes, max_size=3),
    writes=st.none() | versions,
    result=st.recursive(st.none() | st.booleans() | st.text(max_size=5), lambda part: st.lists(part, max_size=3)),
    accumulating=st.booleans(),
    expires=st.none() | moments,
)


@given(any_record)
def test_a_record_is_what_its_document_says(record: Record) -> None:
    assert Record.from_json(record.to_json()) == record


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        "text",
        {},
        {**RECORD.to_json(), "success": None},
        {**RECORD.to_json(), "success": ["run1"]},
        {**RECORD.to_json(), "at": "2026-01-02T00:00:00"},
        {**RECORD.to_json(), "at": "yesterday"},
        {**RECORD.to_json(), "upstream": {"x": "run0"}},
        {**RECORD.to_json(), "reads": 3},
        {**RECORD.to_json(), "fingerprint": 3},
    ],
)
def test_the_document_of_something_else_is_refused(document: Any) -> None:
    with pytest.raises(ValueError, match="not a record"):
        Record.from_json(document)


@pytest.fixture(params=["sqlite", "postgresql", "redis"])
def records(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Records]:
    """Wherever records may be kept."""
    kind = request.param
    url = request.getfixturevalue("postgresql_url") if kind == "postgresql" else f"sqlite:///{tmp_path / 'pydag.db'}"
    with Store(url) as store:
        if kind == "redis":
            yield SharedRecords(store, request.getfixturevalue("redis_url"), pytest.fail)
        else:
            yield store.records


def test_a_record_is_found_by_its_fingerprint_and_date(records: Records) -> None:
    monday = replace(RECORD, date="2026-01-05", accumulating=True)
    records.put([RECORD, monday])
    assert records.matching("dag", "local", {"a": ("f1", "")}) == {"a": RECORD}
    assert records.matching("dag", "local", {"a": ("f1", "2026-01-05")}) == {"a": monday}
    for nothing in ({"a": ("f2", "")}, {"b": ("f1", "")}, {"a": ("f1", "2026-01-06")}, {}):
        assert records.matching("dag", "local", nothing) == {}
    assert records.matching("other", "local", {"a": ("f1", "")}) == {}
    assert records.matching("dag", "other", {"a": ("f1", "")}) == {}


def test_the_newest_success_with_a_fingerprint_is_kept(records: Records) -> None:
    records.put([RECORD])
    again = replace(RECORD, success=Success(run_id="run2", try_number=1), at=NOW + timedelta(days=1), result=8)
    records.put([again])
    assert records.matching("dag", "local", {"a": ("f1", "")}) == {"a": again}
    assert records.all() == [again]


def test_the_newest_of_a_task_has_any_fingerprint(records: Records) -> None:
    records.put([RECORD, replace(RECORD, task_id="b")])
    records.put([changed := replace(RECORD, fingerprint="f2", at=NOW + timedelta(seconds=1))])
    assert records.newest("dag", "local", ["a", "c"]) == {"a": changed}
    assert records.newest("dag", "other", ["a"]) == records.newest("dag", "local", []) == {}
    assert set(records.newest("dag", "local", {"a", "b"})) == {"a", "b"}


def test_the_newest_of_a_task_for_a_date_is_none_that_another_date_has_added(records: Records) -> None:
    def added(date: str, fingerprint: str, seconds: int) -> Record:
        at = NOW + timedelta(seconds=seconds)
        return replace(RECORD, date=date, fingerprint=fingerprint, at=at, accumulating=True)

    monday = [added("2026-01-05", "f1", 1), added("2026-01-05", "f2", 2)]
    records.put([*monday, tuesday := added("2026-01-06", "f1", 3), added("", "f1", 4), replace(RECORD, task_id="b")])
    assert records.newest("dag", "local", ["a", "b"], date="2026-01-05") == {
        "a": monday[1],
        "b": replace(RECORD, task_id="b"),
    }
    assert records.newest("dag", "local", ["a"], date="2026-01-06") == {"a": tuesday}
    assert records.newest("dag", "local", ["a"], date="2026-01-07") == {}
    # But what added nothing holds for any date
    records.put([replaced := replace(RECORD, fingerprint="f3", at=NOW + timedelta(seconds=5))])
    assert records.newest("dag", "local", ["a"], date="2026-01-05") == {"a": replaced}
    assert records.newest("dag", "other", ["a"], date="2026-01-05") == {}


def test_many_tasks_are_asked_for_at_once(records: Records) -> None:
    many = [replace(RECORD, task_id=f"t{number}", fingerprint="same") for number in range(1200)]
    records.put(many)
    found = records.matching("dag", "local", {record.task_id: ("same", "") for record in many})
    assert found == {record.task_id: record for record in many}
    for date in (None, "2026-01-05"):
        assert len(records.newest("dag", "local", [record.task_id for record in many], date=date)) == 1200


def test_clearing_spares_what_accumulates_unless_asked(records: Records) -> None:
    others = [replace(RECORD, task_id="b"), replace(RECORD, dag_id="dag2"), replace(RECORD, target="p")]
    appended = replace(RECORD, task_id="c", accumulating=True)
    records.put([RECORD, appended, *others])
    wanted = dict.fromkeys("abc", ("f1", ""))
    assert records.clear(dag_id="dag", target="local", task_id="a") == 1
    assert set(records.matching("dag", "local", wanted)) == {"b", "c"}
    assert records.clear(dag_id="dag", target="local") == 1
    assert set(records.matching("dag", "local", wanted)) == set(records.newest("dag", "local", wanted)) == {"c"}
    assert records.clear(dag_id="dag", target="local", appended=True) == 1
    assert records.matching("dag", "local", wanted) == records.newest("dag", "local", wanted) == {}
    assert {(record.dag_id, record.target) for record in records.all()} == {("dag2", "local"), ("dag", "p")}
    assert [record.dag_id for record in records.all(dag_id="dag2")] == ["dag2"]
    assert records.clear() == 2
    assert records.matching("dag2", "local", wanted) == {}


def test_records_that_are_written_with_a_task_come_or_go_with_it(tmp_path: Path) -> None:
    with Store(f"sqlite:///{tmp_path / 'pydag.db'}") as store:
        with pytest.raises(ZeroDivisionError), store.together():  # noqa: PT012 - what is inside is the point
            store.records.put([RECORD])
            raise ZeroDivisionError
        assert store.records.all() == []
