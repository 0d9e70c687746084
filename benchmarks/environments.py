"""The environments of the peers: one virtual environment each, made when it is needed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from report import progress

FOLDER: Final = Path(__file__).parent.parent / "build" / "peers"

#: Peer -> what is installed. The server of prefect does not start with a later fastapi than that.
PINNED: Final[Mapping[str, tuple[str, ...]]] = {
    "dask": ("dask==2026.8.0",),
    "luigi": ("luigi==3.8.1",),
    "prefect": (
        "prefect==3.8.8",
        "fastapi==0.139.0",
    ),
    "dagster": ("dagster==1.13.29",),
}


class Unavailable(RuntimeError):
    """A peer cannot be installed or does not work; the message is the last thing that was said about it."""


def interpreter(peer: str) -> Path:
    """Return the Python of a peer's environment, which is made if it is not there.

    Raises:
        Unavailable: It could not be installed.
    """
    folder = FOLDER / peer
    python, stamp = folder / "bin" / "python", folder / "installed.txt"
    wanted = "\n".join(PINNED[peer])
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    progress(f"{peer}: installing {' '.join(PINNED[peer])}")
    called(sys.executable, "-m", "venv", "--clear", str(folder))
    called(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PINNED[peer])
    stamp.write_text(wanted, encoding="utf-8")
    return python


def called(*command: str, seconds: float = 900) -> str:
    """Run a command and return what it prints.

    Raises:
        Unavailable: It failed, or took longer than ``seconds``.
    """
    pipe = subprocess.PIPE
    # In a session of its own: what it has started, such as a server, ends with it.
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True) as process:
        try:
            printed, complained = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise Unavailable(f"took longer than {seconds:g} s") from None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode:
        said = [line for line in (complained or printed).splitlines() if line.strip()]
        raise Unavailable(said[-1][:200] if said else f"exit code {process.returncode}")
    return printed
