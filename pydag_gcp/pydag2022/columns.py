"""Column definitions and names that came as text: taken apart, checked, and written anew with quoted names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from pydag_gcp.errors import DefinitionError, did_you_mean

# https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types
_SIMPLE: Final = frozenset(
    ("BIGINT", "BOOL", "BOOLEAN", "BYTEINT", "DATE", "DATETIME", "FLOAT64", "GEOGRAPHY", "INT", "INT64", "INTEGER",
     "INTERVAL", "JSON", "SMALLINT", "TIME", "TIMESTAMP", "TINYINT")
)  # fmt: skip
_SIZED: Final = frozenset(("BIGDECIMAL", "BIGNUMERIC", "BYTES", "DECIMAL", "NUMERIC", "STRING"))
_NESTED: Final = frozenset(("ARRAY", "RANGE", "STRUCT"))

#: Deeper types are refused; BigQuery allows 15 levels.
_DEEPEST: Final = 15

#: Of a table's name: project, dataset and table.
_MOST_PARTS: Final = 3

_PART = re.compile(r"[A-Za-z0-9_-]+")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_TOKEN = re.compile(r"\s*([A-Za-z0-9_]+|[<>(),])")


def quoted_path(text: str) -> str:
    """Write ``project.dataset.table``, or the end of it, as a path of quoted identifiers.

    Raises:
        DefinitionError: It has more parts, or a part has other characters than letters, digits, ``_`` and ``-``;
            without a place.
    """
    parts = text.strip().split(".")
    if len(parts) > _MOST_PARTS or not all(map(_PART.fullmatch, parts)):
        raise DefinitionError(f"{text!r} is no such name", hint="its parts have letters A-Z, digits, _ and -")
    return ".".join(f"`{part}`" for part in parts)


def quoted_names(text: str) -> str:
    """Write names of columns that commas separate as quoted identifiers.

    Raises:
        DefinitionError: One is no name of a column; without a place.
    """
    return ", ".join(map(quoted_name, text.split(",")))


def quoted_name(text: str) -> str:
    """Write the name of a column as a quoted identifier.

    Raises:
        DefinitionError: It is none; without a place.
    """
    name = text.strip()
    if not _NAME.fullmatch(name):
        raise DefinitionError(f"{name!r} is no such name", hint="a letter or _, then letters A-Z, digits, _ and -")
    return f"`{name}`"


def column_definitions(text: str) -> str:
    """Write ``id int64, tags array<string> not null`` anew, as the column list of a CREATE TABLE.

    Raises:
        DefinitionError: It is something else; says what was expected, without a place.
    """
    return ", ".join(_Parser(text).columns())


class _Parser:
    """Reads column definitions from left to right."""

    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._next = 0

    def columns(self) -> Iterator[str]:
        while True:
            yield self._column()
            if self._take() != ",":
                break
        if self._next <= len(self._tokens):
            raise _unexpected(self._tokens[self._next - 1], "a comma or the end")

    def _column(self) -> str:
        name = self._name()
        column = f"`{name}` {self._type(0)}"
        if self._peek() != "NOT":
            return column
        self._take()
        self._expect("NULL")
        return f"{column} NOT NULL"

    def _type(self, depth: int) -> str:
        written = self._take()
        name = written.upper()
        if name in _SIZED and self._peek() == "(":
            return f"{name}({', '.join(self._sizes())})"
        if name in _SIMPLE | _SIZED:
            return name
        if name not in _NESTED or depth >= _DEEPEST:
            hint = did_you_mean(name, _SIMPLE | _SIZED | _NESTED) or "write '<name> <type>, <name> <type>'"
            raise DefinitionError(f"{written!r} is no type of a column", hint=hint)
        self._expect("<")
        parts = [self._part(name, depth)]
        while name == "STRUCT" and self._peek() == ",":
            self._take()
            parts.append(self._part(name, depth))
        self._expect(">")
        return f"{name}<{', '.join(parts)}>"

    def _part(self, outer: str, depth: int) -> str:
        """A type inside another; that of a STRUCT has a name."""
        return f"`{self._name()}` {self._type(depth + 1)}" if outer == "STRUCT" else self._type(depth + 1)

    def _sizes(self) -> Iterator[str]:
        separator = ","
        self._expect("(")
        while separator == ",":
            size = self._take()
            if not size.isdecimal():
                raise _unexpected(size, "a whole number")
            yield size
            separator = self._take()
        if separator != ")":
            raise _unexpected(separator, "')'")

    def _name(self) -> str:
        name = self._take()
        if not re.fullmatch(r"[A-Za-z_]\w*", name):
            raise _unexpected(name, "the name of a column")
        return name

    def _peek(self) -> str:
        return self._tokens[self._next].upper() if self._next < len(self._tokens) else ""

    def _take(self) -> str:
        self._next += 1
        return self._tokens[self._next - 1] if self._next <= len(self._tokens) else ""

    def _expect(self, wanted: str) -> None:
        found = self._take()
        if found.upper() != wanted:
            raise _unexpected(found, repr(wanted))


def _tokens(text: str) -> Iterator[str]:
    position, text = 0, text.strip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise _unexpected(text[position:].split()[0], "column definitions such as 'id INT64, name STRING'")
        yield match[1]
        position = match.end()


def _unexpected(found: str, wanted: str) -> DefinitionError:
    return DefinitionError(f"expected {wanted}, found {found!r}" if found else f"expected {wanted}, found the end")
