"""Values bound to ``@name`` in a query.

https://cloud.google.com/bigquery/docs/parameterized-queries
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from pydag_gcp.operator import Json

# https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types#numeric_types
_INT64 = range(-(2**63), 2**63)
_NUMERIC_SCALE, _NUMERIC_DIGITS = 9, 29


def query_parameters(values: Mapping[str, Any]) -> list[dict[str, Json]]:
    """Make the ``queryParameters`` of a query configuration.

    Args:
        values: Name -> scalar, or a list of scalars of one type.

    Raises:
        ValueError: A value has no GoogleSQL type, or a list mixes types; names the parameter.
    """
    from google.cloud.bigquery import ArrayQueryParameter, ScalarQueryParameter

    parameters: list[dict[str, Json]] = []
    for name, value in values.items():
        if isinstance(value, (list, tuple)):
            array = ArrayQueryParameter(name, _element_type(name, value), list(value))
            parameters.append(dict(array.to_api_repr()))
        else:
            scalar = ScalarQueryParameter(name, type_of(name, value), value)
            parameters.append(dict(scalar.to_api_repr()))
    return parameters


def type_of(name: str, value: Any) -> str:
    """The GoogleSQL type that a Python value is bound as.

    Raises:
        ValueError: There is none.
    """
    match value:
        case bool():
            return "BOOL"
        case int() if value in _INT64:
            return "INT64"
        case int():
            raise ValueError(f"parameter {name!r}: {value} does not fit INT64; write it as a Decimal")
        case float():
            return "FLOAT64"
        case str():
            return "STRING"
        case bytes():
            return "BYTES"
        case Decimal():
            return _decimal_type(name, value)
        case datetime():
            return "DATETIME" if value.tzinfo is None else "TIMESTAMP"
        case date():
            return "DATE"
        case time() if value.tzinfo is None:
            return "TIME"
        case _:
            hint = f"write {{{{ {name} }}}} for NULL" if value is None else "bind a scalar or a list of scalars"
            raise ValueError(f"parameter {name!r}: {value!r} has no GoogleSQL type; {hint}")


def _decimal_type(name: str, value: Decimal) -> str:
    if not value.is_finite():
        raise ValueError(f"parameter {name!r}: NUMERIC has no {value}")
    _, digits, exponent = value.as_tuple()
    scale = max(0, -int(exponent))
    whole = max(0, len(digits) + int(exponent))
    return "NUMERIC" if scale <= _NUMERIC_SCALE and whole <= _NUMERIC_DIGITS else "BIGNUMERIC"


def _element_type(name: str, values: list[Any] | tuple[Any, ...]) -> str:
    types = {type_of(name, value) for value in values}
    if types == {"NUMERIC", "BIGNUMERIC"}:
        return "BIGNUMERIC"
    if len(types) != 1:
        mixed = f"mixes {', '.join(sorted(types))}" if types else "is empty, so its type is not known"
        raise ValueError(f"parameter {name!r}: the list {mixed}; write {{{{ {name} }}}} for a literal")
    return types.pop()
