"""SQL templates: files, placeholders, parameters."""

from __future__ import annotations

import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from subprocess import run
from typing import Any

import pytest
import sqlglot
from hypothesis import given
from hypothesis import strategies as st

from pydag_gcp.errors import DefinitionError
from pydag_gcp.googlesql import tokens
from pydag_gcp.resources import GCSObject, Table
from pydag_gcp.sql import Query, Template, analyse, load_template, render_sql

WHERE = "p.py:3: task 'x'"
RUN: dict[str, Any] = {
    "params": {"run_param": 7, "both": "run"},
    "ds": "2022-01-31",
    "project": "proj",
    "logical_date": datetime(2022, 1, 31, tzinfo=UTC),
}
TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def render(text: str, /, **params: Any) -> Query:
    template = Template(text=text, file="sql/x.sql")
    return render_sql(template, params, RUN, project="proj", dataset="home", where=WHERE)


def refusal(text: str, /, **params: Any) -> str:
    with pytest.raises(DefinitionError) as caught:
        render(text, **params)
    message = str(caught.value)
    assert message.startswith(f"{WHERE}: sql/x.sql")
    assert "\n" not in message
    return message.removeprefix(f"{WHERE}: ")


# --- placeholders


@pytest.mark.parametrize(
    ("template", "params", "sql"),
    [
        ("SELECT * FROM {{ t }}", {"t": Table("d.t")}, "SELECT * FROM `proj`.`d`.`t`"),
        ("SELECT * FROM {{ t }}", {"t": Table("t")}, "SELECT * FROM `proj`.`home`.`t`"),
        ("SELECT * FROM {{ t }} AS x", {"t": Table("other-1.d.t")}, "SELECT * FROM `other-1`.`d`.`t` AS x"),
        ("SELECT {{ t }}.a", {"t": Table("t")}, "SELECT `proj`.`home`.`t`.a"),
        ("FROM {{ ts | csv }}", {"ts": [Table("a"), Table("d.b")]}, "FROM `proj`.`home`.`a`, `proj`.`d`.`b`"),
        ("{{ t.project }}={{ t.dataset }}={{ t.name }}", {"t": Table("t")}, "'proj'='home'='t'"),
        ("SELECT {{ s }}", {"s": "it's"}, r"SELECT 'it\'s'"),
        ("SELECT {{ n }}, {{ f }}, {{ b }}", {"n": 1, "f": 0.5, "b": True}, "SELECT 1, 0.5, TRUE"),
        ("SELECT {{ x }}", {"x": None}, "SELECT NULL"),
        ("SELECT {{ x }}", {"x": Decimal("1.5")}, "SELECT NUMERIC '1.5'"),
        ("WHERE d >= {{ d }}", {"d": date(2022, 1, 31)}, "WHERE d >= DATE '2022-01-31'"),
        ("IN UNNEST({{ xs }})", {"xs": ["a", "b"]}, "IN UNNEST(['a', 'b'])"),
        ("OPTIONS (uri = {{ u }})", {"u": GCSObject("gs://bucket/x")}, "OPTIONS (uri = 'gs://bucket/x')"),
        ("SELECT 1 -{{ n }}", {"n": -1}, "SELECT 1 - -1"),
        ("SELECT {{ c | ident }}", {"c": "my col"}, "SELECT `my col`"),
        ("SELECT {{ cs | csv }}", {"cs": ["a", "b"]}, "SELECT `a`, `b`"),
        ("ORDER BY a {{ o | raw }}", {"o": "DESC"}, "ORDER BY a DESC"),
        ("ORDER BY a {{ ('DESC' if down else 'ASC') | raw }}", {"down": 1}, "ORDER BY a DESC"),
        ("FROM stg_{{ y | raw }}", {"y": 2022}, "FROM stg_2022"),
        ("FROM `{{ p | raw }}.d.t`", {"p": "proj"}, "FROM `proj.d.t`"),
        ("uri = 'gs://{{ b | raw }}/*'", {"b": "bucket"}, "uri = 'gs://bucket/*'"),
        ("SELECT 'a-{{ b | raw }}'", {"b": "-b"}, "SELECT 'a--b'"),
        ("SELECT {{ ds }}, {{ project }}, {{ params.run_param }}", {}, "SELECT '2022-01-31', 'proj', 7"),
        ("SELECT {{ params.both }}, {{ params['both'] }}", {"both": "task"}, "SELECT 'task', 'task'"),
        ("SELECT {{ ds }}", {"ds": 1}, "SELECT 1"),
        ("SELECT {{ logical_date }}", {}, "SELECT TIMESTAMP '2022-01-31 00:00:00+00:00'"),
        ("SELECT {{ logical_date.year - 1 }}", {}, "SELECT 2021"),
        ("SELECT {{ ds[:4] }}", {}, "SELECT '2022'"),
        ("{% if x == 'a' %}SELECT 1{% else %}SELECT 2{% endif %}", {"x": "a"}, "SELECT 1"),
        (
            "SELECT {% for x in xs %}{{ x }}{% if not loop.last %}, {% endif %}{% endfor %}",
            {"xs": [1, 2]},
            "SELECT 1, 2",
        ),
        ("{% for c in ['a', 'b'] %}{{ c | ident }},{% endfor %}", {}, "`a`,`b`,"),
        ("{% set n = xs | length %}LIMIT {{ n }}", {"xs": [1, 2]}, "LIMIT 2"),
        ("{{ xs | sort }} {{ xs | unique }} {{ xs | max }}", {"xs": [2, 1, 1]}, "[1, 1, 2] [2, 1] 2"),
        ("{{ x.a }}", {"x": {"a": 1}}, "1"),
        ("{{ x if x is defined else 0 }}", {}, "0"),
        ("{{ params.x | default(5) }}", {}, "5"),
        ("{{ x == 'a' }}", {"x": "a"}, "TRUE"),
        ("{# {{ nothing }} #}SELECT {% raw %}'{{ x }}'{% endraw %}", {}, "SELECT '{{ x }}'"),
        ("SELECT '{% if true %}a{% endif %}'", {}, "SELECT 'a'"),
    ],
)
def test_rendering(template: str, params: dict[str, Any], sql: str) -> None:
    assert render(template, **params).sql == sql


