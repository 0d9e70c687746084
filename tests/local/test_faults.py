from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pydag_gcp.local.faults import KINDS, Faults


def test_a_call_without_an_order_is_only_counted() -> None:
    faults = Faults()
    assert faults.before("storage.objects.get") is None
    assert faults.calls() == {"storage.objects.get": 1}


@given(skipped=st.integers(0, 5), times=st.integers(1, 5))
def test_an_order_hits_exactly_the_calls_it_names(skipped: int, times: int) -> None:
    # Given an order for `times` calls, the first of which is number skipped + 1
    faults = Faults()
    faults.add("a.b", kind="503", call=skipped + 1, times=times)
    # When the method is called more often than that
    hits = [faults.before("a.b") is not None for _ in range(skipped + times + 3)]
    # Then those calls are hit, and no other
    assert hits == [False] * skipped + [True] * times + [False] * 3


def test_call_numbers_count_from_the_order_on() -> None:
    faults = Faults()
    faults.before("a.b")
    faults.before("a.b")
    faults.add("a.b", kind="429", call=2)
    assert [faults.before("a.b") is not None for _ in range(3)] == [False, True, False]


def test_other_methods_neither_use_up_nor_meet_an_order() -> None:
    faults = Faults()
    faults.add("a.b", kind="429")
    assert faults.before("a.c") is None
    assert faults.before("a.b") is not None


def test_a_pattern_matches_many_methods() -> None:
    faults = Faults()
    faults.add("bigquery.*", kind="503", times=2)
    assert [bool(faults.before(m)) for m in ("bigquery.jobs.get", "storage.objects.get", "bigquery.tables.get")] == [
        True,
        False,
        True,
    ]


def test_of_two_orders_due_at_once_the_older_comes_first_and_none_is_lost() -> None:
    faults = Faults()
    faults.add("a.b", kind="429")
    faults.add("a.b", kind="503")
    kinds = [fault.kind for fault in (faults.before("a.b"), faults.before("a.b")) if fault]
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
    assert faults.before("dataproc.SubmitJob") is not None


def test_clear_forgets_orders_and_counts() -> None:
    faults = Faults()
    faults.add("a.b", kind="429")
    faults.before("a.c")
    faults.clear()
    assert faults.calls() == {}
    assert faults.before("a.b") is None


def test_threads_share_an_order() -> None:
    # Given 50 faults for one method
    faults = Faults()
    faults.add("a.b", kind="500", times=50)
    hits: list[bool] = []
    # When 8 threads call it 25 times each
    threads = [
        threading.Thread(target=lambda: hits.extend(faults.before("a.b") is not None for _ in range(25)))
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
