"""Literals, identifiers and tokens: what we write, BigQuery's lexical rules read back as it was.

https://cloud.google.com/bigquery/docs/reference/standard-sql/lexical
"""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
import sqlglot
from hypothesis import given
from hypothesis import strategies as st
from sqlglot import exp

from pydag_gcp.errors import DefinitionError
from pydag_gcp.googlesql import Unclosed, identifier, literal, table_path, tokens
from pydag_gcp.resources import Cluster, GCSObject, Table

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="`\\"), min_size=1)


def parsed(sql: str) -> exp.Expr:
    """The one column of ``SELECT sql``."""
    (tree,) = sqlglot.parse(f"SELECT {sql}", read="bigquery")
    assert isinstance(tree, exp.Select)
    assert set(tree.args) - {k for k, v in tree.args.items() if not v} == {"expressions"}
    (column,) = tree.expressions
    assert isinstance(column, exp.Expr)
    return column


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "NULL"),
        (True, "TRUE"),
        (False, "FALSE"),
        (0, "0"),
        (-5, "-5"),
        (2**63 - 1, "9223372036854775807"),
        (1.5, "1.5"),
        (1e22, "1e+22"),
        (math.inf, "CAST('inf' AS FLOAT64)"),
        (-math.inf, "CAST('-inf' AS FLOAT64)"),
        (math.nan, "CAST('nan' AS FLOAT64)"),
        (Decimal("1.50"), "NUMERIC '1.50'"),
        (Decimal("1E+5"), "NUMERIC '100000'"),
        (Decimal("0.0000000001"), "BIGNUMERIC '0.0000000001'"),
        (Decimal(10) ** 30, "BIGNUMERIC '1" + "0" * 30 + "'"),
        ("", "''"),
        ("it's", r"'it\'s'"),
        ("a\\b", r"'a\\b'"),
        ("a\nb\r\tc\0", r"'a\nb\r\tc\x00'"),
        ('"`ü…', "'\"`ü…'"),
        (b"a'\\\x00\xff", r"b'a\x27\x5c\x00\xff'"),
        (date(2022, 1, 31), "DATE '2022-01-31'"),
        (datetime(2022, 1, 31, 7, 8, 9), "DATETIME '2022-01-31 07:08:09'"),  # noqa: DTZ001  that is the case
        (datetime(2022, 1, 31, 7, 8, 9, 10, tzinfo=UTC), "TIMESTAMP '2022-01-31 07:08:09.000010+00:00'"),
        (datetime(2022, 1, 31, 1, tzinfo=timezone(timedelta(hours=2))), "TIMESTAMP '2022-01-30 23:00:00+00:00'"),
        (time(7, 8), "TIME '07:08:00'"),
        (GCSObject("gs://bucket/it's"), r"'gs://bucket/it\'s'"),
        ([], "[]"),
        ([1, None, 2.5], "[1, NULL, 2.5]"),
        (("a", "b'"), r"['a', 'b\'']"),
    ],
)
def test_literals(value: Any, text: str) -> None:
    assert literal(value) == text
    parsed(literal(value))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (2**63, "does not fit INT64; pass it as a decimal.Decimal"),
        (Decimal("NaN"), "is no NUMERIC"),
        (Decimal(10) ** 40, "does not fit BIGNUMERIC"),
        ("\ud800", "is no Unicode text"),
        (timedelta(1), "a timedelta has no GoogleSQL literal"),
        (time(7, tzinfo=UTC), "a TIME has no time zone"),
        ({"a": 1}, "a dict has no GoogleSQL literal"),
        ({1}, "a set has no order: pass a sorted list"),
        (Table("d.t"), "a table stands alone"),
        ([Table("d.t")], "{{ names | csv }}"),
        (Cluster("c"), "a Cluster has no GoogleSQL literal"),
        ([[1], [2]], "no arrays of arrays"),
        ([1, "a"], "an array holds one type, got int, str"),
        ([True, 1], "an array holds one type, got bool, int"),
        ([datetime(2022, 1, 1), datetime(2022, 1, 1, tzinfo=UTC)], "with time zone"),  # noqa: DTZ001  that is the case
    ],
)
def test_what_has_no_literal_is_refused(value: Any, message: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        literal(value)
    assert message in str(caught.value)


@given(TEXT)
def test_a_string_literal_reads_back_as_the_string(text: str) -> None:
    column = parsed(literal(text))
    assert isinstance(column, exp.Literal)
    assert column.is_string
    assert column.this == text


@given(TEXT)
def test_a_string_literal_is_one_token_on_one_line(text: str) -> None:
    written = literal(text)
    (token,) = tokens(written)
    assert (token.kind, token.start, token.end) == ("string", 0, len(written))
    assert "\n" not in written
    assert "\r" not in written


@given(st.binary())
def test_a_bytes_literal_is_one_token(data: bytes) -> None:
    written = literal(data)
    (token,) = tokens(written)
    assert (token.kind, token.end) == ("string", len(written))
    assert written.isascii()


@given(st.lists(TEXT))
def test_an_array_reads_back_as_its_elements(texts: list[str]) -> None:
    column = parsed(literal(texts))
    assert isinstance(column, exp.Array)
    assert [element.this for element in column.expressions] == texts


@given(st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_reads_back_as_the_number(number: float) -> None:
    column = parsed(literal(number))
    sign = -1 if isinstance(column, exp.Neg) else 1
    text = column.this.this if isinstance(column, exp.Neg) else column.this
    assert sign * type(number)(text) == number


@given(NAMES)
def test_an_identifier_reads_back_as_the_name(name: str) -> None:
    column = parsed(f"1 AS {identifier(name)}")
    assert column.alias == name
    (token,) = tokens(identifier(name))
    assert token.kind == "quoted"


@pytest.mark.parametrize("name", ["", "a`b", "a\\", "a\nb", None, 1])
def test_what_is_no_name_is_refused(name: object) -> None:
    with pytest.raises(DefinitionError):
        identifier(name)


def test_a_table_is_a_path_of_identifiers() -> None:
    assert table_path(Table("my-project.d.t x")) == "`my-project`.`d`.`t x`"
    assert table_path(Table("example.com:legacy.d.events_*")) == "`example.com:legacy`.`d`.`events_*`"


def test_a_partition_has_no_name_in_sql() -> None:
    with pytest.raises(DefinitionError, match="names a partition, which SQL cannot"):
        table_path(Table("proj.d.t$20220131"))


@pytest.mark.parametrize(
    ("sql", "kinds"),
    [
        ("SELECT 'a', \"b\" FROM `c d`", "word string mark string word quoted"),
        (r"'it\'s' r'\'' rb'''a'b''' Br\"\"\"c\"d\"\"\"".replace('\\"', '"'), "string string string string"),
        ("bar'x'", "word string"),
        ("a -- it's\nb # it's\nc /* it's\n/* */ d", "word comment word comment word comment word"),
        ("@p @@project_id a@b", "parameter word word parameter"),
        ("'--' '/*' `#`", "string string quoted"),
        ("a-1", "word mark word"),
    ],
)
def test_tokens(sql: str, kinds: str) -> None:
    assert [token.kind for token in tokens(sql)] == kinds.split()


@pytest.mark.parametrize(
    ("sql", "offset"),
    [("SELECT 'a", 7), ("'a\n'", 0), ("x `a", 2), ("/* /* x", 0), ("x '''a'' ", 2), ('""" "', 0), (r"'\'", 0)],
)
def test_what_is_never_closed_is_found(sql: str, offset: int) -> None:
    with pytest.raises(Unclosed) as caught:
        list(tokens(sql))
    assert caught.value.offset == offset


def covered(sql: str) -> tuple[list[tuple[int, int]], int]:
    """The stretches of SQL that are tokens, and where an unclosed one begins or the text ends."""
    spans: list[tuple[int, int]] = []
    try:
        spans.extend((token.start, token.end) for token in tokens(sql))
    except Unclosed as error:
        return spans, error.offset
    return spans, len(sql)


@given(st.text("ab'\"`\\\n-#/*@rb1 ;"))
def test_tokens_cover_all_but_white_space(sql: str) -> None:
    spans, end = covered(sql)
    gaps = zip([0, *(end for _, end in spans)], [*(start for start, _ in spans), end], strict=True)
    assert all(start < end for start, end in spans)
    assert all(sql[start:end].strip() == "" for start, end in gaps)