def test_the_tables_put_into_the_text_are_told() -> None:
    shared = Table("d.audit", shared=True)
    query = render(
        "INSERT {{ a }} SELECT * FROM {{ ts | csv }}, {{ r | raw }}", a=shared, ts=[Table("t")], r=Table("d.r")
    )
    assert query.tables == {Table("proj.d.audit", shared=True), Table("proj.home.t"), Table("proj.d.r")}


def test_a_default_dataset_may_be_in_another_project() -> None:
    template = Template(text="SELECT * FROM {{ a }}, {{ b }}, c")
    query = render_sql(
        template, {"a": Table("t"), "b": Table("d.t")}, {}, project="proj", dataset="else-1.home", where=WHERE
    )
    assert query.sql == "SELECT * FROM `else-1`.`home`.`t`, `proj`.`d`.`t`, c"
    found = analyse(query, project="proj", dataset="else-1.home")
    assert found.reads == frozenset(map(Table, ("else-1.home.t", "proj.d.t", "else-1.home.c")))


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("SELECT '{{ s }}'", "sql/x.sql:1:9: {{ s }} stands inside quotes; write it without the quotes"),
        ('\n SELECT "a{{ s }}b"', "sql/x.sql:2:11: {{ s }} stands inside quotes"),
        ("SELECT '''a\n'{{s}}'\n'''", "sql/x.sql:2:2: {{s}} stands inside quotes"),
        ('r"""{{ s }}"""', "inside quotes"),
        (r"SELECT 'it\'s {{ s }}'", "inside quotes"),
        ("b'{{ s }}'", "inside quotes"),
        ("FROM `{{ s }}`", "sql/x.sql:1:7: {{ s }} stands inside backticks; write a Table or {{ name | ident }}"),
        ("-- {{ s }}\nSELECT 1", "inside a comment; write the comment as {# ... #}"),
        ("# {{ s }}", "inside a comment"),
        ("/* /* {{ s }} */", "inside a comment"),
        ("{% if true %}'{% endif %}{{ s }}'", "inside quotes"),
        ("SELECT stg_{{ n }}", "sql/x.sql:1:12: {{ n }} touches what stands beside it; make one value of it all"),
        ("SELECT {{ s }}x", "touches"),
        ("SELECT r{{ s }}", "touches"),
        ("SELECT {{ n }}{{ n }}", "touches"),
        ("SELECT {{ l }}{{ l }}", "touches"),
        ("SELECT {{ n }}.5", "touches"),
        ("FROM {{ s }}.t", "touches"),
        ("FROM {{ t }}_x", "touches"),
        ("FROM x{{ t }}", "touches"),
        ("SELECT @{{ s }}", "touches"),
        ("SELECT {{ s | upper }}", "sql/x.sql:1: filter 'upper' is not allowed in SQL; write UPPER({{ name }}) in SQL"),
        ("\n\nSELECT {{ s | replace('a', 'b') }}", "sql/x.sql:3: filter 'replace'"),
        ("IN ({{ l | join(',') }})", "IN UNNEST({{ values }}); a list of names is written {{ names | csv }}"),
        ("{{ s | idnt }}", "filter 'idnt' is not allowed in SQL; did you mean 'ident'?"),
        ("{{ s | safe }}", "filter 'safe'"),
        ("{{ s ~ 'x' }}", "'~' is not allowed in SQL; compute the text in SQL"),
        ("{{ s + s }}", "'+' on text or lists is not allowed"),
        ("{{ s % 1 }}", "'%' on text or lists is not allowed"),
        ("{{ s * 2 }}", "'*' on text or lists is not allowed"),
        ("\nORDER BY {{ 'DESC' }}", "sql/x.sql:2: the template's own text 'DESC' would be quoted as a string"),
        ("{{ s or 'x' }}", "the template's own text 'x'"),
        ("{{ 'a' if n else s }}", "the template's own text 'a'"),
        ("{{ s | default('x') }}", "the template's own text 'x'"),
        ("{{ ['a'] }}", "the template's own text 'a'"),
        ("{% set x = 'a' %}{{ x }}", "{{ x }}: the template's own text 'a'"),
        ("{% for x in ['a'] %}{{ x }}{% endfor %}", "{{ x }}: the template's own text 'a'"),
        ("{{ s.upper() }}", "calls are not allowed in SQL"),
        ("{{ range(3) }}", "calls are not allowed in SQL"),
        ("{{ s.upper }}", "attribute 'upper' of a str is not allowed"),
        ("{{ s.__class__ }}", "attribute '__class__' of a str is not allowed"),
        ("{{ t.shared }}", "attribute 'shared' of a Table is not allowed"),
        ("{{ logical_date.tzinfo }}", "attribute 'tzinfo' of a datetime is not allowed"),
        ("{% macro m() %}{% endmacro %}", "Jinja's macro is not allowed in SQL"),
        ("{% include 'x' %}", "Jinja's include is not allowed in SQL"),
        ("{% extends 'x' %}", "Jinja's extends is not allowed in SQL"),
        ("{% filter upper %}x{% endfilter %}", "Jinja's filterblock is not allowed in SQL"),
        ("{% set x %}a{% endset %}", "Jinja's assignblock is not allowed in SQL"),
        ("SELECT 1\n{{ ss }}", "sql/x.sql:2: unknown name 'ss'; did you mean 's'?"),
        ("{{ params.run_parm }}", "unknown name 'run_parm'; did you mean 'run_param'?"),
        ("{{ d.aa }}", "unknown name 'aa'; did you mean 'a'?"),
        ("{{ d }}", "{{ d }}: a dict has no GoogleSQL literal"),
        ("{{ l | ident }}", "| ident takes one name; a list of names is written with | csv"),
        ("{{ s | csv }}", "| csv takes a list of names"),
        ("{{ [] | csv }}", "| csv got an empty list"),
        ("{{ [s | ident] }}", "raw, ident and csv stand alone"),
        ("{{ part }}", "names a partition, which SQL cannot"),
        ("SELECT {{ s }", "unexpected '}'"),
        ("SELECT 1\n, 'abc", "sql/x.sql:2:3: ' is never closed"),
        ("SELECT {{ 10 ** (10 ** 9) }}", "a number that is too large"),
        ("{% for a in m %}{% for b in m %}{% endfor %}{% endfor %}SELECT 1", "more than 100,000 turns"),
        ("SELECT @ss", "sql/x.sql:1:8: unknown parameter @ss; did you mean 's'?"),
        ("SELECT @t", "@t is a table, which no query parameter can be; write {{ t }}"),
        ("SELECT @none", "@none is None, whose type nobody knows; write {{ none }}"),
        ("SELECT @empty", "@empty is [], whose type nobody knows; write {{ empty }}"),
        ("SELECT @d", "@d: a dict has no GoogleSQL literal"),
    ],
)
def test_what_would_quote_wrongly_is_refused_at_its_place(template: str, message: str) -> None:
    known = {
        "s": "abc", "n": 1, "l": [1], "t": Table("t"), "d": {"a": 1}, "none": None, "empty": [], "m": [1] * 400,
        "part": Table("d.t$20220131"),
    }  # fmt: skip
    assert message in refusal(template, **known)


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("SELECT '{{ x | raw }}' FROM t", "a' FROM u --"),
        ("SELECT '{{ x | raw }}' FROM t", "\\"),
        ("SELECT '{{ x | raw }}' FROM t", "a\nb"),
        ("SELECT `{{ x | raw }}` FROM t", "a` FROM u WHERE `b"),
        ("SELECT {{ x | raw }}, secret FROM t", "1 --"),
        ("SELECT {{ x | raw }}, secret FROM t", "1 /*"),
        ("SELECT {{ x | raw }}, 'secret' FROM t", "'"),
        ("SELECT 1 -{{ x | raw }} FROM t", "- FROM u"),
        ("SELECT 1 -- {{ x | raw }}\nFROM t", "\n DROP"),
        ("SELECT 1 /* {{ x | raw }} */ FROM t", "*/ DROP"),
        ("SELECT r{{ x | raw }} FROM t", "'a"),
    ],
)
def test_raw_text_cannot_open_or_close_what_stands_around_it(template: str, value: str) -> None:
    message = refusal(template, x=value)
    assert "{{ x | raw }} opens or closes a quote or a comment" in message or "never closed" in message


