"""``pydag graph``, ``runs``, ``show`` and ``logs``: what they print of real runs."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from pydag_gcp import loader
from pydag_gcp.history import History
from pydag_gcp.result import RunResult
from pydag_gcp.settings import load as load_settings
from tests.conftest import reaped
from tests.terminal import Terminal

PYDAG = str(Path(sys.executable).with_name("pydag"))

PIPELINE = """
    import time
    from pathlib import Path
    from pydag_gcp import DAG, Operator, Retry

    class Step(Operator):
        fails: int = 0
        waits_for: str = ""

        def execute(self, ctx):
            ctx.log.info("%s begins with password=hunter22", ctx.task_id)
            while self.waits_for and not Path(self.waits_for).exists():
                time.sleep(0.02)
            if ctx.try_number <= self.fails:
                raise ValueError("no quota")
            ctx.log.info("%s ends on %s", ctx.task_id, ctx.logical_date.isoformat())
            return ctx.logical_date.isoformat()

    with DAG("daily", retry=Retry(attempts=2, wait=0.01), schedule="0 6 * * *") as dag:
        Step(task_id="first", waits_for="{{ waits_for }}") >> [
            Step(task_id="second", fails=1), Step(task_id="third", fails=9)] >> Step(task_id="fourth")
"""


class Project(Terminal):
    """A terminal in a project with one pipeline."""

    def __init__(self, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
        super().__init__(capfd)
        self.folder = folder
        self.write()

    def write(self, waits_for: str = "") -> None:
        source = dedent(PIPELINE).replace("{{ waits_for }}", waits_for)
        (self.folder / "daily.py").write_text(source)

    def run(self) -> RunResult:
        return loader.load(self.folder / "daily.py").run()


@pytest.fixture
def daily(project: Path, capfd: pytest.CaptureFixture[str]) -> Project:
    return Project(project, capfd)


def until(condition: Any) -> None:
    """Wait for what another process does; a test that waits in vain is ended by its own timeout."""
    while not condition():
        time.sleep(0.02)


# graph ----------------------------------------------------------------------------------------------------------------


def test_the_graph_is_drawn_and_is_a_document(daily: Project) -> None:
    assert daily.says("graph", "daily.py").splitlines()[:4] == [
        "daily: 4 tasks, 4 edges", "", "○ first  Step", "├─╮",
    ]  # fmt: skip
    assert daily.document("graph", "daily.py")["tasks"]["fourth"] == {
        "operator": "Step",
        "upstream": ["second", "third"],
    }


def test_a_graph_goes_to_a_file_in_the_format_of_its_name(daily: Project) -> None:
    assert daily.says("graph", "daily.py", "-o", "daily.mmd") == ""
    assert Path("daily.mmd").read_text() == daily.says("graph", "daily.py", "--format", "mermaid")
    assert "nowhere/x.dot: cannot be written" in daily.says("graph", "daily.py", "-o", "nowhere/x.dot", code=2)
    assert "--json goes without" in daily.says("graph", "daily.py", "--json", "--format", "dot", code=2)


def test_inferred_edges_are_drawn(daily: Project) -> None:
    Path("inferred.py").write_text(
        dedent("""
        from pydag_gcp import DAG, Table
        from pydag_gcp.operators import BigQueryQuery

        with DAG("inferred", infer=True) as dag:
            BigQueryQuery(task_id="make", sql="CREATE OR REPLACE TABLE d.a AS SELECT 1 AS x")
            BigQueryQuery(task_id="use", sql="CREATE OR REPLACE TABLE d.b AS SELECT x FROM d.a")
        """)
    )
    assert daily.document("graph", "inferred.py")["tasks"]["use"]["upstream"] == ["make"]


# runs and show --------------------------------------------------------------------------------------------------------


def test_runs_are_listed_newest_first(daily: Project) -> None:
    # Given a run that failed and one that did not
    failed = daily.run()
    good = daily.document("run", "daily.py", "--only", "first")["run_id"]
    # Then both are told
    lines = daily.says("runs").splitlines()
    assert lines[0].split() == ["run", "dag", "target", "state", "logical", "date", "started", "duration"]
    assert [line.split()[:4] for line in lines[1:]] == [
        [good, "daily", "local", "success"],
        [failed.run_id, "daily", "local", "failed"],
    ]
    assert [run["run_id"] for run in daily.document("runs", "--state", "failed")["runs"]] == [failed.run_id]
    assert len(daily.document("runs", "--dag", "daily", "--limit", "1")["runs"]) == 1
    assert "no DAG 'dayly' has run in this project; did you mean 'daily'?" in daily.says(
        "runs", "--dag", "dayly", code=2
    )


def test_where_nothing_ran_that_is_said(daily: Project) -> None:
    assert daily.says("runs") == "no runs\n"
    assert daily.document("runs") == {"runs": []}
    assert "nothing has run in this project" in daily.says("show", code=2)


def test_a_run_is_shown_with_tries_errors_logs_and_chart(daily: Project) -> None:
    result = daily.run()
    text = daily.says("show", result.run_id[:6])
    lines = [line.rstrip() for line in text.splitlines()]
    logs = f".pydag/logs/daily/{result.run_id}"
    # Then the head, a row for every try, errors with their logs, and a chart of 100 characters tell of it
    assert lines[0] == f"run {result.run_id} of daily on local: failed"
    assert f"logs: {logs}" in lines
    table = [line.split()[:4] for line in lines[lines.index("") + 2 :][:6]]
    assert [row[:1] + row[2:3] for row in table if row[0] in result.tasks] == [
        ["first", "success"], ["second", "failed"], ["third", "failed"], ["fourth", "upstream_failed"],
    ]  # fmt: skip
    assert "third, try 2: ValueError: no quota" in lines
    assert f"  log: {logs}/third/2.log" in lines
    assert any(re.match("second +[·█┄]+2", line) for line in lines)  # the second try may be one character long
    assert re.fullmatch(r"run \w{12} failed: makespan .*, critical path .*", lines[-1])
    assert all(len(line) <= 100 for line in lines if "█" in line)


def test_a_run_as_a_document(daily: Project) -> None:
    result = daily.run()
    found = daily.document("show")
    assert (found["run_id"], found["state"], found["dag_id"]) == (result.run_id, "failed", "daily")
    assert list(found["tasks"]) == ["first", "second", "third", "fourth"]
    assert [one["state"] for one in found["tasks"]["second"]["tries"]] == ["failed", "success"]
    assert found["tasks"]["third"]["error"] == "ValueError: no quota"


def test_an_unknown_run_is_one_line_with_the_nearest(daily: Project) -> None:
    run_id = daily.document("run", "daily.py", "--only", "first")["run_id"]
    near = f"{run_id[:-1]}{'2' if run_id[-1] != '2' else '3'}"
    assert daily.says("show", near, code=2) == f"error: no run {near!r}; did you mean {run_id!r}?\n"


@pytest.mark.parametrize(
    ("given", "utc"),
    [
        ("2022-01-31", "2022-01-31T00:00:00+00:00"),
        ("2022-01-31T06:00:00", "2022-01-31T06:00:00+00:00"),
        ("2022-01-31T06:00:00Z", "2022-01-31T06:00:00+00:00"),
        ("2022-01-31T06:00:00+02:00", "2022-01-31T04:00:00+00:00"),
        ("2022-01-31T22:00:00-05:30", "2022-02-01T03:30:00+00:00"),
    ],
)
def test_a_logical_date_is_in_utc_from_the_option_to_the_history(daily: Project, given: str, utc: str) -> None:
    done = daily.document("run", "daily.py", "--only", "first", "--logical-date", given)
    assert (done["logical_date"], done["tasks"]["first"]["result"]) == (utc, utc)
    assert daily.document("show")["logical_date"] == utc
    assert utc.removesuffix("+00:00") in daily.says("runs")


@pytest.mark.parametrize("given", ["31.1.2022", "0001-01-01T00:00+14:00", "2022-02-30", "now"])
def test_a_date_that_is_none_is_refused(daily: Project, given: str) -> None:
    assert "expected a date such as 2022-01-31" in daily.says("run", "daily.py", "--logical-date", given, code=2)


# only and from --------------------------------------------------------------------------------------------------------


def test_a_part_of_a_pipeline_is_run_and_validated(daily: Project) -> None:
    assert list(daily.document("run", "daily.py", "--only", "second", "--only", "first")["tasks"]) == [
        "first",
        "second",
    ]
    assert daily.document("validate", "daily.py", "--from", "third")["pipelines"][0]["tasks"] == 2
    unknown = "no task 'secnd' in the DAG; did you mean 'second'?"
    for command in ("run", "validate"):
        assert unknown in daily.says(command, "daily.py", "--only", "secnd", code=2)


def test_validate_prints_warnings(daily: Project) -> None:
    warnings = daily.document("validate", "daily.py")["pipelines"][0]["warnings"]
    assert any("second" in warning and "races" in warning for warning in warnings)
    assert daily.says("validate", "daily.py") == "daily.py: ok (4 tasks)\n"


# logs -----------------------------------------------------------------------------------------------------------------


def heads(text: str) -> list[str]:
    return re.findall(r"^==> (.*) <==$", text, re.MULTILINE)


def test_logs_of_all_tries_come_in_order_without_secrets(daily: Project) -> None:
    result = daily.run()
    text = daily.says("logs")
    assert heads(text)[0] == "first, try 1: success"
    assert {"second, try 1: failed", "second, try 2: success", "third, try 2: failed"} <= set(heads(text))
    assert "hunter22" not in text
    assert "first begins with password=[redacted]" in text
    # And those of one task, or of one try
    assert heads(daily.says("logs", result.run_id[:6], "second")) == ["second, try 1: failed", "second, try 2: success"]
    assert heads(daily.says("logs", "second", "--try", "2")) == ["second, try 2: success"]
    # And as a document
    tries = daily.document("logs", "second")["tries"]
    assert [(one["try_number"], len(one["lines"]) > 1) for one in tries] == [(1, True), (2, True)]
    # And following a run that has ended is printing it
    assert sorted(daily.says("logs", "-f").split()) == sorted(text.split())


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["secnd"], "no run 'secnd', and no task of this name in the newest one; did you mean 'second'?"),
        (["zzz"], "no run 'zzz'; `pydag runs` lists them"),
        (["second", "--try", "7"], "task 'second' has no try 7; it has 1, 2"),
        (["fourth", "--try", "1"], "task 'fourth' has no try 1; it has not begun"),
        (["-f", "--json"], "--json goes without --follow"),
    ],
)
def test_what_has_no_logs_is_one_line(daily: Project, args: list[str], said: str) -> None:
    run_id = daily.run().run_id
    assert said in daily.says("logs", *args, code=2)
    assert "no task 'secnd' in this run; did you mean 'second'?" in daily.says("logs", run_id, "secnd", code=2)


# runs that go on ------------------------------------------------------------------------------------------------------


@pytest.fixture
def running(daily: Project) -> Iterator[subprocess.Popen[str]]:
    """A run whose first task waits for the file `go`."""
    daily.write(waits_for=str(daily.folder / "go"))
    command = [PYDAG, "run", "daily.py"]
    with reaped(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)) as process:
        until((daily.folder / ".pydag" / "pydag.db").exists)
        with History(load_settings(daily.folder)) as history:
            until(lambda: history.runs() and history.tries(history.find())["first"])
        try:
            yield process
        finally:
            process.kill()


def following(*args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [PYDAG, "logs", "-f", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    )


def test_a_run_is_followed_to_its_end(daily: Project, running: subprocess.Popen[str]) -> None:
    # Given somebody who follows a run, and somebody who follows a task that has not begun
    with reaped(following()) as everything, reaped(following("second")) as second:
        assert everything.stdout is not None
        assert everything.stdout.readline() == "==> first, try 1: running <==\n"
        # When the run goes on to its end
        (daily.folder / "go").touch()
        out, err = everything.communicate(timeout=60)
        task, _ = second.communicate(timeout=60)
    assert running.wait(timeout=60) == 1
    # Then they have seen it all, and end
    assert (everything.returncode, err, second.returncode) == (0, "", 0)
    assert "first ends on" in out
    assert "ValueError: no quota" in out
    assert len(heads(task)) == 2
    assert task.count("second begins") == 2
    assert "third" not in task


def test_ctrl_c_ends_following_quietly(running: subprocess.Popen[str]) -> None:
    with reaped(following()) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "")


def test_a_killed_run_is_shown_as_interrupted(daily: Project, running: subprocess.Popen[str]) -> None:
    run_id = daily.document("runs", "--state", "running")["runs"][0]["run_id"]
    assert f"process {running.pid} on" in daily.says("show")
    # When its process is killed while somebody follows it
    with reaped(following()) as process:
        assert process.stdout is not None
        process.stdout.readline()
        os.kill(running.pid, signal.SIGKILL)
        # Then following ends, also before anybody has waited for the process
        process.communicate(timeout=60)
    assert process.returncode == 0
    # And it is interrupted wherever it is told of
    assert running.wait(timeout=60) == -signal.SIGKILL
    assert [run["run_id"] for run in daily.document("runs", "--state", "interrupted")["runs"]] == [run_id]
    assert daily.document("runs", "--state", "running") == {"runs": []}
    found = daily.document("show")
    assert (found["state"], found["ended"], found["seconds"]) == ("interrupted", None, None)
    assert daily.says("show").startswith(f"run {run_id} of daily on local: interrupted\n")
