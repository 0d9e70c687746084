"""The pipeline from end to end: real commands, real clients, real Spark, on the local cloud."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.pipelines.conftest import Cloud, Rows

pytestmark = [pytest.mark.slow, pytest.mark.spark, pytest.mark.timeout(600)]

PIPELINES = Path(__file__).parents[2] / "pipelines"
SAMPLE = "input/test.csv"
HEADER = b"col1,col2,col3"


def ingested(cloud: Cloud, name: str, dataset: str) -> None:
    ended = cloud.ingest(name, dataset)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.fixture(scope="module")
def sample(cloud: Cloud) -> dict[str, Rows]:
    """The tables made of the sample, in a dataset that did not exist."""
    ingested(cloud, SAMPLE, "sample")
    return cloud.snapshot("sample")


def test_the_sample_becomes_the_fact_table(
    cloud: Cloud, sample: dict[str, Rows], expected_fact: Callable[[Path], Rows]
) -> None:
    # Then it holds the rows that an independent script computes, and is laid out as asked
    expected = expected_fact(cloud.buckets / "project-pydag" / SAMPLE)
    assert sample["mytable3"] == sample["mytable1"] + sample["mytable2"] == expected
    table = cloud.bigquery.get_table("sample.mytable3")
    assert [(field.name, field.field_type) for field in table.schema] == [
        ("id", "INTEGER"),
        ("category", "STRING"),
        ("lastdate", "DATE"),
    ]
    assert table.time_partitioning is not None
    assert (table.time_partitioning.type_, table.time_partitioning.field) == ("DAY", "lastdate")
    assert table.clustering_fields == ["category"]


def test_the_staging_table_is_the_input_row_for_row(sample: dict[str, Rows], sample_data: dict[str, Any]) -> None:
    assert sample["mytable"] == Counter(sample_data["rows"](4000, 2022))


def test_running_again_gives_the_same_tables(cloud: Cloud, sample: dict[str, Rows]) -> None:
    command = ("run", str(PIPELINES / "staging_to_fact.py"), "--json", "--no-cache", "--param", "dataset=sample")
    ended = cloud.pydag(*command)

    assert cloud.snapshot("sample") == sample
    document = json.loads(ended.stdout)
    assert document["state"] == "success"
    assert {task_id: (task["state"], task["tries"]) for task_id, task in document["tasks"].items()} == dict.fromkeys(
        (
            "startup_dataproc_1",
            "create_table_final",
            "create_table_stg_1",
            "create_table_stg_2",
            "initial_ingestion_1",
            "extract_from_stg_1",
            "extract_from_stg_2",
            "insert_to_fact",
        ),
        ("success", 1),
    )


def test_the_same_pipeline_in_yaml_gives_the_same_tables(cloud: Cloud, sample: dict[str, Rows]) -> None:
    ended = cloud.pydag("run", str(PIPELINES / "staging_to_fact.yaml"), "--param", "dataset=from_yaml")

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert cloud.snapshot("from_yaml") == sample


@pytest.fixture(scope="module")
def other(cloud: Cloud) -> str:
    """A dataset with tables made of the sample, which tests may replace."""
    ingested(cloud, SAMPLE, "other")
    return "other"


def test_another_input_replaces_every_row(cloud: Cloud, other: str) -> None:
    # Given a fact table made of the sample
    # When it is made of rows of other years and of none that the pipeline keeps but two
    rows = b"1,cars,2031-01-01\n2,food,2022-05-05\n3,cars,2022-12-31\n4,food,2021-01-01\n5,cars,2021-02-03\n"
    cloud.put("input/other.csv", HEADER + b"\n" + rows)
    ingested(cloud, "input/other.csv", other)

    # Then nothing of the sample is left
    assert cloud.rows(other) == Counter([(3, "cars", date(2022, 12, 31)), (4, "food", date(2021, 1, 1))])
    assert sum(cloud.rows(other, "mytable").values()) == 5


def test_line_ends_in_and_between_rows(cloud: Cloud) -> None:
    rows = b'1,"a\r\nb",2022-01-01\r\n2,"a\nb",2022-01-01\r\n3,"a\rb",2022-01-01\r\n4,cars,2022-02-28\n5,"",2024-02-29'
    cloud.put("input/line ends.csv", b"\xef\xbb\xbf" + HEADER + b"\r\n" + rows)

    ingested(cloud, "input/line ends.csv", "line_ends")

    assert cloud.rows("line_ends", "mytable") == Counter(
        [
            (1, "a\r\nb", date(2022, 1, 1)),
            (2, "a\nb", date(2022, 1, 1)),
            (3, "a\rb", date(2022, 1, 1)),
            (4, "cars", date(2022, 2, 28)),
            (5, "", date(2024, 2, 29)),
        ]
    )


def test_an_input_without_rows_leaves_empty_tables(cloud: Cloud, other: str) -> None:
    # Given tables with rows, and an input that has none
    assert all(cloud.snapshot(other).values())
    cloud.put("input/header.csv", HEADER + b"\n")

    # When
    ingested(cloud, "input/header.csv", other)

    # Then
    assert cloud.snapshot(other) == {f"mytable{n}": Counter() for n in ("", 1, 2, 3)}


def test_a_million_rows(
    cloud: Cloud, sample_data: dict[str, Any], expected_fact: Callable[[Path], Rows], tmp_path: Path
) -> None:
    file = cloud.put("input/million.csv", b"")
    with file.open("w", encoding="utf-8", newline="") as text:
        sample_data["write"](text, 1_000_000, 7, "\r\n")

    ingested(cloud, "input/million.csv", "million")

    assert cloud.bigquery.get_table("million.mytable").num_rows == 1_000_000
    assert cloud.rows("million") == expected_fact(file)


@pytest.mark.parametrize(
    ("row", "line"),
    [
        # test_csv_to_staging.py has all that a row can be
        pytest.param("1,cars,2022-02-30", 3, id="impossible date"),
        pytest.param('1,"cars,2022-01-01', 4, id="open quote"),
    ],
)
def test_a_malformed_row_fails_the_run_and_changes_no_table(
    cloud: Cloud, sample: dict[str, Rows], row: str, line: int
) -> None:
    # When an input with one bad row among good ones is ingested over the sample's tables
    cloud.put("input/bad.csv", f"col1,col2,col3\n2,food,2021-01-01\n{row}\n3,cars,2022-01-01\n".encode())
    ended = cloud.ingest("input/bad.csv", "sample")

    # Then the run fails, one line names the file and shows the row, and every table is as it was
    assert ended.returncode == 1
    output = ended.stdout + ended.stderr
    named = rf"initial_ingestion_1.*gs://project-pydag/input/bad\.csv, line {line}: "
    assert re.search(named + f".*{re.escape(row)}", output), output
    assert "Traceback" not in output
    assert cloud.snapshot("sample") == sample


def test_a_bad_header_fails_the_run(cloud: Cloud) -> None:
    cloud.put("input/header.csv", b"id,category,lastdate\n1,cars,2022-01-01\n")

    ended = cloud.ingest("input/header.csv", "bad_header")

    assert ended.returncode == 1
    assert (
        "gs://project-pydag/input/header.csv, line 1: expected the header col1,col2,col3" in ended.stdout + ended.stderr
    )


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("none.csv", "no such object"),
        ("empty.csv", "expected the header col1,col2,col3, found an empty object"),
    ],
)
def test_an_input_that_is_missing_or_empty_fails_the_run(cloud: Cloud, name: str, reason: str) -> None:
    cloud.put("input/empty.csv", b"")

    ended = cloud.ingest(f"input/{name}", "no_input")

    assert ended.returncode == 1
    assert f"gs://project-pydag/input/{name}: {reason}" in ended.stdout + ended.stderr
