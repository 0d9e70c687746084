# ruff: noqa: DTZ001 - a DATETIME has no time zone
"""Values on the wire: https://cloud.google.com/bigquery/docs/reference/rest/v2/jobs/getQueryResults."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal
from typing import Any

import pytest
from google.cloud.bigquery import SchemaField
from google.cloud.bigquery._helpers import _row_tuple_from_json
from hypothesis import given
from hypothesis import strategies as st

from pydag_gcp.local.googlesql.syntax import InvalidQuery, Unsupported
from pydag_gcp.local.googlesql.types import Field, Type, array
from pydag_gcp.local.googlesql.wire import Parameter, decode, decode_parameter, encode

UTC_TIMES = st.datetimes(dt.datetime(1, 1, 2), dt.datetime(9999, 12, 30), timezones=st.just(dt.UTC))
NUMERICS = st.decimals(Decimal("-1e28"), Decimal("1e28"), places=9, allow_nan=False, allow_infinity=False)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "INT64": st.integers(-(2**63), 2**63 - 1),
    "FLOAT64": st.floats(allow_nan=False),
    "BOOL": st.booleans(),
    "STRING": st.text(),
    "BYTES": st.binary(),
    "DATE": st.dates(),
    "TIME": st.times(),
    "DATETIME": st.datetimes(),
    "NUMERIC": NUMERICS,
    "TIMESTAMP": UTC_TIMES,
}


@pytest.mark.parametrize("kind", VALUES)
def test_what_is_encoded_is_decoded_to_the_same_value(kind: str) -> None:
    @given(VALUES[kind])
    def law(value: Any) -> None:
        field = Field(name="x", type=kind)
        assert decode(encode(value, field), field) == value

    law()


@pytest.mark.parametrize("kind", [kind for kind in VALUES if kind != "JSON"])
def test_googles_client_reads_what_is_encoded(kind: str) -> None:
    @given(VALUES[kind])
    def law(value: Any) -> None:
        field = Field(name="x", type=kind)
        cell = encode(value, field, int64_timestamps=True)
        (read,) = _row_tuple_from_json({"f": [{"v": cell}]}, [SchemaField("x", kind)])
        assert read == value

    law()


ENCODED = [
    (None, "INT64", None),
    (math.nan, "FLOAT64", "NaN"),
    (-math.inf, "FLOAT64", "-Infinity"),
    (True, "BOOL", "true"),
    (b"\x00\xff", "BYTES", "AP8="),
    (dt.date(99, 1, 2), "DATE", "0099-01-02"),
    (dt.datetime(2024, 2, 29, 1, 2, 3), "DATETIME", "2024-02-29T01:02:03"),
    (dt.time(1, 2, 3, 500000), "TIME", "01:02:03.500000"),
    (dt.datetime(1969, 12, 31, 23, 59, 59, 500000, tzinfo=dt.UTC), "TIMESTAMP", "-0.500000"),
    (1_500_000, "TIMESTAMP", "1.500000"),
    (Decimal("1.500000000"), "NUMERIC", "1.5"),
    (Decimal("0E-9"), "NUMERIC", "0"),
    (Decimal("1E+3"), "NUMERIC", "1000"),
    ('{"a":1}', "JSON", '{"a":1}'),
]


@pytest.mark.parametrize(("value", "kind", "expected"), ENCODED)
def test_a_value_is_encoded_as_the_api_does(value: object, kind: str, expected: object) -> None:
    assert encode(value, Field(name="x", type=kind)) == expected


def test_timestamps_may_be_whole_microseconds() -> None:
    """formatOptions.useInt64Timestamp."""
    moment = dt.datetime(2024, 2, 29, tzinfo=dt.UTC)
    assert encode(moment, Field(name="x", type="TIMESTAMP"), int64_timestamps=True) == "1709164800000000"


def test_arrays_and_structs_nest() -> None:
    inner = Field(name="s", type="STRUCT", mode="REPEATED", fields=(Field(name="a", type="INT64"),))
    assert encode([{"a": 1}, {"a": None}], inner) == [{"v": {"f": [{"v": "1"}]}}, {"v": {"f": [{"v": None}]}}]
    assert encode(None, inner) == []


DECODED = [
    ("5", "INT64", 5),
    (5, "INT64", 5),
    (1, "FLOAT64", 1.0),
    ("-inf", "FLOAT64", -math.inf),
    ("TRUE", "BOOL", True),
    (7, "STRING", "7"),
    ("2024-2-9", "DATE", dt.date(2024, 2, 9)),
    ("2024-02-29 01:02:03.5", "DATETIME", dt.datetime(2024, 2, 29, 1, 2, 3, 500000)),
    ("2024-02-29T01:02:03Z", "TIMESTAMP", dt.datetime(2024, 2, 29, 1, 2, 3, tzinfo=dt.UTC)),
    ("2024-02-29 01:00:00+01:00", "TIMESTAMP", dt.datetime(2024, 2, 29, tzinfo=dt.UTC)),
    ("2024-02-29 01:00:00 UTC", "TIMESTAMP", dt.datetime(2024, 2, 29, 1, tzinfo=dt.UTC)),
    (1.5, "TIMESTAMP", dt.datetime(1970, 1, 1, 0, 0, 1, 500000, tzinfo=dt.UTC)),
    ("1709164800", "TIMESTAMP", dt.datetime(2024, 2, 29, tzinfo=dt.UTC)),
    (0.1, "NUMERIC", Decimal("0.100000000")),
    ("1.0000000005", "NUMERIC", Decimal("1.000000001")),
    ({"a": [1]}, "JSON", '{"a":[1]}'),
]


@pytest.mark.parametrize(("value", "kind", "expected"), DECODED)
def test_a_json_value_is_decoded(value: object, kind: str, expected: object) -> None:
    assert decode(value, Field(name="x", type=kind)) == expected


WRONG = [
    ("1.5", "INT64"), (True, "INT64"), (2**63, "INT64"), ("1_000", "INT64"), ("x", "FLOAT64"), ("1e999", "FLOAT64"),
    ("yes", "BOOL"), (1.5, "STRING"), ("é", "BYTES"), ("2023-02-29", "DATE"), ("2024-02-29 01:02", "DATETIME"),
    ("2024-02-29 01:02:03Z", "DATETIME"), ("24:00:00", "TIME"), ("never", "TIMESTAMP"), ("NaN", "NUMERIC"),
    ("1e29", "NUMERIC"), ("{", "JSON"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "kind"), WRONG)
def test_a_json_value_that_does_not_fit_is_an_error_that_shows_it(value: object, kind: str) -> None:
    with pytest.raises(ValueError, match="Value: ") as caught:
        decode(value, Field(name="x", type=kind))
    assert str(value)[:20] in str(caught.value)


def test_a_parameter_has_a_name_a_type_and_a_value() -> None:
    """https://cloud.google.com/bigquery/docs/reference/rest/v2/QueryParameter."""
    resource = {
        "name": "ids",
        "parameterType": {"type": "ARRAY", "arrayType": {"type": "INT64"}},
        "parameterValue": {"arrayValues": [{"value": "1"}, {"value": "2"}]},
    }
    assert decode_parameter(resource) == Parameter(name="ids", type=array(Type("INT64")), value=[1, 2])


def test_a_parameter_without_a_value_is_null() -> None:
    found = decode_parameter({"parameterType": {"type": "STRING"}, "parameterValue": {}})
    assert found == Parameter(name=None, type=Type("STRING"), value=None)


def test_a_parameter_that_does_not_fit_its_type_is_refused() -> None:
    resource = {"name": "p", "parameterType": {"type": "DATE"}, "parameterValue": {"value": "soon"}}
    with pytest.raises(InvalidQuery, match=r"Invalid value for query parameter @p of type DATE: Value: soon"):
        decode_parameter(resource)


def test_a_parameter_of_a_type_that_we_do_not_hold_is_refused_by_name() -> None:
    with pytest.raises(Unsupported, match="type GEOGRAPHY of query parameter @p"):
        decode_parameter({"name": "p", "parameterType": {"type": "GEOGRAPHY"}, "parameterValue": {"value": "x"}})
