"""Hostile values in SQL: they arrive as they are, or are refused; no statement becomes another."""

from __future__ import annotations

import re
import runpy
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlglot
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlglot import exp

from pydag_gcp.errors import DefinitionError
from pydag_gcp.googlesql import literal
from pydag_gcp.resources import Table
from pydag_gcp.sql import Template, render_sql, render_value

if TYPE_CHECKING:
    from tests.injection.conftest import Cloud

CORPUS = runpy.run_path(str(Path(__file__).with_name("corpus.py")))
VALUES: list[str] = CORPUS["VALUES"]
STATEMENTS: list[str] = CORPUS["STATEMENTS"]
SURROGATES: list[str] = CORPUS["SURROGATES"]
PRIVATE: str = CORPUS["PRIVATE"]

ECHO = """
from pydag_gcp import DAG, Table
from pydag_gcp.operators import BigQueryQuery

NAMES = [f"v{number}" for number in range(COUNT)]

with DAG("echo", params=dict.fromkeys(NAMES, "")) as dag:
    own = {name: "{{ params.%s }}" % name for name in NAMES}
    BigQueryQuery(
        task_id="echo",
        sql="echo.sql",
        params={**own, "all": [*own.values()]},
        destination=Table("shop.echo"),
    )
"""


def row(number: int) -> str:
    """A row in which a value stands in every way that a scalar can stand in SQL."""
    v = f"{{{{ v{number} }}}}"
    return (
        f"STRUCT({number} AS n, {v} AS a, @v{number} AS b, ([{{{{ params.v{number} }}}}])[OFFSET(0)] AS c, "
        f"{{% if v{number} == v{number} %}}{v}{{% endif %}} AS d, /* c */ {v} /* ' */ AS e) -- '\n"
    )


def echo(count: int) -> str:
    """A query that returns each value in rows of its own."""
    return (
        f"SELECT n, a, b, c, d, e FROM UNNEST([{', '.join(map(row, range(count)))}]) "
        "UNION ALL SELECT n, x, y, x, y, x FROM UNNEST({{ all }}) AS x WITH OFFSET AS n, "
        "UNNEST(@all) AS y WITH OFFSET AS m WHERE n = m "
        "UNION ALL SELECT n, x, x, x, x, x FROM UNNEST(["
        "{% for each in all %}STRUCT({{ loop.index0 }} AS n, {{ each }} AS x){% if not loop.last %},{% endif %}"
        "{% endfor %}])"
    )


def test_every_value_arrives_literally_wherever_it_stands(cloud: Cloud) -> None:
    # Given a query in which each value stands in every way it can
    Path("pipeline.py").write_text(ECHO.replace("COUNT", str(len(VALUES))))
    Path("echo.sql").write_text(echo(len(VALUES)))
    before = cloud.world()

    # When it runs
    ended = cloud.run(**{f"v{number}": value for number, value in enumerate(VALUES)})

    # Then all of them are in its rows, untouched
    assert ended.code == 0, ended.err
    after = cloud.world()
    rows = after.pop("shop.echo")
    before.pop("shop.echo", None)
    assert Counter(rows) == Counter((n, *[value] * 5) for n, value in enumerate(VALUES) for _ in range(3))
    # and nothing else was changed or read
    assert after == before
    assert cloud.read(ended) <= {"shop.echo"}


FORMS = {
    "a scalar": "SELECT {{ v }} AS x",
    "a bound scalar": "SELECT @v AS x",
    "a list": "SELECT x FROM UNNEST({{ vs }}) AS x",
    "a bound list": "SELECT x FROM UNNEST(@vs) AS x",
    "an element": "SELECT {{ vs[0] }} AS x",
    "a param of the run": "SELECT {{ params.v }} AS x",
}


def rendered(sql: str, value: str) -> str:
    own = {name: made for name, made in {"v": value, "vs": [value, "b"]}.items() if re.search(rf"\b{name}\b", sql)}
    return render_sql(
        Template(text=sql), own, {"params": {"v": value}}, project="p", dataset=None, where="here"
    ).sql  # fmt: skip


@pytest.mark.parametrize("value", SURROGATES, ids=ascii)
@pytest.mark.parametrize("form", FORMS)
def test_what_is_no_text_is_refused(form: str, value: str) -> None:
    with pytest.raises(DefinitionError, match="is no Unicode text"):
        rendered(FORMS[form], value)


def shape(sql: str) -> Iterator[str]:
    """The kinds of a statement's nodes, whatever its literals say."""
    for statement in sqlglot.parse(sql, dialect="bigquery"):
        assert statement is not None
        yield from (type(node).__name__ for node in statement.walk())
        yield ";"


