"""One form for each value: equal exactly where values are."""

from __future__ import annotations

import json
import threading
from datetime import UTC
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from pydag_gcp.canonical import Canonical, Unhashable, digest, text

# values ---------------------------------------------------------------------------------------------------------------

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.binary(),
    st.decimals(),
    st.dates(),
    st.datetimes(timezones=st.none() | st.just(UTC)),
    st.timedeltas(),
)
values = st.recursive(
    scalars,
    lambda part: st.lists(part) | st.dictionaries(st.text(), part) | st.tuples(part, part),
    max_leaves=8,
)


def exactly(value: Any) -> Any:
    """A value with its types, which Python's == overlooks: 1 == 1.0 == True, 0.0 == -0.0, nan != nan."""
    if isinstance(value, dict):
        return dict, frozenset((exactly(key), exactly(part)) for key, part in value.items())
    if isinstance(value, (list, tuple)):
        return type(value), tuple(map(exactly, value))
    return type(value), value.hex() if isinstance(value, float) else repr(value)


@given(values, values)
def test_two_values_have_one_form_exactly_if_they_are_the_same(one: Any, other: Any) -> None:
    assert (digest(Canonical().form(one)) == digest(Canonical().form(other))) == (exactly(one) == exactly(other))


@given(values)
def test_a_form_is_json(value: Any) -> None:
    form = Canonical().form(value)
    assert json.loads(text(form)) == json.loads(json.dumps(form))


@given(st.dictionaries(st.text(), scalars, max_size=4), st.randoms())
def test_the_order_of_keys_counts_only_where_it_is_asked_for(value: dict[str, Any], random: Any) -> None:
    names = list(value)
    random.shuffle(names)
    shuffled = {name: value[name] for name in names}
    assert Canonical().form(shuffled) == Canonical().form(value)
    same = Canonical(ordered=True).form(shuffled) == Canonical(ordered=True).form(value)
    assert same == (names == list(value))


@given(st.sets(st.integers() | st.text()))
def test_the_order_of_a_set_never_counts(value: set[Any]) -> None:
    assert Canonical().form({*sorted(value, key=repr)}) == Canonical().form(frozenset(value))


def test_what_contains_itself_or_is_no_plain_value_has_no_form() -> None:
    endless: list[Any] = []
    endless.append(endless)
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    for value in (endless, deep, threading.Lock(), object()):
        with pytest.raises(Unhashable):
            Canonical().form(value)


class Basket(BaseModel):
    items: list[int] = []
    note: str = ""


def test_a_model_counts_by_the_fields_that_hold_no_default_however_they_came_to() -> None:
    plain, written_out, filled = Basket(), Basket(items=[], note=""), Basket()
    filled.items.append(1)
    form = Canonical().form
    assert form(plain) == form(written_out)
    assert form(filled) == form(Basket(items=[1])) != form(plain)
