"""The race check on real operators: what they read and write is taken from their fields and their SQL."""

from __future__ import annotations

import contextlib
import itertools
import random
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pydag_gcp import DAG, Cluster, Table, races, task
from pydag_gcp.access import access_of
from pydag_gcp.errors import DefinitionError
from pydag_gcp.operator import Operator
from pydag_gcp.operators import (
    BigQueryCopy,
    BigQueryQuery,
    BigQueryToGCS,
    DataprocCreateCluster,
    DataprocDeleteCluster,
    DataprocPySparkJob,
    GCSToBigQuery,
)
from pydag_gcp.planner import Plan, plan
from pydag_gcp.settings import load
from pydag_gcp.states import TriggerRule

AUDIT = Table("d.audit", shared=True)


@dataclass(frozen=True)
class Kind:
    """A task that can be made, and by hand: the cells it reads, writes, and only appends to."""

    make: Callable[[str], Operator]
    reads: str = ""
    writes: str = ""
    appends: str = ""
    cells: dict[str, set[str]] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        ways = {"read": self.reads, "write": self.writes, "append": self.appends}
        object.__setattr__(self, "cells", {how: set(cells.split()) for how, cells in ways.items()})

    def clashes(self, other: Kind) -> bool:
        return any(
            mine & its
            for (how, mine), (why, its) in itertools.product(self.cells.items(), other.cells.items())
            if {how, why} not in ({"read"}, {"append"})
        )


def sql(text: str, *, reads: str = "", writes: str = "", appends: str = "", **fields: Any) -> Kind:
    return Kind(lambda name: BigQueryQuery(task_id=name, sql=text, **fields), reads, writes, appends)


# t is partitioned: t1 is its 31st of January, t2 all the rest; v is a view of t.
T = "t1 t2"
KINDS = {
    "select": sql("SELECT * FROM d.t", reads=T),
    "ctas": sql("CREATE OR REPLACE TABLE d.u AS WITH x AS (SELECT * FROM d.t) SELECT * FROM x", reads=T, writes="u"),
    "insert": sql("INSERT INTO d.u SELECT * FROM d.w JOIN `d.x` USING (id)", reads="w x", writes="u"),
    "merge": sql(
        "MERGE d.u AS a USING d.w AS b ON a.id = b.id WHEN NOT MATCHED THEN INSERT ROW", reads="u w", writes="u"
    ),
    "update": sql("UPDATE d.w SET n = 1 WHERE id IN (SELECT id FROM d.x)", reads="w x", writes="w"),
    "truncate": sql("TRUNCATE TABLE d.x", writes="x"),
    "script": sql("CREATE TEMP TABLE y AS SELECT * FROM d.x; INSERT INTO d.w SELECT * FROM y", reads="x", writes="w"),
    "view": sql("CREATE OR REPLACE VIEW d.v AS SELECT * FROM d.t", reads=T, writes="v"),
    "through_view": sql("SELECT * FROM d.v JOIN d.w USING (id)", reads=f"v w {T}"),
    "wildcard": sql("SELECT * FROM `d.events_2022*`", reads="e20220130 e20220131"),
    "shard": sql("INSERT INTO d.events_20220131 VALUES (1)", writes="e20220131"),
    "old_shard": sql("INSERT INTO d.events_20211231 VALUES (1)", writes="e20211231"),
    "schema": sql("CREATE SCHEMA IF NOT EXISTS other", writes="other.a other.b"),
    "in_schema": sql("CREATE TABLE other.a (n INT64)", writes="other.a"),
    "export": sql("EXPORT DATA OPTIONS (uri='gs://bucket/x/*.csv', format='CSV') AS SELECT 1 AS n", writes="x/1.csv"),
    "destination": sql("SELECT 1 AS n", destination="d.t$20220131", writes="t1"),
    "append": sql("INSERT INTO {{ audit }} SELECT 1", params={"audit": AUDIT}, appends="audit"),
    "append_rows": sql("SELECT 1 AS n", destination=AUDIT, write="WRITE_APPEND", appends="audit"),
    "clear_audit": sql("DELETE FROM {{ audit }} WHERE n < 9", params={"audit": AUDIT}, reads="audit", writes="audit"),
    "read_audit": sql("SELECT * FROM {{ audit }}", params={"audit": AUDIT}, reads="audit"),
    "load": Kind(
        lambda name: GCSToBigQuery(task_id=name, source="gs://bucket/in/*.csv", destination="d.t$20220131"),
        "in/1.csv in/2.csv",
        "t1",
    ),
    "load_other_day": Kind(
        lambda name: GCSToBigQuery(task_id=name, source="gs://bucket/in/1.json", destination="d.t$20220201"),
        "in/1.json",
        "t2",
    ),
    "load_audit": Kind(
        lambda name: GCSToBigQuery(task_id=name, source="gs://bucket/in/", destination=AUDIT, write="WRITE_APPEND"),
        "in/1.csv in/2.csv in/1.json",
        appends="audit",
    ),
    "extract": Kind(
        lambda name: BigQueryToGCS(task_id=name, source="d.u", destination="gs://bucket/in/2.csv"), "u", "in/2.csv"
    ),
    "extract_folder": Kind(
        lambda name: BigQueryToGCS(task_id=name, source="d.w", destination="gs://bucket/x/"), "w", "x/1.csv x/2.csv"
    ),
    "copy": Kind(lambda name: BigQueryCopy(task_id=name, source=["d.u", "d.w"], destination="d.x"), "u w", "x"),
    "spark": Kind(
        lambda name: DataprocPySparkJob(
            task_id=name,
            cluster=Cluster("c"),
            main="gs://bucket/job.py",
            reads=["d.t"],
            writes=["gs://bucket/in/1.csv"],
        ),
        f"{T} c job.py",
        "in/1.csv",
    ),
    "cluster": Kind(lambda name: DataprocCreateCluster(task_id=name, cluster=Cluster("c")), "", "c"),
}


