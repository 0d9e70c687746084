"""A project with a small pipeline, its local cloud, and the command line as real processes that can be killed.

However a test ends, its processes end with it. One that does not end in time says what every thread of it is doing.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
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
    _started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        # With the fault handler on, SIGABRT makes Python print the stacks of all its threads.
        return {**os.environ, "PYDAG_HOME": str(self.folder / ".pydag"), "PYTHONFAULTHANDLER": "1"}

    @property
    def local(self) -> Path:
        return self.folder / ".pydag" / "local"

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [PYDAG, *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._started.append(process)
        return process

    def finish(self, process: subprocess.Popen[str], *, timeout: float = 100.0) -> tuple[str, str]:
        """Wait for a process to end and return what it printed; fail with its stacks and the daemon's if it does not.

        Args:
            process: From :meth:`start`.
            timeout: In seconds.
        """
        with suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=timeout)
        process.send_signal(signal.SIGABRT)
        out, err = process.communicate(timeout=10)
        pytest.fail(f"did not end within {timeout:g} s\n{out}\n{err}\n== daemon.log\n{self._daemon_stacks()}")

    def _daemon_stacks(self) -> str:
        """Have the daemon say what it is doing, which ends it; return the end of its log."""
        place = daemon.Home(folder=self.local)
        if pid := place.holder():
            os.kill(pid, signal.SIGABRT)
            time.sleep(1)
        return place.log.read_text(errors="replace")[-20000:] if place.log.exists() else "there is none"

    def reap(self) -> None:
        """End the processes that a test left behind, and close their pipes."""
        while self._started:
            process = self._started.pop()
            process.kill()
            process.wait()
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()

    def run(self, *arguments: str) -> dict[str, Any]:
        """Run the pipeline to its end and return the document it prints."""
        process = self.start("run", "small.py", "--json", *arguments)
        out, err = self.finish(process)
        assert process.returncode == 0, out + err
        document: dict[str, Any] = json.loads(out)
        return document

    def endpoints(self) -> daemon.Endpoints:
        return daemon.up(self.local)

    def kill_daemon(self) -> None:
        os.kill(self.endpoints().pid, signal.SIGKILL)

    def await_call(self, process: subprocess.Popen[str], method: str, number: int) -> None:
        """Wait until a method has been called so often.

        Args:
            process: Who will call it.
            method: The API method.
            number: How often since this daemon was started.
        """
        deadline = time.monotonic() + 60
        while self.calls().get(method, 0) < number:
            if process.poll() is not None or time.monotonic() > deadline:
                out, err = self.finish(process, timeout=1)
                pytest.fail(f"ended without a call of {method}\n{out}\n{err}")
            time.sleep(0.02)

    def calls(self) -> dict[str, int]:
        """How often each method was called."""
        with urllib.request.urlopen(f"{self.endpoints().bigquery}/_pydag/calls", timeout=10) as answer:
            found: dict[str, int] = json.load(answer)
            return found

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
def small_project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
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


@pytest.fixture
def small(small_project: Project) -> Iterator[Project]:
    """The project that a module's tests share; the processes of each end with it."""
    yield small_project
    small_project.reap()
