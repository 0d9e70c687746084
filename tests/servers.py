"""Real PostgreSQL and Redis servers, each started when a test first asks for it and gone with the session."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import psycopg
import pytest
import redis

PASSWORD = "s3cret-of-the-server"  # so that a test can look for it where it must not be
_SECONDS = 30


class PostgreSQL:
    """A PostgreSQL server on this machine, for databases that nobody will miss.

    Args:
        programs: The folder of its programs.
        folder: For its data; owned by ``user``.
        user: Who runs it: it refuses to be root.
    """

    def __init__(self, programs: Path, folder: Path, user: str | None) -> None:
        self.port = _free_port()
        self._programs = programs
        self._folder = folder
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "password").write_text(PASSWORD)
        self._run(
            "initdb",
            "--username=pydag",
            "--auth=scram-sha-256",
            f"--pwfile={folder / 'password'}",
            "--no-sync",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-instructions",
            str(folder / "data"),
        )

    def start(self) -> None:
        """Start it, and wait until it accepts connections."""
        options = {"port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off"}
        command = [str(self._programs / "postgres"), "-D", str(self._folder / "data")]
        command += [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, user=self._user, stdout=log, stderr=log, cwd=self._folder)
        _wait_for(lambda: psycopg.connect(self.url("postgres"), connect_timeout=2).close(), psycopg.OperationalError)

    def stop(self) -> None:
        """Stop it as a crash would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(_SECONDS)
            self._process = None

    def url(self, database: str) -> str:
        """URL of a database."""
        return f"postgresql://pydag:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def new(self, encoding: str = "UTF8") -> str:
        """URL of a new, empty database."""
        name = f"test_{uuid.uuid4().hex}"
        self.execute(f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
        return self.url(name)

    def execute(self, statement: str) -> None:
        """Execute a statement as the server's owner."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement)

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._programs / program), *arguments], user=self._user, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode()


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgreSQL]:
    """A PostgreSQL server; a test that stops it starts it again."""
    found = shutil.which("postgres")
    programs = [Path(found)] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not programs:
        _missing("PostgreSQL: apt-get install postgresql")
    user = _other_user()
    with _folder(user) as folder:
        server = PostgreSQL(programs[-1].parent, folder, user)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture
def postgresql_url(postgresql_server: PostgreSQL) -> str:
    """URL of an empty schema on a PostgreSQL server: as good as a database of its own, and sooner made."""
    name = f"test_{uuid.uuid4().hex}"
    postgresql_server.execute(f"CREATE SCHEMA {name}")
    return f"{postgresql_server.url('postgres')}?options=-csearch_path%3D{name}"


class RedisServer:
    """A Redis server on this machine that keeps nothing on disk.

    Args:
        folder: Its working directory.
    """

    def __init__(self, folder: Path) -> None:
        self.port = _free_port()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its URL."""
        return f"redis://:{PASSWORD}@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = {"port": self.port, "bind": "127.0.0.1", "save": "", "requirepass": PASSWORD, "dir": self._folder}
        command = ["redis-server", *(part for name, value in options.items() for part in (f"--{name}", str(value)))]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        with self.client() as client:
            _wait_for(client.ping, redis.RedisError)

    def stop(self) -> None:
        """Stop it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(_SECONDS)
            self._process = None

    def client(self) -> redis.Redis:
        """A client of it."""
        return redis.Redis.from_url(self.url)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A Redis server; a test that stops it starts it again."""
    if shutil.which("redis-server") is None:
        _missing("Redis: apt-get install redis-server")
    with _folder(None) as folder:
        server = RedisServer(folder)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """URL of a Redis server that holds nothing."""
    with redis_server.client() as client:
        client.flushall()
    return redis_server.url


def _missing(what: str) -> NoReturn:
    tell = pytest.fail if os.environ.get("CI") else pytest.skip
    tell(f"there is no {what}")


def _other_user() -> str | None:
    if os.getuid() != 0:
        return None
    return "postgres" if "\npostgres:" in Path("/etc/passwd").read_text() else "nobody"


@contextmanager
def _folder(user: str | None) -> Iterator[Path]:
    """A folder that another user can reach, unlike pytest's."""
    with tempfile.TemporaryDirectory(prefix="pydag-server-") as name:
        if user is not None:
            shutil.chown(name, user)
        yield Path(name)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(answers: Callable[[], object], refusal: type[Exception]) -> None:
    deadline = time.monotonic() + _SECONDS
    while True:
        try:
            answers()
        except refusal:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return
