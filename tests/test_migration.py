"""The tables of the metadata database are made, changed in place, or left alone."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from pydag_gcp.errors import StoreError
from pydag_gcp.states import RunState, TaskState
from pydag_gcp.store import Store
from pydag_gcp.tables import SCHEMA_VERSION, metadata, schema_version
from tests.servers import PostgreSQL

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

#: What version 1 made, and a run in the midst of it.
VERSION_1 = """
BEGIN;
CREATE TABLE schema_version (version INTEGER NOT NULL, PRIMARY KEY (version));
CREATE TABLE runs (
    run_id VARCHAR NOT NULL, dag_id VARCHAR NOT NULL, target VARCHAR NOT NULL, state VARCHAR NOT NULL,
    logical_date VARCHAR NOT NULL, definition TEXT NOT NULL, pid INTEGER NOT NULL, host VARCHAR NOT NULL,
    started VARCHAR NOT NULL, ended VARCHAR, error TEXT, PRIMARY KEY (run_id)
);
CREATE INDEX ix_runs_dag_id ON runs (dag_id);
CREATE TABLE tasks (
    run_id VARCHAR NOT NULL, task_id VARCHAR NOT NULL, state VARCHAR NOT NULL, result TEXT, error TEXT,
    ended VARCHAR NOT NULL, PRIMARY KEY (run_id, task_id), FOREIGN KEY(run_id) REFERENCES runs (run_id)
);
CREATE TABLE tries (
    run_id VARCHAR NOT NULL, task_id VARCHAR NOT NULL, try_number INTEGER NOT NULL, state VARCHAR NOT NULL,
    job_id VARCHAR, handle TEXT, error TEXT, started VARCHAR NOT NULL, submitted VARCHAR, ended VARCHAR,
    PRIMARY KEY (run_id, task_id, try_number), FOREIGN KEY(run_id) REFERENCES runs (run_id)
);
INSERT INTO schema_version VALUES (1);
INSERT INTO runs VALUES ('run1', 'dag', 'local', 'running', '2026-01-01T00:00:00+00:00', '{"tasks": {"a": {}}}', 7, 'h',
    '2026-01-01T00:00:00+00:00', NULL, NULL);
INSERT INTO tasks VALUES ('run1', 'a', 'success', '{"rows": 7}', NULL, '2026-01-01T00:00:01+00:00');
INSERT INTO tries VALUES ('run1', 'a', 1, 'success', 'pydag-1', '{"job_id": "pydag-1"}', NULL,
    '2026-01-01T00:00:00+00:00', '2026-01-01T00:00:00+00:00', '2026-01-01T00:00:01+00:00');
COMMIT;
"""


def url(file: Path) -> str:
    return f"sqlite:///{file}"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A database of version 1."""
    file = tmp_path / "pydag.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript(VERSION_1)
    return file


def shape(file: Path) -> dict[str, set[tuple[object, ...]]]:
    """Table -> name, type, not null, default and place in the primary key of each column."""
    with closing(sqlite3.connect(file)) as connection:
        return {
            table: {tuple(row[1:]) for row in connection.execute(f"PRAGMA table_info({table})")}
            for table in metadata.tables
        }


def test_version_1_keeps_all_that_it_knew(old: Path) -> None:
    with Store(url(old)) as store:
        run = store.run("run1")
        assert run is not None
        assert (run["pid"], run["state"], run["file"], run["options"], run["epoch"]) == (7, "running", None, None, None)
        assert run["cancel_requested"] is False
        assert [(row["result"], row["cached_from"]) for row in store.tasks("run1")] == [('{"rows": 7}', None)]
        assert [(row["job_id"], row["reads"]) for row in store.tries("run1")] == [("pydag-1", None)]
        # And it can be gone on with
        store.reopen_run("run1", pid=8, host="i", at=NOW)
        store.start_try("run1", "a", 2, job_id="pydag-2", at=NOW, reads={"table p.d.t": "1"})
        store.end_task("run1", "a", TaskState.CACHED, result=1, at=NOW, cached_from="run0")
        store.end_run("run1", RunState.SUCCESS, at=NOW)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_version_2_keeps_the_ends_that_it_knew(request: pytest.FixtureRequest, tmp_path: Path, kind: str) -> None:
    # Given tasks that ended with a try, as version 2 recorded it
    found = url(tmp_path / "pydag.db") if kind == "sqlite" else request.getfixturevalue("postgresql_url")
    with Store(found) as store:
        store.start_run(
            run_id="r", dag_id="dag", target="local", logical_date=NOW, definition={}, pid=1, host="h", at=NOW
        )
        for task_id in ("again", "kept"):
            store.start_try("r", task_id, 1, job_id=None, at=NOW)
            store.end_try("r", task_id, 1, TaskState.SUCCESS, error=None, at=NOW)
            store.end_task("r", task_id, TaskState.SUCCESS, result=task_id, at=NOW, reason="new")
        store.settled()
        for column in ("result", "reason"):
            store.database.write(sa.text(f"ALTER TABLE tries DROP COLUMN {column}"))
        store.database.write(schema_version.update().values(version=2))
    # When it is gone on with, one of them anew
    with Store(found) as store:
        assert sorted((row["task_id"], row["result"], row["reason"]) for row in store.tasks("r")) == [
            ("again", '"again"', "new"),
            ("kept", '"kept"', "new"),
        ]
        store.forget_task("r", "again")
        store.start_try("r", "again", 2, job_id=None, at=NOW)
        assert [row["task_id"] for row in store.tasks("r")] == ["kept"]
        store.end_task("r", "again", TaskState.FAILED, at=NOW, try_number=2)
        # Then both ends are there
        assert {row["task_id"]: row["state"] for row in store.tasks("r")} == {"again": "failed", "kept": "success"}


