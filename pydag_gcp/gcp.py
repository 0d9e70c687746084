"""The one place that builds google-cloud clients.

"Local" is the same clients pointed at loopback endpoints. Google's modules are imported when the first client is built.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

from pydag_gcp.errors import TargetUnreachable

if TYPE_CHECKING:
    from google.auth.credentials import Credentials
    from google.cloud.bigquery import Client as BigQueryClient
    from google.cloud.dataproc_v1 import ClusterControllerClient, JobControllerClient
    from google.cloud.secretmanager_v1 import SecretManagerServiceClient
    from google.cloud.storage import Client as StorageClient

#: Seconds that one API call may take.
CALL_TIMEOUT = 60.0
#: Arguments of a client's call that is made once: whoever calls sends again, or does not.
ONCE: Final[Mapping[str, Any]] = {"retry": None, "timeout": CALL_TIMEOUT}

_Client = TypeVar("_Client")


@dataclass(frozen=True, kw_only=True)
class Endpoints:
    """Where the services listen: URLs for HTTP, ``host:port`` for gRPC; Secret Manager beside Dataproc by default."""

    bigquery: str
    storage: str
    dataproc: str
    secretmanager: str | None = None


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where a run goes.

    Attributes:
        name: ``local`` or the GCP project's id.
        project: The GCP project's id.
        location: BigQuery location of jobs and of datasets that are created.
        credentials: A service account's key file; default: Google's application default credentials.
        create_datasets: Create a dataset that a task writes to and that is missing.
        endpoints: Other places than Google's.
        local_home: The folder of the embedded local cloud, which is started there when it is first needed, unless
            ``endpoints`` say where one runs already.
    """

    name: str
    project: str
    location: str = "US"
    credentials: str | None = None
    create_datasets: bool = False
    endpoints: Endpoints | None = None
    local_home: Path | None = None

    @property
    def is_local(self) -> bool:
        """Whether this is the local cloud, embedded or served elsewhere."""
        return self.endpoints is not None or self.local_home is not None


