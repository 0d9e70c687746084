"""What tests of the local cloud share: a data directory, and Cloud Storage served from it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from pydag_gcp.local.admin import Service
from pydag_gcp.local.faults import Faults
from pydag_gcp.local.serving import HttpServer
from pydag_gcp.local.storage.objects import Objects
from pydag_gcp.local.storage.routes import routes


@pytest.fixture
def local_home(tmp_path: Path) -> Path:
    """An empty data directory."""
    home = tmp_path / "local"
    home.mkdir()
    return home


@pytest.fixture
def objects(local_home: Path) -> Iterator[Objects]:
    """The buckets of the data directory."""
    objects = Objects(local_home / "buckets")
    yield objects
    objects.close()


@pytest.fixture
def faults() -> Faults:
    """The faults asked of whatever is served."""
    return Faults()


@pytest.fixture
def storage_url(objects: Objects, faults: Faults) -> Iterator[str]:
    """The URL of a Cloud Storage API over those buckets."""
    server = HttpServer(Service(routes(objects), faults))
    server.start()
    yield f"http://127.0.0.1:{server.port}"
    server.stop()


@pytest.fixture
def storage_client(storage_url: str) -> Iterator[storage.Client]:
    """Google's client for it."""
    client = storage.Client(
        project="test-project", credentials=AnonymousCredentials(), client_options={"api_endpoint": storage_url}
    )
    yield client
    client.close()


@pytest.fixture
def bucket(storage_client: storage.Client) -> storage.Bucket:
    """An empty bucket."""
    return storage_client.create_bucket("data")
