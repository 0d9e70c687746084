"""A local cloud with something to break in it, and something to steal."""

from __future__ import annotations

import json
import os
import runpy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pydag_gcp.cli import main
from pydag_gcp.gcp import Clients
from pydag_gcp.settings import load

if TYPE_CHECKING:
    from google.cloud.bigquery import Client

PRIVATE = runpy.run_path(str(Path(__file__).with_name("corpus.py")))["PRIVATE"]

#: Everything there is: tables with their rows, and objects with their contents.
World = dict[str, list[tuple[Any, ...]]]


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def refused(self) -> bool:
        """Whether it was refused before anything ran, in one clear line."""
        return self.code == 2 and self.err.startswith("error: ") and len(self.err.splitlines()) == 1


@dataclass(frozen=True, kw_only=True)
class Cloud:
    """The local cloud, and the command that runs pipelines on it."""

    clients: Clients
    capfd: pytest.CaptureFixture[str]

    @property
    def bigquery(self) -> Client:
        return self.clients.bigquery()

    def pydag(self, *words: str) -> Ended:
        """Run the command in this process: no argument of a process could hold all that is tried."""
        self.capfd.readouterr()
        code = main(words)
        found = self.capfd.readouterr()
        return Ended(code=code, out=found.out, err=found.err)

    def run(self, **params: str) -> Ended:
        """Run pipeline.py."""
        given = [word for name, value in params.items() for word in ("--param", f"{name}={value}")]
        return self.pydag("run", "pipeline.py", "--json", *given)

    def world(self) -> World:
        """Look at everything."""
        found: World = {}
        for dataset in self.bigquery.list_datasets():
            for table in self.bigquery.list_tables(dataset.dataset_id):
                rows = self.bigquery.list_rows(table.reference)
                found[f"{dataset.dataset_id}.{table.table_id}"] = [tuple(row.values()) for row in rows]
        for bucket in self.clients.storage().list_buckets():
            for blob in bucket.list_blobs():
                found[f"gs://{bucket.name}/{blob.name}"] = [(blob.download_as_bytes(),)]
        return found

    def read(self, ended: Ended) -> set[str]:
        """Name the tables that the jobs of a run say they read."""
        run = json.loads(ended.out)["run_id"]
        jobs = [job for job in self.bigquery.list_jobs() if job.labels.get("pydag-run") == run]
        return {f"{t.dataset_id}.{t.table_id}" for job in jobs for t in getattr(job, "referenced_tables", [])}


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The .pydag folder of all these tests; its local cloud is up."""
    from pydag_gcp.local import daemon

    home = tmp_path_factory.mktemp("injection") / ".pydag"
    daemon.up(home / "local", idle=600)
    yield home
    daemon.down(home / "local")


@pytest.fixture(scope="session")
def clients(home: Path) -> Iterator[Clients]:
    clients = Clients(load(home, environ={"PYDAG_HOME": str(home)}).target("local", environ={}))
    query = clients.bigquery().query_and_wait
    query("CREATE SCHEMA shop")
    query("CREATE TABLE shop.canary AS SELECT 1 AS id, 'alive' AS note")
    query(f"CREATE TABLE shop.private AS SELECT 1 AS id, '{PRIVATE}' AS note")
    for bucket, name, text in (
        ("landing", "public/one.csv", "id,note\n1,one\n"),
        ("landing", "private/two.csv", f"id,note\n2,{PRIVATE}\n"),
        ("private-bucket", "public/one.csv", f"id,note\n3,{PRIVATE}\n"),
    ):
        storage = clients.storage()
        folder = storage.bucket(bucket)
        if not folder.exists():
            folder = storage.create_bucket(bucket)
        folder.blob(name).upload_from_string(text)
    yield clients
    clients.close()


@pytest.fixture
def cloud(
    clients: Clients, home: Path, project: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Cloud:
    """The cloud; the working directory is a project without a pipeline."""
    assert project == Path.cwd()
    assert "PYDAG_HOME" not in os.environ
    monkeypatch.setenv("PYDAG_HOME", str(home))
    return Cloud(clients=clients, capfd=capfd)
