"""https://cloud.google.com/bigquery/docs/parameterized-queries#python."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pytest

from pydag_gcp.operators.bound import query_parameters, type_of


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (True, "BOOL"),
        (-(2**63), "INT64"),
        (1.5, "FLOAT64"),
        ("a", "STRING"),
        (b"a", "BYTES"),
        (Decimal("1.123456789"), "NUMERIC"),
        (Decimal("1.1234567891"), "BIGNUMERIC"),  # 10 digits behind the point, NUMERIC has 9
        (Decimal("1E28"), "NUMERIC"),  # 29 digits before it
        (Decimal("1E29"), "BIGNUMERIC"),
        (date(2022, 1, 31), "DATE"),
        (datetime(2022, 1, 31), "DATETIME"),  # noqa: DTZ001  a DATETIME has no zone
        (datetime(2022, 1, 31, tzinfo=UTC), "TIMESTAMP"),
        (time(12), "TIME"),
    ],
)
def test_a_python_value_has_a_googlesql_type(value: Any, kind: str) -> None:
    assert type_of("p", value) == kind


def test_values_are_sent_as_text() -> None:
    assert query_parameters({"n": 1, "day": date(2022, 1, 31), "ids": [1, 2]}) == [
        {"name": "n", "parameterType": {"type": "INT64"}, "parameterValue": {"value": "1"}},
        {"name": "day", "parameterType": {"type": "DATE"}, "parameterValue": {"value": "2022-01-31"}},
        {
            "name": "ids",
            "parameterType": {"type": "ARRAY", "arrayType": {"type": "INT64"}},
            "parameterValue": {"arrayValues": [{"value": "1"}, {"value": "2"}]},
        },
    ]


def test_decimals_of_both_kinds_make_the_wider_array() -> None:
    [parameter] = query_parameters({"p": [Decimal(1), Decimal("1E30")]})

    assert parameter["parameterType"]["arrayType"]["type"] == "BIGNUMERIC"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (2**63, "'p': 9223372036854775808 does not fit INT64"),
        (None, "has no GoogleSQL type; write {{ p }} for NULL"),
        ([], "the list is empty, so its type is not known"),
        ([1, "a"], "the list mixes INT64, STRING"),
        ([1, True], "the list mixes BOOL, INT64"),
        (Decimal("NaN"), "NUMERIC has no NaN"),
        (time(12, tzinfo=UTC), "has no GoogleSQL type"),
        ({"a": 1}, "has no GoogleSQL type"),
    ],
)
def test_what_has_no_type_is_refused(value: Any, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        query_parameters({"p": value})
