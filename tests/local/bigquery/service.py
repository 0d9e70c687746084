"""The BigQuery service in a test's own process, and Google's client of it.

A test module takes the fixtures in by importing them from here.
"""

from __future__ import annotations

import itertools
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from pydag_gcp.local.admin import Service
from pydag_gcp.local.bigquery.service import BigQuery
from pydag_gcp.local.faults import Faults
from pydag_gcp.local.serving import HttpServer
from pydag_gcp.local.storage.objects import Objects

Finish = Callable[[Any], Any]

_numbers = itertools.count()


@dataclass
class BigQueryService:
    """A BigQuery with its Cloud Storage, listening on a free port."""

    home: Path
    faults: Faults = field(default_factory=Faults)

    def __post_init__(self) -> None:
        self.objects = Objects(self.home / "buckets")
        self.bigquery = BigQuery(self.home, self.objects)
        self.server = HttpServer(Service(self.bigquery.api, self.faults))
        self.server.start()
        self.running = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    def client(self, project: str = "p") -> bigquery.Client:
        return bigquery.Client(
            project=project, credentials=AnonymousCredentials(), client_options={"api_endpoint": self.url}
        )

    def put(self, uri: str, content: bytes | str) -> str:
        """Make an object, and its bucket if need be."""
        bucket, _, name = uri.removeprefix("gs://").partition("/")
        if bucket not in {known.name for known in self.objects.buckets()}:
            self.objects.create_bucket(bucket)
        self.objects.write(bucket, name, [content.encode() if isinstance(content, str) else content])
        return uri

    def read(self, uri: str) -> bytes:
        bucket, _, name = uri.removeprefix("gs://").partition("/")
        with self.objects.open(bucket, name) as file:
            return file.read()

    def stop(self) -> None:
        if self.running:
            self.running = False
            self.server.stop()
            self.bigquery.close()
            self.objects.close()


@pytest.fixture(scope="module")
def bigquery_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BigQueryService]:
    """One service for the tests of a module; each test uses its own dataset."""
    service = BigQueryService(tmp_path_factory.mktemp("home"))
    yield service
    service.stop()


@pytest.fixture
def start_bigquery(tmp_path: Path) -> Iterator[Callable[[], BigQueryService]]:
    """Starts services over one and the same home, so that a test can stop one and start it again."""
    started: list[BigQueryService] = []

    def start() -> BigQueryService:
        started.append(BigQueryService(tmp_path / "home"))
        return started[-1]

    yield start
    for service in started:
        service.stop()


@pytest.fixture
def bq(bigquery_service: BigQueryService) -> Iterator[bigquery.Client]:
    """Google's client, talking to :func:`bigquery_service`."""
    client = bigquery_service.client()
    yield client
    client.close()


@pytest.fixture
def dataset(bq: bigquery.Client, request: pytest.FixtureRequest) -> str:
    """A new dataset ``p.<name of the test>``."""
    name = "".join(char if char.isalnum() and char.isascii() else "_" for char in request.node.name)[:200]
    name += f"_{next(_numbers)}"
    bq.create_dataset(name)
    return f"p.{name}"


@pytest.fixture
def finish() -> Finish:
    """Waits for a job, more eagerly than the client does (it asks once a second), and returns its result."""

    def wait(job: Any) -> Any:
        while not job.done():
            time.sleep(0.005)
        return job.result()

    return wait


def main() -> None:
    """Serve a home until killed: ``python tests/local/bigquery/service.py HOME`` prints the port."""
    service = BigQueryService(Path(sys.argv[1]))
    print(service.server.port, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