@pytest.mark.parametrize("value", ["-- all of it", "a, 'b'", "`c`", "(SELECT 1 /* one */)", "x\n-- y\n"])
def test_raw_text_may_be_whole_sql(value: str) -> None:
    assert render("SELECT\n{{ x | raw }}\nFROM t", x=value).sql == f"SELECT\n{value}\nFROM t"


# --- query parameters


def test_names_with_an_at_sign_are_bound() -> None:
    params = {"a": 1, "Day": date(2022, 1, 31), "xs": ["a", None], "uri": GCSObject("gs://bucket/x")}
    query = render("SELECT @a, @DAY, @xs, @uri, @a, @ds, @@project_id, '@nothing', `@nothing` -- @nothing", **params)
    assert query.parameters == {
        "a": 1, "Day": date(2022, 1, 31), "xs": ["a", None], "uri": "gs://bucket/x", "ds": "2022-01-31",
    }  # fmt: skip
    assert query.sql.startswith("SELECT @a, @DAY")


def test_a_parameter_in_a_value_is_no_parameter() -> None:
    assert render("SELECT {{ s }}", s="@s").parameters == {}


@pytest.mark.parametrize("template", ["SELECT 1", "SELECT '@unused', `@unused` -- @unused", "SELECT @unuse, @@unused"])
def test_a_parameter_that_is_not_used_is_an_error(template: str) -> None:
    message = refusal(template, unused=1, unuse=2)
    assert "is used neither as {{ unu" in message