def test_a_migrated_database_is_like_a_new_one(old: Path, tmp_path: Path) -> None:
    with Store(url(old)), Store(url(tmp_path / "new.db")):
        pass
    changed, new = shape(old), shape(tmp_path / "new.db")
    assert changed.keys() == new.keys()
    for table in new:
        # SQLite stores text alike, whatever name version 1 had for it
        assert {(name, *rest) for name, _, *rest in changed[table]} == {(name, *rest) for name, _, *rest in new[table]}


def test_a_run_that_version_1_drives_meanwhile_goes_on(old: Path) -> None:
    # Given a connection that was there before
    with closing(sqlite3.connect(old, isolation_level=None)) as before:
        before.execute("SELECT count(*) FROM runs").fetchall()
        with Store(url(old)) as store:
            # Then what it wrote then, it may write now
            before.execute(
                "INSERT INTO tries (run_id, task_id, try_number, state, job_id, started) VALUES (?, ?, ?, ?, ?, ?)",
                ["run1", "b", 1, "running", None, NOW.isoformat()],
            )
            before.execute("UPDATE runs SET state = 'success', ended = ?, error = NULL", [NOW.isoformat()])
            assert ("b", None) in [(row["task_id"], row["ended"]) for row in store.tries("run1")]


#: Four processes that open a database at the same moment; exits with the number of those that failed.
AT_ONCE = """
import os, sys, time
from pydag_gcp.store import Store

def open_it():
    time.sleep(max(0, began + 0.2 - time.monotonic()))
    Store(sys.argv[1]).run("x")
    os._exit(0)

began = time.monotonic()
children = [os.fork() or open_it() for _ in range(4)]
sys.exit(sum(os.waitpid(child, 0)[1] != 0 for child in children))
"""


@pytest.mark.parametrize("kind", ["new", "old", "postgresql"])
def test_processes_that_start_together_all_find_a_good_database(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    found = url(tmp_path / "new" / "pydag.db")
    if kind == "old":
        found = url(request.getfixturevalue("old"))
    elif kind == "postgresql":
        found = request.getfixturevalue("postgresql_url")
    done = subprocess.run([sys.executable, "-c", AT_ONCE, found], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    with Store(found) as store:
        assert [row["run_id"] for row in store.runs()] == (["run1"] if kind == "old" else [])


def test_a_migration_that_was_cut_off_has_not_begun(old: Path) -> None:
    before = {table: columns for table, columns in shape(old).items() if columns}
    program = (
        "import os, signal, sqlalchemy as sa\n"
        "import pydag_gcp.tables as t\n"
        "sa.event.listen(t.leases, 'after_create', lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))\n"
        f"from pydag_gcp.store import Store; Store({url(old)!r})"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    assert {table: columns for table, columns in shape(old).items() if columns} == before
    with Store(url(old)) as store:
        assert store.tasks("run1") != []


def test_a_database_whose_making_was_cut_off_is_made(tmp_path: Path) -> None:
    # Given a process that was killed while it made the tables: SQLite takes back what was not committed
    program = (
        "import os, signal, sqlalchemy as sa\n"
        "import pydag_gcp.tables as t\n"
        "sa.event.listen(t.runs, 'after_create', lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))\n"
        f"from pydag_gcp.store import Store; Store({url(tmp_path / 'new.db')!r})"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    with Store(url(tmp_path / "new.db")) as store:
        assert store.runs() == []


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize(
    ("version", "hint"), [(SCHEMA_VERSION + 1, "upgrade pydag-gcp"), (0, "set PYDAG_STORE to a new")]
)
def test_another_schema_is_refused_and_left_alone(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, version: int, hint: str
) -> None:
    found = url(tmp_path / "pydag.db") if kind == "sqlite" else request.getfixturevalue("postgresql_url")
    with Store(found) as store:
        store.database.write(schema_version.update().values(version=version))
    for _ in range(2):
        with pytest.raises(StoreError, match=f"has schema version {version}, .*; {hint}"):
            Store(found)


def test_a_database_that_cannot_hold_every_text_is_refused_before_anything_is_made(
    postgresql_server: PostgreSQL,
) -> None:
    latin = postgresql_server.new("LATIN1")
    with pytest.raises(StoreError, match=r"has the encoding LATIN1, .*; make it with CREATE DATABASE"):
        Store(latin)
    engine = sa.create_engine(latin.replace("postgresql:", "postgresql+psycopg:"))
    assert sa.inspect(engine).get_table_names() == []
    engine.dispose()
