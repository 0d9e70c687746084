# ruff: noqa: E501 - a query and its answer stand on one line
"""GoogleSQL that we accept gives BigQuery's answer: a table of queries and the values that REST would carry.

Each family names the page that it holds us to. Expected values are wire values: INT64 and FLOAT64 as strings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import duckdb
import pytest

from pydag_gcp.local.googlesql.translate import (
    SESSION,
    InvalidQuery,
    TableRef,
    Translated,
    parse,
    runtime_error,
    translate,
)
from pydag_gcp.local.googlesql.types import Field, duckdb_type
from pydag_gcp.local.googlesql.wire import encode

PAGE = "https://cloud.google.com/bigquery/docs/reference/standard-sql/"


class Shop:
    """A catalogue of three tables and a view."""

    TABLES: Mapping[str, tuple[Field, ...]] = {
        "items": (
            Field(name="id", type="INT64", mode="REQUIRED"),
            Field(name="Name", type="STRING"),
            Field(name="price", type="FLOAT64"),
            Field(name="sold", type="DATE"),
            Field(name="tags", type="STRING", mode="REPEATED"),
        ),
        "lines": (Field(name="id", type="INT64"), Field(name="n", type="INT64"), Field(name="note", type="STRING")),
        "odd": (Field(name="x", type="FLOAT64"), Field(name="k", type="INT64")),
    }
    VIEW = "SELECT id, UPPER(Name) AS loud FROM shop.items WHERE price IS NOT NULL"

    def resolve(self, project: str | None, dataset: str | None, table: str) -> TableRef:
        if table == "louder" and dataset == "shop":
            fields = (Field(name="id", type="INT64"), Field(name="loud", type="STRING"))
            return TableRef(duckdb_name="", fields=fields, dataset="shop", table="louder", query=self.VIEW)
        if dataset != "shop" or table not in self.TABLES:
            raise LookupError(f"Not found: Table {project}:{dataset}.{table}")
        return TableRef(duckdb_name=f'"shop_{table}"', fields=self.TABLES[table], dataset="shop", table=table)


@pytest.fixture(scope="module")
def shop() -> Iterator[duckdb.DuckDBPyConnection]:
    connection = duckdb.connect(config={"autoinstall_known_extensions": "false", "threads": "1"})
    for statement in SESSION:
        connection.execute(statement)
    for name, fields in Shop.TABLES.items():
        columns = ", ".join(f'"{field.name}" {duckdb_type(field)}' for field in fields)
        connection.execute(f'CREATE TABLE "shop_{name}" ({columns})')
    connection.execute(
        "INSERT INTO shop_items VALUES (1, 'apple', 1.5, '2024-02-29', ['red', 'fruit']), "
        "(2, 'Bread', 3.0, '2023-12-31', []), (3, NULL, NULL, NULL, ['x']), (4, 'apple', 0.5, '2024-02-29', [])"
    )
    connection.execute(
        "INSERT INTO shop_lines VALUES (1, 10, 'a'), (1, 20, NULL), (2, 5, 'b'), (9, 1, 'c'), (NULL, 7, 'd')"
    )
    connection.execute(
        "INSERT INTO shop_odd VALUES (1.0, 1), ('nan', 2), ('inf', 3), ('-inf', 4), (NULL, 5), (-2.5, 6)"
    )
    yield connection
    connection.close()


def translated(sql: str) -> Translated:
    (statement,) = parse(sql)
    return translate(statement, tables=Shop())


def rows(connection: duckdb.DuckDBPyConnection, sql: str) -> list[list[Any]]:
    """Run a query; each row as REST carries its values, types checked on the way."""
    ready = translated(sql)
    try:
        found = connection.execute(ready.sql, dict(ready.parameters))
        stored = [str(column[1]) for column in found.description]
        table = found.to_arrow_table()
    except duckdb.Error as error:
        raise runtime_error(error) from error
    wanted = connection.execute(
        "SELECT " + ", ".join(f"CAST(NULL AS {duckdb_type(field)})" for field in ready.fields)
    ).description
    assert stored == [str(column[1]) for column in wanted], "DuckDB's types are not those that the fields promise"
    assert table.column_names == [field.name for field in ready.fields]
    columns = [column.to_pylist() for column in table.columns]
    return [[encode(v, f) for v, f in zip(row, ready.fields, strict=True)] for row in zip(*columns, strict=True)]


def cell(values: Sequence[Any]) -> Any:
    """The elements of an ARRAY on the wire."""
    return [{"v": value} for value in values]


ARITHMETIC = [
    ("1 + 1", "2"),
    ("7 - 10", "-3"),
    ("3 * -4", "-12"),
    ("1 / 2", "0.5"),
    ("7 / 2", "3.5"),
    ("6 / 3", "2.0"),
    ("NULL / 0", None),
    ("2147483647 + 1", "2147483648"),
    ("9223372036854775806 + 1", "9223372036854775807"),
    ("-9223372036854775808", "-9223372036854775808"),
    ("0x1F + 0X0a", "41"),
    ("1 + 1.5", "2.5"),
    ("1.5 * 2", "3.0"),
    (".5 + 1e3", "1000.5"),
    ("DIV(7, 2)", "3"),
    ("DIV(-7, 2)", "-3"),
    ("DIV(7, -2)", "-3"),
    ("MOD(7, 3)", "1"),
    ("MOD(-7, 3)", "-1"),
    ("MOD(7, -3)", "1"),
    ("SAFE_DIVIDE(1, 0)", None),
    ("SAFE_DIVIDE(3, 2)", "1.5"),
    ("SAFE_ADD(9223372036854775807, 1)", None),
    ("SAFE_SUBTRACT(-9223372036854775807, 2)", None),
    ("SAFE_MULTIPLY(4, 5)", "20"),
    ("SAFE_NEGATE(CAST(5 AS INT64))", "-5"),
    ("IEEE_DIVIDE(1, 0)", "Infinity"),
    ("IEEE_DIVIDE(-1, 0)", "-Infinity"),
    ("IEEE_DIVIDE(0, 0)", "NaN"),
    ("5 & 6", "4"),
    ("5 | 6", "7"),
    ("5 ^ 6", "3"),
    ("~5", "-6"),
    ("2 + 3 * 4", "14"),
    ("(2 + 3) * 4", "20"),
    ("- - 5", "5"),
]
NUMERICS = [
    ("NUMERIC '1.5' + 1", "2.5"),
    ("NUMERIC '0.1' + NUMERIC '0.2'", "0.3"),
    ("NUMERIC '1.000000001' * NUMERIC '1.000000001'", "1.000000002"),
    ("NUMERIC '0.000000001' * NUMERIC '0.5'", "0.000000001"),
    ("NUMERIC '1' / NUMERIC '3'", "0.333333333"),
    ("NUMERIC '-2' / NUMERIC '3'", "-0.666666667"),
    ("NUMERIC '10' / 4", "2.5"),
    ("CAST('1.23456789055' AS NUMERIC)", "1.234567891"),
    ("CAST(1.005 AS NUMERIC)", "1.005"),
    ("CAST(2.5 AS INT64)", "3"),
    ("CAST(NUMERIC '-2.5' AS INT64)", "-3"),
    ("ROUND(NUMERIC '2.345', 2)", "2.35"),
    ("ROUND(NUMERIC '-2.5')", "-3"),
    ("TRUNC(NUMERIC '-2.7')", "-2"),
    ("FLOOR(NUMERIC '-2.1')", "-3"),
    ("CEIL(NUMERIC '2.1')", "3"),
    ("MOD(NUMERIC '5.5', 2)", "1.5"),
    ("ABS(NUMERIC '-1.5')", "1.5"),
    ("NUMERIC '99999999999999999999999999999.999999999'", "99999999999999999999999999999.999999999"),
]
MATHS = [
    ("ABS(-3)", "3"),
    ("SIGN(-3.5)", "-1.0"),
    ("SIGN(0)", "0"),
    ("ROUND(2.5)", "3.0"),
    ("ROUND(-2.5)", "-3.0"),
    ("ROUND(2.675, 2)", "2.67"),
    ("ROUND(1.005, 2)", "1.0"),
    ("ROUND(0.125, 2)", "0.13"),
    ("ROUND(5)", "5.0"),
    ("TRUNC(-2.7)", "-2.0"),
    ("CEIL(1.2)", "2.0"),
    ("FLOOR(-1.2)", "-2.0"),
    ("SQRT(16)", "4.0"),
    ("POW(2, 10)", "1024.0"),
    ("EXP(0)", "1.0"),
    ("LN(1)", "0.0"),
    ("LOG(8, 2)", "3.0"),
    ("LOG10(1000)", "3.0"),
    ("GREATEST(1, 3, 2)", "3"),
    ("LEAST(1, 3.5)", "1.0"),
    ("GREATEST(1, NULL)", None),
    ("LEAST('b', 'a')", "a"),
    ("IS_NAN(CAST('nan' AS FLOAT64))", "true"),
    ("IS_INF(CAST('-inf' AS FLOAT64))", "true"),
]
COMPARISONS = [
    ("1 = 1.0", "true"),
    ("1 < 2 AND 2 <= 2", "true"),
    ("'a' < 'b'", "true"),
    ("'Z' < 'a'", "true"),
    ("'a' != 'A'", "true"),
    ("NULL = NULL", None),
    ("TRUE AND NULL", None),
    ("FALSE AND NULL", "false"),
    ("TRUE OR NULL", "true"),
    ("NOT CAST(NULL AS BOOL)", None),
    ("1 IS NULL", "false"),
    ("NULL IS NULL", "true"),
    ("(NULL = 1) IS NOT TRUE", "true"),
    ("1 IS DISTINCT FROM NULL", "true"),
    ("CAST(NULL AS INT64) IS NOT DISTINCT FROM NULL", "true"),
    ("2 BETWEEN 1 AND 3", "true"),
    ("2 NOT BETWEEN 1 AND 3", "false"),
    ("2 IN (1, 2)", "true"),
    ("3 IN (1, NULL)", None),
    ("3 NOT IN (1, 2)", "true"),
    ("2 IN UNNEST([1, 2])", "true"),
    ("3 IN UNNEST([1, NULL])", None),
    ("NULL IN UNNEST([1])", None),
    ("NULL IN UNNEST(CAST([] AS ARRAY<INT64>))", "false"),
    ("2 IN (SELECT x FROM UNNEST([1, 2]) AS x)", "true"),
    ("CAST('nan' AS FLOAT64) = CAST('nan' AS FLOAT64)", "false"),
    ("CAST('nan' AS FLOAT64) != CAST('nan' AS FLOAT64)", "true"),
    ("CAST('nan' AS FLOAT64) > 1", "false"),
    ("1 < CAST('nan' AS FLOAT64)", "false"),
    ("CAST('nan' AS FLOAT64) IN (1.0, CAST('nan' AS FLOAT64))", "false"),
    ("DATE '2024-01-01' < '2024-01-02'", "true"),
    ("DATE '2024-01-01' = DATETIME '2024-01-01 00:00:00'", "true"),
    ("TIMESTAMP '2024-01-01' = '2024-01-01 00:00:00+00'", "true"),
    ("EXISTS(SELECT 1 FROM UNNEST([1]))", "true"),
    ("NOT EXISTS(SELECT 1 FROM UNNEST([1]) AS x WHERE x > 1)", "true"),
    ("b'a' < b'b'", "true"),
]
LIKE = [
    ("'abc' LIKE 'a%'", "true"),
    ("'abc' LIKE 'A%'", "false"),
    ("'a_c' LIKE r'a\\_c'", "true"),
    ("'abc' LIKE r'a\\_c'", "false"),
    ("'100%' LIKE r'100\\%'", "true"),
    ("'é' LIKE '_'", "true"),
    ("'a\\nb' LIKE 'a%b'", "true"),
    ("'abc' NOT LIKE '%b%'", "false"),
    ("NULL LIKE 'a'", None),
]
CONDITIONALS = [
    ("IF(1 > 0, 'y', 'n')", "y"),
    ("IF(NULL, 1, 2)", "2"),
    ("IF(TRUE, 1, 1 / 0)", "1.0"),
    ("CASE WHEN FALSE THEN 1 WHEN TRUE THEN 2 END", "2"),
    ("CASE 3 WHEN 1 THEN 'a' WHEN 3 THEN 'c' ELSE 'z' END", "c"),
    ("CASE WHEN FALSE THEN 1 END", None),
    ("CASE WHEN TRUE THEN 1 ELSE 2.5 END", "1.0"),
    ("COALESCE(NULL, NULL, 3)", "3"),
    ("COALESCE(DATE '2024-01-01', '2024-01-02')", "2024-01-01"),
    ("IFNULL(NULL, 'x')", "x"),
    ("NULLIF(1, 1)", None),
    ("NULLIF(1, 2)", "1"),
    ("NULLIF(CAST('nan' AS FLOAT64), CAST('nan' AS FLOAT64))", "NaN"),
]
CASTS = [
    ("CAST('12' AS INT64)", "12"),
    ("CAST(' -7' AS INT64)", "-7"),
    ("SAFE_CAST('1.5' AS INT64)", None),
    ("SAFE_CAST('abc' AS INT64)", None),
    ("SAFE_CAST('9223372036854775808' AS INT64)", None),
    ("CAST(0.5 AS INT64)", "1"),
    ("CAST(-0.5 AS INT64)", "-1"),
    ("CAST(1.0 AS STRING)", "1"),
    ("CAST(0.1 AS STRING)", "0.1"),
    ("CAST(1e20 AS STRING)", "1e+20"),
    ("CAST(1e-7 AS STRING)", "1e-07"),
    ("CAST(CAST('nan' AS FLOAT64) AS STRING)", "nan"),
    ("CAST(CAST('-inf' AS FLOAT64) AS STRING)", "-inf"),
    ("CAST(0.1 + 0.2 AS STRING)", "0.30000000000000004"),
    ("CAST(NUMERIC '100.10' AS STRING)", "100.1"),
    ("CAST(TRUE AS STRING)", "true"),
    ("CAST('TRUE' AS BOOL)", "true"),
    ("SAFE_CAST('yes' AS BOOL)", None),
    ("CAST(TRUE AS INT64)", "1"),
    ("CAST(2 AS BOOL)", "true"),
    ("CAST('1e3' AS FLOAT64)", "1000.0"),
    ("CAST('2024-2-9' AS DATE)", "2024-02-09"),
    ("SAFE_CAST('2023-02-29' AS DATE)", None),
    ("SAFE_CAST('2024-02-29x' AS DATE)", None),
    ("CAST('2024-02-29 1:02:03.5' AS DATETIME)", "2024-02-29T01:02:03.500000"),
    ("CAST('2024-02-29T01:02:03+02' AS TIMESTAMP)", "1709161323.000000"),
    ("CAST('2024-02-29 01:02:03 UTC' AS TIMESTAMP)", "1709168523.000000"),
    ("CAST(TIMESTAMP '2024-02-29 23:30:00+00' AS DATE)", "2024-02-29"),
    ("CAST(TIMESTAMP '2024-02-29 01:02:03.5+00' AS STRING)", "2024-02-29 01:02:03.500+00"),
    ("CAST(DATETIME '2024-02-29 01:02:03' AS STRING)", "2024-02-29 01:02:03"),
    ("CAST(TIME '1:02:03.25' AS STRING)", "01:02:03.250"),
    ("CAST(DATE '0099-01-01' AS STRING)", "0099-01-01"),
    ("CAST('é' AS BYTES)", "w6k="),
    ("CAST(b'\\xc3\\xa9' AS STRING)", "é"),
    ("CAST([1, 2] AS ARRAY<STRING>)", cell(["1", "2"])),
    ("CAST(STRUCT(1, 'a') AS STRUCT<x FLOAT64, y STRING>).x", "1.0"),
]
LITERALS = [
    ('"it\'s"', "it's"),
    ("'a\\tb\\x41\\u00e9\\101'", "a\tbAéA"),
    ("r'a\\tb'", "a\\tb"),
    ("'''two\nlines'''", "two\nlines"),
    ('"""a"b"""', 'a"b'),
    ("b'\\xff\\x00a'", "/wBh"),
    ("TRUE", "true"),
    ("DATE '2024-02-29'", "2024-02-29"),
    ("TIME '23:59:59.999999'", "23:59:59.999999"),
    ("DATETIME '2024-02-29T12:00:00'", "2024-02-29T12:00:00"),
    ("TIMESTAMP '2024-02-29 12:00:00-08:00'", "1709236800.000000"),
]
STRINGS = [
    ("LENGTH('naïve')", "5"),
    ("BYTE_LENGTH('naïve')", "6"),
    ("LENGTH(b'abc')", "3"),
    ("CHAR_LENGTH('😀a')", "2"),
    ("UPPER('abc')", "ABC"),
    ("LOWER('ÀB')", "àb"),
    ("TRIM('  a b ')", "a b"),
    ("TRIM('\\u00a0\\ta\\n')", "a"),
    ("LTRIM('xxaxx', 'x')", "axx"),
    ("RTRIM('xxaxx', 'x')", "xxa"),
    ("TRIM('abcba', 'ab')", "c"),
    ("SUBSTR('apple', 2)", "pple"),
    ("SUBSTR('apple', 2, 2)", "pp"),
    ("SUBSTR('apple', -2)", "le"),
    ("SUBSTR('apple', 0, 2)", "ap"),
    ("SUBSTR('apple', -10, 3)", "app"),
    ("SUBSTR('apple', 9)", ""),
    ("SUBSTR('apple', 1, NULL)", None),
    ("SUBSTRING('naïve', 3, 1)", "ï"),
    ("LEFT('apple', 2)", "ap"),
    ("RIGHT('apple', 9)", "apple"),
    ("LEFT('abc', NULL)", None),
    ("REPLACE('aXbX', 'X', '-')", "a-b-"),
    ("REPLACE('abc', '', '-')", "abc"),
    ("REVERSE('abc')", "cba"),
    ("REPEAT('ab', 3)", "ababab"),
    ("REPEAT('ab', 0)", ""),
    ("CONCAT('a', 'b', 'c')", "abc"),
    ("CONCAT('a', NULL)", None),
    ("'a' || 'b' || NULL", None),
    ("STARTS_WITH('abc', 'ab')", "true"),
    ("ENDS_WITH('abc', '')", "true"),
    ("STRPOS('banana', 'an')", "2"),
    ("STRPOS('abc', 'z')", "0"),
    ("INSTR('banana', 'an')", "2"),
    ("LPAD('7', 3, '0')", "007"),
    ("LPAD('abc', 2)", "ab"),
    ("RPAD('ab', 5, 'xy')", "abxyx"),
    ("SPLIT('a,b,,c')", cell(["a", "b", "", "c"])),
    ("SPLIT('a--b', '--')", cell(["a", "b"])),
    ("SPLIT('', ',')", cell([""])),
    ("SPLIT('abc', '')", cell(["a", "b", "c"])),
    ("ARRAY_TO_STRING(['a', 'b'], '-')", "a-b"),
    ("ARRAY_TO_STRING(['a', NULL, 'b'], '-')", "a-b"),
    ("ARRAY_TO_STRING(['a', NULL], '-', '?')", "a-?"),
    ("ASCII('A')", "65"),
    ("TO_HEX(b'\\x00\\xff')", "00ff"),
    ("FROM_HEX('00fF')", "AP8="),
    ("TO_BASE64(b'ab')", "YWI="),
    ("TO_HEX(MD5('a'))", "0cc175b9c0f1b6a831c399e269772661"),
    ("TO_HEX(SHA256('a'))", "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"),
    ("FORMAT('%05d|%s|%%', 42, 'x')", "00042|x|%"),
    ("SAFE.SUBSTR('abc', 1, -1)", None),
    ("SAFE.LEFT('abc', 2)", "ab"),
]
REGEXPS = [
    ("REGEXP_CONTAINS('abc123', r'\\d+')", "true"),
    ("REGEXP_CONTAINS('abc', '^b')", "false"),
    ("REGEXP_CONTAINS('ABC', '(?i)abc')", "true"),
    ("REGEXP_EXTRACT('a=1,b=2', r'b=(\\d)')", "2"),
    ("REGEXP_EXTRACT('abc', '[b-c]+')", "bc"),
    ("REGEXP_EXTRACT('abc', 'z')", None),
    ("REGEXP_EXTRACT('b', '(a)|b')", None),
    ("REGEXP_EXTRACT('xay', r'x(?:a)(y)')", "y"),
    ("REGEXP_EXTRACT_ALL('a1b22', r'(\\d+)')", cell(["1", "22"])),
    ("REGEXP_EXTRACT_ALL('abc', r'\\d')", cell([])),
    ("REGEXP_REPLACE('a1b2', r'\\d', '#')", "a#b#"),
    ("REGEXP_REPLACE('abc', '(b)(c)', r'\\2\\1')", "acb"),
    ("REGEXP_REPLACE('abc', 'b', r'[\\0]')", "a[b]c"),
]
DATES = [
    ("EXTRACT(YEAR FROM DATE '2024-02-29')", "2024"),
    ("EXTRACT(QUARTER FROM DATE '2024-04-01')", "2"),
    ("EXTRACT(DAYOFWEEK FROM DATE '2024-02-25')", "1"),
    ("EXTRACT(DAYOFWEEK FROM DATE '2024-03-02')", "7"),
    ("EXTRACT(DAYOFYEAR FROM DATE '2024-12-31')", "366"),
    ("EXTRACT(WEEK FROM DATE '2024-01-06')", "0"),
    ("EXTRACT(WEEK FROM DATE '2024-01-07')", "1"),
    ("EXTRACT(WEEK(MONDAY) FROM DATE '2023-01-01')", "0"),
    ("EXTRACT(WEEK(MONDAY) FROM DATE '2024-01-01')", "1"),
    ("EXTRACT(ISOWEEK FROM DATE '2021-01-03')", "53"),
    ("EXTRACT(ISOYEAR FROM DATE '2021-01-03')", "2020"),
    ("EXTRACT(DATE FROM TIMESTAMP '2024-02-29 23:59:59+00')", "2024-02-29"),
    ("EXTRACT(MILLISECOND FROM TIME '01:02:03.456789')", "456"),
    ("EXTRACT(MICROSECOND FROM TIME '01:02:03.456789')", "456789"),
    ("EXTRACT(HOUR FROM TIMESTAMP '2024-02-29 23:59:59+01')", "22"),
    ("DATE(2024, 2, 29)", "2024-02-29"),
    ("DATE(DATETIME '2024-02-29 23:00:00')", "2024-02-29"),
    ("DATE(TIMESTAMP '2024-02-29 23:00:00+00')", "2024-02-29"),
    ("DATE_ADD(DATE '2024-01-31', INTERVAL 1 MONTH)", "2024-02-29"),
    ("DATE_ADD(DATE '2024-02-29', INTERVAL 1 YEAR)", "2025-02-28"),
    ("DATE_ADD(DATE '2024-02-28', INTERVAL 2 DAY)", "2024-03-01"),
    ("DATE_SUB(DATE '2024-03-31', INTERVAL 1 QUARTER)", "2023-12-31"),
    ("DATE_ADD('2024-01-01', INTERVAL -1 WEEK)", "2023-12-25"),
    ("DATE '2024-02-28' + 2", "2024-03-01"),
    ("DATE '2024-03-01' - 1", "2024-02-29"),
    ("DATE_DIFF(DATE '2024-03-01', DATE '2024-02-01', DAY)", "29"),
    ("DATE_DIFF(DATE '2024-02-01', DATE '2024-01-31', MONTH)", "1"),
    ("DATE_DIFF(DATE '2024-01-01', DATE '2023-12-31', YEAR)", "1"),
    ("DATE_DIFF(DATE '2017-10-15', DATE '2017-10-14', WEEK)", "1"),
    ("DATE_DIFF(DATE '2017-10-15', DATE '2017-10-14', WEEK(MONDAY))", "0"),
    ("DATE_DIFF(DATE '2017-10-15', DATE '2017-10-14', ISOWEEK)", "0"),
    ("DATE_DIFF(DATE '2017-12-30', DATE '2014-12-30', ISOYEAR)", "2"),
    ("DATE_DIFF(DATE '2024-01-01', DATE '2024-04-01', QUARTER)", "-1"),
    ("DATE_TRUNC(DATE '2024-05-17', MONTH)", "2024-05-01"),
    ("DATE_TRUNC(DATE '2024-05-17', QUARTER)", "2024-04-01"),
    ("DATE_TRUNC(DATE '2017-11-07', WEEK)", "2017-11-05"),
    ("DATE_TRUNC(DATE '2017-11-05', WEEK(MONDAY))", "2017-10-30"),
    ("DATE_TRUNC(DATE '2017-11-05', ISOWEEK)", "2017-10-30"),
    ("DATE_TRUNC(DATE '2015-06-15', ISOYEAR)", "2014-12-29"),
    ("LAST_DAY(DATE '2024-02-10')", "2024-02-29"),
    ("LAST_DAY(DATE '2008-11-25', WEEK)", "2008-11-29"),
    ("UNIX_DATE(DATE '2008-12-25')", "14238"),
    ("DATE_FROM_UNIX_DATE(14238)", "2008-12-25"),
    ("GENERATE_DATE_ARRAY('2024-02-28', '2024-03-01')", cell(["2024-02-28", "2024-02-29", "2024-03-01"])),
    (
        "GENERATE_DATE_ARRAY('2024-01-01', '2024-01-20', INTERVAL 1 WEEK)",
        cell(["2024-01-01", "2024-01-08", "2024-01-15"]),
    ),
    ("CURRENT_DATE() = DATE(CURRENT_TIMESTAMP())", "true"),
]
TIMES = [
    ("DATETIME(2024, 2, 29, 1, 2, 3)", "2024-02-29T01:02:03"),
    ("DATETIME(DATE '2024-02-29', TIME '01:02:03')", "2024-02-29T01:02:03"),
    ("DATETIME_ADD(DATETIME '2024-02-28 23:59:00', INTERVAL 1 MINUTE)", "2024-02-29T00:00:00"),
    ("DATETIME_DIFF(DATETIME '2024-01-01 10:59:59', DATETIME '2024-01-01 09:00:00', HOUR)", "1"),
    ("DATETIME_TRUNC(DATETIME '2024-02-29 13:45:59', HOUR)", "2024-02-29T13:00:00"),
    ("TIMESTAMP('2024-02-29 00:00:00+00')", "1709164800.000000"),
    ("TIMESTAMP(DATE '1969-12-31')", "-86400.000000"),
    ("TIMESTAMP_ADD(TIMESTAMP '2024-02-29 00:00:00+00', INTERVAL 1 DAY)", "1709251200.000000"),
    ("TIMESTAMP_SUB(TIMESTAMP '1970-01-01 00:00:00+00', INTERVAL 500 MILLISECOND)", "-0.500000"),
    ("TIMESTAMP_DIFF(TIMESTAMP '2024-01-01 02:59:59+00', TIMESTAMP '2024-01-01 00:00:00+00', HOUR)", "2"),
    ("TIMESTAMP_DIFF(TIMESTAMP '2024-01-01 00:00:00+00', TIMESTAMP '2024-01-01 02:59:59+00', HOUR)", "-2"),
    ("TIMESTAMP_TRUNC(TIMESTAMP '2024-02-29 13:45:59+00', DAY)", "1709164800.000000"),
    ("UNIX_SECONDS(TIMESTAMP '1969-12-31 23:59:59.5+00')", "-1"),
    ("UNIX_MILLIS(TIMESTAMP '1970-01-01 00:00:01.2345+00')", "1234"),
    ("UNIX_MICROS(TIMESTAMP '1970-01-01 00:00:01+00')", "1000000"),
    ("TIMESTAMP_SECONDS(-1)", "-1.000000"),
    ("TIMESTAMP_MILLIS(1500)", "1.500000"),
    ("TIMESTAMP_MICROS(1)", "0.000001"),
    ("TIME(1, 2, 3)", "01:02:03"),
    ("TIME_ADD(TIME '23:30:00', INTERVAL 1 HOUR)", "00:30:00"),
    ("TIME_SUB(TIME '00:30:00', INTERVAL 1 HOUR)", "23:30:00"),
    ("TIME_DIFF(TIME '15:30:00', TIME '14:35:00', MINUTE)", "55"),
    ("TIME_TRUNC(TIME '15:34:56', MINUTE)", "15:34:00"),
]
FORMATS = [
    ("FORMAT_DATE('%Y-%m-%d', DATE '2024-02-09')", "2024-02-09"),
    ("FORMAT_DATE('%d.%m.%y', DATE '2024-02-09')", "09.02.24"),
    ("FORMAT_DATE('%A %a %B %b', DATE '2024-02-29')", "Thursday Thu February Feb"),
    ("FORMAT_DATE('%e|%j|%Q', DATE '2024-02-09')", " 9|040|1"),
    ("FORMAT_DATE('%G-W%V %U %W %u %w', DATE '2021-01-03')", "2020-W53 01 00 7 0"),
    ("FORMAT_DATE('%Y%%', DATE '2024-02-29')", "2024%"),
    ("FORMAT_DATE('%E4Y', DATE '0099-01-01')", "0099"),
    ("FORMAT_TIMESTAMP('%FT%T%Ez', TIMESTAMP '2024-02-29 01:02:03+00')", "2024-02-29T01:02:03+00:00"),
    ("FORMAT_TIMESTAMP('%H:%M:%E3S', TIMESTAMP '2024-02-29 01:02:03.4567+00')", "01:02:03.456"),
    ("FORMAT_DATETIME('%I:%M %p', DATETIME '2024-02-29 13:05:00')", "01:05 PM"),
    ("FORMAT_TIME('%H%M%S', TIME '01:02:03')", "010203"),
    ("PARSE_DATE('%Y-%m-%d', '2024-2-9')", "2024-02-09"),
    ("PARSE_DATE('%Y%m%d', '20240229')", "2024-02-29"),
    ("PARSE_DATE('%d %b %Y', '29 feb 2024')", "2024-02-29"),
    ("PARSE_DATE('%m/%d/%y', '02/29/24')", "2024-02-29"),
    ("PARSE_DATE('%m/%d/%y', '12/31/69')", "1969-12-31"),
    ("PARSE_DATE('%Y', '2024')", "2024-01-01"),
    ("SAFE.PARSE_DATE('%Y-%m-%d', '2023-02-29')", None),
    ("SAFE.PARSE_DATE('%m%d', '11')", None),
    ("PARSE_DATETIME('%F %T', '2024-02-29 01:02:03')", "2024-02-29T01:02:03"),
    ("PARSE_TIMESTAMP('%Y-%m-%d %H:%M:%S', '2024-02-29 00:00:00')", "1709164800.000000"),
    ("PARSE_TIMESTAMP('%FT%T%Ez', '2024-02-29T02:00:00+02:00')", "1709164800.000000"),
    ("PARSE_TIME('%I:%M %p', '12:05 am')", "00:05:00"),
]
ARRAYS = [
    ("[1, 2, 3]", cell(["1", "2", "3"])),
    ("[]", cell([])),
    ("CAST(NULL AS ARRAY<INT64>)", cell([])),
    ("[1, 2.5]", cell(["1.0", "2.5"])),
    ("ARRAY<FLOAT64>[1]", cell(["1.0"])),
    ("[1, 2, 3][OFFSET(1)]", "2"),
    ("[1, 2, 3][0]", "1"),
    ("[1, 2, 3][ORDINAL(1)]", "1"),
    ("[1, 2, 3][SAFE_OFFSET(9)]", None),
    ("[1, 2, 3][SAFE_ORDINAL(0)]", None),
    ("ARRAY_LENGTH([1, NULL])", "2"),
    ("ARRAY_CONCAT([1], [2, 3])", cell(["1", "2", "3"])),
    ("ARRAY_REVERSE([1, 2])", cell(["2", "1"])),
    ("GENERATE_ARRAY(1, 5, 2)", cell(["1", "3", "5"])),
    ("GENERATE_ARRAY(3, 1)", cell([])),
    ("GENERATE_ARRAY(3, 1, -1)", cell(["3", "2", "1"])),
    ("ARRAY(SELECT x * 2 FROM UNNEST([3, 1, 2]) AS x ORDER BY x)", cell(["2", "4", "6"])),
    ("ARRAY(SELECT x FROM UNNEST([1]) AS x WHERE FALSE)", cell([])),
    ("(SELECT SUM(x) FROM UNNEST([1, 2, 3]) AS x)", "6"),
    ("STRUCT(1 AS a, 'x' AS b)", {"f": [{"v": "1"}, {"v": "x"}]}),
    ("STRUCT(1 AS a, STRUCT(2 AS c) AS b).b.c", "2"),
    ("STRUCT<x INT64, y STRING>(1, 'a').y", "a"),
    ("[STRUCT(1 AS a), STRUCT(2 AS a)][OFFSET(1)].a", "2"),
    ("(SELECT AS STRUCT 1 AS a, 2 AS b).b", "2"),
    ("ARRAY_LENGTH(ARRAY(SELECT AS STRUCT 1 AS a UNION ALL SELECT AS STRUCT 2))", "2"),
    ("ARRAY_FIRST([4, 5])", "4"),
]
SCALARS: Mapping[str, tuple[str, Sequence[tuple[str, Any]]]] = {
    "arithmetic": ("operators#arithmetic_operators", ARITHMETIC),
    "numeric": ("data-types#decimal_types", NUMERICS),
    "maths": ("mathematical_functions", MATHS),
    "comparison": ("operators#comparison_operators", COMPARISONS),
    "like": ("operators#like_operator", LIKE),
    "conditional": ("conditional_expressions", CONDITIONALS),
    "cast": ("conversion_functions#cast", CASTS),
    "literal": ("lexical#literals", LITERALS),
    "string": ("string_functions", STRINGS),
    "regexp": ("string_functions#regexp_extract", REGEXPS),
    "date": ("date_functions", DATES),
    "time": ("timestamp_functions", TIMES),
    "format": ("format-elements#format_elements_date_time", FORMATS),
    "array": ("array_functions", ARRAYS),
}
SCALAR_CASES = [
    pytest.param(sql, value, id=f"{family}: {sql[:60]}")
    for family, (_, cases) in SCALARS.items()
    for sql, value in cases
]


