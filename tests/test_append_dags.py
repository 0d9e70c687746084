"""DAGs that add rows to what is there: no outage, switch, expiry, foreign row or kill adds any twice.

PYDAG_TEST_APPEND_KILLS says how many runs are killed, PYDAG_TEST_SEED repeats their moments.
"""

from __future__ import annotations

import itertools
import random
import time
from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import pytest

from pydag_gcp.local import daemon
from tests.crash.chaos import Chaos, assert_nothing_open, rounds, seed
from tests.crash.project import Project

KILLED = rounds("PYDAG_TEST_APPEND_KILLS", 1)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120 + 60 * KILLED)]

#: CREATE IF NOT EXISTS and INSERT of what another table holds; and a load of each day's file, which is counted.
PIPELINE = """
from datetime import timedelta
from pydag_gcp import DAG, GCSObject, Retry, Table
from pydag_gcp.operators import BigQueryQuery, GCSToBigQuery

EVENTS, DAILY, SOURCE, TOTAL = Table("d.events"), Table("d.daily"), Table("d.source"), Table("d.total")

with DAG("append", schedule="0 0 * * *", retry=Retry(attempts=3, wait=0.1, jitter=0)) as dag:
    create = BigQueryQuery(
        task_id="create", sql="CREATE TABLE IF NOT EXISTS {{ table }} (n INT64)", params={"table": EVENTS}
    )
    insert = BigQueryQuery(
        task_id="insert",
        sql="INSERT INTO {{ table }} (n) SELECT n FROM {{ source }}",
        params={"table": EVENTS, "source": SOURCE},
        cache=timedelta(seconds=1),
    )
    daily = GCSToBigQuery(
        task_id="daily",
        source=GCSObject("gs://days/{{ ds }}.csv"),
        destination=DAILY,
        format="CSV",
        schema={"day": "DATE", "n": "INT64"},
        write="WRITE_APPEND",
    )
    total = BigQueryQuery(
        task_id="total",
        sql="SELECT COUNT(*) AS n FROM {{ daily }}",
        params={"daily": DAILY},
        destination=TOTAL,
        write="WRITE_TRUNCATE",
    )
    create >> insert
    daily >> total
"""
#: An INSERT for each day, which is edited, and after it one of what it has added that day.
CHAINED = """
from pydag_gcp import DAG, Table
from pydag_gcp.operators import BigQueryQuery

CHAIN, COPY = Table("d.chain"), Table("d.copy")

with DAG("chained", schedule="0 0 * * *") as dag:
    add = BigQueryQuery(
        task_id="add", sql="INSERT INTO {{ table }} VALUES (DATE {{ ds }}, NUMBER)", params={"table": CHAIN}
    )
    copy = BigQueryQuery(
        task_id="copy",
        sql="INSERT INTO {{ copy }} SELECT day, n FROM {{ chain }} WHERE day = DATE {{ ds }}",
        params={"chain": CHAIN, "copy": COPY},
    )
    add >> copy
"""
ROWS = 20
#: Seconds after which the INSERT's record has expired.
EXPIRY = 1.0


@pytest.fixture(scope="module")
def append_project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("append")
    (folder / "pydag.toml").write_text("")
    (folder / "append.py").write_text(PIPELINE)
    project = Project(folder=folder, pipeline="append.py")
    daemon.up(project.local)
    project.query("CREATE SCHEMA d")
    project.query(f"CREATE TABLE d.source AS SELECT n FROM UNNEST(GENERATE_ARRAY(1, {ROWS})) AS n")
    yield project
    daemon.down(project.local)


@pytest.fixture
def append(append_project: Project) -> Iterator[Project]:
    """The project that these tests share; the processes and the faults of each end with it."""
    yield append_project
    append_project.reap()
    append_project.clear_faults()


@pytest.fixture(scope="module")
def days(append_project: Project) -> Iterator[str]:
    """Days that nobody has taken in, each with its file."""

    def put(number: int) -> str:
        day = str(date(2024, 1, 1) + timedelta(days=number))
        append_project.put(f"days/{day}.csv", "".join(f"{day},{n}\n" for n in range(ROWS)))
        return day

    return map(put, itertools.count())


@pytest.fixture(scope="module")
def taken(append_project: Project, days: Iterator[str]) -> str:
    """A day that has been taken in."""
    day = next(days)
    assert states(run(append_project, day)) == {"create": "success", **ADDED}
    return day


ADDED = dict.fromkeys(("insert", "daily", "total"), "success")


def command(day: str, *arguments: str) -> tuple[str, ...]:
    return ("run", "append.py", "--logical-date", day, *arguments)


def run(project: Project, day: str, *arguments: str) -> dict[str, Any]:
    return project.run("--logical-date", day, *arguments)


def states(document: dict[str, Any]) -> dict[str, str]:
    return {task_id: task["state"] for task_id, task in document["tasks"].items()}


def added(project: Project) -> tuple[Counter[int], Counter[str]]:
    """How often each row of the source is in events, and how many rows daily has of each day."""
    return Counter(n for (n,) in project.rows("events")), Counter(str(day) for day, _ in project.rows("daily"))


def once_more(before: tuple[Counter[int], Counter[str]], day: str) -> tuple[Counter[int], Counter[str]]:
    """What there is after one more day."""
    return before[0] + Counter(range(1, ROWS + 1)), before[1] + Counter({day: ROWS})


def test_the_same_day_again_executes_nothing(append: Project, taken: str) -> None:
    before = added(append)
    assert set(states(run(append, taken)).values()) == {"cached"}
    assert added(append) == before


