"""SQL scripts of 2022: an honest value gives the statement it gave then, any other changes nothing but itself."""

from __future__ import annotations

import ast
import contextlib
import re
from collections.abc import Mapping
from typing import Any

import pytest
import sqlglot
from hypothesis import given
from hypothesis import strategies as st
from sqlglot import exp

from pydag_gcp.analysis import analyse
from pydag_gcp.errors import DefinitionError
from pydag_gcp.pydag2022.script import fill
from pydag_gcp.resources import Table
from pydag_gcp.sql import Template

FILE = "gs://bucket/folder/script.sql"

#: Scripts with an honest value for each placeholder.
SCRIPTS: Mapping[str, Mapping[str, str]] = {
    "create or replace table {p}.{d}.{t} (\n  {columns}\n) partition by {day} cluster by {by};": {
        "p": "my-project", "d": "sales", "t": "orders", "columns": "id int64, day date", "day": "day", "by": "id, day",
    },
    "insert into {p}.{d}.t_{year} ({names})\nselect {names} from {whole} where extract(year from day) = {year}": {
        "p": "my-project", "d": "sales", "year": "2022", "names": "id, day", "whole": "a-b.sales.orders",
    },
    "select '{c}', \"x {c}\", '''{c}''' from `{p}.sales.t_{day}` where c = {n} and d in ({l}) -- {c}\nlimit {n}": {
        "c": "cars", "p": "my-project", "day": "20220131", "n": "10", "l": "1, 'a'",
    },
    "delete from {t} where `{c}` - {n} > -{n} and day >= date '{day}' /* {c} */ or active = {flag}": {
        "t": "sales.t", "c": "id", "n": "3", "day": "2022-01-31", "flag": "true",
    },
    "merge {t} t1 using {s} t2 on t1.id = t2.id when matched then update set {c} = {n}": {
        "t": "d.t", "s": "d.s", "c": "id", "n": "1.5e3",
    },
    "select t1.{c}, {p}.sales.f(x, {n}) from {t} t1 join {s} t2 using ({c}), unnest({l}) order by {c}": {
        "c": "id", "p": "my-project", "n": "7", "t": "d.t", "s": "d.s", "l": "[1, 2]",
    },
}  # fmt: skip

#: What people try. Much of it is refused in most places; where it is not, it must stay a value.
ATTACKS = (
    "x' OR '1'='1", "x' OR 1=1 --", 'x" OR ""="', "x`; DROP TABLE d.t; --", "x`.`y", "1; DELETE FROM d.t WHERE true",
    "1 OR TRUE", "1) OR (1=1", "1 UNION ALL SELECT * FROM d.secret", "(SELECT 1)", "SESSION_USER()", "NULL", "*",
    "--", "-- ", "a--b", "#", "/*", "*/", "*/ DROP TABLE d.t /*", "\\", "\\'", "\\\\'", "'", '"', "`", "'''", '"""',
    "\n", "\r\nDROP TABLE d.t", "\u2028DROP", "\0", "\u02bc OR 1=1", "\uff07", "\u201c", "ﬁ", "d\u0131", "\ue000",
    "{{ x }}", "{% raw %}", "{x}", "{0}", "{p.__class__}", "{{", "@x", "@@error.message", "$1", "a.b", "a.b.c.d",
    "..", ".", "a b", "a, b", "a,b); DROP TABLE x", "id int64) AS SELECT 1", "id int64 OPTIONS(x=1)", "-1", "--1", "+1",
    "1e9", "0x1F", "1_000", "\u0661", "TRUE", "false", "DATE '2022-01-01'", "'a'", '"a"', "'a' || 'b'", "r'a'", "b'a'",
    "'a''b'", "'a\\'b'", "[1]", "[1, (SELECT 2)]", "['a', 'b']", "[]", "1, 2", "1,,2", "", " ", "x" * 300,
)  # fmt: skip


def filled(script: str, **params: str) -> str:
    return fill(Template(text=script, file=FILE), params, where="old.json:3: task 't'").sql


