"""A definition and scripts of 2022, unmodified, on the local cloud."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PIPELINES = HERE.parents[1] / "pipelines"
INPUT = PIPELINES / "data" / "project-pydag" / "input" / "test.csv"

SETTINGS = """
[spark]
spark.jars = "gs://spark-lib/bigquery/spark-bigquery-latest_2.12.jar"
temporaryGcsBucket = "pydag-temporary-bucket"
"""


@dataclass(frozen=True, kw_only=True)
class Project:
    """A folder with an old definition, beside a local cloud with its scripts."""

    folder: Path
    buckets: Path
    bigquery: str

    def pydag(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command line in a process of its own."""
        return _pydag(self.folder, *arguments)


def _pydag(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("pydag")), *arguments]
    environment = {**os.environ, "PYDAG_HOME": str(folder / ".pydag")}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("pydag2022")
    (folder / "pydag.toml").write_text(SETTINGS)
    shutil.copy(HERE / "definition.json", folder / "old.json")
    up = json.loads(_pydag(folder, "local", "up", "--seed", str(HERE / "buckets"), "--json").stdout)
    buckets = Path(up["buckets"])
    (buckets / "pydag-temporary-bucket").mkdir()
    shutil.copy(INPUT, buckets / "project-pydag" / "module_name" / "test.csv")
    yield Project(folder=folder, buckets=buckets, bigquery=up["bigquery"])
    _pydag(folder, "local", "down")


def changed(old: Project, before: str, after: str) -> None:
    """Write `changed.json`: the definition with one thing replaced."""
    text = (old.folder / "old.json").read_text()
    assert before in text
    (old.folder / "changed.json").write_text(text.replace(before, after, 1))


@pytest.mark.spark
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_definition_gives_the_fact_table(old: Project) -> None:
    from google.auth.credentials import AnonymousCredentials
    from google.cloud.bigquery import Client

    # When
    ended = old.pydag("run", "old.json", "--json")

    # Then it holds the rows that an independent script computes, in the project that the definition names
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert {task["state"] for task in json.loads(ended.stdout)["tasks"].values()} == {"success"}
    credentials, options = AnonymousCredentials(), {"api_endpoint": old.bigquery}
    client = Client(project="acme-data-2022", credentials=credentials, client_options=options)
    with client:
        rows = Counter(row.values() for row in client.list_rows("acme-data-2022.datasettest.mytable3"))
    assert rows == Counter(runpy.run_path(str(PIPELINES / "expected_fact.py"))["fact_rows"](INPUT))
    log = next((old.folder / ".pydag" / "logs").rglob("initial_ingestion_1/1.log")).read_text()
    assert "STAGING_TO_FACT_2022_initial_ingestion_1 is ready" in log


YEAR = (
    "task 'extract_from_stg_1': gs://project-pydag/module_name/extract_from_stg.sql:4:37: "
    "{year} stands for a number, quoted text, true or false, got '2022 OR TRUE'"
)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("'year':'2022'", "'year':'2022 OR TRUE'", YEAR),
        ("bq.insert_to_fact", "bq.no_such", "no SQL file 'gs://project-pydag/module_name/no_such.sql'; upload it"),
        ('["extract_from_stg_1", "extract_from_stg_2"]', "[]", "is in a race with task "),
    ],
)
def test_a_script_is_read_and_checked_before_anything_runs(old: Project, before: str, after: str, message: str) -> None:
    # Given a definition that is wrong together with its scripts
    changed(old, before, after)

    # When
    ended = old.pydag("run", "changed.json")

    # Then
    assert ended.returncode == 2, ended.stdout + ended.stderr
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "running" not in ended.stdout + ended.stderr
