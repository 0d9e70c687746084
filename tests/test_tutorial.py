"""The tutorial, done as it says: its files written, its commands run, one after another."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

TUTORIAL = Path(__file__).parent.parent / "docs" / "tutorial.md"
_STEP = re.compile(
    r"(?:^File `(?P<file>[^`]+)`:\n\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)


def steps() -> Iterator[tuple[str | None, str, str]]:
    """File name, language and text of every block, in order."""
    for found in _STEP.finditer(TUTORIAL.read_text(encoding="utf-8")):
        yield found["file"], found["language"], found["text"]


def write(folder: Path, name: str, text: str) -> None:
    """Make a file of the tutorial."""
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def do(folder: Path, line: str) -> None:
    """Run a command of the tutorial; a comment says what exit code it has, if it is not 0."""
    words, expected = shlex.split(line.removeprefix("$ "), comments=True), re.search(r"# exit (\d+)", line)
    program = Path(sys.executable).with_name(words[0])
    ended = subprocess.run(
        [program, *words[1:]], cwd=folder, env=os.environ, capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == int(expected[1] if expected else 0), f"{line}\n{ended.stdout}{ended.stderr}"
    assert "Traceback" not in ended.stderr


@pytest.mark.slow
def test_the_tutorial_works_as_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYDAG_HOME", raising=False)
    try:
        for file, language, text in steps():
            if file is not None:
                write(tmp_path, file, text)
            elif language == "console":
                for line in text.splitlines():
                    do(tmp_path, line)

        exported = (tmp_path / ".pydag/local/buckets/shop-raw/totals/2022-01-31.csv").read_text()
        # Of four orders one has no amount; NL has one of at least 7, BE one.
        assert sorted(exported.splitlines()[1:]) == ["BE,7,1,4", "NL,10.5,1,4"]
    finally:
        subprocess.run([Path(sys.executable).with_name("pydag"), "local", "down"], cwd=tmp_path, check=False)
