"""The catalogue: names, storages and times, inside one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pydag_gcp.local.bigquery.catalogue import AlreadyExists, Catalogue, DatasetName, NotFound, TableName
from pydag_gcp.local.bigquery.warehouse import Warehouse
from pydag_gcp.local.googlesql.types import Field

D = DatasetName(project="p", dataset="d")
T = TableName(project="p", dataset="d", table="t")
SCHEMA = {"schema": {"fields": [{"name": "a", "type": "INTEGER", "mode": "REQUIRED"}, {"name": "b", "type": "STRING"}]}}


@pytest.fixture
def catalogue(tmp_path: Path) -> Iterator[Catalogue]:
    warehouse = Warehouse(tmp_path)
    with warehouse.writing() as connection:
        made = Catalogue(connection, warehouse.clock)
        made.create_dataset(D, {"location": "US"})
        yield made
    warehouse.close()


def test_a_name_is_found_only_as_it_is_written(catalogue: Catalogue) -> None:
    # https://cloud.google.com/bigquery/docs/tables#table_naming: table names are case-sensitive by default
    upper = TableName(project="p", dataset="d", table="T")
    catalogue.create_table(T, SCHEMA)
    catalogue.create_table(upper, SCHEMA)
    assert [str(table.name) for table in catalogue.tables(D)] == ["p:d.T", "p:d.t"]


def test_a_taken_name_and_a_missing_one_say_so_in_bigquerys_words(catalogue: Catalogue) -> None:
    catalogue.create_table(T, SCHEMA)
    with pytest.raises(AlreadyExists, match=r"^Already Exists: Table p:d\.t$"):
        catalogue.create_table(T, SCHEMA)
    with pytest.raises(NotFound, match=r"^Not found: Table p:d\.x$"):
        catalogue.table(TableName(project="p", dataset="d", table="x"))
    with pytest.raises(NotFound, match=r"^Not found: Dataset p:x$"):
        catalogue.table(TableName(project="p", dataset="x", table="x"))


def test_columns_are_kept_as_they_were_given(catalogue: Catalogue) -> None:
    table = catalogue.create_table(T, SCHEMA)
    assert table.fields == (Field(name="a", type="INT64", mode="REQUIRED"), Field(name="b", type="STRING"))
    assert catalogue.table(T) == table


def test_each_change_has_a_later_time_than_the_one_before(catalogue: Catalogue) -> None:
    table = catalogue.create_table(T, SCHEMA)
    times = [table.modified]
    for _ in range(50):
        table = catalogue.change_table(table)
        times.append(table.modified)
    catalogue.drop_table(table)
    times.append(catalogue.create_table(T, SCHEMA).modified)
    assert times == sorted(set(times))


def test_a_replaced_storage_is_dropped(catalogue: Catalogue) -> None:
    table = catalogue.create_table(T, SCHEMA)
    storage = catalogue.create_storage(table.fields)
    catalogue.change_table(table, storage=storage)
    tables = catalogue.connection.execute(
        "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'data'"
    ).fetchall()
    assert tables == [(storage.removeprefix("data."),)]


def test_a_table_past_its_time_is_not_there_and_its_name_is_free(catalogue: Catalogue) -> None:
    catalogue.create_table(T, SCHEMA, expires=1)
    assert catalogue.find_table(T) is None
    assert [str(table.name) for table in catalogue.expired()] == ["p:d.t"]
    catalogue.create_table(T, SCHEMA)
    assert (len(catalogue.tables(D)), catalogue.expired()) == (1, [])


def test_a_dropped_dataset_takes_its_tables_along(catalogue: Catalogue) -> None:
    catalogue.create_table(T, SCHEMA)
    catalogue.drop_dataset(D)
    assert catalogue.find_dataset(D) is None
    assert catalogue.connection.execute(
        "SELECT count(*) FROM duckdb_tables() WHERE schema_name = 'data'"
    ).fetchone() == (0,)


def test_a_renamed_table_keeps_its_rows(catalogue: Catalogue) -> None:
    table = catalogue.create_table(T, SCHEMA)
    catalogue.connection.execute(f"INSERT INTO {table.rows} VALUES (1, 'x')")
    other = TableName(project="p", dataset="d", table="other")
    catalogue.rename_table(table, other)
    assert (catalogue.find_table(T), catalogue.count(catalogue.table(other))) == (None, 1)
