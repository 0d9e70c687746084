"""Submits that the local cloud answers with 503 for longer than anybody waits: their rows are there once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pydag_gcp.local import daemon
from tests.crash.project import Project

#: Adds rows to a table that is there. A submit is given up after half a second, and not after ten minutes.
PIPELINE = """
from pydag_gcp import DAG, Table, remote_attempt
from pydag_gcp.operators import BigQueryQuery

remote_attempt.RESEND_LIMIT = 0.5

with DAG("adds", params={"round": 0}) as dag:
    create = BigQueryQuery(
        task_id="create",
        sql="CREATE TABLE IF NOT EXISTS {{ table }} (round INT64, n INT64)",
        params={"table": Table("d.added")},
    )
    add = BigQueryQuery(
        task_id="add",
        sql="INSERT INTO {{ table }} (round, n) SELECT {{ round }}, n FROM UNNEST(GENERATE_ARRAY(1, 20)) AS n",
        params={"table": Table("d.added"), "round": "{{ params.round }}"},
    )
    create >> add
"""
INSERT = "bigquery.jobs.insert"


@pytest.fixture(scope="module")
def adds_project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("adds")
    (folder / "pydag.toml").write_text("")
    (folder / "adds.py").write_text(PIPELINE)
    project = Project(folder=folder, pipeline="adds.py")
    daemon.up(project.local)
    yield project
    daemon.down(project.local)


@pytest.fixture
def adds(adds_project: Project) -> Iterator[Project]:
    yield adds_project
    adds_project.reap()
    adds_project.clear_faults()


def left(project: Project, number: int, fault: str) -> str:
    """The id of a run of a round that was left as its INSERT's submit got no answer but 503."""
    project.fault(INSERT, fault, task="add")
    project.fault(INSERT, "503", call=2, times=10**6, task="add")
    ended = project.pydag("run", project.pipeline, "--param", f"round={number}", "--json")
    run_id: str = ended.document["run_id"]
    assert ended.code == 3, ended.out + ended.err
    assert f"error: run {run_id}: cannot tell whether job pydag-" in ended.err
    assert "of task 'add' was accepted: 503 POST" in ended.err
    assert project.stored(f"SELECT state FROM runs WHERE run_id = '{run_id}'") == [("interrupted",)]
    assert project.stored(f"SELECT state, ended FROM tries WHERE run_id = '{run_id}' AND task_id = 'add'") == [
        ("running", None)
    ]
    return run_id


def rows_of(project: Project, number: int) -> int:
    return sum(round_ == number for round_, _ in project.rows("added"))


def test_resume_adds_the_rows_once(adds: Project) -> None:
    run_id = left(adds, 1, "accepted-503")
    adds.clear_faults()
    assert adds.pydag("resume").code == 0
    assert rows_of(adds, 1) == 20
    assert adds.jobs(run_id).count(("add", "DONE", True)) == 1


@pytest.mark.parametrize(("number", "fault"), [(2, "accepted-503"), (3, "503")])
def test_the_next_run_adds_no_rows_twice(adds: Project, number: int, fault: str) -> None:
    run_id = left(adds, number, fault)
    adds.clear_faults()
    document = adds.run("--param", f"round={number}")
    added = {"success": 1, "cached": 0}[document["tasks"]["add"]["state"]]
    assert rows_of(adds, number) == 20
    done = [adds.jobs(one).count(("add", "DONE", True)) for one in (run_id, document["run_id"])]
    assert done == [1 - added, added]
