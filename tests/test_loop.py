"""The event loop, with a clock of its own."""

from __future__ import annotations

import threading

from pydag_gcp.loop import Loop
from pydag_gcp.processors import Workers, default_size


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


def test_workers_run_at_most_their_size_at_a_time_and_exactly_what_was_submitted() -> None:
    running, most, done = 0, 0, threading.Semaphore(0)
    lock = threading.Lock()

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.005)
        with lock:
            running -= 1
        done.release()

    workers = Workers("test", 3)
    for _ in range(30):
        workers.submit(work)
    for _ in range(30):
        assert done.acquire(timeout=5)
    workers.close()
    assert most == 3


def test_a_busy_worker_never_holds_up_work_that_another_could_do() -> None:
    # Given one thread that is stuck, every further piece of work finds a thread of its own
    release, done = threading.Event(), threading.Semaphore(0)
    workers = Workers("test", 8)
    for _ in range(200):
        workers.submit(done.release)
    for _ in range(200):
        assert done.acquire(timeout=5)
    for _ in range(7):
        workers.submit(lambda: release.wait(10))
    workers.submit(done.release)
    assert done.acquire(timeout=5)
    release.set()
    workers.close()


def test_the_machine_has_a_size() -> None:
    assert 5 <= default_size() <= 32
