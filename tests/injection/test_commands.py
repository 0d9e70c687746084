"""Hostile words on the command line, and hostile values on their way from task to task."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.injection.conftest import Cloud

CORPUS = runpy.run_path(str(Path(__file__).with_name("corpus.py")))
VALUES: list[str] = CORPUS["VALUES"]
SURROGATES: list[str] = CORPUS["SURROGATES"]
PRIVATE: str = CORPUS["PRIVATE"]

PATHS = ["../../outside", "../../../outside", "..", ".", "/", "%", "_", "*", "%25", "' OR 1=1 --", "outside\x00", "~"]

LOCAL = """
from pydag_gcp import DAG, task

@task
def step() -> int:
    return 1

with DAG("commands") as dag:
    step()
"""

COMMANDS = {
    "show": ["show"],
    "logs": ["logs"],
    "logs of a task": ["logs", "RUN"],
    "runs of a DAG": ["runs", "--dag"],
    "run": ["run"],
    "validate": ["validate"],
    "graph": ["graph"],
    "run only": ["run", "pipeline.py", "--only"],
    "run from": ["run", "pipeline.py", "--from"],
    "a target": ["run", "pipeline.py", "--target"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_word_leads_to_nothing_else(cloud: Cloud, command: str) -> None:
    # Given a run that ended, and a file that is none of pydag's business
    Path("pipeline.py").write_text(LOCAL)
    ran = cloud.pydag("run", "pipeline.py", "--json")
    run_id = json.loads(ran.out)["run_id"]
    for name in ("outside", "outside.py", "outside.log", "outside/1.log", "outside.yaml"):
        for folder in (Path.cwd().parent, Path.cwd()):
            file = folder / "d" / name if "/" in name else folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"raise SystemExit({PRIVATE!r})")
    words = [run_id if word == "RUN" else word for word in COMMANDS[command]]

    for value in [*PATHS, *VALUES[::4], *SURROGATES]:
        if value.startswith("-") or (command == "a target" and re.fullmatch("[a-z]{3,}|", value)):
            continue  # an option, or what may well be a project
        # When a command is given a word that names no run, task, DAG or file
        ended = cloud.pydag(*words, value)
        # Then it says so in one line, and shows nothing
        known = not value and command in {"show", "logs", "runs of a DAG"}
        assert ended.refused or known, (value, ended)
        assert PRIVATE not in ended.out + ended.err, value
        assert not any(ord(c) < 32 and c not in "\n\t" for c in ended.err), value


PASSED_ON = """
from pydag_gcp import DAG, Table, task
from pydag_gcp.operators import BigQueryQuery

@task
def hostile() -> dict[str, list[str]]:
    return {"values": VALUES}

@task
def returned(values: list[str], one: str) -> list[str]:
    assert one == values[0]
    return values

with DAG("passed_on", params={"v0": "not this"}) as dag:
    found = hostile()
    write = BigQueryQuery(
        task_id="write",
        sql="SELECT x, @first AS y FROM UNNEST({{ values }}) AS x",
        params={"values": found.output["values"], "first": found.output["values"][0]},
        destination=Table("shop.passed_on"),
    )
    back = returned(found.output["values"], found.output["values"][0])
"""


def test_values_from_a_task_are_values_and_nothing_else(cloud: Cloud) -> None:
    # Given a task that returns every hostile value, templates among them
    Path("pipeline.py").write_text(PASSED_ON.replace("VALUES", repr(VALUES)))
    before = cloud.world()
    # When another task puts them into SQL, and a third one takes them as arguments
    ended = cloud.run()
    # Then they arrive as they are
    assert ended.code == 0, ended.err
    after = cloud.world()
    assert sorted(after.pop("shop.passed_on")) == sorted((value, VALUES[0]) for value in VALUES)
    assert json.loads(ended.out)["tasks"]["returned"]["result"] == VALUES
    before.pop("shop.passed_on", None)
    assert after == before


CHOSEN = """
from pydag_gcp import DAG, Table, task
from pydag_gcp.operators import BigQueryQuery

@task
def chosen() -> object:
    return CHOICE

with DAG("chosen") as dag:
    BigQueryQuery(
        task_id="write", sql="SELECT @t AS x", params={"t": chosen()}, destination=Table("shop.chosen")
    )
"""


@pytest.mark.parametrize("choice", [{"table": "shop.private"}, [{"table": "shop.private"}], {"secret": "env:HOME"}, {}])
def test_a_task_chooses_no_table_and_no_secret_for_another_one(cloud: Cloud, choice: object) -> None:
    Path("pipeline.py").write_text(CHOSEN.replace("CHOICE", repr(choice)))
    before = cloud.world()
    ended = cloud.run()
    assert ended.code == 1, ended
    assert "task 'write'" in ended.err
    assert cloud.world() == before


YAML = """
dag: as_yaml
params: {v: ""}
tasks:
  write:
    operator: BigQueryQuery
    sql: "SELECT {{ v }} AS a, @v AS b, {{ params.v }} AS c FROM {{ canary }}"
    params: {v: "{{ params.v }}", canary: {table: shop.canary}}
    destination: shop.as_yaml
"""


def test_yaml_is_no_way_around(cloud: Cloud) -> None:
    Path("pipeline.yaml").write_text(YAML)
    before = cloud.world()
    for value in (
        *CORPUS["STATEMENTS"][:6],
        *CORPUS["TEMPLATES"][:4],
        "'",
        "\\",
        "a\nb: c",
        "!!python/object:os.system x",
    ):
        ended = cloud.pydag("run", "pipeline.yaml", "--json", "--param", f"v={value}")
        assert ended.code == 0, (value, ended)
        (row,) = cloud.bigquery.list_rows("shop.as_yaml")
        assert row.values() == (value, value, value)
    after = cloud.world()
    after.pop("shop.as_yaml")
    assert after == before


def test_a_param_of_the_command_line_is_text(cloud: Cloud) -> None:
    Path("pipeline.py").write_text(LOCAL.replace('"commands"', '"commands", params={"v": ""}'))
    for value in SURROGATES:
        ended = cloud.run(v=value)
        assert ended.refused, ended
        assert "UTF-8" in ended.err


JOB = """
from pydag_gcp import DAG, Cluster
from pydag_gcp.operators import DataprocPySparkJob

with DAG("job", params=dict.fromkeys([f"v{n}" for n in range(COUNT)], "")) as dag:
    DataprocPySparkJob(
        task_id="job",
        cluster=Cluster("c"),
        main="job.py",
        args=["--x={{ params.v%d }}" % n for n in range(COUNT)] + ["{{ params.v%d }}" % n for n in range(COUNT)],
        properties={"spark.x": "{{ params.v0 }}"},
    )
"""


def test_arguments_of_a_job_are_passed_one_by_one(cloud: Cloud) -> None:
    # Given a job whose arguments are hostile values, on a service that keeps what it is sent
    from pydag_gcp import loader, settings
    from pydag_gcp.planner import plan

    Path("job.py").write_text("")
    Path("pipeline.py").write_text(JOB.replace("COUNT", str(len(VALUES))))
    dag = loader.load(Path("pipeline.py"))
    params = {f"v{number}": value for number, value in enumerate(VALUES)}
    # When the job is planned
    task = plan(dag, settings.load(), params=params).tasks["job"]
    # Then each argument is one argument, as it was given
    assert task.model_dump()["args"] == (*(f"--x={value}" for value in VALUES), *VALUES)
    assert task.model_dump()["properties"] == {"spark.x": VALUES[0]}
