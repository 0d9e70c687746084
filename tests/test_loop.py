"""The event loop, with a clock of its own."""

from __future__ import annotations

import threading
import weakref
from datetime import UTC, datetime

from pydag_gcp.loop import Loop


def test_timers_fire_in_order_and_not_when_cancelled() -> None:
    now = [0.0]
    loop = Loop(clock=lambda: now[0])
    fired: list[str] = []
    loop.after(2, lambda: fired.append("late"))
    loop.after(1, lambda: fired.append("first"))
    loop.after(1, lambda: fired.append("second"))
    loop.after(1, lambda: fired.append("never")).cancel()
    now[0] = 1.5
    loop.wait()
    assert fired == ["first", "second"]
    now[0] = 2.0
    loop.wait()
    assert fired == ["first", "second", "late"]


def test_a_timer_that_is_cancelled_keeps_nothing() -> None:
    loop = Loop()
    what = Loop()
    kept = weakref.ref(what)
    timer = loop.after(3600, what.wake)
    timer.cancel()
    del what
    assert kept() is None


def test_time_stands_still_until_it_sleeps_or_looks() -> None:
    loop = Loop()
    began = loop.moment()
    while datetime.now(UTC) == began:
        pass
    assert loop.moment() is began
    loop.look()
    looked = loop.moment()
    assert looked > began
    loop.wake()
    loop.wait()
    assert loop.moment() >= looked


def test_other_threads_wake_it() -> None:
    loop = Loop()
    seen: list[int] = []
    thread = threading.Thread(target=lambda: loop.soon(lambda: seen.append(threading.get_ident())))
    thread.start()
    loop.wait()
    thread.join()
    assert seen == [threading.get_ident()]


def test_after_stop_nothing_more_is_called() -> None:
    loop = Loop()
    seen: list[str] = []
    loop.soon(loop.stop)
    loop.soon(lambda: seen.append("more"))
    loop.wait()
    assert seen == []


def test_it_can_be_woken_for_nothing() -> None:
    loop = Loop(clock=lambda: 0.0)
    loop.wake()
    loop.wait()  # or it would sleep for a while


def test_what_comes_while_it_is_at_work_waits_for_the_next_time() -> None:
    # Given an action that asks for itself again, for ever
    loop = Loop()
    seen: list[int] = []

    def again() -> None:
        seen.append(len(seen))
        loop.soon(again)

    loop.soon(again)
    loop.soon(again)
    # When the loop wakes, then it does what there was, and lets the driver do its part
    loop.wait()
    assert seen == [0, 1]
