"""JSON text -> nodes: exactly RFC 8259, with every value's place.

The standard library reads strings and numbers; it keeps no places, takes NaN for a number and the last of two equal
names.
"""

from __future__ import annotations

import bisect
import json
import re
from typing import Any, NoReturn

from pydag_gcp.nodes import Budget, Malformed, Node, Span, integer, mapping, scalar, sequence

_SPACE = re.compile(r"[ \t\n\r]*")
_NUMBER = re.compile(r"-?[0-9][0-9.eE+-]*")


def compose(text: str) -> Node:
    """Read a JSON text.

    Raises:
        Malformed: It is no JSON, or holds more than a pipeline may.
    """
    return _Composer(text).document()


class _Composer:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._budget = Budget()
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self._decoder = json.JSONDecoder(parse_constant=self._no_constant, parse_int=self._integer)

    def document(self) -> Node:
        if not self._text.strip():
            raise Malformed("holds nothing", Span(1, 1, 1), 'write {"dag": ..., "tasks": {...}}')
        root = self._node(1)
        if self._peek():
            raise Malformed("is no JSON: more text after its end", self._span(self._at, 1), "remove it")
        return root

    def _node(self, depth: int) -> Node:
        first = self._peek()
        start = self._at
        self._budget.take(depth, self._span(start, 1))
        if first == "{":
            return mapping(self._pairs(depth), self._span(start, 1))
        if first == "[":
            return sequence(self._items(depth), self._span(start, 1))
        value = self._scalar(start)
        return scalar(value, self._span(start, self._at - start))

    def _items(self, depth: int) -> list[Node]:
        items: list[Node] = []
        self._at += 1
        while self._more("]", begun=bool(items)):
            items.append(self._node(depth + 1))
        return items

    def _pairs(self, depth: int) -> list[tuple[str, Span, Node]]:
        pairs: list[tuple[str, Span, Node]] = []
        self._at += 1
        while self._more("}", begun=bool(pairs)):
            start = self._at
            if self._peek() != '"':
                self._fail("expected a name in double quotes")
            key = scalar(self._scalar(start), self._span(start, self._at - start))
            if self._peek() != ":":
                self._fail(f"expected : after {key.value!r}")
            self._at += 1
            pairs.append((key.value, key.span, self._node(depth + 1)))
        return pairs

    def _more(self, end: str, *, begun: bool) -> bool:
        """Step over a comma or the end; tell whether a value follows."""
        found = self._peek()
        if found == end:
            self._at += 1
            return False
        if begun:
            if found != ",":
                self._fail(f"expected , or {end}")
            comma = self._at
            self._at += 1
            if self._peek() == end:
                self._at = comma
                self._fail(f"a comma before {end}", "remove it")
        return True

    def _scalar(self, start: int) -> Any:
        try:
            value, self._at = self._decoder.raw_decode(self._text, start)
        except json.JSONDecodeError as error:
            self._at = error.pos
            return self._fail(error.msg[:1].lower() + error.msg[1:])
        return value

    def _peek(self) -> str:
        """The next character that is no space, or nothing at the end."""
        self._at = _SPACE.match(self._text, self._at).end()  # type: ignore[union-attr]  # it matches anywhere
        return self._text[self._at : self._at + 1]

    def _integer(self, digits: str) -> int:
        return integer(digits, self._span(self._at, len(digits)))

    def _no_constant(self, name: str) -> NoReturn:
        raise Malformed(f"is no JSON: {name} is no number", self._span(self._at, len(name)))

    def _fail(self, what: str, hint: str | None = None) -> NoReturn:
        raise Malformed(f"is no JSON: {what}", self._span(self._at, 1), hint)

    def _span(self, start: int, length: int) -> Span:
        line = bisect.bisect_right(self._starts, start)
        return Span(line, start - self._starts[line - 1] + 1, length)
