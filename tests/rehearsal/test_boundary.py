"""The calls at which a rehearsal disturbs a pipeline, and what can happen to them."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from pydag_gcp.cli_rehearse import NAMES
from pydag_gcp.local.calls import Call
from pydag_gcp.local.faults import KINDS, Order
from pydag_gcp.local.subjects import Subject
from pydag_gcp.rehearsal.boundary import Boundary, boundaries
from pydag_gcp.rehearsal.disturbance import DISTURBANCES

UUID = "418da059-f864-49f3-b6f9-383f3f43437c"


def _calls(*pairs: tuple[str, Subject]) -> list[Call]:
    return [Call(number=1, method=method, subject=subject) for method, subject in pairs]


def test_looking_again_and_again_is_one_boundary_and_reading_the_end_another() -> None:
    job = Subject(task="load", job="j")
    done = Subject(task="load", job="j", over=True)

    found = boundaries(
        _calls(
            ("bigquery.jobs.insert", job),
            *[("bigquery.jobs.get", job)] * 5,
            *[("bigquery.jobs.get", done)] * 2,
        )
    )

    assert list(map(str, found)) == [
        "load bigquery.jobs.insert",
        "load bigquery.jobs.get",
        "load bigquery.jobs.get at the end",
    ]


def test_each_call_that_writes_is_one() -> None:
    found = boundaries(_calls(*[("bigquery.jobs.insert", Subject(resource="p"))] * 2))

    assert [(boundary.about, boundary.kind) for boundary in found] == [
        ("p", "bigquery.jobs.insert"),
        ("p", "bigquery.jobs.insert (2)"),
    ]
    assert found[1].order("503")["call"] == 2


def test_a_list_of_all_jobs_is_one_that_belongs_to_no_task() -> None:
    found = boundaries(_calls(*[("bigquery.jobs.list", Subject(resource="p"))] * 9, ("dataproc.ListJobs", Subject())))

    assert list(map(str, found)) == ["p bigquery.jobs.list", "- dataproc.ListJobs"]
    assert all(boundary.reads for boundary in found)


def test_what_jobs_on_clusters_call_is_theirs() -> None:
    assert boundaries(_calls(("bigquery.jobs.insert", Subject(resource="p", by_job=True)))) == ()


@pytest.mark.parametrize(
    ("subject", "same_another_time", "another"),
    [
        (Subject(task="load", job="j1"), Subject(task="load", job="j2"), Subject(task="clean", job="j1")),
        (
            Subject(resource=f"gs://b/[1]/{UUID}.csv"),
            Subject(resource=f"gs://b/[1]/{UUID[::-1].replace('-', '0')}.csv"),
            Subject(resource=f"gs://b/1/{UUID}.csv"),
        ),
        (Subject(resource="p.d.t"), Subject(resource="p.d.t"), Subject(resource="p.d.t", over=True)),
    ],
)
def test_its_fault_meets_the_same_call_of_another_run_and_no_other(
    subject: Subject, same_another_time: Subject, another: Subject
) -> None:
    (boundary,) = boundaries(_calls(("storage.objects.get", subject)))
    wanted = boundary.order("503")
    order = Order(kind=wanted.pop("fault"), **wanted)

    def meets(method: str, about: Subject) -> bool:
        return order.matches(Call(number=1, method=method, subject=about))

    assert meets("storage.objects.get", subject)
    assert meets("storage.objects.get", same_another_time)
    assert not meets("storage.objects.get", another)
    assert not meets("storage.objects.insert", subject)


@pytest.mark.parametrize(
    ("boundary", "meant"),
    [
        (Boundary(method="bigquery.jobs.insert"), set(NAMES)),
        (Boundary(method="bigquery.jobs.get"), {"429", "503", "reset", "kill-before"}),
        (Boundary(method="bigquery.jobs.getQueryResults"), {"429", "503", "reset", "kill-before"}),
        (Boundary(method="dataproc.SubmitJob"), set(NAMES) - {"reset", "lost-answer"}),
        (Boundary(method="dataproc.GetJob"), {"429", "503", "kill-before"}),
    ],
)
def test_what_comes_to_the_same_is_done_once(boundary: Boundary, meant: set[str]) -> None:
    assert {disturbance.name for disturbance in DISTURBANCES if disturbance.differs_at(boundary)} == meant


def test_every_disturbance_is_an_option_and_a_fault_that_there_is() -> None:
    assert tuple(disturbance.name for disturbance in DISTURBANCES) == NAMES
    assert {disturbance.fault for disturbance in DISTURBANCES} <= KINDS.keys()


@pytest.mark.parametrize("disturbance", DISTURBANCES, ids=lambda disturbance: str(disturbance.name))
def test_what_comes_to_the_same_names_another_disturbance(disturbance: object) -> None:
    same = {asdict(disturbance)[name] for name in ("same_when_reading", "same_over_rpc")}  # type: ignore[call-overload]
    assert same - {None} <= set(NAMES)
