"""The daemon's own main: assembles the services, says where they are, and stops when told to or idle.

``python -m pydag_gcp.local.server --home DIR``; in the foreground, with fixed ports, it is also what a container runs.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pydag_gcp.errors import LocalCloudError
from pydag_gcp.local import copies, rpc
from pydag_gcp.local.admin import Service
from pydag_gcp.local.bigquery.service import BigQuery
from pydag_gcp.local.daemon import PROJECT, Endpoints, Home
from pydag_gcp.local.dataproc.service import Dataproc
from pydag_gcp.local.dataproc.spares import Spares
from pydag_gcp.local.faults import Faults
from pydag_gcp.local.http import Api
from pydag_gcp.local.secretmanager.service import SecretManager
from pydag_gcp.local.seeds import plant
from pydag_gcp.local.serving import HttpServer
from pydag_gcp.local.storage.objects import Objects
from pydag_gcp.local.storage.routes import routes

_SERVICES = ("bigquery", "storage", "bigquery_storage", "dataproc")

_EVERYWHERE = "0.0.0.0"  # noqa: S104  what a container listens on, if told to

#: How long requests in flight may take to end when the daemon is stopped, in seconds.
_GRACE = 2.0

#: How often the daemon looks whether it is idle or its home is gone, in seconds.
_LOOK_EVERY = 1.0

#: A client that asks whether the daemon is alive holds the lock for an instant.
_LOCK_PATIENCE = 2.0


_Server = TypeVar("_Server")

_log = logging.getLogger("pydag_gcp.local")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the daemon is told; ports are 0 for any free one, preferably the last one used."""

    home: Path
    host: str
    advertise: str
    project: str
    idle: float | None
    seed: Path | None
    copy_of: Path | None
    ports: dict[str, int]


@dataclass
class _Told:
    """What signals have told the daemon."""

    stop: bool = False
    wake: threading.Event = field(default_factory=threading.Event)

    def to_stop(self, *_: object) -> None:
        self.stop = True
        self.wake.set()

    def to_begin_again(self, *_: object) -> None:
        self.wake.set()


class Cloud:
    """All services of one home, listening.

    Args:
        options: What the daemon was told.
        last: Where the services were the last time.
        spares: Where clusters take their Spark from and give it back to; default: each has its own.

    Raises:
        OSError: The home cannot be written.
        LocalCloudError: A port is taken, or a service cannot work here.
    """

    def __init__(self, options: Options, last: Endpoints | None, spares: Spares | None = None) -> None:
        self._options = options
        self._last = last
        self._faults = Faults()
        self._http: list[HttpServer] = []
        self._ports: dict[str, int] = {}
        with ExitStack() as stack:
            objects = Objects(options.home / "buckets")
            stack.callback(objects.close)
            self._serve_http(stack, "storage", routes(objects))
            self._bigquery = BigQuery(options.home, objects)
            stack.callback(self._bigquery.close)
            self._serve_http(stack, "bigquery", self._bigquery.api)
            self._serve_rpc(stack, "bigquery_storage", self._bigquery.rpc_handlers)
            # Jobs run beside us, whatever name the outside knows us by.
            environment = self.endpoints(_reachable(options.host)).environment()
            self._dataproc = Dataproc(
                options.home, objects, project=options.project, environment=environment, spares=spares
            )
            stack.callback(self._dataproc.close)
            self._serve_rpc(stack, "dataproc", [*self._dataproc.handlers, *SecretManager(options.home).handlers])
            self._stack = stack.pop_all()

    def endpoints(self, host: str) -> Endpoints:
        """Return where the services are, seen from where this machine goes by that name."""
        ports = {"dataproc": 0, **self._ports}
        return Endpoints(
            project=self._options.project,
            bigquery=f"http://{host}:{ports['bigquery']}",
            storage=f"http://{host}:{ports['storage']}",
            bigquery_storage=f"{host}:{ports['bigquery_storage']}",
            dataproc=f"{host}:{ports['dataproc']}",
            buckets=str(self._options.home / "buckets"),
            pid=os.getpid(),
        )

    def busy(self) -> bool:
        """Tell whether a request is being answered or a job is not over."""
        return any(server.busy for server in self._http) or self._bigquery.busy() or self._dataproc.busy()

    def broken(self) -> bool:
        """Tell whether only a restart can help."""
        return self._bigquery.broken()

    def calls(self) -> dict[str, int]:
        """Return how often each method has been called."""
        return self._faults.calls()

    def close(self) -> None:
        """Take no more calls, let those in flight end, and stop every service."""
        self._faults.release()
        self._stack.close()

    def _serve_http(self, stack: ExitStack, name: str, api: Api) -> None:
        service = Service(api, self._faults)
        server = self._bind(name, lambda port: HttpServer(service, host=self._options.host, port=port))
        self._ports[name] = server.port
        self._http.append(server)
        server.start()
        stack.callback(server.stop, _GRACE)

    def _serve_rpc(self, stack: ExitStack, name: str, handlers: Sequence[rpc.Service]) -> None:
        server, port = self._bind(name, lambda port: rpc.serve(handlers, self._options.host, port, self._faults))
        self._ports[name] = port
        stack.callback(lambda: server.stop(_GRACE).wait())

    def _bind(self, name: str, listen: Callable[[int], _Server]) -> _Server:
        """Listen on the port that was asked for; else on the one of the last time, or on any."""
        fixed = self._options.ports[name]
        for port in [fixed] if fixed else [self._last_port(name), 0]:
            try:
                return listen(port)
            except OSError as error:
                if fixed or not port:
                    raise LocalCloudError(f"cannot listen on {self._options.host}:{port}: {error}") from error
        raise AssertionError("port 0 is always tried last")

    def _last_port(self, name: str) -> int:
        if self._last is None:
            return 0
        return int(str(self._last.to_json()[name]).rpartition(":")[2])


