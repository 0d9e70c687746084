"""Which tasks of a DAG a run takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pydag_gcp import DAG, Cluster, Operator
from pydag_gcp.access import Access, access_of
from pydag_gcp.errors import DefinitionError
from pydag_gcp.operator import Context, RemoteOperator
from pydag_gcp.operators import DataprocCreateCluster, DataprocDeleteCluster, DataprocPySparkJob
from pydag_gcp.selection import of_kind, select

CLUSTER = Cluster("warm")


class Step(Operator):
    def execute(self, ctx: Context) -> None:
        return None


def chosen(dag: DAG, ctx: Context, *, only: Sequence[str] = (), start_from: Sequence[str] = ()) -> set[str]:
    accesses = {task_id: access_of(task, replace(ctx, task_id=task_id)) for task_id, task in dag.tasks.items()}
    return set(select(dag.tasks, dag.upstream, accesses, only, start_from))


def spark(task_id: str, cluster: Cluster = CLUSTER) -> Operator:
    return DataprocPySparkJob(task_id=task_id, cluster=cluster, main="gs://bucket/job.py", reads=[], writes=[])


def diamond() -> DAG:
    with DAG("diamond") as dag:
        a, b, c, d = (Step(task_id=name) for name in "abcd")
        a >> [b, c] >> d
    return dag


def cluster_dag(**teardown: Any) -> DAG:
    """create >> load >> ingest >> after; ingest runs on the cluster that create makes and delete removes."""
    with DAG("spark") as dag:
        create = DataprocCreateCluster(task_id="create", cluster=CLUSTER)
        load, ingest, after = Step(task_id="load"), spark("ingest"), Step(task_id="after")
        delete = DataprocDeleteCluster(task_id="delete", cluster=CLUSTER, **teardown)
        create >> load >> ingest >> [after, delete]
        other = DataprocCreateCluster(task_id="other", cluster=Cluster("other"))
        other >> spark("elsewhere", Cluster("other"))
    return dag


def test_without_a_choice_all_tasks_are_taken(ctx: Context) -> None:
    assert chosen(diamond(), ctx) == set("abcd")


@pytest.mark.parametrize(
    ("only", "start_from", "expected"),
    [("b", "", "b"), ("bd", "", "bd"), ("", "b", "bd"), ("", "a", "abcd"), ("a", "c", "acd"), ("", "d", "d")],
)
def test_only_is_exact_and_from_takes_all_downstream(ctx: Context, only: str, start_from: str, expected: str) -> None:
    assert chosen(diamond(), ctx, only=list(only), start_from=list(start_from)) == set(expected)


@pytest.mark.parametrize(
    ("name", "hint"), [("ingset", "did you mean 'ingest'?"), ("zzz", "known: create, load, ingest, after, delete, ")]
)
def test_an_unknown_task_is_told_with_the_known_ones(ctx: Context, name: str, hint: str) -> None:
    for choice in ({"only": [name]}, {"start_from": [name]}):
        with pytest.raises(DefinitionError) as caught:
            chosen(cluster_dag(), ctx, **choice)
        assert str(caught.value).startswith(f"no task {name!r} in the DAG; {hint}")


def test_the_cluster_that_a_chosen_task_uses_comes_along(ctx: Context) -> None:
    assert chosen(cluster_dag(), ctx, only=["ingest"]) == {"create", "ingest"}


def test_its_teardown_comes_along(ctx: Context) -> None:
    dag = cluster_dag(teardown_of="create")
    assert chosen(dag, ctx, only=["ingest"]) == {"create", "ingest", "delete"}
    assert chosen(dag, ctx, start_from=["ingest"]) == {"create", "ingest", "after", "delete"}


def test_deleting_a_cluster_does_not_make_it_first(ctx: Context) -> None:
    assert chosen(cluster_dag(teardown_of="create"), ctx, only=["delete"]) == {"delete"}


def test_a_cluster_that_is_made_later_does_not_come_along(ctx: Context) -> None:
    with DAG("later") as dag:
        spark("early") >> DataprocCreateCluster(task_id="create", cluster=CLUSTER)
    assert chosen(dag, ctx, only=["early"]) == {"early"}


@given(edges=st.sets(st.tuples(st.integers(0, 7), st.integers(0, 7))), start=st.integers(0, 7))
def test_from_is_closed_downstream_and_takes_nothing_else(edges: set[tuple[int, int]], start: int) -> None:
    with DAG("law") as dag:
        tasks = [Step(task_id=f"t{number}") for number in range(8)]
        for above, below in edges:
            if above < below:
                tasks[above] >> tasks[below]
    nothing = Access(reads=frozenset(), writes=frozenset())
    found = select(dag.tasks, dag.upstream, dict.fromkeys(dag.tasks, nothing), (), [f"t{start}"])
    for task_id, upstream in dag.upstream.items():
        assert (task_id in found) == (task_id == f"t{start}" or any(other in found for other in upstream))


def test_the_tasks_of_a_class_are_those_of_its_subclasses_too() -> None:
    tasks = cluster_dag().tasks

    assert of_kind(tasks, RemoteOperator) == ["create", "ingest", "delete", "other", "elsewhere"]
    assert of_kind(tasks, Step) == ["load", "after"]
    assert of_kind(tasks, Operator) == list(tasks)
    assert of_kind({}, Operator) == []