class Clients:
    """Clients of one target, built on first use, shared by all threads of a run.

    Args:
        target: Where they talk to.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self._built: dict[str, Any] = {}
        self._retired: list[Any] = []
        self._lock = threading.RLock()
        self._endpoints = target.endpoints

    def bigquery(self) -> BigQueryClient:
        """The BigQuery client; its default location is the target's."""
        return self._once("bigquery", self._bigquery)

    def storage(self) -> StorageClient:
        """The Cloud Storage client."""
        return self._once("storage", self._storage)

    def clusters(self, region: str) -> ClusterControllerClient:
        """The Dataproc cluster client of a region."""
        return self._once(f"clusters/{region}", partial(self._clusters, region))

    def jobs(self, region: str) -> JobControllerClient:
        """The Dataproc job client of a region."""
        return self._once(f"jobs/{region}", partial(self._jobs, region))

    def secrets(self) -> SecretManagerServiceClient:
        """The Secret Manager client."""
        return self._once("secrets", self._secrets)

    def check(self) -> None:
        """Make sure that the target can be reached at all, before anything runs.

        Raises:
            TargetUnreachable: A service does not accept connections, or there are no valid credentials.
        """
        endpoints = self.endpoints()
        if endpoints is None:
            self._check_credentials()
            _connect("bigquery.googleapis.com", 443)
            return
        try:
            _connect_all(endpoints)
        except TargetUnreachable:
            if self._embedded is None:
                raise
            self.revive()
            _connect_all(self.endpoints() or endpoints)

    def endpoints(self) -> Endpoints | None:
        """Where the services listen, or None for Google's own places. Starts the local cloud if need be.

        Raises:
            LocalCloudError: It could not be started.
        """
        with self._lock:
            if self._endpoints is None and self._embedded is not None:
                self._endpoints = _start_local_cloud(self._embedded)
            return self._endpoints

    def revive(self) -> None:
        """Start the embedded local cloud again if it has died.

        It takes the same ports, unless another program took one of them meanwhile: then clients are built anew.

        Raises:
            LocalCloudError: It could not be started.
        """
        if self._embedded is None:
            return
        found = _start_local_cloud(self._embedded)  # takes its time: outside the lock, which every call needs
        with self._lock:
            if found != self._endpoints:
                self._endpoints = found
                self._retired += self._built.values()  # other threads may still use them
                self._built = {}

    @property
    def _embedded(self) -> Path | None:
        """The home of a local cloud that is ours to start."""
        return None if self.target.endpoints is not None else self.target.local_home

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            clients = [*self._built.values(), *self._retired]
            self._built, self._retired = {}, []
        for client in clients:
            close = getattr(client, "close", None) or client.transport.close
            close()

    def _once(self, key: str, build: Callable[[], _Client]) -> _Client:
        with self._lock:
            if key not in self._built:
                self._built[key] = build()
            built: _Client = self._built[key]
            return built

    def _credentials(self) -> Credentials:
        if self.target.is_local:
            from google.auth.credentials import AnonymousCredentials

            return AnonymousCredentials()
        import google.auth
        from google.oauth2 import service_account

        scopes = ["https://www.googleapis.com/auth/cloud-platform"]
        if self.target.credentials is not None:
            read = service_account.Credentials.from_service_account_file
            found: Credentials = read(self.target.credentials, scopes=scopes)  # type: ignore[no-untyped-call]
        else:
            found = google.auth.default(scopes=scopes)[0]
        return found

    def _check_credentials(self) -> None:
        from google.auth.exceptions import GoogleAuthError
        from google.auth.transport.requests import Request

        where = f"target {self.target.name!r}"
        try:
            self._credentials().refresh(Request())
        except (GoogleAuthError, OSError, ValueError) as error:  # ValueError: a key file that is none
            hint = "run `gcloud auth application-default login` or set GOOGLE_APPLICATION_CREDENTIALS"
            why = error.args[0] if isinstance(error, GoogleAuthError) and error.args else error  # more args are causes
            what = f"no valid credentials: {why}".splitlines()[0].removesuffix(".")
            raise TargetUnreachable(what, where=where, hint=hint) from error

    def _bigquery(self) -> BigQueryClient:
        from google.cloud.bigquery import Client

        endpoints = self.endpoints()
        options = {"api_endpoint": endpoints.bigquery} if endpoints else None
        return Client(
            project=self.target.project,
            credentials=self._credentials(),
            location=self.target.location,
            client_options=options,
        )

    def _storage(self) -> StorageClient:
        from google.cloud.storage import Client

        endpoints = self.endpoints()
        options = {"api_endpoint": endpoints.storage} if endpoints else None
        return Client(project=self.target.project, credentials=self._credentials(), client_options=options)

    def _clusters(self, region: str) -> ClusterControllerClient:
        from google.cloud.dataproc_v1 import ClusterControllerClient
        from google.cloud.dataproc_v1.services.cluster_controller.transports import ClusterControllerGrpcTransport

        if not self.target.is_local:
            return ClusterControllerClient(credentials=self._credentials(), client_options=_regional(region))
        return ClusterControllerClient(transport=ClusterControllerGrpcTransport(channel=self._channel()))

    def _jobs(self, region: str) -> JobControllerClient:
        from google.cloud.dataproc_v1 import JobControllerClient
        from google.cloud.dataproc_v1.services.job_controller.transports import JobControllerGrpcTransport

        if not self.target.is_local:
            return JobControllerClient(credentials=self._credentials(), client_options=_regional(region))
        return JobControllerClient(transport=JobControllerGrpcTransport(channel=self._channel()))

    def _secrets(self) -> SecretManagerServiceClient:
        from google.cloud.secretmanager_v1 import SecretManagerServiceClient
        from google.cloud.secretmanager_v1.services.secret_manager_service import transports

        endpoints = self.endpoints()
        if endpoints is None:
            return SecretManagerServiceClient(credentials=self._credentials())
        channel = self._channel(endpoints.secretmanager)
        return SecretManagerServiceClient(transport=transports.SecretManagerServiceGrpcTransport(channel=channel))

    def _channel(self, address: str | None = None) -> Any:
        import grpc

        endpoints = self.endpoints()
        # By default a channel whose server was away for a while does not even try to connect for up to two minutes:
        # https://github.com/grpc/grpc/blob/master/doc/connection-backoff.md
        options = [("grpc.max_reconnect_backoff_ms", 2000)]
        return grpc.insecure_channel(address or (endpoints.dataproc if endpoints else ""), options=options)


def _start_local_cloud(home: Path) -> Endpoints:
    from pydag_gcp.local.daemon import up

    found = up(home)
    return Endpoints(bigquery=found.bigquery, storage=found.storage, dataproc=found.dataproc)


def _regional(region: str) -> dict[str, str]:
    """https://cloud.google.com/dataproc/docs/concepts/regional-endpoints."""
    return {"api_endpoint": f"{region}-dataproc.googleapis.com:443"}


def _connect_all(endpoints: Endpoints) -> None:
    for address in (endpoints.bigquery, endpoints.storage, f"//{endpoints.dataproc}"):
        parts = urlsplit(address)
        _connect(parts.hostname or "", parts.port or 80)


def _connect(host: str, port: int) -> None:
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError as error:
        raise TargetUnreachable(
            f"cannot connect to {host}:{port}: {error.strerror or error}",
            hint="is the network up, and is the address right? `pydag local status` tells of the local cloud",
        ) from error