def shape(node: Any) -> Any:
    """A syntax tree in which values are one value, names one name, and lists of the same are one of them."""
    if isinstance(node, list):
        shapes = [shape(part) for part in node]
        return [part for index, part in enumerate(shapes) if part not in shapes[:index]]
    if not isinstance(node, exp.Expression):
        return node
    if isinstance(node, (exp.Literal, exp.Boolean)):
        return "value"
    if isinstance(node, exp.Neg):
        return shape(node.this)
    if isinstance(node, exp.Identifier):
        return "name"
    if isinstance(node, exp.ColumnDef):
        return "column"
    left_out = {"catalog", "db", "table"} if isinstance(node, (exp.Table, exp.Column)) else set()
    return type(node).__name__, {key: shape(part) for key, part in node.args.items() if part and key not in left_out}


def parsed(sql: str) -> Any:
    return shape(sqlglot.parse(sql, read="bigquery"))


@pytest.mark.parametrize(("script", "params"), SCRIPTS.items())
def test_an_honest_value_gives_what_str_format_gave(script: str, params: Mapping[str, str]) -> None:
    def plain(sql: str) -> str:
        return re.sub(r"\s+", " ", sql.replace("`", "").replace('"', "'")).lower()

    assert plain(filled(script, **params)) == plain(script.format(**params))


@pytest.mark.parametrize(("script", "name"), [(script, name) for script, params in SCRIPTS.items() for name in params])
def test_an_attack_is_refused_or_stays_a_value(script: str, name: str) -> None:
    honest = parsed(filled(script, **SCRIPTS[script]))
    for attack in ATTACKS:
        with contextlib.suppress(DefinitionError):
            assert parsed(filled(script, **{**SCRIPTS[script], name: attack})) == honest, attack


@given(st.data())
def test_no_value_changes_the_shape_of_a_statement(data: st.DataObject) -> None:
    script = data.draw(st.sampled_from(list(SCRIPTS)))
    name = data.draw(st.sampled_from(list(SCRIPTS[script])))
    pieces = st.sampled_from((*ATTACKS, *"'\"`\\-;()[],. \n", "OR", "int64", "1"))
    value = data.draw(st.lists(pieces, max_size=5).map("".join) | st.text(st.characters(codec="utf-8"), max_size=20))
    try:
        sql = filled(script, **{**SCRIPTS[script], name: value})
    except DefinitionError:
        return
    assert parsed(sql) == parsed(filled(script, **SCRIPTS[script]))


@given(st.text(st.characters(codec="utf-8")), st.sampled_from(["'{x}'", '"{x}"', "'''{x}'''", '"""{x}"""']))
def test_text_in_quotes_arrives_as_it_is(text: str, script: str) -> None:
    sql = filled(f"select {script}", x=text)

    assert ast.literal_eval(sql.removeprefix("select ")) == text  # Python has these escapes too


def test_what_a_statement_reads_and_writes_is_known() -> None:
    script = Template(text="insert into {p}.{d}.{t} select * from {p}.{d}.t_{year} where c = '{c}'", file=FILE)
    query = fill(script, {"p": "my-project", "d": "sales", "t": "cars", "year": "2022", "c": "cars"}, where="here")

    found = analyse(query, project="other-project", dataset=None)

    assert found.writes == frozenset({Table("my-project.sales.cars")})
    assert found.reads == frozenset({Table("my-project.sales.t_2022")})


@pytest.mark.parametrize(
    ("script", "params", "sql"),
    [
        ("select {{1}}, '{{x}}'", {}, "select {1}, '{x}'"),
        ("select {{{x}}}", {"x": "1"}, "select {1}"),
        ("select 1 -{x}, 1-{x}", {"x": "-5"}, "select 1 - -5, 1- -5"),
        ("select * from {a}{b}", {"a": "x", "b": "y"}, "select * from `xy`"),
        ("select * from my-{e}.d.t", {"e": "5"}, "select * from `my-5`.d.t"),
        ("select {x} * 2\r\nfrom t", {"x": "1"}, "select 1 * 2\nfrom t"),
        ("select 1", {"unused": "'; --"}, "select 1"),
        ("select * from t where a in unnest([{x}])", {"x": "1,2"}, "select * from t where a in unnest([1, 2])"),
        ("select '{a b}', {c-d}", {"a b": "x", "c-d": "1"}, "select 'x', 1"),
    ],
)
def test_placeholders_and_braces(script: str, params: Mapping[str, str], sql: str) -> None:
    assert filled(script, **params) == sql


