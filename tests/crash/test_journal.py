"""Processes that write to the metadata database and are killed, or whose database is, at any moment."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pydag_gcp.store import Store
from pydag_gcp.tables import runs, tasks, tries
from tests.conftest import reaped
from tests.crash.chaos import rounds, seed
from tests.servers import PostgreSQL

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

#: Drives a run of endless tasks, of which every seventh is "submitted" by a thread: it says so when it may be. What
#: belongs together is the end of a task and the beginning of the next; in some of the steps many tasks.
DRIVER = """
import os, queue, random, sys, threading
from datetime import UTC, datetime
from pydag_gcp.errors import StoreError
from pydag_gcp.states import TaskState
from pydag_gcp.store import Store
from pydag_gcp.tables import runs, tasks, tries

def now():
    return datetime.now(UTC)

def submit():
    while (number := due.get()) is not None:
        store.settled()
        os.write(1, f"{number}\\n".encode())

url, most = sys.argv[1], int(sys.argv[2])
chance, due, number = random.Random(int(sys.argv[3])), queue.SimpleQueue(), 0
store = Store(url)
store.start_run(run_id="r", dag_id="d", target="t", logical_date=now(), definition={}, pid=1, host="h", at=now())
threads = [threading.Thread(target=submit, daemon=True) for _ in range(4)]
for thread in threads:
    thread.start()
store.start_try("r", "0", 1, job_id=None, at=now())
os.write(1, b"begun\\n")
try:
    while number < most:
        with store.together():
            for _ in range(chance.choice((1, 1, 1, 2, 50, 300))):
                if chance.random() < 0.5:
                    store.end_task("r", str(number), TaskState.SUCCESS, at=now(), try_number=1)
                else:
                    store.end_try("r", str(number), 1, TaskState.SUCCESS, error=None, at=now())
                    store.end_task("r", str(number), TaskState.SUCCESS, at=now())
                number += 1
                store.start_try("r", str(number), 1, job_id=None, at=now())
        if number % 7 == 0:
            due.put(number)
        while store.behind:
            store.settled()
    for _ in threads:
        due.put(None)
    for thread in threads:
        thread.join()
    store.close()
except StoreError as error:
    sys.exit(str(error))
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a new store, of each kind there is."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'pydag.db'}"
    found: str = request.getfixturevalue("postgresql_url")
    return found


@contextmanager
def driven(url: str, chance: random.Random, *, most: int = 10**9) -> Iterator[subprocess.Popen[str]]:
    """A process that writes, and has begun."""
    command = [sys.executable, "-c", DRIVER, url, str(most), str(chance.randrange(10**6))]
    pipe = subprocess.PIPE
    with reaped(subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        yield process


def listen(process: subprocess.Popen[str], lines: int) -> str:
    """So many lines of what a process says."""
    assert process.stdout is not None
    return "".join(process.stdout.readline() for _ in range(lines))


def check(url: str, said: list[int]) -> int:
    """What was said to be durable is there, no unit is parted, none is missing before another; how much there is."""
    with Store(url) as store:
        ended = {int(row["task_id"]) for row in store.tasks("r")}
        tries = {int(row["task_id"]): row["state"] for row in store.tries("r")}
    assert ended == set(range(len(ended)))
    if tries:
        assert tries.pop(len(ended)) == "running"
    assert tries == dict.fromkeys(ended, "success")
    assert max(said, default=0) <= len(ended)
    return len(ended)


def numbers(text: str) -> list[int]:
    """The whole lines of what a process said before it was killed."""
    return [int(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def test_what_was_settled_outlives_a_kill_and_no_unit_is_parted(
    url: str,
) -> None:
    chance = random.Random(seed())
    for _ in range(rounds("PYDAG_TEST_JOURNAL_KILLS", 2)):
        # Given a process that is killed at a random moment
        with driven(url, chance) as process:
            heard = listen(process, chance.randint(0, 15))
            time.sleep(chance.uniform(0.0, 0.05))
            process.kill()
            out, err = process.communicate()
        assert err == ""
        print(check(url, numbers(heard + out)), "tasks")
        forget(url)


def test_a_process_that_ends_leaves_all_that_it_wrote(url: str) -> None:
    with driven(url, random.Random(1), most=3000) as process:
        out, err = process.communicate(timeout=120)
        assert (process.returncode, err) == (0, "")
    assert check(url, numbers(out)) >= 3000


def test_a_server_that_crashes_parts_no_unit(postgresql_server: PostgreSQL, postgresql_url: str) -> None:
    chance = random.Random(seed())
    for _ in range(rounds("PYDAG_TEST_JOURNAL_KILLS", 1)):
        # Given a server that crashes while it is written to, and comes back
        with driven(postgresql_url, chance, most=5_000) as process:
            heard = listen(process, chance.randint(0, 15))
            postgresql_server.stop()
            time.sleep(0.3)
            postgresql_server.start()
            out, err = process.communicate(timeout=120)
        # Then the process goes on; unless it cannot know whether what it was just writing is there
        assert process.returncode == 0 or "`pydag resume` goes on once the server is back" in err
        assert check(postgresql_url, numbers(heard + out)) >= (5_000 if process.returncode == 0 else 0)
        forget(postgresql_url)


def forget(url: str) -> None:
    """Empty the tables that were written to."""
    with Store(url) as store:
        for table in (tasks, tries, runs):
            store.database.write(table.delete())
