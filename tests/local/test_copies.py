"""A local cloud that is the copy of another, and begins again with its data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud.bigquery import Client

from pydag_gcp.errors import LocalCloudError
from pydag_gcp.local import copies, daemon


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "local"
    daemon.down(tmp_path / "local")


def _client(found: daemon.Endpoints) -> AbstractContextManager[Client]:
    options = {"api_endpoint": found.bigquery}
    return closing(Client(project=found.project, credentials=AnonymousCredentials(), client_options=options))


def _tables(found: daemon.Endpoints) -> list[str]:
    with _client(found) as client:
        return [table.table_id for table in client.list_tables("d")]


def test_only_data_are_taken(tmp_path: Path) -> None:
    home, copy = tmp_path / "home", tmp_path / "copy"
    (home / "buckets" / "b").mkdir(parents=True)
    (home / "dataproc" / "clusters").mkdir(parents=True)
    for name in ("lock", "daemon.json", "bigquery.duckdb", "buckets/b/o"):
        (home / name).write_text(name)

    copies.take(home, copy)

    assert sorted(str(path.relative_to(copy)) for path in copy.rglob("*") if path.is_file()) == [
        "bigquery.duckdb",
        "buckets/b/o",
    ]


def test_sample_buckets_come_with_the_secrets_of_another(tmp_path: Path) -> None:
    home, seed, copy = tmp_path / "home", tmp_path / "seed", tmp_path / "copy"
    for file in (home / "secretmanager" / "s.json", home / "bigquery.duckdb", seed / "b" / "o", seed / "README"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x")

    copies.plant(seed, copy, secrets_of=home)

    assert sorted(str(path.relative_to(copy)) for path in copy.rglob("*") if path.is_file()) == [
        "buckets/b/o",
        "secretmanager/s.json",
    ]


def test_a_local_cloud_that_was_never_there_has_no_data(tmp_path: Path) -> None:
    copies.take(tmp_path / "nowhere", tmp_path / "copy")
    assert list((tmp_path / "copy").iterdir()) == []


def test_a_copy_begins_again_with_the_same_data_at_the_same_place(home: Path, tmp_path: Path) -> None:
    # Given a local cloud with a table, whose data were taken
    with _client(daemon.up(home)) as client:
        client.create_dataset("d")
        client.query_and_wait("CREATE TABLE d.t AS SELECT 1 AS n")
    daemon.down(home)
    copies.take(home, tmp_path / "copy")
    # When a copy of it gets another table, and begins again
    found = daemon.up(home, copy_of=tmp_path / "copy")
    with _client(found) as client:
        client.query_and_wait("CREATE TABLE d.more (n INT64)")
    assert _tables(found) == ["more", "t"]
    again = daemon.put_back(home)
    # Then it is the same process in the same place, and the other table is gone
    assert again == found
    assert _tables(again) == ["t"]


def test_what_is_not_running_cannot_begin_again(home: Path) -> None:
    with pytest.raises(LocalCloudError, match="not running"):
        daemon.put_back(home)
