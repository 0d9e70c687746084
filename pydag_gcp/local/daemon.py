"""Start, find and stop the one daemon of a data directory; this is the side of its clients, and cheap to import.

The daemon holds a kernel lock on ``<home>/lock`` for its life and has written its process id there, so "is it alive"
never depends on a stale file: the lock is gone with the process. Whoever starts or stops it holds ``<home>/turn``
meanwhile, so any number of processes may ask for it at once and there is only ever one.
"""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from pydag_gcp.errors import LocalCloudError

#: The project that local resources belong to unless one is named.
PROJECT = "pydag-local"

#: How long a daemon that nobody calls stays, in seconds.
IDLE = 1800.0

_START_TIMEOUT = 120.0
#: How often it is started anew when somebody kills it at its start.
_STARTS = 3
_ANSWER_TIMEOUT = 10.0
_STOP_GRACE = 15.0
#: For longer than this nobody who works needs to start or stop it.
_TURN_PATIENCE = _START_TIMEOUT + 2 * _STOP_GRACE + 2 * _ANSWER_TIMEOUT
_PAUSE = 0.01

#: What the extra ``local`` brings, by module.
_EXTRA = ("duckdb", "fastavro", "google.cloud.bigquery_storage", "pyarrow", "pyspark", "werkzeug")


@dataclass(frozen=True, kw_only=True)
class Endpoints:
    """Where the local cloud is.

    Attributes:
        project: Its default project.
        bigquery: The URL of BigQuery's REST API.
        storage: The URL of Cloud Storage's JSON API.
        bigquery_storage: Host and port of the BigQuery Storage Read API.
        dataproc: Host and port of Dataproc.
        buckets: The folder of buckets.
        pid: The process id of the daemon.
    """

    project: str
    bigquery: str
    storage: str
    bigquery_storage: str
    dataproc: str
    buckets: str
    pid: int

    def to_json(self) -> dict[str, str | int]:
        """Return the document that ``pydag local up --json`` prints."""
        return asdict(self)

    def environment(self) -> dict[str, str]:
        """Return the variables that lead Google's clients, and ours, here."""
        return {
            "GOOGLE_CLOUD_PROJECT": self.project,
            "STORAGE_EMULATOR_HOST": self.storage,
            "BIGQUERY_EMULATOR_HOST": self.bigquery,
            "BIGQUERY_STORAGE_EMULATOR_HOST": self.bigquery_storage,
            "DATAPROC_EMULATOR_HOST": self.dataproc,
            "SECRETMANAGER_EMULATOR_HOST": self.dataproc,
        }


@dataclass(frozen=True, kw_only=True)
class Home:
    """The files by which a daemon and its clients know of each other.

    Attributes:
        folder: The data directory.
    """

    folder: Path

    @property
    def lock(self) -> Path:
        """Locked by the daemon as long as it lives; holds its process id."""
        return self.folder / "lock"

    @property
    def turn(self) -> Path:
        """Locked by whoever starts or stops the daemon."""
        return self.folder / "turn"

    @property
    def state(self) -> Path:
        """The endpoints of the daemon that last served here."""
        return self.folder / "daemon.json"

    @property
    def log(self) -> Path:
        """What the daemon has to say."""
        return self.folder / "daemon.log"

    def endpoints(self) -> Endpoints | None:
        """Return what ``daemon.json`` says; None if it cannot be read or is not of this version."""
        try:
            found: Mapping[str, str | int] = json.loads(self.state.read_text("utf-8"))
            return Endpoints(**{field.name: found[field.name] for field in fields(Endpoints)})  # type: ignore[arg-type]
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def holder(self) -> int | None:
        """Return the process id of the daemon that holds the lock; 0 if it has not said yet, None if nobody does."""
        try:
            file = self.lock.open("rb")
        except (FileNotFoundError, NotADirectoryError):
            return None
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(file.read() or 0)
            return None


