"""The Spark job's reading of CSV, held to Python's csv module; the JVM has its turn in test_staging_to_fact.py."""

from __future__ import annotations

import csv
import io
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

EPOCH = date(1970, 1, 1)
URI = "gs://bucket/test.csv"

ids = st.integers(-(2**63), 2**63 - 1)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufffd"))
tables = st.lists(st.tuples(ids, texts, st.dates()))
# before Python 3.13 the writer leaves a bare CR unquoted unless CR ends its lines
dialects = st.sampled_from([("\n", csv.QUOTE_ALL), ("\r\n", csv.QUOTE_ALL), ("\r\n", csv.QUOTE_MINIMAL)])


def lines(content: bytes) -> list[bytes]:
    """Split as Spark does: at line feeds only."""
    return content.removesuffix(b"\n").split(b"\n") if content else []


def read(job: dict[str, Any], content: bytes) -> list[tuple[int, str, date]]:
    found = job["rows"](lines(content), URI)
    return [(number, category, EPOCH + timedelta(days=days)) for number, category, days in found]


@given(rows=tables, dialect=dialects)
def test_what_the_csv_module_writes_is_read_back_exactly(
    job: dict[str, Any], rows: list[tuple[int, str, date]], dialect: tuple[str, Any]
) -> None:
    line_end, quoting = dialect
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator=line_end, quoting=quoting)
    writer.writerow(job["HEADER"])
    writer.writerows(rows)

    assert read(job, file.getvalue().encode()) == rows


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(b"1,a,2022-01-01\n2,b,2022-01-01\r\n3,c,2022-01-01", ["a", "b", "c"], id="mixed line ends"),
        pytest.param(b'1,"a\r\nb",2022-01-01\r\n2,"a\nb\r",2022-01-01\r\n', ["a\r\nb", "a\nb\r"], id="quoted"),
        pytest.param(b'\n1,"a\n\n\nb",2022-01-01\n\n\n', ["a\n\n\nb"], id="blank lines"),
        pytest.param(b'1,,2022-01-01\n2,"",2022-01-01\n', ["", ""], id="empty"),
        pytest.param(b'1, a ,2022-01-01\n2," a ",2022-01-01\n', [" a ", " a "], id="blanks"),
        pytest.param(b'1,"a ""b"" , c",2022-01-01\n', ['a "b" , c'], id="quotes"),
        pytest.param(b'1,a"b,2022-01-01\n2,a\\,2022-01-01\n', ['a"b', "a\\"], id="neither quote nor escape"),
        pytest.param(b"1,NULL,2022-01-01\n2,\\N,2022-01-01\n", ["NULL", "\\N"], id="no null"),
        pytest.param("1,\u2028\x85\x0b\x1c,2022-01-01\n".encode(), ["\u2028\x85\x0b\x1c"], id="other separators"),
    ],
)
def test_categories_come_through_as_they_are(job: dict[str, Any], content: bytes, expected: list[str]) -> None:
    assert [category for _, category, _ in read(job, b"col1,col2,col3\n" + content)] == expected


def test_a_byte_order_mark_is_no_part_of_the_header(job: dict[str, Any]) -> None:
    assert read(job, b'\xef\xbb\xbf"col1",col2,col3\n1,a,2022-01-01\n') == [(1, "a", date(2022, 1, 1))]


@pytest.mark.parametrize("text", ["0", "-0", "+5", "007", str(2**63 - 1), str(-(2**63))])
def test_integers(job: dict[str, Any], text: str) -> None:
    assert job["integer"](text) == int(text)


