"""Several terminals at once: of one DAG on one target, one run is active, and the others hear whose it is."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Sequence

import pytest

from tests.crash.conftest import FACT, ROWS
from tests.crash.project import Ended, Project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

RUN = ("run", "small.py", "--no-cache")
INSERT = "bigquery.jobs.insert"


def start(project: Project, *commands: tuple[str, ...]) -> list[subprocess.Popen[str]]:
    """Start processes at the same time; the one that gets to submit a job stays at that, and holds the lease."""
    project.fault(INSERT, "hold")
    processes = [project.start(*command) for command in commands]
    project.await_held(1, *processes)
    return processes


def end(project: Project, processes: Sequence[subprocess.Popen[str]]) -> list[Ended]:
    """Let all come to their ends; those who hold nothing first."""
    while sum(process.poll() is None for process in processes) > 1:
        time.sleep(0.02)
    project.clear_faults()
    return ended(project, processes)


def ended(project: Project, processes: Sequence[subprocess.Popen[str]]) -> list[Ended]:
    """Wait for the ends of all."""
    outputs = [project.finish(process) for process in processes]
    return [Ended(code=one.returncode, out=out, err=err) for one, (out, err) in zip(processes, outputs, strict=True)]


def assert_refused(refused: Ended, run_id: str) -> None:
    """The command did nothing and says in one line which run is active, and where."""
    assert refused.code == 1, refused.out + refused.err
    (line,) = [line for line in refused.err.splitlines() if "active" in line]
    assert run_id in line
    assert "DAG small on target local" in line
    assert re.search(r"\bpid \d+", line), line
    assert "Traceback" not in refused.err


def assert_right(project: Project) -> None:
    """Everything was done once."""
    assert project.rows("fact") == FACT
    assert len(project.rows("appended")) == ROWS


def test_of_two_runs_at_once_one_does_and_the_other_says_who_holds_it(small: Project) -> None:
    both = end(small, start(small, RUN, RUN))
    assert sorted(one.code for one in both) == [0, 1], both
    assert_refused(next(one for one in both if one.code), small.last_run())
    assert_right(small)


def test_of_those_who_resume_and_run_at_once_one_does(small: Project) -> None:
    # Given a run that was killed
    (killed,) = start(small, RUN)
    killed.kill()
    small.finish(killed)
    small.clear_faults()
    # When it is resumed twice, and another one is started, at the same time
    everybody = end(small, start(small, ("resume",), ("resume",), RUN))
    # Then one of them does it
    assert sorted(one.code for one in everybody) == [0, 1, 1], everybody
    for one in everybody:
        if one.code:
            assert_refused(one, small.last_run())
    assert_right(small)
