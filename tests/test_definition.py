"""Pipelines in YAML and JSON mean what the same pipelines mean in Python."""

from __future__ import annotations

import inspect
import json
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from pydag_gcp import loader, planner, settings
from pydag_gcp.dag import DAG
from pydag_gcp.definition import Pipeline, operator_names
from pydag_gcp.errors import DefinitionError
from pydag_gcp.operator import Operator
from pydag_gcp.operators import BigQueryQuery, DataprocCreateCluster, DataprocDeleteCluster, GCSToBigQuery, Partitioning
from pydag_gcp.output import Output
from pydag_gcp.resources import Cluster, GCSObject, Table
from pydag_gcp.retry import Retry
from pydag_gcp.states import TriggerRule

PIPELINES = Path(__file__).parents[1] / "pipelines"


def loaded(text: str) -> DAG:
    Path("p.yaml").write_text(text)
    return loader.load(Path("p.yaml"))


def task(fields: str, *, operator: str = "BigQueryQuery", project: Path | None = None) -> Any:
    """The second task of a pipeline, of which some fields are given."""
    first = "first: {operator: BigQueryQuery, sql: SELECT 1}"
    return loaded(f"dag: x\ntasks:\n  {first}\n  second: {{operator: {operator}, {fields}}}\n").tasks["second"]


def described(path: Path) -> dict[str, Any]:
    """All that a pipeline comes to."""
    dag = loader.load(path)
    plan = planner.plan(dag, settings.load(dag.file))
    tasks = {task_id: (type(task), task.model_dump()) for task_id, task in plan.tasks.items()}
    upstream = {task_id: set(above) for task_id, above in plan.upstream.items()}
    names = set(inspect.signature(DAG).parameters) - {"dag_id"}
    return {"tasks": tasks, "upstream": upstream} | {name: getattr(dag, name) for name in names}


def test_the_example_is_the_same_in_python_and_yaml() -> None:
    assert described(PIPELINES / "staging_to_fact.yaml") == described(PIPELINES / "staging_to_fact.py")


def test_json_is_the_same_as_yaml(project: Path) -> None:
    text = (PIPELINES / "staging_to_fact.yaml").read_text()
    (project / "sql").symlink_to(PIPELINES.parent / "sql")
    (project / "csv_to_staging.py").symlink_to(PIPELINES / "csv_to_staging.py")
    Path("p.yaml").write_text(text)
    Path("p.json").write_text(json.dumps(yaml.safe_load(text), indent=1))

    assert described(Path("p.json")) == described(Path("p.yaml"))


def test_every_argument_of_a_dag(project: Path) -> None:
    dag = loaded("""
dag: whole
schedule: "0 6 * * *"
retry: {attempts: 4, wait: {minutes: 1}, max_wait: 90, jitter: 0, on: [TimeoutError, ServiceUnavailable]}
params: {day: {date: 2022-01-31}, at: {datetime: 2022-01-31T06:00:00+00:00}, n: {decimal: 0.1}, list: [{time: "06:00"}]}
description: what for
max_processors: 3
weight: 0.5
limits: {bigquery: 20}
on_sigterm: cancel
infer: true
tasks: {a: {operator: BigQueryQuery, sql: SELECT 1}}
""")
    from google.api_core.exceptions import ServiceUnavailable

    given = {name: getattr(dag, name) for name in inspect.signature(DAG).parameters}
    assert given == {
        "dag_id": "whole",
        "schedule": "0 6 * * *",
        "retry": Retry(attempts=4, wait=60, max_wait=90, jitter=0, on=(TimeoutError, ServiceUnavailable)),
        "params": {
            "day": date(2022, 1, 31),
            "at": datetime(2022, 1, 31, 6, tzinfo=UTC),
            "n": Decimal("0.1"),
            "list": [time(6)],
        },
        "description": "what for",
        "max_processors": 3,
        "weight": 0.5,
        "limits": {"bigquery": 20},
        "on_sigterm": "cancel",
        "infer": True,
    }


def test_a_document_has_the_arguments_of_a_dag() -> None:
    # So that a new argument of DAG is not forgotten here
    arguments = {"dag" if name == "dag_id" else name for name in inspect.signature(DAG).parameters}

    assert set(Pipeline.model_fields) == arguments | {"tasks"}


SHARED = Table("a.b", shared=True)