@pytest.mark.parametrize("text", ["0001-01-01", "1582-10-10", "2000-02-29", "2024-02-29", "9999-12-31"])
def test_dates(job: dict[str, Any], text: str) -> None:
    assert EPOCH + timedelta(days=job["day"](text)) == date.fromisoformat(text)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        pytest.param("1,cars", "expected 3 columns, found 2", id="too few columns"),
        pytest.param("1,cars,2022-01-01,x", "expected 3 columns, found 4", id="too many columns"),
        pytest.param("one,cars,2022-01-01", "col1: expected a 64-bit integer, found 'one'", id="no integer"),
        pytest.param(",cars,2022-01-01", "col1: expected a 64-bit integer, found ''", id="empty integer"),
        pytest.param("1.0,cars,2022-01-01", "col1: expected a 64-bit integer, found '1.0'", id="fraction"),
        pytest.param(" 1,cars,2022-01-01", "col1: expected a 64-bit integer, found ' 1'", id="blank before integer"),
        pytest.param("1_0,cars,2022-01-01", "col1: expected a 64-bit integer, found '1_0'", id="underscore"),
        pytest.param("٣,cars,2022-01-01", "col1: expected a 64-bit integer, found '٣'", id="other digits"),
        pytest.param(f"{2**63},cars,2022-01-01", "col1: expected a 64-bit integer", id="integer too large"),
        pytest.param("1,cars,2021-02-29", "col3: impossible date '2021-02-29'", id="no leap year"),
        pytest.param("1,cars,2022-13-01", "col3: impossible date '2022-13-01'", id="month 13"),
        pytest.param("1,cars,0000-01-01", "col3: impossible date '0000-01-01'", id="year 0"),
        pytest.param("1,cars,2022-1-1", "col3: expected a date such as 2022-01-31, found '2022-1-1'", id="short date"),
        pytest.param("1,cars,20220101", "col3: expected a date such as 2022-01-31", id="compact date"),
        pytest.param("1,cars,2022-01-01 00:00", "col3: expected a date such as 2022-01-31", id="time"),
        pytest.param("1,cars,", "col3: expected a date such as 2022-01-31, found ''", id="empty date"),
        pytest.param('1,"cars" ,2022-01-01', "',' expected after '\"'", id="blank behind a quote"),
        pytest.param('1,"ca"rs,2022-01-01', "',' expected after '\"'", id="text behind a quote"),
        pytest.param('1,"cars,2022-01-01', "unexpected end of data", id="quote never closed"),
        pytest.param("col1,col2,col3", "col1: expected a 64-bit integer, found 'col1'", id="header again"),
        pytest.param("1,cars\rfood,2022-01-01", "new-line character seen in unquoted field", id="bare CR"),
    ],
)
def test_a_malformed_row_is_named_and_shown(job: dict[str, Any], row: str, reason: str) -> None:
    content = f"col1,col2,col3\n7,food,2021-01-01\n{row}\n".encode()

    with pytest.raises(job["MalformedInput"]) as raised:
        read(job, content)

    message = str(raised.value)
    assert message.startswith(f"{URI}, line 3: {reason}")
    assert repr(row) in message
    assert "\n" not in message


def test_bytes_that_are_not_utf8_are_refused(job: dict[str, Any]) -> None:
    with pytest.raises(job["MalformedInput"], match=r"line 2: 'utf-8' codec can't decode byte 0xe9.*1,caf\\\\xe9,2022"):
        read(job, b"col1,col2,col3\n1,caf\xe9,2022-01-01\n")


def test_what_hadoop_makes_of_such_bytes_is_refused(job: dict[str, Any]) -> None:
    with pytest.raises(job["MalformedInput"], match=r"line 2: expected UTF-8, found other bytes"):
        read(job, "col1,col2,col3\n1,caf\ufffd,2022-01-01\n".encode())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"col1,col2\n",
        b"col1,col3,col2\n",
        b"COL1,col2,col3\n",
        b"col1, col2,col3\n",
        b"1,cars,2022-01-01\n",
    ],
)
def test_the_header_must_be_right(job: dict[str, Any], content: bytes) -> None:
    with pytest.raises(job["MalformedInput"], match=r"expected the header col1,col2,col3"):
        read(job, content)


def test_a_long_row_is_cut_in_the_message(job: dict[str, Any]) -> None:
    with pytest.raises(job["MalformedInput"]) as raised:
        read(job, b'col1,col2,col3\n1,"' + b"x\n" * 10_000)

    assert len(str(raised.value)) < 1000


def test_rows_before_the_malformed_one_are_no_reason_to_go_on(job: dict[str, Any]) -> None:
    found = job["rows"](lines(b"col1,col2,col3\n1,a,2022-01-01\nx,a,2022-01-01\n"), URI)

    assert next(found)[0] == 1
    with pytest.raises(job["MalformedInput"]):
        next(found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Job aborted ...\n__main__.MalformedInput: gs://b/o, line 2: bad\n\tat java", "gs://b/o, line 2: bad"),
        ("InvalidInputException: Input path does not exist: gs://bucket/test.csv", f"{URI}: no such object"),
        ("java.lang.OutOfMemoryError", None),
    ],
)
def test_only_what_is_understood_is_explained(job: dict[str, Any], text: str, expected: str | None) -> None:
    assert job["explained"](RuntimeError(text), URI) == expected
