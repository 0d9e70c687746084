"""Spark jobs and clusters: cut by a timeout, cancelled by Ctrl-C, and submits whose answer is lost."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pydag_gcp import settings
from pydag_gcp.gcp import Clients
from pydag_gcp.local import daemon
from tests.crash.project import Project

pytestmark = [pytest.mark.slow, pytest.mark.spark, pytest.mark.timeout(300)]

JOB = """
import sys, time, uuid
from google.cloud import storage
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
seconds = float(sys.argv[2])
storage.Client().bucket("effects").blob(f"{sys.argv[1]}/{uuid.uuid4()}").upload_from_string("one more")
spark.sparkContext.parallelize(range(2), 2).foreach(lambda _: time.sleep(seconds))
"""

PIPELINE = """
from datetime import timedelta
from pydag_gcp import DAG, Cluster, Retry
from pydag_gcp.operators import DataprocCreateCluster, DataprocPySparkJob

CLUSTER = Cluster("{{ params.cluster }}")

PARAMS = {"effect": "x", "seconds": 0, "cluster": "lost-answer"}

with DAG("spark", retry=Retry(attempts=3, wait=0.1), params=PARAMS) as dag:
    up = DataprocCreateCluster(task_id="up", cluster=CLUSTER)
    up >> DataprocPySparkJob(
        task_id="job", cluster=CLUSTER, main="job.py", args=["{{ params.effect }}", "{{ params.seconds }}"], TIMEOUT
    )
"""


@pytest.fixture(scope="module")
def spark_project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("sparks")
    (folder / "pydag.toml").write_text("")
    (folder / "job.py").write_text(JOB)
    (folder / "spark.py").write_text(PIPELINE.replace(", TIMEOUT", ""))
    (folder / "impatient.py").write_text(PIPELINE.replace("TIMEOUT", "timeout=6"))
    (folder / "seed" / "effects").mkdir(parents=True)
    (folder / "seed" / "effects" / "placeholder").write_text("")
    project = Project(folder=folder)
    daemon.up(project.local, seed=folder / "seed")
    yield project
    daemon.down(project.local)


@pytest.fixture
def sparks(spark_project: Project) -> Iterator[Project]:
    """The project that these tests share; the processes of each end with it."""
    yield spark_project
    spark_project.reap()


def effects(project: Project, name: str) -> int:
    return len(list((Path(project.endpoints().buckets) / "effects" / name).glob("*")))


def jobs(project: Project, run_id: str) -> list[str]:
    """The states of a run's Spark jobs."""
    target = settings.load(project.folder, environ=project.environment).target(environ={})
    with closing(Clients(target)) as clients:
        found = clients.jobs("us-central1").list_jobs(
            request={"project_id": target.project, "region": "us-central1", "filter": f"labels.pydag-run = {run_id}"}
        )
        return [job.status.state.name for job in found]


def last_run(project: Project) -> str:
    ((run_id,),) = project.stored("SELECT run_id FROM runs ORDER BY started DESC LIMIT 1")
    return str(run_id)


@pytest.mark.parametrize("fault", ["accepted-503", "lost-answer"])
def test_submits_whose_answer_is_lost_have_one_cluster_one_job_and_one_effect(sparks: Project, fault: str) -> None:
    # Given a cloud that loses the answer to each submit of a run, whose cluster is not there yet
    for method in ("dataproc.CreateCluster", "dataproc.SubmitJob"):
        sparks.fault(method, fault)
    # When
    process = sparks.start("run", "spark.py", "--json", "--param", f"effect={fault}", "--param", f"cluster={fault}")
    out, err = sparks.finish(process, timeout=200)
    # Then all of it is done once, in the first try
    assert process.returncode == 0, out + err
    document = json.loads(out)
    assert {task_id: task["tries"] for task_id, task in document["tasks"].items()} == {"up": 1, "job": 1}
    logs = (sparks.folder / ".pydag" / "logs" / "spark" / document["run_id"]).rglob("1.log")
    assert all("again in" in log.read_text() for log in logs)  # both faults have happened
    assert jobs(sparks, document["run_id"]) == ["DONE"]
    assert effects(sparks, fault) == 1


def test_a_job_that_hangs_is_cut_by_its_timeout_and_cancelled(sparks: Project) -> None:
    process = sparks.start("run", "impatient.py", "--param", "seconds=200")
    out, err = sparks.finish(process, timeout=200)
    assert process.returncode == 1, out + err
    assert "timed out after 6 s" in out
    assert jobs(sparks, last_run(sparks)) == ["CANCELLED"]


def test_ctrl_c_leaves_no_running_job(sparks: Project) -> None:
    process = sparks.start("run", "spark.py", "--param", "seconds=200", "--param", "effect=ctrl-c")
    deadline = time.monotonic() + 100
    while not effects(sparks, "ctrl-c"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = sparks.finish(process, timeout=100)
    assert process.returncode == 130, out + err
    assert jobs(sparks, last_run(sparks)) == ["CANCELLED"]
