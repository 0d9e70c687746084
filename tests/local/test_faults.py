from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pydag_gcp.local.faults import KINDS, Faults, Order
from pydag_gcp.local.subjects import Subject


def test_a_call_without_an_order_is_only_counted() -> None:
    faults = Faults()
    assert faults.arrived("storage.objects.get").fault is None
    assert faults.calls() == {"storage.objects.get": 1}


@given(skipped=st.integers(0, 5), times=st.integers(1, 5))
def test_an_order_hits_exactly_the_calls_it_names(skipped: int, times: int) -> None:
    # Given an order for `times` calls, the first of which is number skipped + 1
    faults = Faults()
    faults.add("a.b", kind="503", call=skipped + 1, times=times)
    # When the method is called more often than that
    hits = [faults.arrived("a.b").fault is not None for _ in range(skipped + times + 3)]
    # Then those calls are hit, and no other
    assert hits == [False] * skipped + [True] * times + [False] * 3


def test_call_numbers_count_from_the_order_on() -> None:
    faults = Faults()
    faults.arrived("a.b")
    faults.arrived("a.b")
    faults.add("a.b", kind="429", call=2)
    assert [faults.arrived("a.b").fault is not None for _ in range(3)] == [False, True, False]


def test_other_methods_neither_use_up_nor_meet_an_order() -> None:
    faults = Faults()
    faults.add("a.b", kind="429")
    assert faults.arrived("a.c").fault is None
    assert faults.arrived("a.b").fault is not None


def test_a_pattern_matches_many_methods() -> None:
    faults = Faults()
    faults.add("bigquery.*", kind="503", times=2)
    assert [
        bool(faults.arrived(m).fault) for m in ("bigquery.jobs.get", "storage.objects.get", "bigquery.tables.get")
    ] == [
        True,
        False,
        True,
    ]


def test_of_two_orders_due_at_once_the_older_comes_first_and_none_is_lost() -> None:
    faults = Faults()
    faults.add("a.b", kind="429")
    faults.add("a.b", kind="503")
    kinds = [fault.kind for fault in (faults.arrived("a.b").fault, faults.arrived("a.b").fault) if fault]
    assert kinds == ["429", "503"]


@pytest.mark.parametrize(
    ("order", "what"),
    [
        ({"method": "a.b", "kind": "418"}, "418"),
        ({"method": "a.b", "kind": "429", "call": 0}, "start at 1"),
        ({"method": "a.b", "kind": "429", "times": 0}, "start at 1"),
        ({"method": "a.b", "kind": "latency", "seconds": -1.0}, "seconds at 0"),
        ({"method": "a.misspelt", "kind": "429"}, "a.misspelt"),
    ],
)
def test_an_order_that_could_never_be_followed_is_refused(order: dict[str, object], what: str) -> None:
    faults = Faults()
    faults.know(["a.b"])
    with pytest.raises(ValueError, match=what):
        faults.add(**order)  # type: ignore[arg-type]


def test_methods_of_a_service_nobody_knows_yet_are_believed() -> None:
    faults = Faults()
    faults.know(["a.b"])
    faults.add("dataproc.SubmitJob", kind="unavailable")
    assert faults.arrived("dataproc.SubmitJob").fault is not None


def test_clear_forgets_orders_and_counts() -> None:
    faults = Faults()
    faults.add("a.b", kind="429")
    faults.arrived("a.c")
    faults.clear()
    assert faults.calls() == {}
    assert faults.arrived("a.b").fault is None


def test_threads_share_an_order() -> None:
    # Given 50 faults for one method
    faults = Faults()
    faults.add("a.b", kind="500", times=50)
    hits: list[bool] = []
    # When 8 threads call it 25 times each
    threads = [
        threading.Thread(target=lambda: hits.extend(faults.arrived("a.b").fault is not None for _ in range(25)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Then 50 of the 200 calls were hit, and all are counted
    assert hits.count(True) == 50
    assert faults.calls() == {"a.b": 200}


def test_every_kind_says_what_it_does() -> None:
    assert all(KINDS.values())


def test_an_order_may_be_about_the_work_of_one_task() -> None:
    # Given two tasks, of which one is to meet a fault
    faults = Faults()
    faults.order(Order(method="bigquery.jobs.insert", kind="503", task="load"))
    # When both call, the other one first
    met = [faults.arrived("bigquery.jobs.insert", Subject(task=task)).fault for task in ("clean", "load", "load")]
    # Then only the one does, and once
    assert [fault and fault.kind for fault in met] == [None, "503", None]


def test_an_order_may_be_about_one_resource_and_about_what_is_over() -> None:
    faults = Faults()
    faults.order(Order(method="storage.*", kind="503", resource="gs://bucket/part-*", over=False))
    names = ("gs://bucket/other", "gs://bucket/part-1")
    assert [bool(faults.arrived("storage.objects.get", Subject(resource=name)).fault) for name in names] == [
        False,
        True,
    ]


@pytest.mark.parametrize("let_go", [Faults.release, Faults.clear])
def test_a_call_is_held_until_it_is_let_go(let_go: Callable[[Faults], None]) -> None:
    # Given a call that is held
    faults = Faults()
    call = faults.arrived("a.b").call
    waiting = threading.Thread(target=faults.hold, args=(call,))
    waiting.start()
    while not faults.held():
        time.sleep(0.001)
    assert waiting.is_alive()
    assert faults.held() == [call]
    # When it is let go
    let_go(faults)
    # Then it goes on
    waiting.join(timeout=10)
    assert not waiting.is_alive()
    assert faults.held() == []


def test_the_details_say_what_was_done_to_each_call() -> None:
    faults = Faults()
    faults.add("a.b", kind="reset", call=2)
    for _ in range(3):
        faults.arrived("a.b", Subject(task="load"))
    assert [(call.number, call.task, call.fault) for call in faults.details()] == [
        (1, "load", None),
        (2, "load", "reset"),
        (3, "load", None),
    ]
    faults.clear()
    assert faults.details() == []