def main(arguments: Sequence[str] | None = None) -> int:
    """Be the daemon; return the exit code.

    Args:
        arguments: The words after the program's name; default: those of this process.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    options = _parse(arguments)
    try:
        with _alone(Home(folder=options.home)) as place:
            _serve(options, place)
    except LocalCloudError as error:
        print(error, file=sys.stderr)  # noqa: T201  the one line that a client, or a container's log, shows
        return error.exit_code
    except OSError as error:
        print(f"{error.filename or options.home}: {error.strerror or error}", file=sys.stderr)  # noqa: T201
        return LocalCloudError.exit_code
    return 0


def _serve(options: Options, place: Home) -> None:
    told = _Told()
    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, told.to_stop)
    last = place.endpoints()
    if options.copy_of is None:
        _serve_once(Cloud(options, last), options, place, told)
        return
    signal.signal(signal.SIGHUP, told.to_begin_again)
    with closing(Spares(options.home / copies.SPARES)) as spares:
        while not told.stop:
            told.wake.clear()
            copies.put_back(options.copy_of, options.home)
            cloud = Cloud(options, last, spares)
            last = cloud.endpoints(options.advertise)
            _serve_once(cloud, options, place, told)


def _serve_once(cloud: Cloud, options: Options, place: Home, told: _Told) -> None:
    """Serve until it is time to stop, or to begin again."""
    with closing(cloud):
        if options.seed is not None:
            plant(options.seed, storage=cloud.endpoints(_reachable(options.host)).storage, project=options.project)
        endpoints = cloud.endpoints(options.advertise)
        draft = place.state.with_suffix(".new")
        draft.write_text(json.dumps(endpoints.to_json()))
        draft.replace(place.state)
        _log.info("serving %s", endpoints)
        _wait(cloud, place, options.idle, told)


def _wait(cloud: Cloud, place: Home, idle: float | None, told: _Told) -> None:
    """Return when it is time to stop, or to begin again.

    Raises:
        LocalCloudError: It is broken: whoever supervises it is to start it anew.
    """
    mine = place.lock.stat().st_ino
    calls, active = cloud.calls(), time.monotonic()
    while not told.wake.wait(_LOOK_EVERY):
        now = cloud.calls()
        if now != calls or cloud.busy():
            calls, active = now, time.monotonic()
        elif idle is not None and time.monotonic() - active >= idle:
            _log.info("stopping: nobody has called for %.0f s", idle)
            told.stop = True
            return
        if cloud.broken():
            raise LocalCloudError("the database must be opened anew")
        if not place.lock.exists() or place.lock.stat().st_ino != mine:
            _log.info("stopping: %s is gone", place.folder)
            told.stop = True
            return
    _log.info("stopping: told to" if told.stop else "beginning again")


@contextmanager
def _alone(place: Home) -> Iterator[Home]:
    """Hold the lock that says that this process is the daemon.

    Raises:
        LocalCloudError: Another process is.
    """
    place.folder.mkdir(parents=True, exist_ok=True)
    with place.lock.open("ab") as lock:
        deadline = time.monotonic() + _LOCK_PATIENCE
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise LocalCloudError("another local cloud serves this folder", where=str(place.folder)) from None
                time.sleep(0.01)
        lock.truncate(0)
        lock.write(str(os.getpid()).encode())
        lock.flush()
        yield place


def _reachable(host: str) -> str:
    """Return the name by which this machine reaches itself if it listens on ``host``."""
    return "127.0.0.1" if host == _EVERYWHERE else host


def _parse(arguments: Sequence[str] | None) -> Options:
    parser = argparse.ArgumentParser(prog="python -m pydag_gcp.local.server", description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="the data directory")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on")
    parser.add_argument("--advertise", help="the host name by which clients reach it; default: that address")
    parser.add_argument("--project", default=PROJECT, help="the default project")
    parser.add_argument("--idle", type=float, help="stop after so many seconds without a call; default: never")
    parser.add_argument("--seed", type=Path, help="a folder whose sub-folders are copied in as buckets")
    parser.add_argument("--copy-of", type=Path, help="data to begin with, and to begin with again at each SIGHUP")
    for name in _SERVICES:
        parser.add_argument(f"--{name.replace('_', '-')}-port", type=int, default=0, help="default: any free one")
    found = parser.parse_args(arguments)
    return Options(
        home=found.home.absolute(),
        host=found.host,
        advertise=found.advertise or _reachable(found.host),
        project=found.project,
        idle=found.idle,
        seed=found.seed,
        copy_of=found.copy_of.absolute() if found.copy_of else None,
        ports={name: getattr(found, f"{name}_port") for name in _SERVICES},
    )


if __name__ == "__main__":
    sys.exit(main())
