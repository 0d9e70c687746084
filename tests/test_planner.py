"""Planning: everything rendered and checked before anything runs."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import PrivateAttr

from pydag_gcp.dag import DAG
from pydag_gcp.dependencies import restricted
from pydag_gcp.errors import DefinitionError
from pydag_gcp.function import task
from pydag_gcp.operator import Context, Operator
from pydag_gcp.planner import Plan, new_run_id, plan
from pydag_gcp.redaction import MASK
from pydag_gcp.resources import Resource, Table
from pydag_gcp.runtime_value import Param
from pydag_gcp.secret import Secret
from pydag_gcp.settings import load
from pydag_gcp.states import TaskState, TriggerRule
from pydag_gcp.store import Store
from tests.test_scheduler import dags

DAY = datetime(2026, 2, 3, tzinfo=UTC)


class Write(Operator):
    table: Table
    text: str = ""
    number: int = 0
    options: dict[str, Any] = {}  # noqa: RUF012 - pydantic copies defaults

    def check(self, ctx: Context) -> None:
        if self.text == "wrong":
            raise DefinitionError("text is wrong", where=f"task {self.task_id!r}")

    def writes(self, ctx: Context) -> frozenset[Resource] | None:
        return frozenset({self.table})

    def execute(self, ctx: Context) -> Any:
        return None


def planned(dag: DAG, **options: Any) -> Plan:
    return plan(dag, load(Path.cwd()), **options)


@pytest.fixture
def dag(project: Path) -> DAG:
    with DAG("planned", params={"dataset": "d", "number": 3, "text": "fine"}) as dag:
        Write(
            task_id="write",
            table=Table("{{ params.dataset }}.t${{ ds_nodash }}"),
            text="{{ params.text }}",
            options={"deep": ["{{ logical_date.year }}", "{{ project }}-{{ dag_id }}-{{ task_id }}"]},
        )
    return dag


def test_templates_are_rendered_with_params_and_dates(dag: DAG) -> None:
    task = planned(dag, params={"dataset": "other"}, logical_date=DAY).tasks["write"]
    assert isinstance(task, Write)
    assert task.table == Table("other.t$20260203")
    assert task.options == {"deep": [2026, "pydag-local-planned-write"]}
    assert dag.tasks["write"] is not task
    assert list(dag.tasks) == ["write"]


def test_rendered_values_are_checked_like_any_other(dag: DAG) -> None:
    with pytest.raises(DefinitionError, match=r"test_planner.py:\d+: task 'write'.*'d d.t"):
        planned(dag, params={"dataset": "d d"})


def test_values_are_never_rendered_again(dag: DAG) -> None:
    task = planned(dag, params={"text": "{{ 1 + 1 }}"}).tasks["write"]
    assert isinstance(task, Write)
    assert task.text == "{{ 1 + 1 }}"


def test_an_unknown_variable_is_named(project: Path) -> None:
    with DAG("unknown") as dag:
        Write(task_id="write", table=Table("d.t"), text="{{ parms.x }}")
    with pytest.raises(DefinitionError, match=r"task 'write': field 'text': .*parms.*did you mean 'params'"):
        planned(dag)


def test_checks_happen_before_anything_runs(dag: DAG) -> None:
    with pytest.raises(DefinitionError, match="task 'write': text is wrong"):
        planned(dag, params={"text": "wrong"})


def test_what_is_written_is_known(dag: DAG) -> None:
    assert planned(dag, logical_date=DAY).written_tables() == {Table("d.t$20260203")}


def test_of_tasks_that_are_made_alike_each_is_rendered(project: Path) -> None:
    @task(reads=[], writes=["d.{{ task_id }}"])
    def load() -> None: ...

    with DAG("alike") as dag:
        for _ in range(3):
            load()
    names = {f"{planned(dag).clients.target.project}.d.{name}" for name in ("load", "load__1", "load__2")}
    assert {table.table for table in planned(dag).written_tables()} == names


def test_tasks_that_are_made_alike_race_as_any_others(project: Path) -> None:
    @task(reads=[], writes=["d.t"])
    def load() -> None: ...

    with DAG("alike") as dag:
        tasks = [load() for _ in range(3)]
    with pytest.raises(DefinitionError, match="task 'load__1': is in a race with task 'load': 'load' writes"):
        planned(dag)
    tasks[0] >> tasks[1] >> tasks[2]
    assert planned(dag).warnings == ()


def test_the_rules_of_a_plan_are_those_that_are_not_the_usual_one(project: Path) -> None:
    with DAG("rules") as dag:
        first = Write(task_id="first", table=Table("d.t"))
        first >> Write(task_id="second", table=Table("d.u"), trigger_rule="all_done")
        first >> Write(task_id="clean", table=Table("d.v"), teardown_of=first)
    assert planned(dag).rules == dict.fromkeys(("second", "clean"), TriggerRule.ALL_DONE)


def test_planning_leaves_no_trace(dag: DAG) -> None:
    planned(dag)
    assert not Path(".pydag").exists()


def test_run_ids_do_not_repeat() -> None:
    assert len({new_run_id() for _ in range(1000)}) == 1000


def test_a_rendered_task_stands_where_the_author_wrote_it(dag: DAG) -> None:
    assert planned(dag).tasks["write"].source == dag.tasks["write"].source


def test_a_number_may_be_rendered_where_text_is_wanted(project: Path) -> None:
    with DAG("numbers", params={"year": 2022}) as dag:
        Write(task_id="write", table=Table("d.t"), text="{{ params.year }}")
    task = planned(dag).tasks["write"]
    assert isinstance(task, Write)
    assert task.text == "2022"


# order, races, parts -----------------------------------------------------------------------------------------------


class Touch(Operator):
    """A task that says what it touches, and takes a value."""

    table: Table | None = None
    value: Param[Any] = None

    def reads(self, ctx: Context) -> frozenset[Resource]:
        return frozenset()

    def writes(self, ctx: Context) -> frozenset[Resource]:
        return frozenset({self.table} if self.table else ())

    def execute(self, ctx: Context) -> Any:
        return None


def test_two_tasks_that_race_are_refused_unless_an_edge_is_inferred(project: Path) -> None:
    for infer in (False, True):
        with DAG("racing", infer=infer) as dag:
            Touch(task_id="one", table=Table("d.t"))
            Touch(task_id="two", table=Table("d.t"))
        if infer:
            assert planned(dag).upstream == {"one": (), "two": ("one",)}
        else:
            with pytest.raises(DefinitionError, match=r"'one'.*'two'"):
                planned(dag)


def test_unordered_tasks_that_nothing_is_known_of_are_a_warning(project: Path) -> None:
    with DAG("opaque") as dag:
        task(task_id="one")(lambda: None)()
        task(task_id="two")(lambda: None)()
    (warning,) = planned(dag).warnings
    assert "'one', 'two'" in warning


def test_a_part_keeps_the_order_of_what_it_takes(project: Path) -> None:
    # Given a -> b -> c, and d, which waits for b and for c
    with DAG("parts") as dag:
        a, b, c, d = (Touch(task_id=name) for name in "abcd")
        a >> b >> c >> d
        b >> d
    # Then without b and c, d still waits for a
    assert planned(dag, only=["a", "d"]).upstream == {"a": (), "d": ("a",)}
    assert planned(dag, start_from=["c"]).upstream == {"c": (), "d": ("c",)}


@given(dags(), st.data())
def test_a_part_is_ordered_as_the_whole_is(upstream: dict[str, list[str]], data: st.DataObject) -> None:
    chosen = data.draw(st.sets(st.sampled_from(sorted(upstream)))) if upstream else set()
    part = restricted({name: tuple(above) for name, above in upstream.items()}, chosen)
    assert part.keys() == chosen
    for name in chosen:
        above = {other for other in chosen if other != name and name in reached(upstream, {other})}
        assert {other for other in chosen if other != name and name in reached(part, {other})} == above


def reached(upstream: Mapping[str, Sequence[str]], starts: set[str]) -> set[str]:
    """Everything downstream of some tasks, with these."""
    found, grew = set(starts), True
    while grew:
        more = {name for name, above in upstream.items() if found & set(above)} - found
        grew, found = bool(more), found | more
    return found


@pytest.mark.parametrize("only", [["left", "right"], ["below", "other"], ["pick", "left", "other"]])
def test_without_their_branch_two_arms_are_ordered_or_refused(project: Path, only: list[str]) -> None:
    # Given two arms that write the same table, of which a run takes one
    for infer in (False, True):
        with DAG("arms", infer=infer) as dag:
            pick = task.branch(reads=[], writes=[])(lambda: "left").options(task_id="pick")()
            for head, last in (("left", "below"), ("right", "other")):
                pick >> Touch(task_id=head, table=Table("d.t")) >> Touch(task_id=last, table=Table("d.t"))
        planned(dag)
        planned(dag, only=["pick", "left", "right"])
        # When a part is run in which nothing picks between them
        if infer:
            assert only[-2] in planned(dag, only=only).upstream[only[-1]]
        else:
            with pytest.raises(DefinitionError, match=rf"'{only[-2]}'.*run one of them, or all from the branch on"):
                planned(dag, only=only)


def test_an_unknown_task_is_named_with_the_closest_one(project: Path) -> None:
    with DAG("parts") as dag:
        Touch(task_id="extract")
    with pytest.raises(DefinitionError, match="no task 'extrakt' in the DAG; did you mean 'extract'"):
        planned(dag, only=["extrakt"])


def record(dag: DAG, result: Any) -> None:
    """Have an earlier run of a DAG come to a result."""
    loaded, moment = load(Path.cwd()), datetime.now(UTC)
    with Store(loaded.store_url) as store:
        facts: dict[str, Any] = {"dag_id": dag.dag_id, "target": "local", "pid": 1, "host": "h", "definition": {}}
        store.start_run(run_id="earlier", logical_date=moment, at=moment, **facts)
        store.end_task("earlier", "count", TaskState.SUCCESS, result=result, at=moment)


def test_a_recorded_output_stands_in_for_a_task_that_is_left_out(project: Path) -> None:
    with DAG("parts") as dag:
        Touch(task_id="take", value=Touch(task_id="count"))
    with pytest.raises(DefinitionError, match=r"task 'take': needs the output of 'count', .*never succeeded on target"):
        planned(dag, only=["take"])
    record(dag, {"rows": 7})
    part = planned(dag, only=["take"])
    assert part.recorded == {"count": {"rows": 7}}
    assert part.recorded_by == {"count": "earlier"}
    assert planned(dag).recorded == {}


def test_a_recorded_output_that_held_a_secret_is_not_used(project: Path) -> None:
    with DAG("parts") as dag:
        Touch(task_id="take", value=Touch(task_id="count"))
    record(dag, {"token": MASK})
    with pytest.raises(DefinitionError, match=r"returned a secret, which is not recorded.*; run it too: --from count"):
        planned(dag, only=["take"])


def test_a_missing_secret_is_told_before_anything_runs(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with DAG("secrets") as dag:
        Touch(task_id="login", value=[Secret("env:PYDAG_TEST_LOGIN")])
        Touch(task_id="other")
    with pytest.raises(DefinitionError, match=r"test_planner\.py:\d+: task 'login': no secret 'env:PYDAG_TEST_LOGIN'"):
        planned(dag)
    assert list(planned(dag, only=["other"]).tasks) == ["other"]
    monkeypatch.setenv("PYDAG_TEST_LOGIN", "hunter2-hunter2")
    planned(dag)


# what was asked for ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "given", "dated"), [(None, None, False), (None, DAY, True), ("0 6 * * *", None, True)]
)
def test_a_plan_says_whether_runs_are_told_apart_by_date(
    project: Path, schedule: str | None, given: datetime | None, dated: bool
) -> None:
    with DAG("series", schedule=schedule) as series:
        Touch(task_id="a")
    assert planned(series, logical_date=given).dated is dated


def test_a_plan_says_what_was_asked_for_by_name(project: Path) -> None:
    with DAG("asked") as asked:
        Touch(task_id="a") >> Touch(task_id="b") >> Touch(task_id="c")
    found = planned(asked, only="c", start_from=["a"])
    assert found.requested == frozenset({"a", "c"})
    assert list(found.tasks) == ["a", "b", "c"]
    assert planned(asked).requested == frozenset()


def test_what_was_asked_for_is_json(project: Path) -> None:
    with DAG("asked", params={"table": Table("d.t"), "day": date(2026, 1, 2), "n": 1}) as asked:
        Touch(task_id="a")
    given = {"table": Table("d.u"), "day": date(2026, 2, 3)}
    found = planned(asked, params=given, cache=False, max_bytes=7, only=["a"])
    assert json.loads(json.dumps(found.options)) == found.options
    assert {name: found.options[name] for name in ("only", "start_from", "cache", "max_bytes")} == {
        "only": ["a"],
        "start_from": [],
        "cache": False,
        "max_bytes": 7,
    }
    # And it gives the same params when it is read again
    assert asked.resolve_params(found.options["params"]) == found.context.params


class Keeping(Touch):
    _seen: str = PrivateAttr(default="")


def test_only_what_has_a_template_or_a_memory_is_copied(project: Path) -> None:
    with DAG("copies") as dag:
        plain, kept = Touch(task_id="plain"), Keeping(task_id="kept")
        write = Write(task_id="write", table=Table("d.t"), text="{{ ds }}")
    found = planned(dag, logical_date=DAY)

    assert found.tasks["plain"] is plain
    assert found.tasks["kept"] is not kept
    assert (found.tasks["write"], write) == (found.tasks["write"], dag.tasks["write"])
    assert isinstance(found.tasks["write"], Write)
    assert (found.tasks["write"].text, write.text) == ("2026-02-03", "{{ ds }}")


@task
def nothing() -> None: ...


@pytest.mark.parametrize("backwards", [False, True])
def test_a_chain_of_very_many_tasks_is_planned(project: Path, backwards: bool) -> None:
    with DAG("long") as dag:
        tasks = [nothing() for _ in range(5000)]
        for above, below in itertools.pairwise(reversed(tasks) if backwards else tasks):
            above >> below
    found = planned(dag)
    assert found.warnings == ()
    assert sum(map(len, found.upstream.values())) == 4999
    assert planned(dag, only=["nothing__2500"]).upstream == {"nothing__2500": ()}


def test_very_many_tasks_of_which_nothing_is_known_are_told_of_once(project: Path) -> None:
    with DAG("wide") as dag:
        tasks = [nothing() for _ in range(5000)]
        tasks >> nothing()
    (warning,) = planned(dag).warnings
    assert "'nothing', 'nothing__1', 'nothing__2' and 4997 more may run at the same time" in warning


def test_very_many_readers_of_what_one_task_writes_are_ordered(project: Path) -> None:
    class Read(Operator):
        def reads(self, ctx: Context) -> frozenset[Resource]:
            return frozenset({Table("d.t")})

        def writes(self, ctx: Context) -> frozenset[Resource]:
            return frozenset()

        def execute(self, ctx: Context) -> None:
            return None

    with DAG("wide", infer=True) as dag:
        for number in range(2000):
            Read(task_id=f"read_{number}")
        Write(task_id="write", table=Table("d.t"))
    assert planned(dag).upstream["write"] == tuple(f"read_{number}" for number in range(2000))
