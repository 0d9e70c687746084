"""The database: transactions that are all or nothing, writers that take turns, times that never repeat."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from pydag_gcp.local.bigquery.locks import GivenUp, NameLocks
from pydag_gcp.local.bigquery.warehouse import Clock, Warehouse


@pytest.fixture
def warehouse(tmp_path: Path) -> Iterator[Warehouse]:
    opened = Warehouse(tmp_path)
    yield opened
    opened.close()


def test_what_a_block_wrote_is_gone_if_it_raises(warehouse: Warehouse) -> None:
    def write_and_raise() -> None:
        with warehouse.writing() as connection:
            connection.execute("CREATE TABLE data.t AS SELECT 1 AS a")
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        write_and_raise()
    with warehouse.reading() as connection, pytest.raises(duckdb.CatalogException):
        connection.execute("FROM data.t")


def test_a_database_that_duckdb_gave_up_is_known_to_be_broken(warehouse: Warehouse) -> None:
    with pytest.raises(duckdb.BinderException), warehouse.reading() as connection:
        connection.execute("SELECT nonsense")
    assert not warehouse.broken
    with pytest.raises(duckdb.FatalException), warehouse.writing():
        raise duckdb.FatalException("database has been invalidated")
    assert warehouse.broken


def test_it_opens_where_nobody_knows_of_affinity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)  # as on macOS
    Warehouse(tmp_path).close()


def test_what_a_block_wrote_outlives_the_database(tmp_path: Path) -> None:
    first = Warehouse(tmp_path)
    with first.writing() as connection:
        connection.execute("CREATE TABLE data.t AS SELECT 1 AS a")
    first.close()
    second = Warehouse(tmp_path)
    with second.reading() as connection:
        assert connection.execute("FROM data.t").fetchall() == [(1,)]
    second.close()


def test_a_reader_sees_one_snapshot_while_others_write(warehouse: Warehouse) -> None:
    with warehouse.writing() as connection:
        connection.execute("CREATE TABLE data.t AS SELECT 1 AS a")
    with warehouse.reading() as reader:
        assert reader.execute("FROM data.t").fetchall() == [(1,)]
        with warehouse.writing() as writer:
            writer.execute("DROP TABLE data.t")
        assert reader.execute("FROM data.t").fetchall() == [(1,)]


def test_a_reader_cannot_write(warehouse: Warehouse) -> None:
    with warehouse.reading() as connection, pytest.raises(duckdb.TransactionException, match="read-only"):
        connection.execute("CREATE TABLE data.t AS SELECT 1 AS a")


def test_writers_of_one_table_take_turns_and_none_fails(warehouse: Warehouse) -> None:
    # Given a row that eight threads add to, 20 times each
    with warehouse.writing() as connection:
        connection.execute("CREATE TABLE data.t AS SELECT 0 AS a")
    failures: list[Exception] = []

    def add() -> None:
        try:
            for _ in range(20):
                with warehouse.writing(exclusive={"t"}) as connection:
                    connection.execute("UPDATE data.t SET a = a + 1")
        except duckdb.Error as error:
            failures.append(error)

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Then no addition is lost: 8 * 20
    with warehouse.reading() as connection:
        assert (failures, connection.execute("FROM data.t").fetchall()) == ([], [(160,)])


def test_time_is_utc_and_extensions_stay_out(warehouse: Warehouse) -> None:
    with warehouse.reading() as connection:
        settings = connection.execute(
            "SELECT current_setting('TimeZone'), current_setting('autoinstall_known_extensions'),"
            " current_setting('autoload_known_extensions')"
        ).fetchone()
    assert settings == ("UTC", False, False)


def test_a_clock_never_repeats_and_starts_after_what_is_stored() -> None:
    clock = Clock()
    future = int(time.time() * 1000) + 60_000
    clock.start_after(future)
    times = [clock.next() for _ in range(1000)]
    assert times == sorted(set(times))
    assert times[0] > future


def test_shared_holders_share_and_an_exclusive_one_waits() -> None:
    locks = NameLocks()
    entered = threading.Event()

    def exclusive() -> None:
        with locks.hold(exclusive={"a"}):
            entered.set()

    with locks.hold(shared={"a"}), locks.hold(shared={"a"}):
        thread = threading.Thread(target=exclusive)
        thread.start()
        assert not entered.wait(0.05)
    assert entered.wait(5)
    thread.join()


def test_whoever_waits_for_a_lock_can_give_up() -> None:
    locks = NameLocks()
    cancelled = threading.Event()
    outcome: list[str] = []

    def wait() -> None:
        try:
            with locks.hold(exclusive={"a"}, given_up=cancelled.is_set):
                outcome.append("held")
        except GivenUp:
            outcome.append("given up")

    with locks.hold(exclusive={"a"}):
        thread = threading.Thread(target=wait)
        thread.start()
        cancelled.set()
        locks.wake()
        thread.join(5)
    assert outcome == ["given up"]
