"""A project with a small pipeline, and one whose pipeline does all that BigQuery and Storage jobs can, in a second."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pydag_gcp.local import daemon
from tests.crash.project import Project

PIPELINE = """
from pydag_gcp import DAG, GCSObject, Retry, Table
from pydag_gcp.operators import BigQueryQuery, GCSToBigQuery

LOADED, APPENDED, FACT = Table("d.loaded"), Table("d.appended"), Table("d.fact")

with DAG("small", retry=Retry(attempts=3, wait=0.1, jitter=0)) as dag:
    create = BigQueryQuery(
        task_id="create", sql="CREATE OR REPLACE TABLE {{ table }} (n INT64, name STRING)", params={"table": APPENDED}
    )
    load = GCSToBigQuery(
        task_id="load",
        source=GCSObject("gs://input/rows.csv"),
        destination=LOADED,
        format="CSV",
        schema={"n": "INT64", "name": "STRING"},
        write="WRITE_TRUNCATE",
    )
    inserts = [
        BigQueryQuery(
            task_id=f"insert_{half}",
            sql="INSERT INTO {{ table }} (n, name) SELECT n, name FROM {{ source }} WHERE MOD(n, 2) = @half",
            params={"table": APPENDED, "source": LOADED, "half": half},
        )
        for half in (0, 1)
    ]
    fact = BigQueryQuery(
        task_id="fact",
        sql="SELECT COUNT(*) AS n, SUM(n) AS total FROM {{ source }}",
        params={"source": APPENDED},
        destination=FACT,
        write="WRITE_TRUNCATE",
    )
    [create, load] >> inserts[0] >> inserts[1] >> fact
"""
ROWS = 1000
#: COUNT(*) and SUM(n) of 0 .. 999
FACT = [(ROWS, ROWS * (ROWS - 1) // 2)]

#: Beside the small one's tasks: rows that are added round after round, by INSERT and by a load, and an export.
BUSY = """
from pydag_gcp import DAG, GCSObject, Retry, Table
from pydag_gcp.operators import BigQueryQuery, BigQueryToGCS, GCSToBigQuery

LOADED, REPLACED, FACT = Table("d.busy_loaded"), Table("d.busy_replaced"), Table("d.busy_fact")
LOG, ROUNDS = Table("d.busy_log"), Table("d.busy_rounds")

with DAG("busy", retry=Retry(attempts=3, wait=0.1, jitter=0), params={"round": 0}) as dag:
    create_log = BigQueryQuery(
        task_id="create_log",
        sql="CREATE TABLE IF NOT EXISTS {{ table }} (round INT64, n INT64)",
        params={"table": LOG},
    )
    create = BigQueryQuery(
        task_id="create", sql="CREATE OR REPLACE TABLE {{ table }} (n INT64, name STRING)", params={"table": REPLACED}
    )
    load = GCSToBigQuery(
        task_id="load", source=GCSObject("gs://input/rows.csv"), destination=LOADED, format="CSV",
        schema={"n": "INT64", "name": "STRING"}, write="WRITE_TRUNCATE",
    )
    append = GCSToBigQuery(
        task_id="append", source=GCSObject("gs://input/round-{{ params.round }}.csv"), destination=ROUNDS, format="CSV",
        schema={"round": "INT64", "n": "INT64"}, write="WRITE_APPEND",
    )
    insert = BigQueryQuery(
        task_id="insert", sql="INSERT INTO {{ table }} (n, name) SELECT n, name FROM {{ source }}",
        params={"table": REPLACED, "source": LOADED},
    )
    note = BigQueryQuery(
        task_id="note", sql="INSERT INTO {{ table }} (round, n) SELECT {{ round }}, n FROM {{ source }}",
        params={"table": LOG, "source": LOADED, "round": "{{ params.round }}"},
    )
    fact = BigQueryQuery(
        task_id="fact", sql="SELECT COUNT(*) AS n, SUM(n) AS total FROM {{ source }}", params={"source": REPLACED},
        destination=FACT, write="WRITE_TRUNCATE",
    )
    export = BigQueryToGCS(
        task_id="export", source=FACT, destination=GCSObject("gs://output/fact.csv"), format="CSV", idempotent=True
    )
    [create, load] >> insert >> fact >> export
    [create_log, load] >> note
"""


@pytest.fixture(scope="module")
def small_project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("small")
    (folder / "pydag.toml").write_text("")
    (folder / "small.py").write_text(PIPELINE)
    (folder / "busy.py").write_text(BUSY)
    seed = folder / "seed"
    for bucket in ("input", "output"):
        (seed / bucket).mkdir(parents=True)
    (seed / "input" / "rows.csv").write_text("".join(f"{n},name {n}\n" for n in range(ROWS)))
    project = Project(folder=folder)
    daemon.up(project.local, seed=folder / "seed")
    yield project
    daemon.down(project.local)


@pytest.fixture
def small(small_project: Project) -> Iterator[Project]:
    """The project that a module's tests share; the processes and the faults of each end with it."""
    yield small_project
    small_project.reap()
    small_project.clear_faults()


@pytest.fixture
def busy(small: Project) -> Project:
    """The same project, whose pipeline is the busy one."""
    return Project(folder=small.folder, pipeline="busy.py", _started=small._started)
