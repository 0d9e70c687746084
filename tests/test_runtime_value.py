"""Values known at run time: where they may stand, how they are written, and that they are checked like any other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from pydag_gcp.dag import DAG
from pydag_gcp.errors import DefinitionError, TaskError
from pydag_gcp.operator import Context, Operator
from pydag_gcp.output import Output
from pydag_gcp.resources import Table
from pydag_gcp.runtime_value import Param, RuntimeValue, find, is_open, replaced
from pydag_gcp.secret import Secret


class Load(Operator):
    """An operator with fields of all shapes."""

    limit: Param[int] = Field(default=1, ge=1, description="Most rows")
    tags: Param[list[str]] = Field(default=[])
    options: Param[dict[str, list[int]]] = Field(default={})
    pair: Param[tuple[int, str] | None] = None
    many: Param[tuple[float, ...]] = ()
    renamed: Param[str | None] = Field(default=None, alias="as")
    table: Table | None = None
    anything: dict[str, Any] = Field(default={})

    def execute(self, ctx: Context) -> Any:
        return None


ROWS = Output("rows")

ALLOWED: list[tuple[dict[str, Any], Any]] = [
    ({"limit": ROWS}, {"limit": {"output": "rows"}}),
    ({"limit": ROWS["a"][0]}, {"limit": {"output": "rows.a.0"}}),
    ({"tags": ["x", ROWS]}, {"tags": ["x", {"output": "rows"}]}),
    ({"tags": ROWS}, {"tags": {"output": "rows"}}),
    ({"options": {"k": [1, ROWS]}}, {"options": {"k": [1, {"output": "rows"}]}}),
    ({"options": {"k": ROWS}}, {"options": {"k": {"output": "rows"}}}),
    ({"pair": (ROWS, "x")}, {"pair": [{"output": "rows"}, "x"]}),
    ({"many": [1, ROWS]}, {"many": [1.0, {"output": "rows"}]}),
    ({"as": Secret("env:TOKEN")}, {"as": {"secret": "env:TOKEN"}}),
]


@pytest.mark.parametrize(("fields", "written"), ALLOWED)
def test_a_param_takes_them_at_any_depth_and_writes_them_as_yaml_does(fields: dict[str, Any], written: Any) -> None:
    task = Load(task_id="load", **fields)
    assert len(task.runtime_values) == 1
    dumped = task.model_dump(mode="json", by_alias=True)
    assert {name: dumped[name] for name in fields} == written


REFUSED: list[tuple[dict[str, Any], str]] = [
    (
        {"table": ROWS},
        "field 'table': an output or a secret cannot stand here, got rows.output; they may stand in ",
    ),
    ({"anything": {"deep": [ROWS]}}, "field 'anything': an output or a secret cannot stand here"),
    ({"retry": ROWS}, "field 'retry': an output or a secret cannot stand here"),
    ({"task_id": ROWS}, "field 'task_id': an output or a secret cannot stand here"),
    ({"limit": 0}, "field 'limit': input should be greater than or equal to 1, got 0"),
    ({"tags": ["x", 3.5, {}]}, "field 'tags.2': input should be a valid string"),
    ({"options": {"k": [ROWS, "x"]}}, "field 'options.k.1': input should be a valid integer"),
    ({"pair": (ROWS, "x", "y")}, "field 'pair"),
]


@pytest.mark.parametrize(("fields", "message"), REFUSED)
def test_elsewhere_they_are_refused_and_what_is_beside_them_is_checked(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        Load(**{"task_id": "load", **fields})
    assert message in str(caught.value)
    assert "test_runtime_value.py:" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_operator_without_params_says_that_it_takes_none() -> None:
    class Plain(Operator):
        size: int = 1

        def execute(self, ctx: Context) -> Any:
            return None

    with pytest.raises(DefinitionError, match=r"cannot stand here, got rows\.output; Plain takes none"):
        Plain(task_id="plain", size=ROWS)


def test_the_fields_that_take_them_are_known_by_the_names_that_authors_write() -> None:
    assert Load.param_fields() == {"limit", "tags", "options", "pair", "many", "as"}


def test_the_json_schema_says_what_may_stand_there() -> None:
    schema = Load.model_json_schema()["properties"]
    number, output, secret = schema["limit"]["anyOf"]
    assert (number["type"], number["minimum"]) == ("integer", 1)
    assert output["required"] == ["output"]
    assert secret["required"] == ["secret"]
    assert len(schema["options"]["anyOf"][0]["additionalProperties"]["anyOf"]) == 3


def test_a_task_standing_in_a_param_means_its_output() -> None:
    with DAG("d") as dag:
        first = Load(task_id="first")
        second = Load(task_id="second", limit=first, options={"k": [first]})
    assert second.runtime_values == (Output("first"),)
    assert dag.upstream == {"first": (), "second": ("first",)}


def known(ctx: Context, **results: Any) -> Context:
    """A context of a run in which tasks came to these results."""
    return replace(ctx, outputs=results.__getitem__)


def test_resolved_puts_the_values_in_and_checks_all_fields_again(ctx: Context) -> None:
    with DAG("d") as dag:
        Load(task_id="rows")
        task = Load(task_id="load", limit=ROWS["n"], options={"k": [ROWS["n"], 2]}, tags=["{{ x }}"])
    resolved = task.resolved(known(ctx, rows={"n": "7"}))
    assert (resolved.limit, resolved.options) == (7, {"k": [7, 2]})
    assert resolved.tags == ["{{ x }}"]  # rendering was before
    assert resolved.runtime_values == ()
    assert resolved.source == task.source
    assert list(dag.tasks.values()) == [dag.tasks["rows"], task]


def test_a_task_without_them_is_not_copied(ctx: Context) -> None:
    task = Load(task_id="load")
    assert task.resolved(ctx) is task


WRONG: list[tuple[Any, str]] = [
    ({"n": "many"}, "task 'load': field 'limit': input should be a valid integer, unable to parse .*, got 'many'"),
    ({"n": 0}, "field 'limit': input should be greater than or equal to 1, got 0"),
    (None, "field 'limit': input should be a valid integer, got None; nothing came of 'rows'"),
    ({"m": 1}, "the output of task 'rows' has no 'n'; known: m"),
]


@pytest.mark.parametrize(("result", "message"), WRONG)
def test_a_value_that_does_not_fit_fails_the_task_and_names_the_field(ctx: Context, result: Any, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        Load(task_id="load", limit=ROWS["n"]).resolved(known(ctx, rows=result))


def test_before_a_run_nothing_is_known(ctx: Context) -> None:
    with pytest.raises(TaskError, match="the output of task 'rows' is known only in a run"):
        Load(task_id="load", limit=ROWS).resolved(ctx)
    with pytest.raises(TaskError, match="secret 'env:TOKEN' is looked up only in a run"):
        Load(task_id="load", **{"as": Secret("env:TOKEN")}).resolved(ctx)


def test_rendering_leaves_them_alone(ctx: Context) -> None:
    rendered = Load(task_id="load", limit=ROWS, tags=["{{ ds }}", ROWS]).rendered(ctx)
    assert rendered.tags == ["2026-01-02", ROWS]
    assert rendered.runtime_values == (ROWS,)


@dataclass(frozen=True)
class Known(RuntimeValue):
    """A value that is known all the time."""

    value: int

    def resolve(self, ctx: Context) -> int:
        return self.value

    def to_json(self) -> dict[str, str]:
        return {"output": str(self.value)}


trees = st.recursive(
    st.integers() | st.text() | st.none() | st.builds(Known, st.integers()),
    lambda parts: st.lists(parts) | st.dictionaries(st.text(), parts) | st.tuples(parts, parts),
)


@given(trees)
def test_replacing_leaves_none_and_changes_nothing_else(tree: Any) -> None:
    assert list(find(replaced(tree, lambda value: value.resolve(None)))) == []  # type: ignore[arg-type]
    assert replaced(tree, lambda value: value) == tree


def test_param_is_seen_wherever_an_annotation_says_it() -> None:
    assert is_open(Param[int])
    assert is_open(Param[int] | None)
    assert not is_open(dict[str, int])