def up(
    home: Path,
    *,
    seed: Path | None = None,
    host: str = "127.0.0.1",
    project: str = PROJECT,
    idle: float | None = IDLE,
    copy_of: Path | None = None,
    on_start: Callable[[], None] | None = None,
) -> Endpoints:
    """Make sure that the local cloud is there.

    Args:
        home: Its data directory.
        seed: A folder whose sub-folders are buckets; files that are missing there or differ are copied in.
        host: The address to listen on, if it has to be started.
        project: Its default project, likewise.
        idle: After how many seconds without a call it stops by itself, likewise; None for never.
        copy_of: Data that it begins with, likewise, and with which it begins again at each :func:`put_back`; what lies
            in its data directory is thrown away.
        on_start: Called before it is started, if it has to be.

    Returns:
        Where it is.

    Raises:
        LocalCloudError: It cannot be started, or the seed cannot be copied.
    """
    options = ["--host", host, "--project", project]
    options += [] if idle is None else ["--idle", str(idle)]
    options += [] if copy_of is None else ["--copy-of", str(copy_of.absolute())]
    found = status(home)
    if found is None:
        with _turn(home) as place:
            found = status(home)
            if found is None:
                if on_start is not None:
                    on_start()
                found = _start(place, options)
    if seed is not None:
        from pydag_gcp.local.seeds import plant

        plant(seed, storage=found.storage, project=found.project)
    return found


def down(home: Path) -> bool:
    """Stop the local cloud and wait until it has ended; its data stays.

    Returns:
        Whether there was one.

    Raises:
        LocalCloudError: It cannot be stopped.
    """
    place = Home(folder=home.absolute())
    if place.holder() is None:
        return False
    with _turn(home):
        return _stop(place)


def put_back(home: Path) -> Endpoints:
    """Make a local cloud that is the copy of another begin again with those data; its warm Sparks go on.

    Raises:
        LocalCloudError: It is not running, or it ended over that.
    """
    place = Home(folder=home.absolute())
    with _turn(home):
        pid = place.holder()
        if not pid:
            raise LocalCloudError("the local cloud is not running", where=str(home))
        place.state.unlink(missing_ok=True)
        os.kill(pid, signal.SIGHUP)
        deadline = time.monotonic() + _START_TIMEOUT
        while (endpoints := place.endpoints()) is None:
            if place.holder() != pid or time.monotonic() > deadline:
                raise LocalCloudError(
                    f"the local cloud did not begin again: {_last_words(place)}", where=str(place.log)
                )
            time.sleep(_PAUSE)
        return endpoints


def status(home: Path) -> Endpoints | None:
    """Return where the local cloud is, or None if it is not running; its lock, process id and a call are the proof."""
    place = Home(folder=home.absolute())
    endpoints = place.endpoints()
    if endpoints is None or place.holder() != endpoints.pid or not _answers(endpoints):
        return None
    return endpoints


@contextmanager
def _turn(home: Path) -> Iterator[Home]:
    """Wait for our turn to start or stop the daemon.

    Raises:
        LocalCloudError: Whoever has it does not give it back.
    """
    place = Home(folder=home.absolute())
    try:
        place.folder.mkdir(parents=True, exist_ok=True)
        file = place.turn.open("ab")
    except OSError as error:
        raise _unwritable(place, error) from error
    with file:
        _take_turn(file, place)
        yield place


def _take_turn(file: IO[bytes], place: Home) -> None:
    deadline = time.monotonic() + _TURN_PATIENCE
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                what = f"another process has been starting or stopping the local cloud for over {_TURN_PATIENCE:g} s"
                hint = f"end it: `fuser {place.turn}` tells which one"
                raise LocalCloudError(what, where=str(place.folder), hint=hint) from None
            time.sleep(_PAUSE)
        else:
            return


def _start(place: Home, options: list[str]) -> Endpoints:
    _check_extra()
    if (endpoints := _settle(place)) is not None:
        return endpoints
    for _ in range(_STARTS):
        if (endpoints := _await_service(place, _launch(place, options))) is not None:
            return endpoints
    raise LocalCloudError("the local cloud was killed each time that it was started", where=str(place.log))


