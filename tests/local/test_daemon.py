"""The daemon as a real process: started, found, replaced and stopped."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from pathlib import Path

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from pydag_gcp.errors import LocalCloudError
from pydag_gcp.local import daemon, server
from pydag_gcp.local.daemon import Endpoints, Home
from tests.conftest import reaped


@pytest.fixture
def home(local_home: Path) -> Iterator[Path]:
    yield local_home
    daemon.down(local_home)


def _until(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _client(endpoints: Endpoints) -> storage.Client:
    return storage.Client(
        project="p", credentials=AnonymousCredentials(), client_options={"api_endpoint": endpoints.storage}
    )


def test_importing_the_client_side_is_cheap() -> None:
    code = "import sys, pydag_gcp.local.daemon; print(*{m.partition('.')[0] for m in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"google", "duckdb", "werkzeug", "grpc", "sqlglot", "pyarrow", "requests"} & set(loaded)


def test_nothing_is_running_where_nothing_was_started(local_home: Path) -> None:
    assert daemon.status(local_home) is None
    assert daemon.status(local_home / "not-there") is None
    assert daemon.down(local_home) is False
    assert list(local_home.iterdir()) == []


def test_the_environment_leads_every_client_here() -> None:
    endpoints = Endpoints(
        project="p",
        bigquery="http://h:1",
        storage="http://h:2",
        bigquery_storage="h:3",
        dataproc="h:4",
        buckets="/b",
        pid=5,
    )
    assert endpoints.environment() == {
        "GOOGLE_CLOUD_PROJECT": "p",
        "BIGQUERY_EMULATOR_HOST": "http://h:1",
        "STORAGE_EMULATOR_HOST": "http://h:2",
        "BIGQUERY_STORAGE_EMULATOR_HOST": "h:3",
        "DATAPROC_EMULATOR_HOST": "h:4",
        "SECRETMANAGER_EMULATOR_HOST": "h:4",
    }
    assert list(endpoints.to_json()) == [
        "project",
        "bigquery",
        "storage",
        "bigquery_storage",
        "dataproc",
        "buckets",
        "pid",
    ]


class TestLife:
    def test_up_twice_and_down(self, home: Path) -> None:
        # Given no daemon
        started: list[bool] = []
        # When it is asked for twice
        first = daemon.up(home, on_start=lambda: started.append(True))
        second = daemon.up(home, on_start=lambda: started.append(True))
        # Then it is started once, and serves
        assert first == second == daemon.status(home)
        assert started == [True]
        assert first.buckets == str(home / "buckets")
        client = _client(first)
        client.create_bucket("data").blob("a").upload_from_string("x")
        assert (home / "buckets" / "data" / "a").read_text() == "x"
        client.close()
        # When it is stopped, then it is gone, and its data is not
        assert daemon.down(home) is True
        assert daemon.status(home) is None
        assert not daemon.down(home)
        assert (home / "buckets" / "data" / "a").exists()

    def test_a_restart_takes_the_same_ports(self, home: Path) -> None:
        first = daemon.up(home)
        daemon.down(home)
        second = daemon.up(home)
        assert first.pid != second.pid
        assert first.environment() == second.environment()

    def test_a_taken_port_is_no_error(self, home: Path) -> None:
        first = daemon.up(home)
        daemon.down(home)
        port = int(first.storage.rpartition(":")[2])
        with socket.create_server(("127.0.0.1", port)):
            second = daemon.up(home)
            assert second.storage != first.storage
            assert second.bigquery == first.bigquery

    def test_a_killed_daemon_is_replaced_and_loses_nothing(self, home: Path) -> None:
        first = daemon.up(home)
        client = _client(first)
        blob = client.create_bucket("data").blob("a")
        blob.upload_from_string("x", content_type="text/x")
        os.kill(first.pid, signal.SIGKILL)
        assert _until(lambda: daemon.status(home) is None)
        second = daemon.up(home)
        assert second.pid != first.pid
        blob.reload()
        assert (blob.content_type, blob.download_as_bytes()) == ("text/x", b"x")
        client.close()

    def test_a_daemon_that_hangs_is_replaced(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(daemon, "_ANSWER_TIMEOUT", 0.5)
        monkeypatch.setattr(daemon, "_STOP_GRACE", 0.5)
        first = daemon.up(home)
        os.kill(first.pid, signal.SIGSTOP)
        assert daemon.up(home).pid != first.pid

    def test_who_waits_for_a_turn_that_never_comes_is_told_so(
        self, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(daemon, "_TURN_PATIENCE", 0.2)
        with (home / "turn").open("ab") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            with pytest.raises(LocalCloudError, match=r"another process has been starting or stopping.*fuser .*/turn"):
                daemon.up(home)

    def test_a_stale_state_file_is_not_believed(self, home: Path) -> None:
        first = daemon.up(home)
        daemon.down(home)
        # Given a state file that names a living process which is no daemon
        Home(folder=home).state.write_text(json.dumps({**first.to_json(), "pid": os.getpid()}))
        assert daemon.status(home) is None
        assert daemon.down(home) is False

    @pytest.mark.slow
    def test_many_processes_ask_at_once_and_get_the_same(self, home: Path) -> None:
        code = (
            "import sys, pathlib; from pydag_gcp.local import daemon;"
            "print(daemon.up(pathlib.Path(sys.argv[1])).to_json())"
        )
        command = [sys.executable, "-c", code, str(home)]
        with ThreadPoolExecutor(6) as pool:
            runs = list(pool.map(lambda _: subprocess.run(command, capture_output=True, text=True), range(6)))
        assert [run.stderr for run in runs] == [""] * 6
        assert len({run.stdout for run in runs}) == 1

    def test_it_outlives_who_started_it(self, home: Path) -> None:
        code = "import sys, pathlib; from pydag_gcp.local import daemon; daemon.up(pathlib.Path(sys.argv[1]))"
        subprocess.run([sys.executable, "-c", code, str(home)], check=True)
        assert daemon.status(home) is not None

    def test_it_stops_by_itself_when_nobody_calls(self, home: Path) -> None:
        daemon.up(home, idle=0.1)
        assert _until(lambda: Home(folder=home).holder() is None)
        assert "nobody has called" in (home / "daemon.log").read_text()

    def test_it_stops_when_its_home_is_removed(self, home: Path) -> None:
        first = daemon.up(home)
        (home / "lock").unlink()
        assert _until(lambda: not Path(f"/proc/{first.pid}").exists())

    def test_two_homes_are_two_clouds(self, home: Path, tmp_path: Path) -> None:
        other = tmp_path / "other"
        first, second = daemon.up(home), daemon.up(other)
        assert not set(first.environment().values()) - {"pydag-local"} & set(second.environment().values())
        daemon.down(other)
        assert daemon.status(home) == first


class TestSeeds:
    @pytest.fixture
    def seed(self, tmp_path: Path) -> Path:
        seed = tmp_path / "seed"
        (seed / "sample" / "in").mkdir(parents=True)
        (seed / "sample" / "in" / "a ü.csv").write_text("1,2\n")
        (seed / "sample" / "same.txt").write_text("same")
        (seed / "empty").mkdir()
        (seed / "README").write_text("no bucket")
        return seed

    def test_each_folder_is_a_bucket(self, home: Path, seed: Path) -> None:
        endpoints = daemon.up(home, seed=seed)
        client = _client(endpoints)
        assert [bucket.name for bucket in client.list_buckets()] == []  # they belong to the daemon's project
        assert [bucket.name for bucket in client.list_buckets(project="pydag-local")] == ["empty", "sample"]
        blobs = {blob.name: blob for blob in client.list_blobs("sample")}
        assert list(blobs) == ["in/a ü.csv", "same.txt"]
        assert blobs["in/a ü.csv"].content_type == "text/csv"
        # When it is planted again after a file has changed, on either side
        (seed / "sample" / "in" / "a ü.csv").write_text("3,4\n")
        client.bucket("sample").blob("more").upload_from_string("kept")
        daemon.up(home, seed=seed)
        # Then that one is copied, and the others are left alone
        again = {blob.name: blob for blob in client.list_blobs("sample")}
        assert again["in/a ü.csv"].download_as_text() == "3,4\n"
        assert again["same.txt"].generation == blobs["same.txt"].generation
        assert again["more"].download_as_text() == "kept"
        client.close()

    def test_a_folder_that_is_no_bucket_is_said_to_be_none(self, home: Path, seed: Path) -> None:
        (seed / "Not_A_Bucket!").mkdir()
        with pytest.raises(LocalCloudError, match="Invalid bucket name: 'Not_A_Bucket!'"):
            daemon.up(home, seed=seed)

    def test_a_seed_that_is_not_there(self, home: Path, tmp_path: Path) -> None:
        with pytest.raises(LocalCloudError, match=r"nowhere: the seed is not a folder"):
            daemon.up(home, seed=tmp_path / "nowhere")


class TestFailures:
    def test_a_missing_extra_is_named(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(daemon, "_EXTRA", ("duckdb", "not_there.at_all"))
        with pytest.raises(LocalCloudError, match=r"not_there\.at_all.*pip install 'pydag-gcp\[local\]'"):
            daemon.up(home)

    def test_a_home_that_is_a_file(self, tmp_path: Path) -> None:
        home = tmp_path / "file"
        home.write_text("")
        with pytest.raises(LocalCloudError, match=r"file: the local cloud cannot write there: .*; make room"):
            daemon.up(home)

    def test_a_daemon_that_cannot_start_is_quoted(self, home: Path) -> None:
        (home / "bigquery.duckdb").write_text("this is no database, " * 1000)
        with pytest.raises(LocalCloudError, match=r"daemon\.log: the local cloud did not start: .*bigquery\.duckdb"):
            daemon.up(home)
        assert daemon.status(home) is None

    def test_a_lock_that_is_not_ours_to_break(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        # Given another program that holds the lock
        monkeypatch.setattr(daemon, "_ANSWER_TIMEOUT", 0.2)
        code = (
            "import fcntl, os, sys, time; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX);"
            "print(os.getpid(), file=f, flush=True); print('held', flush=True); time.sleep(60)"
        )
        command = [sys.executable, "-c", code, str(home / "lock")]
        with reaped(subprocess.Popen(command, stdout=subprocess.PIPE, text=True)) as other:
            assert other.stdout is not None
            other.stdout.readline()
            # When the cloud is wanted, then that program is named and left alone
            with pytest.raises(LocalCloudError, match=f"process {other.pid} holds the lock"):
                daemon.up(home)
            assert other.poll() is None
            other.kill()


class TestServer:
    """``python -m pydag_gcp.local.server``, as a container runs it."""

    @staticmethod
    def _serve(home: Path, *options: str) -> AbstractContextManager[subprocess.Popen[str]]:
        command = [sys.executable, "-m", "pydag_gcp.local.server", "--home", str(home), *options]
        return reaped(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))

    def test_fixed_ports_on_every_interface_under_another_name(self, home: Path, tmp_path: Path) -> None:
        port = _free_port()
        (tmp_path / "seed" / "sample").mkdir(parents=True)
        options = ("--host", "0.0.0.0", "--advertise", "localhost", "--storage-port", str(port))
        with self._serve(home, *options, "--seed", str(tmp_path / "seed")) as running:
            assert _until(lambda: daemon.status(home) is not None)
            endpoints = daemon.status(home)
            assert endpoints is not None
            assert endpoints.storage == f"http://localhost:{port}"
            assert endpoints.dataproc.startswith("localhost:")
            assert (home / "buckets" / "sample").is_dir()
            running.send_signal(signal.SIGTERM)
            assert running.wait(10) == 0

    def test_a_fixed_port_that_is_taken_is_said_in_one_line(self, home: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with self._serve(home, "--bigquery-port", str(port)) as running:
                _, errors = running.communicate(timeout=20)
        assert running.returncode == 3
        assert errors.count("\n") == 1
        assert f"cannot listen on 127.0.0.1:{port}" in errors

    def test_it_stops_when_its_database_must_be_opened_anew(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(server, "_LOOK_EVERY", 0.01)
        place = Home(folder=home)
        place.lock.touch()
        with closing(server.Cloud(server._parse(["--home", str(home)]), None)) as cloud:
            assert not cloud.broken()
            cloud._bigquery._warehouse.broken = True
            with pytest.raises(LocalCloudError, match="the database must be opened anew"):
                server._wait(cloud, place, None, server._Told())

    def test_there_is_only_one_daemon_in_a_home(self, home: Path) -> None:
        daemon.up(home)
        with self._serve(home) as running:
            _, errors = running.communicate(timeout=20)
        assert (running.returncode, errors) == (3, f"{home}: another local cloud serves this folder\n")

    def test_sigterm_ends_a_daemon_whose_clients_are_still_connected(self, home: Path) -> None:
        endpoints = daemon.up(home)
        client = _client(endpoints)
        client.create_bucket("data")
        start = time.monotonic()
        daemon.down(home)
        assert time.monotonic() - start < 3
        client.close()
