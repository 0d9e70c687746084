"""What a definition of 2022 becomes."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pydag_gcp import Cluster, loader, planner, settings
from pydag_gcp.dag import DAG
from pydag_gcp.errors import DefinitionError, SettingsError
from pydag_gcp.operators import BigQueryQuery, DataprocCreateCluster, DataprocPySparkJob
from pydag_gcp.pydag2022.script import fill
from pydag_gcp.resources import is_template
from pydag_gcp.sql import Template

DEFINITION = Path(__file__).parent / "definition.json"
CLUSTER = {"cluster_name": "cluster-1", "project_name": "my-project", "region": "us-central1"}

SPARK = """
[spark]
spark.jars = "gs://spark-lib/bigquery/spark-bigquery-latest_2.12.jar, gs://bucket/other.jar"
temporaryGcsBucket = "temporary"
"""


def defined(project: Path, *tasks: dict[str, Any], **head: Any) -> DAG:
    """Load a definition with these tasks, as the file `old.json`."""
    file = project / "old.json"
    whole = [{"task_id": f"t{number}", "dependencies": [], **task} for number, task in enumerate(tasks)]
    file.write_text(json.dumps({"dag": {"dag_id": "old", "tasks": whole, **head}}))
    return loader.load(file)


def query(**params: Any) -> dict[str, Any]:
    return {"script": "gcs.my-bucket.a/folder.bq.fill_table", "params": json.dumps(params)}


def job(**params: Any) -> dict[str, Any]:
    return {"script": "gcs.my-bucket.jobs.spark.load", "params": str({**CLUSTER, **params})}


def sent(dag: DAG) -> dict[str, Any]:
    """What the job of a planned DAG finds behind `--params`."""
    [task] = planner.plan(dag, settings.load(dag.file)).tasks.values()
    assert isinstance(task, DataprocPySparkJob)
    assert task.args[0] == "--params"
    found: dict[str, Any] = json.loads(task.args[1])
    return found


def test_the_original_example(project: Path) -> None:
    (project / "pydag.toml").write_text(SPARK)
    (project / "old.json").write_text(DEFINITION.read_text())

    dag = loader.load(project / "old.json")

    assert (dag.dag_id, dag.schedule, dag.max_processors, dag.project) == (
        "STAGING_TO_FACT_2022",
        None,
        4,
        "acme-data-2022",
    )
    cluster = dag.tasks["startup_dataproc_1"]
    assert isinstance(cluster, DataprocCreateCluster)
    assert cluster.cluster == Cluster("cluster-dataproc-pydag-2022", region="us-central1")
    ingest = dag.tasks["initial_ingestion_1"]
    assert isinstance(ingest, DataprocPySparkJob)
    assert (ingest.cluster, ingest.main) == (cluster.cluster, "gs://project-pydag/module_name/csv_to_bigquery.py")
    final = dag.tasks["create_table_final"]
    assert isinstance(final, BigQueryQuery)
    assert final.sql == "gs://project-pydag/module_name/create_table.sql"
    assert final.source.line == 20
    assert dag.upstream["insert_to_fact"] == ("extract_from_stg_1", "extract_from_stg_2")


def test_a_job_finds_params_settings_and_id(project: Path) -> None:
    (project / "pydag.toml").write_text(SPARK)

    dag = defined(
        project, {**job(**{"**GCP_service-account": "key", "*v": 1, "id": "mine", "n": 5}), "task_id": "load"}
    )

    assert sent(dag) == {
        **CLUSTER,
        "n": 5,
        "spark.jars": "gs://spark-lib/bigquery/spark-bigquery-latest_2.12.jar, gs://bucket/other.jar",
        "temporarygcsbucket": "temporary",
        "id": "old_load",
    }
    task = dag.tasks["load"]
    assert isinstance(task, DataprocPySparkJob)
    assert task.jars == ("gs://spark-lib/bigquery/spark-bigquery-latest_2.12.jar", "gs://bucket/other.jar")


@pytest.mark.parametrize("text", ["{{ 1 + 1 }}", "{% raw %}", "it's {{", "ünï\n\\", "{'a': 1}", "🚗 {{ x }}"])
def test_nothing_in_params_is_a_template(project: Path, text: str) -> None:
    assert sent(defined(project, {**job(), "params": {**CLUSTER, "x": text}}))["x"] == text
    dag = defined(project, query(x=text))

    [task] = planner.plan(dag, settings.load(dag.file)).tasks.values()

    assert isinstance(task, BigQueryQuery)
    assert task.params == {"x": text}
    assert not is_template(task.sql)


def test_params_of_sql_are_what_str_format_made_of_them(project: Path) -> None:
    dag = defined(project, query(text="a", number=1.5, flag=True, nothing=None, numbers=[1, 2], inner={"a": 1}))

    [task] = dag.tasks.values()

    assert isinstance(task, BigQueryQuery)
    assert task.params == {
        "text": "a",
        "number": "1.5",
        "flag": "True",
        "nothing": "None",
        "numbers": "[1, 2]",
        "inner": "{'a': 1}",
    }


@pytest.mark.parametrize(
    ("head", "on_query", "on_job"),
    [
        ({"script_cache": True, "expire_cache": 7200}, timedelta(hours=2), None),
        ({"script_cache": True, "expire_cache": 0}, True, None),
        ({"script_cache": True}, True, None),
        ({"script_cache": False, "expire_cache": 7200}, False, False),
        ({}, None, None),
    ],
)
def test_the_cache_of_scripts_switches_the_cache_of_results(
    project: Path, head: dict[str, Any], on_query: Any, on_job: Any
) -> None:
    dag = defined(project, query(), job(), **head)

    assert dag.tasks["t0"].cache == on_query
    assert dag.tasks["t1"].cache == on_job


@pytest.mark.parametrize(
    ("head", "attempts"), [({"retries": 2}, 3), ({"retries": 0}, 1), ({"retries": None}, 1), ({}, 1)]
)
def test_retries_are_attempts_but_one(project: Path, head: dict[str, Any], attempts: int) -> None:
    assert defined(project, query(), **head).retry.attempts == attempts


@pytest.mark.parametrize(
    ("written", "schedule"),
    [("", None), (None, None), ("@once", None), ("@daily", "0 0 * * *"), ("0 6 * * *", "0 6 * * *")],
)
def test_schedules(project: Path, written: str | None, schedule: str | None) -> None:
    assert defined(project, query(), schedule_interval=written).schedule == schedule


def test_notes_are_accepted(project: Path) -> None:
    dag = defined(project, query(), owner="me", start_date="2022-01-01", tags=["a"], description="What it is for")

    assert dag.description == "What it is for"


def test_params_and_dependencies_may_be_left_out(project: Path) -> None:
    dag = defined(project, {"script": "gcs.my-bucket.folder.bq.x", "params": ""}, {"script": "gcs.my-bucket.f.bq.x"})

    assert dag.upstream == {"t0": (), "t1": ()}


def test_the_local_cloud_pretends_to_be_the_project_that_is_named(project: Path) -> None:
    dag = defined(project, job())

    assert planner.plan(dag, settings.load(dag.file)).clients.target.project == "my-project"
    assert planner.plan(dag, settings.load(dag.file), target="my-project").clients.target.project == "my-project"


IAC = "gcs.my-bucket.iac.iac."


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        (
            [{"script": IAC + "dataproc_create_clustre"}],
            "downloaded and executed.*did you mean 'dataproc_create_cluster'",
        ),
        ([{"script": IAC + "x"}], r":1:\d+: task 't0': field 'script': iac script 'x' is Python that would be"),
        (
            [{"script": IAC + "dataproc_create_cluster", "params": {**CLUSTER, "workers": 5}}],
            r":1:\d+: task 't0': field 'params': dataproc_create_cluster has no 'workers'; known: cluster_name",
        ),
        ([job(region="nowhere")], "task 't0': field 'params': .*region"),
        (
            [{**job(), "params": "{'cluster_nam': 'x'}"}],
            "params need a text 'cluster_name'; did you mean 'cluster_nam'",
        ),
        (
            [job(), job(project_name="another")],
            "task 't1': .*'another', but task 't0' names 'my-project'; a run goes to",
        ),
        ([job(), job(project_name=5)], "project_name is 5"),
        ([query(), {**query(), "dependencies": ["t0", "t0"]}], r"task 't1': field 'dependencies': 't0' is repeated"),
        (
            [{**query(), "params": "{'a': 1, 'a': 2}"}],
            r"field 'params': 'a' is given twice.*\(character 10 of params\)",
        ),
        ([{"script": "gcs.bucket.f.sprak.x"}], "no engine 'sprak'; did you mean 'spark'"),
        ([{"script": "gcs.bucket.folder name.bq.x"}], "names no object"),
    ],
)
def test_what_is_refused_is_told_with_its_place(project: Path, tasks: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(DefinitionError, match=message) as raised:
        defined(project, *tasks)

    assert str(raised.value).startswith(f"{project}/old.json:1:")
    assert raised.value.excerpt is not None


def test_a_real_target_must_be_the_project_that_is_named(project: Path) -> None:
    dag = defined(project, job())

    with pytest.raises(
        SettingsError, match=r"'other' is project 'other', but the pipeline is written for .*'my-project'"
    ):
        planner.plan(dag, settings.load(dag.file), target="other")


def test_the_documented_definition_and_script_hold(project: Path) -> None:
    document = (DEFINITION.parents[2] / "docs" / "pydag-2022.md").read_text(encoding="utf-8")
    (project / "old.json").write_text(document.split("```json\n")[1].split("```")[0])
    script = document.split("```sql\n")[1].split("```")[0]
    params = {
        "project": "my-project", "dataset": "sales", "table": "cars", "columns": "id INT64, tags ARRAY<DATE> NOT NULL",
        "day": "day", "keys": "id, category", "source": "my-project.sales.staging", "year": "2022",
        "category": "it's", "ids": "1, 2",
    }  # fmt: skip

    assert set(loader.load(project / "old.json").tasks) == {"cluster", "ingest", "extract"}
    assert "category = 'it\\'s' AND id NOT IN (1, 2)" in fill(Template(text=script), params, where="here").sql
