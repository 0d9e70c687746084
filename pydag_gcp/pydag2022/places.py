"""What each ``{name}`` of a 2022 SQL script stands for: decided by what is around it, never by its value.

GoogleSQL is read as tokens only, so a place that tokens cannot tell is taken for a value: the narrowest of all.
https://cloud.google.com/bigquery/docs/reference/standard-sql/lexical
"""

from __future__ import annotations

import bisect
import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from pydag_gcp.errors import DefinitionError
from pydag_gcp.googlesql import Token


class Kind(enum.Enum):
    """What a value may be, by its place."""

    TEXT = "text between quotes"
    COMMENT = "a part of a comment"
    PATH = "a name such as project.dataset.table"
    QUOTED_PATH = "such a name, in backticks"
    PART = "a part of a name"
    NAME = "the name of a column"
    NAMES = "names of columns, separated by commas"
    COLUMNS = "column definitions such as id INT64, name STRING"
    ARRAY = "a list such as [1, 2]"
    LITERALS = "numbers or quoted text, separated by commas"
    LITERAL = "a number or quoted text"
    FLAG = "a number, quoted text, true or false"


@dataclass(frozen=True, slots=True)
class Hole:
    """A placeholder, from its brace to its brace."""

    name: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Place:
    """What a placeholder stands for."""

    hole: Hole
    kind: Kind


class Misplaced(DefinitionError):
    """A placeholder stands where no value is safe; whoever knows the file completes it."""

    def __init__(self, hole: Hole, what: str, *, hint: str) -> None:
        super().__init__(f"{{{hole.name}}} {what}", hint=hint)
        self.hole = hole


@dataclass(frozen=True, slots=True)
class _Item:
    """A token, or a placeholder outside quotes; words are in upper case."""

    kind: Literal["hole", "string", "quoted", "parameter", "word", "mark"]
    text: str
    start: int
    end: int
    holes: tuple[Hole, ...]


#: Words before the name of a table, view or dataset.
_BEFORE_NAMES: Final = frozenset(
    ("CLONE", "COPY", "DELETE", "EXISTS", "FROM", "INSERT", "INTO", "JOIN", "MERGE", "OVERWRITE", "SCHEMA", "TABLE",
     "UPDATE", "USING", "VIEW")
)  # fmt: skip
#: Of these, the ones behind which a name may have a list in parentheses: elsewhere it would be called as a function.
_BEFORE_LISTS: Final = frozenset(("EXISTS", "INSERT", "INTO", "OVERWRITE", "TABLE", "VIEW"))
_BEFORE_BY: Final = frozenset(("CLUSTER", "GROUP", "ORDER", "PARTITION"))
#: What stands before an operand that may be TRUE or FALSE; a whole condition may not.
_BEFORE_FLAGS: Final = frozenset(("=", ">", ",", "IS", "THEN", "ELSE"))
_LISTS: Final = {"IN": Kind.LITERALS, "INSERT": Kind.NAMES, "USING": Kind.NAMES}


def places(masked: str, found: Sequence[Token], holes: Sequence[Hole]) -> tuple[list[Place], list[int]]:
    """Find out what each placeholder stands for.

    Args:
        masked: The script; in place of placeholders it has characters that open and close nothing.
        found: Its tokens.
        holes: Its placeholders.

    Returns:
        The places, and the offsets at which a backtick must be put in.

    Raises:
        Misplaced: A placeholder touches a quote, is in a raw string or names a function.
    """
    walk = _Walk(_items(masked, found, holes))
    comments = [hole for token in found if token.kind == "comment" for hole in _inside(token, holes)]
    walk.places += [Place(hole, Kind.COMMENT) for hole in comments]
    walk.walk()
    return walk.places, walk.backticks


def _items(masked: str, found: Sequence[Token], holes: Sequence[Hole]) -> list[_Item]:
    starts, items, end = {hole.start: hole for hole in holes}, [], 0
    for token in found:
        if token.kind == "comment" or token.start < end:
            continue
        hole = starts.get(token.start)
        if hole is not None:
            items.append(_Item("hole", "{}", hole.start, hole.end, (hole,)))
            end = hole.end
        else:
            text = masked[token.start : token.end].upper()
            items.append(_Item(token.kind, text, token.start, token.end, tuple(_inside(token, holes))))
    return items


def _inside(token: Token, holes: Sequence[Hole]) -> Iterator[Hole]:
    if token.kind in {"comment", "string", "quoted"}:
        first = bisect.bisect_right(holes, token.start, key=lambda hole: hole.start)
        yield from holes[first : bisect.bisect_left(holes, token.end, key=lambda hole: hole.start)]


