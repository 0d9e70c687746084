"""The fixtures for users' own tests."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from google.api_core.exceptions import NotFound
from google.cloud import bigquery, storage

from pydag_gcp.errors import DefinitionError
from pydag_gcp.states import TaskState

if TYPE_CHECKING:  # pytest loads it as a plugin, and would warn had it been imported before
    from pydag_gcp.testing import LocalCloud

pytest_plugins = ["pydag_gcp.testing"]

ROOT = Path(__file__).parent.parent

PIPELINE = """
from pydag_gcp import DAG, Table
from pydag_gcp.operators import BigQueryQuery

with DAG("doubled", params={"day": "2022-01-31"}) as dag:
    BigQueryQuery(
        task_id="double",
        sql="SELECT n * {{ factor }} AS n FROM {{ numbers }}",
        params={"numbers": Table("a.numbers"), "factor": 2},
        destination=Table("a.doubled"),
    )
"""


@pytest.fixture
def pipeline(project: Path) -> Path:
    """A pipeline of a project that would go to a real one."""
    (project / "pydag.toml").write_text('target = "my-project"\nstore = "sqlite:////nowhere/pydag.db"\n')
    (project / "doubled.py").write_text(PIPELINE)
    return project / "doubled.py"


@pytest.mark.parametrize("turn", [1, 2])
def test_each_test_begins_with_nothing(turn: int, local_cloud: LocalCloud) -> None:
    assert list(local_cloud.storage.list_buckets()) == []
    assert list(local_cloud.bigquery.list_datasets()) == []
    assert list(local_cloud.bigquery.list_datasets("other-project")) == []

    local_cloud.put("gs://landing/a/b.csv", "1")
    local_cloud.storage.create_bucket("elsewhere", project="other-project")
    local_cloud.create_table("a.b", {"n": "INT64"}, [{"n": turn}])
    local_cloud.create_table("other-project.a.b", {"n": "INT64"})


def test_a_run_ends_here_whatever_the_settings_say(local_cloud: LocalCloud, pipeline: Path) -> None:
    local_cloud.create_table("a.numbers", {"n": "INT64"}, [{"n": 1}, {"n": 20}])

    result = local_cloud.run(pipeline)

    assert (result.state, result.target) == ("success", "local")
    assert sorted(row["n"] for row in local_cloud.rows("a.doubled")) == [2, 40]
    assert not (pipeline.parent / ".pydag").exists()


def test_a_run_that_fails_raises_nothing(local_cloud: LocalCloud, pipeline: Path) -> None:
    result = local_cloud.run(pipeline)

    assert result.tasks["double"].state is TaskState.FAILED
    assert "a.numbers" in str(result.tasks["double"].error)


def test_a_pipeline_that_is_wrong_raises(local_cloud: LocalCloud, pipeline: Path) -> None:
    with pytest.raises(DefinitionError, match="no param 'dya'"):
        local_cloud.run(pipeline, params={"dya": "2022-02-01"})


def test_values_come_back_as_they_were_put(local_cloud: LocalCloud, tmp_path: Path) -> None:
    row = {"day": date(2022, 1, 31), "amount": Decimal("1.50"), "name": "ñ\n", "parts": [1, 2], "none": None}
    kinds = {"day": "DATE", "amount": "NUMERIC", "name": "STRING", "none": "BOOL"}
    (tmp_path / "buckets" / "landing").mkdir(parents=True)
    (tmp_path / "buckets" / "landing" / "seeded.txt").write_text("seeded")

    local_cloud.create_table("a.t", kinds, [{name: row[name] for name in kinds}])
    local_cloud.put("gs://landing/new.txt", "ñ")
    local_cloud.seed(tmp_path / "buckets")

    assert local_cloud.rows("a.t") == [{name: row[name] for name in kinds}]
    assert local_cloud.query("SELECT COUNT(*) AS n FROM a.t") == [{"n": 1}]
    assert local_cloud.get("gs://landing/new.txt") == "ñ".encode()
    assert local_cloud.get("gs://landing/seeded.txt") == b"seeded"
    with pytest.raises(NotFound):
        local_cloud.rows("a.other")


def test_googles_clients_are_led_here_wherever_they_are_made(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/secret/key.json")
    local_cloud: LocalCloud = request.getfixturevalue("local_cloud")
    local_cloud.create_table("a.t", {"n": "INT64"}, [{"n": 1}])
    local_cloud.put("gs://landing/a", "1")

    buckets = [bucket.name for bucket in storage.Client().list_buckets()]

    assert buckets == ["landing"]
    assert os.environ["BIGQUERY_EMULATOR_HOST"] == local_cloud.bigquery._connection.API_BASE_URL
    assert "GOOGLE_APPLICATION_CREDENTIALS" not in os.environ
    assert isinstance(local_cloud.bigquery, bigquery.Client)


ENDS_BADLY = """
import json, os, pathlib

def test_that_fails(local_cloud):
    status = json.loads(pathlib.Path(os.environ["PYDAG_HOME"], "../local-cloud0/daemon.json").read_text())
    pathlib.Path("daemon.json").write_text(json.dumps(status))
    local_cloud.put("gs://landing/a", "1")
    assert False

def test_that_is_wrong(local_cloud):
    local_cloud.run("pipelines/sales.py", params={"no": 1})
"""


def examples() -> list[str]:
    """The files that docs/testing.md shows."""
    return re.findall(r"^```py\n(.*?)^```$", (ROOT / "docs" / "testing.md").read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_the_documented_tests_pass_and_nothing_is_left_of_a_session(project: Path) -> None:
    conftest, *tests = examples()
    readme = re.search(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert readme is not None
    (project / "pipelines").mkdir()
    (project / "pipelines" / "sales.py").write_text(readme[1])
    (project / "pytest.ini").write_text("[pytest]\n")
    (project / "conftest.py").write_text(conftest)
    for number, text in enumerate([*tests, ENDS_BADLY]):
        (project / f"test_{number}.py").write_text(text)

    command = [sys.executable, "-m", "pytest", "-W", "error", "--basetemp", str(project / "tmp")]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)

    assert f"2 failed, {len(tests)} passed" in done.stdout, done.stdout
    assert "DAG 'sales': no param 'no'" in done.stdout
    assert "planner.py" not in done.stdout  # only lines of the user's own are shown
    left = json.loads((project / "daemon.json").read_text())
    assert not Path(left["buckets"]).parent.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(left["pid"], 0)


def test_a_fault_that_could_never_happen_is_refused(local_cloud: LocalCloud) -> None:
    with pytest.raises(ValueError, match=r"no method of 'bigquery' matches 'bigquery\.jobs\.isnert'"):
        local_cloud.fault("bigquery.jobs.isnert", "503")
    with pytest.raises(ValueError, match="teapot"):
        local_cloud.fault("bigquery.jobs.insert", "teapot")


@pytest.mark.parametrize("turn", [1, 2])
def test_faults_and_calls_are_those_of_one_test(turn: int, local_cloud: LocalCloud) -> None:
    assert local_cloud.calls() == []
    local_cloud.fault("storage.objects.get", "503", call=100)
    local_cloud.put("gs://landing/a", "1")
    assert "storage.objects.insert" in {call.method for call in local_cloud.calls()}
