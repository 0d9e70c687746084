"""Definitions are read as data, or refused by name.

The contract: https://cloud.google.com/bigquery/docs/reference/standard-sql/data-definition-language.
"""

from __future__ import annotations

import datetime as dt

import pytest

from pydag_gcp.local.googlesql import ddl
from pydag_gcp.local.googlesql.ddl import Name, Partitioning, TableOptions
from pydag_gcp.local.googlesql.syntax import InvalidQuery, Statement, Unsupported, parse
from pydag_gcp.local.googlesql.types import Field


def one(sql: str) -> Statement:
    (statement,) = parse(sql)
    return statement


def test_a_table_with_everything() -> None:
    wanted = ddl.table_definition(
        one(
            """
            CREATE TABLE IF NOT EXISTS `my-project`.d.t (
              id INT64 NOT NULL OPTIONS (description = 'the key'),
              name STRING(5) DEFAULT 'none',
              price NUMERIC(10, 2),
              seen TIMESTAMP DEFAULT CURRENT_TIMESTAMP(),
              parts ARRAY<STRUCT<a INT64 NOT NULL, b ARRAY<STRING>>>
            )
            PARTITION BY DATE(seen) CLUSTER BY name, id
            OPTIONS (description = "it's", labels = [('team', 'etl')], require_partition_filter = TRUE,
                     expiration_timestamp = TIMESTAMP '2030-01-01 00:00:00+00', partition_expiration_days = 1.5)
            """
        )
    )
    assert wanted.target == Name(project="my-project", dataset="d", table="t")
    assert wanted.if_not_exists
    assert not wanted.or_replace
    assert wanted.fields == (
        Field(name="id", type="INT64", mode="REQUIRED", description="the key"),
        Field(name="name", type="STRING", max_length=5, default="'none'"),
        Field(name="price", type="NUMERIC", precision=10, scale=2),
        Field(name="seen", type="TIMESTAMP", default="CURRENT_TIMESTAMP()"),
        Field(
            name="parts",
            type="STRUCT",
            mode="REPEATED",
            fields=(
                Field(name="a", type="INT64", mode="REQUIRED"),
                Field(name="b", type="STRING", mode="REPEATED"),
            ),
        ),
    )
    assert wanted.partitioning == Partitioning(column="seen", unit="DAY")
    assert wanted.clustering == ("name", "id")
    assert wanted.options == TableOptions(
        description="it's",
        labels={"team": "etl"},
        expiration_timestamp=dt.datetime(2030, 1, 1, tzinfo=dt.UTC),
        partition_expiration_days=1.5,
        require_partition_filter=True,
    )
    assert wanted.query is None


@pytest.mark.parametrize(
    ("clause", "expected"),
    [
        ("day", Partitioning(column="day", unit="DAY")),
        ("DATE(at)", Partitioning(column="at", unit="DAY")),
        ("DATE_TRUNC(day, MONTH)", Partitioning(column="day", unit="MONTH")),
        ("TIMESTAMP_TRUNC(at, HOUR)", Partitioning(column="at", unit="HOUR")),
        ("DATETIME_TRUNC(at, YEAR)", Partitioning(column="at", unit="YEAR")),
        ("_PARTITIONDATE", Partitioning(column=None, unit="DAY")),
        (
            "RANGE_BUCKET(id, GENERATE_ARRAY(-10, 100, 10))",
            Partitioning(column="id", unit="RANGE", start=-10, end=100, interval=10),
        ),
    ],
)
def test_partitioning(clause: str, expected: Partitioning) -> None:
    statement = one(f"CREATE TABLE d.t (id INT64, day DATE, at TIMESTAMP) PARTITION BY {clause}")
    assert ddl.table_definition(statement).partitioning == expected


def test_create_as_select_keeps_the_query() -> None:
    statement = one("CREATE OR REPLACE TABLE d.t AS\nSELECT 1 AS a")
    wanted = ddl.table_definition(statement)
    assert statement.kind == "CREATE_TABLE_AS_SELECT"
    assert wanted.or_replace
    assert wanted.query is not None
    assert wanted.query.kind == "SELECT"
    assert wanted.query.tree.sql() == "SELECT 1 AS a"


def test_a_view_may_rename_its_columns() -> None:
    wanted = ddl.table_definition(one("CREATE VIEW d.v (a, b) OPTIONS (description = 'x') AS SELECT 1, 2"))
    assert [field.name for field in wanted.fields] == ["a", "b"]
    assert wanted.options.description == "x"


def test_schemas() -> None:
    made = ddl.schema_definition(
        one("CREATE SCHEMA IF NOT EXISTS p.d OPTIONS (location = 'EU', default_table_expiration_days = 3)")
    )
    assert (made.project, made.dataset, made.if_not_exists) == ("p", "d", True)
    assert (made.options.location, made.options.default_table_expiration_days) == ("EU", 3)
    dropped = ddl.schema_definition(one("DROP SCHEMA IF EXISTS d CASCADE"))
    assert (dropped.project, dropped.dataset, dropped.if_exists, dropped.cascade) == (None, "d", True, True)


@pytest.mark.parametrize("kind", ["TABLE", "VIEW"])
def test_drops(kind: str) -> None:
    statement = one(f"DROP {kind} IF EXISTS `p.d.t`")
    assert statement.kind == f"DROP_{kind}"
    assert ddl.drop(statement) == ddl.Drop(target=Name(project="p", dataset="d", table="t"), if_exists=True)


