"""Python's search for garbage, held off during a run."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from pydag_gcp import DAG, garbage
from pydag_gcp.garbage import Frozen, seldom


def is_frozen(thing: object) -> bool:
    """Whether the search leaves it out. A count would not tell: what is frozen may still die meanwhile."""
    return not any(thing is other for other in gc.get_objects())


@pytest.fixture(autouse=True)
def thawed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(garbage, "_for_good", False)
    gc.unfreeze()
    yield
    gc.unfreeze()


def test_what_is_there_is_frozen_until_the_end() -> None:
    earlier = [1]
    frozen = Frozen()
    assert not is_frozen(earlier)
    with frozen:
        assert is_frozen(earlier)
        later = [2]
        assert not is_frozen(later)
        frozen.more()
        assert is_frozen(later)
    assert not is_frozen(earlier)
    assert not is_frozen(later)


def test_what_somebody_else_froze_stays_so() -> None:
    earlier = [1]
    gc.freeze()
    later = [2]
    with Frozen():
        assert not is_frozen(later)
    assert is_frozen(earlier)


def test_what_is_kept_stays_frozen() -> None:
    with garbage.kept():
        earlier = [1]
        assert not gc.isenabled()
    assert gc.isenabled()
    later = [2]
    with Frozen():
        assert not is_frozen(later)
    assert is_frozen(earlier)


def test_who_does_not_want_it_searched_gets_what_is_kept_without() -> None:
    gc.disable()
    try:
        with garbage.kept():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_it_ends_also_when_what_is_inside_fails() -> None:
    earlier = [1]
    with pytest.raises(ZeroDivisionError), Frozen():
        raise ZeroDivisionError
    assert not is_frozen(earlier)


def test_it_is_searched_less_often_until_the_end() -> None:
    before = gc.get_threshold()
    with seldom():
        assert gc.get_threshold()[0] > before[0]
        with seldom():
            pass
        assert gc.get_threshold()[0] > before[0]
    assert gc.get_threshold() == before


@pytest.mark.parametrize("often", [0, 1_000_000])
def test_how_often_somebody_else_wants_it_searched_holds(often: int) -> None:
    before = gc.get_threshold()
    gc.set_threshold(often)
    try:
        with seldom():
            assert gc.get_threshold()[0] == often
        assert gc.get_threshold()[0] == often
    finally:
        gc.set_threshold(*before)


def test_what_somebody_else_says_meanwhile_holds() -> None:
    before = gc.get_threshold()
    try:
        with seldom():
            gc.set_threshold(50_000)
        assert gc.get_threshold()[0] == 50_000
    finally:
        gc.set_threshold(*before)


def test_all_is_as_before_when_the_definition_of_a_dag_fails() -> None:
    before, earlier, seen = gc.get_threshold(), [1], list[bool]()

    def define() -> None:
        with DAG("daily"):
            seen.append(is_frozen(earlier))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        define()
    assert seen == [True]
    assert gc.get_threshold() == before
    assert not is_frozen(earlier)
