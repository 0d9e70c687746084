"""staging_to_fact again, after something changed: exactly what depends on it runs, and the fact table is right.

PYDAG_TEST_PIPELINE_KILLS says how many runs are killed at random moments, PYDAG_TEST_SEED repeats these.
"""

from __future__ import annotations

import csv
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from pydag_gcp.local import daemon
from tests.crash.chaos import Chaos, assert_nothing_open, assert_one_effect, rounds, seed, timed
from tests.crash.project import Project

KILLED = rounds("PYDAG_TEST_PIPELINE_KILLS", 0)

pytestmark = [pytest.mark.slow, pytest.mark.spark, pytest.mark.timeout(300 + 120 * KILLED)]

ROOT = Path(__file__).parents[2]
DATA = ROOT / "pipelines" / "data"
INPUT = "project-pydag/input/test.csv"

CREATES = {"create_table_final", "create_table_stg_1", "create_table_stg_2"}
EXTRACTS = {"extract_from_stg_1", "extract_from_stg_2"}
FACT = {"create_table_final", "insert_to_fact"}
#: All that writes a table; the cluster is there already.
ALL = {*CREATES, "initial_ingestion_1", *EXTRACTS, "insert_to_fact"}

#: More calls than that are not to be made to find out that there is nothing to do.
MOST_CALLS = 30

Rows = Counter[tuple[Any, ...]]


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """A copy of the pipeline that may be changed, whose cloud has run it."""

    project: Project

    def run(self, *arguments: str) -> dict[str, Any]:
        """Run it."""
        return self.project.run("--param", "dataset=d", *arguments)

    def edit(self, name: str, old: str, new: str) -> None:
        """Change one place of a file."""
        file = self.project.folder / name
        text = file.read_text()
        assert text.count(old) == 1, (name, old)
        file.write_text(text.replace(old, new))

    def rows(self, table: str = "mytable3") -> Rows:
        """All rows of a table."""
        return Counter(self.project.rows(table))

    def restore(self) -> None:
        """Take every change of files and of the input back."""
        for folder in ("pipelines", "sql"):
            shutil.copytree(ROOT / folder, self.project.folder / folder, dirs_exist_ok=True, ignore=_GENERATED)
        there, content = Path(self.project.endpoints().buckets) / INPUT, (DATA / INPUT).read_text()
        if not there.exists() or there.read_text() != content:  # a new generation costs a Spark job
            self.project.put(INPUT, content)


_GENERATED = shutil.ignore_patterns("__pycache__", ".pydag")


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """The pipeline, whose cloud has a running cluster."""
    folder = tmp_path_factory.mktemp("changes")
    (folder / "pydag.toml").write_text("")
    project = Project(folder=folder, pipeline="pipelines/staging_to_fact.py")
    daemon.up(project.local)
    pipeline = Pipeline(project=project)
    pipeline.restore()
    pipeline.run()
    yield pipeline
    project.reap()
    daemon.down(project.local)


@pytest.fixture
def pipeline(warm: Pipeline) -> Iterator[Pipeline]:
    """The pipeline as it is in the repository, with tables that are up to date."""
    warm.restore()
    warm.run()
    yield warm
    warm.project.reap()
    warm.project.clear_faults()


def executed(document: dict[str, Any]) -> set[str]:
    """The tasks that were not taken from the cache."""
    return {task_id for task_id, task in document["tasks"].items() if task["state"] != "cached"}


def expected(file: Path, keeps: Callable[[int, str], bool]) -> Rows:
    """What the fact table must hold, computed without pydag.

    Args:
        file: The input.
        keeps: Tells by year and category whether a row belongs in it.
    """
    with file.open(encoding="utf-8-sig", newline="") as text:
        rows = [(int(n), category, date.fromisoformat(day)) for n, category, day in list(csv.reader(text))[1:]]
    return Counter(row for row in rows if keeps(row[2].year, row[1]))


def sample(year: int, category: str) -> bool:
    """What the pipeline keeps as it is in the repository."""
    return (year, category) in {(2022, "cars"), (2021, "food")}


SAMPLE = expected(DATA / INPUT, sample)
OTHER = "col1,col2,col3\n3,cars,2022-12-31\n4,food,2021-01-01\n5,food,2022-01-01\n"
OTHER_FACT = Counter([(3, "cars", date(2022, 12, 31)), (4, "food", date(2021, 1, 1))])


