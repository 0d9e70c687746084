"""Amounts of bytes as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pydag_gcp.size import parse, written_size


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0), ("1000", 1000), ("1k", 1024), ("500M", 500 * 1024**2), ("10 GiB", 10 * 1024**3),
        ("1.5T", 3 * 2**39), ("7B", 7), ("2gb", 2 * 1024**3), (" 1P ", 2**50),
    ],
)  # fmt: skip
def test_sizes_are_read(text: str, count: int) -> None:
    assert parse(text) == count


@pytest.mark.parametrize("text", ["", "many", "-1", "1X", "1e3", "G", "1.G", "1 k k"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected a number of bytes such as 500M, 10G or 1\.5T, got"):
        parse(text)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (10 * 1024**2, "10.0 MiB"), (1000 * 1024**2, "1.0 GiB"),
        (3 * 2**39, "1.5 TiB"), (2**70, "1048576.0 PiB"),
    ],
)  # fmt: skip
def test_sizes_are_written(count: int, text: str) -> None:
    assert written_size(count) == text


@given(st.integers(min_value=0, max_value=2**60))
def test_what_is_written_is_read_as_about_the_same(count: int) -> None:
    # At most half of the last digit is lost, of at least 0.9: a value of 999.95 is written in the next unit
    assert abs(parse(written_size(count)) - count) <= count * 0.06
