"""Threads that work."""

from __future__ import annotations

import threading

import pytest

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


def test_short_work_wakes_few_threads() -> None:
    # Given more work than threads, all of it there before the first thread looks for it
    done, names = threading.Semaphore(0), set[str]()

    def work() -> None:
        names.add(threading.current_thread().name)
        done.release()

    workers = Workers("test", 4)
    for _ in range(500):
        workers.submit(work)
        assert done.acquire(timeout=5)  # each is done before the next one comes
    workers.close()
    assert len(names) <= 2  # the one that works, and one that was not asleep yet when it was wanted


def test_who_fell_asleep_while_nobody_could_be_woken_is_woken_later(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given two threads: one finds the other one busy, and is held up before it says that none could be woken
    here, go_on = threading.Event(), threading.Event()

    class Door:
        def __enter__(self) -> None:
            if threading.current_thread() is not threading.main_thread() and not here.is_set():
                here.set()
                go_on.wait(10)

        def __exit__(self, *_: object) -> None:
            return

    workers, start, end = Workers("test", 2), threading.Event(), threading.Event()
    busy, short, last = threading.Semaphore(0), threading.Event(), threading.Event()

    def wait() -> None:
        busy.release()
        start.wait(10)

    for _ in range(2):
        workers.submit(wait)
        assert busy.acquire(timeout=5)
    monkeypatch.setattr(workers, "_making", Door())
    workers.submit(lambda: end.wait(10))
    workers.submit(short.set)
    start.set()
    assert here.wait(5)
    # When that one does what there is and sleeps, and more comes before the first one goes on, which takes long
    assert short.wait(5)
    while not workers._asleep:
        pass
    workers.submit(last.set)
    go_on.set()
    # Then
    assert last.wait(5)
    end.set()
    workers.close()


def test_closed_workers_do_what_they_were_given_and_end() -> None:
    release, done = threading.Event(), list[int]()
    workers = Workers("closing", 2)
    for _ in range(2):
        workers.submit(lambda: release.wait(10))
    for number in range(10):
        workers.submit(lambda number=number: done.append(number))  # type: ignore[misc]
    workers.close()
    release.set()
    for thread in threading.enumerate():
        if thread.name.startswith("closing"):
            thread.join(5)
    assert sorted(done) == list(range(10))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("closing")]


def test_submitters_and_workers_race_without_losing_any_work() -> None:
    # Given pieces that come one by one, in bursts and while threads fall asleep
    done = threading.Semaphore(0)
    workers = Workers("test", 3)
    for burst in [1, 2, 3, 1, 7] * 400:
        for _ in range(burst):
            workers.submit(done.release)
        for _ in range(burst):
            assert done.acquire(timeout=5)
    workers.close()
