"""The threads of a run."""

from __future__ import annotations

import threading

from pydag_gcp.attempt import Outcome
from pydag_gcp.threads import Threads


def test_outcomes_arrive_in_the_loop_and_errors_are_outcomes() -> None:
    threads, outcomes = Threads(1), list[Outcome]()
    mine = threading.current_thread()
    heard: list[threading.Thread] = []

    def then(outcome: Outcome) -> None:
        outcomes.append(outcome)
        heard.append(threading.current_thread())

    threads.work(1, lambda: threading.current_thread(), then)
    threads.call(lambda: 1 / 0, then)
    while len(outcomes) < 2:
        threads.loop.wait()
    threads.close()
    values = [outcome.value for outcome in outcomes if outcome.error is None]
    assert values != [mine]
    assert [type(outcome.error) for outcome in outcomes if outcome.error] == [ZeroDivisionError]
    assert heard == [mine, mine]


def test_processors_are_held_until_the_outcome_is_heard() -> None:
    threads = Threads(2)
    threads.work(5, lambda: None, lambda _: None)  # it wants more than there are: it holds all
    assert (threads.free, threads.fits(1)) == (0, False)
    while not threads.free:
        threads.loop.wait()
    threads.close()
    assert threads.fits(9)


def test_workers_that_are_given_up_hold_nothing_any_more() -> None:
    threads, release = Threads(1), threading.Event()
    threads.work(1, release.wait, lambda _: None)
    threads.give_up_workers()
    heard: list[Outcome] = []
    assert threads.fits(1)
    threads.work(1, lambda: "done", heard.append)
    while not heard:
        threads.loop.wait()
    release.set()
    while threads.free > 1:  # never more than there are, when the late one returns
        threads.loop.wait()
    threads.close()
    assert (heard[0].value, threads.free) == ("done", 1)
