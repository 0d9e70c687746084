"""A terminal, in which commands run one after another in this process."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from pydag_gcp import cli


class Terminal:
    """Runs commands, and reads what they print.

    Args:
        capfd: Catches that.
    """

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd = capfd

    def says(self, *args: str, code: int = 0) -> str:
        """What a command prints on stdout; if it is to fail and says why on stderr, that."""
        out, err = self._main(args, code)
        return err if code and err else out

    def document(self, *args: str, code: int = 0) -> Any:
        """What it prints with ``--json``."""
        return json.loads(self._main([*args, "--json"], code)[0])

    def _main(self, args: Sequence[str], code: int) -> tuple[str, str]:
        self._capfd.readouterr()
        found = cli.main(args)
        out, err = self._capfd.readouterr()
        assert found == code, err + out
        return out, err
