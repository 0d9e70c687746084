"""The local BigQuery, assembled: REST routes, jobs, and the Storage Read API, over one warehouse.

Reference: https://cloud.google.com/bigquery/docs/reference/rest.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from pathlib import Path

import duckdb

from pydag_gcp.local.bigquery import copies, read_api
from pydag_gcp.local.bigquery.catalogue import Catalogue
from pydag_gcp.local.bigquery.dataset_routes import DatasetRoutes
from pydag_gcp.local.bigquery.exports import Exports
from pydag_gcp.local.bigquery.extracts import Extracts
from pydag_gcp.local.bigquery.job_routes import JobRoutes
from pydag_gcp.local.bigquery.job_uploads import JobUploads
from pydag_gcp.local.bigquery.jobs import Jobs
from pydag_gcp.local.bigquery.loads import Loads
from pydag_gcp.local.bigquery.query import Queries
from pydag_gcp.local.bigquery.sizes import Sizes
from pydag_gcp.local.bigquery.table_routes import TableRoutes
from pydag_gcp.local.bigquery.warehouse import Warehouse
from pydag_gcp.local.http import Api
from pydag_gcp.local.rpc import Service
from pydag_gcp.local.storage.objects import Objects

#: How often tables and read sessions whose time is over are thrown away, in seconds.
_SWEEP_EVERY = 600.0

_log = logging.getLogger(__name__)


class BigQuery:
    """BigQuery v2 over REST and its Storage Read API over gRPC.

    Jobs that an earlier process accepted and did not finish start to run at once.

    Args:
        home: The data directory of the local cloud.
        objects: Cloud Storage, for loads and extracts.
        location: Where datasets are made and jobs run that do not say.
        threads: Threads DuckDB may use; default: as many as there are processors.
    """

    def __init__(self, home: Path, objects: Objects, *, location: str = "US", threads: int | None = None) -> None:
        self._warehouse = Warehouse(home, threads=threads)
        sizes = Sizes()
        exports = Exports(objects, self._warehouse.spool)
        extracts = Extracts(self._warehouse, exports, sizes)
        queries = Queries(self._warehouse, sizes, exports)
        loads = Loads(self._warehouse, objects)
        self._jobs = Jobs(
            self._warehouse,
            {
                "query": queries.steps,
                "load": loads.steps,
                "extract": extracts.steps,
                "copy": lambda job: copies.steps(job, self._warehouse),
            },
        )
        self._uploads = uploads = JobUploads(self._warehouse.spool)
        self._sessions = read_api.ReadSessions(self._warehouse)
        #: The REST routes.
        self.api = Api()
        DatasetRoutes(self._warehouse, location).register(self.api)
        TableRoutes(self._warehouse, sizes).register(self.api)
        JobRoutes(self._warehouse, self._jobs, queries, uploads, sizes, location).register(self.api)
        #: The gRPC services.
        self.rpc_handlers: Sequence[Service] = (read_api.service(self._sessions),)
        self._closed = threading.Event()
        self._sweeper = threading.Thread(target=self._sweep, name="bigquery-sweeper", daemon=True)
        self._jobs.recover()
        self._sweeper.start()

    def busy(self) -> bool:
        """Tell whether a job is not done."""
        return self._jobs.busy()

    def broken(self) -> bool:
        """Tell whether nothing works any more until it is opened anew."""
        return self._warehouse.broken

    def close(self) -> None:
        """Stop; jobs under way run again when it is opened the next time."""
        self._closed.set()
        self._sweeper.join()
        self._jobs.close()
        self._warehouse.close()

    def _sweep(self) -> None:
        while True:
            try:
                self._drop_expired()
                self._sessions.drop_expired()
                self._uploads.drop_abandoned()
            except (OSError, duckdb.Error):
                _log.exception("what has expired could not be dropped; trying again in %s s", _SWEEP_EVERY)
            if self._closed.wait(_SWEEP_EVERY):
                return

    def _drop_expired(self) -> None:
        with self._warehouse.reading() as connection:
            over = Catalogue(connection, self._warehouse.clock).expired()
        for table in over:
            with self._warehouse.writing({str(table.name)}, {str(table.name.parent)}) as connection:
                catalogue = Catalogue(connection, self._warehouse.clock)
                for found in catalogue.expired():
                    if found.name == table.name:
                        catalogue.drop_table(found)
