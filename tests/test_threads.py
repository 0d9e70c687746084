"""The threads of a run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from pydag_gcp.attempt import Outcome
from pydag_gcp.loop import Loop
from pydag_gcp.processors import Share, join
from pydag_gcp.threads import Threads

Make = Callable[[int], Threads]


@pytest.fixture
def make() -> Iterator[Make]:
    """Makes threads with so many processors of a pool that nobody else uses."""
    made: list[Threads] = []

    def threads(size: int) -> Threads:
        loop = Loop()
        made.append(Threads(share(size, loop), loop))
        return made[-1]

    yield threads
    for one in made:
        with one:
            pass


def share(size: int, loop: Loop) -> Share:
    return join("test", run_id="r1", most=size, granted=loop.wake)


def test_outcomes_arrive_in_the_loop_and_errors_are_outcomes(make: Make) -> None:
    threads, outcomes = make(1), list[Outcome]()
    mine = threading.current_thread()
    heard: list[threading.Thread] = []

    def then(outcome: Outcome) -> None:
        outcomes.append(outcome)
        heard.append(threading.current_thread())

    assert threads.share.take(1)
    threads.work(1, lambda: threading.current_thread(), then)
    threads.call(lambda: 1 / 0, then)
    while len(outcomes) < 2:
        threads.loop.wait()
    values = [outcome.value for outcome in outcomes if outcome.error is None]
    assert values != [mine]
    assert [type(outcome.error) for outcome in outcomes if outcome.error] == [ZeroDivisionError]
    assert heard == [mine, mine]


def test_processors_are_held_until_the_outcome_is_heard(make: Make) -> None:
    threads = make(2)
    assert threads.share.take(2)
    threads.work(2, lambda: None, lambda _: None)
    assert (threads.share.held, threads.share.take(1)) == (2, False)
    while threads.share.held:
        threads.loop.wait()
    assert threads.share.take(2)


def test_workers_that_are_given_up_hold_nothing_any_more(make: Make) -> None:
    threads, release = make(1), threading.Event()
    late: list[Outcome] = []
    assert threads.share.take(1)
    threads.work(1, release.wait, late.append)
    threads.give_up_workers()
    heard: list[Outcome] = []
    assert threads.share.take(1)
    threads.work(1, lambda: "done", heard.append)
    while not heard:
        threads.loop.wait()
    assert threads.share.take(1)
    release.set()
    while not late:
        threads.loop.wait()
    assert (heard[0].value, threads.share.held) == ("done", 1)  # the late one gives nothing back
