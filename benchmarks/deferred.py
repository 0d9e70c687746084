"""What it costs to wait for many jobs at once, and how soon their ends are seen.

::

    python benchmarks/deferred.py [--jobs 1000] [--seconds 60] [--spread 180] [--processors 8]

One `pydag run` on the local cloud starts that many BigQuery jobs, which stay pending for so many seconds and then end
over so many more. While all of them are pending its process is measured, alone: the most memory it ever held, and the
processor time it takes. How late an end is seen is counted from the job's `endTime` to the end of its task, which also
reads the job's result.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from google.auth.credentials import AnonymousCredentials
from google.cloud.bigquery import Client

PYDAG = str(Path(sys.executable).with_name("pydag"))
#: Jobs end in so many groups.
_GROUPS = 50
#: Seconds between two looks at a job that has taken long.
POLL_INTERVAL = 5.0
#: What a run with 1,000 jobs should not exceed: megabytes, percent of one core, poll intervals.
MOST_MEMORY, MOST_CPU, MOST_DELAY = 200, 15, 1.5
_TICKS = os.sysconf("SC_CLK_TCK")

PIPELINE = """
from pydag_gcp import DAG
from pydag_gcp.operators import BigQueryQuery

with DAG("deferred") as dag:
    for number in range({jobs}):
        BigQueryQuery(task_id=f"job{{number}}", sql="SELECT 1 AS one")
"""


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """What was measured while all jobs were pending.

    Attributes:
        seconds: For how long.
        cpu: Processor seconds of the run's process meanwhile.
        calls: API method -> its calls meanwhile.
    """

    seconds: float
    cpu: float
    calls: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What came of one run.

    Attributes:
        jobs: How many there were.
        submitting: Seconds from the first job to the last.
        waiting: While they were pending.
        memory: Most memory that the process held, in megabytes.
        delays: Seconds from the end of each job to the end of its task.
        calls: API method -> its calls in all.
    """

    jobs: int
    submitting: float
    waiting: Waiting
    memory: float
    delays: Sequence[float]
    calls: Mapping[str, int]


class Cloud:
    """A local cloud whose jobs stay pending."""

    def __init__(self, home: Path) -> None:
        self._environment = {**os.environ, "PYDAG_HOME": str(home), "PYTHONDONTWRITEBYTECODE": ""}
        found = json.loads(self._pydag("local", "up", "--json"))
        self._url, self.project = found["bigquery"], found["project"]

    def start(self, output: Path, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a command of ours that prints to a file."""
        with output.open("wb") as stdout:
            return subprocess.Popen(
                [PYDAG, *arguments], env=self._environment, stdout=stdout, stderr=subprocess.DEVNULL
            )

    def stay_pending(self, jobs: int, seconds: float, spread: float) -> None:
        """Let the next jobs begin only after a while, some later than others."""
        size = -(-jobs // _GROUPS)
        for group in range(_GROUPS):
            which = {"method": "bigquery.jobs.insert", "call": group * size + 1, "times": size}
            order = {**which, "fault": "pending", "seconds": seconds + spread * group / _GROUPS}
            request = urllib.request.Request(f"{self._url}/_pydag/faults", json.dumps(order).encode(), method="POST")
            urllib.request.urlopen(request, timeout=10).close()

    def calls(self) -> dict[str, int]:
        """How often each method was called."""
        with urllib.request.urlopen(f"{self._url}/_pydag/calls", timeout=60) as answer:
            counts: dict[str, int] = json.load(answer)
        return counts

    def ends(self) -> dict[str, datetime]:
        """Task id -> when its job was over."""
        with Client(
            project=self.project, credentials=AnonymousCredentials(), client_options={"api_endpoint": self._url}
        ) as client:
            return {job.labels["pydag-task"]: job.ended for job in client.list_jobs(page_size=1000)}

    def stop(self) -> None:
        """End it."""
        self._pydag("local", "down")

    def _pydag(self, *arguments: str) -> str:
        ended = subprocess.run([PYDAG, *arguments], env=self._environment, capture_output=True, text=True, check=True)
        return ended.stdout


@contextmanager
def cloud() -> Iterator[tuple[Cloud, Path]]:
    """A local cloud and a folder for the pipeline, both gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="pydag-") as folder:
        found = Cloud(Path(folder) / ".pydag")
        try:
            yield found, Path(folder)
        finally:
            found.stop()