def test_no_cache_after_the_expiry_adds_nothing(append: Project, taken: str) -> None:
    # Given records one of which has expired
    before = added(append)
    time.sleep(EXPIRY)
    # When even the others are not to count
    document = run(append, taken, "--no-cache")
    # Then only the table that is replaced is made anew
    assert states(document) == {"create": "cached", "insert": "cached", "daily": "cached", "total": "success"}
    assert added(append) == before


def test_foreign_rows_are_told_and_left_alone_and_reach_the_reader(append: Project, taken: str) -> None:
    # Given rows that somebody else put into both tables
    append.query("INSERT INTO d.events VALUES (-1)")
    append.query("INSERT INTO d.daily VALUES (DATE '1999-12-31', 1)")
    before = added(append)
    # When
    ended = append.pydag(*command(taken, "--json"))
    # Then nothing is added, they are told, and the total counts them
    assert ended.code == 0, ended.out + ended.err
    assert states(ended.document) == {"create": "cached", "insert": "cached", "daily": "cached", "total": "success"}
    assert added(append) == before
    assert "d.events was modified outside" in ended.err
    assert "d.daily was modified outside" in ended.err
    assert append.rows("total") == [(before[1].total(),)]


def test_a_day_that_comes_late_is_added_and_an_earlier_one_is_not_added_again(
    append: Project, days: Iterator[str], taken: str
) -> None:
    # Given two more days
    before = added(append)
    first, second = next(days), next(days)
    # When they come in the wrong order, and the first ones again
    for day in (second, first):
        assert states(run(append, day)).items() >= ADDED.items()
    for day in (taken, second):
        ended = append.pydag(*command(day, "--json"))
        assert states(ended.document).items() >= {"insert": "cached", "daily": "cached"}.items()
        assert "modified outside" not in ended.err  # what other days added is ours
    # Then each is there once
    assert added(append) == once_more(once_more(before, first), second)


def test_a_changed_source_is_added_as_it_is_now(append: Project, taken: str, days: Iterator[str]) -> None:
    # Given a day that is taken in, and a row more in the table that INSERT reads
    before = added(append)
    append.query("INSERT INTO d.source VALUES (0)")
    # When
    document = run(append, taken)
    append.query("DELETE FROM d.source WHERE n = 0")
    # Then INSERT runs once more, and what it does not reach does not
    assert states(document).items() >= {"create": "cached", "insert": "success", "daily": "cached"}.items()
    assert added(append)[0] == before[0] + Counter(range(ROWS + 1))


def test_what_is_edited_back_after_another_day_adds_nothing(append: Project) -> None:
    # Given rows of a day, those of it as edited, and those of another day
    def run(number: int, day: str, *arguments: str) -> set[str]:
        (append.folder / "chained.py").write_text(CHAINED.replace("NUMBER", str(number)))
        ended = append.pydag("run", "chained.py", "--logical-date", day, "--json", *arguments)
        return set(states(ended.document).values())

    for table in ("chain", "copy"):
        append.query(f"CREATE TABLE d.{table} (day DATE, n INT64)")
    for number, day in [(1, "2024-03-01"), (2, "2024-03-01"), (2, "2024-03-02")]:
        assert run(number, day) == {"success"}
    before = sorted(append.rows("copy"))
    # When it is what it was, for the first day
    assert run(1, "2024-03-01") == run(1, "2024-03-01", "--no-cache") == {"cached"}
    # Then that day has its rows already
    assert sorted(append.rows("copy")) == before
    assert len(append.rows("chain")) == 3


@pytest.mark.parametrize("fault", ["accepted-503", "lost-answer"])
def test_lost_answers_add_nothing_twice(append: Project, days: Iterator[str], fault: str) -> None:
    # Given a service that takes jobs and does not say so, nor how they ended
    day, before = next(days), added(append)
    append.fault("bigquery.jobs.insert", fault, times=3)
    append.fault("bigquery.jobs.get", fault, times=3)
    # When
    run(append, day)
    # Then
    assert added(append) == once_more(before, day)


def test_an_outage_while_versions_are_asked_for_runs_nothing(append: Project, taken: str) -> None:
    # Given a cloud that does not tell what there is
    run(append, taken)
    before = added(append)
    for method in ("bigquery.tables.get", "storage.objects.get"):
        append.fault(method, "503", times=3)
    # Then it is asked again
    assert set(states(run(append, taken)).values()) == {"cached"}
    assert added(append) == before


def test_an_outage_after_the_end_of_a_job_loses_no_record(append: Project, days: Iterator[str]) -> None:
    # Given a cloud that does not tell what there is once jobs have been sent
    day, before = next(days), added(append)
    known = append.calls().get("bigquery.jobs.insert", 0)
    process = append.start(*command(day))
    append.await_call(process, "bigquery.jobs.insert", known + 1)
    append.fault("bigquery.tables.get", "reset", times=4)
    # When
    out, err = append.finish(process)
    append.clear_faults()
    assert process.returncode == 0, out + err
    # Then what was added is known
    assert states(run(append, day)).items() >= {"insert": "cached", "daily": "cached"}.items()
    assert added(append) == once_more(before, day)


@pytest.mark.parametrize("goes_on", ["run", "resume"])
def test_kills_at_random_add_nothing_twice(append: Project, days: Iterator[str], goes_on: str) -> None:
    chaos = Chaos(project=append, chance=random.Random(seed()), seconds=2.0, again=goes_on == "run")
    for _ in range(KILLED):
        # When the run of a day, or the local cloud, or both are killed at random, and it is run or resumed
        day, before = next(days), added(append)
        chaos.survive(*command(day))
        # Then the day is there once, and known to be
        assert added(append) == once_more(before, day), chaos.story
        assert set(states(run(append, day)).values()) == {"cached"}
        assert_nothing_open(append)
