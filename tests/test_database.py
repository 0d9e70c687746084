"""A database whose server comes and goes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg
import pytest

from pydag_gcp import database
from pydag_gcp.errors import StoreError
from pydag_gcp.states import RunState
from pydag_gcp.store import Store
from tests.servers import PostgreSQL

NOW = datetime(2026, 1, 2, tzinfo=UTC)


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
    back.join()
    assert len(store.tries("run1")) == 1


def test_a_server_that_stays_away_is_one_clear_error(
    postgresql_server: PostgreSQL, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_PATIENCE", 0.1)
    postgresql_server.stop()
    try:
        with pytest.raises(
            StoreError, match=r"^metadata database postgresql://127.*Connection refused.*; start the ser"
        ):
            store.end_run("run1", RunState.SUCCESS, at=NOW)
    finally:
        postgresql_server.start()
    run = store.run("run1")
    assert run is not None
    assert run["state"] == "running"


def test_what_was_cut_off_in_the_middle_is_not_written_and_not_sent_again(
    postgresql_server: PostgreSQL, store: Store
) -> None:
    message = r"terminating connection.*; `pydag resume` goes on once the server is back"
    with pytest.raises(StoreError, match=message), store.together():  # noqa: PT012 - what is inside is the point
        store.start_try("run1", "a", 1, job_id=None, at=NOW)
        cut_off(postgresql_server)
        store.start_try("run1", "b", 1, job_id=None, at=NOW)
    assert store.tries("run1") == []
    store.start_try("run1", "b", 1, job_id=None, at=NOW)


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
            store.start_try("run1", "task", 1, job_id=None, at=NOW)
        assert time.monotonic() - began >= 1
