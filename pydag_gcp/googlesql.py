"""GoogleSQL's lexical layer: values as literals, names as quoted identifiers, and a text as tokens.

https://cloud.google.com/bigquery/docs/reference/standard-sql/lexical
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import singledispatch
from typing import Any, Literal

from pydag_gcp.errors import DefinitionError
from pydag_gcp.resources import GCSObject, Table

_ESCAPES = {
    **{code: f"\\x{code:02x}" for code in (*range(32), 127)},
    **{ord(char): f"\\{letter}" for char, letter in zip("\a\b\f\n\r\t\v\\'", "abfnrtv\\'", strict=True)},
}

# Digits before and behind the point:
# https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types#decimal_types
_NUMERIC = (29, 9)
_BIGNUMERIC = (38, 38)


@singledispatch
def literal(value: Any) -> str:
    """Write a value as a GoogleSQL literal.

    Raises:
        DefinitionError: GoogleSQL has no literal for it; without a place.
    """
    raise DefinitionError(f"a {type(value).__name__} has no GoogleSQL literal", hint=_hint(value))


def _hint(value: object) -> str:
    if isinstance(value, Table):
        return "a table stands alone: write it as {{ name }}, a list of tables as {{ names | csv }}"
    if isinstance(value, (set, frozenset)):
        return "a set has no order: pass a sorted list"
    return "pass text, a number, a bool, a date, a time, bytes, None or a list of them"


@literal.register
def _(_: None) -> str:
    return "NULL"


@literal.register
def _(value: bool) -> str:  # noqa: FBT001  (the type is what is dispatched on)
    return "TRUE" if value else "FALSE"


@literal.register
def _(value: int) -> str:
    if not -(2**63) <= value < 2**63:
        raise DefinitionError(f"{int(value)} does not fit INT64", hint="pass it as a decimal.Decimal")
    return str(int(value))


@literal.register
def _(value: float) -> str:
    return repr(float(value)) if math.isfinite(value) else f"CAST('{float(value)}' AS FLOAT64)"


@literal.register
def _(value: Decimal) -> str:
    if not value.is_finite():
        raise DefinitionError(f"{value} is no NUMERIC", hint="pass it as a float")
    text = f"{value:f}"
    whole, _, fraction = text.lstrip("-").partition(".")
    digits, scale = len(whole.lstrip("0")), len(fraction.rstrip("0"))
    for name, (most_digits, most_scale) in (("NUMERIC", _NUMERIC), ("BIGNUMERIC", _BIGNUMERIC)):
        if digits <= most_digits and scale <= most_scale:
            return f"{name} '{text}'"
    raise DefinitionError(f"{value} does not fit BIGNUMERIC", hint="round it, or pass it as a float")


@literal.register
def _(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise DefinitionError(f"{value!r} is no Unicode text", hint="it holds a lone surrogate; pass bytes") from None
    return f"'{value.translate(_ESCAPES)}'"


@literal.register
def _(value: bytes) -> str:
    shown = (chr(byte) if 32 <= byte < 127 and byte not in b"\\'" else f"\\x{byte:02x}" for byte in value)
    return f"b'{''.join(shown)}'"


@literal.register
def _(value: datetime) -> str:
    if value.tzinfo is None:
        return f"DATETIME '{value.isoformat(sep=' ')}'"
    return f"TIMESTAMP '{value.astimezone(UTC).isoformat(sep=' ')}'"


@literal.register
def _(value: date) -> str:
    return f"DATE '{value.isoformat()}'"


@literal.register
def _(value: time) -> str:
    if value.tzinfo is not None:
        raise DefinitionError("a TIME has no time zone", hint="pass a time without tzinfo")
    return f"TIME '{value.isoformat()}'"


@literal.register
def _(value: GCSObject) -> str:
    return literal(value.uri)


@literal.register(list)
@literal.register(tuple)
def _(value: Sequence[Any]) -> str:
    one_type(value)
    return f"[{', '.join(map(literal, value))}]"


def one_type(values: Sequence[Any]) -> None:
    """Make sure that values can be elements of one array.

    Raises:
        DefinitionError: They are of several types, or arrays themselves; without a place.
    """
    kinds = {_kind(value) for value in values if value is not None}
    if kinds & {"list", "tuple"}:
        raise DefinitionError("BigQuery has no arrays of arrays", hint="pass a flat list")
    if len(kinds) > 1 and kinds != {"int", "float"}:
        names = ", ".join(sorted(kinds))
        raise DefinitionError(f"an array holds one type, got {names}", hint="convert the elements to one type")


def _kind(value: object) -> str:
    name = type(value).__name__
    return f"{name} with time zone" if isinstance(value, datetime) and value.tzinfo else name


def identifier(name: object) -> str:
    """Write a name as one quoted identifier.

    Raises:
        DefinitionError: It is no text, or BigQuery allows no such name; without a place.
    """
    if not isinstance(name, str):
        raise DefinitionError(f"a {type(name).__name__} is no name", hint="| ident takes text or a Table")
    if not name or re.search(r"[`\\\x00-\x1f\x7f\ud800-\udfff]", name):
        raise DefinitionError(
            f"{name!r} is no name", hint="a name is not empty and has no backtick, backslash or control character"
        )
    return f"`{name}`"


def table_path(table: Table) -> str:
    """Write a fully qualified table as a path of quoted identifiers.

    Raises:
        DefinitionError: It names a partition, which GoogleSQL cannot; without a place.
    """
    if table.partition is not None:
        # https://cloud.google.com/bigquery/docs/managing-partitioned-table-data: decorators are for jobs' destinations
        raise DefinitionError(
            f"table {table.table!r} names a partition, which SQL cannot",
            hint="filter by the partitioning column, or make the partition the task's destination",
        )
    return ".".join(map(identifier, table.table.rsplit(".", 2)))


TokenKind = Literal["comment", "string", "quoted", "parameter", "word", "mark"]


@dataclass(frozen=True, slots=True)
class Token:
    """A stretch of SQL: a comment, a string or bytes literal, a quoted identifier, ``@name``, a word, or one mark."""

    kind: TokenKind
    start: int
    end: int


class Unclosed(ValueError):
    """A quote or comment has no end.

    Args:
        opening: What opens it.
        offset: Where.
    """

    def __init__(self, opening: str, offset: int) -> None:
        super().__init__(f"{opening} is never closed")
        self.opening = opening
        self.offset = offset


# Raw strings end like others: in r'\'' the backslash keeps the quote inside.
_TOKEN = re.compile(
    r"""
      (?P<comment> --[^\n]* | \#[^\n]* | /\*.*?\*/ )
    | (?P<string> [rRbB]{0,2} (?: '''(?:\\.|[^\\])*?''' | \"\"\"(?:\\.|[^\\])*?\"\"\"
                                | (?!\'\'\')'(?:\\.|[^'\\\n])*' | (?!\"\"\")"(?:\\.|[^"\\\n])*" ) )
    | (?P<quoted> `(?:\\.|[^`\\\n])*` )
    | (?P<open> /\* | \'\'\' | \"\"\" | ['"`] )
    | (?P<parameter> @\w+ )
    | (?P<word> @@[\w.]+ | \w+ )
    | (?P<mark> \S )
    """,
    re.VERBOSE | re.DOTALL,
)


def tokens(sql: str) -> Iterator[Token]:
    """Split SQL into tokens, white space left out.

    Raises:
        Unclosed: A quote or comment has no end.
    """
    for match in _TOKEN.finditer(sql):
        kind = match.lastgroup
        if kind == "open":
            raise Unclosed(match.group(), match.start())
        yield Token(kind, match.start(), match.end())  # type: ignore[arg-type]
