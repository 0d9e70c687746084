"""``pydag resume``, ``cancel`` and ``run --retry-failed``: real processes that are killed, and those that take over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from textwrap import dedent

import pytest

from pydag_gcp import settings
from pydag_gcp.lease import acquire
from pydag_gcp.store import Store
from tests.conftest import reaped
from tests.terminal import Terminal

PYDAG = str(Path(sys.executable).with_name("pydag"))

#: The second task waits for the file `go`, the third one fails without the file `quota`.
PIPELINE = """
    import time
    from pathlib import Path
    from pydag_gcp import DAG, Operator

    class Step(Operator):
        waits_for: str = ""
        needs: str = ""

        def execute(self, ctx):
            with Path("effects").open("a") as file:
                file.write(f"{ctx.task_id} {ctx.try_number}\\n")
            while self.waits_for and not Path(self.waits_for).exists():
                time.sleep(0.02)
            if self.needs and not Path(self.needs).exists():
                raise ValueError("no quota")
            return ctx.run_id

    with DAG("daily") as dag:
        Step(task_id="first") >> Step(task_id="second", waits_for="go") >> Step(task_id="third", needs="quota")
"""


@pytest.fixture
def terminal(project: Path, capfd: pytest.CaptureFixture[str]) -> Terminal:
    (project / "daily.py").write_text(dedent(PIPELINE))
    return Terminal(capfd)


def until(condition: Callable[[], object]) -> None:
    """Wait for what another process does; a test that waits in vain is ended by its own timeout."""
    while not condition():
        time.sleep(0.02)


def on_record(store: Store, file: str) -> datetime:
    """Record a run of a pipeline file whose process is gone; return when it began."""
    now = datetime.now(UTC)
    store.start_run(
        run_id="k7m2", dag_id="daily", target="local", logical_date=now, pid=os.getpid(), host="here", at=now,
        definition={"tasks": {"load": {"operator": "Step"}}, "upstream": {"load": []}}, file=Path(file),
    )  # fmt: skip
    return now


def effects() -> list[str]:
    return Path("effects").read_text().splitlines() if Path("effects").exists() else []


def ended() -> list[str]:
    """The tasks that have ended by what is on record, which may come a moment after their effects."""
    with Store(settings.load().store_url) as store:
        return [row["task_id"] for run in store.runs(limit=1) for row in store.tasks(run["run_id"])]


@pytest.fixture
def running(terminal: Terminal) -> Iterator[subprocess.Popen[str]]:
    """A run whose second task waits."""
    command = [PYDAG, "run", "daily.py"]
    with reaped(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)) as process:
        try:
            until(lambda: "second 1" in effects() and ended() == ["first"])
            yield process
        finally:
            process.kill()


@pytest.fixture
def killed(terminal: Terminal, running: subprocess.Popen[str]) -> str:
    """The id of a run whose process was killed while its second task waited."""
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    run_id: str = terminal.document("runs")["runs"][0]["run_id"]
    return run_id


def test_a_killed_run_goes_on_and_what_failed_runs_again(terminal: Terminal, killed: str) -> None:
    assert f"`pydag resume {killed}` goes on with it, `pydag cancel {killed}` ends it" in terminal.says("show")
    # When it goes on, then only what had not ended runs
    Path("go").touch()
    document = terminal.document("resume", code=1)
    assert (document["run_id"], document["state"]) == (killed, "failed")
    assert effects() == ["first 1", "second 1", "second 2", "third 1"]
    # And there is nothing more to go on with
    said = (
        f"run {killed} of daily has ended: failed; `pydag run --retry-failed {killed}` runs again what did not succeed"
    )
    assert said in terminal.says("resume", code=1)
    # When what it lacked is there, then what failed runs again, as the same run
    Path("quota").touch()
    assert terminal.document("run", "--retry-failed", killed[:6])["run_id"] == killed
    assert effects()[4:] == ["third 2"]
    # And whoever repeats either is told so
    assert terminal.says("resume") == f"run {killed} of daily has ended: success\n"
    assert "has no task that failed" in terminal.says("run", "--retry-failed", killed, "daily.py", code=2)
    assert terminal.says("cancel", killed) == f"run {killed} of daily had ended already: success\n"


def test_beside_a_run_nobody_drives_another_one_or_the_same(terminal: Terminal, running: subprocess.Popen[str]) -> None:
    run_id = terminal.document("runs")["runs"][0]["run_id"]
    active = f"run {run_id} of DAG daily on target local is active (pid {running.pid}"
    for command in (["run", "daily.py"], ["resume"]):
        assert active in terminal.says(*command, code=1)
    # Given one who waits for its end
    with reaped(subprocess.Popen([PYDAG, "run", "--wait", "daily.py"], stdout=subprocess.PIPE, text=True)) as second:
        assert second.stdout is not None
        assert active in second.stdout.readline()
        # When it is cancelled from here, then its own process does so, and this one waits for that
        assert terminal.says("cancel", run_id) == f"run {run_id} of daily has ended: cancelled\n"
        assert running.wait(timeout=60) == 1
        assert effects()[:2] == ["first 1", "second 1"]
        # And who waited runs
        Path("quota").touch()
        Path("go").touch()
        second.communicate(timeout=60)
    assert second.returncode == 0
    assert effects()[2:] == ["first 1", "second 1", "third 1"]


def test_a_run_ends_as_what_it_began_as(terminal: Terminal, killed: str) -> None:
    pipeline = Path("daily.py")
    text = pipeline.read_text()
    # A task that has not ended is another one
    pipeline.write_text(text.replace('needs="quota"', 'needs="money"'))
    said = terminal.says("resume", code=2)
    assert f"error: run {killed}: cannot go on with what it began as: changed since: 'third' (" in said
    # A pipeline that is another one
    pipeline.write_text(text.replace("daily", "hourly"))
    assert f"defines the DAG 'hourly', but run {killed} is one of 'daily'" in terminal.says("resume", code=2)
    # When it is cancelled, then this process does what the dead one cannot do any more
    pipeline.write_text(text)
    document = terminal.document("cancel", killed[:5])
    assert (document["run_id"], document["state"], document["exit_code"]) == (killed, "cancelled", 0)
    assert effects() == ["first 1", "second 1"]


def test_a_run_whose_pipeline_is_gone_is_forgotten(terminal: Terminal) -> None:
    # Given a run whose process is gone, a job of which may still be running
    with Store(settings.load().store_url) as store:
        now = on_record(store, "gone.py")
        store.start_try("k7m2", "load", 1, job_id="pydag-1", at=now)
    # Then nobody can go on with it, nor end it
    for command in ("resume", "cancel"):
        said = terminal.says(command, "k7m2", code=2)
        assert "gone.py: the pipeline of run k7m2 is not here any more; put it back" in said
        assert "or end the run on record only: pydag cancel --forget k7m2" in said
    # When it is forgotten, then it has ended, and the job is named
    said = terminal.says("cancel", "--forget", "k7m2")
    assert said == "run k7m2 of daily is marked as cancelled; not ended: pydag-1\n"
    assert terminal.says("cancel", "k7m2") == "run k7m2 of daily had ended already: cancelled\n"


def test_a_run_is_not_forgotten_while_somebody_drives_it_or_settles_it(terminal: Terminal) -> None:
    # Given an interrupted run, which another one is about to settle
    with Store(settings.load().store_url) as store:
        on_record(store, "daily.py")
        lease = acquire(store, dag_id="daily", target="local", run_id="z9z9")
        try:
            said = terminal.says("cancel", "--forget", "k7m2", code=1)
            row = store.run("k7m2")
        finally:
            lease.release()
    # Then it is left to that one
    assert f"error: run z9z9 of DAG daily on target local is active (pid {os.getpid()}" in said
    assert said.endswith("; wait for its end, or cancel that run\n")
    assert row is not None
    assert row["state"] == "running"
    # And afterwards it may be forgotten, and all of it is cancelled
    terminal.says("cancel", "--forget", "k7m2")
    shown = terminal.document("show", "k7m2")
    assert (shown["state"], shown["tasks"]["load"]["state"]) == ("cancelled", "cancelled")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["resume"], "nothing has run in this project"),
        (["cancel", "zzz"], "nothing has run in this project"),
        (["run", "--retry-failed", "zzz"], "nothing has run in this project"),
        (["run", "--retry-failed", "zzz", "a.py", "b.py"], "--retry-failed goes with one pipeline at most"),
        (["run", "--retry-failed", "zzz", "--only", "a"], "--retry-failed goes without --target, --param, "),
        (["run", "--max-bytes", "many", "daily.py"], "such as 500M, 10G or 1.5T, got 'many'"),
    ],
)
def test_mistakes_are_one_line(terminal: Terminal, args: list[str], said: str) -> None:
    assert said in terminal.says(*args, code=2)
