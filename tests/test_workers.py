"""Threads that work."""

from __future__ import annotations

import threading

from pydag_gcp.workers import Workers


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
