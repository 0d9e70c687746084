"""``python pipeline.py``: a mistake in the definition is one line and exit code 2 there too."""

from __future__ import annotations

import sys
import traceback
from types import TracebackType

from pydag_gcp.errors import DefinitionError, PydagError, SettingsError, place


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

        say(_placed(error, file))
        raise SystemExit(error.exit_code)  # Python ends with the code of this

    hook.tells_mistakes = True  # type: ignore[attr-defined]
    sys.excepthook = hook


def _placed(error: PydagError, file: str) -> PydagError:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    error.where = error.where or place(file=file, line=lines[-1] if lines else None)
    return error
