"""Waiting for an answer is told of once."""

from __future__ import annotations

from pydag_gcp.outages import Outages


def test_the_first_who_waits_is_told_of_and_the_next_one_after_all_went_on() -> None:
    told: list[str] = []
    outages = Outages(told.append)
    outages.begin("a", "a waits")
    outages.begin("b", "b waits")
    outages.end("a")
    outages.begin("c", "c waits")
    assert told == ["a waits"]
    outages.end("b")
    outages.end("c")
    outages.end("c")
    outages.begin("b", "b waits again")
    assert told == ["a waits", "b waits again"]
