"""One form for each value: equal exactly where values are, in every process, on every machine, in any order of a set.

The form is JSON in which every type that JSON has no name for carries its own. What has no form is refused.
"""

from __future__ import annotations

import enum
import hashlib
import json
import re
import types
import uuid
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePath
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import BaseModel

from pydag_gcp.runtime_value import RuntimeValue

#: A value that JSON can hold.
Json = Any

#: From here on a number may have more digits than Python writes out.
_LARGE = 2**63


class Unhashable(Exception):
    """A value cannot be told from another one by its content; the message says which, in words."""


class Canonical:
    """Writes values in their one form.

    Args:
        other: Writes values of any further kind, or raises :class:`Unhashable`.
        ordered: Whether dicts differ whose keys come in another order.
    """

    def __init__(self, other: Callable[[Any], Json] | None = None, *, ordered: bool = False) -> None:
        self._other = other or self.of_object
        self._ordered = ordered
        self._open: set[int] = set()
        self._sets = 0

    @property
    def in_a_set(self) -> bool:
        """Whether what is written now comes in no certain order."""
        return self._sets > 0

    def form(self, value: Any) -> Json:
        """Write a value.

        Raises:
            Unhashable: It has no form, or contains itself.
        """
        kind = type(value)
        if value is None or kind in (bool, str):
            return value
        if kind is int:
            return value if -_LARGE < value < _LARGE else ["int", hex(value)]
        if kind in _SIMPLE:
            return [kind.__name__, *_SIMPLE[kind](value)]
        for base, part in _BY_BASE:
            if isinstance(value, base):
                return [base.__name__, part(value)]
        if id(value) in self._open:
            raise Unhashable(f"a {kind.__qualname__} contains itself")
        self._open.add(id(value))
        try:
            return self._deep(value)
        except RecursionError:
            raise Unhashable(f"a {kind.__qualname__} is nested too deeply") from None
        finally:
            self._open.discard(id(value))

    def of_object(self, value: Any) -> Json:
        """Write a member of an enumeration, or a model by its fields; refuse anything else.

        Raises:
            Unhashable: There is no form for it.
        """
        if isinstance(value, enum.Enum):
            return ["Enum", type(value).__qualname__, value.name, self.form(value.value)]
        if isinstance(value, BaseModel):
            return [type(value).__qualname__, *sorted(self.fields(value).items())]
        raise Unhashable(f"a {type(value).__qualname__} cannot be told from another by its content")

    def fields(self, model: BaseModel, names: Iterable[str] | None = None) -> dict[str, Json]:
        """Write the fields of a model that do not hold their default: a field that is added later changes nothing.

        Args:
            model: The model.
            names: The fields that count; default: all.

        Raises:
            Unhashable: A field has no form.
        """
        counting = (name for name, _ in model) if names is None else names
        forms = {name: self.form(getattr(model, name)) for name in counting}
        known = type(model).model_fields
        return {name: form for name, form in forms.items() if name not in known or form != self._default(known[name])}

    def _default(self, info: Any) -> Json:
        return _NO_DEFAULT if info.is_required() else self.form(info.get_default(call_default_factory=True))

    def _deep(self, value: Any) -> Json:
        kind = type(value)
        if kind in (list, tuple, deque):
            return [kind.__name__, *map(self.form, value)]
        if kind in (dict, OrderedDict, types.MappingProxyType):
            pairs = [[self.form(key), self.form(part)] for key, part in value.items()]
            return ["dict", *(pairs if self._ordered else sorted(pairs, key=text))]
        if kind in (set, frozenset):
            self._sets += 1
            try:
                return ["set", *sorted(map(self.form, value), key=text)]
            finally:
                self._sets -= 1
        if kind is slice:
            return ["slice", *map(self.form, (value.start, value.stop, value.step))]
        if kind in (datetime, time):  # a time zone is more than its offset at that moment
            return [kind.__name__, value.replace(tzinfo=None).isoformat(), value.fold, self.form(value.tzinfo)]
        return self._other(value)


def text(form: Json) -> str:
    """Write a form as text."""
    return json.dumps(form, separators=(",", ":"))


def digest(form: Json) -> str:
    """Hash a form (64 hex digits)."""
    return hashlib.sha256(text(form).encode()).hexdigest()


_NO_DEFAULT = object()

#: What a value of exactly this type is made of.
_SIMPLE: Mapping[type, Callable[[Any], list[Json]]] = {
    float: lambda value: [value.hex()],
    complex: lambda value: [value.real.hex(), value.imag.hex()],
    bytes: lambda value: [value.hex()],
    bytearray: lambda value: [value.hex()],
    Decimal: lambda value: [str(value)],
    Fraction: lambda value: [hex(value.numerator), hex(value.denominator)],
    date: lambda value: [value.isoformat()],
    timedelta: lambda value: [value.days, value.seconds, value.microseconds],
    timezone: lambda value: [str(value), value.utcoffset(None).total_seconds()],
    range: lambda value: [hex(value.start), hex(value.stop), hex(value.step)],
    types.EllipsisType: lambda _: [],
    types.NotImplementedType: lambda _: [],
    uuid.UUID: lambda value: [value.hex],
    re.Pattern: lambda value: [value.flags, repr(value.pattern)],
}

#: The same of its subclasses: such a value is what it stands for.
_BY_BASE: tuple[tuple[type, Callable[[Any], Json]], ...] = (
    (RuntimeValue, lambda value: value.to_json()),
    (PurePath, lambda value: value.as_posix()),
    (ZoneInfo, str),
)
