"""Several pipelines in one process: all at once, each with its own end, none without a signal that comes."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pydag_gcp.signals import handled, relayed
from tests.conftest import reaped
from tests.test_cli import PYDAG, document, on_a_terminal, one_error, pydag, write

pytestmark = pytest.mark.usefixtures("project")

STYLE = re.compile(r"\x1b\[[\d;]*m")

#: Its second task waits for a file that nobody makes, or another pipeline; then it fails, or not.
PIPELINE = """
    import time
    from pathlib import Path
    from pydag_gcp import DAG, Operator

    class Step(Operator):
        makes: str = ""
        awaits: str = ""

        def execute(self, ctx):
            Path(self.makes or "nothing").touch()
            while self.awaits and not Path(self.awaits).exists():
                time.sleep(0.01)
            if self.awaits and "{{ dag_id }}" == "broken":
                raise ValueError("no quota")

    with DAG("{{ dag_id }}") as dag:
        first = Step(task_id="first", makes="{{ dag_id }}.began")
        work = Step(task_id="work", awaits="{{ awaits }}")
        clean = Step(task_id="clean", makes="{{ dag_id }}.cleaning", awaits="{{ clean }}", teardown_of=first)
        first >> work >> clean
"""


def waiting(name: str, awaits: str = "", clean: str = "") -> str:
    """A pipeline that goes on once a file is there."""
    return str(write(f"{name}.py", PIPELINE, dag_id=name, awaits=awaits, clean=clean))


def until(*files: str) -> None:
    """Wait until these files are there."""
    deadline = time.monotonic() + 30
    while not all(Path(file).exists() for file in files):
        assert time.monotonic() < deadline, files
        time.sleep(0.01)


@contextmanager
def running(*args: str) -> Iterator[subprocess.Popen[str]]:
    """A command in the background, whose document is asked for."""
    command = [*PYDAG, *args, "--json"]
    with reaped(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)) as process:
        yield process


def ended(process: subprocess.Popen[str]) -> tuple[int, Sequence[dict[str, Any]]]:
    """The exit code of a command, and what came of its runs."""
    out, err = process.communicate(timeout=30)
    assert out, err
    found = json.loads(out)
    assert found["exit_code"] == process.returncode
    return process.returncode, found["runs"]


def test_pipelines_run_at_the_same_time_and_the_first_that_fails_counts() -> None:
    # Given pipelines that wait for each other
    files = waiting("left", "right.began"), waiting("broken", "left.began"), waiting("right", "left.began")
    # When
    done = pydag("run", *files, "--json")
    # Then each came to its own end, and is told in the order given
    runs = document(done)["runs"]
    assert isinstance(runs, list)
    assert [(run["dag_id"], run["state"], run["exit_code"]) for run in runs] == [
        ("left", "success", 0),
        ("broken", "failed", 1),
        ("right", "success", 0),
    ]
    assert done.returncode == document(done)["exit_code"] == 1
    # and every line names its DAG
    lines = [line.split(" ", 1)[1] for line in done.stderr.splitlines() if line[2:3] == ":"]
    assert "broken: work failed" in "\n".join(lines)
    assert all(line.split(": ")[0] in ("left", "broken", "right") for line in lines)


def test_one_dag_given_twice_is_refused() -> None:
    one, other = waiting("daily"), write("copy.py", Path(waiting("daily")).read_text())
    error = one_error(pydag("run", one, str(other)))
    assert error.startswith("DAG 'daily' is given twice: ")
    assert "daily.py and " in error
    assert "run them one after another" in error
    assert not Path(".pydag").exists()


def test_one_that_is_refused_stops_no_other() -> None:
    # Given a pipeline of which a run is active
    held = waiting("held", "enough")
    with running("run", held) as process:
        until("held.began")
        # When it is run with another one
        code, runs = 1, pydag("run", waiting("free"), held, "--json")
        Path("enough").touch()
        process.communicate(timeout=30)
    # Then the other one does what it should
    found = document(runs)["runs"]
    assert isinstance(found, list)
    assert runs.returncode == code
    assert found[0]["state"] == "success"
    assert "of DAG held on target local is active" in found[1]["error"]
    assert "error: held: run " in runs.stderr


def test_ctrl_c_reaches_all_and_a_second_one_leaves_at_once() -> None:
    # Given runs whose teardowns take long
    names = "a", "b"
    with running("run", *(waiting(name, "never", "never") for name in names)) as process:
        until("a.began", "b.began")
        # When, then the first one cancels them and cleans up
        process.send_signal(signal.SIGINT)
        until("a.cleaning", "b.cleaning")
        # and the second one leaves all that
        process.send_signal(signal.SIGINT)
        code, runs = ended(process)
    assert code == 130
    assert [(run["state"], run["tasks"]["work"]["state"]) for run in runs] == [("interrupted", "cancelled")] * 2


def test_sigterm_reaches_all() -> None:
    with running("run", waiting("a", "never"), waiting("b", "never")) as process:
        until("a.began", "b.began")
        process.send_signal(signal.SIGTERM)
        code, runs = ended(process)
    assert code == 130
    assert [run["state"] for run in runs] == ["interrupted"] * 2


def test_each_run_goes_on_after_the_process_was_killed() -> None:
    # Given two runs
    with running("run", waiting("a", "enough"), waiting("b", "enough")) as process:
        until("a.began", "b.began")
        # When
        process.kill()
    # Then each of them can be resumed
    Path("enough").touch()
    resumed = [document(pydag("resume", "--json")) for _ in range(2)]
    assert sorted(str(run["dag_id"]) for run in resumed) == ["a", "b"]
    assert [run["state"] for run in resumed] == ["success"] * 2


def test_a_run_that_only_waits_for_another_ends_with_a_signal() -> None:
    # Given two pipelines, of which one waits for a run in another process
    held = waiting("held", "enough")
    with running("run", held) as other:
        until("held.began")
        with running("run", waiting("b", "never"), held, "--wait") as process:
            until("b.began")
            # When
            process.send_signal(signal.SIGINT)
            code, runs = ended(process)
        Path("enough").touch()
        other.communicate(timeout=30)
    # Then it does not wait any longer
    assert code == 130
    assert runs[0]["state"] == "cancelled"
    assert (runs[1]["error"], runs[1]["exit_code"]) == ("interrupted", 130)


def test_on_a_terminal_there_is_a_block_for_each_and_then_a_table_for_each() -> None:
    files = waiting("left", "late"), waiting("right", "late")

    def a_second_later() -> None:
        until("left.began", "right.began")
        time.sleep(1)
        Path("late").touch()

    later = threading.Thread(target=a_second_later)
    later.start()
    code, written = on_a_terminal("run", *files, environ={"NO_COLOR": "1"})
    later.join()
    assert code == 0
    assert re.search(r"left [\d.]+ s: 1 of 3 ended, 1 active", STYLE.sub("", written))
    for name in ("left", "right"):
        assert f"\r\n{name}\r\ntask " in STYLE.sub("", written)
    assert written.rfind("\x1b[?25h") > written.rfind("\x1b[?25l")


# signals -----------------------------------------------------------------------------------------------------------


def test_a_signal_in_a_thread_is_one_that_was_relayed() -> None:
    heard = list[int]()
    with relayed() as relay, relay.handled(heard.append):
        signal.raise_signal(signal.SIGTERM)
    assert heard == [signal.SIGTERM]


def test_what_did_not_begin_before_the_signal_does_not_begin() -> None:
    with relayed():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt), handled(lambda _: None):
            pytest.fail("it began")


def test_a_thread_of_its_own_hears_no_signals() -> None:
    heard, inside, over = list[int](), threading.Event(), threading.Event()

    def drive() -> None:
        with handled(heard.append):
            inside.set()
            over.wait(10)

    thread = threading.Thread(target=drive)
    with relayed() as relay:
        thread.start()
        inside.wait(10)
        assert not relay.drives
        signal.raise_signal(signal.SIGINT)
        over.set()
        thread.join()
    assert heard == []