def measure(jobs: int, seconds: float, spread: float, processors: int) -> Measured:
    """Run the pipeline once.

    Raises:
        SystemExit: The run failed, or submitting took longer than a job.
    """
    with cloud() as (there, folder):
        pipeline = folder / "deferred.py"
        pipeline.write_text(PIPELINE.format(jobs=jobs))
        there.stay_pending(jobs, seconds, spread)
        output = folder / "run.json"
        with there.start(output, "run", str(pipeline), "--json", "--max-processors", str(processors)) as run:
            try:
                began = _when_inserted(there, 1, run)
                all_there = _when_inserted(there, jobs, run)
                waiting = _watch(there, run.pid, until=began + seconds - 1)
                memory = _peak_while_it_goes_on(run.pid)
            finally:
                run.kill()
        document = json.loads(output.read_text())
        if document["state"] != "success":
            raise SystemExit(f"error: the run ended {document['state']}")
        ended = {name: datetime.fromisoformat(task["ended"]) for name, task in document["tasks"].items()}
        delays = [(ended[name] - over).total_seconds() for name, over in there.ends().items()]
        return Measured(
            jobs=jobs,
            submitting=all_there - began,
            waiting=waiting,
            memory=memory,
            delays=delays,
            calls=there.calls(),
        )


def _when_inserted(there: Cloud, jobs: int, run: subprocess.Popen[bytes]) -> float:
    while there.calls().get("bigquery.jobs.insert", 0) < jobs:
        if run.poll() is not None:
            raise SystemExit(f"error: the run ended early, with exit code {run.returncode}")
        time.sleep(0.05)
    return time.monotonic()


def _watch(there: Cloud, pid: int, *, until: float) -> Waiting:
    """Measure what a process does until then."""
    time.sleep(1)  # the last answers
    began, cpu, calls = time.monotonic(), _cpu(pid), there.calls()
    if began >= until:
        raise SystemExit("error: submitting took longer than a job: raise --seconds")
    time.sleep(until - began)
    later = there.calls()
    return Waiting(
        seconds=time.monotonic() - began,
        cpu=_cpu(pid) - cpu,
        calls={method: later[method] - calls.get(method, 0) for method in later},
    )


def _cpu(pid: int) -> float:
    """Processor seconds that a process has taken: https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _peak_while_it_goes_on(pid: int) -> float:
    """Most memory that a process has held when it ends, in megabytes."""
    peak = 0.0
    while True:
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        if "VmHWM" not in status:  # it has ended and waits to be reaped
            return peak
        peak = int(status["VmHWM"].split()[0]) / 1024
        time.sleep(0.1)


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %"


def _counted(calls: Mapping[str, int]) -> str:
    shown = {method.removeprefix("bigquery."): number for method, number in sorted(calls.items()) if number}
    return ", ".join(f"{number} {method}" for method, number in shown.items()) or "none"


def report(measured: Measured) -> Sequence[tuple[str, Any]]:
    """The lines to print."""
    delays, waiting = sorted(measured.delays), measured.waiting
    late = [delay / POLL_INTERVAL for delay in (statistics.median(delays), delays[int(0.95 * len(delays))], delays[-1])]
    return [
        ("jobs", measured.jobs),
        ("submitting", f"{measured.submitting:.1f} s, {1000 * measured.submitting / measured.jobs:.1f} ms a job"),
        ("waiting for all", f"{waiting.seconds:.1f} s"),
        ("  processor time", f"{waiting.cpu:.2f} s, {_percent(waiting.cpu, waiting.seconds)} of one core"),
        ("  API calls", _counted(waiting.calls)),
        ("most memory", f"{measured.memory:.0f} MB"),
        ("an end is seen after", "{:.2f} (median), {:.2f} (95 %), {:.2f} (most) poll intervals".format(*late)),
        ("API calls in all", _counted(measured.calls)),
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long each job stays pending")
    parser.add_argument("--spread", type=float, default=180.0, help="over how long they end")
    parser.add_argument("--processors", type=int, default=8)
    options = parser.parse_args()
    for name, value in report(measure(options.jobs, options.seconds, options.spread, options.processors)):
        print(f"{name:22} {value}")
    print(f"\n1,000 jobs should stay under {MOST_MEMORY} MB, {MOST_CPU} % and {MOST_DELAY} poll intervals")


if __name__ == "__main__":
    main()
