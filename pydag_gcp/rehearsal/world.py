"""What a run has left in the cloud, as the cloud itself tells: tables, objects, effects of jobs, what still runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pydag_gcp.rehearsal.boundary import VARIES
from pydag_gcp.rehearsal.cloud import ThrowAwayCloud

if TYPE_CHECKING:
    import pyarrow as pa
    from google.cloud.bigquery import Client, Table

#: Dataproc's own buckets hold what jobs print and what is staged for them, under names of their own in each run.
_DATAPROCS_BUCKETS = ("dataproc-staging-", "dataproc-temp-")
_DATAPROCS_FOLDER = "google-cloud-dataproc-metainfo/"


@dataclass(frozen=True, kw_only=True)
class TableState:
    """A table's shape and content.

    Attributes:
        schema: Its columns, or the query of a view.
        rows: How many rows it has.
        digest: A sum over the hashes of its rows: the same for the same rows in any order.
    """

    schema: str
    rows: int = 0
    digest: int = 0


@dataclass(frozen=True, kw_only=True)
class World:
    """What is there when a run has ended.

    Attributes:
        tables: Every table, by name.
        objects: Hashes of the contents of every object, by name; in names, ``*`` stands for an id.
        effects: Task -> ids of the jobs that succeeded for it.
        running: Jobs that are not over.
        clusters: Clusters that are not deleted.
    """

    tables: Mapping[str, TableState]
    objects: Mapping[str, tuple[str, ...]]
    effects: Mapping[str, tuple[str, ...]]
    running: tuple[str, ...] = ()
    clusters: tuple[str, ...] = ()


class Observer:
    """Looks at the cloud after each round.

    Args:
        cloud: Where.
        regions: Where Dataproc is looked at.
    """

    def __init__(self, cloud: ThrowAwayCloud, regions: Iterable[str]) -> None:
        self._cloud = cloud
        self._regions = sorted(regions)
        self._seen: dict[tuple[str, str | None], TableState] = {}

    def look(self, since: float) -> World:
        """Look at everything.

        Args:
            since: When the round began, as a POSIX time; jobs from before are not of it.
        """
        clients = self._cloud.clients
        jobs = [*_bigquery_jobs(clients.bigquery(), since), *self._dataproc_jobs()]
        effects: dict[str, list[str]] = {}
        for job in jobs:
            if job.succeeded and job.task:
                effects.setdefault(job.task, []).append(job.job_id)
        return World(
            tables=dict(self._tables()),
            objects=self._objects(),
            effects={task: tuple(sorted(ids)) for task, ids in effects.items()},
            running=tuple(sorted(f"{job.job_id} of {job.task or 'no task'}" for job in jobs if not job.over)),
            clusters=tuple(sorted(self._clusters())),
        )

    def _tables(self) -> Iterator[tuple[str, TableState]]:
        client = self._cloud.clients.bigquery()
        for project in [found.project_id for found in client.list_projects()]:
            for dataset in client.list_datasets(project):
                for listed in client.list_tables(dataset.reference):
                    table = client.get_table(listed.reference)
                    yield f"{project}.{dataset.dataset_id}.{listed.table_id}", self._state(client, table)

    def _state(self, client: Client, table: Table) -> TableState:
        if table.table_type != "TABLE":
            return TableState(schema=f"{table.table_type} {table.view_query or table.mview_query}")
        key = (str(table.reference), table.etag)  # what lay there at the beginning is read only once
        if key not in self._seen:
            rows, digest = _digest(client.list_rows(table).to_arrow(create_bqstorage_client=False))
            columns = [field.to_api_repr() for field in table.schema]
            layout = (table.partitioning_type, table.clustering_fields)
            self._seen[key] = TableState(schema=f"{columns} {layout}", rows=rows, digest=digest)
        return self._seen[key]

    def _objects(self) -> dict[str, tuple[str, ...]]:
        storage = self._cloud.clients.storage()
        found: dict[str, list[str]] = {}
        for bucket in sorted(folder.name for folder in self._cloud.buckets.iterdir()):
            if bucket.startswith(_DATAPROCS_BUCKETS):
                continue
            for blob in storage.list_blobs(bucket):
                if _DATAPROCS_FOLDER not in blob.name:
                    found.setdefault(f"gs://{bucket}/{VARIES.sub('*', blob.name)}", []).append(str(blob.crc32c))
        return {name: tuple(sorted(hashes)) for name, hashes in found.items()}

    def _dataproc_jobs(self) -> Iterator[_Job]:
        project = self._cloud.clients.target.project
        for region in self._regions:
            for job in self._cloud.clients.jobs(region).list_jobs(request={"project_id": project, "region": region}):
                yield _Job(
                    job_id=job.reference.job_id,
                    task=job.labels.get("pydag-task", ""),
                    over=job.done,
                    succeeded=job.status.state.name == "DONE",
                )

    def _clusters(self) -> Iterator[str]:
        project = self._cloud.clients.target.project
        for region in self._regions:
            request = {"project_id": project, "region": region}
            for cluster in self._cloud.clients.clusters(region).list_clusters(request=request):
                if cluster.status.state.name != "DELETING":
                    yield f"{region}/{cluster.cluster_name}"


@dataclass(frozen=True, kw_only=True)
class _Job:
    job_id: str
    task: str
    over: bool
    succeeded: bool


def _bigquery_jobs(client: Client, since: float) -> Iterator[_Job]:
    for project in [found.project_id for found in client.list_projects()]:
        for job in client.list_jobs(
            project=project, all_users=True, min_creation_time=datetime.fromtimestamp(since, UTC)
        ):
            yield _Job(
                job_id=job.job_id,
                task=(job.labels or {}).get("pydag-task", ""),
                over=job.state == "DONE",
                succeeded=job.state == "DONE" and job.error_result is None,
            )


def _digest(rows: pa.Table) -> tuple[int, int]:
    """Count rows, and sum their hashes."""
    import duckdb

    with duckdb.connect(config={"autoinstall_known_extensions": "false", "threads": "1"}) as connection:
        connection.register("rows", rows)
        found = connection.execute("SELECT count(*), coalesce(sum(hash(rows)), 0) FROM rows").fetchall()
    return int(found[0][0]), int(found[0][1])
