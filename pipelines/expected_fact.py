"""What the fact table must hold for an input, computed with nothing but Python's csv module.

The tests and the benchmark hold the pipeline to it::

    python pipelines/expected_fact.py pipelines/data/project-pydag/input/test.csv
"""

from __future__ import annotations

import argparse
import csv
from collections import Counter
from collections.abc import Iterator
from datetime import date
from pathlib import Path

#: What the two extract tasks keep.
KEPT = {(2022, "cars"), (2021, "food")}


def fact_rows(file: Path) -> Iterator[tuple[int, str, date]]:
    """Read an input and keep what belongs in the fact table, in the order of the file."""
    with file.open(encoding="utf-8-sig", newline="") as text:
        records = csv.reader(text)
        next(records)
        for number, category, day in filter(None, records):
            if (date.fromisoformat(day).year, category) in KEPT:
                yield int(number), category, date.fromisoformat(day)


def main() -> None:
    """Print the row count of each category and year."""
    parser = argparse.ArgumentParser(description="Compute the fact table of an input.")
    parser.add_argument("input", type=Path, help="CSV file")
    counts = Counter((category, day.year) for _, category, day in fact_rows(parser.parse_args().input))
    for (category, year), count in sorted(counts.items()):
        print(f"{category:10} {year} {count:9,}")


if __name__ == "__main__":
    main()
