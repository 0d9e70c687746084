"""Templates in fields."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pydag_gcp.errors import DefinitionError
from pydag_gcp.operators.table_layout import Column, Partitioning
from pydag_gcp.resources import Cluster, GCSObject, Table
from pydag_gcp.sql import render_value

VARIABLES: dict[str, Any] = {
    "params": {"year": 2022, "dataset": "sales", "names": ["a", "b"], "nothing": None, "evil": "{{ run_id }}"},
    "ds": "2022-01-31",
    "run_id": "r1",
    "logical_date": datetime(2022, 1, 31, tzinfo=UTC),
}
WHERE = "p.py:3: task 'x': field 'y'"


@dataclass
class Pair:
    left: str


def column(description: str) -> Column:
    return Column(name="a", type="INT64", description=description)


def struct(description: str) -> Column:
    return Column(name="s", type="STRUCT", fields=(column(description),))


def render(value: Any) -> Any:
    return render_value(value, VARIABLES, where=WHERE)


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("plain", "plain"),
        ("{{ params.year }}", 2022),
        ("{{ params.year + 1 }}", 2023),
        ("{{ '5' }}", "5"),  # no guessing: text that looks like a number is text
        ("{{ 5 }}", 5),
        ("{{ params.names }}", ["a", "b"]),
        ("{{ params.nothing }}", None),
        ("{{ logical_date }}", VARIABLES["logical_date"]),
        ("{{ logical_date.strftime('%Y') }}", "2022"),
        ("x{{ params.year }}", "x2022"),
        (" {{ params.year }}", " 2022"),
        ("{{ params.year }}{{ ds }}", "20222022-01-31"),
        ("{{ params.names | join('+') }}", "a+b"),
        ("{% if params.year > 2000 %}new{% else %}old{% endif %}", "new"),
        ("{% for n in params.names %}{{ n }},{% endfor %}", "a,b,"),
        ("{% set a = 1 %}", ""),
        (
            "{{ 2 ** 10 }} {{ 7 % 4 }} {{ 'ab' * 2 }} {{ ds ~ '!' }} {{ 2.456 | round(2) }}",
            "1024 3 abab 2022-01-31! 2.46",
        ),
        ("{% for n in params.names %}{{ n }}{{ '' if loop.last else ',' }}{% endfor %}", "a,b"),
        ("{# gone #}{{ ds }}", "2022-01-31"),
        ("{{ missing is defined }}", False),
        ("line\n", "line\n"),
        ("{{ ds }}\n", "2022-01-31\n"),
        (5, 5),
        (None, None),
        (["{{ ds }}", ("{{ ds }}", 1)], ["2022-01-31", ("2022-01-31", 1)]),
        ({"a": {"b": "{{ ds }}"}, "{{ run_id }}": 1}, {"a": {"b": "2022-01-31"}, "r1": 1}),
        (frozenset({"{{ ds }}"}), frozenset({"2022-01-31"})),
        (Table("{{ params.dataset }}.t"), Table("sales.t")),
        (Table("d.t_{{ params.year }}", shared=True), Table("d.t_2022", shared=True)),
        (Partitioning(column="day_{{ params.year }}"), Partitioning(column="day_2022")),
        (column("{{ ds }}"), column("2022-01-31")),
        ((struct("{{ params.year }}"),), (struct("2022"),)),
        ([GCSObject("gs://bucket/{{ ds }}/*.csv")], [GCSObject("gs://bucket/2022-01-31/*.csv")]),
        (Cluster("c-{{ run_id }}", region="{{ 'us-east1' }}"), Cluster("c-r1", region="us-east1")),
    ],
)
def test_values(template: Any, value: Any) -> None:
    rendered = render(template)
    assert rendered == value
    assert type(rendered) is type(value)


def test_what_has_no_template_stays_the_same_object() -> None:
    for value in (Table("d.t"), Partitioning(column="day"), Pair(left="x"), deque(["x"])):
        assert render(value) is value


def test_a_value_is_never_rendered_again() -> None:
    assert render("{{ params.evil }}") == "{{ run_id }}"
    assert render("-{{ params.evil }}-") == "-{{ run_id }}-"


@given(st.text())
def test_any_text_as_a_value_is_inert(text: str) -> None:
    assert render_value("{{ x }}", {"x": text}, where=WHERE) == text
    assert render_value("<{{ x }}>", {"x": text}, where=WHERE) == f"<{text}>"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ dss }}", "unknown name 'dss'; did you mean 'ds'?"),
        ("{{ params.yaer }}", "unknown name 'yaer'; did you mean 'year'?"),
        ("{{ params['yaer'] }}", "unknown name 'yaer'; did you mean 'year'?"),
        ("{{ zzz }}", "unknown name 'zzz'; known: ds, logical_date, params, run_id"),
        ("{% if false %}{{ zzz }}{% endif %}", "unknown name 'zzz'"),
        ("{{ ds", "unexpected end of template"),
        ("a\n\n{{ ds }", "line 3"),
        ("{% nonsense %}", "Encountered unknown tag 'nonsense'."),
        ("{{ ds | nonsense }}", "No filter named 'nonsense'."),
        ("{{ ds + 1 }}", "can only concatenate str"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{{ ds.__class__ }}", "unsafe"),
        ("{{ params.__class__.__mro__ }}", "unsafe"),
        ("{% include 'x' %}", "{% include %} is not allowed"),
        ("{% import 'x' as y %}", "{% import %} is not allowed"),
        ("{{ 'x' * 10 ** 9 }}", "a value of more than 1,000,000 characters or items"),
        ("{{ [0] * 10 ** 9 }}", "a value of more than 1,000,000 characters or items"),
        ("{{ 10 ** 100000 }}", "a number that is too large"),
        ("{{ 10 ** 1000 * 10 ** 1000 * 10 ** 1000 }}", "a number that is too large"),
        ("{{ '%0999999999d' % 1 }}", "% does not format text here"),
        ("{{ '{:>999999999}'.format(1) }}", "unsafe"),
        ("{{ ds.ljust(10 ** 9) }}", "unsafe"),
        ("{{ ds | center(10 ** 9) }}", "No filter named 'center'."),
        ("{{ 1.5 | round(10 ** 9, 'ceil') }}", "cannot round to 1000000000 places"),
        ("{{ lipsum(10 ** 6) }}", "unknown name 'lipsum'"),
        (
            "{% for a in range(1000) %}{% for b in range(1000) %}{% set c = 1 %}{% endfor %}{% endfor %}",
            "100,000 turns",
        ),
        (
            "{% set n = namespace(x=ds) %}{% for i in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
            "1,000,000 char",
        ),
        (
            "{% set n = namespace(x=ds) %}{% for i in range(99) %}{% set n.x = n.x + n.x %}{% endfor %}",
            "1,000,000 char",
        ),
        ("{{ ds | replace('', 'y' * 9999) | replace('', 'y' * 9999) }}", "1,000,000 char"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "asks for too much"),
        ("x{{ params.nothing }}", "a part of 'x{{ params.nothing }}' is None"),
        (Table("{{ params.nothing }}"), "gives None; a name must be text"),
        (Table("{{ params.names }}"), "gives ['a', 'b']; a name must be text"),
        (Table("{{ params.evil }}"), "a value is not rendered again"),
        (Table("{{ ds }} x.t$"), "expected a table such as 'dataset.table'"),
        (column("{{ params.names }}"), "description: input should be a valid string"),
        (column("{{ params.evil }}"), "a value is not rendered again"),
        (deque(["{{ ds }}"]), "a template inside a deque is not rendered"),
        (Pair(left="{{ ds }}"), "a template inside a Pair is not rendered"),
        (Cluster("{{ run_id }}", region="{{ ds }}"), "expected a region such as 'us-central1', got '2022-01-31'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_at_its_place(template: Any, message: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        render(template)
    assert str(caught.value).startswith(WHERE)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
