"""The published JSON Schema says what the loader takes: no less, and little more."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from pydag_gcp import loader, schema
from pydag_gcp.definition import find_operator, names_in_document, operator_names
from pydag_gcp.errors import DefinitionError

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    return Draft202012Validator(schema.pipeline_schema())


def pipeline(task: str, head: str = "") -> Any:
    """A pipeline of one task, as plain values."""
    return yaml.safe_load(
        f"dag: x\n{head}\ntasks:\n  first: {{operator: BigQueryQuery, sql: SELECT 1}}\n  t: {{{task}}}\n"
    )


def loads(document: Any) -> bool:
    Path("p.json").write_text(json.dumps(document))
    try:
        loader.load(Path("p.json"))
    except DefinitionError:
        return False
    return True


QUERY = "operator: BigQueryQuery, sql: SELECT 1"
LOAD = "operator: GCSToBigQuery, source: gs://bucket/x, destination: a.b"
CREATE = "operator: DataprocCreateCluster, cluster: c1"
SPARK = "operator: DataprocPySparkJob, cluster: {name: c1}, main: job.py"

RIGHT = [
    QUERY,
    f"{QUERY}, upstream: first",
    f"{QUERY}, upstream: [first]",
    f"{QUERY}, teardown_of: first",
    f"{QUERY}, teardown_of: [first]",
    f"{QUERY}, retry: {{attempts: 2, wait: {{seconds: 3}}, 'on': [ValueError]}}",
    f"{QUERY}, retry: null",
    f"{QUERY}, timeout: 30",
    f"{QUERY}, timeout: PT30S",
    f"{QUERY}, timeout: {{hours: 1, minutes: 1.5}}",
    f"{QUERY}, cache: true",
    f"{QUERY}, cache: {{days: 1}}",
    f"{QUERY}, params: {{a: 1, b: x, c: [1], d: {{table: a.b}}, e: {{date: '2022-01-31'}}, f: null}}",
    f"{QUERY}, reads: [a.b, 'gs://bucket/x', {{table: a.b, shared: true}}, {{uri: 'gs://bucket/x'}}]",
    f"{QUERY}, destination: a.b, partition_by: day, cluster_by: [a, b], write: WRITE_APPEND",
    f"{QUERY}, destination: {{table: a.b}}, partition_by: {{column: day, granularity: MONTH, expiration: {{days: 3}}}}",
    f"{QUERY}, labels: {{team: data, year: 2022}}",
    LOAD,
    f"{LOAD}, schema: {{id: INT64, day: DATE NOT NULL}}",
    f"{LOAD}, schema: [{{name: id, type: INT64}}, {{name: s, type: STRUCT, fields: [{{name: x, type: STRING}}]}}]",
    f"{LOAD}, format: JSON",
    "operator: GCSToBigQuery, source: ['gs://bucket/x', {uri: 'gs://bucket/y'}], destination: a.b",
    f"{CREATE}, workers: 0, idle_delete: {{minutes: 10}}, config: {{a: {{b: [1]}}}}",
    f"{SPARK}, args: [--year, '2022'], properties: {{spark.sql.shuffle.partitions: 4}}, jars: ['gs://bucket/a.jar']",
    "operator: DataprocDeleteCluster, cluster: c1, cluster_uuid: u, trigger_rule: all_done",
]

HEADS = [
    "schedule: '0 6 * * *'",
    "retry: {attempts: 2}",
    "params: {a: 1, b: {date: '2022-01-31'}}",
    "{description: d, max_processors: 2, on_sigterm: cancel, infer: true}",
    "{weight: 2.5, limits: {bigquery: 20, dataproc: 1}}",
]

WRONG = [
    "sql: SELECT 1",
    "operator: BigQueryQeury, sql: SELECT 1",
    "operator: Partitioning, column: a",
    "operator: os:system",
    "operator: BigQueryQuery",
    "operator: GCSToBigQuery, source: gs://bucket/x",
    f"{QUERY}, upsteam: first",
    f"{QUERY}, source: gs://bucket/x",
    f"{QUERY}, task_id: t",
    f"{QUERY}, upstream: 1",
    f"{QUERY}, upstream: {{first: 1}}",
    f"{QUERY}, retry: 3",
    f"{QUERY}, retry: {{attempts: 0}}",
    f"{QUERY}, retry: {{attempts: -1}}",
    f"{QUERY}, retry: {{tries: 3}}",
    f"{QUERY}, retry: {{wait: -1}}",
    f"{QUERY}, timeout: {{minuets: 1}}",
    f"{QUERY}, timeout: {{}}",
    f"{QUERY}, timeout: [1]",
    f"{QUERY}, trigger_rule: all_dun",
    f"{QUERY}, slots: 0",
    f"{QUERY}, slots: many",
    f"{QUERY}, priority: 1.5",
    f"{QUERY}, params: [1]",
    f"{QUERY}, labels: a",
    f"{QUERY}, destination: {{tabel: a.b}}",
    f"{QUERY}, destination: a.b, write: APPEND",
    f"{QUERY}, destination: a.b, partition_by: {{granularity: WEEK}}",
    f"{QUERY}, destination: a.b, cluster_by: [a, b, c, d, e]",
    "operator: BigQueryQuery, sql: ''",
    "operator: BigQueryQuery, sql: [SELECT 1]",
    f"{LOAD}, max_bad_records: -1",
    f"{LOAD}, format: XML",
    f"{LOAD}, schema: [{{name: id}}]",
    f"{LOAD}, autodetect: 3",
    f"{CREATE}, workers: -1",
    f"{CREATE}, disk_gb: 1",
    f"{SPARK}, args: one",
    f"{SPARK}, idempotent: maybe",
]

WRONG_HEADS = [
    "shedule: '0 6 * * *'",
    "schedule: 6",
    "retry: 3",
    "params: [1]",
    "description: [1]",
    "max_processors: 0",
    "weight: 0",
    "limits: {bigqery: 20}",
    "limits: {bigquery: 0}",
    "limits: 20",
    "on_sigterm: ignore",
    "infer: maybe",
]


def test_the_published_file_is_up_to_date() -> None:
    """Written by ``python -m pydag_gcp.schema > docs/pipeline.schema.json``."""
    assert (ROOT / "docs" / "pipeline.schema.json").read_text(encoding="utf-8") == schema.text()


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(schema.pipeline_schema())


def test_the_example_is_right(validator: Draft202012Validator) -> None:
    text = (ROOT / "pipelines" / "staging_to_fact.yaml").read_text(encoding="utf-8")

    assert list(validator.iter_errors(yaml.safe_load(text))) == []
    first = text.partition("\n")[0].removeprefix("# yaml-language-server: $schema=")
    assert (ROOT / "pipelines" / first).resolve() == ROOT / "docs" / "pipeline.schema.json"


@pytest.mark.parametrize("task", RIGHT)
def test_what_is_right(task: str, validator: Draft202012Validator, project: Path) -> None:
    document = pipeline(task)

    assert [error.message for error in validator.iter_errors(document)] == []
    assert loads(document)


@pytest.mark.parametrize("head", HEADS)
def test_what_is_right_at_the_top(head: str, validator: Draft202012Validator, project: Path) -> None:
    document = pipeline(QUERY) | yaml.safe_load(head)

    assert [error.message for error in validator.iter_errors(document)] == []
    assert loads(document)


@pytest.mark.parametrize("task", WRONG)
def test_what_is_wrong(task: str, validator: Draft202012Validator, project: Path) -> None:
    document = pipeline(task)

    assert not validator.is_valid(document)
    assert not loads(document)


@pytest.mark.parametrize("head", WRONG_HEADS)
def test_what_is_wrong_at_the_top(head: str, validator: Draft202012Validator, project: Path) -> None:
    document = pipeline(QUERY) | yaml.safe_load(head)

    assert not validator.is_valid(document)
    assert not loads(document)


@pytest.mark.parametrize("name", ["a b", "a.b", "a/b", "1a", "", "é", "x" * 201])
def test_task_ids(name: str, validator: Draft202012Validator, project: Path) -> None:
    document = {"dag": "x", "tasks": {name: {"operator": "BigQueryQuery", "sql": "SELECT 1"}}}

    assert not validator.is_valid(document)
    assert not loads(document)


@pytest.mark.parametrize("name", operator_names())
def test_every_operator_is_described(name: str) -> None:
    """Also those to come: an operator without words, or with a field without any, does not get in."""
    operator = find_operator(name)
    assert operator is not None
    said = schema.pipeline_schema()["$defs"][name]

    assert said["description"] == (inspect.getdoc(operator) or "").partition("\n")[0]
    assert list(said["properties"]) == names_in_document(operator)
    for field, about in said["properties"].items():
        assert field == "operator" or about["description"], field


def test_fields_take_what_is_known_at_run_time() -> None:
    definitions = schema.pipeline_schema()["$defs"]
    seen = set()
    for name in operator_names():
        operator = find_operator(name)
        assert operator is not None
        for field in operator.param_fields():
            seen.add(field)
            one = Draft202012Validator({"$defs": definitions, **definitions[name]["properties"][field]})
            assert one.is_valid({"output": "first.rows"}), (name, field)
            if field not in {"params", "properties"}:  # there it would be one of the author's names
                assert one.is_valid({"secret": "env:NAME"}) != operator.shows_secrets, (name, field)
    assert {"args", "params", "properties"} <= seen