def test_a_second_run_executes_nothing_and_makes_few_calls(pipeline: Pipeline) -> None:
    documents: list[dict[str, Any]] = []
    calls = pipeline.project.calls_of(lambda: documents.append(pipeline.run()))
    assert executed(documents[0]) == set()
    assert {task["tries"] for task in documents[0]["tasks"].values()} == {0}
    assert calls.total() < MOST_CALLS, calls
    assert pipeline.rows() == SAMPLE


def test_one_character_of_the_filter(pipeline: Pipeline) -> None:
    pipeline.edit("sql/extract_from_stg.sql", "lastdate) = @year", "lastdate) > @year")
    assert executed(pipeline.run()) == {*CREATES, *EXTRACTS, "insert_to_fact"}
    assert pipeline.rows() == expected(
        DATA / INPUT, lambda y, c: (c == "cars" and y > 2022) or (c == "food" and y > 2021)
    )


def test_a_parameter(pipeline: Pipeline) -> None:
    pipeline.edit(pipeline.project.pipeline, '"year": 2021', '"year": 2020')
    assert executed(pipeline.run()) == {"create_table_stg_2", "extract_from_stg_2", *FACT}
    assert pipeline.rows() == expected(DATA / INPUT, lambda y, c: (y, c) in {(2022, "cars"), (2020, "food")})


def test_a_table_that_was_deleted(pipeline: Pipeline) -> None:
    pipeline.project.query("DROP TABLE d.mytable1")
    assert executed(pipeline.run()) == {"create_table_stg_1", "extract_from_stg_1", *FACT}
    assert pipeline.rows() == SAMPLE


def test_a_foreign_row_in_the_fact_table(pipeline: Pipeline) -> None:
    pipeline.project.query("INSERT INTO d.mytable3 VALUES (1, 'foreign', DATE '2022-01-01')")
    assert executed(pipeline.run()) == FACT
    assert pipeline.rows() == SAMPLE


def test_another_input(pipeline: Pipeline) -> None:
    pipeline.project.put(INPUT, OTHER)
    assert executed(pipeline.run()) == ALL
    assert pipeline.rows() == OTHER_FACT


def test_a_death_between_ingest_and_extract(pipeline: Pipeline) -> None:
    # Given a run that has taken in another input, and is killed when it begins to extract it
    project = pipeline.project
    project.put(INPUT, OTHER)
    for task_id in EXTRACTS:
        project.fault("bigquery.jobs.insert", "hold", task=task_id)
    process = project.start("run", project.pipeline, "--param", "dataset=d")
    project.await_held(len(EXTRACTS), process)
    process.kill()
    project.finish(process)
    project.clear_faults()
    killed = project.last_run()
    # Then the next run takes it from there; an extract that ends before it can be cancelled need not run again
    document = pipeline.run()
    late = {n for n in ("1", "2") if f"extract_from_stg_{n}" in project.succeeded(killed)}
    done = {f"{task}_stg_{n}" for task in ("create_table", "extract_from") for n in late}
    assert executed(document) == {*CREATES, *EXTRACTS, "insert_to_fact"} - done
    assert document["tasks"]["initial_ingestion_1"]["cached_from"] == killed
    assert pipeline.rows() == OTHER_FACT
    assert_nothing_open(project)


@pytest.mark.skipif(not KILLED, reason="PYDAG_TEST_PIPELINE_KILLS says how many runs to kill; each takes half a minute")
def test_kills_at_random(pipeline: Pipeline) -> None:
    project, command = pipeline.project, ("run", pipeline.project.pipeline, "--param", "dataset=d", "--no-cache")
    seconds = timed(lambda: project.pydag(*command))
    chaos = Chaos(project=project, chance=random.Random(seed()), seconds=seconds, most=2)
    before = {table: pipeline.rows(table) for table in ("mytable", "mytable1", "mytable2", "mytable3")}
    for _ in range(KILLED):
        run_id = chaos.survive(*command)
        assert {table: pipeline.rows(table) for table in before} == before, chaos.story
        assert_one_effect(project, run_id, ALL - {"initial_ingestion_1"})
        assert_nothing_open(project)
