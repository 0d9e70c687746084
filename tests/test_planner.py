"""Planning: everything rendered and checked before anything runs."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pydag_gcp.dag import DAG
from pydag_gcp.errors import DefinitionError
from pydag_gcp.operator import Context, Operator
from pydag_gcp.planner import Plan, new_run_id, plan
from pydag_gcp.resources import Resource, Table
from pydag_gcp.settings import load

DAY = datetime(2026, 2, 3, tzinfo=UTC)


class Write(Operator):
    table: Table
    text: str = ""
    number: int = 0
    options: dict[str, Any] = {}  # noqa: RUF012 - pydantic copies defaults

    def check(self, ctx: Context) -> None:
        if self.text == "wrong":
            raise DefinitionError("text is wrong", where=f"task {self.task_id!r}")

    def writes(self, ctx: Context) -> frozenset[Resource] | None:
        return frozenset({self.table})

    def execute(self, ctx: Context) -> Any:
        return None


def planned(dag: DAG, **options: Any) -> Plan:
    return plan(dag, load(Path.cwd()), **options)


@pytest.fixture
def dag(project: Path) -> DAG:
    with DAG("planned", params={"dataset": "d", "number": 3, "text": "fine"}) as dag:
        Write(
            task_id="write",
            table=Table("{{ params.dataset }}.t${{ ds_nodash }}"),
            text="{{ params.text }}",
            options={"deep": ["{{ logical_date.year }}", "{{ project }}-{{ dag_id }}-{{ task_id }}"]},
        )
    return dag


def test_templates_are_rendered_with_params_and_dates(dag: DAG) -> None:
    task = planned(dag, params={"dataset": "other"}, logical_date=DAY).tasks["write"]
    assert isinstance(task, Write)
    assert task.table == Table("other.t$20260203")
    assert task.options == {"deep": [2026, "pydag-local-planned-write"]}
    assert dag.tasks["write"] is not task
    assert list(dag.tasks) == ["write"]


def test_rendered_values_are_checked_like_any_other(dag: DAG) -> None:
    with pytest.raises(DefinitionError, match=r"test_planner.py:\d+: task 'write'.*'d d.t"):
        planned(dag, params={"dataset": "d d"})


def test_values_are_never_rendered_again(dag: DAG) -> None:
    task = planned(dag, params={"text": "{{ 1 + 1 }}"}).tasks["write"]
    assert isinstance(task, Write)
    assert task.text == "{{ 1 + 1 }}"


def test_an_unknown_variable_is_named(project: Path) -> None:
    with DAG("unknown") as dag:
        Write(task_id="write", table=Table("d.t"), text="{{ parms.x }}")
    with pytest.raises(DefinitionError, match=r"task 'write': field 'text': .*parms.*did you mean 'params'"):
        planned(dag)


def test_checks_happen_before_anything_runs(dag: DAG) -> None:
    with pytest.raises(DefinitionError, match="task 'write': text is wrong"):
        planned(dag, params={"text": "wrong"})


def test_what_is_written_is_known(dag: DAG) -> None:
    assert planned(dag, logical_date=DAY).written_tables() == {Table("d.t$20260203")}


def test_planning_leaves_no_trace(dag: DAG) -> None:
    planned(dag)
    assert not Path(".pydag").exists()


def test_run_ids_do_not_repeat() -> None:
    assert len({new_run_id() for _ in range(1000)}) == 1000


def test_a_rendered_task_stands_where_the_author_wrote_it(dag: DAG) -> None:
    assert planned(dag).tasks["write"].source == dag.tasks["write"].source


def test_a_number_may_be_rendered_where_text_is_wanted(project: Path) -> None:
    with DAG("numbers", params={"year": 2022}) as dag:
        Write(task_id="write", table=Table("d.t"), text="{{ params.year }}")
    task = planned(dag).tasks["write"]
    assert isinstance(task, Write)
    assert task.text == "2022"
