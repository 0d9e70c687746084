r"""Pytest fixtures for your own pipelines: each test gets a local cloud of its own, empty and real.

::

    # conftest.py, in the folder that pytest is started in
    pytest_plugins = ["pydag_gcp.testing"]

    # tests/test_sales.py
    def test_sales(local_cloud):
        local_cloud.put("gs://shop/sales.csv", "id,amount\n1,20\n2,22\n")

        local_cloud.run("pipelines/sales.py", params={"day": "2022-01-31"}).raise_for_state()

        assert local_cloud.rows("shop.total") == [{"amount": 42}]

No test double is in the way: a pipeline runs as ``pydag run`` runs it, through Google's clients, against the embedded
local cloud. One daemon serves the tests of a session and is emptied before each of them.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pydag_gcp import executor, loader, planner, settings
from pydag_gcp.dag import DAG
from pydag_gcp.errors import LocalCloudError, PydagError
from pydag_gcp.gcp import Clients
from pydag_gcp.local import daemon
from pydag_gcp.local.calls import Call
from pydag_gcp.local.remote import Remote
from pydag_gcp.local.seeds import plant
from pydag_gcp.resources import GCSObject, Table
from pydag_gcp.result import RunResult

if TYPE_CHECKING:
    from google.cloud import bigquery, storage

#: The daemon ends by itself if the tests are killed, in seconds after the last call.
_IDLE = 300.0


class LocalCloud:
    """A local cloud that holds what a test puts there and what pipelines make of it.

    Names may be as short as in a pipeline: ``shop.total`` is a table of :attr:`project`.

    Args:
        folder: What relative paths are relative to.
        clients: Clients that talk to it.
        remote: Where faults are asked for.
    """

    def __init__(self, folder: Path, clients: Clients, remote: Remote) -> None:
        self._folder = folder
        self._clients = clients
        self._remote = remote

    @property
    def project(self) -> str:
        """The project that runs use, and that tables belong to whose names do not say."""
        return self._clients.target.project

    @property
    def bigquery(self) -> bigquery.Client:
        """Google's BigQuery client, for whatever has no method here."""
        return self._clients.bigquery()

    @property
    def storage(self) -> storage.Client:
        """Google's Cloud Storage client, likewise."""
        return self._clients.storage()

    def run(
        self,
        pipeline: DAG | Path | str,
        *,
        params: Mapping[str, Any] | None = None,
        logical_date: datetime | None = None,
        max_processors: int | None = None,
    ) -> RunResult:
        """Run a pipeline here, whatever target the settings name, and wait for its end.

        Args:
            pipeline: Its file, or a DAG.
            params: Values over the defaults.
            logical_date: Start of the data interval.
            max_processors: Most processors the run may hold.

        Returns:
            What became of the run and of each task; a failed run raises nothing before ``raise_for_state()``.

        Raises:
            DefinitionError: The pipeline is wrong; nothing ran.
        """
        __tracebackhide__ = True  # a mistake in the pipeline is told in its message; our own lines help nobody
        try:
            dag = pipeline if isinstance(pipeline, DAG) else loader.load(self._folder / pipeline)
            loaded = settings.load(dag.file)
            plan = planner.plan(dag, loaded, target=settings.LOCAL, params=params, logical_date=logical_date)
        except PydagError as error:
            raise error.with_traceback(None) from None
        try:
            return executor.execute(plan, max_processors=max_processors)
        finally:
            plan.clients.close()

    def fault(
        self,
        method: str,
        kind: str,
        *,
        call: int = 1,
        times: int = 1,
        seconds: float = 0.0,
        task: str | None = None,
    ) -> None:
        """Ask for a fault, which ends with the test if it has not happened by then.

        Args:
            method: The API method, such as ``bigquery.jobs.insert``; ``*`` matches anything.
            kind: What happens: ``429``, ``500``, ``503``, ``accepted-503``, ``lost-answer``, ``reset``, ``latency``...
            call: Which of the method's calls from now on; 1 is the next one.
            times: For how many calls in a row.
            seconds: How long each of those calls waits first.
            task: Only calls for the work of this task.

        Raises:
            ValueError: There is no such method or kind, or a number has no meaning.
        """
        order: dict[str, Any] = {"method": method, "fault": kind, "call": call, "times": times, "seconds": seconds}
        self._remote.fault(order if task is None else {**order, "task": task})

    def calls(self) -> list[Call]:
        """The API calls since the test began, the oldest first, with what each was about and what was done to it."""
        return self._remote.calls()

    def seed(self, folder: Path | str) -> None:
        """Copy sample buckets in: each sub-folder is a bucket, each file an object.

        Raises:
            LocalCloudError: The folder is not there.
        """
        endpoints = self._clients.endpoints()
        if endpoints is not None:
            plant(self._folder / folder, storage=endpoints.storage, project=self.project)

    def put(self, uri: str, content: str | bytes) -> None:
        """Write an object, in a bucket that is made if it is missing.

        Args:
            uri: ``gs://bucket/name``.
            content: Text is stored as UTF-8.
        """
        place = GCSObject(uri)
        bucket = self.storage.lookup_bucket(place.bucket) or self.storage.create_bucket(place.bucket)
        bucket.blob(place.name).upload_from_string(content)

    def get(self, uri: str) -> bytes:
        """Read an object.

        Raises:
            google.api_core.exceptions.NotFound: There is none.
        """
        place = GCSObject(uri)
        content: bytes = self.storage.bucket(place.bucket).blob(place.name).download_as_bytes()
        return content

    def create_table(self, name: str, schema: Mapping[str, str], rows: Iterable[Mapping[str, Any]] = ()) -> None:
        """Make a table, and its dataset if it is missing; a table that is there is replaced.

        Args:
            name: ``[project.]dataset.table``.
            schema: Column name -> GoogleSQL type, such as ``{"id": "INT64", "day": "DATE"}``.
            rows: Column name -> value; dates, decimals and the like as Python has them.

        Raises:
            google.api_core.exceptions.GoogleAPICallError: A row does not fit.
        """
        from google.cloud.bigquery import LoadJobConfig, SchemaField

        table = self._table(name)
        self.bigquery.create_dataset(table.rpartition(".")[0], exists_ok=True)
        fields = [SchemaField(column, kind) for column, kind in schema.items()]
        config = LoadJobConfig(schema=fields, write_disposition="WRITE_TRUNCATE")
        plain = json.loads(json.dumps([dict(row) for row in rows], default=str))
        self.bigquery.load_table_from_json(plain, table, job_config=config).result()

    def rows(self, name: str) -> list[dict[str, Any]]:
        """Read a whole table, in no particular order.

        Raises:
            google.api_core.exceptions.NotFound: There is none.
        """
        return [dict(row.items()) for row in self.bigquery.list_rows(self._table(name))]

    def query(self, sql: str) -> list[dict[str, Any]]:
        """Run a query and return its rows.

        Raises:
            google.api_core.exceptions.GoogleAPICallError: It is wrong.
        """
        return [dict(row.items()) for row in self.bigquery.query_and_wait(sql)]

    def _table(self, name: str) -> str:
        return Table(name).qualified(self.project).table


