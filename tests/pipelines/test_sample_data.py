"""The sample input: deterministic, legal, and awkward."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

PIPELINES = Path(__file__).parents[2] / "pipelines"
SAMPLE = PIPELINES / "data" / "project-pydag" / "input" / "test.csv"


def test_the_committed_sample_is_what_the_script_writes(tmp_path: Path) -> None:
    output = tmp_path / "new" / "test.csv"
    subprocess.run([sys.executable, str(PIPELINES / "sample_data.py"), "--output", str(output)], check=True)

    assert output.read_bytes() == SAMPLE.read_bytes()


def test_the_same_seed_gives_the_same_rows_and_fewer_are_the_first_of_more(sample_data: dict[str, Any]) -> None:
    rows = sample_data["rows"]

    assert list(rows(500, 1)) == list(islice(rows(2000, 1), 500))
    assert list(rows(2000, 1)) != list(rows(2000, 2))


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_the_file_reads_back_as_the_rows(sample_data: dict[str, Any], line_end: str) -> None:
    file = io.StringIO(newline="")
    sample_data["write"](file, 2000, 3, line_end)
    file.seek(0)

    header, *records = csv.reader(file, strict=True)

    assert header == ["col1", "col2", "col3"]
    assert [(int(n), c, date.fromisoformat(d)) for n, c, d in records] == list(sample_data["rows"](2000, 3))


def test_the_sample_holds_every_awkward_value(sample_data: dict[str, Any]) -> None:
    rows = list(sample_data["rows"](4000, 2022))

    assert set(sample_data["AWKWARD"]) <= {category for _, category, _ in rows}
    assert set(sample_data["AWKWARD_DAYS"]) <= {day for _, _, day in rows}
    assert set(sample_data["AWKWARD_IDS"]) <= {number for number, _, _ in rows}
    assert max(Counter(rows).values()) > 1


def test_the_job_reads_the_sample_as_the_rows_it_was_made_of(sample_data: dict[str, Any], job: dict[str, Any]) -> None:
    lines = SAMPLE.read_bytes().removesuffix(b"\n").split(b"\n")
    found = [(n, c, date.fromordinal(days + job["EPOCH"])) for n, c, days in job["rows"](lines, "sample")]

    assert found == list(sample_data["rows"](4000, 2022))


def test_the_expected_fact_table_has_both_categories(expected_fact: Callable[[Path], Counter[Any]]) -> None:
    kept = {(category, day.year) for _, category, day in expected_fact(SAMPLE)}

    assert kept == {("cars", 2022), ("food", 2021)}
