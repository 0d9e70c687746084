"""What a kill -9 at any moment, of the run or of the local cloud, leaves behind."""

from __future__ import annotations

import json
import random
import signal
import time

import pytest

from tests.crash.conftest import FACT, ROWS
from tests.crash.project import Project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

TASKS = ["create", "fact", "insert_0", "insert_1", "load"]
KILLS = 5


def test_an_undisturbed_run(small: Project) -> None:
    document = small.run("--no-cache")
    assert small.rows("fact") == FACT
    assert small.jobs(document["run_id"]) == [(task, "DONE", True) for task in TASKS]


def test_a_killed_run_leaves_a_readable_store_and_no_job_twice_and_the_next_run_is_right(small: Project) -> None:
    seed = random.randrange(10**6)
    print("seed", seed)
    chance = random.Random(seed)
    for _ in range(KILLS):
        # Given a run that is killed at a random moment
        process = small.start("run", "small.py", "--no-cache")
        time.sleep(chance.uniform(0.2, 2.0))
        process.kill()
        process.communicate()
        # Then every job that the cloud has was announced in the store before, and none has run twice
        for (run_id,) in small.stored("SELECT run_id FROM runs ORDER BY started DESC LIMIT 1"):
            announced = small.stored(f"SELECT task_id FROM tries WHERE run_id = '{run_id}'")
            tasks = [task for task, _, _ in small.jobs(run_id)]
            assert len(tasks) == len(set(tasks))
            assert {(task,) for task in tasks} <= set(announced)
    # And the next run gives what an undisturbed one gives
    small.run()
    assert small.rows("fact") == FACT
    assert len(small.rows("appended")) == ROWS


def test_a_run_outlives_the_death_of_the_local_cloud(small: Project) -> None:
    seed = random.randrange(10**6)
    print("seed", seed)
    chance = random.Random(seed)
    for _ in range(2):
        process = small.start("run", "small.py", "--no-cache", "--json")
        time.sleep(chance.uniform(0.3, 2.0))
        small.kill_daemon()
        out, err = small.finish(process, timeout=60)
        assert process.returncode == 0, out + err
        assert small.rows("fact") == FACT
        assert len(small.rows("appended")) == ROWS


@pytest.mark.parametrize(
    ("method", "call"),
    [
        ("bigquery.datasets.get", 1),
        ("bigquery.jobs.insert", 1),
        ("bigquery.jobs.insert", 5),
        ("bigquery.jobs.get", 1),
        ("bigquery.jobs.getQueryResults", 1),
    ],
)
def test_a_run_outlives_the_death_of_the_local_cloud_in_the_middle_of_a_call(
    small: Project, method: str, call: int
) -> None:
    # Given a local cloud that dies while it is at work on a call of the run, maybe the last one
    known = small.calls().get(method, 0)
    small.fault(method, "latency", seconds=10, call=call)
    process = small.start("run", "small.py", "--no-cache", "--json")
    small.await_call(process, method, known + call)
    small.kill_daemon()
    # Then the run starts it again, and ends as if nothing had happened
    out, err = small.finish(process, timeout=60)
    assert process.returncode == 0, out + err
    document = json.loads(out)
    assert {task["tries"] for task in document["tasks"].values()} == {1}
    assert small.jobs(document["run_id"]) == [(task, "DONE", True) for task in TASKS]
    assert small.rows("fact") == FACT


def test_ctrl_c_reaches_a_job_although_the_local_cloud_dies_of_the_cancel(small: Project) -> None:
    # Given a run that is told to stop, and a local cloud that dies while it hears of it
    known = small.calls()
    small.fault("bigquery.jobs.get", "latency", seconds=3, times=2)
    small.fault("bigquery.jobs.cancel", "latency", seconds=10)
    process = small.start("run", "small.py", "--no-cache")
    small.await_call(process, "bigquery.jobs.get", known.get("bigquery.jobs.get", 0) + 1)
    process.send_signal(signal.SIGINT)
    small.await_call(process, "bigquery.jobs.cancel", known.get("bigquery.jobs.cancel", 0) + 1)
    small.kill_daemon()
    out, err = small.finish(process, timeout=60)
    assert process.returncode == 130, out + err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signalled_run_says_so_and_exits_130(small: Project, number: signal.Signals) -> None:
    # Given a run that takes some seconds, as every submit is slow
    known = small.calls().get("bigquery.jobs.insert", 0)
    small.fault("bigquery.jobs.insert", "latency", seconds=1.5, times=3)
    process = small.start("run", "small.py", "--no-cache")
    small.await_call(process, "bigquery.jobs.insert", known + 1)
    process.send_signal(number)
    out, err = small.finish(process, timeout=60)
    assert process.returncode == 130, out + err
    assert "Traceback" not in out + err
    state = small.stored("SELECT state FROM runs ORDER BY started DESC LIMIT 1")
    assert state == [("cancelled" if number == signal.SIGINT else "interrupted",)]