FIELDS: list[tuple[str, str, str, Any]] = [
    ("BigQueryQuery", "sql: SELECT 1, retry: {attempts: 2}", "retry", Retry(attempts=2)),
    ("BigQueryQuery", "sql: SELECT 1, timeout: 90", "timeout", timedelta(seconds=90)),
    ("BigQueryQuery", "sql: SELECT 1, timeout: PT2M", "timeout", timedelta(minutes=2)),
    ("BigQueryQuery", "sql: SELECT 1, timeout: {hours: 1, minutes: 30}", "timeout", timedelta(hours=1.5)),
    ("BigQueryQuery", "sql: SELECT 1, cache: {days: 7}", "cache", timedelta(days=7)),
    ("BigQueryQuery", "sql: SELECT 1, cache: false", "cache", False),
    ("BigQueryQuery", "sql: SELECT 1, trigger_rule: all_done", "trigger_rule", TriggerRule.ALL_DONE),
    ("BigQueryQuery", "sql: SELECT 1, teardown_of: first", "teardown_of", ("first",)),
    ("BigQueryQuery", "sql: SELECT 1, params: {t: {table: a.b}}", "params", {"t": Table("a.b")}),
    ("BigQueryQuery", "sql: SELECT 1, params: {date: {date: 2022-01-31}}", "params", {"date": date(2022, 1, 31)}),
    ("BigQueryQuery", "sql: SELECT 1, params: {date: 2022-01-31}", "params", {"date": "2022-01-31"}),
    ("BigQueryQuery", "sql: SELECT 1, params: {yes: no, n: null}", "params", {"yes": "no", "n": None}),
    ("BigQueryQuery", "sql: SELECT 1, params: {n: [1, 2.5, x]}", "params", {"n": [1, 2.5, "x"]}),
    ("BigQueryQuery", "sql: SELECT 1, params: {n: {output: first}}", "params", {"n": Output("first")}),
    ("BigQueryQuery", "sql: SELECT 1, params: {n: {output: first.a.0}}", "params", {"n": Output("first", ("a", 0))}),
    ("BigQueryQuery", "sql: SELECT 1, reads: [gs://bucket/c]", "declared_reads", (GCSObject("gs://bucket/c"),)),
    ("BigQueryQuery", "sql: SELECT 1, writes: [a.b]", "declared_writes", (Table("a.b"),)),
    ("BigQueryQuery", "sql: SELECT 1, writes: [{table: a.b, shared: true}]", "declared_writes", (SHARED,)),
    ("GCSToBigQuery", "source: gs://bucket/c, destination: {table: a.b}", "sources", (GCSObject("gs://bucket/c"),)),
    (
        "GCSToBigQuery",
        "source: gs://bucket/c, destination: a.b, partition_by: {column: day, expiration: {days: 9}}",
        "partition_by",
        Partitioning(column="day", expiration=timedelta(days=9)),
    ),
    ("DataprocCreateCluster", "cluster: c1", "cluster", Cluster("c1")),
    (
        "DataprocDeleteCluster",
        "cluster: {name: c1}, cluster_uuid: {output: first.uuid}",
        "cluster_uuid",
        Output("first", ("uuid",)),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("operator", "fields", "name", "value"), FIELDS)
def test_fields_have_the_types_of_python(operator: str, fields: str, name: str, value: Any, project: Path) -> None:
    assert getattr(task(fields, operator=operator), name) == value


def test_upstreams_and_outputs_make_edges(project: Path) -> None:
    dag = loaded("""
dag: x
tasks:
  c: {operator: BigQueryQuery, sql: "SELECT @n", params: {n: {output: b.rows}}, upstream: [a]}
  b: {operator: BigQueryQuery, sql: SELECT 1, upstream: a}
  a: {operator: BigQueryQuery, sql: SELECT 1}
""")
    assert {task_id: set(above) for task_id, above in dag.upstream.items()} == {"a": set(), "b": {"a"}, "c": {"a", "b"}}
    assert list(dag.tasks) == ["c", "b", "a"]


def test_anchors_repeat_values(project: Path) -> None:
    dag = loaded("""
dag: x
tasks:
  a: {operator: BigQueryQuery, sql: SELECT 1, retry: &patient {attempts: 9}}
  b: {operator: BigQueryQuery, sql: SELECT 1, retry: *patient}
""")
    assert dag.tasks["b"].retry == Retry(attempts=9)


def test_later_errors_name_the_line_of_the_task(project: Path) -> None:
    dag = loaded("dag: x\ntasks:\n  a:\n    operator: BigQueryQuery\n    sql: none.sql\n")

    assert dag.file == Path("p.yaml")
    with pytest.raises(DefinitionError, match=r"^p.yaml:3: task 'a': .*none.sql"):
        planner.plan(dag, settings.load(dag.file))


def test_a_secret_is_refused_where_a_job_would_show_it(project: Path) -> None:
    with pytest.raises(
        DefinitionError, match=r"p.yaml:4:\d+: task 'second': field 'params': a secret cannot stand here"
    ):
        task("sql: SELECT @n, params: {n: {secret: 'env:N'}}")


def test_every_operator_is_known_by_its_name() -> None:
    kinds = {BigQueryQuery, DataprocCreateCluster, DataprocDeleteCluster, GCSToBigQuery}

    assert {kind.__name__ for kind in kinds} <= set(operator_names())
    assert "Column" not in operator_names()
    assert not issubclass(Partitioning, Operator)
