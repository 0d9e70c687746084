"""The examples of docs/tasks.md that need no cloud are run."""

from __future__ import annotations

from pathlib import Path

import pytest

from pydag_gcp import loader
from pydag_gcp.states import RunState
from tests.test_docs import ROOT, Block, blocks_of

PAGE = ROOT / "docs" / "tasks.md"
LOCAL = [block for block in blocks_of(PAGE) if block.language == "python" and "pydag_gcp.operators" not in block.text]


@pytest.mark.parametrize("block", LOCAL, ids=str)
def test_examples_run(block: Block, project: Path) -> None:
    file = project / "example.py"
    file.write_text(block.text)
    assert loader.load(file).run().raise_for_state().state is RunState.SUCCESS


def test_there_are_examples() -> None:
    assert len(LOCAL) >= 2
