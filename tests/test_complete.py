"""What a shell offers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from textwrap import dedent

import pytest
from click.shell_completion import ShellComplete

from pydag_gcp import cli, loader, settings
from pydag_gcp.states import RunState
from pydag_gcp.store import Store

PYDAG = Path(sys.executable).with_name("pydag")

PIPELINE = """
    from pydag_gcp import DAG, Operator, task

    class Step(Operator):
        def execute(self, ctx):
            return None

    @task
    def first(): ...

    @task.branch(retry=None)
    def second(): ...

    @staticmethod
    def helper(): ...

    with DAG("daily") as dag:
        Step(task_id="third")
"""


def offered(*words: str) -> list[str]:
    """What is offered for the last word."""
    *before, typed = words
    found = ShellComplete(cli.pydag, {}, "pydag", "_PYDAG_COMPLETE").get_completions(before, typed)
    return [item.value for item in found]


@pytest.fixture(autouse=True)
def _files(project: Path) -> None:
    (project / "pipelines").mkdir()
    (project / "notes.txt").touch()
    (project / "daily.py").write_text(dedent(PIPELINE))
    (project / "pipelines" / "hourly.yaml").write_text("dag: hourly\ntasks:\n  load: {operator: X}\n  check: {}\n")
    (project / "pipelines" / "old.json").write_text('{"dag": {"dag_id": "old", "tasks": [{"task_id": "one"}, 7]}}')


def test_commands_and_options_are_offered() -> None:
    assert {"resume", "run", "runs"} <= set(offered("r"))
    assert offered("cache", "") == ["clear", "ls"]
    assert offered("run", "daily.py", "--lo") == ["--logical-date", "--log-format"]
    assert offered("graph", "--format", "") == ["text", "mermaid", "dot", "svg"]
    assert offered("completion", "") == ["bash", "zsh", "fish"]


def test_pipelines_are_offered_as_files_and_by_name() -> None:
    assert offered("run", "") == ["daily.py", "hourly", "old", "pipelines/"]
    assert offered("validate", "pipelines/") == ["pipelines/hourly.yaml", "pipelines/old.json"]
    assert offered("graph", "nowhere/") == []


@pytest.mark.parametrize(
    ("pipeline", "typed", "expected"),
    [
        ("daily.py", "", {"first", "second", "third"}),
        ("daily.py", "th", {"third"}),
        ("hourly", "", {"load", "check"}),
        ("pipelines/old.json", "", {"one"}),
        ("nowhere.py", "", set()),
    ],
)
def test_tasks_are_offered_without_executing_anything(pipeline: str, typed: str, expected: set[str]) -> None:
    with Path("daily.py").open("a") as file:
        file.write("raise SystemExit('executed')\n")
    for command, option in (("run", "--only"), ("plan", "--from"), ("cache clear", "--task")):
        assert set(offered(*command.split(), pipeline, option, typed)) == expected


@pytest.mark.parametrize("text", ["def broken(", "\0", "x = " + "(" * 5000])
def test_a_broken_pipeline_offers_nothing(text: str) -> None:
    Path("daily.py").write_text(text)
    assert offered("run", "daily.py", "--only", "") == []


def test_runs_and_their_tasks_are_offered() -> None:
    assert offered("show", "") == []
    assert offered("logs", "abc", "") == []
    (Path("steps.py")).write_text(
        "from pydag_gcp import DAG, Operator\n"
        "class Step(Operator):\n    def execute(self, ctx):\n        return 1\n"
        "with DAG('steps') as dag:\n    Step(task_id='one') >> Step(task_id='two')\n"
    )
    run_id = loader.load(Path("steps.py")).run().run_id
    assert offered("show", run_id[:3]) == [run_id]
    assert offered("logs", "") == [run_id]
    assert offered("logs", run_id, "t") == ["two"]
    # One that has ended well is none to go on with
    assert offered("resume", "") == offered("cancel", "") == offered("run", "--retry-failed", "") == []
    with Store(settings.load().store_url) as store:
        store.end_run(run_id, RunState.FAILED, at=datetime.now(UTC))
        assert offered("run", "--retry-failed", "") == [run_id]
        store.end_run(run_id, RunState.INTERRUPTED, at=datetime.now(UTC))
    assert offered("resume", "") == offered("cancel", "") == [run_id]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_has_a_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert f"_PYDAG_COMPLETE={shell}_complete" in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True)


def test_bash_completes(project: Path) -> None:
    # Given a shell that has read the script
    script = dedent(f"""
        eval "$({PYDAG} completion bash)"
        COMP_WORDS=(pydag run daily.py --only th) COMP_CWORD=4
        _pydag_completion {PYDAG}
        echo "${{COMPREPLY[@]}}"
    """)
    # When the tab key is pressed, then it offers the task
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=os.environ, check=True)
    assert (done.stdout, done.stderr) == ("third\n", "")
