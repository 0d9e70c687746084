"""The table that the author of the 2022 pyDag could not afford: staging to fact, with and without cache, by processors.

::

    python benchmarks/staging_table.py [--quick]

The real pipelines/staging_to_fact.py runs on the local cloud, which answers as late as Google's services would, divided
by a stated factor.
"""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import ours
from google.api_core.exceptions import NotFound
from google.cloud.dataproc_v1 import ClusterControllerClient
from google.cloud.dataproc_v1.services.cluster_controller.transports import ClusterControllerGrpcTransport
from report import Report, Table, main, progress
from samples import Samples, timed
from shapes import STAGING_TO_FACT, staging_to_fact

PIPELINE = ours.ROOT / "pipelines" / "staging_to_fact.py"
PYDAG = str(Path(sys.executable).with_name("pydag"))
REGION = "us-central1"
CLUSTER = "cluster-dataproc-pydag-2022"

#: How many times as fast as in the cloud everything is.
FACTOR = 25

#: Most processors of the run; None: what the pool gives.
PROCESSORS: tuple[int | None, ...] = (1, 2, 4, 8, None)

METHOD = f"""\
**Simulated.** The real `pipelines/staging_to_fact.py` (a Dataproc cluster, a PySpark job, six BigQuery jobs) on the
local cloud, which says that work is done as late as we assume that Google would, {FACTOR} times as fast: a cluster
after 90 s, the Spark job after 60 s, a table created after 2 s, an extract after 6 s, the fact table after 8 s
(latency faults at the calls that look at the jobs, see [The local cloud](local-cloud.md)). In the real world that is
a critical path of 164 s; here {164 / FACTOR:.2f} s. What is ours is not scaled: the time is that of the process
`pydag run`, from start to exit. *Cache off* is `--no-cache`, with the cluster deleted before; *cache on* is the run
right after it, in which nothing has changed. All take turns."""


#: What one should know to read the table.
NOTE = """\
Waiting for BigQuery and Dataproc holds no processor, so one is enough for all jobs of this pipeline: more of them
should make no difference beyond the intervals. In the tool of 2022 each task held one until it was done."""


def measure(quick: bool) -> Report:  # noqa: FBT001 - what report.main calls
    """Take turns, and compare."""
    factor = FACTOR * 10 if quick else FACTOR
    found: dict[str, list[float]] = {f"{label(most)} {cache}": [] for most in PROCESSORS for cache in ("off", "on")}
    tasks: dict[str, list[float]] = {task_id: [] for task_id in STAGING_TO_FACT}
    with _cloud() as cloud:
        cloud.run_all(factor, None)  # the first Java machine of all is not yet warm
        for turn in range(1 if quick else 10):
            for most in PROCESSORS[-1:] if quick else PROCESSORS:
                off, each = cloud.run_all(factor, most)
                on = cloud.run_cached(most)
                for task_id, seconds in each.items():
                    tasks[task_id].append(seconds)
                found[f"{label(most)} off"].append(off)
                found[f"{label(most)} on"].append(on)
                progress(f"turn {turn + 1}, processors {label(most)}: cache off {off:.2f} s, on {on:.2f} s")
    samples = {name: Samples(tuple(values)) for name, values in found.items() if values}
    return Report(
        part="staging_table",
        title="Staging to fact, simulated",
        method=METHOD,
        tables=[_table(samples, factor), _tasks_table(tasks, factor)],
        notes=[NOTE],
        samples={name: values.values for name, values in samples.items()},
    )


def label(most: int | None) -> str:
    """What a column is called."""
    return "dynamic" if most is None else str(most)


def interval(samples: Samples) -> str:
    """The mean with its confidence interval."""
    return f"{samples.mean:.2f}" + (f" ± {samples.half_width:.2f}" if len(samples.values) > 1 else "")


def _table(samples: Mapping[str, Samples], factor: int) -> Table:
    labels = [label(most) for most in PROCESSORS if f"{label(most)} off" in samples]
    rows = [(f"cache {cache}", *(interval(samples[f"{name} {cache}"]) for name in labels)) for cache in ("off", "on")]
    count = min(len(values.values) for values in samples.values())
    critical = staging_to_fact("", "", 1 / factor).critical
    title = f"Seconds of a run by processors, simulated {factor} times as fast (critical path {critical:.2f} s)"
    return Table(
        title=f"{title}: mean of {count} with 95 % confidence interval",
        columns=("processors", *labels),
        rows=tuple(rows),
    )