@pytest.fixture(scope="session")
def _local_cloud_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the daemon of this session, which a test that needs it starts."""
    home = tmp_path_factory.mktemp("local-cloud")
    yield home
    daemon.down(home)
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def local_cloud(
    _local_cloud_home: Path,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[LocalCloud]:
    """An empty local cloud, with a metadata database of its own, for this test alone.

    While the test lasts, the emulator variables lead Google's clients there, wherever they are made. Dataproc clusters
    are not deleted between tests, because starting one takes seconds and it holds no data.
    """
    found = daemon.up(_local_cloud_home, idle=_IDLE)
    home = tmp_path_factory.mktemp("pydag")
    own = {"PYDAG_TARGET": settings.LOCAL, "PYDAG_HOME": str(home), "PYDAG_STORE": f"sqlite:///{home / 'pydag.db'}"}
    for name, value in {**found.environment(), **own}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    clients, remote = Clients(settings.load(request.config.rootpath).target()), Remote(found.bigquery)
    try:
        _empty(clients, Path(found.buckets))
        remote.clear()
        yield LocalCloud(request.config.rootpath, clients, remote)
    finally:
        with contextlib.suppress(LocalCloudError):  # the test has stopped it
            remote.clear()
        remote.close()
        clients.close()
        shutil.rmtree(home, ignore_errors=True)


def _empty(clients: Clients, buckets: Path) -> None:
    """Delete what earlier tests left, whatever project it belongs to."""
    storage, bigquery, secrets = clients.storage(), clients.bigquery(), clients.secrets()
    for folder in buckets.iterdir():  # the API lists the buckets of one project only
        bucket = storage.bucket(folder.name)
        for blob in bucket.list_blobs():
            blob.delete()
        bucket.delete()
    projects = [project.project_id for project in bigquery.list_projects()]
    for project in projects:
        for dataset in bigquery.list_datasets(project):
            bigquery.delete_dataset(dataset.reference, delete_contents=True)
    for project in {*projects, clients.target.project}:
        for secret in secrets.list_secrets(parent=f"projects/{project}"):
            secrets.delete_secret(name=secret.name)