@pytest.mark.parametrize(
    ("script", "params", "reason"),
    [
        ("select {yaer}", {"year": "1"}, r"script\.sql:1:8: params has no 'yaer'; did you mean 'year'\?"),
        ("select {x}", {"year": "1"}, "params has no 'x'; params has: year"),
        ("select {x}", {}, "params has no 'x'; the task has no params"),
        ("select {}", {}, "params has no ''"),
        ("select\n  {x.y}", {"x": "1"}, r":2:3: \{x.y\}: attributes, indexes, conversions and formats"),
        ("select {x[0]}", {"x": "1"}, r"attributes, indexes"),
        ("select {x!r}", {"x": "1"}, r"attributes, indexes"),
        ("select {x:>5}", {"x": "1"}, r"attributes, indexes"),
        ("select {x", {"x": "1"}, r":1:8: a '\{' stands alone; double it"),
        ("select }", {}, r":1:8: a '}' stands alone"),
        ("select {a{b}}", {"b": "1"}, r"a '\{' stands alone"),
        ("select '{x}", {"x": "1"}, r":1:8: ' is never closed"),
        ("select r'{x}'", {"x": "1"}, r"\{x\} stands in a string that begins with R"),
        (r"select '\{x}'", {"x": "1"}, r"\{x\} stands behind a backslash"),
        ("select '\\\\{x}', {y}", {"x": "1", "y": "a"}, r":1:17: \{y\} stands for a number, quoted text, .* got 'a'"),
        ("select {x} from t", {"x": "1"}, r"\{x\} stands for names of columns, separated by commas, got '1'"),
        (
            "select * from {t}",
            {"t": "a.b.c.d"},
            r"\{t\} stands for a name such as project.dataset.table, got 'a.b.c.d'",
        ),
        ("update t set {x} = 1", {"x": "a, b"}, r"\{x\} stands for the name of a column, got 'a, b'"),
        ("select {x}'a'", {"x": "r"}, r"\{x\} touches 'A'"),
        ("select 'a'{x}", {"x": "1"}, r"\{x\} touches 'A'"),
        ("select @{x}", {"x": "a"}, r"\{x\} touches @"),
        ("select * from t${x}", {"x": "1"}, r"\{x\}|stands for"),
        ("select {f}(1)", {"f": "abs"}, r"\{f\} names a function"),
        ("select d.{f}(1)", {"f": "abs"}, r"\{f\} names a function"),
        ("select `{f}`(1)", {"f": "abs"}, r"\{f\} names a function"),
        ("select * from {t}(1)", {"t": "tvf"}, r"\{t\} names a function"),
        ("select * from {d}.t", {"d": "a.b"}, r"\{d\} stands for a part of a name, got 'a.b'.*stands alone: `\{d\}`"),
        ("where day > {x}", {"x": "2022-01-31"}, r"got '2022-01-31'; in the script, write '\{x\}' for text"),
        ("where {x}", {"x": "true"}, r"\{x\} stands for a number or quoted text, got 'true'"),
        ("create table t ({c})", {"c": "id strng"}, r"\{c\} stands for column definitions .* did you mean 'STRING'"),
        ("select {x}", {"x": "y" * 1000}, r"got 'y{80}\.\.\.'"),
        ("x" * (1024 * 1024 + 1), {}, "a script of more than 1,048,576 characters"),
    ],
)
def test_what_is_refused_is_told_with_its_place(script: str, params: Mapping[str, str], reason: str) -> None:
    with pytest.raises(DefinitionError, match=reason) as raised:
        filled(script, **params)

    assert str(raised.value).startswith("old.json:3: task 't': gs://bucket/folder/script.sql")
    assert "\n" not in str(raised.value)


def test_a_long_script_is_filled_at_once() -> None:
    count = 5_000
    sql = filled("select " + ", ".join(["'{x}'", "{n}"] * count), x="it's", n="1")

    assert sql.count("it\\'s") == count
