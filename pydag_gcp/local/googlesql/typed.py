"""A piece of DuckDB's SQL together with the BigQuery type of its value: what the analyser makes of an expression."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from pydag_gcp.local.googlesql.types import NULL, Type

#: Above this many characters an expression is bound to a name rather than written twice.
_SHORT = 160
_SLOT = re.compile(r"\$(\d)")
#: How every refusal begins, those that only a value can cause too.
NOT_HERE = "not supported by the local cloud: "
_RAISE = re.compile(r"error\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)")


class Literal(Enum):
    """Tells an expression that is no literal from the literal NULL."""

    NOT = 0


@dataclass(frozen=True, slots=True)
class Typed:
    """An expression, ready for DuckDB.

    Attributes:
        sql: The text, closed: it may be put next to any operator.
        type: The type of its value.
        constant: The Python value if it was written as a literal (NULL: None), else ``Literal.NOT``.
        stable: Whether two evaluations for one row give one value and cost next to nothing to write.
        coercible: Whether a STRING may become a DATE and so on: a literal or a parameter.
        exact: Whether it can neither be NaN nor infinite, though its type is FLOAT64.
    """

    sql: str
    type: Type
    constant: object = Literal.NOT
    stable: bool = True
    coercible: bool = False
    exact: bool = False

    @property
    def is_literal(self) -> bool:
        """Whether it was written as a literal."""
        return self.constant is not Literal.NOT

    @property
    def is_null(self) -> bool:
        """Whether it is a bare NULL."""
        return self.type is NULL or self.type == NULL

    def with_sql(self, sql: str) -> Typed:
        """Return the same value under another name."""
        return replace(self, sql=sql, stable=True)


def text(value: str) -> str:
    """Return a string as DuckDB's literal."""
    quoted = "'" + value.replace("'", "''") + "'"
    if "\0" not in value:
        return quoted
    return "(" + quoted.replace("\0", "' || chr(0) || '") + ")"


def blob(value: bytes) -> str:
    """Return bytes as DuckDB's literal."""
    return f"from_hex('{value.hex()}')" if value else "''::BLOB"


def filler(template: str) -> Callable[..., str]:
    """Return the function that puts texts in the place of ``$1``, ``$2``... of a template."""
    return lambda *texts: _SLOT.sub(lambda slot: texts[int(slot[1]) - 1], template)


def without_errors(template: str) -> str:
    """Return a function's body as ``SAFE.`` wants it: NULL in the place of each ``error(...)``."""
    return _RAISE.sub("NULL", template)


def let(values: Sequence[Typed], body: Callable[..., str], *, once: bool = False) -> str:
    """Return ``body(*texts)``, each value evaluated once however often the body names it.

    Short and stable values are written out; the others are bound to a lambda's parameter, which is the one binding
    form DuckDB allows everywhere (beside aggregates, windows and correlated subqueries).

    Args:
        values: What the body needs.
        body: Makes the SQL of the texts that it is given; must use nothing else that varies.
        once: Bind whatever is not a column or literal, even if it is short.
    """
    bound = [not value.stable or len(value.sql) > (48 if once else _SHORT) for value in values]
    if once:
        bound = [b or "(" in value.sql for b, value in zip(bound, values, strict=True)]
    if not any(bound):
        return body(*(value.sql for value in values))
    taken = "".join(value.sql for value in values)
    number = next(n for n in range(1, len(taken) + 2) if f"v{n}." not in taken)
    names = [f"v{number}.x{place}" if b else values[place].sql for place, b in enumerate(bound)]
    packed = ", ".join(f"x{place} := {value.sql}" for place, value in enumerate(values) if bound[place])
    return f"list_transform([struct_pack({packed})], lambda v{number}: {body(*names)})[1]"
