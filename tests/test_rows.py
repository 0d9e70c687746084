"""What is known of the tasks of a run while it goes on."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pydag_gcp.result import TaskResult
from pydag_gcp.rows import Results, Row
from pydag_gcp.states import TaskState

AT = datetime(2026, 1, 2, tzinfo=UTC)


def test_results_are_what_the_rows_say_and_of_no_other_task() -> None:
    rows = {"a": Row(state=TaskState.SUCCESS, tries=2, result=[1], started=AT, ended=AT, reason="why"), "b": Row()}
    results = Results(rows, {"b"})
    assert results == {
        "a": TaskResult(task_id="a", state=TaskState.SUCCESS, tries=2, result=[1], started=AT, ended=AT, reason="why"),
        "b": TaskResult(task_id="b", state=TaskState.SCHEDULED, teardown=True),
    }
    assert (list(results), len(results)) == (["a", "b"], 2)
    with pytest.raises(KeyError):
        results["c"]


def test_a_row_is_taken_over_from_a_result_and_forgets_its_end() -> None:
    result = TaskResult(
        task_id="a", state=TaskState.FAILED, tries=3, result=1, error="no", started=AT, ended=AT, cached_from="r"
    )
    row = Row.of(result)
    assert Results({"a": row}, ())["a"] == result
    row.forget_end()
    assert Results({"a": row}, ())["a"] == TaskResult(task_id="a", state=TaskState.SCHEDULED, tries=3, started=AT)
