"""Broken YAML: each exits 2 with one line that names file, line and column, and shows the line underlined."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.definitions.conftest import Refused

GOOD = """\
dag: good
schedule: "0 6 * * *"
retry: {attempts: 3, wait: {seconds: 2}}
params: {day: {date: 2022-01-31}}
tasks:
  first:
    operator: BigQueryQuery
    sql: SELECT 1 AS x
    timeout: {minutes: 5}
  second:
    operator: GCSToBigQuery
    source: gs://bucket/in/*.csv
    destination: sales.raw
    schema: {id: INT64, day: DATE NOT NULL}
    upstream: [first]
"""

#: What is written instead of what in GOOD, and what is said of it.
CHANGED = {
    "a field that is misspelt": ("upstream: [first]", "upsteam: [first]",
        r"15:5: task 'second': field 'upsteam': no such field; did you mean 'upstream'\?"),
    "a field of another operator": ("sql: SELECT 1 AS x", "sqll: 1", r"8:5: .*'sqll': no such field; did you mean 'sq"),
    "a top-level name that is misspelt": ("schedule", "shedule", r"2:1: field 'shedule': no such field; .*'schedule'"),
    "a name at depth": ("attempts: 3", "atempts: 3", r"3:9: field 'retry.atempts': no such field; did you mean 'att"),
    "an operator that is misspelt": ("BigQueryQuery", "BigQuerryQuery",
        r"7:15: task 'first': field 'operator': no operator 'BigQuerryQuery'; did you mean 'BigQueryQuery'\?"),
    "an operator of one's own": ("BigQueryQuery", "os:system", r"7:15: .*no operator 'os:system'; .* no code"),
    "a dotted operator": ("BigQueryQuery", "pydag_gcp.operators.BigQueryQuery", r"7:15: .*no operator .*no code"),
    "a class that is no operator": ("BigQueryQuery", "Partitioning", r"7:15: .*no operator 'Partitioning'"),
    "an operator that is a list": ("BigQueryQuery", "[BigQueryQuery]", r"7:15: .*no operator \['BigQueryQuery'\]"),
    "no operator": ("operator: BigQueryQuery", "priority: 1", r"6:3: task 'first': field 'operator': is required"),
    "a required field that is missing": ("    destination: sales.raw\n", "",
        r"10:3: task 'second': field 'destination': is required"),
    "an unknown upstream": ("[first]", "[frist]", r"15:16: .*'upstream': no task 'frist'; did you mean 'first'\?"),
    "an upstream that is a number": ("[first]", "[1]", r"15:16: .*'upstream': no task 1"),
    "an upstream that is a mapping": ("[first]", "{first: 1}", r"15:15: .*'upstream': expected a list of task ids"),
    "a task that waits for itself": ("[first]", "[second]", r"15:16: .*a task cannot wait for itself"),
    "a teardown of nobody": ("upstream: [first]", "teardown_of: frist", r"15:18: .*'teardown_of': no task 'frist'"),
    "a duplicate task": ("  second:", "  first:", r"10:3: 'first' is given twice, first in line 6; remove one"),
    "a duplicate field": ("    timeout:", "    sql: SELECT 2\n    timeout:", r"9:5: 'sql' is given twice, first in li"),
    "a bad cron": ("0 6 * * *", "0 66 * * *", r"2:11: DAG 'good': schedule '0 66 \* \* \*' is no cron expression"),
    "a cron of words": ("0 6 * * *", "every day", r"2:11: .*schedule 'every day' is no cron expression"),
    "a schedule that is a number": ('"0 6 * * *"', "6", r"2:11: field 'schedule': .* a valid string, got 6"),
    "negative retries": ("attempts: 3", "attempts: -1", r"3:19: field 'retry.attempts': .*greater than or equal to 1"),
    "a negative wait": ("seconds: 2", "seconds: -2", r"3:28: field 'retry.wait': .*greater than or equal to 0"),
    "a retry that is a number": ("{attempts: 3, wait: {seconds: 2}}", "3", r"3:8: field 'retry': .*got 3"),
    "an unknown unit": ("minutes: 5", "minuets: 5", r"9:14: .*'timeout': expected a mapping of weeks, days, hours"),
    "a span of text": ("minutes: 5", "minutes: five", r"9:14: .*'timeout': expected a number of minutes, got 'five'"),
    "a span without an end": ("minutes: 5", "weeks: 99999999999", r"9:14: .*'timeout': is too long"),
    "a timeout of nothing": ("{minutes: 5}", "0", r"9:14: .*'timeout': input should be greater than 0"),
    "an unknown trigger rule": ("timeout: {minutes: 5}", "trigger_rule: all_sucess",
        r"9:19: .*field 'trigger_rule': .*got 'all_sucess'; did you mean 'all_success'\?"),
    "a wrong type": ("timeout: {minutes: 5}", "slots: many", r"9:12: .*field 'slots': .*valid integer.*got 'many'"),
    "a wrong type at depth": ("INT64,", "{type: INT64},", r"14:13: .*field 'schema': column 'id': expected a type"),
    "an unknown column type": ("INT64,", "INT46,", r"14:.*field 'schema.*: unknown type 'INT46'; did you mean 'INT64'"),
    "a table that is none": ("sales.raw", "a.b.c.d", r"13:18: .*field 'destination.*: expected a table such as"),
    "a table without a dataset": ("sales.raw", "raw", r":10: task 'second': table 'raw' has no dataset; write it as"),
    "a bucket that is none": ("gs://bucket/in/*.csv", "s3://bucket/x", r"12:13: .*field 'source.*expected an object"),
    "an output that cannot stand there": ("{minutes: 5}", "{output: first}", r"9:14: .*'timeout': an output or a sec"),
    "a secret that cannot stand there": ("sales.raw", '{secret: "env:X"}', r"13:18: .*an output or a secret canno"),
    "a date out of range": ("2022-01-31", "2022-02-31", r"4:22: date: expected 2022-01-31, got '2022-02-31' \(day is"),
    "a date that is a number": ("2022-01-31", "20220131", r"4:22: date: expected 2022-01-31, got 20220131"),
    "a task id with a slash": ("  second:", "  a/b:", r"10:3: a task id is a letter, then .*, got 'a/b'"),
    "a task id with a dot": ("  second:", "  a.b:", r"10:3: a task id is .*, got 'a.b'"),
    "a task id with a space": ("  second:", "  a b:", r"10:3: a task id is .*, got 'a b'"),
    "a task id with an escape": ("  second:", '  "a\\eb":', r"10:3: a task id is .*, got 'a\\x1bb'"),
    "a task id in another script": ("  second:", "  задача:", r"10:3: a task id is .*, got 'задача'"),
    "a task id that leads upwards": ("  second:", "  ../../etc/passwd:", r"10:3: a task id is "),
    "a task id that is a number": ("  second:", "  2022:", r"10:3: a name must be text, got 2022; put it in quotes"),
    "a task id without end": ("  second:", f"  {'x' * 500}:", r"10:3: a task id is .*\.\.\.|10:3: a task id is "),
    "a dag id with a slash": ("dag: good", "dag: ../good", r"1:6: field 'dag': '../good' does not fit: unique name"),
    "a dag id that is a list": ("dag: good", "dag: [good]", r"1:6: field 'dag': input should be a valid string"),
    "a task that is text": ("  second:", "  third: hello\n  second:", r"10:10: .*field 'tasks.third': .*a mapping"),
    "a number without end": ("attempts: 3", f"attempts: {'9' * 5000}", r"3:19: a number of 5000 digits"),
    "a number that is too large": ("attempts: 3", "attempts: 1e999", r"3:19: a number that is too large"),
    "a number that is none": ("attempts: 3", "attempts: .nan", r"3:19: .nan is no number"),
    "a NUL": ("SELECT 1 AS x", '"SELECT \\0"', r"8:10: text with a character that no file may hold"),
    "a python tag": ("SELECT 1 AS x", '!!python/object/apply:os.system ["touch executed"]',
        r"8:10: the tag !!python/object/apply:os.system; a pipeline is plain values"),
    "a python name": ("SELECT 1 AS x", "!!python/name:os.system", r"8:10: the tag !!python/name:os.system"),
    "a tag of one's own": ("SELECT 1 AS x", "!include other.yaml", r"8:10: the tag !include"),
    "a standard tag": ("SELECT 1 AS x", "!!str 1", r"8:10: the tag !!str"),
    "a merge key": ("timeout: {minutes: 5}", "<<: {slots: 2}", r"9:5: the merge key << is no part of YAML 1.2"),
    "an anchor inside itself": ("[first]", "&x [*x]", r"15:19: \*x stands inside of &x, which would never end"),
    "an unknown anchor": ("[first]", "*x", r"15:15: no anchor &x above"),
    "a tab": ("    sql: SELECT", "\tsql: SELECT", r"8:1: is no YAML: .*; indent with spaces, not tabs"),
    "text with a colon": ("sql: SELECT 1 AS x", "sql: a: b", r"8:11: is no YAML: mapping values are not allowed"),
    "a bracket that stays open": ("[first]", "[first", r"is no YAML: "),
    "a quote that stays open": ("SELECT 1 AS x", '"SELECT', r"8:10: is no YAML: .*; a quote is not closed"),
    "a second document": ("tasks:", "---\ntasks:", r"5:1: a second document begins here; one file, one pipeline"),
    "a SQL file that is missing": ("SELECT 1 AS x", "missing.sql", r":6: task 'first': .*missing\.sql"),
    "SQL that is none": ("SELECT 1 AS x", "SELEC 1 FROM", r":6: task 'first': "),
    "an unknown variable in SQL": ("SELECT 1 AS x", '"SELECT {{ nmae }}"', r":6: task 'first': .*nmae"),
    "a param that SQL does not use": ("timeout: {minutes: 5}", "params: {year: 1}", r":6: task 'first': .*year"),
    "a template that is none": ("SELECT 1 AS x", '"SELECT {{ x"', r":6: task 'first': "),
}  # fmt: skip

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)

#: Whole documents, and what is said of them.
WHOLE = {
    "nothing": ("", r"1:1: holds nothing; write"),
    "a comment": ("# nothing here\n", r"1:1: holds nothing"),
    "null": ("---\n", r"holds nothing; a pipeline is a mapping"),
    "a list": ("- dag: x\n", r"1:1: holds a list; a pipeline is a mapping with `dag:` and `tasks:`"),
    "text": ("dag", r"1:1: holds a single value"),
    "no tasks": ("dag: x\n", r"field 'tasks': is required"),
    "empty tasks": ("dag: x\ntasks: {}\n", r"2:8: field 'tasks': .*at least 1 item"),
    "tasks in a list": ("dag: x\ntasks: [a]\n", r"2:8: field 'tasks': .*a mapping"),
    "a cycle": (
        GOOD.replace("sql: SELECT 1", "upstream: second\n    sql: SELECT 1").replace("good", "x"),
        r"DAG 'x': has a cycle: .* -> .* -> .*; remove one of these edges",
    ),
    "a bomb": (BOMB, r"more than 200,000 values"),
    "a deep list": ("[" * 100_000, r"1:61: more than 60 levels"),
    "a deep mapping": ("{a: " * 100_000, r"more than 60 levels"),
    "deep dashes": ("- " * 100_000, r"more than 60 levels"),
    "deep aliases": (
        "".join(f"a{n}: &a{n} [{'[' * 19}{f'*a{n - 1}' if n else 1}{']' * 19}]\n" for n in range(9)),
        r"more than 60 le",
    ),
    "many values": ("a: [" + "1, " * 300_000 + "]\n", r"more than 200,000 values"),
    "a long line": ("a: " + "x" * 1_000_000 + ": b\n", r"is no YAML"),
    "a key that is a list": ("? [a]\n: b\n", r"1:3: a name must be text, got a list or mapping"),
    "a boolean key": ("true: b\n", r"1:1: a name must be text, got True"),
}


@pytest.mark.parametrize("case", CHANGED)
def test_a_mistake_is_one_line_with_its_place(case: str, refused: Refused) -> None:
    before, after, message = CHANGED[case]
    assert before in GOOD
    Path("p.yaml").write_text(GOOD.replace(before, after, 1))

    refused("p.yaml", message)


@pytest.mark.parametrize("case", WHOLE)
def test_a_document_that_is_no_pipeline(case: str, refused: Refused) -> None:
    text, message = WHOLE[case]
    Path("p.yml").write_text(text)

    refused("p.yml", message, command="run")


def test_the_good_one_is_good(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from pydag_gcp import cli

    Path("p.yaml").write_text(GOOD)

    assert cli.main(["validate", "p.yaml"]) == 0
    assert capsys.readouterr().out == "p.yaml: ok (2 tasks)\n"


def test_a_mistake_is_underlined(refused: Refused) -> None:
    Path("p.yaml").write_text(GOOD.replace("upstream", "upsteam"))

    assert refused("p.yaml", "upsteam").splitlines()[1:] == ["      upsteam: [first]", "      ^^^^^^^"]
