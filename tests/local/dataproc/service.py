"""The Dataproc service in a test's own process, with Google's clients of it, and a Spark that only pretends."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.api_core import operations_v1
from google.cloud import dataproc_v1
from google.cloud.dataproc_v1.services.cluster_controller.transports import ClusterControllerGrpcTransport
from google.cloud.dataproc_v1.services.job_controller.transports import JobControllerGrpcTransport

from pydag_gcp.errors import LocalCloudError
from pydag_gcp.local import rpc
from pydag_gcp.local.dataproc.service import Dataproc
from pydag_gcp.local.dataproc.spark import Engine, Run
from pydag_gcp.local.faults import Faults
from pydag_gcp.local.storage.objects import Objects

REGION = "us-central1"

State = dataproc_v1.JobStatus.State


def pause(waited: float) -> float:
    """How long to sleep until the next look, in seconds: looks take time from what is waited for."""
    return min(0.1, 0.005 + waited / 10)


def finish(operation: Any, *, seconds: float = 60) -> Any:
    """Wait for an operation's end, without the client's pauses of a second."""
    began = time.monotonic()
    while not operation.done():
        waited = time.monotonic() - began
        assert waited < seconds, operation.metadata
        time.sleep(pause(waited))
    return operation.result()


class PretendedSpark:
    """Does what a job's main file says: ``print TEXT``, ``exit CODE`` or ``wait`` for its cancellation."""

    def __init__(self) -> None:
        self.closed = threading.Event()
        self.broken = ""
        self.ran: list[Run] = []

    def start(self) -> None:
        if self.broken:
            raise LocalCloudError(self.broken)

    def warm_up(self) -> None: ...

    def recover(self) -> None: ...

    def hurry(self) -> None: ...

    def run(self, run: Run) -> int:
        self.ran.append(run)
        for line in run.work.main.read_text().splitlines():
            verb, _, rest = line.partition(" ")
            if verb == "print":
                with run.work.output.open("a") as output:
                    output.write(f"{rest}\n")
            elif verb == "exit":
                return int(rest)
            elif verb == "wait":
                while not (run.cancelled or self.closed.is_set()):
                    time.sleep(0.005)
        return -9 if run.cancelled or self.closed.is_set() else 0

    def close(self) -> None:
        self.closed.set()

    def remove(self) -> None:
        self.close()


@dataclass
class DataprocService:
    """A Dataproc with its Cloud Storage, listening on a free port; it can be stopped and started again."""

    home: Path
    engine: Callable[[dataproc_v1.Cluster], Engine] | None = None
    environment: dict[str, str] = field(default_factory=dict)
    now: float | None = None
    faults: Faults = field(default_factory=Faults)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        self.objects = Objects(self.home / "buckets")
        self.dataproc = Dataproc(
            self.home,
            self.objects,
            project="p",
            environment=self.environment,
            engine=self.engine,
            clock=lambda: self.now if self.now is not None else time.time(),
        )
        self.server, port = rpc.serve(self.dataproc.handlers, "127.0.0.1", 0, self.faults)
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        self.clusters = dataproc_v1.ClusterControllerClient(
            transport=ClusterControllerGrpcTransport(channel=self.channel)
        )
        self.jobs = dataproc_v1.JobControllerClient(transport=JobControllerGrpcTransport(channel=self.channel))
        self.operations: operations_v1.OperationsClient = self.clusters.transport.operations_client

    def stop(self) -> None:
        self.dataproc.close()
        self.channel.close()
        self.server.stop(None).wait()
        self.objects.close()

    def restart(self) -> None:
        self.stop()
        self.start()

    def finish(self, operation: Any) -> Any:
        return finish(operation)

    def create(self, name: str = "c1", **cluster: Any) -> dataproc_v1.Cluster:
        created: dataproc_v1.Cluster = finish(
            self.clusters.create_cluster(
                project_id="p", region=REGION, cluster=dataproc_v1.Cluster(cluster_name=name, **cluster)
            )
        )
        return created

    def put(self, uri: str, content: str | bytes) -> str:
        """Make an object, and its bucket if need be."""
        bucket, _, name = uri.removeprefix("gs://").partition("/")
        if bucket not in {known.name for known in self.objects.buckets()}:
            self.objects.create_bucket(bucket)
        self.objects.write(bucket, name, [content.encode() if isinstance(content, str) else content])
        return uri

    def job(self, main: str, *, cluster: str = "c1", job_id: str = "", **pyspark: Any) -> dataproc_v1.Job:
        """Describe a job; ``main`` is a URI or the program itself."""
        uri = main if re.match(r"\w+://", main) else self.put(f"gs://code/main-{hash(main)}.py", main)
        return dataproc_v1.Job(
            reference=dataproc_v1.JobReference(job_id=job_id),
            placement=dataproc_v1.JobPlacement(cluster_name=cluster),
            pyspark_job=dataproc_v1.PySparkJob(main_python_file_uri=uri, **pyspark),
        )

    def submit(self, job: dataproc_v1.Job, *, request_id: str = "") -> dataproc_v1.Job:
        request = dataproc_v1.SubmitJobRequest(project_id="p", region=REGION, job=job, request_id=request_id)
        return self.jobs.submit_job(request=request, retry=None)

    def get(self, job: dataproc_v1.Job | str) -> dataproc_v1.Job:
        job_id = job if isinstance(job, str) else job.reference.job_id
        return self.jobs.get_job(project_id="p", region=REGION, job_id=job_id)

    def cancel(self, job: dataproc_v1.Job) -> dataproc_v1.Job:
        return self.jobs.cancel_job(project_id="p", region=REGION, job_id=job.reference.job_id)

    def until(self, job: dataproc_v1.Job | str, *states: int, seconds: float = 90) -> dataproc_v1.Job:
        """Poll a job until it is in one of some states (default: over)."""
        wanted = states or (State.DONE, State.ERROR, State.CANCELLED)
        began = time.monotonic()
        while (current := self.get(job)).status.state not in wanted:
            waited = time.monotonic() - began
            assert waited < seconds, f"still {State(current.status.state).name}: {self.output(current)}"
            time.sleep(pause(waited))
        return current

    def run(self, main: str, **pyspark: Any) -> dataproc_v1.Job:
        return self.until(self.submit(self.job(main, **pyspark)))

    def output(self, job: dataproc_v1.Job) -> str:
        bucket, _, name = job.driver_output_resource_uri.removeprefix("gs://").partition("/")
        with self.objects.open(bucket, f"{name}.000000000") as file:
            return file.read().decode()


@pytest.fixture
def dataproc(tmp_path: Path) -> Iterator[DataprocService]:
    """A service without Spark, for one test."""
    service = DataprocService(tmp_path / "home", engine=lambda _: PretendedSpark())
    yield service
    service.stop()