def _launch(place: Home, options: list[str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", "-m", "pydag_gcp.local.server", "--home", str(place.folder), *options]
    try:
        if place.log.exists():
            place.log.replace(place.log.with_suffix(".log.1"))
        with place.log.open("wb") as log:
            process = subprocess.Popen(
                command, cwd=place.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
    except OSError as error:
        raise _unwritable(place, error) from error
    # Someone must take note of its end, should it come before ours.
    threading.Thread(target=process.wait, name="local-cloud", daemon=True).start()
    return process


def _settle(place: Home) -> Endpoints | None:
    """Return a daemon that is just getting ready; wait for one that is just ending; end one that does not answer."""
    deadline = time.monotonic() + _ANSWER_TIMEOUT
    while place.holder() is not None:
        if (endpoints := status(place.folder)) is not None:
            return endpoints
        if time.monotonic() > deadline:
            _stop(place)
            return None
        time.sleep(_PAUSE)
    return None


def _await_service(place: Home, process: subprocess.Popen[bytes]) -> Endpoints | None:
    """Return where a daemon that was started is, or None if somebody killed it meanwhile."""
    deadline = time.monotonic() + _START_TIMEOUT
    while time.monotonic() < deadline:
        ended = process.poll() is not None
        endpoints = place.endpoints()
        if endpoints is not None and endpoints.pid == process.pid and not ended:
            return endpoints
        if process.returncode == -signal.SIGKILL:
            return None
        if ended:
            raise LocalCloudError(f"the local cloud did not start: {_last_words(place)}", where=str(place.log))
        time.sleep(_PAUSE)
    process.kill()
    raise LocalCloudError(
        f"the local cloud did not start within {_START_TIMEOUT:.0f} s: {_last_words(place)}", where=str(place.log)
    )


def _stop(place: Home) -> bool:
    pid = place.holder()
    if pid is None:
        return False
    if not _is_ours(pid):
        raise LocalCloudError(
            f"process {pid} holds the lock, but is no local cloud that this process could stop",
            where=str(place.lock),
            hint="stop it where it was started",
        )
    for sign, grace in ((signal.SIGTERM, _STOP_GRACE), (signal.SIGKILL, _STOP_GRACE)):
        with suppress(ProcessLookupError):
            os.kill(pid, sign)
        deadline = time.monotonic() + grace
        while time.monotonic() < deadline:
            if place.holder() != pid:
                return True
            time.sleep(_PAUSE)
    raise LocalCloudError(f"process {pid} does not end", where=str(place.lock))


def _is_ours(pid: int) -> bool:
    """Tell whether a process of that id, as we see it, is a daemon: with containers, ids may mean other processes."""
    command = ["ps", "-ww", "-p", str(pid), "-o", "command="]
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
    except OSError:
        words = subprocess.run(command, capture_output=True, check=False).stdout if sys.platform == "darwin" else b""
    return b"pydag_gcp.local.server" in words


def _answers(endpoints: Endpoints) -> bool:
    from http.client import HTTPConnection, HTTPException

    parts = urlsplit(endpoints.storage)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=_ANSWER_TIMEOUT)
    try:
        connection.request("GET", "/_pydag/calls")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _check_extra() -> None:
    for module in _EXTRA:
        try:
            found = importlib.util.find_spec(module)
        except ModuleNotFoundError:  # a package above it is missing
            found = None
        if found is None:
            raise LocalCloudError(
                f"the local cloud needs the module {module}, which is not installed",
                hint="pip install 'pydag-gcp[local]'",
            )


def _unwritable(place: Home, error: OSError) -> LocalCloudError:
    return LocalCloudError(
        f"the local cloud cannot write there: {error.strerror or error}",
        where=str(error.filename or place.folder),
        hint="make room, or set PYDAG_HOME to a folder that can be written",
    )


def _last_words(place: Home) -> str:
    """Return the last lines of the log, in one line."""
    with suppress(OSError):
        lines = [line.strip() for line in place.log.read_text("utf-8", "replace").splitlines() if line.strip()]
        if lines:
            return " | ".join(lines[-3:])
    return "it left no word"
