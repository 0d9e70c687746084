"""Python's search for garbage, held off during a run."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from pydag_gcp.garbage import Frozen


def is_frozen(thing: object) -> bool:
    """Whether the search leaves it out. A count would not tell: what is frozen may still die meanwhile."""
    return not any(thing is other for other in gc.get_objects())


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    gc.unfreeze()
    yield
    gc.unfreeze()


def test_what_is_there_is_frozen_until_the_end() -> None:
    earlier = [1]
    frozen = Frozen()
    assert is_frozen(earlier)
    later = [2]
    assert not is_frozen(later)
    with frozen:
        frozen.more()
        assert is_frozen(later)
    assert not is_frozen(earlier)
    assert not is_frozen(later)


def test_what_somebody_else_froze_stays_so() -> None:
    earlier = [1]
    gc.freeze()
    later = [2]
    with Frozen() as _:
        assert not is_frozen(later)
    assert is_frozen(earlier)


def test_it_ends_also_when_what_is_inside_fails() -> None:
    earlier = [1]
    with pytest.raises(ZeroDivisionError), Frozen():
        raise ZeroDivisionError
    assert not is_frozen(earlier)
