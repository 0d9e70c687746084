"""What a disturbed run left, compared with what undisturbed ones leave."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pydag_gcp.rehearsal.comparison import Comparison
from pydag_gcp.rehearsal.world import TableState, World

ROWS = TableState(schema="n", rows=2, digest=7)
WORLD = World(
    tables={"d.t": ROWS},
    objects={"gs://b/o": ("aa",)},
    effects={"load": ("j1",)},
    clusters=("r/kept",),
)


def test_the_same_is_no_difference() -> None:
    assert Comparison([WORLD, WORLD]).differences(replace(WORLD, effects={"load": ("j2",)})) == ()


@pytest.mark.parametrize(
    ("found", "difference"),
    [
        (replace(WORLD, tables={}), "table d.t is missing"),
        (replace(WORLD, tables={**WORLD.tables, "d.u": ROWS}), "table d.u should not be there"),
        (replace(WORLD, tables={"d.t": replace(ROWS, rows=4)}), "table d.t has 4 rows instead of 2"),
        (replace(WORLD, tables={"d.t": replace(ROWS, digest=8)}), "table d.t has other rows"),
        (replace(WORLD, tables={"d.t": replace(ROWS, schema="m")}), "table d.t has other columns"),
        (replace(WORLD, objects={}), "gs://b/o is missing"),
        (replace(WORLD, objects={"gs://b/o": ("bb",)}), "gs://b/o has another content"),
        (replace(WORLD, objects={"gs://b/o": ("aa", "aa")}), "gs://b/o is there 2 times instead of 1"),
        (replace(WORLD, objects={**WORLD.objects, "gs://b/p": ("aa",)}), "gs://b/p should not be there"),
        (
            replace(WORLD, effects={"load": ("j1", "j2")}),
            "task load took effect 2 times instead of 1: jobs j1, j2",
        ),
        (replace(WORLD, effects={}), "task load took effect 0 times instead of 1"),
        (replace(WORLD, running=("j3 of load",)), "job j3 of load still runs"),
        (replace(WORLD, clusters=("r/kept", "r/left")), "cluster r/left is left"),
        (replace(WORLD, clusters=()), "cluster r/kept is gone"),
    ],
)
def test_differences_in_words(found: World, difference: str) -> None:
    assert Comparison([WORLD]).differences(found) == (difference,)


def test_what_varies_by_itself_is_compared_as_far_as_it_does_not() -> None:
    # Given a table and an object that are others each time, with as many rows
    other = replace(WORLD, tables={"d.t": replace(ROWS, digest=8)}, objects={"gs://b/o": ("bb",)})
    comparison = Comparison([WORLD, other])
    # Then still another content is no difference, but another number of rows is
    third = replace(WORLD, tables={"d.t": replace(ROWS, digest=9)}, objects={"gs://b/o": ("cc",)})
    assert comparison.differences(third) == ()
    more = replace(third, tables={"d.t": replace(ROWS, rows=4)})
    assert comparison.differences(more) == ("table d.t has 4 rows instead of 2",)
    # And this is said
    assert [warning.partition(":")[0] for warning in comparison.warnings] == ["table d.t", "gs"]