@given(st.text())
def test_no_text_changes_the_shape_of_a_statement(value: str) -> None:
    for sql in ("SELECT {{ v }} AS x, 'y' -- z", "UPDATE t SET a = {{ v }} WHERE b = {{ params.v }};\nSELECT '{# #}'"):
        # `value` holds no placeholder of its own, whatever it looks like
        made = rendered(sql, value)
        assert list(shape(made)) == list(shape(rendered(sql, "plain")))
        assert value in {node.this for node in sqlglot.parse(made, dialect="bigquery")[0].find_all(exp.Literal)}  # type: ignore[union-attr]


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.text(), min_size=1, max_size=30))
def test_any_text_comes_back_from_bigquery(clients: object, values: list[str]) -> None:
    rows = clients.bigquery().query_and_wait(f"SELECT {literal(values)} AS x")  # type: ignore[attr-defined]
    assert [list(row.x) for row in rows] == [values]


# the filters ----------------------------------------------------------------------------------------------------------

FILTERS = {
    "ident": "SELECT {{ v | ident }} AS x FROM t -- {# {{ v | raw }} #}",
    "csv": "SELECT {{ vs | csv }} FROM t",
    "a table": "SELECT 1 FROM shop.{{ v | ident }}",
    "an element": "SELECT a FROM t AS {{ vs[0] | ident }}",
}


@pytest.mark.parametrize("form", FILTERS)
def test_a_name_stays_one_name_or_is_refused(form: str) -> None:
    refused: list[str] = []
    for value in [*VALUES, *SURROGATES]:
        sql = FILTERS[form]
        try:
            made = rendered(sql, value)
        except DefinitionError:
            refused.append(value)
            continue
        assert list(shape(made)) == list(shape(rendered(sql, "plain")))
        assert value in {node.name for node in sqlglot.parse_one(made, dialect="bigquery").find_all(exp.Identifier)}
    assert all(not value or re.search(r"[.`\\\x00-\x1f\x7f\ud800-\udfff]", value) for value in refused), refused


FILTERED = """
from pydag_gcp import DAG
from pydag_gcp.operators import BigQueryQuery

with DAG("filtered", params={"v": "id"}) as dag:
    BigQueryQuery(
        task_id="filtered", sql="SELECT {{ v | ident }} FROM shop.canary", params={"v": "{{ params.v }}"}
    )
"""


def test_a_name_that_is_not_there_is_not_found(cloud: Cloud) -> None:
    Path("pipeline.py").write_text(FILTERED)
    before = cloud.world()
    assert cloud.run(v="id").code == 0

    for value in (*STATEMENTS, "note FROM shop.private --", "*"):
        ended = cloud.run(v=value)

        assert ended.refused or ended.code == 1, (value, ended)
        assert PRIVATE not in ended.out + ended.err
    assert cloud.world() == before


RAW = """
from pydag_gcp import DAG
from pydag_gcp.operators import BigQueryQuery

with DAG("raw", params={"v": "1"}) as dag:
    BigQueryQuery(task_id="raw", sql="SELECT {{ v | raw }} AS x -- ' done\\n, 'y' AS y", params={"v": "{{ params.v }}"})
"""


@pytest.mark.parametrize("value", ["'", "1 --", "1 #", "1 /*", "*/", "`", '"""', "1 AS x, ''' || '", "\\'"])
def test_raw_text_opens_and_closes_nothing_around_it(cloud: Cloud, value: str) -> None:
    Path("pipeline.py").write_text(RAW)
    ended = cloud.run(v=value)
    assert ended.refused, ended


def test_a_table_parameter_names_that_table_and_no_other() -> None:
    for value in [*VALUES, *SURROGATES]:
        try:
            table = render_value(Table("shop.{{ v }}"), {"v": value}, where="here")
            query = Template(text="SELECT 1 FROM {{ t }}")
            made = render_sql(query, {"t": table}, {}, project="acme", dataset=None, where="here")
        except DefinitionError:
            continue
        (found,) = list(sqlglot.parse_one(made.sql, dialect="bigquery").find_all(exp.Table))
        assert (found.catalog, found.db, found.name) == ("acme", "shop", value)


def test_what_looks_like_a_parameter_in_a_value_is_none() -> None:
    made = render_sql(
        Template(text="SELECT {{ a }}, @b"), {"a": "@secret", "b": "@a"}, {"secret": 1}, project="p", dataset=None,
        where="here",
    )  # fmt: skip
    assert made.sql == "SELECT '@secret', @b"
    assert made.parameters == {"b": "@a"}
