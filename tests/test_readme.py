"""The README's pipeline and commands, run as they are written."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A .pydag of its own, with our commands on PATH; afterwards its local cloud is down."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    given = {**os.environ, "PYDAG_HOME": str(tmp_path / ".pydag"), "PATH": path}
    yield given
    subprocess.run(["pydag", "local", "down"], env=given, check=True, capture_output=True)


def run(command: list[str], environment: dict[str, str]) -> str:
    ended = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, f"{shlex.join(command)}\n{ended.stdout}{ended.stderr}"
    return ended.stdout


def test_it_opens_with_the_promise_a_short_pipeline_and_two_commands() -> None:
    opening = README[: README.index("## ")]
    (pipeline,) = re.findall(r"```python\n(.*?)```", opening, re.DOTALL)
    (console,) = re.findall(r"```console\n(.*?)```", opening, re.DOTALL)

    assert "Your GCP pipeline is one Python file." in opening
    assert len(pipeline.splitlines()) <= 25
    assert re.findall(r"^\$ (make \w+)", console, re.MULTILINE) == ["make run", "make test"]


def test_the_pipeline_runs(environment: dict[str, str], tmp_path: Path) -> None:
    (pipeline,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    file = tmp_path / "sales.py"
    file.write_text(pipeline)

    run(["pydag", "local", "up", "--seed", "pipelines/data"], environment)
    output = run([sys.executable, str(file)], environment)

    assert re.search(r"total +success", output)


@pytest.mark.spark
def test_the_local_cloud_commands_run(environment: dict[str, str]) -> None:
    section = README[README.index("## The local cloud") : README.index("## A real project")]
    (console,) = re.findall(r"```console\n(.*?)```", section, re.DOTALL)

    for line in console.splitlines():
        run(shlex.split(line.removeprefix("$ ")), environment)
