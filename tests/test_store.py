"""The metadata database."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pydag_gcp.errors import SettingsError, StoreError
from pydag_gcp.states import RunState, TaskState
from pydag_gcp.store import SCHEMA_VERSION, Store
from tests.conftest import reaped

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def url(folder: Path) -> str:
    return f"sqlite:///{folder / 'nested' / 'pydag.db'}"


def start(store: Store, run_id: str = "run1") -> None:
    store.start_run(
        run_id=run_id, dag_id="dag", target="local", logical_date=NOW, definition={"tasks": {}}, pid=1, host="h", at=NOW
    )


def test_a_run_from_start_to_end(tmp_path: Path) -> None:
    with Store(url(tmp_path)) as store:
        start(store)
        store.start_try("run1", "task", 1, job_id="pydag-1", at=NOW)
        store.submitted("run1", "task", 1, handle={"job_id": "pydag-1"}, at=NOW)
        store.end_try("run1", "task", 1, TaskState.SUCCESS, error=None, at=NOW)
        store.end_task("run1", "task", TaskState.SUCCESS, result={"rows": 7}, at=NOW)
        store.end_run("run1", RunState.SUCCESS, at=NOW)
    with Store(url(tmp_path)) as store:
        run = store.run("run1")
        assert run is not None
        assert (run["state"], run["ended"]) == ("success", NOW.isoformat())
        assert [(row["state"], row["result"]) for row in store.tasks("run1")] == [("success", '{"rows": 7}')]
        assert [(row["state"], row["handle"]) for row in store.tries("run1")] == [("success", '{"job_id": "pydag-1"}')]
        assert store.run("other") is None


def test_writes_are_durable_and_readers_do_not_block(tmp_path: Path) -> None:
    with Store(url(tmp_path)) as store, store._engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


def test_a_row_survives_a_kill_right_after_the_call(tmp_path: Path) -> None:
    # Given a process that is killed the moment after it said "about to submit"
    program = (
        "import os, signal, sys; sys.path.insert(0, 'tests')\n"
        "from test_store import *\n"
        f"store = Store({url(tmp_path)!r}); start(store)\n"
        "store.start_try('run1', 'task', 1, job_id='pydag-1', at=NOW)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parent.parent, check=False)
    assert done.returncode == -9
    # Then the row is there
    with Store(url(tmp_path)) as store:
        assert [row["job_id"] for row in store.tries("run1")] == ["pydag-1"]


def test_two_processes_may_write(tmp_path: Path) -> None:
    with Store(url(tmp_path)) as one, Store(url(tmp_path)) as other:
        for number in range(20):
            start(one, f"a{number}")
            start(other, f"b{number}")
        assert one.run("b19") is not None


def test_processes_that_start_together_on_a_new_project_all_find_a_good_database(tmp_path: Path) -> None:
    program = f"from pydag_gcp.store import Store; Store({url(tmp_path)!r}).run('x')"
    command = [sys.executable, "-c", program]
    with ExitStack() as stack:
        started = [
            stack.enter_context(reaped(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))) for _ in range(8)
        ]
        assert [(process.communicate()[1], process.returncode) for process in started] == [("", 0)] * 8


def test_a_database_whose_making_was_cut_off_is_made(tmp_path: Path) -> None:
    # Given a process that was killed while it made the tables: SQLite takes back what was not committed
    program = (
        "import os, signal, sqlalchemy as sa\n"
        "import pydag_gcp.store as s\n"
        "sa.event.listen(s.runs, 'after_create', lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))\n"
        f"s.Store({url(tmp_path)!r})"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    with Store(url(tmp_path)) as store:
        start(store)


def test_what_is_written_together_is_there_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    with Store(url(tmp_path)) as store:
        start(store)
        with pytest.raises(ZeroDivisionError), store.together():  # noqa: PT012 - what is inside is the point
            store.start_try("run1", "task", 1, job_id=None, at=NOW)
            store.end_run("run1", RunState.SUCCESS, at=NOW)
            raise ZeroDivisionError
        assert store.tries("run1") == []
        run = store.run("run1")
        assert run is not None
        assert run["state"] == "running"


def test_a_try_number_is_never_used_twice(tmp_path: Path) -> None:
    with Store(url(tmp_path)) as store:
        start(store)
        store.start_try("run1", "task", 1, job_id=None, at=NOW)
        with pytest.raises(StoreError, match="UNIQUE constraint"):
            store.start_try("run1", "task", 1, job_id=None, at=NOW)


@pytest.mark.parametrize(
    ("version", "hint"), [(SCHEMA_VERSION + 1, "upgrade pydag-gcp"), (0, "set PYDAG_STORE to a new file")]
)
def test_another_schema_is_refused_and_left_alone(tmp_path: Path, version: int, hint: str) -> None:
    with Store(url(tmp_path)):
        pass
    file = tmp_path / "nested" / "pydag.db"
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE schema_version SET version = ?", [version])
    connection.close()
    with pytest.raises(StoreError, match=f"has schema version {version}, .*; {hint}"):
        Store(url(tmp_path))


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "nested").mkdir()
    (tmp_path / "nested" / "pydag.db").write_bytes(b"not a database at all, but a long text " * 100)
    with pytest.raises(StoreError, match=r"pydag.db: file is not a database; move the file away"):
        Store(url(tmp_path))


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "nested").write_text("a file where the folder should be")
    with pytest.raises(StoreError, match=r"metadata database .*pydag.db: File exists; set PYDAG_HOME elsewhere"):
        Store(url(tmp_path))


@pytest.mark.parametrize("wrong", ["nonsense", "postgresql://host/db", "oracle://x"])
def test_an_url_of_another_kind_is_refused(wrong: str) -> None:
    with pytest.raises(SettingsError, match=r"write PYDAG_STORE like sqlite:////folder/pydag\.db"):
        Store(wrong)
