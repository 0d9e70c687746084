"""The threads of a run."""

from __future__ import annotations

import threading

from pydag_gcp.attempt import Outcome
from pydag_gcp.crew import Crew


def test_outcomes_arrive_in_the_loop_and_errors_are_outcomes() -> None:
    crew, outcomes = Crew(1), list[Outcome]()
    mine = threading.current_thread()
    heard: list[threading.Thread] = []

    def then(outcome: Outcome) -> None:
        outcomes.append(outcome)
        heard.append(threading.current_thread())

    crew.work(1, lambda: threading.current_thread(), then)
    crew.call(lambda: 1 / 0, then)
    while len(outcomes) < 2:
        crew.loop.wait()
    crew.close()
    values = [outcome.value for outcome in outcomes if outcome.error is None]
    assert values != [mine]
    assert [type(outcome.error) for outcome in outcomes if outcome.error] == [ZeroDivisionError]
    assert heard == [mine, mine]


def test_processors_are_held_until_the_outcome_is_heard() -> None:
    crew = Crew(2)
    crew.work(5, lambda: None, lambda _: None)  # it wants more than there are: it holds all
    assert (crew.free, crew.fits(1)) == (0, False)
    while not crew.free:
        crew.loop.wait()
    crew.close()
    assert crew.fits(9)


def test_workers_that_are_given_up_hold_nothing_any_more() -> None:
    crew, release = Crew(1), threading.Event()
    crew.work(1, release.wait, lambda _: None)
    crew.give_up_workers()
    heard: list[Outcome] = []
    assert crew.fits(1)
    crew.work(1, lambda: "done", heard.append)
    while not heard:
        crew.loop.wait()
    release.set()
    while crew.free > 1:  # never more than there are, when the late one returns
        crew.loop.wait()
    crew.close()
    assert (heard[0].value, crew.free) == ("done", 1)
