"""Patterns of object names: two meet exactly if a name fits both."""

from __future__ import annotations

import fnmatch
import itertools

from hypothesis import given
from hypothesis import strategies as st

from pydag_gcp.patterns import meet

patterns = st.lists(st.sampled_from(["a", "b", "*", "?", "[ab]", "[!a]"]), max_size=4).map("".join)
# Two patterns of four parts have a common name of at most eight letters, if they have one.
NAMES = ["".join(letters) for length in range(9) for letters in itertools.product("ab", repeat=length)]


@given(patterns, patterns)
def test_two_patterns_meet_if_a_name_fits_both(one: str, other: str) -> None:
    shared = any(fnmatch.fnmatchcase(name, one) and fnmatch.fnmatchcase(name, other) for name in NAMES)

    assert meet(one, other) == meet(other, one)
    assert meet(one, other) or not shared


@given(patterns, st.sampled_from(NAMES))
def test_a_name_meets_exactly_the_patterns_that_it_fits(pattern: str, name: str) -> None:
    assert meet(pattern, name) == fnmatch.fnmatchcase(name, pattern)


def test_what_differs_in_a_letter_does_not_meet() -> None:
    assert not meet("in/*.csv", "in/*.json")
    assert not meet("a?c*", "abd*")
    assert meet("in/**/x", "in/a*")


def test_an_open_bracket_is_a_letter() -> None:
    assert meet("a[", "a[")
    assert not meet("a[", "ab")
