"""YAML text -> nodes: YAML 1.2's core schema, of which nothing is executed.

PyYAML only splits the text into events; what these mean is decided here: ``yes`` and ``on`` are text, tags and merge
keys are refused, aliases are followed as far as a document may be large.

https://yaml.org/spec/1.2.2/#103-core-schema
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml
from yaml.reader import ReaderError

from pydag_gcp.nodes import Budget, Malformed, Node, Span, check_depth, integer, mapping, scalar, sequence

# libyaml where PyYAML was built with it: thirty times as fast, the same events.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

#: Where YAML ends a line: https://yaml.org/spec/1.1/#b-break, which PyYAML keeps to.
LINE_END = re.compile("\r\n|[\n\r\x85\u2028\u2029]")

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {text: text.lower() == "true" for text in ("true", "True", "TRUE", "false", "False", "FALSE")}
_INTEGER = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NO_NUMBER = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")

#: Parts of PyYAML's messages, and what a reader can do about it.
_HINTS = {
    "tab character": "indent with spaces, not tabs",
    "cannot start any token": "indent with spaces, not tabs, and put text that begins with @, ` or % in quotes",
    "mapping values are not allowed": "check the indentation, and put text that contains ': ' in quotes",
    "could not find expected ':'": "a line needs `name: value`; check the indentation and the quotes",
    "found unexpected end of stream": "a quote is not closed",
    "did not find expected": "check the indentation, brackets and quotes",
    "expected": "check the indentation, brackets and quotes",
    "unknown escape": "write \\\\ for a backslash, or use single quotes",
}


def compose(text: str) -> Node:
    """Read the one document of a YAML text.

    Raises:
        Malformed: It is no YAML, or uses a part of YAML that pipelines do not.
    """
    return _Composer(text).document()


class _Composer:
    def __init__(self, text: str) -> None:
        self._events: Iterator[Any] = yaml.parse(text, Loader=_LOADER)
        self._text = text
        self._lengths = [len(line) for line in LINE_END.split(text)]
        self._anchors: dict[str, Node | None] = {}
        self._budget = Budget()

    def document(self) -> Node:
        self._next()  # the start of the stream
        start = self._next()
        if isinstance(start, yaml.StreamEndEvent):
            raise Malformed("holds nothing", Span(1, 1, 1), "write `dag:` and `tasks:`")
        root = self._node(self._next(), 1)
        self._next()  # the end of the document
        after = self._next()
        if not isinstance(after, yaml.StreamEndEvent):
            raise Malformed("a second document begins here", self._span(after), "one file, one pipeline")
        return root

    def _next(self) -> Any:
        try:
            return next(self._events)
        except yaml.MarkedYAMLError as error:
            problem = str(error.problem or error.context)
            unclosed = "end of stream" in problem and error.context_mark is not None
            mark = error.context_mark if unclosed else error.problem_mark
            span = Span(mark.line + 1, mark.column + 1, 1) if mark else Span(1, 1, 1)
            hint = next((hint for part, hint in _HINTS.items() if part in problem), None)
            raise Malformed(f"is no YAML: {problem}", span, hint) from None
        except ReaderError as error:
            before = LINE_END.split(self._text.partition(chr(error.character))[0])
            span = Span(len(before), len(before[-1]) + 1, 1)
            raise Malformed(f"is no YAML: the character U+{error.character:04X}", span, "write it as \\u....") from None

    def _node(self, event: Any, depth: int) -> Node:
        span = self._span(event)
        self._budget.take(depth, span)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(str(event.anchor), span, depth)
        if event.tag is not None:
            raise Malformed(f"the tag {_tag(event.tag)}", span, "a pipeline is plain values: write none")
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        if isinstance(event, yaml.ScalarEvent):
            plain = event.implicit[0]
            node = scalar(_value(event.value, span) if plain else event.value, span)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = sequence(list(self._items(depth)), span)
        else:
            node = mapping(self._pairs(depth), span)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _items(self, depth: int) -> Iterator[Node]:
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            yield self._node(event, depth + 1)

    def _pairs(self, depth: int) -> Iterator[tuple[str, Span, Node]]:
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            key = self._node(event, depth + 1)
            if not isinstance(key.value, str):
                shown = "a list or mapping" if isinstance(key.value, (dict, tuple)) else repr(key.value)
                raise Malformed(f"a name must be text, got {shown}", key.span, "put it in quotes")
            if key.value == "<<" and event.implicit[0]:
                raise Malformed("the merge key << is no part of YAML 1.2", key.span, "write the fields out")
            yield key.value, key.span, self._node(self._next(), depth + 1)

    def _alias(self, name: str, span: Span, depth: int) -> Node:
        if name not in self._anchors:
            raise Malformed(f"no anchor &{name} above", span)
        node = self._anchors[name]
        if node is None:
            raise Malformed(f"*{name} stands inside of &{name}, which would never end", span)
        check_depth(depth + node.height - 1, span)
        return node

    def _span(self, event: Any) -> Span:
        start, end = event.start_mark, event.end_mark
        ends = end.column if end.line == start.line else self._lengths[min(start.line, len(self._lengths) - 1)]
        return Span(start.line + 1, start.column + 1, max(ends - start.column, 1))


def _tag(tag: str) -> str:
    short = tag.removeprefix("tag:yaml.org,2002:")
    return f"!!{short}" if short != tag else tag


def _value(text: str, span: Span) -> Any:
    """What an unquoted scalar means."""
    if text in _NULL:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if _INTEGER.fullmatch(text):
        return integer(text, span)
    if _BASED.fullmatch(text):
        return int(text[2:], 8 if text[1] == "o" else 16)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _NO_NUMBER.fullmatch(text):
        raise Malformed(f"{text} is no number that a pipeline can hold", span, "put it in quotes if it is text")
    return text
