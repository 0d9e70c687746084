"""A database whose server comes and goes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg
import pytest
import sqlalchemy as sa

from pydag_gcp import database
from pydag_gcp.errors import StoreError
from pydag_gcp.states import RunState
from pydag_gcp.store import Store
from pydag_gcp.tables import tries
from tests.servers import PostgreSQL

NOW = datetime(2026, 1, 2, tzinfo=UTC)
TRY = {"run_id": "run1", "task_id": "task", "try_number": 1, "state": "running", "started": NOW.isoformat()}


@pytest.fixture
def store(postgresql_url: str) -> Iterator[Store]:
    with Store(postgresql_url) as store:
        store.start_run(
            run_id="run1", dag_id="dag", target="local", logical_date=NOW, definition={}, pid=1, host="h", at=NOW
        )
        yield store


def cut_off(server: PostgreSQL) -> None:
    """End every connection that others have, as a failing network would."""
    server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pydag'")


def test_reads_and_writes_go_on_when_the_server_comes_back(postgresql_server: PostgreSQL, store: Store) -> None:
    postgresql_server.stop()
    back = threading.Timer(0.3, postgresql_server.start)
    back.start()
    assert store.run("run1") is not None
    back.join()
    postgresql_server.stop()
    back = threading.Timer(0.3, postgresql_server.start)
    back.start()
    store.start_try("run1", "task", 1, job_id=None, at=NOW)
    store.settled()
    back.join()
    assert len(store.tries("run1")) == 1


def test_a_server_that_stays_away_is_one_clear_error(
    postgresql_server: PostgreSQL, postgresql_url: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_PATIENCE", 0.1)
    message = r"^metadata database postgresql://127.*Connection refused.*; start the ser"
    postgresql_server.stop()
    try:
        with pytest.raises(StoreError, match=message):
            store.end_run("run1", RunState.SUCCESS, at=NOW)
    finally:
        postgresql_server.start()
    # Then nothing is written any more, though it is back: something would be missing before
    with pytest.raises(StoreError, match=message):
        store.end_run("run1", RunState.SUCCESS, at=NOW)
    assert not store.cancel_requested("run1")
    with Store(postgresql_url) as again:
        assert [row["state"] for row in again.runs()] == ["running"]


def test_what_is_cut_off_before_it_is_complete_is_written_after_all_and_once(
    postgresql_server: PostgreSQL, store: Store
) -> None:
    done: list[int] = []

    def insert(connection: sa.Connection) -> None:
        connection.execute(tries.insert(), TRY)
        done.append(1)
        if len(done) < 3:
            cut_off(postgresql_server)
        connection.execute(tries.insert(), {**TRY, "try_number": 2})

    store.database.transact(insert)
    assert done == [1, 1, 1]
    assert [row["try_number"] for row in store.tries("run1")] == [1, 2]


def test_what_is_cut_off_when_it_is_complete_is_not_sent_again(postgresql_server: PostgreSQL, store: Store) -> None:
    done: list[int] = []

    def insert(connection: sa.Connection) -> None:
        connection.execute(tries.insert(), TRY)
        done.append(1)
        cut_off(postgresql_server)

    message = r"terminating connection.*; `pydag resume` goes on once the server is back"
    with pytest.raises(StoreError, match=message):
        store.database.transact(insert)
    assert done == [1]
    assert store.tries("run1") == []


def test_a_stale_connection_is_replaced(postgresql_server: PostgreSQL, store: Store) -> None:
    for _ in range(3):
        cut_off(postgresql_server)
        store.end_run("run1", RunState.SUCCESS, at=NOW)
        cut_off(postgresql_server)
        assert [row["state"] for row in store.runs()] == ["success"]


def test_a_lock_that_somebody_holds_is_waited_for_only_so_long(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pydag_gcp.engines._BUSY", 1)
    with Store(postgresql_url) as store, psycopg.connect(postgresql_url) as other:
        other.execute("LOCK TABLE tries")
        began = time.monotonic()
        with pytest.raises(StoreError, match=r"lock timeout.*; another process holds it"):
            store.database.write(tries.insert(), TRY)
        assert time.monotonic() - began >= 1
