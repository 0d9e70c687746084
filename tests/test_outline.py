"""What is recorded of a run's tasks: enough to see that one has changed, and little of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as trials
from hypothesis import strategies as st

from pydag_gcp import DAG, Operator, Table, fingerprint, outline, settings, task
from pydag_gcp.function import BranchTask, FunctionTask, twin_of
from pydag_gcp.operator import Context
from pydag_gcp.planner import Plan, plan


class Step(Operator):
    size: int = 0

    def execute(self, ctx: Context) -> None:
        return None


class Told(Step):
    def identity(self, ctx: Context) -> Mapping[str, Any]:
        return {**super().identity(ctx), "name": ctx.task_id}


@task
def one() -> int:
    return 1


@task
def other() -> int:
    return 2


@task.branch
def picks() -> None:
    return None


@task
def size(value: Any, *, unit: str = "B") -> Any:
    return value


def planned(define: Callable[[], object]) -> Plan:
    with DAG("daily") as dag:
        define()
    return plan(dag, settings.load(Path.cwd()))


def recorded(define: Callable[[], object]) -> dict[str, Any]:
    """What a later process reads of it."""
    return outline.read(json.loads(json.dumps(outline.outline(planned(define)))))


def recorded_before(found: Plan) -> dict[str, Any]:
    """What older versions recorded: all fields and the whole fingerprint of each task."""
    prints = {name: fingerprint.of(made, found.context_of(name)) for name, made in found.tasks.items()}
    return {
        "tasks": {
            name: {"operator": type(made).__name__, **made.model_dump(mode="json", by_alias=True, fallback=repr)}
            for name, made in found.tasks.items()
        },
        "upstream": {name: list(above) for name, above in found.upstream.items()},
        "fingerprints": {name: {"digest": p.digest, "parts": dict(p.parts)} for name, p in prints.items()},
    }


def test_tasks_that_are_alike_are_written_once() -> None:
    def define() -> None:
        for number in range(50):
            one()
            size(number)
            Step(task_id=f"s{number}")

    found = outline.outline(planned(define))

    assert [kind["operator"] for kind in found["kinds"]] == ["FunctionTask", "FunctionTask", "Step"]
    assert not found["tasks"].keys() & {"one", "one__49"}
    assert found["tasks"]["size"] != found["tasks"]["size__1"]


def test_of_very_many_tasks_the_same_is_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    def define() -> None:
        one() >> size(1, unit="KB") >> Step(task_id="s", trigger_rule="all_done")

    plain = recorded(define)
    monkeypatch.setattr(outline, "_VERY_MANY", 3)
    packed = outline.outline(planned(define))

    assert packed.keys() == {"packed"}
    assert outline.read(json.loads(json.dumps(packed))) == plain


def test_twins_are_written_as_if_each_had_been_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    def define() -> None:
        for _ in range(3):
            one() >> picks() >> one.options(priority=3)()

    found = planned(define)
    assert {type(made) for made in found.tasks.values() if twin_of(made)} == {FunctionTask, BranchTask}
    written = outline.outline(found)

    monkeypatch.setattr(outline, "twin_of", lambda _: None)
    assert outline.outline(found) == written
    assert len(written["kinds"]) == 5  # each branch picks from tasks of its own


def test_what_is_not_told_by_fields_alone_is_asked_of_each_task() -> None:
    found = outline.outline(planned(lambda: [Told(task_id="a"), Told(task_id="b")]))

    assert [kind["operator"] for kind in found["kinds"]] == ["Told", "Told"]
    assert found["tasks"] == {"b": 1}


def steps(**fields: Any) -> Callable[[], object]:
    def define() -> None:
        Step(task_id="first") >> Step(task_id="x", **fields)

    return define


def alone() -> None:
    Step(task_id="first")
    Step(task_id="x")


CHANGES: list[tuple[Callable[[], object], Callable[[], object], list[str]]] = [
    (steps(), steps(), []),
    (steps(), steps(priority=3, retry={"attempts": 2}), []),
    (steps(), steps(size=2), ["field added: size"]),
    (steps(size=1), steps(size=2), ["field changed: size"]),
    (steps(), steps(trigger_rule="all_done"), ["its trigger rule"]),
    (steps(), steps(teardown_of="first"), ["what it cleans up after"]),
    (steps(), alone, ["what it waits for"]),
    (lambda: size.options(task_id="x")(1), lambda: size.options(task_id="x")(1), []),
    (lambda: size.options(task_id="x")(1), lambda: size.options(task_id="x")(2), ["argument changed: value"]),
    (lambda: size.options(task_id="x")(1), lambda: size.options(task_id="x")(1, unit="KB"), ["argument added: unit"]),
    (lambda: size.options(task_id="x")(Table("a.b")), lambda: size.options(task_id="x")(Table("a.b")), []),
    (
        lambda: size.options(task_id="x")(Table("a.b")),
        lambda: size.options(task_id="x")(Table("a.c")),
        ["argument changed: value"],
    ),
    (lambda: size.options(task_id="x")(len), lambda: size.options(task_id="x")(len), []),
    (lambda: size.options(task_id="x")(len), lambda: size.options(task_id="x")(max), ["argument changed: value"]),
]


@pytest.mark.parametrize(("before", "after", "expected"), CHANGES)
def test_a_change_is_told(before: Callable[[], object], after: Callable[[], object], expected: list[str]) -> None:
    now = planned(after)

    assert outline.changes(now, recorded(before), ["x"]) == ({"x": expected} if expected else {})


@pytest.mark.parametrize(("before", "after", "expected"), CHANGES)
def test_a_change_since_an_older_version_recorded_the_run_is_told(
    before: Callable[[], object], after: Callable[[], object], expected: list[str]
) -> None:
    old = json.loads(json.dumps(recorded_before(planned(before))))

    assert outline.changes(planned(after), outline.read(old), ["x"]) == ({"x": expected} if expected else {})


def test_another_function_is_a_change() -> None:
    found = outline.changes(planned(lambda: other.options(task_id="x")()), recorded(one.options(task_id="x")), ["x"])

    assert any(words.startswith("code ") for words in found["x"])


def test_a_task_of_which_nothing_is_recorded_is_new() -> None:
    found = planned(lambda: [one(), other()])

    assert outline.changes(found, recorded(one), found.tasks) == {"other": ["is new"]}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", "a", "1"]),
    lambda parts: st.lists(parts, max_size=2) | st.dictionaries(st.sampled_from("ab"), parts, max_size=2),
    max_leaves=4,
)


@trials(max_examples=30)
@given(st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=4))
def test_exactly_the_tasks_with_other_fingerprints_have_changed(values: list[tuple[Any, Any]]) -> None:
    def define(side: int) -> Callable[[], object]:
        return lambda: [size.options(task_id=f"t{number}")(pair[side]) for number, pair in enumerate(values)]

    before, after = planned(define(0)), planned(define(1))
    digests = [
        {name: fingerprint.of(made, found.context_of(name)).digest for name, made in found.tasks.items()}
        for found in (before, after)
    ]

    changed = outline.changes(after, outline.read(outline.outline(before)), after.tasks)
    assert changed.keys() == {name for name in after.tasks if digests[0][name] != digests[1][name]}
