"""``pydag top``: who holds and who waits for processors."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pydag_gcp import processors, runtime_folder
from pydag_gcp.errors import PydagError
from pydag_gcp.pool import opened
from pydag_gcp.pool_census import Census, Resident, Wait, take_census
from pydag_gcp.processors import Share
from pydag_gcp.top import follow, print_census
from tests.conftest import reaped
from tests.terminal import Terminal


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a pool that nobody else uses."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return runtime_folder.find()


@pytest.fixture
def busy(pool: Path) -> Iterator[tuple[Share, Share]]:
    """A run that holds all four processors, and one that waits for some."""
    one = processors.join("daily", run_id="k7m2", size=4, weight=2.0, granted=print)
    other = processors.join("hourly", run_id="x3x3", most=3, granted=print)
    assert all(one.take(1) for _ in range(4))
    assert not other.take(1, 30)
    assert not other.take(3)
    yield one, other
    one.leave()
    other.leave()


@pytest.fixture
def terminal(capfd: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(capfd)


def test_nobody_is_there(pool: Path, terminal: Terminal) -> None:
    assert terminal.says("top") == "no run is in the pool of processors\n"
    assert terminal.document("top") == {"size": None, "held": 0, "waiting": 0, "runs": []}
    assert not list(pool.iterdir()), "looking changes nothing"


@pytest.mark.usefixtures("busy")
def test_a_table_says_who_holds_and_who_waits(terminal: Terminal) -> None:
    head, columns, one, other = terminal.says("top").splitlines()
    assert head == "4 of 4 processors held by 2 runs, 31 tasks wait"
    assert columns.split() == ["pipeline", "run", "pid", "weight", "held", "waits", "runs", "for"]
    assert one.split()[:7] == ["daily", "k7m2", str(os.getpid()), "2", "4", "of", "4"]
    assert other.split()[:7] == ["hourly", "x3x3", str(os.getpid()), "1", "0", "of", "3"]
    assert "30 tasks for " in other
    assert "; 1 task of 3 processors for " in other
    assert terminal.says("top", "--once").splitlines()[0] == head


@pytest.mark.usefixtures("busy")
def test_a_document_says_the_same(terminal: Terminal) -> None:
    found = terminal.document("top")
    assert (found["size"], found["held"], found["waiting"]) == (4, 4, 31)
    assert [(run["dag_id"], run["held"], run["most"]) for run in found["runs"]] == [("daily", 4, 4), ("hourly", 0, 3)]
    assert [(wait["tasks"], wait["slots"], wait["reserved"]) for wait in found["runs"][1]["waits"]] == [
        (30, 1, False),
        (1, 3, False),
    ]


def test_what_is_kept_for_a_task_is_said(busy: tuple[Share, Share], monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a task that needs three and has waited for too long
    monkeypatch.setattr("pydag_gcp.shares.PATIENCE", 0.0)
    one, other = busy
    other.rest()
    assert not other.take(3)
    other.rest()  # it has no small tasks any more
    # When two are free
    one.give(2)
    one.rest()
    # Then they are kept
    census = take_census()
    assert (census.held, census.runs[1].waits[0].reserved) == (2, True)
    screen = io.StringIO()
    print_census(census, screen)
    assert ", next" in screen.getvalue()


def test_a_dead_process_is_not_shown(pool: Path, terminal: Terminal) -> None:
    code = (
        "import time; from pydag_gcp import processors\n"
        "share = processors.join('dead', run_id='r', granted=print); print(share.take(1), flush=True); time.sleep(60)"
    )
    with reaped(subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        assert [run["pid"] for run in terminal.document("top")["runs"]] == [process.pid]
        process.kill()
        process.wait()
        assert terminal.document("top")["runs"] == []


def test_a_pool_that_cannot_be_looked_at_is_one_line(
    pool: Path, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool.chmod(0o777)
    said = terminal.says("top", code=1)
    assert said.startswith("error: the pool of processors cannot be looked at: ")
    assert "chmod 700" in said
    pool.chmod(0o700)
    # And one whose table another process has locked
    share = processors.join("daily", run_id="k7m2", size=4, granted=print)
    monkeypatch.setattr("pydag_gcp.pool_memory.PoolFile.lock", lambda *_: False)
    with pytest.raises(PydagError, match="a process has locked its table and was stopped; see `ps"):
        take_census()
    monkeypatch.undo()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(pool.parent))
    with opened(pool) as found:
        found.table.words[0] = 0
        with pytest.raises(PydagError, match="another version of pydag-gcp"):
            take_census()
    share.leave()


class Screen(io.StringIO):
    """A terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def resident(number: int) -> Resident:
    moment = datetime.now(UTC) - timedelta(seconds=90)
    wait = Wait(tasks=2, slots=1, seconds=1.25, reserved=False)
    return Resident(
        dag_id=f"pipeline{number}\x1b[2J",
        run_id=f"run{number}",
        pid=number,
        weight=0.5,
        held=0,
        most=4,
        since=moment,
        stopped=number == 1,
        waits=[wait],
    )


def test_a_terminal_is_redrawn_until_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a terminal with room for six runs, and looks of which the third is cut short
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("LINES", "10")
    monkeypatch.setattr("pydag_gcp.top.INTERVAL", 0.0)
    looks = iter([Census(size=None, runs=()), Census(size=4, runs=[resident(number) for number in range(1, 9)])])

    def look() -> Census:
        try:
            return next(looks)
        except StopIteration:
            raise KeyboardInterrupt from None

    # When it is followed
    screen = Screen()
    follow(look, screen)
    # Then every look was drawn, and the screen is as it was before
    text = " ".join(screen.getvalue().split())
    assert "no run is in the pool" in text
    assert "0 of 4 processors held by 8 runs, 16 tasks wait" in text
    assert "2 tasks for 1.2 s; stopped" in text
    assert "run6" in text
    assert "run7" not in text
    assert "and 2 runs more" in text
    assert "pipeline1\\x1b[2J" in text, "names drive no terminal"
    assert screen.getvalue().endswith("\x1b[?1049l")


def test_as_a_command_it_ends_well_with_ctrl_c(pool: Path) -> None:
    master, slave = os.openpty()
    command = [str(Path(sys.executable).with_name("pydag")), "top"]
    environment = {**os.environ, "TERM": "xterm"}
    with reaped(subprocess.Popen(command, stdout=slave, stderr=slave, env=environment)) as process:
        os.close(slave)
        seen = b""
        while b"no run" not in seen:
            seen += os.read(master, 1000)
        process.send_signal(signal.SIGINT)
        try:
            while data := os.read(master, 1000):
                seen += data
        except OSError:  # the terminal is gone with its last process
            pass
        assert process.wait() == 0
    os.close(master)
    assert b"Traceback" not in seen


def test_the_document_is_json(busy: tuple[Share, Share]) -> None:
    assert busy
    assert json.loads(json.dumps(take_census().to_json()))["runs"][0]["run_id"] == "k7m2"