@pytest.mark.parametrize(("expression", "value"), SCALAR_CASES)
def test_an_expression_has_bigquerys_value(shop: duckdb.DuckDBPyConnection, expression: str, value: Any) -> None:
    assert rows(shop, f"SELECT {expression}") == [[value]]


@pytest.mark.parametrize(("expression", "value"), SCALAR_CASES)
def test_an_expression_has_the_same_value_over_a_row(
    shop: duckdb.DuckDBPyConnection, expression: str, value: Any
) -> None:
    """Constants may be folded; the same expression in a filtered query, under a CTE and sorted, is not."""
    sql = (
        f"WITH one AS (SELECT id, {expression} AS v FROM shop.items) SELECT v FROM one WHERE id = 1 ORDER BY id LIMIT 1"
    )
    assert rows(shop, sql) == [[value]]


QUERIES: Mapping[str, Sequence[tuple[str, list[list[Any]]]]] = {
    "query-syntax#select_list": [
        ("SELECT * FROM shop.lines WHERE n = 5", [["2", "5", "b"]]),
        ("SELECT l.* EXCEPT (note) FROM shop.lines AS l WHERE n = 5", [["2", "5"]]),
        ("SELECT * REPLACE (n * 2 AS n) FROM shop.lines WHERE n = 5", [["2", "10", "b"]]),
        ("SELECT NAME, ITEMS.Id FROM shop.items WHERE iD = 2", [["Bread", "2"]]),
        ("SELECT DISTINCT Name FROM shop.items ORDER BY Name", [[None], ["Bread"], ["apple"]]),
        ("SELECT i FROM (SELECT 1 AS a, 'x' AS b) AS i", [[{"f": [{"v": "1"}, {"v": "x"}]}]]),
        ("SELECT s.* FROM (SELECT STRUCT(1 AS a, 2 AS b) AS s)", [["1", "2"]]),
    ],
    "query-syntax#where_clause": [
        ("SELECT id FROM shop.items WHERE Name = 'apple' AND price > 1", [["1"]]),
        ("SELECT id FROM shop.items WHERE sold = '2024-02-29' ORDER BY id", [["1"], ["4"]]),
        ("SELECT id FROM shop.items WHERE price != 3 ORDER BY id", [["1"], ["4"]]),
        ("SELECT COUNT(*) FROM shop.odd WHERE x > 0", [["2"]]),
        ("SELECT k FROM shop.odd WHERE NOT (x <= 1) ORDER BY k", [["2"], ["3"]]),
        ("SELECT k FROM shop.odd WHERE x = x ORDER BY k", [["1"], ["3"], ["4"], ["6"]]),
    ],
    "query-syntax#order_by_clause": [
        ("SELECT price FROM shop.items ORDER BY price", [[None], ["0.5"], ["1.5"], ["3.0"]]),
        ("SELECT price FROM shop.items ORDER BY price DESC", [["3.0"], ["1.5"], ["0.5"], [None]]),
        ("SELECT price FROM shop.items ORDER BY price NULLS LAST LIMIT 1", [["0.5"]]),
        ("SELECT price FROM shop.items ORDER BY price DESC NULLS FIRST LIMIT 1", [[None]]),
        ("SELECT x FROM shop.odd ORDER BY x", [[None], ["NaN"], ["-Infinity"], ["-2.5"], ["1.0"], ["Infinity"]]),
        ("SELECT x FROM shop.odd ORDER BY x DESC LIMIT 2 OFFSET 4", [["NaN"], [None]]),
        ("SELECT id AS k, -id AS id FROM shop.items ORDER BY id LIMIT 1", [["4", "-4"]]),
        ("SELECT Name, id FROM shop.items ORDER BY 1 DESC, 2 DESC LIMIT 2", [["apple", "4"], ["apple", "1"]]),
        ("SELECT id FROM shop.items ORDER BY ABS(id - 3), id LIMIT 2", [["3"], ["2"]]),
        ("SELECT Name, COUNT(*) FROM shop.items GROUP BY Name ORDER BY COUNT(*) DESC LIMIT 1", [["apple", "2"]]),
        ("SELECT DISTINCT x FROM UNNEST([2, 1, 2]) AS x ORDER BY x", [["1"], ["2"]]),
    ],
    "query-syntax#group_by_clause": [
        (
            "SELECT Name, COUNT(*) AS c FROM shop.items GROUP BY Name ORDER BY c, Name",
            [[None, "1"], ["Bread", "1"], ["apple", "2"]],
        ),
        (
            "SELECT UPPER(Name) AS u, SUM(price) FROM shop.items GROUP BY u ORDER BY u",
            [[None, None], ["APPLE", "2.0"], ["BREAD", "3.0"]],
        ),
        ("SELECT UPPER(Name), MAX(id) FROM shop.items GROUP BY 1 ORDER BY 2 DESC LIMIT 1", [["APPLE", "4"]]),
        ("SELECT UPPER(Name) || '!' FROM shop.items GROUP BY UPPER(Name) ORDER BY 1", [[None], ["APPLE!"], ["BREAD!"]]),
        (
            "SELECT LOWER(Name) AS Name, COUNT(*) FROM shop.items GROUP BY Name ORDER BY 2, 1",
            [[None, "1"], ["bread", "1"], ["apple", "2"]],
        ),
        ("SELECT COUNT(*) FROM shop.items HAVING COUNT(*) > 3", [["4"]]),
        ("SELECT Name FROM shop.items GROUP BY Name HAVING SUM(id) = 5", [["apple"]]),
        ("SELECT Name, SUM(id) AS s FROM shop.items GROUP BY Name HAVING s = 5", [["apple", "5"]]),
        ("SELECT MOD(id, 2) AS odd, COUNT(*) FROM shop.items GROUP BY ALL ORDER BY odd", [["0", "2"], ["1", "2"]]),
        (
            "SELECT x, COUNT(*) FROM (SELECT CAST('nan' AS FLOAT64) AS x UNION ALL SELECT CAST('nan' AS FLOAT64)) GROUP BY x",
            [["NaN", "2"]],
        ),
        ("SELECT COUNT(*) FROM shop.items WHERE FALSE", [["0"]]),
        ("SELECT MAX(id) FROM shop.items WHERE FALSE GROUP BY Name", []),
    ],
    "aggregate_functions": [
        ("SELECT COUNT(price), COUNT(DISTINCT Name), SUM(id), AVG(id) FROM shop.items", [["3", "2", "10", "2.5"]]),
        ("SELECT SUM(id), AVG(id), MIN(id), COUNT(id) FROM shop.items WHERE FALSE", [[None, None, None, "0"]]),
        (
            "SELECT COUNTIF(price > 1), LOGICAL_AND(id > 0), LOGICAL_OR(id > 9) FROM shop.items",
            [["2", "true", "false"]],
        ),
        (
            "SELECT MIN(Name), MAX(Name), MIN(sold), MAX(price) FROM shop.items",
            [["Bread", "apple", "2023-12-31", "3.0"]],
        ),
        ("SELECT MIN(x), MAX(x) FROM shop.odd", [["NaN", "NaN"]]),
        ("SELECT STRING_AGG(Name, '|' ORDER BY id) FROM shop.items", [["apple|Bread|apple"]]),
        ("SELECT STRING_AGG(DISTINCT Name ORDER BY Name) FROM shop.items", [["Bread,apple"]]),
        ("SELECT STRING_AGG(Name ORDER BY id DESC LIMIT 2) FROM shop.items", [["apple,Bread"]]),
        ("SELECT ARRAY_AGG(id ORDER BY id DESC) FROM shop.items", [[cell(["4", "3", "2", "1"])]]),
        ("SELECT ARRAY_AGG(Name IGNORE NULLS ORDER BY id) FROM shop.items", [[cell(["apple", "Bread", "apple"])]]),
        ("SELECT ARRAY_AGG(price IGNORE NULLS ORDER BY price DESC LIMIT 1) FROM shop.items", [[cell(["3.0"])]]),
        ("SELECT ARRAY_LENGTH(ARRAY_AGG(Name)) FROM shop.items", [["4"]]),
        ("SELECT SUM(DISTINCT n) FROM UNNEST([1, 1, 2]) AS n", [["3"]]),
        ("SELECT BIT_OR(n), BIT_AND(n), BIT_XOR(n) FROM UNNEST([1, 3]) AS n", [["3", "1", "2"]]),
        ("SELECT AVG(n) FROM UNNEST([NUMERIC '1', NUMERIC '2', NUMERIC '2']) AS n", [["1.666666667"]]),
        ("SELECT STDDEV_POP(n), VAR_SAMP(n) FROM UNNEST([1, 3]) AS n", [["1.0", "2.0"]]),
        ("SELECT APPROX_COUNT_DISTINCT(Name) FROM shop.items", [["2"]]),
        ("SELECT SUM(price) / COUNT(*) FROM shop.items", [["1.25"]]),
        ("SELECT ANY_VALUE(x) FROM UNNEST([7, 7]) AS x", [["7"]]),
        ("SELECT SUM(IF(Name = 'apple', 1, 0)) FROM shop.items", [["2"]]),
    ],
    "window-function-calls": [
        ("SELECT id, ROW_NUMBER() OVER (ORDER BY price) FROM shop.items ORDER BY id LIMIT 2", [["1", "3"], ["2", "4"]]),
        (
            "SELECT id, RANK() OVER (ORDER BY Name) AS r FROM shop.items ORDER BY id",
            [["1", "3"], ["2", "2"], ["3", "1"], ["4", "3"]],
        ),
        (
            "SELECT id, SUM(id) OVER (PARTITION BY Name ORDER BY id) FROM shop.items ORDER BY id",
            [["1", "1"], ["2", "2"], ["3", "3"], ["4", "5"]],
        ),
        (
            "SELECT id, SUM(id) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM shop.items ORDER BY 1",
            [["1", "1"], ["2", "3"], ["3", "5"], ["4", "7"]],
        ),
        (
            "SELECT id, LAG(id) OVER (ORDER BY id), LEAD(id, 1, 0) OVER (ORDER BY id) FROM shop.items ORDER BY 1",
            [["1", None, "2"], ["2", "1", "3"], ["3", "2", "4"], ["4", "3", "0"]],
        ),
        (
            "SELECT DISTINCT FIRST_VALUE(Name IGNORE NULLS) OVER (ORDER BY Name ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) FROM shop.items",
            [["Bread"]],
        ),
        ("SELECT COUNT(*) OVER () FROM shop.items LIMIT 1", [["4"]]),
        (
            "SELECT id FROM shop.items QUALIFY ROW_NUMBER() OVER (PARTITION BY Name ORDER BY id DESC) = 1 ORDER BY id",
            [["2"], ["3"], ["4"]],
        ),
        ("SELECT id, ROW_NUMBER() OVER (ORDER BY id DESC) AS r FROM shop.items WHERE TRUE QUALIFY r = 1", [["4", "1"]]),
        ("SELECT Name, SUM(SUM(id)) OVER () FROM shop.items GROUP BY Name ORDER BY Name LIMIT 1", [[None, "10"]]),
        ("SELECT NTILE(2) OVER (ORDER BY id) FROM shop.items ORDER BY id", [["1"], ["1"], ["2"], ["2"]]),
        (
            "SELECT k, RANK() OVER (ORDER BY x DESC) FROM shop.odd WHERE k IN (2, 3, 5) ORDER BY k",
            [["2", "2"], ["3", "1"], ["5", "3"]],
        ),
    ],
    "query-syntax#join_types": [
        (
            "SELECT i.id, l.n FROM shop.items AS i JOIN shop.lines AS l ON i.id = l.id ORDER BY 1, 2",
            [["1", "10"], ["1", "20"], ["2", "5"]],
        ),
        (
            "SELECT i.id, l.n FROM shop.items i LEFT JOIN shop.lines l ON i.id = l.id AND l.n > 10 ORDER BY 1",
            [["1", "20"], ["2", None], ["3", None], ["4", None]],
        ),
        ("SELECT id, n FROM shop.items JOIN shop.lines USING (id) ORDER BY n", [["2", "5"], ["1", "10"], ["1", "20"]]),
        (
            "SELECT id, n FROM shop.items FULL JOIN shop.lines USING (id) WHERE n = 1 OR n = 7 ORDER BY n",
            [["9", "1"], [None, "7"]],
        ),
        ("SELECT id FROM shop.items RIGHT JOIN shop.lines USING (id) WHERE n = 1", [["9"]]),
        (
            "SELECT * EXCEPT (tags, sold) FROM shop.lines JOIN shop.items USING (id) WHERE n = 5",
            [["2", "5", "b", "Bread", "3.0"]],
        ),
        ("SELECT COUNT(*) FROM shop.items, shop.lines", [["20"]]),
        ("SELECT COUNT(*) FROM shop.items CROSS JOIN shop.lines", [["20"]]),
        (
            "SELECT id, tag FROM shop.items, UNNEST(tags) AS tag ORDER BY 1, 2",
            [["1", "fruit"], ["1", "red"], ["3", "x"]],
        ),
        ("SELECT i.id, t, o FROM shop.items AS i, i.tags AS t, UNNEST([0]) AS o WHERE id = 3", [["3", "x", "0"]]),
        (
            "SELECT id, tag, at FROM shop.items LEFT JOIN UNNEST(tags) AS tag WITH OFFSET AS at WHERE id < 3 ORDER BY 1, 3",
            [["1", "red", "0"], ["1", "fruit", "1"], ["2", None, None]],
        ),
        (
            "SELECT id, (SELECT COUNT(*) FROM UNNEST(tags)) FROM shop.items ORDER BY id LIMIT 2",
            [["1", "2"], ["2", "0"]],
        ),
        ("SELECT * FROM UNNEST([STRUCT(1 AS a, 'x' AS b)]) WITH OFFSET", [["1", "x", "0"]]),
        ("SELECT a, s.b FROM UNNEST([STRUCT(1 AS a, 'x' AS b)]) AS s", [["1", "x"]]),
        (
            "SELECT id FROM shop.items AS i WHERE EXISTS (SELECT 1 FROM shop.lines AS l WHERE l.id = i.id) ORDER BY 1",
            [["1"], ["2"]],
        ),
        (
            "SELECT id FROM shop.items WHERE id NOT IN (SELECT id FROM shop.lines WHERE id IS NOT NULL) ORDER BY 1",
            [["3"], ["4"]],
        ),
        ("SELECT id FROM shop.items WHERE id NOT IN (SELECT id FROM shop.lines)", []),
        ("SELECT (SELECT MAX(n) FROM shop.lines WHERE lines.id = items.id) FROM shop.items WHERE id = 1", [["20"]]),
    ],
    "query-syntax#set_operators": [
        ("SELECT 1 AS a UNION ALL SELECT 2 ORDER BY a DESC", [["2"], ["1"]]),
        ("SELECT 1 AS a UNION ALL SELECT 2.5 ORDER BY a", [["1.0"], ["2.5"]]),
        ("SELECT 1 UNION DISTINCT SELECT 1", [["1"]]),
        ("SELECT NULL AS a UNION ALL SELECT 'x' ORDER BY 1", [[None], ["x"]]),
        ("SELECT 1 AS a INTERSECT DISTINCT SELECT 1", [["1"]]),
        ("SELECT x FROM UNNEST([1, 2, 2]) AS x EXCEPT DISTINCT SELECT 1", [["2"]]),
        (
            "(SELECT 1 AS a UNION ALL SELECT 2) UNION ALL (SELECT 3 ORDER BY 1 LIMIT 1) ORDER BY a LIMIT 2",
            [["1"], ["2"]],
        ),
    ],
    "query-syntax#with_clause": [
        ("WITH a AS (SELECT 1 AS x), b AS (SELECT x + 1 AS y FROM a) SELECT x, y FROM a, b", [["1", "2"]]),
        ("WITH a AS (SELECT 1 AS x) SELECT * FROM A AS z WHERE z.x = (SELECT MAX(x) FROM a)", [["1"]]),
        ("WITH a AS (SELECT 1 AS x) SELECT x FROM (WITH a AS (SELECT 2 AS x) SELECT x FROM a)", [["2"]]),
        ("WITH a AS (SELECT 1 AS x) SELECT x FROM a UNION ALL SELECT x + 1 FROM a ORDER BY 1", [["1"], ["2"]]),
        ("SELECT loud FROM shop.louder WHERE id = 1", [["APPLE"]]),
        ("SELECT COUNT(*) FROM `shop.louder` AS v JOIN `shop`.`items` AS i USING (id)", [["3"]]),
    ],
}
QUERY_CASES = [
    pytest.param(sql, found, id=f"{page}: {sql[:70]}") for page, cases in QUERIES.items() for sql, found in cases
]


