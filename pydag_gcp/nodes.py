"""Values of a document that know where they were written: what YAML and JSON have in common."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

#: How deep values may lie in each other.
DEEPEST: Final = 60
#: How many values a document may hold; what an alias stands for counts each time.
MOST: Final = 200_000
#: Digits of the longest number; BigQuery's BIGNUMERIC has 77.
_DIGITS: Final = 100

_UNUSABLE = re.compile("[\0\ud800-\udfff]")


class Span(NamedTuple):
    """A part of one line, counted from 1."""

    line: int
    column: int
    length: int


class Malformed(Exception):
    """A text that cannot be taken in; it becomes a DefinitionError where the name of its file is known."""

    def __init__(self, what: str, span: Span, hint: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.span = span
        self.hint = hint


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """A value and its place.

    Attributes:
        value: A scalar, a tuple of nodes, or a mapping of names to nodes.
        keys: Where the names of a mapping were written.
        size: How many values it holds, itself included.
        height: How many levels of values it holds.
    """

    span: Span
    value: Any
    keys: Mapping[str, Span] = field(default_factory=dict)
    size: int = 1
    height: int = 1

    def plain(self) -> Any:
        """The value as scalars, lists and dicts."""
        if isinstance(self.value, dict):
            return {name: node.plain() for name, node in self.value.items()}
        if isinstance(self.value, tuple):
            return [node.plain() for node in self.value]
        return self.value


def scalar(value: Any, span: Span) -> Node:
    """Make a node of a scalar.

    Raises:
        Malformed: A text that cannot be handed on, or a number that is none.
    """
    if isinstance(value, str) and _UNUSABLE.search(value):
        raise Malformed("text with a character that no file may hold (NUL or half of a surrogate pair)", span)
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        raise Malformed("a number that is too large", span)
    return Node(span=span, value=value)


def integer(digits: str, span: Span) -> int:
    """Read a whole number, of which Python would take thousands of digits.

    Raises:
        Malformed: It has too many digits.
    """
    if len(digits) > _DIGITS:
        raise Malformed(f"a number of {len(digits)} digits", span, "write it as text, in quotes")
    return int(digits)


def sequence(items: Sequence[Node], span: Span) -> Node:
    """Make a node of a list.

    Raises:
        Malformed: It holds too much.
    """
    size, height = _extent(items, span)
    return Node(span=span, value=tuple(items), size=size, height=height)


def mapping(pairs: Iterable[tuple[str, Span, Node]], span: Span) -> Node:
    """Make a node of names and values.

    Raises:
        Malformed: A name is given twice, or it holds too much.
    """
    values: dict[str, Node] = {}
    keys: dict[str, Span] = {}
    for name, place, node in pairs:
        if name in values:
            raise Malformed(f"{name!r} is given twice, first in line {keys[name].line}", place, "remove one of them")
        values[name], keys[name] = node, place
    size, height = _extent(values.values(), span)
    return Node(span=span, value=values, keys=keys, size=size, height=height)


class Budget:
    """How much of a document may still be taken in."""

    def __init__(self) -> None:
        self._taken = 0

    def take(self, depth: int, span: Span) -> None:
        """Count a value at a depth.

        Raises:
            Malformed: There are too many, or they lie too deep in each other.
        """
        self._taken += 1
        if self._taken > MOST:
            raise Malformed(f"more than {MOST:,} values", span)
        check_depth(depth, span)


def check_depth(depth: int, span: Span) -> None:
    """Refuse values that lie too deep in each other.

    Raises:
        Malformed: They do.
    """
    if depth > DEEPEST:
        raise Malformed(f"more than {DEEPEST} levels of values in each other", span)


def _extent(items: Iterable[Node], span: Span) -> tuple[int, int]:
    size, height = 1, 0
    for node in items:
        size, height = size + node.size, max(height, node.height)
    if size > MOST:
        raise Malformed(f"more than {MOST:,} values, with what its aliases stand for", span)
    return size, height + 1