def planned(dag: DAG) -> Plan:
    return plan(dag, load(Path.cwd()))


def refused(dag: DAG) -> set[str] | None:
    """The pair of tasks that is said to race."""
    try:
        planned(dag)
    except DefinitionError as error:
        first, _, second = str(error).rpartition("add the edge ")[2].partition(" >> ")
        return {first, second}
    return None


def build(kinds: Iterable[str], edges: Iterable[tuple[str, str]] = (), *, infer: bool = False) -> DAG:
    """Make a DAG of one task of each kind, with the view that one of them reads."""
    with DAG("drawn", infer=infer) as dag:
        for kind in kinds:
            KINDS[kind].make(kind)
    for above, below in edges:
        dag.connect(dag.tasks[above], dag.tasks[below])
    return dag


def clashing(kinds: Collection[str]) -> list[tuple[str, str]]:
    return [(one, other) for one, other in itertools.combinations(kinds, 2) if KINDS[one].clashes(KINDS[other])]


@pytest.fixture(autouse=True)
def _in_project(project: Path) -> None:
    """Plans are made in a folder of their own."""


def test_two_tasks_that_nothing_orders_are_refused_exactly_if_they_clash() -> None:
    whole = planned(build(KINDS, itertools.pairwise(KINDS)))
    accesses = {kind: access_of(whole.tasks[kind], whole.context_of(kind)) for kind in KINDS}

    for one, other in itertools.combinations([kind for kind in KINDS if kind != "view"], 2):
        # the view is made before both, so that what it reads is known
        upstream = {"view": [], one: ["view"], other: ["view"]}
        clashes = KINDS[one].clashes(KINDS[other])
        with pytest.raises(DefinitionError, match=f"{one} >> {other}") if clashes else contextlib.nullcontext():
            races.check(
                {kind: accesses[kind] for kind in upstream},
                upstream,
                rules=dict.fromkeys(upstream, TriggerRule.ALL_SUCCESS),
                branches={},
                teardowns={},
                place_of=str,
            )


def test_in_random_dags_what_is_ordered_passes_and_what_is_planted_is_found() -> None:
    for seed in range(40):
        chance = random.Random(seed)
        clashes: list[tuple[str, str]] = []
        while not clashes:
            kinds = ["view", *chance.sample([kind for kind in KINDS if kind != "view"], chance.randint(4, 10))]
            clashes = clashing(kinds)

        assert refused(build(kinds, clashes)) is None, seed

        # Without the edges of one task that would clash
        victim = chance.choice([kind for pair in clashes for kind in pair])
        pair = refused(build(kinds, [pair for pair in clashes if victim not in pair]))
        assert pair is not None, seed
        assert victim in pair, seed

        assert refused(build(kinds, infer=True)) is None, seed


def test_a_race_says_what_each_task_does_and_where_it_is() -> None:
    dag = build(["load", "through_view", "view"], [("view", "load"), ("view", "through_view")])

    with pytest.raises(DefinitionError) as raised:
        planned(dag)

    assert str(raised.value).endswith(
        "task 'through_view': is in a race with task 'load': 'load' writes pydag-local.d.t$20220131 while "
        "'through_view' reads pydag-local.d.t through the view pydag-local.d.v; add the edge load >> through_view"
    )
    assert str(raised.value).startswith(f"{__file__}:")


def test_arms_and_teardowns_do_not_race() -> None:
    with DAG("branches") as dag:

        @task.branch(reads=[], writes=[])
        def pick() -> str:
            return "load"

        create = KINDS["cluster"].make("create")
        spark = KINDS["spark"].make("spark")
        delete = DataprocDeleteCluster(task_id="delete", cluster=Cluster("c"), teardown_of=create)
        full, delta = KINDS["load"].make("load"), KINDS["destination"].make("destination")
        report = BigQueryQuery(task_id="report", sql="SELECT * FROM d.t", trigger_rule="none_failed_min_one_success")
        create >> spark >> delete
        spark >> pick() >> [full, delta] >> report

    assert planned(dag).warnings == ()


def test_a_teardown_that_does_not_wait_for_the_jobs_is_refused() -> None:
    with DAG("early") as dag:
        create = KINDS["cluster"].make("create")
        create >> KINDS["spark"].make("spark")
        DataprocDeleteCluster(task_id="delete", cluster=Cluster("c"), teardown_of=create)

    assert refused(dag) == {"spark", "delete"}


def test_opaque_tasks_are_warned_of() -> None:
    with DAG("opaque") as dag:
        for name in ("one", "other"):
            BigQueryQuery(task_id=name, sql="CALL d.procedure()")

    (warning,) = planned(dag).warnings
    assert warning.startswith("tasks 'one', 'other' may run at the same time")


def test_inferred_edges_are_part_of_the_plan() -> None:
    with DAG("inferred", infer=True) as dag:
        KINDS["load"].make("load")
        KINDS["view"].make("view")
        KINDS["through_view"].make("report")
        KINDS["cluster"].make("create")
        DataprocDeleteCluster(task_id="delete", cluster=Cluster("c"), teardown_of="create")
        KINDS["spark"].make("spark")

    found = planned(dag).upstream

    assert {name: set(above) for name, above in found.items()} == {
        "load": set(),
        "view": {"load"},
        "report": {"view"},
        "create": set(),
        "spark": {"load", "create"},
        "delete": {"create", "spark"},
    }
