"""What holds for every broken definition, whatever its form."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from pydag_gcp import cli

Refused = Callable[..., str]


@pytest.fixture
def refused(project: Path, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Give a definition to `pydag`; it must end with exit code 2, one line that names the file, and nothing else."""

    def check(file: str, message: str, *, command: str = "validate") -> str:
        before = set(project.rglob("*"))
        code = cli.main([command, file])
        said = capsys.readouterr()

        lines = said.err.splitlines()
        assert code == 2, said
        assert lines[0].startswith(f"error: {file}"), said.err
        assert re.search(message, lines[0]), lines[0]
        assert all(line.startswith("  ") for line in lines[1:]), said.err
        assert len(lines) in (1, 3), said.err
        assert len(lines) == 1 or set(lines[2].strip()) == {"^"}, said.err
        assert said.out == ""
        assert "Traceback" not in said.err
        assert set(project.rglob("*")) == before, "something in the definition was executed"
        return said.err

    return check
