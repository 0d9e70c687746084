"""A project with a pipeline, its local cloud, and the command line as real processes that can be killed.

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
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud.bigquery import Client

from pydag_gcp.local import daemon

PYDAG = str(Path(sys.executable).with_name("pydag"))


@dataclass(frozen=True, kw_only=True)
class Ended:
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """What ``--json`` printed."""
        assert self.out, self.err
        found: dict[str, Any] = json.loads(self.out)
        return found


@dataclass(frozen=True, kw_only=True)
class Project:
    """The project's folder and what a user does with it.

    Attributes:
        pipeline: The file that is run.
        settings: Environment variables of its commands.
    """

    folder: Path
    pipeline: str = "small.py"
    settings: Mapping[str, str] = field(default_factory=dict)
    _started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        # With the fault handler on, SIGABRT makes Python print the stacks of all its threads.
        own = {"PYDAG_HOME": str(self.folder / ".pydag"), "PYTHONFAULTHANDLER": "1"}
        return {**os.environ, **own, **self.settings}

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

    def pydag(self, *arguments: str, timeout: float = 100.0) -> Ended:
        """Run a command to its end."""
        process = self.start(*arguments)
        out, err = self.finish(process, timeout=timeout)
        return Ended(code=process.returncode, out=out, err=err)

    def run(self, *arguments: str) -> dict[str, Any]:
        """Run the pipeline to its end and return the document it prints."""
        ended = self.pydag("run", self.pipeline, "--json", *arguments)
        assert ended.code == 0, ended.out + ended.err
        return ended.document

    def endpoints(self) -> daemon.Endpoints:
        return daemon.up(self.local)

    def kill_daemon(self) -> None:
        """Kill the local cloud, if it is there."""
        if pid := daemon.Home(folder=self.local).holder():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

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

    def await_held(self, number: int, *processes: subprocess.Popen[str]) -> None:
        """Wait until the local cloud holds so many calls of what one of these processes drives."""
        deadline = time.monotonic() + 60
        while self._held() < number:
            if all(process.poll() is not None for process in processes) or time.monotonic() > deadline:
                said = [self.finish(process, timeout=1) for process in processes]
                pytest.fail(f"made no call that is held\n{said}")
            time.sleep(0.02)

    def _held(self) -> int:
        with urllib.request.urlopen(f"{self.endpoints().bigquery}/_pydag/holds", timeout=10) as answer:
            return len(json.load(answer)["calls"])

    def calls(self) -> dict[str, int]:
        """How often each method was called."""
        with urllib.request.urlopen(f"{self.endpoints().bigquery}/_pydag/calls", timeout=10) as answer:
            found: dict[str, int] = json.load(answer)
            return found

    def calls_of(self, command: Callable[[], object]) -> Counter[str]:
        """How often each method is called by a command, and by nobody else meanwhile."""
        before = Counter(self.calls())
        command()
        return Counter(self.calls()) - before

    def fault(self, method: str, fault: str, **options: float | str) -> None:
        """Ask the local cloud for a fault."""
        body = json.dumps({"method": method, "fault": fault, **options}).encode()
        url = f"{self.endpoints().bigquery}/_pydag/faults"
        request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"}, method="POST")
        urllib.request.urlopen(request, timeout=10).close()

    def clear_faults(self) -> None:
        """Have the local cloud forget the faults that did not happen, and end the calls that it holds."""
        for what in ("faults", "holds"):
            url = f"{self.endpoints().bigquery}/_pydag/{what}"
            urllib.request.urlopen(urllib.request.Request(url, method="DELETE"), timeout=10).close()

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
        """All rows of a table of the dataset ``d``, or of the one that is named."""
        name = table if "." in table else f"d.{table}"
        with closing(self.client()) as client:
            return sorted(row.values() for row in client.list_rows(f"pydag-local.{name}"))

    def query(self, sql: str) -> None:
        """Change something in the local cloud, as somebody else would."""
        with closing(self.client()) as client:
            client.query_and_wait(sql)

    def put(self, name: str, content: str) -> None:
        """Write an object, named ``bucket/name``: it is a plain file."""
        file = Path(self.endpoints().buckets) / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)

    def succeeded(self, run_id: str) -> set[str]:
        """The tasks that a run has executed with success; a cached one was not."""
        ended = "state = 'success' AND result IS NOT NULL"
        found = self.stored(f"SELECT task_id FROM tries WHERE run_id = '{run_id}' AND {ended}")
        return {str(task_id) for (task_id,) in found}

    def last_run(self) -> str:
        """The id of the newest run, or nothing."""
        found = self.stored("SELECT run_id FROM runs ORDER BY started DESC LIMIT 1")
        return str(found[0][0]) if found else ""

    def stored(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of the metadata database, which is SQLite; none if no run has made it yet."""
        if not (self.folder / ".pydag" / "pydag.db").exists():
            return []
        with closing(sqlite3.connect(self.folder / ".pydag" / "pydag.db")) as connection:
            return connection.execute(query).fetchall()
