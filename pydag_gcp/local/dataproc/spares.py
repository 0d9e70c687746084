"""Warm Sparks that outlive their cluster, for a local cloud that is put back to its beginning again and again.

A cluster that is deleted gives its Spark back; the next one of the same kind takes it over, as one job takes it over
from another on the same cluster.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Mapping
from pathlib import Path

from pydag_gcp.errors import LocalCloudError
from pydag_gcp.local.dataproc.spark import Run, Spark


class Spares:
    """The Sparks of one local cloud; safe to use from many threads.

    Args:
        folder: For what they write.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._resting: dict[str, list[Spark]] = {}

    def lend(
        self, *, buckets: Path, temporary_bucket: str, environment: Mapping[str, str], properties: Mapping[str, str]
    ) -> Lent:
        """Return the Spark of a cluster: one that is there already, or a new one; see :class:`Spark`."""
        kind = json.dumps([str(buckets), temporary_bucket, dict(environment), dict(properties)], sort_keys=True)
        with self._lock:
            resting = self._resting.get(kind)
            if resting:
                return Lent(resting.pop(), kind, self)
            number = next(self._numbers)
        spark = Spark(
            folder=self._folder / str(number),
            buckets=buckets,
            temporary_bucket=temporary_bucket,
            environment=environment,
            properties=properties,
        )
        return Lent(spark, kind, self)

    def take_back(self, spark: Spark, kind: str) -> None:
        """Keep a Spark for the next cluster of that kind if it is still good."""
        if not spark.rest():
            spark.remove()
            return
        with self._lock:
            self._resting.setdefault(kind, []).append(spark)

    def close(self) -> None:
        """End them all."""
        with self._lock:
            resting = [spark for sparks in self._resting.values() for spark in sparks]
            self._resting.clear()
        for spark in resting:
            spark.remove()


class Lent:
    """A cluster's Spark while the cluster lives: an :class:`~pydag_gcp.local.dataproc.spark.Engine`."""

    def __init__(self, spark: Spark, kind: str, spares: Spares) -> None:
        self._spark: Spark | None = spark
        self._kind = kind
        self._spares = spares
        self._lock = threading.Lock()

    def start(self) -> None:
        """Return when it takes work."""
        self._lent().start()

    def warm_up(self) -> None:
        """Make the first work quick."""
        self._lent().warm_up()

    def recover(self) -> None:
        """Start and warm up again if the last work took it along."""
        self._lent().recover()

    def hurry(self) -> None:
        """Cut a warm-up short."""
        self._lent().hurry()

    def run(self, run: Run) -> int:
        """Do a piece of work when its turn comes, and return its exit code."""
        return self._lent().run(run)

    def close(self) -> None:
        """Give it back."""
        with self._lock:
            spark, self._spark = self._spark, None
        if spark is not None:
            self._spares.take_back(spark, self._kind)

    def remove(self) -> None:
        """Give it back."""
        self.close()

    def _lent(self) -> Spark:
        if self._spark is None:
            raise LocalCloudError("this cluster's Spark has been closed")
        return self._spark
