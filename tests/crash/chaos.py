"""Kills at random moments, of a command and of the local cloud, each followed by `pydag resume` until it ends."""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tests.crash.project import Project

#: Most kills of one run; then it is left alone to end.
_MOST = 4
#: `pydag resume` must have come to an end after so many, whatever was killed before.
_PATIENCE = 5


def rounds(variable: str, default: int) -> int:
    """How many rounds a test takes: some in the suite, many by hand."""
    return int(os.environ.get(variable, default))


def seed(variable: str = "PYDAG_TEST_SEED") -> int:
    """A seed, which is printed; the variable repeats one."""
    found = int(os.environ.get(variable) or random.randrange(10**6))
    print(f"{variable}={found}")
    return found


@dataclass(frozen=True, kw_only=True)
class Chaos:
    """Runs that are killed, and go on.

    Attributes:
        chance: Decides who is killed, and when.
        seconds: How long the run takes undisturbed, from the start of its process.
        again: Whether the command is given again, which makes another run, instead of `pydag resume`.
        most: Most kills of one run. Spark jobs die with the daemon: with as many tries as that, their task has failed.
    """

    project: Project
    chance: random.Random
    seconds: float
    again: bool = False
    most: int = _MOST
    story: list[str] = field(default_factory=list)

    def survive(self, *command: str) -> str:
        """Run a command, kill what belongs to it, and go on until the run has ended well; return the run's id."""
        self.story.clear()
        before = self.project.last_run()
        process = self._start(*command)
        for _ in range(self.chance.randint(1, self.most)):
            self._wait(process)
            victim = self.chance.choice(("driver", "daemon", "both"))
            if victim != "driver":
                self._tell("daemon killed")
                self.project.kill_daemon()
            if victim != "daemon":
                process = self._kill(process, before, command)
            if process.poll() is not None:
                break
        self._end(process, before, command)
        print("; ".join(self.story))
        return self.project.last_run()

    def _wait(self, process: subprocess.Popen[str]) -> None:
        # Most of the time goes into imports, before anything happens; what matters comes late.
        share = self.chance.betavariate(2, 1.3) * 1.1
        deadline = time.monotonic() + share * self.seconds
        while time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.005)

    def _kill(self, process: subprocess.Popen[str], before: str, command: tuple[str, ...]) -> subprocess.Popen[str]:
        process.kill()
        self._tell("driver killed")
        self.project.finish(process)
        return self._go_on(before, command)

    def _go_on(self, before: str, command: tuple[str, ...]) -> subprocess.Popen[str]:
        """Resume; or start again, if that is how, or if the kill came before there was a run."""
        known = self.project.last_run() != before
        return self._start("resume") if known and not self.again else self._start(*command)

    def _end(self, process: subprocess.Popen[str], before: str, command: tuple[str, ...]) -> None:
        for _ in range(_PATIENCE):
            out, err = self.project.finish(process)
            self._tell(f"exit {process.returncode}")
            if process.returncode == 0 and self.project.last_run() != before:
                return
            assert "Traceback" not in out + err, self._said(out, err)
            process = self._go_on(before, command)
        out, err = self.project.finish(process)
        raise AssertionError(f"is stuck: {self._said(out, err)}")

    def _start(self, *command: str) -> subprocess.Popen[str]:
        self._tell(f"pydag {' '.join(command)}")
        return self.project.start(*command)

    def _tell(self, what: str) -> None:
        self.story.append(f"{time.monotonic():.2f} {what}")

    def _said(self, out: str, err: str) -> str:
        return "; ".join(self.story) + f"\n{out}\n{err}"


def assert_one_effect(project: Project, run_id: str, tasks: Iterable[str]) -> None:
    """Each task of a run has one job that succeeded, and none is left that has not ended."""
    found = project.jobs(run_id)
    assert {state for _, state, _ in found} <= {"DONE"}, found
    assert Counter(task for task, _, good in found if good) == Counter(tasks), found


def assert_nothing_open(project: Project) -> None:
    """No run, no try of a run, is left unfinished."""
    assert project.stored("SELECT run_id, state FROM runs WHERE state NOT IN ('success', 'failed', 'cancelled')") == []
    assert project.stored("SELECT run_id, task_id, state FROM tries WHERE ended IS NULL") == []


def timed(command: Callable[[], object]) -> float:
    """How long something takes, in seconds."""
    began = time.monotonic()
    command()
    return time.monotonic() - began
