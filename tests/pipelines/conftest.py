"""The pipeline's scripts, and a local cloud in which its commands run as real processes."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from google.cloud.bigquery import Client

PIPELINES = Path(__file__).parents[2] / "pipelines"
BUCKET = "project-pydag"
TABLES = ("mytable", "mytable1", "mytable2", "mytable3")

Rows = Counter[tuple[Any, ...]]


@pytest.fixture(scope="session")
def job() -> dict[str, Any]:
    """The names that csv_to_staging.py defines."""
    return runpy.run_path(str(PIPELINES / "csv_to_staging.py"))


@pytest.fixture(scope="session")
def sample_data() -> dict[str, Any]:
    """The names that sample_data.py defines."""
    return runpy.run_path(str(PIPELINES / "sample_data.py"))


@pytest.fixture(scope="session")
def expected_fact() -> Callable[[Path], Rows]:
    """What the fact table must hold for an input, computed without pydag."""
    fact_rows = runpy.run_path(str(PIPELINES / "expected_fact.py"))["fact_rows"]
    return lambda file: Counter(fact_rows(file))


@dataclass(frozen=True, kw_only=True)
class Cloud:
    """A local cloud of its own, and the `pydag` command that talks to it."""

    environment: dict[str, str]
    buckets: Path
    bigquery: Client

    def pydag(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command line in a process of its own."""
        command = [str(Path(sys.executable).with_name("pydag")), *arguments]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)

    def ingest(self, name: str, dataset: str) -> subprocess.CompletedProcess[str]:
        """Run the pipeline on an object of the sample bucket."""
        given = ("--param", f"input=gs://{BUCKET}/{name}", "--param", f"dataset={dataset}")
        return self.pydag("run", str(PIPELINES / "staging_to_fact.py"), *given)

    def put(self, name: str, content: bytes) -> Path:
        """Write an object: it is a plain file."""
        file = self.buckets / BUCKET / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        return file

    def rows(self, dataset: str, table: str = "mytable3") -> Rows:
        """All rows of a table."""
        found = self.bigquery.list_rows(f"{self.bigquery.project}.{dataset}.{table}")
        return Counter(row.values() for row in found)

    def snapshot(self, dataset: str) -> dict[str, Rows]:
        """All rows of all tables of the pipeline."""
        return {table: self.rows(dataset, table) for table in TABLES}


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    from google.auth.credentials import AnonymousCredentials
    from google.cloud.bigquery import Client

    environment = {**os.environ, "PYDAG_HOME": str(tmp_path_factory.mktemp("cloud") / ".pydag")}
    command = [str(Path(sys.executable).with_name("pydag")), "local"]
    up = [*command, "up", "--seed", str(PIPELINES / "data"), "--json"]
    started = json.loads(subprocess.run(up, env=environment, capture_output=True, text=True, check=True).stdout)
    client = Client(
        project=started["project"],
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": started["bigquery"]},
    )
    yield Cloud(environment=environment, buckets=Path(started["buckets"]), bigquery=client)
    client.close()
    subprocess.run([*command, "down"], env=environment, capture_output=True, check=True)
