"""Documents: plain values as YAML 1.2 and RFC 8259 have them, and where each was written."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pydag_gcp import json_nodes, yaml_nodes
from pydag_gcp.document import Document, read
from pydag_gcp.errors import DefinitionError
from pydag_gcp.excerpt import excerpt
from pydag_gcp.nodes import Malformed, Node

TEXT = """\
dag: daily      # a comment
tasks:
  ä: {sql: "SELECT 1", list: [1, [true, x]]}
  b:
    sql: |
      SELECT 2
    empty:
"""

_SCALARS = st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False)
_TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\u2028\u2029\ufeff\ufffe\uffff"))
VALUES = st.recursive(
    _SCALARS | _TEXTS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXTS, inner, max_size=4)
)


@pytest.fixture
def document(project: Path) -> Document:
    Path("p.yaml").write_text(TEXT)
    return read(Path("p.yaml"))


def test_values_are_plain(document: Document) -> None:
    assert document.value == {
        "dag": "daily",
        "tasks": {"ä": {"sql": "SELECT 1", "list": [1, [True, "x"]]}, "b": {"sql": "SELECT 2\n", "empty": None}},
    }


PLACES: list[tuple[tuple[str | int, ...], tuple[int, int, int], tuple[int, int, int]]] = [
    ((), (1, 1, 1), (1, 1, 1)),
    (("dag",), (1, 6, 5), (1, 1, 3)),
    (("tasks", "ä"), (3, 6, 1), (3, 3, 1)),
    (("tasks", "ä", "sql"), (3, 12, 10), (3, 7, 3)),
    (("tasks", "ä", "list", 1, 0), (3, 35, 4), (3, 35, 4)),
    (("tasks", "b", "sql"), (5, 10, 1), (5, 5, 3)),
    (("tasks", "b", "no such", "thing"), (5, 5, 1), (4, 3, 1)),
    (("tasks", "ä", "list", 9), (3, 30, 1), (3, 24, 4)),
    (("dag", "function-after", 0), (1, 6, 5), (1, 1, 3)),
]


@pytest.mark.parametrize(("keys", "value", "name"), PLACES)
def test_places(
    document: Document, keys: tuple[str | int, ...], value: tuple[int, int, int], name: tuple[int, int, int]
) -> None:
    assert document.place(keys) == value
    assert document.place(keys, of_key=True) == name


MEANINGS = {
    "yes": "yes", "on": "on", "Off": "Off", "n": "n", "true": True, "FALSE": False, "tRue": "tRue",
    "~": None, "null": None, "nULL": "nULL", "": None, "'~'": "~",
    "012": 12, "0o17": 15, "0x1F": 31, "0b1": "0b1", "1_000": "1_000", "+3": 3, "-0": 0, "12:30": "12:30",
    "1.": 1.0, ".5": 0.5, "1e3": 1000.0, "-2.5E-1": -0.25, "1.2.3": "1.2.3", ".": ".", "'.nan'": ".nan",
    "2022-01-31": "2022-01-31", "2022-01-31T06:00:00Z": "2022-01-31T06:00:00Z", "=": "=", "'1'": "1", '"true"': "true",
}  # fmt: skip


@pytest.mark.parametrize("text", MEANINGS)
def test_scalars_mean_what_yaml_1_2_says(text: str) -> None:
    """https://yaml.org/spec/1.2.2/#1032-tag-resolution."""
    found = yaml_nodes.compose(f"a: {text}\n").plain()["a"]

    assert (type(found), found) == (type(MEANINGS[text]), MEANINGS[text])


@given(VALUES)
def test_json_is_read_as_python_reads_it(value: Any) -> None:
    for indent in (None, 2):
        assert json_nodes.compose(json.dumps(value, indent=indent)).plain() == value
        assert json_nodes.compose(json.dumps(value, indent=indent, ensure_ascii=False)).plain() == value


@given(VALUES)
def test_json_is_yaml_too(value: Any) -> None:
    assert yaml_nodes.compose(json.dumps(value, ensure_ascii=False)).plain() == value


def strings(node: Node) -> Iterator[Node]:
    if isinstance(node.value, dict):
        for part in node.value.values():
            yield from strings(part)
    elif isinstance(node.value, tuple):
        for part in node.value:
            yield from strings(part)
    elif isinstance(node.value, str):
        yield node


@given(VALUES)
def test_a_place_is_where_the_value_stands(value: Any) -> None:
    text = json.dumps(value, indent=1)
    lines = text.split("\n")
    for node in strings(json_nodes.compose(text)):
        line, column, length = node.span
        assert json.loads(lines[line - 1][column - 1 : column - 1 + length]) == node.value


@given(st.text() | st.lists(st.sampled_from("{}[]:,-&*!|>'\"% #\n\tab1?<~@`"), max_size=40).map("".join))
def test_whatever_comes_is_read_or_refused(text: str) -> None:
    for compose in (json_nodes.compose, yaml_nodes.compose):
        with contextlib.suppress(Malformed):
            compose(text)


def test_an_alias_is_the_value_itself(project: Path) -> None:
    Path("p.yaml").write_text("a: &x {b: [1]}\nc: [*x, *x]\n")

    assert read(Path("p.yaml")).value == {"a": {"b": [1]}, "c": [{"b": [1]}, {"b": [1]}]}


@pytest.mark.parametrize("loader", ["CSafeLoader", "SafeLoader"])
def test_it_does_without_libyaml(loader: str, document: Document, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyYAML may be built without it."""
    monkeypatch.setattr(yaml_nodes, "_LOADER", getattr(yaml, loader))

    assert read(Path("p.yaml")) == document
    for text in ("a: [1", "a: !!python/object:os.system x", "- " * 1000, 'a: "\\ud800"'):
        with pytest.raises(Malformed):
            yaml_nodes.compose(text)


EXCERPTS = [
    ("abc def", 5, 3, "abc def\n    ^^^"),
    ("abc", 4, 1, "abc\n   ^"),
    ("abc", 9, 4, "abc\n   ^"),
    ("\tabc\x1b[2J", 2, 3, " abc [2J\n ^^^"),
    ("日本: x", 5, 1, "日本: x\n      ^"),
    ("日本: x", 1, 2, "日本: x\n^^^^"),
    ("x" * 300, 250, 1000, "x" * 91 + "\n" + " " * 40 + "^" * 51),
    ("abc   ", 1, 6, "abc\n^^^"),
]


@pytest.mark.parametrize(("line", "column", "length", "shown"), EXCERPTS)
def test_the_part_is_underlined(line: str, column: int, length: int, shown: str) -> None:
    assert excerpt(line, column, length) == shown


def test_errors_say_task_and_field(document: Document) -> None:
    error = document.error("is wrong", ("tasks", "ä", "sql"), task="ä", field="sql", hint="mend it")

    assert str(error) == "p.yaml:3:12: task 'ä': field 'sql': is wrong; mend it"
    assert isinstance(error, DefinitionError)
    assert error.excerpt == '  ä: {sql: "SELECT 1", list: [1, [true, x]]}\n           ^^^^^^^^^^'
