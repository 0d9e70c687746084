"""A span of time in a field: a timedelta, a number of seconds, or ``{hours: 1, minutes: 30}``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, WithJsonSchema
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from pydag_gcp.errors import DefinitionError, did_you_mean

#: The names that a mapping may give.
UNITS: Final = ("weeks", "days", "hours", "minutes", "seconds")

_MAPPING: Final = {
    "type": "object",
    "properties": {unit: {"type": "number"} for unit in UNITS},
    "additionalProperties": False,
    "minProperties": 1,
}


def _from_mapping(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    if not value or not value.keys() <= set(UNITS):
        wrong = next((str(name) for name in value if name not in UNITS), "")
        hint = did_you_mean(wrong, UNITS)
        raise DefinitionError(f"expected a mapping of {', '.join(UNITS)}, got {dict(value)!r}", hint=hint)
    for unit, number in value.items():
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            raise ValueError(f"expected a number of {unit}, got {number!r}")  # noqa: TRY004  pydantic wants a ValueError
    try:
        return timedelta(**value)
    except OverflowError:
        raise ValueError(f"is too long, got {dict(value)!r}") from None


def _seconds(value: Any) -> Any:
    span = _from_mapping(value)
    return span.total_seconds() if isinstance(span, timedelta) else span


class _Span:
    """Makes a timedelta accept a mapping; bounds stand before it: ``Annotated[timedelta, Field(gt=...), SPAN]``."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(_from_mapping, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        seconds = {"type": "number", "description": "Seconds"}
        text = {"type": "string", "description": "ISO 8601 such as PT90S, or 00:01:30"}
        return {"anyOf": [seconds, text, _MAPPING]}


SPAN: Final = _Span()

Duration = Annotated[timedelta, SPAN]

#: The same as a number of seconds.
Seconds = Annotated[
    float,
    BeforeValidator(_seconds),
    Field(ge=0, allow_inf_nan=False),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0}, _MAPPING]}),
]
