"""Python's search for garbage, held off during a run."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from pydag_gcp.garbage import Frozen


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    gc.unfreeze()
    yield
    gc.unfreeze()


def test_what_is_there_is_frozen_until_the_end() -> None:
    frozen = Frozen()
    before = gc.get_freeze_count()
    made = [[number] for number in range(1000)]
    with frozen:
        frozen.more()
        assert gc.get_freeze_count() >= before + len(made)
    assert gc.get_freeze_count() == 0


def test_what_somebody_else_froze_stays_so() -> None:
    gc.freeze()
    before = gc.get_freeze_count()
    with Frozen() as _:
        pass
    assert gc.get_freeze_count() == before > 0


def test_it_ends_also_when_what_is_inside_fails() -> None:
    with pytest.raises(ZeroDivisionError), Frozen():
        raise ZeroDivisionError
    assert gc.get_freeze_count() == 0
