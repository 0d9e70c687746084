"""Broken JSON: no more than RFC 8259 is taken, and every mistake is one line with its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.definitions.conftest import Refused

GOOD = """\
{
  "dag": "good",
  "tasks": {
    "first": {"operator": "BigQueryQuery", "sql": "SELECT 1 AS x"},
    "second": {"operator": "BigQueryQuery", "sql": "SELECT 2 AS x", "upstream": ["first"]}
  }
}
"""

CHANGED = {
    "NaN": ('"SELECT 1 AS x"', "NaN", r"4:51: is no JSON: NaN is no number"),
    "infinity": ('"SELECT 1 AS x"', "-Infinity", r"4:51: is no JSON: -Infinity is no number"),
    "a huge number": ('"SELECT 1 AS x"', "1e999", r"4:51: a number that is too large"),
    "a number of many digits": ('"SELECT 1 AS x"', "9" * 5000, r"4:51: a number of 5000 digits"),
    "a leading zero": ('"SELECT 1 AS x"', "01", r"4:52: is no JSON: expected , or }"),
    "a duplicate name": ('"second"', '"first"', r"5:5: 'first' is given twice, first in line 4"),
    "a comma at the end": ('["first"]', '["first",]', r"5:89: .*a comma before \]"),
    "a comma that is missing": ('},\n    "second"', '}\n    "second"', r"5:5: is no JSON: expected , or }"),
    "a colon that is missing": ('"dag":', '"dag"', r"2:9: is no JSON: expected : after 'dag'"),
    "single quotes": ('"good"', "'good'", r"2:10: is no JSON: expecting value"),
    "a name without quotes": ('"dag"', "dag", r"2:3: is no JSON: expected a name in double quotes"),
    "a name that is a number": ('"dag"', "1", r"2:3: is no JSON: expected a name in double quotes"),
    "a comment": ("{\n", "{ // pipeline\n", r"1:3: is no JSON"),
    "a word": ('"good"', "good", r"2:10: is no JSON: expecting value"),
    "a Python word": ('"good"', "None", r"2:10: is no JSON: expecting value"),
    "a line end in a string": ("SELECT 1", "SELECT\n1", r"4:5\d: is no JSON: invalid control character"),
    "an escape that is none": ("SELECT 1", r"SELECT \q", r"4:5\d: is no JSON: invalid \\+escape"),
    "half a character": ("SELECT 1", r"\ud800", r"4:51: text with a character that no file may hold"),
    "a NUL": ("SELECT 1", r"\u0000", r"4:51: text with a character that no file may hold"),
    "a string that stays open": ('"first"]', '"first]', r"5:90: is no JSON: invalid control"),
    "more at the end": ("  }\n}\n", "  }\n}}\n", r"7:2: is no JSON: more text after its end"),
    "an end that is missing": ("  }\n}\n", "  }\n", r"7:1: is no JSON: expected , or }"),
    "a misspelt field": ('"sql": "SELECT 1', '"slq": "SELECT 1', r"4:44: .*'slq': no such field; did you mean 'sql'"),
    "a misspelt operator": ("BigQueryQuery", "BigQueryQeury", r"4:27: .*no operator 'BigQueryQeury'; did you mean"),
    "an unknown upstream": ('["first"]', '["frist"]', r"5:82: .*no task 'frist'; did you mean 'first'"),
    "a task that is null": ('"first": {', '"zero": null, "first": {', r"4:13: .*'tasks.zero'"),
}  # fmt: skip

WHOLE = {
    "nothing": ("", r"1:1: holds nothing"),
    "blanks": (" \n\t\n", r"holds nothing"),
    "null": ("null", r"1:1: holds nothing"),
    "a list": ('[{"dag": "x"}]', r"1:1: holds a list"),
    "text": ('"dag"', r"1:1: holds a single value"),
    "a number": ("1", r"1:1: holds a single value"),
    "tasks in a list": ('{"dag": "x", "tasks": []}', r"1:23: field 'tasks': .*a mapping"),
    "an empty object": ("{}", r"'dag': is required"),
    "deep lists": ("[" * 100_000, r"1:61: more than 60 levels"),
    "deep objects": ('{"a":' * 100_000, r"more than 60 levels"),
    "many values": ("[" + "1," * 300_000 + "1]", r"more than 200,000 values"),
    "YAML": ("dag: x\ntasks: {}\n", r"1:1: is no JSON: expecting value"),
    "two documents": ("{}\n{}\n", r"2:1: is no JSON: more text after its end"),
    "a long name": (json.dumps({"x" * 1_000_000: 1}), r"no such field"),
}


@pytest.mark.parametrize("case", CHANGED)
def test_a_mistake_is_one_line_with_its_place(case: str, refused: Refused) -> None:
    before, after, message = CHANGED[case]
    assert before in GOOD
    Path("p.json").write_text(GOOD.replace(before, after, 1))

    refused("p.json", message)


@pytest.mark.parametrize("case", WHOLE)
def test_a_document_that_is_no_pipeline(case: str, refused: Refused) -> None:
    text, message = WHOLE[case]
    Path("p.json").write_text(text)

    refused("p.json", message, command="run")


def test_the_good_one_is_good(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from pydag_gcp import cli

    Path("p.json").write_text(GOOD)

    assert cli.main(["validate", "p.json"]) == 0
    assert capsys.readouterr().out == "p.json: ok (2 tasks)\n"
