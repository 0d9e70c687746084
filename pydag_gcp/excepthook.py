"""``python pipeline.py``: a mistake in the definition is one line and exit code 2 there too."""

from __future__ import annotations

import sys
from types import TracebackType

from pydag_gcp.errors import DefinitionError, SettingsError, place
from pydag_gcp.source import line_in


def install(file: str) -> None:
    """Tell definition errors in one line, if ``file`` is the script that Python runs; all else goes on as it was.

    Args:
        file: Where something was defined.
    """
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    interactive = sys.flags.interactive or hasattr(sys, "ps1")
    if file != main or interactive or getattr(sys.excepthook, "tells_mistakes", False):
        return
    others = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not isinstance(error, (DefinitionError, SettingsError)):
            others(kind, error, trace)
            return
        from pydag_gcp.cli_exit import say

        error.where = error.where or place(file=file, line=line_in(file, error))
        say(error)
        raise SystemExit(error.exit_code)  # Python ends with the code of this

    hook.tells_mistakes = True  # type: ignore[attr-defined]  # so that it is installed once
    sys.excepthook = hook
