"""What a task may return, and one try of local work."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pydag_gcp import Cluster, GCSObject, Table, journal, task
from pydag_gcp.attempt import LocalAttempt, as_json
from pydag_gcp.dag import DAG
from pydag_gcp.errors import TaskError
from pydag_gcp.executor import execute
from pydag_gcp.operator import Context, Operator
from pydag_gcp.planner import Plan, plan
from pydag_gcp.retry import RESEND_LIMIT
from pydag_gcp.settings import load
from pydag_gcp.states import TaskState
from pydag_gcp.store import Store
from tests.virtual_driver import Virtual, driving, record_of


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


@given(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=2000)
    | st.floats(allow_nan=False, allow_infinity=False)
)
def test_what_is_plain_is_what_it_is_when_it_is_read_again(value: Any) -> None:
    assert as_json(value) == json.loads(json.dumps(value))
    assert type(as_json(value)) is type(value)


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


@pytest.mark.usefixtures("project")
def test_a_setup_begins_when_it_is_on_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Given a journal that is in no hurry
    monkeypatch.setattr(journal, "_LINGER", 1.0)
    planned: list[Plan] = []

    def rows() -> list[str]:
        with Store(planned[0].settings.store_url) as store:  # as a process would see it that comes after a kill
            return [row["task_id"] for row in store.tries(planned[0].run_id)]

    # When a function begins that another one cleans up after
    with DAG("local") as dag:
        setup = task(task_id="setup")(rows)()
        task(task_id="teardown", teardown_of=setup)(rows)()
    planned.append(plan(dag, load(Path.cwd())))
    result = execute(planned[0])
    # Then it is known that it has begun
    assert result.tasks["setup"].result == ["setup"]


# one try --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Virtual]:
    with driving(tmp_path) as driver:
        yield driver


Start = Callable[..., LocalAttempt]


@pytest.fixture
def start(driver: Virtual, ctx: Context) -> Start:
    """Starts a try of a task that counts how often it was executed."""
    count = itertools.count(1)

    class Count(Operator):
        def execute(self, ctx: Context) -> Any:
            return next(count)

    def begin(number: int = 1, **fields: Any) -> LocalAttempt:
        attempt = LocalAttempt(Count(task_id="a_task", **fields), replace(ctx, try_number=number), driver)
        attempt.start()
        return attempt

    return begin


def test_a_success_that_nobody_remembers_ends_at_once(start: Start, driver: Virtual) -> None:
    attempt = start()
    driver.run(0.01)
    end = driver.ends[attempt]
    assert (end.state, end.result, end.records) == (TaskState.SUCCESS, 1, ())
    assert driver.observed == []


def test_what_a_function_has_left_is_asked_for_again_and_the_function_is_not_called_again(
    start: Start, driver: Virtual
) -> None:
    driver.observations = [ConnectionResetError(), TimeoutError()]
    attempt = start()
    driver.run(60)
    end = driver.ends[attempt]
    assert (end.state, end.result, end.records) == (TaskState.SUCCESS, 1, (record_of(attempt, 1),))
    assert len(driver.observed) == 3


def test_an_error_that_will_not_pass_is_not_asked_for_again(start: Start, driver: Virtual) -> None:
    driver.observations = [PermissionError("may not")]
    attempt = start()
    driver.run(1)
    assert driver.ends[attempt].state is TaskState.SUCCESS
    assert [last for _, last in driver.observed] == [False, True]


@pytest.mark.parametrize("why", ["cancel", "timeout"])
def test_nothing_makes_a_success_undone(start: Start, driver: Virtual, why: str) -> None:
    driver.observations = [ConnectionResetError()] * 10**4
    attempt = start(timeout=10)
    driver.run(1)
    attempt.cancel() if why == "cancel" else None
    driver.run(60)
    assert (attempt in driver.ends) is (why == "cancel")
    driver.run(RESEND_LIMIT)
    assert driver.ends[attempt].state is TaskState.SUCCESS


def test_nothing_is_executed_when_the_lease_is_lost(start: Start, driver: Virtual) -> None:
    driver.lost = True
    attempt = start()
    driver.run(60)
    assert attempt not in driver.ends
    driver.lost = driver.left = False
    again = start(number=2)
    driver.run(60)
    assert driver.ends[again].result == 1


def test_a_result_that_comes_after_a_cancel_is_dropped(start: Start, driver: Virtual) -> None:
    driver.observations = []
    attempt = start()
    attempt.cancel()
    driver.run(60)
    assert driver.ends[attempt].state is TaskState.CANCELLED
    assert driver.observed == []


def test_a_function_that_has_not_begun_when_it_is_cancelled_never_does(
    start: Start, driver: Virtual, monkeypatch: pytest.MonkeyPatch
) -> None:
    work: list[Callable[[], Any]] = []
    monkeypatch.setattr(driver, "work", lambda _slots, function, _then: work.append(function))
    # Given a setup that waits for its row to be durable, when the run is cancelled
    attempt = start()
    attempt.cancel()
    # Then it does nothing that its teardown, which may be over already, has not cleaned up
    assert work.pop()() is None
    start(number=2)
    assert work.pop()() == 1, "it was never called before"
