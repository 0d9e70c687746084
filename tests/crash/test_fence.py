"""A driver that was away for longer than its lease, on a store that hosts share: it notices, and does nothing more."""

from __future__ import annotations

import signal
import time
from typing import Any

import pytest

from pydag_gcp.store import Store
from tests.crash.conftest import FACT, ROWS
from tests.crash.project import Project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

#: In seconds. A driver that is late keeps it as long as nobody else wants it.
LEASE = 1.0


@pytest.fixture
def shared(small: Project, postgresql_url: str) -> Project:
    """The small project, whose runs are recorded in PostgreSQL."""
    settings = {"PYDAG_STORE": postgresql_url, "PYDAG_LEASE": str(LEASE)}
    return Project(folder=small.folder, settings=settings, _started=small._started)


def recorded(url: str) -> list[Any]:
    """All that the store says of the only run."""
    with Store(url) as store:
        (run,) = store.runs()
        return [run, store.tasks(run["run_id"]), store.tries(run["run_id"])]


def test_a_driver_that_lost_its_lease_does_nothing_more(shared: Project, postgresql_url: str) -> None:
    # Given a driver that stops in the middle of its run, as a laptop does that is closed
    shared.fault("bigquery.jobs.insert", "hold", task="insert_0")
    stopped = shared.start("run", "small.py", "--no-cache")
    shared.await_held(1, stopped)
    stopped.send_signal(signal.SIGSTOP)
    shared.clear_faults()
    # When its lease has expired, another host goes on with the run
    time.sleep(LEASE + 0.5)
    resumed = shared.pydag("resume")
    # Then that one ends it
    assert resumed.code == 0, resumed.out + resumed.err
    assert shared.rows("fact") == FACT
    assert len(shared.rows("appended")) == ROWS
    # And when the first one comes back, it says so in one line, calls nobody and writes nothing
    calls, rows = shared.calls(), recorded(postgresql_url)
    stopped.send_signal(signal.SIGCONT)
    out, err = shared.finish(stopped)
    assert stopped.returncode == 1, out + err
    assert "Traceback" not in out + err
    assert [line for line in err.splitlines() if "was taken over" in line] == err.splitlines(), err
    assert shared.calls() == calls
    assert recorded(postgresql_url) == rows
