"""The DAG: tasks, edges, params, intervals."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

import pytest

from pydag_gcp.dag import DAG
from pydag_gcp.errors import DefinitionError
from pydag_gcp.operator import Context, Operator, RemoteOperator, Status
from pydag_gcp.retry import Retry


class Nothing(Operator):
    number: int = 0

    def execute(self, ctx: Context) -> Any:
        return None


class FivetranSync(RemoteOperator):
    def submit(self, ctx: Context, job_id: str) -> dict[str, Any]:
        return {}

    def poll(self, ctx: Context, handle: Mapping[str, Any]) -> Status:
        raise NotImplementedError

    def result(self, ctx: Context, handle: Mapping[str, Any]) -> Any:
        return None

    def cancel(self, ctx: Context, handle: Mapping[str, Any]) -> None:
        return None


def test_edges_as_in_airflow() -> None:
    with DAG("edges") as dag:
        a, b, c, d, e = (Nothing(task_id=name) for name in "abcde")
        [a, b] >> c >> [d, e]
    assert dag.upstream == {"a": (), "b": (), "c": ("a", "b"), "d": ("c",), "e": ("c",)}
    dag.check()


def test_a_cycle_is_printed() -> None:
    with DAG("cyclic") as dag:
        a, b, c = (Nothing(task_id=name) for name in "abc")
        a >> b >> c >> a
    with pytest.raises(
        DefinitionError, match=r"test_dag.py:\d+: DAG 'cyclic': has a cycle: \w -> \w -> \w -> \w; remove"
    ):
        dag.check()


def test_a_task_that_waits_for_itself_is_a_cycle() -> None:
    with DAG("selfish") as dag:
        a = Nothing(task_id="a")
        a >> a
    with pytest.raises(DefinitionError, match="has a cycle: a -> a"):
        dag.check()


def test_a_duplicate_id_names_both_lines() -> None:
    with DAG("twice"):
        Nothing(task_id="a")
        with pytest.raises(DefinitionError, match=r"task 'a': another task has this id, defined at line \d+"):
            Nothing(task_id="a")


def test_an_edge_between_two_dags_is_refused() -> None:
    with DAG("one"):
        a = Nothing(task_id="a")
    with DAG("two"):
        b = Nothing(task_id="b")
        with pytest.raises(DefinitionError, match="task 'b': is not in DAG 'one'"):
            a >> b


def test_a_task_outside_any_dag_cannot_have_edges() -> None:
    a, b = Nothing(task_id="a"), Nothing(task_id="b")
    with pytest.raises(DefinitionError, match=r"task 'a': is in no DAG; construct it inside `with DAG"):
        a >> b


def test_an_edge_counts_once_and_what_was_asked_for_stays_as_it_was() -> None:
    with DAG("edges") as dag:
        a, b, c = (Nothing(task_id=name) for name in "abc")
        a >> [c, c]
        a >> c
        before = dag.upstream
        b >> c
        d = Nothing(task_id="d")
        c >> d
    assert before == {"a": (), "b": (), "c": ("a",)}
    assert dag.upstream == {"a": (), "b": (), "c": ("a", "b"), "d": ("c",)}


def test_a_long_cycle_is_cut_short() -> None:
    with DAG("round") as dag:
        tasks = [Nothing(task_id=f"t{number}") for number in range(1000)]
        for above, below in zip(tasks, [*tasks[1:], tasks[0]], strict=True):
            above >> below
    with pytest.raises(DefinitionError, match=r"has a cycle: .* -> \.\.\. \(981 more\) -> .*; remove one") as raised:
        dag.check()
    assert len(str(raised.value)) < 400


def test_an_empty_dag_is_refused() -> None:
    with pytest.raises(DefinitionError, match="DAG 'empty': has no tasks"):
        DAG("empty").check()


@pytest.mark.parametrize("dag_id", ["", "a b", "../x", "a.b", "1a", "x" * 201, "é"])
def test_a_dag_id_that_is_no_file_name_is_refused(dag_id: str) -> None:
    with pytest.raises(DefinitionError, match="dag_id must be a letter"):
        DAG(dag_id)


@pytest.mark.parametrize("weight", [0, -1, float("inf"), float("nan"), True, "2"])
def test_a_weight_that_is_no_number_above_zero_is_refused(weight: Any) -> None:
    with pytest.raises(DefinitionError, match="DAG 'heavy': weight must be a number above 0, got "):
        DAG("heavy", weight=weight)


@pytest.mark.parametrize("limits", [{"bigquery": 0}, {"bigquery": 1.5}, {"bigquery": True}, {"bigquery": "2"}])
def test_a_limit_that_is_no_whole_number_is_refused(limits: Any) -> None:
    with pytest.raises(DefinitionError, match="limits: 'bigquery' must be a whole number of at least 1, got "):
        DAG("limited", limits=limits)


def test_limits_that_name_no_service_are_refused() -> None:
    with pytest.raises(DefinitionError, match="limits must be numbers by service, got 3"):
        DAG("limited", limits=3)  # type: ignore[arg-type]  # as a user may


def test_a_limit_names_a_service_of_ours_or_of_a_task() -> None:
    with DAG("limited", limits={"bigquery": 20, "fivetran_sync": 2}) as dag:
        FivetranSync(task_id="a")
    dag.check()

    with DAG("mistaken", limits={"fivetran_sink": 2}) as dag:
        FivetranSync(task_id="a")
    with pytest.raises(DefinitionError, match="no service 'fivetran_sink'; did you mean 'fivetran_sync'"):
        dag.check()


@pytest.mark.parametrize("schedule", ["", "daily", "99 * * * *", "0 6 * *", "0 6 31 2 *"])
def test_a_schedule_that_is_no_cron_expression_is_refused(schedule: str) -> None:
    with pytest.raises(DefinitionError, match="is no cron expression"):
        DAG("scheduled", schedule=schedule)


def test_the_default_interval_is_the_last_complete_one() -> None:
    dag = DAG("daily", schedule="0 6 * * *")
    at = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)
    # 06:00 on 2 March is the end of the interval that began on 1 March
    assert dag.interval(now=at) == (datetime(2026, 3, 1, 6, tzinfo=UTC), at)
    before = datetime(2026, 3, 2, 5, 59, 59, tzinfo=UTC)
    assert dag.interval(now=before) == (datetime(2026, 2, 28, 6, tzinfo=UTC), datetime(2026, 3, 1, 6, tzinfo=UTC))


def test_a_given_logical_date_is_the_start_of_its_interval() -> None:
    start, end = DAG("monthly", schedule="0 0 1 * *").interval(datetime(2026, 2, 1))  # noqa: DTZ001 - as a user may
    assert (start, end) == (datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC))


def test_without_a_schedule_the_logical_date_is_now() -> None:
    now = datetime(2026, 2, 1, 12, tzinfo=UTC)
    assert DAG("once").interval(now=now) == (now, now)


def test_params_take_the_type_of_their_default() -> None:
    defaults = {"n": 1, "x": 1.5, "on": True, "day": date(2026, 1, 1), "name": "a", "any": None}
    dag = DAG("typed", params=defaults)
    given_ = {"n": "7", "x": "2", "on": "false", "day": "2024-02-29", "name": "7", "any": "7"}
    assert dag.resolve_params(given_) == {
        "n": 7, "x": 2.0, "on": False, "day": date(2024, 2, 29), "name": "7", "any": "7",
    }  # fmt: skip
    assert dag.resolve_params(None) == defaults


def test_params_that_do_not_fit_are_refused() -> None:
    dag = DAG("typed", params={"number": 1})
    with pytest.raises(DefinitionError, match="param 'number': expected a whole number, got 'x'"):
        dag.resolve_params({"number": "x"})
    with pytest.raises(DefinitionError, match=r"no param 'numbre'; did you mean 'number'\?"):
        dag.resolve_params({"numbre": 1})


def test_a_task_has_its_own_retry_or_the_dags() -> None:
    with DAG("retrying", retry=Retry(attempts=3)) as dag:
        own, default = Nothing(task_id="own", retry=Retry(attempts=5)), Nothing(task_id="default")
    assert (dag.retry_of(own).attempts, dag.retry_of(default).attempts) == (5, 3)


# teardowns ---------------------------------------------------------------------------------------------------------


def test_a_teardown_of_a_task_of_another_dag_is_refused_whatever_their_ids() -> None:
    with DAG("other"):
        foreign = Nothing(task_id="setup")
    with DAG("this"):
        own = Nothing(task_id="setup")
        with pytest.raises(
            DefinitionError, match=r"task 'clean': .*cannot clean up after 'setup', which is not in this"
        ):
            Nothing(task_id="clean", teardown_of=[own, foreign])


def test_a_teardown_waits_for_its_setups_by_task_or_by_id() -> None:
    with DAG("d") as dag:
        one, two = Nothing(task_id="one"), Nothing(task_id="two")
        Nothing(task_id="clean_one", teardown_of=one)
        Nothing(task_id="clean_both", teardown_of=[one, "two"])
    dag.check()
    assert dag.tasks["clean_both"].teardown_of == ("one", "two")
    assert dag.upstream == {"one": (), "two": (), "clean_one": ("one",), "clean_both": ("one", "two")}
    assert two.teardown_of == ()


WRONG_TEARDOWNS: list[tuple[dict[str, object], str]] = [
    ({"teardown_of": "setpu"}, r"task 'bad': no task 'setpu' in the DAG to wait for; did you mean 'setup'\?"),
    ({"teardown_of": "clean"}, r"task 'bad': cannot clean up after 'clean', which is a teardown itself; write it down"),
    ({"teardown_of": "bad"}, r"task 'bad': cannot clean up after 'bad', which is a teardown itself"),
    ({"teardown_of": 3}, r"task 'bad': field 'teardown_of.*': |no task '3'"),
    ({"teardown_of": "setup", "trigger_rule": "all_done"}, r"task 'bad': field 'trigger_rule': a teardown has no trig"),
]


@pytest.mark.parametrize(("fields", "message"), WRONG_TEARDOWNS)
def test_a_teardown_of_nothing_is_told(fields: dict[str, object], message: str) -> None:
    def define() -> None:
        with DAG("d") as dag:
            Nothing(task_id="clean", teardown_of=Nothing(task_id="setup"))
            Nothing(task_id="bad", **fields)
        dag.check()

    with pytest.raises(DefinitionError, match=message):
        define()


def test_free_ids_count_on() -> None:
    with DAG("d") as dag:
        Nothing(task_id="load__2")
        assert [Nothing(task_id=dag.free_id("load")).task_id for _ in range(4)] == [
            "load",
            "load__1",
            "load__3",
            "load__4",
        ]
