"""The processes of a rehearsal: each is a real ``pydag`` that can be killed, and starts in no time.

Most of what a ``pydag run`` of a second does is to import Google's clients. So one process imports them and waits; each
run is forked off it, begins where ``pydag`` begins, and has a session, working folder, variables and output of its own.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import IO, Any

from pydag_gcp.errors import LocalCloudError

#: What nearly every run imports sooner or later, beside our own modules. No channel is opened: gRPC must not be in use
#: when a process forks.
_IMPORTED = (
    "cronsim",
    "google.cloud.bigquery",
    "google.cloud.dataproc_v1",
    "google.cloud.storage",
    "sqlalchemy.dialects.sqlite",
    "sqlglot.dialects.bigquery",
    "sqlglot.optimizer",
    "sqlite3",
)
#: Of our own, what is no part of a run.
_LEFT_OUT = frozenset({"__main__", "testing"})


@dataclass(frozen=True, kw_only=True)
class Invocation:
    """What a process is to be.

    Attributes:
        arguments: The words after ``pydag``.
        folder: Its working folder.
        environment: All its variables.
        out: The file for its standard output.
        err: The file for its standard error.
    """

    arguments: Sequence[str]
    folder: Path
    environment: Mapping[str, str]
    out: Path
    err: Path


class Processes:
    """Starts processes, one after another."""

    def __init__(self) -> None:
        self._parent = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._last: Process | None = None
        self._closed = False

    def start(self, invocation: Invocation) -> Process:
        """Start a process; the one before has ended.

        Raises:
            LocalCloudError: It cannot be started.
        """
        told = {
            "arguments": list(invocation.arguments),
            "folder": str(invocation.folder),
            "environment": dict(invocation.environment),
            "out": str(invocation.out),
            "err": str(invocation.err),
        }
        source, sink = self._parent.stdout, self._parent.stdin
        if source is None or sink is None:
            raise AssertionError("both are pipes")
        if self._closed:
            raise LocalCloudError("no process is started any more: the rehearsal is over")
        try:
            sink.write(json.dumps(told).encode() + b"\n")
            sink.flush()
            self._last = Process(int(source.readline()), source)
        except (OSError, ValueError) as error:
            raise LocalCloudError(f"no process can be started for the rehearsal: {error}") from error
        return self._last

    def close(self) -> None:
        """End what runs, and what waits."""
        self._closed = True  # another thread would go on with the next one
        if self._last is not None:
            self._last.kill()
        self._parent.kill()
        self._parent.wait()
        for pipe in (self._parent.stdin, self._parent.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()


class Process:
    """A ``pydag`` that runs."""

    def __init__(self, pid: int, source: IO[bytes]) -> None:
        self.pid = pid
        self._source = source
        self._code: int | None = None
        # Who ends a rehearsal waits for what another thread waits for; only one of them finds the line.
        self._reading = threading.Lock()

    def wait(self, seconds: float) -> int | None:
        """Return its exit code, negative for a signal; None if it has not ended within so long."""
        if self._code is None:
            select.select([self._source], [], [], seconds)
        with self._reading:
            if self._code is None and select.select([self._source], [], [], 0)[0]:
                self._code = int(self._source.readline() or -signal.SIGKILL)
        return self._code

    def kill(self) -> None:
        """Kill it, with all that it has started, unless it has ended; return when it is gone."""
        if self._code is None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            deadline = time.monotonic() + 60.0
            while self.wait(1.0) is None and time.monotonic() < deadline:
                pass


def main() -> None:
    """Import what runs need, then fork one off for each line of standard input."""
    for name in (*_IMPORTED, *_own("pydag_gcp"), *_own("pydag_gcp.operators")):
        with suppress(ImportError):  # what an extra brings that is not installed
            import_module(name)
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    for line in sys.stdin.buffer:
        pid = os.fork()
        if not pid:
            answers.close()
            sys.exit(_be(json.loads(line)))
        answers.write(b"%d\n" % pid)
        _, status = os.waitpid(pid, 0)
        answers.write(b"%d\n" % os.waitstatus_to_exitcode(status))


def _own(package: str) -> list[str]:
    found = iter_modules(import_module(package).__path__)
    return [f"{package}.{module.name}" for module in found if not module.ispkg and module.name not in _LEFT_OUT]


def _be(told: Mapping[str, Any]) -> int:
    """Be a ``pydag`` as if just started; return the exit code."""
    os.setsid()
    os.chdir(told["folder"])
    os.environ.clear()
    os.environ.update(told["environment"])
    time.tzset()
    random.seed()
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    for target, name, how in ((0, os.devnull, os.O_RDONLY), (1, told["out"], flags), (2, told["err"], flags)):
        opened = os.open(name, how, 0o600)
        os.dup2(opened, target)
        os.close(opened)
    from pydag_gcp.cli import main as pydag

    return pydag(told["arguments"])


if __name__ == "__main__":
    main()
