# ruff: noqa: E501 - a query and its answer stand on one line
"""INSERT, UPDATE, DELETE, MERGE and TRUNCATE, run on DuckDB.

The contract: https://cloud.google.com/bigquery/docs/reference/standard-sql/dml-syntax.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import duckdb
import pytest

from pydag_gcp.local.googlesql.syntax import InvalidQuery
from pydag_gcp.local.googlesql.translate import SESSION, TableRef, parse, runtime_error, translate
from pydag_gcp.local.googlesql.types import Field, duckdb_type

STOCK = (
    Field(name="product", type="STRING", mode="REQUIRED"),
    Field(name="quantity", type="INT64"),
    Field(name="price", type="NUMERIC", precision=5, scale=2),
    Field(name="code", type="STRING", max_length=3),
    Field(name="seen", type="DATE", default="DATE '2024-01-01'"),
    Field(name="tags", type="STRING", mode="REPEATED"),
)
NEWS = (Field(name="product", type="STRING"), Field(name="quantity", type="INT64"))


@dataclass
class Warehouse:
    """Two tables, w.stock and w.news, and a way to run statements on them."""

    connection: duckdb.DuckDBPyConnection

    def resolve(self, project: str | None, dataset: str | None, table: str) -> TableRef:
        fields = {"stock": STOCK, "news": NEWS}[table]
        return TableRef(duckdb_name=f'"{table}"', fields=fields, dataset=dataset or "", table=table)

    def run(self, sql: str) -> Counter[str]:
        """Run a DML statement; return how many rows it changed."""
        (statement,) = parse(sql)
        ready = translate(statement, tables=self)
        try:
            for check in ready.checks:
                if self.connection.execute(check.sql, dict(check.parameters)).fetchone() is not None:
                    raise InvalidQuery(check.message)
            found = self.connection.execute(ready.sql, dict(ready.parameters)).fetchall()
        except duckdb.Error as error:
            raise runtime_error(error) from error
        if ready.kind == "MERGE":
            return Counter(str(action) for (action,) in found)
        return Counter({ready.kind: int(found[0][0])})

    def rows(self, columns: str = "product, quantity", table: str = "stock") -> list[tuple[Any, ...]]:
        return self.connection.execute(f'SELECT {columns} FROM "{table}" ORDER BY ALL NULLS FIRST').fetchall()


@pytest.fixture
def warehouse() -> Iterator[Warehouse]:
    connection = duckdb.connect(config={"threads": "1"})
    for statement in SESSION:
        connection.execute(statement)
    for name, fields in (("stock", STOCK), ("news", NEWS)):
        connection.execute(f'CREATE TABLE "{name}" ({", ".join(f"{f.name} {duckdb_type(f)}" for f in fields)})')
    warehouse = Warehouse(connection)
    warehouse.run("INSERT INTO w.stock (product, quantity) VALUES ('bolt', 10), ('nut', 20), ('saw', NULL)")
    yield warehouse
    connection.close()


def test_insert_fills_what_is_left_out_with_the_default_or_null(warehouse: Warehouse) -> None:
    warehouse.run("INSERT w.stock (product) VALUES ('axe')")
    found = warehouse.rows("product, quantity, price, CAST(seen AS VARCHAR), tags")
    assert found[0] == ("axe", None, None, "2024-01-01", [])


def test_insert_takes_literals_default_and_expressions(warehouse: Warehouse) -> None:
    done = warehouse.run(
        "INSERT INTO w.stock (product, quantity, price, seen, tags) "
        "VALUES (UPPER('axe'), 2 * 3, 1.005, '2024-02-29', ['a']), ('x', DEFAULT, 1, DEFAULT, NULL)"
    )
    assert done == {"INSERT": 2}
    found = warehouse.rows("product, quantity, CAST(price AS VARCHAR), CAST(seen AS VARCHAR), tags")
    assert found[0] == ("AXE", 6, "1.010000000", "2024-02-29", ["a"])
    assert found[-1] == ("x", None, "1.000000000", "2024-01-01", [])


def test_insert_from_a_query_goes_by_place(warehouse: Warehouse) -> None:
    done = warehouse.run("INSERT INTO w.news SELECT product, quantity + 1 FROM w.stock WHERE quantity > 5")
    assert done == {"INSERT": 2}
    assert warehouse.rows(table="news") == [("bolt", 11), ("nut", 21)]


def test_insert_from_a_query_with_a_with_clause(warehouse: Warehouse) -> None:
    warehouse.run(
        "INSERT INTO w.news (quantity) WITH a AS (SELECT 7 AS x) SELECT x FROM a UNION ALL SELECT x + 1 FROM a"
    )
    assert warehouse.rows(table="news") == [(None, 7), (None, 8)]


WRONG_ROWS = [
    ("INSERT INTO w.stock (product) VALUES (NULL)", "Required field product cannot be null"),
    ("INSERT INTO w.stock (quantity) VALUES (1)", "Required field product cannot be null"),
    ("INSERT INTO w.stock (product, code) VALUES ('x', 'abcd')", "Value is too long for field code: maximum length 3"),
    ("INSERT INTO w.stock (product, price) VALUES ('x', 1000)", "out of range of NUMERIC(5, 2)"),
    ("INSERT INTO w.stock (product, tags) VALUES ('x', ['a', NULL])", "Array cannot have a null element"),
    ("UPDATE w.stock SET product = NULL WHERE TRUE", "Required field product cannot be null"),
]


@pytest.mark.parametrize(("sql", "words"), WRONG_ROWS)
def test_a_row_that_does_not_fit_fails_the_statement(warehouse: Warehouse, sql: str, words: str) -> None:
    with pytest.raises(InvalidQuery) as caught:
        warehouse.run(sql)
    assert words in str(caught.value)
    assert warehouse.rows() == [("bolt", 10), ("nut", 20), ("saw", None)]


def test_update_sets_columns_of_the_rows_it_finds(warehouse: Warehouse) -> None:
    done = warehouse.run("UPDATE w.stock AS s SET quantity = s.quantity - 1, seen = '2024-03-01' WHERE quantity >= 20")
    assert done == {"UPDATE": 1}
    assert warehouse.rows("product, quantity, CAST(seen AS VARCHAR)")[1] == ("nut", 19, "2024-03-01")


def test_update_from_joins_another_table(warehouse: Warehouse) -> None:
    warehouse.run("INSERT INTO w.news VALUES ('nut', 5), ('saw', 1)")
    done = warehouse.run(
        "UPDATE w.stock SET quantity = IFNULL(stock.quantity, 0) + n.quantity FROM w.news AS n WHERE stock.product = n.product"
    )
    assert done == {"UPDATE": 2}
    assert warehouse.rows() == [("bolt", 10), ("nut", 25), ("saw", 1)]


def test_update_from_several_rows_for_one_is_an_error(warehouse: Warehouse) -> None:
    warehouse.run("INSERT INTO w.news VALUES ('nut', 5), ('nut', 6)")
    with pytest.raises(InvalidQuery, match="UPDATE/MERGE must match at most one source row for each target row"):
        warehouse.run("UPDATE w.stock s SET quantity = n.quantity FROM w.news n WHERE s.product = n.product")


def test_delete_takes_the_rows_it_finds(warehouse: Warehouse) -> None:
    assert warehouse.run("DELETE w.stock WHERE quantity IS NULL") == {"DELETE": 1}
    assert warehouse.run("DELETE FROM w.stock AS s WHERE s.product IN (SELECT 'nut')") == {"DELETE": 1}
    assert warehouse.run("DELETE FROM w.stock WHERE TRUE") == {"DELETE": 1}


def test_truncate_takes_all_rows(warehouse: Warehouse) -> None:
    assert warehouse.run("TRUNCATE TABLE w.stock") == {"TRUNCATE_TABLE": 3}
    assert warehouse.rows() == []


def test_merge_updates_inserts_and_deletes_at_once(warehouse: Warehouse) -> None:
    warehouse.run("INSERT INTO w.news VALUES ('nut', 5), ('axe', 1), ('bolt', 0)")
    done = warehouse.run(
        """
        MERGE w.stock AS t USING (SELECT * FROM w.news) AS s ON t.product = s.product
        WHEN MATCHED AND s.quantity = 0 THEN DELETE
        WHEN MATCHED THEN UPDATE SET quantity = t.quantity + s.quantity
        WHEN NOT MATCHED THEN INSERT (product, quantity) VALUES (s.product, s.quantity)
        WHEN NOT MATCHED BY SOURCE THEN UPDATE SET quantity = -1
        """
    )
    assert done == {"DELETE": 1, "UPDATE": 2, "INSERT": 1}
    assert warehouse.rows() == [("axe", 1), ("nut", 25), ("saw", -1)]


def test_merge_inserts_a_whole_row(warehouse: Warehouse) -> None:
    warehouse.run("INSERT INTO w.news VALUES ('nut', 5)")
    done = warehouse.run(
        "MERGE INTO w.news USING (SELECT product, quantity FROM w.stock) AS s ON news.product = s.product "
        "WHEN NOT MATCHED THEN INSERT ROW"
    )
    assert done == {"INSERT": 2}
    assert warehouse.rows(table="news") == [("bolt", 10), ("nut", 5), ("saw", None)]


def test_merge_on_false_replaces_everything(warehouse: Warehouse) -> None:
    done = warehouse.run(
        "MERGE w.news t USING w.stock s ON FALSE WHEN NOT MATCHED BY TARGET THEN INSERT VALUES (product, quantity) "
        "WHEN NOT MATCHED BY SOURCE THEN DELETE"
    )
    assert done == {"INSERT": 3}


def test_merge_of_several_source_rows_into_one_is_an_error(warehouse: Warehouse) -> None:
    warehouse.run("INSERT INTO w.news VALUES ('nut', 5), ('nut', 6)")
    merge = (
        "MERGE w.stock t USING w.news s ON t.product = s.product WHEN MATCHED {} THEN UPDATE SET quantity = s.quantity"
    )
    with pytest.raises(InvalidQuery, match="must match at most one source row"):
        warehouse.run(merge.format(""))
    # only rows that a WHEN takes count
    assert warehouse.run(merge.format("AND s.quantity = 6")) == {"UPDATE": 1}
    assert warehouse.rows()[1] == ("nut", 6)


@pytest.mark.parametrize(
    ("arm", "words"),
    [
        ("WHEN NOT MATCHED THEN INSERT (product) VALUES (1)", "cannot be inserted into column product"),
        ("WHEN NOT MATCHED THEN INSERT (product, quantity) VALUES ('a')", "wrong column count"),
        ("WHEN NOT MATCHED THEN INSERT ROW", "wrong column count; Has 1, expected 2"),
        ("WHEN NOT MATCHED BY SOURCE AND s.x = 'a' THEN DELETE", "Unrecognized name"),
        ("WHEN NOT MATCHED THEN DELETE", "not allowed"),
        ("WHEN MATCHED THEN UPDATE SET nope = 1", "Column nope is not present"),
    ],
)
def test_a_merge_that_makes_no_sense_is_refused(warehouse: Warehouse, arm: str, words: str) -> None:
    with pytest.raises(InvalidQuery) as caught:
        warehouse.run(f"MERGE w.news t USING (SELECT 'a' AS x) s ON t.product = s.x {arm}")
    assert words in str(caught.value)
