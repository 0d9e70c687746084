"""Statements, their kinds and their places."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pydag_gcp.local.googlesql.syntax import InvalidQuery, Unsupported, parse, position

#: https://cloud.google.com/bigquery/docs/reference/rest/v2/Job#JobStatistics2 (statementType).
KINDS = [
    ("SELECT 1", "SELECT"),
    ("(SELECT 1)", "SELECT"),
    ("WITH a AS (SELECT 1) SELECT * FROM a", "SELECT"),
    ("SELECT 1 UNION ALL SELECT 2", "SELECT"),
    ("INSERT INTO d.t VALUES (1)", "INSERT"),
    ("INSERT d.t (a) SELECT 1", "INSERT"),
    ("UPDATE d.t SET a = 1 WHERE TRUE", "UPDATE"),
    ("DELETE d.t WHERE TRUE", "DELETE"),
    ("MERGE d.t USING d.u ON FALSE WHEN NOT MATCHED THEN INSERT ROW", "MERGE"),
    ("TRUNCATE TABLE d.t", "TRUNCATE_TABLE"),
    ("CREATE TABLE d.t (a INT64)", "CREATE_TABLE"),
    ("CREATE OR REPLACE TABLE d.t AS SELECT 1 AS a", "CREATE_TABLE_AS_SELECT"),
    ("CREATE VIEW d.v AS SELECT 1 AS a", "CREATE_VIEW"),
    ("CREATE SCHEMA d", "CREATE_SCHEMA"),
    ("DROP TABLE d.t", "DROP_TABLE"),
    ("DROP VIEW d.v", "DROP_VIEW"),
    ("DROP SCHEMA d", "DROP_SCHEMA"),
    ("ALTER TABLE d.t ADD COLUMN a INT64", "ALTER_TABLE"),
    ("EXPORT DATA OPTIONS (uri = 'gs://b/*') AS SELECT 1", "EXPORT_DATA"),
]


@pytest.mark.parametrize(("sql", "kind"), KINDS)
def test_every_statement_has_its_kind(sql: str, kind: str) -> None:
    (statement,) = parse(sql)
    assert statement.kind == kind


def test_a_script_is_split_at_its_semicolons_and_nowhere_else() -> None:
    script = "SELECT ';' AS a; -- one; two\n\nINSERT INTO d.t VALUES ('x;y');;\n/* ; */ DELETE d.t WHERE TRUE;"
    statements = parse(script)
    assert [statement.kind for statement in statements] == ["SELECT", "INSERT", "DELETE"]
    assert [statement.line for statement in statements] == [1, 3, 4]


@pytest.mark.parametrize(
    ("sql", "line", "column"),
    [
        ("SELECT 1;\nSELEC 2", 2, 1),
        ("SELECT (1", 1, 9),
        ("SELECT 1 AS a,\n  FROM d.t WHERE", 2, 12),
        ("SELECT a b c", 1, 12),
    ],
)
def test_a_syntax_error_names_its_place(sql: str, line: int, column: int) -> None:
    with pytest.raises(InvalidQuery, match=r"^Syntax error: .* at \[\d+:\d+\]$") as caught:
        parse(sql)
    assert (caught.value.line, caught.value.column) == (line, column)


def test_what_a_statement_is_refused_for_names_its_place() -> None:
    with pytest.raises(Unsupported, match=r"statement DECLARE at \[2:1\]; on a real project it would run$"):
        parse("SELECT 1;\nDECLARE x INT64")


@given(st.text("ab\n", max_size=30), st.integers(0, 30))
def test_a_position_counts_lines_and_columns_from_one(text: str, offset: int) -> None:
    offset = min(offset, len(text))
    line, column = position(text, offset)
    lines = text[:offset].split("\n")
    assert (line, column) == (len(lines), len(lines[-1]) + 1)