def test_alterations() -> None:
    added = ddl.alteration(one("ALTER TABLE d.t ADD COLUMN IF NOT EXISTS a INT64, ADD COLUMN b ARRAY<STRING>"))
    assert added.add == (
        (Field(name="a", type="INT64"), True),
        (Field(name="b", type="STRING", mode="REPEATED"), False),
    )
    assert ddl.alteration(one("ALTER TABLE IF EXISTS d.t RENAME TO u")).rename_to == "u"
    changed = ddl.alteration(one("ALTER TABLE d.t SET OPTIONS (description = 'x')"))
    assert changed.options == TableOptions(description="x")


def test_export() -> None:
    wanted = ddl.export(
        one(
            "EXPORT DATA OPTIONS (uri = 'gs://b/x-*.csv', format = 'CSV', overwrite = TRUE, header = FALSE) AS SELECT 1"
        )
    )
    assert wanted.options == {"uri": "gs://b/x-*.csv", "format": "CSV", "overwrite": True, "header": False}
    assert wanted.query.tree.sql() == "SELECT 1"


def read(sql: str) -> object:
    statement = one(sql)
    readers = {
        "CREATE_TABLE": ddl.table_definition,
        "CREATE_TABLE_AS_SELECT": ddl.table_definition,
        "CREATE_VIEW": ddl.table_definition,
        "CREATE_SCHEMA": ddl.schema_definition,
        "DROP_TABLE": ddl.drop,
        "DROP_VIEW": ddl.drop,
        "ALTER_TABLE": ddl.alteration,
        "EXPORT_DATA": ddl.export,
    }
    return readers[statement.kind](statement)


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("CREATE TABLE d.t (a GEOGRAPHY)", "type GEOGRAPHY at [1:19]"),
        ("CREATE TABLE d.t (a BIGNUMERIC)", "type BIGNUMERIC"),
        ("CREATE TABLE d.t (a INT64, PRIMARY KEY (a) NOT ENFORCED)", "PRIMARY KEY"),
        ("CREATE TEMP TABLE t (a INT64)", "TEMPORARY in a definition"),
        ("CREATE TABLE d.t LIKE d.u", "LIKE d.u in a definition"),
        ("CREATE TABLE d.t COPY d.u", "CLONE"),
        ("CREATE EXTERNAL TABLE d.t OPTIONS (format = 'CSV')", "EXTERNAL in a definition"),
        ("CREATE MATERIALIZED VIEW d.v AS SELECT 1", "MATERIALIZED in a definition"),
        ("CREATE TABLE d.t (a INT64) OPTIONS (kms_key_name = 'x')", "option kms_key_name"),
        ("CREATE TABLE d.t (a INT64) PARTITION BY MOD(a, 10)", "PARTITION BY MOD(a, 10)"),
        ("CREATE TABLE d.t (a INT64 OPTIONS (rounding_mode = 'x'))", "column option rounding_mode"),
        ("CREATE TABLE d.t (a INT64) OPTIONS (expiration_timestamp = CURRENT_TIMESTAMP())", "which is no literal"),
        ("ALTER TABLE d.t DROP COLUMN a", "DROP COLUMN a"),
        ("ALTER TABLE d.t ALTER COLUMN a SET DATA TYPE NUMERIC", "ALTER COLUMN"),
        ("DROP MATERIALIZED VIEW d.v", "MATERIALIZED"),
    ],
)
def test_what_we_do_not_keep_is_refused_by_name(sql: str, words: str) -> None:
    with pytest.raises(Unsupported) as caught:
        read(sql)
    assert words in str(caught.value)
    assert caught.value.line == 1


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("CREATE TABLE d.t (a INT64, A STRING)", "Duplicate column name A"),
        ("CREATE TABLE d.t", "list of columns or AS SELECT"),
        ("CREATE TABLE d.t (a ARRAY<INT64> NOT NULL)", "NOT NULL constraint is not allowed for repeated field a"),
        ("CREATE TABLE d.t (a ARRAY<ARRAY<INT64>>)", "Arrays of arrays"),
        ("CREATE TABLE d.t (a NUMERIC(40, 2))", "P must be between 2 and 31"),
        ("CREATE TABLE d.t (a INT64) CLUSTER BY a, b, c, e, f", "at most 4 columns"),
        ("CREATE OR REPLACE TABLE IF NOT EXISTS d.t (a INT64)", "cannot have IF NOT EXISTS"),
        ("CREATE TABLE d.t (a INT64) OPTIONS (description = 1)", "Option description must be a STRING"),
        ("CREATE TABLE d.t (a INT64) OPTIONS (labels = ['x'])", "Option labels must be an array of pairs"),
        ("CREATE TABLE d.t (a INT64) PARTITION BY RANGE_BUCKET(a, GENERATE_ARRAY(10, 0, 1))", "start < end"),
        ("ALTER TABLE d.t ADD COLUMN a INT64 NOT NULL", "Cannot add a required column"),
        ("DROP TABLE d.t, d.u", "needs one name"),
    ],
)
def test_what_contradicts_itself_is_refused(sql: str, words: str) -> None:
    with pytest.raises(InvalidQuery) as caught:
        read(sql)
    assert words in str(caught.value)
    assert not isinstance(caught.value, Unsupported)
