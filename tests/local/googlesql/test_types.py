"""BigQuery's types: https://cloud.google.com/bigquery/docs/reference/rest/v2/tables#TableFieldSchema."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pydag_gcp.local.googlesql.types import (
    Field,
    Type,
    UnsupportedType,
    array,
    duckdb_type,
    field_of,
    quoted,
    standard_name,
)

NAMES = st.text("abcxyzABC_", min_size=1, max_size=5)
SIMPLE = st.builds(
    Field,
    name=NAMES,
    type=st.sampled_from(["INT64", "FLOAT64", "BOOL", "STRING", "BYTES", "DATE", "TIMESTAMP", "NUMERIC", "JSON"]),
    mode=st.sampled_from(["NULLABLE", "REQUIRED", "REPEATED"]),
    description=st.none() | st.text(max_size=5),
)
FIELDS = st.recursive(
    SIMPLE,
    lambda inner: st.builds(
        Field,
        name=NAMES,
        type=st.just("STRUCT"),
        mode=st.sampled_from(["NULLABLE", "REPEATED"]),
        fields=st.lists(inner, min_size=1, max_size=3).map(tuple),
    ),
    max_leaves=5,
)


@given(FIELDS)
def test_a_field_survives_the_api(field: Field) -> None:
    assert Field.from_api(field.to_api()) == field


def test_the_api_speaks_legacy_names_and_reads_both() -> None:
    assert Field(name="a", type="INT64").to_api() == {"name": "a", "type": "INTEGER", "mode": "NULLABLE"}
    assert Field.from_api({"name": "a", "type": "int64"}) == Field.from_api({"name": "a", "type": "INTEGER"})
    sized = Field.from_api({"name": "a", "type": "NUMERIC", "precision": "10", "scale": "2"})
    assert (sized.precision, sized.scale) == (10, 2)
    assert sized.to_api()["precision"] == "10"


@pytest.mark.parametrize(
    ("resource", "words"),
    [
        ({"type": "STRING"}, "has no name"),
        ({"name": "a", "type": "STRING", "mode": "MANY"}, "mode MANY"),
        ({"name": "a", "type": "RECORD"}, "Field a is type RECORD but has no schema"),
        ({"name": "a", "type": "GEOGRAPHY"}, "type GEOGRAPHY"),
        ({"name": "a"}, "type (none)"),
    ],
)
def test_a_field_that_is_none_is_refused(resource: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (the words are asserted below)
        Field.from_api(resource)
    assert words in str(caught.value)


@pytest.mark.parametrize("name", ["BIGNUMERIC", "GEOGRAPHY", "INTERVAL", "RANGE", "NONSENSE"])
def test_types_that_we_do_not_hold_are_refused_by_name(name: str) -> None:
    with pytest.raises(UnsupportedType, match=f"type {name}"):
        standard_name(name)


def test_how_duckdb_stores_each() -> None:
    struct = Field(name="s", type="STRUCT", mode="REPEATED", fields=(Field(name='a"b', type="TIMESTAMP"),))
    assert duckdb_type(Field(name="n", type="NUMERIC")) == "DECIMAL(38,9)"
    assert duckdb_type(struct) == 'STRUCT("a""b" TIMESTAMPTZ)[]'
    assert quoted('a"b') == '"a""b"'


def test_a_type_prints_as_googlesql_and_makes_a_field() -> None:
    kind = array(Type("STRUCT", members=(("a", Type("INT64")), ("", Type("STRING")))))
    assert str(kind) == "ARRAY<STRUCT<a INT64, STRING>>"
    field = field_of("x", kind)
    assert field.mode == "REPEATED"
    assert [child.name for child in field.fields] == ["a", "_field_2"]
    assert field_of("n", Type("NULL")).type == "INT64"
