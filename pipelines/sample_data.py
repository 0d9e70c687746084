"""Write a sample input of the staging-to-fact pipeline: deterministic rows with awkward but legal values.

::

    python pipelines/sample_data.py --rows 4000 --seed 2022 --output pipelines/data/project-pydag/input/test.csv
"""

from __future__ import annotations

import argparse
import csv
import random
from collections.abc import Iterator
from datetime import date, timedelta
from itertools import chain
from pathlib import Path
from typing import TextIO

HEADER = ("col1", "col2", "col3")

#: The two that the pipeline extracts are the most frequent.
COMMON = ("cars", "cars", "cars", "food", "food", "food", "books", "garden", "toys", "travel")

#: Legal in CSV and in BigQuery, and each of them lost or changed by some reader.
AWKWARD = (
    "",
    " ",
    "Cars",
    " cars",
    "cars ",
    "cars, used",
    '"',
    'the "best" food',
    '"food"',
    "food\ncars",
    "food\r\ncars",
    "food\n\ncars\n",
    "tab\there",
    "back\\slash",
    'back\\"slash',
    "O'Brien",
    "`food`",
    "NULL",
    "null",
    "\\N",
    "0",
    "2022-01-01",
    "#food",
    "=1+1",
    "{{ food }}",
    "café con leña",
    "cafe\u0301",
    "食品",
    "еда",
    "טעם",
    "🚗🍕",
    "line\u2028separator",
    "zero\u200bwidth",
)

FIRST_DAY = date(2019, 1, 1)
DAYS = [FIRST_DAY + timedelta(days=n) for n in range((date(2025, 1, 1) - FIRST_DAY).days)]

#: Days at the edges of the extracted years, leap days, and the ends of BigQuery's calendar.
AWKWARD_DAYS = tuple(
    date.fromisoformat(day)
    for day in ("2020-12-31", "2021-01-01", "2021-12-31", "2022-01-01", "2022-12-31", "2023-01-01", "2020-02-29",
                "2024-02-29", "2000-02-29", "1970-01-01", "1969-12-31", "1582-10-10", "0001-01-01", "9999-12-31")
)  # fmt: skip

AWKWARD_IDS = (0, -1, 2**31 - 1, 2**31, -(2**31) - 1, 2**63 - 1, -(2**63))

Row = tuple[int, str, date]


def rows(count: int, seed: int) -> Iterator[Row]:
    """Make ``count`` rows, the same for the same seed on every version of Python."""
    return (row for row, _ in zip(chain(_awkward_rows(), _common_rows(seed)), range(count), strict=False))


def _awkward_rows() -> Iterator[Row]:
    """Every awkward value once, with days and categories that the pipeline extracts where it can be."""
    for number, category in enumerate(AWKWARD):
        yield 1_000_000_000 + number, category, date(2022, 1, 1)
    for number, day in enumerate(AWKWARD_DAYS):
        yield 2_000_000_000 + number, "cars", day
        yield 3_000_000_000 + number, "food", day
    for number in AWKWARD_IDS:
        yield number, "cars", date(2022, 6, 30)
    yield 7, "cars", date(2022, 7, 7)
    yield 7, "cars", date(2022, 7, 7)  # duplicates are rows of their own


def _common_rows(seed: int) -> Iterator[Row]:
    draw = random.Random(seed).random  # noqa: S311  # sample data; the one method whose sequence Python promises to keep
    number = 0
    while True:
        number += 1
        categories = AWKWARD if draw() < 0.02 else COMMON
        yield number, categories[int(draw() * len(categories))], DAYS[int(draw() * len(DAYS))]


def write(file: TextIO, count: int, seed: int, line_end: str = "\n") -> None:
    """Write the header and ``count`` rows as CSV."""
    writer = csv.writer(file, lineterminator=line_end)
    writer.writerow(HEADER)
    writer.writerows(rows(count, seed))


def main() -> None:
    """Write the file that the options describe."""
    parser = argparse.ArgumentParser(description="Write a sample input of the staging-to-fact pipeline.")
    parser.add_argument("--rows", type=int, default=4000, help="how many (default: 4000)")
    parser.add_argument("--seed", type=int, default=2022, help="other seeds give other rows (default: 2022)")
    parser.add_argument("--crlf", action="store_true", help="end lines with CR LF")
    parser.add_argument("--output", type=Path, required=True, help="file to write")
    args = parser.parse_args()
    args.output.parent.mkdir(parents=True, exist_ok=True)
    with args.output.open("w", encoding="utf-8", newline="") as file:
        write(file, args.rows, args.seed, "\r\n" if args.crlf else "\n")


if __name__ == "__main__":
    main()
