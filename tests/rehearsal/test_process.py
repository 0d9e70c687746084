"""Processes that start in no time, and are real."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pydag_gcp.rehearsal.process import Invocation, Processes

SLOW = """
import os, pathlib, time
from pydag_gcp import DAG, task

with DAG("slow") as dag:
    @task
    def sleep() -> None:
        pathlib.Path("pid").write_text(f"{os.getpid()} {os.environ['MINE']} {os.getcwd()}")
        time.sleep(600)
    sleep()
"""


@pytest.fixture(scope="module")
def processes() -> Iterator[Processes]:
    with closing(Processes()) as processes:
        yield processes


def _invocation(folder: Path, *arguments: str) -> Invocation:
    environment = {"PATH": os.environ["PATH"], "PYDAG_HOME": str(folder / ".pydag"), "MINE": "yes"}
    return Invocation(
        arguments=arguments, folder=folder, environment=environment, out=folder / "out", err=folder / "err"
    )


def test_a_process_is_pydag(processes: Processes, project: Path) -> None:
    ended = processes.start(_invocation(project, "--version")).wait(60)

    assert ended == 0
    assert (project / "out").read_text().startswith("pydag ")


def test_its_exit_code_and_its_words_are_its_own(processes: Processes, project: Path) -> None:
    ended = processes.start(_invocation(project, "run", "nowhere.py")).wait(60)

    assert ended == 2
    assert "nowhere.py" in (project / "err").read_text()
    assert (project / "out").read_text() == ""


def test_it_can_be_killed(processes: Processes, project: Path) -> None:
    # Given a process in the middle of its work, in a folder and with variables of its own
    (project / "slow.py").write_text(SLOW)
    process = processes.start(_invocation(project, "run", "slow.py"))
    while not (project / "pid").exists() or not (project / "pid").read_text():
        assert process.wait(0.01) is None, (project / "err").read_text()
    assert (project / "pid").read_text() == f"{process.pid} yes {project}"
    assert process.pid != os.getpid()
    # When it is killed
    process.kill()
    # Then it is gone, and the next one starts
    assert process.wait(0) == -signal.SIGKILL
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)
    assert processes.start(_invocation(project, "--version")).wait(60) == 0


def test_none_is_left_when_they_are_closed(project: Path) -> None:
    (project / "slow.py").write_text(SLOW)
    with closing(Processes()) as processes:
        process = processes.start(_invocation(project, "run", "slow.py"))
        while not (project / "pid").exists():
            assert process.wait(0.01) is None, (project / "err").read_text()
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)
