"""``@task``: ids, arguments, options, branches; what is wrong is said with function, argument and line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

from pydag_gcp import Cluster, Context, Retry, Secret, Table, task
from pydag_gcp.dag import DAG
from pydag_gcp.errors import DefinitionError, TaskError
from pydag_gcp.executor import execute
from pydag_gcp.function import BranchTask, FunctionTask
from pydag_gcp.output import Output
from pydag_gcp.planner import plan
from pydag_gcp.resources import Resource
from pydag_gcp.result import RunResult
from pydag_gcp.settings import load
from pydag_gcp.states import RunState

if TYPE_CHECKING:
    from decimal import Decimal


@task
def double(number: int, *more: int, sign: int = 1, **named: int) -> int:
    """Twice the sum."""
    return sign * 2 * (number + sum(more) + sum(named.values()))


@task(reads=[], writes=["sales.orders"])
def copy(table: Table, day: date | None = None) -> Table:
    return Table(f"{table.table}_copy")


@task
def who(context, greeting: str = "from") -> str:  # type: ignore[no-untyped-def]
    return f"{greeting} {context.task_id} {context.try_number}"


class Row(BaseModel):
    """A row, typed."""

    name: str
    day: date


def run(dag: DAG) -> RunResult:
    return execute(plan(dag, load(Path.cwd())), max_processors=2)


def dag_of(define: Callable[[], Any]) -> DAG:
    with DAG("functions") as dag:
        define()
    return dag


# calling -----------------------------------------------------------------------------------------------------------


def test_outside_a_dag_it_is_the_plain_function() -> None:
    assert double(2, 3, sign=-1, x=4) == -18
    assert double.__doc__ == "Twice the sum."
    assert vars(double)["__name__"] == "double"


def test_inside_a_dag_each_call_is_a_task_with_an_id_of_its_own() -> None:
    dag = dag_of(lambda: [double(1), double(2), double.options(task_id="mine")(3), double(4)])
    assert list(dag.tasks) == ["double", "double__1", "mine", "double__2"]


def test_an_id_that_was_written_is_not_changed() -> None:
    with pytest.raises(DefinitionError, match=r"task 'mine': another task has this id"):
        dag_of(lambda: [double.options(task_id="mine")(number) for number in range(2)])


def test_options_are_fields_of_the_task_and_those_of_the_call_win() -> None:
    @task(retry=Retry(attempts=4), timeout=60, priority=1, slots=2, cache=True, idempotent=True, uses=[Cluster("c")])
    def function() -> None: ...

    with DAG("d"):
        made = function.options(priority=5, trigger_rule="all_done")()
        other = function()
    assert isinstance(made, FunctionTask)
    assert made.retry == Retry(attempts=4)
    assert (made.timeout, made.priority, made.slots, made.cache) == (timedelta(minutes=1), 5, 2, True)
    assert (other.priority, other.trigger_rule.value, made.trigger_rule.value) == (1, "all_success", "all_done")


def test_a_second_task_without_arguments_is_the_first_one_under_another_name() -> None:
    @task(retry=Retry(attempts=4), reads=[], writes=[Table("a.b")], timeout=60)
    def function() -> None: ...

    with DAG("d") as dag:
        first = function()
        second, third = function(), function.options(task_id="third")()
        first >> [second, third]

    same = set(FunctionTask.model_fields) - {"task_id"}
    for made, name in ((second, "function__1"), (third, "third")):
        assert (type(made), made.task_id, dag.tasks[name], dag.upstream[name]) == (
            FunctionTask,
            name,
            made,
            ("function",),
        )
        assert {field: getattr(made, field) for field in same} == {field: getattr(first, field) for field in same}
        assert (made.model_fields_set, made.source.line) == (first.model_fields_set, first.source.line + 1)
        assert made not in (first, dag)
    assert dag.upstream["function"] == ()


def test_what_makes_a_task_another_one_is_checked_again() -> None:
    @task
    def function(number: int = 1) -> None: ...

    with DAG("one"):
        first, late = function(), function.options(priority=3)()
        other = function(2)
    with DAG("two") as dag:
        again = function()
        with pytest.raises(DefinitionError, match="task 'a b': field 'task_id': "):
            function.options(task_id="a b")()
        with pytest.raises(DefinitionError, match="task 'function': another task has this id"):
            function.options(task_id="function")()
        with pytest.raises(DefinitionError, match="task 'function': is not in DAG 'one', so no edge"):
            first >> again

    assert (first.priority, late.priority, other.arguments, dag.tasks) == (0, 3, {"number": 2}, {"function": again})


def test_a_teardown_is_checked_against_each_dag() -> None:
    @task
    def make() -> None: ...

    with DAG("one"):
        made = make()
        remove = task(teardown_of=made)(clean)
        assert (remove().teardown_of, remove().teardown_of) == (("make",), ("make",))
    with DAG("two"), pytest.raises(DefinitionError, match="cannot clean up after 'make', which is not in this DAG"):
        remove()


def clean() -> None:
    """Nothing to do."""


def test_what_it_touches_is_what_was_declared(ctx: Context) -> None:
    with DAG("d"):
        declared, opaque = copy(Table("a.b")), double(1)
        user = double.options(uses=[Cluster("c")], reads=[])(1)
    project = ctx.target.project
    assert declared.reads(ctx) == frozenset()
    assert declared.writes(ctx) == {Table(f"{project}.sales.orders")}
    assert (opaque.reads(ctx), opaque.writes(ctx), opaque.uses(ctx)) == (None, None, frozenset())
    assert user.uses(ctx) == frozenset[Resource]({Cluster("c")})


def test_a_definition_is_stable_json() -> None:
    with DAG("d"):
        made = copy(Table("a.b"), day="2026-01-02")
    written = made.model_dump(mode="json", by_alias=True)
    assert written["function"].endswith("test_function:copy")
    assert written["arguments"] == {"table": {"table": "a.b", "shared": False}, "day": "2026-01-02"}


@dataclass
class Holder:
    """Something that outputs are not looked for in."""

    value: Any


@pytest.mark.parametrize(
    "hide",
    [
        lambda made: {made.output: 1},
        lambda made: {made: 1},
        lambda made: [Holder(made.output)],
        lambda made: Holder([made]),
        lambda made: (part for part in [made]),
        lambda made: {Secret("env:HOME"): 1},
    ],
)
def test_an_output_that_would_not_be_found_is_refused(hide: Callable[[Any], Any]) -> None:
    take = task(task_id="take")(lambda value: value)
    with pytest.raises(DefinitionError, match=r"task 'take': field 'arguments': outputs and secrets are not found in"):
        dag_of(lambda: take(hide(double(1))))


# running -----------------------------------------------------------------------------------------------------------


def test_a_task_in_a_set_is_its_output(project: Path) -> None:
    @task
    def total(numbers: set[int]) -> int:
        return sum(numbers)

    assert run(dag_of(lambda: total({double(1), double(2)}))).tasks["total"].result == 6


def test_what_can_only_be_gone_through_once_reaches_every_try(project: Path) -> None:
    @task(retry=Retry(attempts=2, wait=0))
    def total(numbers: Iterable[int], others: Iterable[int] | None, context: Context) -> int:
        found = sum(numbers) + sum(others or ())
        if context.try_number == 1:
            raise ValueError(found)
        return found

    assert run(dag_of(lambda: total([1, 2], [3, double(2)]))).tasks["total"].result == 10


def test_results_are_passed_on_through_json_and_arrive_as_annotated(project: Path) -> None:
    seen: list[Any] = []

    @task
    def rows() -> Any:
        return {"rows": [{"name": "a", "day": "2026-01-02"}], "by_number": {1: "one"}, "pair": (1, 2)}

    @task
    def take(first: Row, numbers: dict[int, str], pair: tuple[int, int], table: Table) -> None:
        seen.extend([first, numbers, pair, table])

    def define() -> None:
        made = rows()
        take(made.output["rows"][0], made.output["by_number"], made.output["pair"], copy(Table("a.b")))

    assert run(dag_of(define)).raise_for_state().state is RunState.SUCCESS
    day = date(2026, 1, 2)
    assert seen == [Row(name="a", day=day), {1: "one"}, (1, 2), Table("a.b_copy")]


def test_each_task_gets_a_result_of_its_own(project: Path) -> None:
    @task
    def rows() -> list[int]:
        return [1]

    @task
    def spoil(given: list[int]) -> list[int]:
        given.append(2)
        return given

    dag = dag_of(lambda: [spoil(given) for given in [rows()] * 20])
    result = run(dag)
    assert all(result.tasks[name].result == [1, 2] for name in dag.tasks if name != "rows")


def test_arguments_of_all_kinds_reach_the_function(project: Path) -> None:
    dag = dag_of(lambda: double(double(1), 2, double.options(task_id="third")(3), sign=-1, extra=double(5)))
    assert run(dag).tasks["double__2"].result == -2 * (2 + 2 + 6 + 10)


def test_templates_in_arguments_are_rendered_and_then_checked(project: Path) -> None:
    @task
    def on(day: date, text: str = "") -> str:
        return f"{day:%d.%m.%Y} {text}"

    dag = dag_of(lambda: on("{{ ds }}", text="{{ params.x }}"))
    dag.params["x"] = "{{ ds }}"
    result = execute(plan(dag, load(project), logical_date=dag.interval()[0].replace(2026, 3, 4)))
    assert result.tasks["on"].result == "04.03.2026 {{ ds }}"

    with pytest.raises(DefinitionError, match=r"field 'arguments\.day': on\(day: 'date'\): input should be"):
        plan(dag_of(lambda: on("{{ dag_id }}")), load(project))


def test_the_context_comes_by_annotation_or_by_name(project: Path) -> None:
    @task
    def annotated(text: str, run_context: Context) -> str:
        return f"{text} {run_context.dag_id}"

    result = run(dag_of(lambda: [who(), annotated("in")]))
    assert result.tasks["who"].result == "from who 1"
    assert result.tasks["annotated"].result == "in functions"


def test_a_context_annotation_of_another_kind_is_an_argument(project: Path) -> None:
    @task
    def told(context: str) -> str:
        return context

    assert run(dag_of(lambda: told("mine"))).tasks["told"].result == "mine"


def test_any_error_is_worth_another_try(project: Path) -> None:
    @task(retry={"attempts": 3, "wait": 0, "jitter": 0})
    def flaky(context: Context) -> int:
        if context.try_number < 3:
            raise KeyError("not yet")
        return context.try_number

    assert run(dag_of(flaky)).tasks["flaky"].result == 3


def test_an_output_of_the_wrong_type_fails_the_task_and_says_where(project: Path) -> None:
    @task
    def text() -> str:
        return "seven"

    result = run(dag_of(lambda: double(text())))
    said = result.tasks["double"].error or ""
    assert re.search(r"test_function\.py:\d+: task 'double': field 'arguments\.number': double\(number: 'int'\)", said)
    assert said.endswith("got 'seven'")


def test_a_result_that_is_not_json_fails_the_task(project: Path) -> None:
    @task
    def odd() -> object:
        return object()

    assert "returned a value that is not JSON: an object" in str(run(dag_of(odd)).tasks["odd"].error).replace(
        "a object", "an object"
    )


# what is wrong -----------------------------------------------------------------------------------------------------


async def _coroutine() -> None: ...
def _generator() -> Any:
    yield 1


def _of_types(amount: Decimal) -> None: ...
def _unknown(amount: Nonsense) -> None: ...  # type: ignore[name-defined]  # noqa: F821


WRONG: list[tuple[Callable[[], Any], str]] = [
    (lambda: double("x"), r"task 'double': field 'arguments\.number': double\(number: 'int'\): .*, got 'x'"),
    (lambda: double(1, 2, "x"), r"field 'arguments\.more\.1': double\(\*more: 'int'\): .*, got 'x'"),
    (lambda: double(1, z="x"), r"field 'arguments\.named\.z': double\(\*\*named: 'int'\): .*, got 'x'"),
    (lambda: double(), r"task 'double': double\(\): missing a required argument: 'number'; it is double\(number: "),
    (lambda: copy(Table("a.b"), dya=1), r"copy\(\): got an unexpected keyword argument 'dya'; did you mean 'day'\?"),
    (lambda: copy("a.b.c.d"), r"field 'arguments\.table.*': copy\(table: 'Table'\): "),
    (lambda: copy(Table("a.b"), None, 3), r"copy\(\): too many positional arguments; it is copy\(table: 'Table'"),
    (lambda: who(context=1), r"who\(\): argument 'context' is not yours to give; the run gives it"),
    (
        lambda: double.options(tiemout=3),  # type: ignore[call-arg]
        r"@task has no option 'tiemout'; did you mean 'timeout'\?",
    ),
    (lambda: double.options(timeout=-3)(1), r"task 'double': field 'timeout': input should be greater than"),
    (lambda: double.options(trigger_rule="all_good")(1), r"field 'trigger_rule': .*did you mean 'all_done'|'all_"),
    (lambda: double.options(task_id="a/b")(1), r"field 'task_id': "),
    (
        lambda: double.options(reads=[Output("x")])(1),  # type: ignore[list-item]
        r"field 'reads': an output or a secret cannot stand here",
    ),
    (lambda: task(_coroutine), r"_coroutine\(\) is async; write a plain function"),
    (lambda: task(_generator), r"_generator\(\) is a generator; return a list"),
    (lambda: task(3), r"@task is for functions, got 3"),  # type: ignore[call-overload]
    (lambda: task(_of_types)(1), r"_of_types\(amount: Decimal\): the annotation cannot be evaluated: name 'Decimal'"),
    (
        lambda: task(_unknown)(Output("known_later")),
        r"define or import it at the top of the file, not only `if TYPE_CHECKING`",
    ),
]


@pytest.mark.parametrize(("define", "message"), WRONG)
def test_a_mistake_names_function_argument_and_line(define: Callable[[], Any], message: str) -> None:
    with pytest.raises(DefinitionError, match=message) as caught:
        dag_of(define)
    assert re.match(r"/\S*test_function\.py:\d+: ", str(caught.value))
    assert "\n" not in str(caught.value)


# branches ----------------------------------------------------------------------------------------------------------


@task.branch
def choose(answer: Any) -> Any:
    return answer


@pytest.mark.parametrize(
    ("answer", "picked"),
    [("left", ["left"]), (["left", "right"], ["left", "right"]), (("right",), ["right"]), ([], []), (None, [])],
)
def test_a_branch_runs_what_it_picks_and_skips_the_rest(answer: Any, picked: list[str], project: Path) -> None:
    with DAG("branching") as dag:
        branch = choose(answer)
        for name in ("left", "right"):
            branch >> double.options(task_id=name)(1)
    result = run(dag)
    assert isinstance(branch, BranchTask)
    assert result.state is RunState.SUCCESS
    assert [name for name in ("left", "right") if result.tasks[name].state.value == "success"] == picked
    assert result.tasks["choose"].result == picked


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("lfet", "choose() picked 'lfet', which is not directly downstream of it; did you mean 'left'?"),
        ("far", "choose() picked 'far', which is not directly downstream of it; known: left"),
        (3, "choose() returned 3; return the id of a task directly downstream, a list of such ids, or None"),
        (["left", 3], "choose() returned ['left', 3]; return the id"),
    ],
)
def test_a_branch_that_picks_what_it_cannot_fails(answer: Any, message: str, project: Path) -> None:
    with DAG("branching") as dag:
        choose(answer) >> double.options(task_id="left")(1) >> double.options(task_id="far")(2)
    result = run(dag)
    assert str(result.tasks["choose"].error).startswith(message)
    assert result.tasks["left"].state.value == "upstream_failed"


def test_a_branch_without_downstreams_says_so(ctx: Context) -> None:
    with DAG("branching"):
        branch = choose("left")
    with pytest.raises(TaskError, match=r"picked 'left', .*; nothing is downstream of it"):
        branch.execute(ctx)
    assert branch.execute(replace(ctx, choices=lambda _: ("left",))) == ["left"]


def test_what_a_branch_returned_is_an_output_like_any_other(project: Path) -> None:
    @task
    def told(ids: list[str]) -> str:
        return json.dumps(ids)

    with DAG("branching") as dag:
        told(choose("told"))
    assert run(dag).tasks["told"].result == '["told"]'
