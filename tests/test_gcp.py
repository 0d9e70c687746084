"""Clients and whether the target can be reached."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pydag_gcp import gcp
from pydag_gcp.errors import TargetUnreachable
from pydag_gcp.gcp import Clients, Endpoints, Target


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def local(port: int) -> Target:
    endpoints = Endpoints(
        bigquery=f"http://127.0.0.1:{port}", storage=f"http://127.0.0.1:{port}", dataproc=f"127.0.0.1:{port}"
    )
    return Target(name="local", project="pydag-local", endpoints=endpoints)


def test_a_target_that_accepts_connections_can_be_reached(listening: int) -> None:
    Clients(local(listening)).check()


def test_a_closed_port_is_one_clear_error() -> None:
    port = closed_port()
    with pytest.raises(
        TargetUnreachable, match=rf"cannot connect to 127.0.0.1:{port}: Connection refused; is the network"
    ):
        Clients(local(port)).check()


def test_missing_credentials_are_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    with pytest.raises(TargetUnreachable, match=r"target 'my-project': no valid credentials: .*; run `gcloud auth"):
        Clients(Target(name="my-project", project="my-project")).check()


def test_a_key_file_that_is_missing_is_named(tmp_path: Path) -> None:
    target = Target(name="my-project", project="my-project", credentials=str(tmp_path / "key.json"))
    with pytest.raises(TargetUnreachable, match=r"no valid credentials: .*key.json"):
        Clients(target).check()


def test_clients_are_built_once_and_talk_to_the_endpoints(listening: int) -> None:
    clients = Clients(local(listening))
    assert clients.bigquery() is clients.bigquery()
    assert clients.storage() is clients.storage()
    assert clients.jobs("us-central1") is clients.jobs("us-central1")
    assert clients.clusters("us-central1") is not clients.clusters("europe-west1")
    assert clients.bigquery().location == "US"
    assert f":{listening}" in str(clients.bigquery()._connection.API_BASE_URL)
    clients.close()


def test_a_key_file_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "key.json").write_text("not json")
    target = Target(name="my-project", project="my-project", credentials=str(tmp_path / "key.json"))
    with pytest.raises(TargetUnreachable, match="no valid credentials"):
        Clients(target).check()


@contextmanager
def started(monkeypatch: pytest.MonkeyPatch, *where: Endpoints) -> Iterator[Clients]:
    """Clients of a local cloud that is at another place each time it is started."""
    places = iter(where)
    monkeypatch.setattr(gcp, "_start_local_cloud", lambda _: next(places))
    clients = Clients(Target(name="local", project="pydag-local", local_home=Path("home")))
    yield clients
    clients.close()


def at(port: int) -> Endpoints:
    return local(port).endpoints or Endpoints(bigquery="", storage="", dataproc="")


def test_clients_follow_a_local_cloud_that_begins_anew_on_another_port(monkeypatch: pytest.MonkeyPatch) -> None:
    with started(monkeypatch, at(1001), at(1001), at(1002)) as clients:
        first, jobs = clients.bigquery(), clients.jobs("us-central1")
        clients.revive()
        assert clients.bigquery() is first
        clients.revive()
        assert ":1002" in str(clients.bigquery()._connection.API_BASE_URL)
        assert clients.jobs("us-central1") is not jobs


def test_a_local_cloud_that_dies_before_the_run_reaches_it_is_started_again(
    monkeypatch: pytest.MonkeyPatch, listening: int
) -> None:
    with started(monkeypatch, at(closed_port()), at(listening)) as clients:
        clients.check()


def test_a_local_cloud_that_cannot_be_reached_although_it_was_started_is_one_clear_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port = closed_port()
    with (
        started(monkeypatch, at(port), at(port)) as clients,
        pytest.raises(TargetUnreachable, match=f"127.0.0.1:{port}"),
    ):
        clients.check()


def test_only_a_local_cloud_of_ours_is_started_again(monkeypatch: pytest.MonkeyPatch, listening: int) -> None:
    monkeypatch.setattr(gcp, "_start_local_cloud", lambda _: pytest.fail("started"))
    Clients(local(listening)).revive()
    Clients(Target(name="my-project", project="my-project")).revive()
