"""The local Dataproc service, assembled: clusters, jobs and operations over gRPC, and the Spark below them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from google.cloud import dataproc_v1

from pydag_gcp.local import rpc
from pydag_gcp.local.dataproc import cluster_config
from pydag_gcp.local.dataproc.clusters import Clusters
from pydag_gcp.local.dataproc.jobs import Jobs
from pydag_gcp.local.dataproc.operations import Operations
from pydag_gcp.local.dataproc.spares import Spares
from pydag_gcp.local.dataproc.spark import Engine, Spark
from pydag_gcp.local.storage.objects import Objects


class Dataproc:
    """Everything of Dataproc that lives in the daemon.

    Args:
        home: The local cloud's folder; Dataproc's things lie in its ``dataproc``.
        objects: Where jobs and their files and outputs are.
        project: The project that jobs find in ``GOOGLE_CLOUD_PROJECT``.
        environment: Further variables for jobs: where the other services are.
        spares: Where clusters take their Spark from and give it back to; default: each has its own.
        engine: Makes the Spark of a cluster; default: a real one.
        clock: POSIX time.
    """

    def __init__(
        self,
        home: Path,
        objects: Objects,
        *,
        project: str,
        environment: Mapping[str, str],
        spares: Spares | None = None,
        engine: Callable[[dataproc_v1.Cluster], Engine] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._home = home / "dataproc"
        self._objects = objects
        self._environment = {"GOOGLE_CLOUD_PROJECT": project, **environment}
        self._spares = spares
        self._operations = Operations(self._home / "operations")
        self._clusters = Clusters(
            self._home / "clusters",
            objects=objects,
            operations=self._operations,
            start_spark=engine or self._start_spark,
            clock=clock,
        )
        self._jobs = Jobs(
            self._home, objects=objects, operations=self._operations, clusters=self._clusters, clock=clock
        )
        self._clusters.open(self._jobs)
        self._jobs.open()

    def sweep(self) -> None:
        """Delete the clusters whose lifecycle settings say so; happens by itself every few seconds."""
        self._clusters.sweep()

    @property
    def handlers(self) -> tuple[rpc.Service, ...]:
        """The gRPC services, for :func:`pydag_gcp.local.rpc.serve`."""
        return (self._clusters.service(), self._jobs.service(), self._operations.service())

    def busy(self) -> bool:
        """Tell whether a job is not over or an operation is not done."""
        return self._jobs.busy() or bool(self._operations.unfinished())

    def close(self) -> None:
        """End every process; clusters and finished jobs stay for the next daemon."""
        self._jobs.close()
        self._clusters.close()

    def _start_spark(self, cluster: dataproc_v1.Cluster) -> Engine:
        environment = {**self._environment, "GOOGLE_CLOUD_PROJECT": cluster.project_id}
        properties = cluster_config.spark_properties(cluster)
        if self._spares is not None:
            return self._spares.lend(
                buckets=self._objects.root,
                temporary_bucket=cluster.config.temp_bucket,
                environment=environment,
                properties=properties,
            )
        return Spark(
            folder=self._home / "spark" / cluster.cluster_uuid,
            buckets=self._objects.root,
            temporary_bucket=cluster.config.temp_bucket,
            environment=environment,
            properties=properties,
        )