class _Walk:
    """Goes through a script from left to right, knowing the brackets it is in."""

    def __init__(self, items: list[_Item]) -> None:
        self.places: list[Place] = []
        self.backticks: list[int] = []
        self._items = items
        self._brackets: list[Kind | None] = []
        self._statement = ""
        #: Where the newest name ended, and the word before it.
        self._named = (-1, "")

    def walk(self) -> None:
        index = 0
        while index < len(self._items):
            if self._text(index - 1) in {"", ";"}:
                self._statement = self._text(index)
            item = self._items[index]
            if item.kind == "string":
                self.places += [Place(hole, _in_string(item, hole)) for hole in item.holes]
            if item.kind in {"word", "quoted", "hole"}:
                index = self._chain(index)
                continue
            self._bracket(index)
            index += 1

    def _bracket(self, index: int) -> None:
        mark = self._text(index)
        if mark == "(":
            self._brackets.append(self._list_kind(index))
        elif mark == "[":
            subscript = self._touches(index - 1, index) and self._text(index - 1) not in {"(", "[", ",", "=", ">"}
            self._brackets.append(None if subscript else Kind.LITERALS)
        elif mark in {")", "]"} and self._brackets:
            self._brackets.pop()
        elif mark == ";":
            self._brackets.clear()

    def _list_kind(self, index: int) -> Kind | None:
        """What a parenthesis that opens here holds."""
        end, before = self._named
        if end != index:
            return _LISTS.get(self._text(index - 1))
        if self._statement in {"CREATE", "LOAD"} and before in _BEFORE_LISTS:
            return Kind.COLUMNS
        return Kind.NAMES if before in {"INTO", "INSERT"} else None

    def _chain(self, first: int) -> int:
        """Take a name, a word or a placeholder, with all that touches it; return what comes after."""
        before = self._text(first - 1)
        in_name = {".", "-"} if before in _BEFORE_NAMES else {"."}
        after = first + 1
        while self._touches(after - 1, after) and (
            self._items[after].kind in {"word", "quoted", "hole"} or self._text(after) in in_name
        ):
            after += 1
        chain = self._items[first:after]
        if any(item.holes for item in chain):
            self._check_neighbours(first, after)
            self._check_call(chain, after, before)
            self._place(chain, first, after)
        if before in _BEFORE_NAMES:
            self._named = (after, before)
        return after

    def _check_neighbours(self, first: int, after: int) -> None:
        hole = next(hole for item in self._items[first:after] for hole in item.holes)
        for near, far in ((first - 1, first), (after, after - 1)):
            touches = self._touches(min(near, far), max(near, far))
            if touches and (self._items[near].kind in {"string", "parameter"} or self._text(near) in {"@", "$", "\\"}):
                raise Misplaced(
                    hole, f"touches {self._text(near)[:20]}", hint="put a space between, or quotes round it all"
                )

    def _check_call(self, chain: Sequence[_Item], after: int, before: str) -> None:
        if self._text(after) == "(" and chain[-1].holes and before not in _BEFORE_LISTS:
            raise Misplaced(chain[-1].holes[0], "names a function", hint="write the function's name in the script")

    def _place(self, chain: Sequence[_Item], first: int, after: int) -> None:
        alone = len(chain) == 1 and not (self._text(first - 1) == "." and self._touches(first - 1, first))
        if alone and chain[0].kind == "hole":
            self.places.append(Place(chain[0].holes[0], self._kind(first)))
            return
        for part in _parts(chain):
            holes = [hole for item in part for hole in item.holes]
            if alone and len(holes) == 1 and holes[0].end - holes[0].start == part[0].end - part[0].start - 2:
                self.places.append(Place(holes[0], Kind.QUOTED_PATH))
                continue
            self.places += [Place(hole, Kind.PART) for hole in holes]
            if any(item.kind == "quoted" for item in part):
                if len(part) > 1 and holes:
                    raise Misplaced(holes[0], "touches a backtick", hint="put the whole name in backticks")
            elif holes:
                self.backticks += [part[0].start, part[-1].end]

    def _kind(self, index: int) -> Kind:
        """What a placeholder stands for that touches no other word."""
        before, second = self._text(index - 1), self._text(index - 2)
        after, within = self._text(index + 1), self._brackets[-1] if self._brackets else None
        if before in _BEFORE_NAMES:
            return Kind.PATH
        in_create = self._statement == "CREATE" and not self._brackets
        if before == "SET" or (before == "BY" and second == "PARTITION" and in_create):
            return Kind.NAME
        if before == "BY" and second in _BEFORE_BY:
            return Kind.NAMES
        if after == "FROM" and (before == "SELECT" or (before in {"DISTINCT", "ALL"} and second == "SELECT")):
            return Kind.NAMES
        if before == "(" and second == "UNNEST" and after == ")":
            return Kind.ARRAY
        if within is not None and before in {"(", "[", ","} and after in {")", "]", ","}:
            return within
        return Kind.FLAG if before in _BEFORE_FLAGS else Kind.LITERAL

    def _text(self, index: int) -> str:
        return self._items[index].text if 0 <= index < len(self._items) else ""

    def _touches(self, left: int, right: int) -> bool:
        return left >= 0 and right < len(self._items) and self._items[left].end == self._items[right].start


def _parts(chain: Sequence[_Item]) -> Iterator[list[_Item]]:
    """Split a chain at its dots."""
    part: list[_Item] = []
    for item in chain:
        if item.text == ".":
            yield part
            part = []
        else:
            part.append(item)
    yield part


def _in_string(item: _Item, hole: Hole) -> Kind:
    opening = item.text[: min(item.text.find(quote) for quote in "'\"" if quote in item.text)]
    if opening:
        raise Misplaced(hole, f"stands in a string that begins with {opening}", hint="write the string without it")
    before = item.text[: hole.start - item.start]
    if (len(before) - len(before.rstrip("\\"))) % 2:
        raise Misplaced(hole, "stands behind a backslash", hint="remove the backslash, or double it")
    return Kind.TEXT