@pytest.mark.parametrize(("sql", "found"), QUERY_CASES)
def test_a_query_has_bigquerys_rows(shop: duckdb.DuckDBPyConnection, sql: str, found: list[list[Any]]) -> None:
    assert rows(shop, sql) == found


def test_the_table_is_as_large_as_it_claims() -> None:
    assert len(SCALAR_CASES) + len(QUERY_CASES) >= 400


#: What fails while it runs, with BigQuery's words.
FAILURES = [
    ("1 / 0", "division by zero: 1 / 0"),
    ("DIV(1, 0)", "division by zero: 1 / 0"),
    ("MOD(1, 0)", "division by zero"),
    ("NUMERIC '1' / 0", "division by zero"),
    ("9223372036854775807 + 1", "overflow"),
    ("1e308 * 10", "Floating point error"),
    ("SQRT(-1)", "Floating point error"),
    ("LN(0)", "Floating point error"),
    ("EXP(1000)", "Floating point error"),
    ("CAST('abc' AS INT64)", "Bad int64 value: abc"),
    ("CAST('1.5' AS INT64)", "Bad int64 value: 1.5"),
    ("CAST('2023-02-29' AS DATE)", "Invalid date: '2023-02-29'"),
    ("CAST('yes' AS BOOL)", "Bad bool value: yes"),
    ("CAST('x' AS TIMESTAMP)", "Invalid timestamp: 'x'"),
    ("CAST('24:00:00' AS TIME)", "Invalid time string"),
    ("CAST('2024-02-29 24:00:00' AS DATETIME)", "Invalid datetime string"),
    ("PARSE_DATE('%Y-%m-%d', '2024/01/01')", "Failed to parse input string"),
    ("[1][OFFSET(1)]", "Array index 1 is out of bounds"),
    ("[1, NULL]", "Array cannot have a null element"),
    ("SUBSTR('a', 1, -1)", "cannot be negative"),
    ("DATE_ADD(DATE '9999-12-31', INTERVAL 1 DAY)", "out of supported range"),
    ("DATE(2023, 2, 29)", "out of range"),
    ("(SELECT x FROM UNNEST([1, 2]) AS x)", "More than one row"),
    ("ERROR('stop here')", "stop here"),
    ("SUM(x) FROM UNNEST([9223372036854775807, 1]) AS x", "overflow"),
    ("CAST(b'\\xff' AS STRING)", ""),
]


@pytest.mark.parametrize(("expression", "words"), FAILURES)
def test_what_fails_at_bigquery_fails_here(shop: duckdb.DuckDBPyConnection, expression: str, words: str) -> None:
    with pytest.raises(InvalidQuery) as caught:
        rows(shop, f"SELECT {expression}")
    assert words.lower() in str(caught.value).lower()
    assert "not supported by the local cloud" not in str(caught.value)