def _tasks_table(tasks: Mapping[str, list[float]], factor: int) -> Table:
    return Table(
        title="Seconds of each task with the cache off: asked for, and measured on any number of processors (means)",
        columns=("task", "in the cloud, assumed", f"{factor} times as fast", "measured"),
        rows=tuple(
            (f"`{name}`", f"{assumed:.0f}", f"{assumed / factor:.2f}", interval(Samples(tuple(tasks[name]))))
            for name, assumed in STAGING_TO_FACT.items()
        ),
    )


@contextmanager
def _cloud() -> Iterator[Cloud]:
    """A local cloud of our own, which is gone afterwards."""
    with ours.home():
        try:
            up = json.loads(_pydag("local", "up", "--seed", str(ours.ROOT / "pipelines" / "data"), "--json"))
            yield Cloud(bigquery=up["bigquery"], dataproc=up["dataproc"], project=up["project"])
        finally:
            _pydag("local", "down")


class Cloud:
    """The local cloud, and runs of the pipeline on it."""

    def __init__(self, *, bigquery: str, dataproc: str, project: str) -> None:
        self._url = bigquery
        self._dataproc = dataproc
        self._project = project

    def run_all(self, factor: int, most: int | None) -> tuple[float, dict[str, float]]:
        """Run every task, cluster included; return the seconds of the process, and those of each task.

        Raises:
            SystemExit: A task was faster than it was to be: what should have been simulated was not.
        """
        self._delete_cluster()
        self._slow_down(factor)
        document: dict[str, Any] = {}
        took = timed(lambda: document.update(_run(most, "--no-cache")))
        tasks = {task_id: float(task["seconds"]) for task_id, task in document["tasks"].items()}
        for task_id, seconds in tasks.items():
            if seconds < STAGING_TO_FACT[task_id] / factor:
                raise SystemExit(f"error: {task_id} took only {seconds} s: its latency was not simulated")
        return took, tasks

    def run_cached(self, most: int | None) -> float:
        """Run it where nothing has changed.

        Raises:
            SystemExit: Something was executed.
        """
        document: dict[str, Any] = {}
        took = timed(lambda: document.update(_run(most)))
        states = {task["state"] for task in document["tasks"].values()}
        if states != {"cached"}:
            raise SystemExit(f"error: not everything is cached, but {states}")
        return took

    def _delete_cluster(self) -> None:
        with grpc.insecure_channel(self._dataproc) as channel:
            client = ClusterControllerClient(transport=ClusterControllerGrpcTransport(channel=channel))
            with suppress(NotFound):
                client.delete_cluster(project_id=self._project, region=REGION, cluster_name=CLUSTER).result(timeout=60)

    def _slow_down(self, factor: int) -> None:
        """Have the next look at each job answered as late as the work would be done."""
        self._ask("DELETE")
        for task_id, seconds in STAGING_TO_FACT.items():
            fault: dict[str, Any] = {"fault": "latency", "seconds": seconds / factor}
            if task_id == "startup_dataproc_1":
                # The first two look whether it is there already, and what became of the request to create it.
                fault |= {"method": "dataproc.GetCluster", "resource": f"cluster {CLUSTER}", "call": 3}
            else:
                spark = task_id == "initial_ingestion_1"
                fault |= {"method": "dataproc.GetJob" if spark else "bigquery.jobs.get", "task": task_id, "over": False}
            self._ask("POST", fault)

    def _ask(self, method: str, fault: Mapping[str, Any] | None = None) -> None:
        body = None if fault is None else json.dumps(fault).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self._url}/_pydag/faults", method=method, data=body, headers=headers)
        with urllib.request.urlopen(request, timeout=10):
            pass


def _run(most: int | None, *options: str) -> dict[str, Any]:
    cap = () if most is None else ("--max-processors", str(most))
    document: dict[str, Any] = json.loads(_pydag("run", str(PIPELINE), "--json", *cap, *options))
    return document


def _pydag(*arguments: str) -> str:
    """Run a command and return what it prints.

    Raises:
        SystemExit: It failed.
    """
    ended = subprocess.run([PYDAG, *arguments], capture_output=True, text=True, check=False)
    if ended.returncode:
        raise SystemExit(f"error: pydag {' '.join(arguments)} failed:\n{ended.stdout}{ended.stderr}")
    return ended.stdout


if __name__ == "__main__":
    main(measure, __doc__)
