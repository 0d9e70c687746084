"""What a task may return."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pydag_gcp import Cluster, GCSObject, Table, task
from pydag_gcp.attempt import as_json
from pydag_gcp.dag import DAG
from pydag_gcp.errors import TaskError
from pydag_gcp.executor import execute
from pydag_gcp.planner import plan
from pydag_gcp.settings import load


def nested(levels: int) -> list[Any]:
    """A list in a list in a list."""
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ((1, [2.5, None]), [1, [2.5, None]]),
        ({1: "a", None: "b"}, {"1": "a", "null": "b"}),
        ([Table("sales.orders")], [{"table": "sales.orders", "shared": False}]),
        ({"at": GCSObject("gs://bucket/name")}, {"at": {"uri": "gs://bucket/name"}}),
        (Cluster("etl", region="us-central1"), {"name": "etl", "region": "us-central1"}),
        (nested(100), nested(100)),
    ],
)
def test_a_result_becomes_json(value: Any, expected: Any) -> None:
    assert as_json(value) == expected


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (float("nan"), "not JSON"),
        ({1, 2}, "a set"),
        ({(1, 2): 3}, "not tuple"),
        ({1: "a", "1": "b"}, "two keys of a dict are both '1' as text"),
        ([{"a": {2: 0, "b": 0, "2": 0}}], "two keys of a dict are both '2' as text"),
        (nested(101), "more than 100 levels"),
        (nested(50_000), "more than 100 levels"),
        ("x" * 16_000_000, "16 MB"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else type(value).__name__,
)
def test_what_is_no_json_or_too_much_is_refused(value: Any, complaint: str) -> None:
    with pytest.raises(TaskError, match="returned") as caught:
        as_json(value)
    assert complaint in str(caught.value)


def test_a_result_that_is_nested_too_deep_fails_its_task_and_not_the_run(tmp_path: Path) -> None:
    @task(reads=[], writes=[])
    def deep() -> list[Any]:
        return nested(700)

    @task(reads=[], writes=[])
    def other() -> int:
        return 1

    (tmp_path / "pydag.toml").touch()
    with DAG("deep") as dag:
        deep()
        other()
    result = execute(plan(dag, load(tmp_path)))
    assert result.tasks["deep"].state == "failed"
    assert "more than 100 levels" in str(result.tasks["deep"].error)
    assert result.tasks["other"].state == "success"
