"""Column definitions and names that came as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pydag_gcp.errors import DefinitionError
from pydag_gcp.pydag2022.columns import column_definitions, quoted_names, quoted_path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("id int64, category string", "`id` INT64, `category` STRING"),
        ("  id   INT64  not null ", "`id` INT64 NOT NULL"),
        ("price numeric(10, 2), code string(3)", "`price` NUMERIC(10, 2), `code` STRING(3)"),
        ("tags array<string>", "`tags` ARRAY<STRING>"),
        ("a struct<x int64, y array<date>>", "`a` STRUCT<`x` INT64, `y` ARRAY<DATE>>"),
        ("select int64", "`select` INT64"),
    ],
)
def test_definitions_are_written_anew(text: str, expected: str) -> None:
    assert column_definitions(text) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "expected the name of a column, found the end"),
        ("id", "is no type of a column; write '<name> <type>"),
        ("id strng", "'strng' is no type of a column; did you mean 'STRING'?"),
        ("id int64,", "expected the name of a column, found the end"),
        ("id int64 name string", "expected a comma or the end, found 'name'"),
        ("id int64 default 1", "expected a comma or the end, found 'default'"),
        ("id int64) as select 1", r"expected a comma or the end, found '\)'"),
        ("id int64; drop table x", "found ';'"),
        ("id int64 -- comment", "found '--'"),
        ("1d int64", "expected the name of a column, found '1d'"),
        ("a array<int64", "expected '>', found the end"),
        ("a string(x)", "expected a whole number, found 'x'"),
        ("a " + "array<" * 20 + "int64" + ">" * 20, "'array' is no type of a column"),
    ],
)
def test_anything_else_is_refused(text: str, reason: str) -> None:
    with pytest.raises(DefinitionError, match=reason):
        column_definitions(text)


def test_names_are_quoted() -> None:
    assert quoted_path("my-project.sales.orders") == "`my-project`.`sales`.`orders`"
    assert quoted_names("a, b-c ,select") == "`a`, `b-c`, `select`"


@pytest.mark.parametrize("name", ["", "1a", "a.b", "a b", "`a`", "é"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(DefinitionError, match="is no such name"):
        quoted_names(f"ok, {name}")


@given(st.text(max_size=20))
def test_what_is_quoted_holds_no_quote(text: str) -> None:
    try:
        written = quoted_names(text)
    except DefinitionError:
        return
    assert {character for character in written.replace("`", "") if not character.isalnum()} <= set("_-., ")
    assert written.isascii()
