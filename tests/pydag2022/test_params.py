"""The params of a 2022 task are data, however they are written."""

from __future__ import annotations

import ast
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pydag_gcp import templates
from pydag_gcp.errors import DefinitionError
from pydag_gcp.pydag2022.params import parse, verbatim

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
)
DICTS = st.dictionaries(st.text("abc_", min_size=1, max_size=3), SCALARS, max_size=4)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("  {} ", {}),
        ("{'k':'v', 'other': 'w'}", {"k": "v", "other": "w"}),
        ('{"k": "it\'s", "n": 1, "t": true}', {"k": "it's", "n": 1, "t": True}),
        ("{'a': True, 'b': None, 'c': false, 'd': 1.5}", {"a": True, "b": None, "c": False, "d": 1.5}),
        ("{'a': 'say \"no\"', 'b': 'it\\'s'}", {"a": 'say "no"', "b": "it's"}),
        ("{'True': 'None', 'a': \"x'y'z\"}", {"True": "None", "a": "x'y'z"}),
        ("{'a': ['x', {'b': []}]}", {"a": ["x", {"b": []}]}),
        ("{'**GCP_service-account':'', '*variable': 1, 'a': '*'}", {"a": "*"}),
    ],
)
def test_a_dict_as_python_or_json_writes_it(text: str, expected: dict[str, Any]) -> None:
    assert parse(text) == expected


def test_an_object_of_the_definition_is_taken_as_it_is() -> None:
    assert parse({"a": 1, "*b": 2}) == {"a": 1}


@given(DICTS)
def test_json_reads_back(params: dict[str, Any]) -> None:
    assert parse(json.dumps(params)) == params


@given(st.dictionaries(st.text("abc_", min_size=1), st.none() | st.booleans() | st.text("ab'\" {}:,", max_size=8)))
def test_what_python_writes_reads_back(params: dict[str, Any]) -> None:
    assert parse(str(params)) == ast.literal_eval(str(params)) == params


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{'a': 'b'", r"expected , or } \(character 10 of params\); write it as"),
        ("{a: 'b'}", r"expected a name in double quotes \(character 2 of params\)"),
        ("{'a': 'b',}", "a comma before }"),
        ("{'a': 'b' 'c'}", "expected , or }"),
        ("{'a': 1, 'a': 2}", "'a' is given twice"),
        ("['a']", "params are no dict"),
        ("__import__('os').system('true')", "character 1 of params"),
        ("{'a': open('x')}", "character 7 of params"),
        ("{'a': NaN}", "NaN is no number"),
        ("{'a': " + "[" * 5000 + "]" * 5000 + "}", "levels of values in each other"),
        ("{'a': 1" + "0" * 5000 + "}", "a number of 5001 digits"),
        ("{'a': '" + "x" * 200_000 + "'}", "params of more than 100,000 characters"),
    ],
)
def test_anything_else_is_refused(text: str, reason: str) -> None:
    with pytest.raises(DefinitionError, match=reason):
        parse(text)


@given(st.text(st.characters(codec="utf-8")) | st.text("{}%#'\"\\ abc7", max_size=30))
def test_verbatim_text_comes_through_rendering_as_it_is(text: str) -> None:
    assert templates.render_value(verbatim(text), {"abc7": 1}, where="here") == text
