"""Values with checked fields, whose mistakes are told in our one style."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from pydag_gcp import excepthook
from pydag_gcp.errors import DefinitionError, did_you_mean, did_you_mean_one_of
from pydag_gcp.source import calling_line

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80
_SHORT.maxdict = _SHORT.maxlist = _SHORT.maxtuple = 4
_SHORT.maxlevel = 3


class Model(BaseModel):
    """A frozen value that knows its fields.

    Raises:
        DefinitionError: A field is unknown, missing or of the wrong type; names the class and the field.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    def __init__(self, /, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            bare = complaint(error, given=fields, known=names(type(self)))
            raise named(bare, type(self)) from bare


def names(model: type[BaseModel]) -> dict[str, str]:
    """The names that an author may give to a model, with their descriptions."""
    return {info.alias or name: info.description or "" for name, info in model.model_fields.items()}


def named(bare: DefinitionError, model: type[BaseModel]) -> DefinitionError:
    """Put the class and the field in front of a complaint. Raise it from the bare one, for who knows a better place."""
    excepthook.install(calling_line().file)  # a table may be named wrongly before there is a DAG
    field = f": field {dotted(bare.loc)!r}" if bare.loc else ""
    return DefinitionError(f"{model.__name__}{field}: {bare.what}", hint=bare.hint, loc=bare.loc)


def complaint(error: ValidationError, *, given: Mapping[str, Any], known: Mapping[str, str]) -> DefinitionError:
    """Say pydantic's first complaint in our one style: what and how to mend it; the place is up to the caller.

    Args:
        error: What pydantic says.
        given: The fields as they were given.
        known: The names that there are, with what is said of them.
    """
    errors = error.errors(include_url=False)
    # A name that is misspelt is also missing, which is said first and helps less.
    first = next((one for one in errors if one["type"] == "extra_forbidden"), errors[0])
    loc = _within(first["loc"], given)
    inner = first.get("ctx", {}).get("error")
    if isinstance(inner, DefinitionError):  # a Model inside, which has told already
        bare = inner.__cause__ if isinstance(inner.__cause__, DefinitionError) else inner
        return DefinitionError(bare.what, hint=bare.hint, loc=(*loc, *inner.loc))
    if first["type"] == "extra_forbidden":
        hint = did_you_mean_one_of(str(loc[-1]), known)
        return DefinitionError("no such field", hint=hint if len(loc) == 1 else None, loc=loc)
    if first["type"] == "missing":
        return DefinitionError("is required", loc=loc)
    if first["type"] == "string_pattern_mismatch" and len(loc) == 1:
        said = known.get(str(loc[0])) or first["msg"]
        return DefinitionError(f"{_SHORT.repr(first['input'])} does not fit: {said[:1].lower()}{said[1:]}", loc=loc)
    message, shown = _said(first["msg"]), _shown(first["input"])
    got = "" if "got" in message or shown in message else f", got {shown}"
    return DefinitionError(f"{message[:1].lower()}{message[1:]}{got}", hint=_choice(first), loc=loc)


def _said(message: str) -> str:
    """What pydantic says, in the words of our pages."""
    said = message.removeprefix("Value error, ").replace(
        "a valid dictionary or instance of", "a mapping with the fields of"
    )
    return re.sub(" after validation, not [0-9]+$", "", said.replace("a valid dictionary", "a mapping"))


def _shown(value: Any) -> str:
    """A value as its author knows it: a duration was a number of seconds, or became one."""
    return f"{value.total_seconds():g} seconds" if isinstance(value, timedelta) else _SHORT.repr(value)


def dotted(loc: Sequence[str | int]) -> str:
    """Write the way to a value as one name."""
    return ".".join(map(str, loc))


def _choice(first: Mapping[str, Any]) -> str | None:
    """The closest of the values that are allowed."""
    if first["type"] not in {"literal_error", "enum"} or not isinstance(first["input"], str):
        return None
    return did_you_mean(first["input"], re.findall(r"'([^']*)'", first["ctx"]["expected"]))


def _within(loc: tuple[int | str, ...], given: Any) -> tuple[int | str, ...]:
    """Leave out the steps that pydantic adds for members of unions; the last step may lead to what is missing."""
    kept: list[int | str] = []
    value = given
    for number, step in enumerate(loc):
        has = isinstance(value, Mapping) and step in value
        if has or (isinstance(value, (list, tuple)) and isinstance(step, int) and step < len(value)):
            value = value[step]
        elif not (isinstance(value, Mapping) and number == len(loc) - 1):
            continue
        kept.append(step)
    return tuple(kept)