def test_a_parameter_used_in_a_branch_not_taken_is_used() -> None:
    assert render("SELECT 1{% if false %}, {{ a }}{% endif %}", a=1).sql == "SELECT 1"


# --- laws


STATEMENT = "SELECT {{ a }} AS a, [{{ a }}, 'x'] FROM t WHERE b = {{ a }} -- end"


@given(TEXT)
def test_no_value_changes_the_structure_of_a_statement(text: str) -> None:
    query = render(STATEMENT, a=text)
    tree = sqlglot.parse_one(query.sql, read="bigquery")
    harmless = sqlglot.parse_one(render(STATEMENT, a="harmless").sql, read="bigquery")
    assert [node.key for node in tree.walk()] == [node.key for node in harmless.walk()]
    assert [node.this for node in tree.find_all(sqlglot.exp.Literal)].count(text) == (4 if text == "x" else 3)


INJECTIONS = [
    "'", "''", "\\", "\\'", "'; DROP TABLE t; --", "\n; DROP TABLE t", "*/ DROP TABLE t /*", "`; --", '"', "'''",
    "{{ 1 }}", "{% raw %}", "@ds", "%s", "\x00", "\u2028", "\r\n--", "' OR ''='", "\\' OR 1=1 --", "\u02bc", "\ue000",
]  # fmt: skip


@pytest.mark.parametrize("text", INJECTIONS)
def test_injections_are_text(text: str) -> None:
    query = render("SELECT {{ a }} AS a, {{ b | csv }} FROM t -- end", a=text, b=["x"])
    (column, _) = sqlglot.parse_one(query.sql, read="bigquery").expressions
    assert column.this.this == text
    assert [token.kind for token in tokens(query.sql)].count("comment") == 1
    assert query.parameters == {}


@given(st.text("ab'\"`\\\n-#/*@r{}%; ", max_size=12), st.text("ab'\"`\\\n-#/*@ ", max_size=6))
def test_raw_text_in_any_place_leaves_the_rest_alone(around: str, inside: str) -> None:
    """Whatever is accepted has the same quotes and comments around the raw text, with it and without it."""
    template = "{{ x | raw }}".join([around, around])
    try:
        sql = render(template, x=inside).sql
    except DefinitionError:
        return
    start, end = sql.index(inside, len(around)), len(sql) - len(around)
    fences = [(t.start, t.end) for t in tokens(sql) if t.kind in {"comment", "string", "quoted"}]
    assert all(not (a < start < b) or b >= end for a, b in fences)


