"""A project with a small pipeline, its local cloud, and the command line as real processes that can be killed."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud.bigquery import Client

from pydag_gcp.local import daemon

PYDAG = str(Path(sys.executable).with_name("pydag"))

PIPELINE = """
from pydag_gcp import DAG, GCSObject, Retry, Table
from pydag_gcp.operators import BigQueryQuery, GCSToBigQuery

LOADED, APPENDED, FACT = Table("d.loaded"), Table("d.appended"), Table("d.fact")

with DAG("small", retry=Retry(attempts=3, wait=0.1, jitter=0)) as dag:
    create = BigQueryQuery(
        task_id="create", sql="CREATE OR REPLACE TABLE {{ table }} (n INT64, name STRING)", params={"table": APPENDED}
    )
    load = GCSToBigQuery(
        task_id="load",
        source=GCSObject("gs://input/rows.csv"),
        destination=LOADED,
        format="CSV",
        schema={"n": "INT64", "name": "STRING"},
        write="WRITE_TRUNCATE",
    )
    inserts = [
        BigQueryQuery(
            task_id=f"insert_{half}",
            sql="INSERT INTO {{ table }} (n, name) SELECT n, name FROM {{ source }} WHERE MOD(n, 2) = @half",
            params={"table": APPENDED, "source": LOADED, "half": half},
        )
        for half in (0, 1)
    ]
    fact = BigQueryQuery(
        task_id="fact",
        sql="SELECT COUNT(*) AS n, SUM(n) AS total FROM {{ source }}",
        params={"source": APPENDED},
        destination=FACT,
        write="WRITE_TRUNCATE",
    )
    [create, load] >> inserts[0] >> inserts[1] >> fact
"""
ROWS = 1000
#: COUNT(*) and SUM(n) of 0 .. 999
FACT = [(ROWS, ROWS * (ROWS - 1) // 2)]


@dataclass(frozen=True, kw_only=True)
class Project:
    """The project's folder and what a user does with it."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "PYDAG_HOME": str(self.folder / ".pydag")}

    @property
    def local(self) -> Path:
        return self.folder / ".pydag" / "local"

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [PYDAG, *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> dict[str, Any]:
        """Run the pipeline to its end and return the document it prints."""
        process = self.start("run", "small.py", "--json", *arguments)
        out, err = process.communicate(timeout=120)
        document: dict[str, Any] = json.loads(out)
        assert process.returncode == 0, out + err
        return document

    def endpoints(self) -> daemon.Endpoints:
        return daemon.up(self.local)

    def kill_daemon(self) -> None:
        os.kill(self.endpoints().pid, signal.SIGKILL)

    def fault(self, method: str, fault: str, **options: float) -> None:
        """Ask the local cloud for a fault."""
        body = json.dumps({"method": method, "fault": fault, **options}).encode()
        url = f"{self.endpoints().bigquery}/_pydag/faults"
        request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"}, method="POST")
        urllib.request.urlopen(request, timeout=10).close()

    def client(self) -> Client:
        found = self.endpoints()
        return Client(
            project=found.project,
            credentials=AnonymousCredentials(),
            client_options={"api_endpoint": found.bigquery},
        )

    def jobs(self, run_id: str) -> list[tuple[str, str, bool]]:
        """Task, state and success of every job that BigQuery has of a run."""
        with closing(self.client()) as client:
            found = [(job.labels or {}, job) for job in client.list_jobs(max_results=1000)]
            return sorted(
                (labels["pydag-task"], job.state, job.error_result is None)
                for labels, job in found
                if labels.get("pydag-run") == run_id
            )

    def rows(self, table: str) -> list[tuple[Any, ...]]:
        with closing(self.client()) as client:
            return sorted(row.values() for row in client.list_rows(f"pydag-local.d.{table}"))

    def stored(self, query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.folder / ".pydag" / "pydag.db")) as connection:
            return connection.execute(query).fetchall()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("small")
    (folder / "pydag.toml").write_text("")
    (folder / "small.py").write_text(PIPELINE)
    seed = folder / "seed" / "input"
    seed.mkdir(parents=True)
    (seed / "rows.csv").write_text("".join(f"{n},name {n}\n" for n in range(ROWS)))
    project = Project(folder=folder)
    daemon.up(project.local, seed=folder / "seed")
    yield project
    daemon.down(project.local)
