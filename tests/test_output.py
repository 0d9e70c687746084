"""Outputs: parts of a task's result, and what Python must not do with them in silence."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pydag_gcp.dag import DAG
from pydag_gcp.errors import DefinitionError, TaskError
from pydag_gcp.operator import Context, Operator
from pydag_gcp.output import Output
from pydag_gcp.runtime_value import Param
from pydag_gcp.templates import render_value

RESULT = {"rows": [{"name": "a"}, {"name": "b"}], "count": 2, "0": "zero"}


class Copy(Operator):
    limit: Param[int] = 0
    text: str = ""

    def execute(self, ctx: Context) -> Any:
        return None


@pytest.mark.parametrize(
    ("output", "value"),
    [
        (Output("a"), RESULT),
        (Output("a")["count"], 2),
        (Output("a")["rows"][1]["name"], "b"),
        (Output("a")["rows"][-1]["name"], "b"),
        (Output("a")[0], "zero"),
        (Output.parse("a.rows.1.name"), "b"),
    ],
)
def test_a_path_leads_into_the_result(ctx: Context, output: Output, value: Any) -> None:
    assert output.resolve(replace(ctx, outputs={"a": RESULT}.__getitem__)) == value


def test_nothing_came_of_a_skipped_task_nor_of_any_part_of_it(ctx: Context) -> None:
    assert Output("a")["rows"][0].resolve(replace(ctx, outputs=lambda _: None)) is None


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (Output("a")["cuont"], "the output of task 'a' has no 'cuont'; did you mean 'count'?"),
        (Output("a")["zzz"], "the output of task 'a' has no 'zzz'; known: rows, count, 0"),
        (Output("a")["rows"][2], "the output['rows'] of task 'a' has 2 elements, so none at 2"),
        (Output("a")["rows"]["name"], "the output['rows'] of task 'a' is a list, which has no 'name'"),
        (Output("a")["count"]["x"], "the output['count'] of task 'a' is a number, which has no 'x'"),
    ],
)
def test_a_part_that_is_not_there_is_named(ctx: Context, output: Output, message: str) -> None:
    with pytest.raises(TaskError, match=re.escape(message) + "$"):
        output.resolve(replace(ctx, outputs={"a": RESULT}.__getitem__))


@given(st.lists(st.from_regex(r"[^.]+", fullmatch=True)))
def test_what_is_written_is_read_back(path: list[str]) -> None:
    output = Output("task", tuple(path))
    assert Output.parse(output.to_json()["output"]).to_json() == output.to_json()


@pytest.mark.parametrize("text", ["a..b", "a."])
def test_an_empty_part_is_refused(text: str) -> None:
    with pytest.raises(DefinitionError, match="'' is no key of an output"):
        Output.parse(text)


def test_a_key_with_a_dot_is_refused() -> None:
    with pytest.raises(
        DefinitionError, match=r"'a\.b' is no key of an output; take that part where the output is used"
    ):
        Output("task")["a.b"]


@pytest.mark.parametrize("key", [slice(1, 2), 1.5, None, True, ""])
def test_what_is_no_key_is_refused(key: Any) -> None:
    with pytest.raises(DefinitionError, match="is no key of an output"):
        Output("task")[key]


def test_outputs_are_equal_by_value() -> None:
    assert Output("a")["b"] == Output("a", ("b",))
    assert Output("a") != Output("b")
    assert len({Output("a"), Output("a"), Output("a")[0]}) == 2


@pytest.mark.parametrize(
    "use",
    [
        lambda output: f"gs://{output}",
        bool,
        list,
        lambda output: "x" in output,
        lambda output: str(output[0]),
        lambda output: output == 7,
        lambda output: output["rows"] != [],
    ],
)
def test_what_python_would_do_in_silence_is_refused_with_the_line(use: Callable[[Any], Any]) -> None:
    with pytest.raises(DefinitionError, match=r"test_output.py:\d+: the output of task 'a' is not known before"):
        use(Output("a"))


def test_an_output_makes_an_edge_and_must_be_of_a_task_of_the_dag() -> None:
    with DAG("one"):
        first = Copy(task_id="first")

    with DAG("two") as two:
        Copy(task_id="first")
        with pytest.raises(DefinitionError, match="task 'first': is not in DAG 'two', so no edge can join it"):
            Copy(task_id="second", limit=first.output)
    assert list(two.tasks) == ["first"]
    two.check()


def test_an_output_of_no_task_is_refused_when_the_dag_is_checked() -> None:
    with DAG("d") as dag:
        Copy(task_id="first")
        Copy(task_id="second", limit=Output("frist"))
    message = r"test_output.py:\d+: task 'second': no task 'frist' in the DAG to wait for; did you mean 'first'\?"
    with pytest.raises(DefinitionError, match=message):
        dag.check()


def test_an_output_of_a_task_with_templates_is_no_template(ctx: Context) -> None:
    with DAG("d"):
        load = Copy(task_id="load", text="{{ ds }}")

    assert render_value({"loaded": load.output}, ctx.variables, where="here") == {"loaded": load.output}