# --- places


def test_an_error_found_in_rendered_sql_names_the_line_of_the_template() -> None:
    template = "SELECT\n{% for x in xs %}\n  {{ x }},\n{% endfor %}\n  1 FROM d.t WHER a = {{ xs[0] }}"
    query = render(template, xs=[1, 2, 3])
    with pytest.raises(DefinitionError) as caught:
        analyse(query, project="proj", dataset=None)
    assert str(caught.value) == f"{WHERE}: sql/x.sql:5:19: SQL syntax error near 'a'; did you mean 'WHERE'?"


def test_sql_in_the_pipeline_is_named_by_its_line() -> None:
    with pytest.raises(DefinitionError) as caught:
        render_sql(Template(text="SELECT\n'{{ ds }}'"), {}, RUN, project="proj", dataset=None, where=WHERE)
    assert str(caught.value).startswith(f"{WHERE}: line 2, column 2: {{{{ ds }}}} stands inside quotes")


def test_a_table_without_a_dataset_is_named() -> None:
    with pytest.raises(DefinitionError) as caught:
        render_sql(Template(text="{{ t }}"), {"t": Table("t")}, RUN, project="proj", dataset=None, where=WHERE)
    assert str(caught.value) == f"{WHERE}: parameter 't': table 't' has no dataset; write it as 'dataset.table'"


def test_line_ends_of_windows_do_not_move_places() -> None:
    assert refusal("SELECT 1,\r\n'{{ s }}'", s=1).startswith("sql/x.sql:2:2: ")


# --- files


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "sql").mkdir()
    return tmp_path


def load(sql: str, project: Path) -> Template:
    return load_template(sql, folder=project / "pipelines", project_folder=project, where=WHERE)


@pytest.mark.parametrize("sql", ["SELECT 1", "SELECT * FROM d.sql", "DROP TABLE\nx.sql", "x"])
def test_what_is_no_file_name_is_sql(sql: str, project: Path) -> None:
    assert load(sql, project) == Template(text=sql)


def test_a_file_next_to_the_pipeline_comes_before_one_of_the_project(project: Path) -> None:
    (project / "sql" / "x.sql").write_text("SELECT 2")
    assert load("x.sql", project) == Template(text="SELECT 2", file=project / "sql" / "x.sql")
    (project / "pipelines" / "x.sql").write_text("\ufeffSELECT 1")
    assert load("x.sql", project) == Template(text="SELECT 1", file=project / "pipelines" / "x.sql")


def test_a_file_may_lie_in_a_folder(project: Path) -> None:
    (project / "sql" / "a").mkdir()
    (project / "sql" / "a" / "x.sql").write_text("SELECT 1")
    assert load("a/x.sql", project).text == "SELECT 1"
    assert load(str(project / "sql" / "a" / "x.sql"), project).text == "SELECT 1"


def test_a_missing_file_names_the_places_looked_in(project: Path) -> None:
    with pytest.raises(DefinitionError) as caught:
        load("x.sql", project)
    assert str(caught.value) == (
        f"{WHERE}: no SQL file 'x.sql'; looked for {project}/pipelines/x.sql and {project}/sql/x.sql"
    )


def test_a_misspelt_file_names_the_one_that_is_there(project: Path) -> None:
    (project / "sql" / "create_table.sql").write_text("SELECT 1")
    with pytest.raises(DefinitionError, match=r"no SQL file 'create_tabel.sql'; did you mean 'create_table.sql'\?"):
        load("create_tabel.sql", project)


def test_a_file_in_another_encoding_is_refused(project: Path) -> None:
    (project / "sql" / "x.sql").write_bytes("SELECT 1,\n'ü'".encode("latin-1"))
    with pytest.raises(DefinitionError, match=r"sql/x\.sql:2: is not UTF-8"):
        load("x.sql", project)


def test_a_file_in_a_bucket_needs_a_target(project: Path) -> None:
    with pytest.raises(DefinitionError, match=r"gs://bucket/x\.sql cannot be read without a target"):
        load("gs://bucket/x.sql", project)


# --- weight


def test_importing_it_loads_neither_jinja_nor_sqlglot() -> None:
    code = "import sys, pydag_gcp.sql; print(sorted({'jinja2', 'sqlglot', 'google'} & set(sys.modules)))"
    assert run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
