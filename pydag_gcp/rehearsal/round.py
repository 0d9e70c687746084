"""One round of a rehearsal: a run, one disturbance, resuming if need be, and a look at what is left."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydag_gcp.errors import RunFailed
from pydag_gcp.local.calls import Call
from pydag_gcp.rehearsal.boundary import Boundary
from pydag_gcp.rehearsal.cloud import ThrowAwayCloud
from pydag_gcp.rehearsal.disturbance import Disturbance
from pydag_gcp.rehearsal.process import Invocation, Process, Processes
from pydag_gcp.rehearsal.world import Observer, World

#: How often it is looked whether the call is there at which the process is to be killed, in seconds.
_LOOK_EVERY = 0.01
#: How long a run may take until it is known how long it should, in seconds.
_FIRST_LIMIT = 3600.0
#: Jobs that a run has left may end by themselves, for so long, in seconds.
_SETTLE = 5.0


@dataclass(frozen=True, kw_only=True)
class Command:
    """How the pipeline is run.

    Attributes:
        folder: The working folder: that of the project.
        arguments: Of ``pydag run``.
    """

    folder: Path
    arguments: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What came of a round.

    Attributes:
        world: What it left.
        calls: The calls it made.
        seconds: How long its runs took.
        reached: Whether the run came to the call that was to be disturbed.
    """

    world: World
    calls: tuple[Call, ...]
    seconds: float
    reached: bool = True


@dataclass(kw_only=True)
class Stage:
    """A throw-away cloud on which rounds are played, one after another.

    Attributes:
        cloud: The cloud.
        processes: Where processes come from.
        command: How the pipeline is run.
        observer: Who looks at what is left.
        limit: How long a run may take, in seconds.
    """

    cloud: ThrowAwayCloud
    processes: Processes
    command: Command
    observer: Observer
    limit: float = _FIRST_LIMIT

    def play(self, boundary: Boundary | None = None, disturbance: Disturbance | None = None) -> Seen:
        """Run the pipeline from the beginning, disturbed or not.

        Raises:
            RunFailed: A run ended badly, or not at all; says in one line why.
            LocalCloudError: The local cloud failed.
        """
        self.cloud.begin_again()
        remote = self.cloud.remote
        since = time.time()
        if boundary is not None and disturbance is not None:
            remote.fault(boundary.order(disturbance.fault))
        if disturbance is not None and disturbance.kills:
            if self._run_until_held():
                self._run("resume")
        else:
            self._run("run", *self.command.arguments)
        seconds = time.time() - since
        calls = tuple(remote.calls())
        world = self._settled(since)
        reached = boundary is None or any(call.fault for call in calls)
        return Seen(world=world, calls=calls, seconds=seconds, reached=reached)

    def _run_until_held(self) -> bool:
        """Run until the local cloud holds the call, and kill the process; False if it ended well before."""
        process = self._start("run", *self.command.arguments)
        deadline = time.monotonic() + self.limit
        while process.wait(_LOOK_EVERY) is None and time.monotonic() < deadline:
            if self.cloud.remote.held():
                process.kill()
                self.cloud.remote.release()
                return True
        self._finish(process, "run")
        return False

    def _run(self, *words: str) -> None:
        self._finish(self._start(*words), words[0])

    def _start(self, *words: str) -> Process:
        return self.processes.start(
            Invocation(
                arguments=[*words, "--json"],
                folder=self.command.folder,
                environment=self.cloud.environment(),
                out=self._output("out"),
                err=self._output("err"),
            )
        )

    def _finish(self, process: Process, what: str) -> None:
        code = process.wait(self.limit)
        if code is None:
            process.kill()
            self.cloud.remote.clear()
            raise RunFailed(f"`pydag {what}` did not end within {self.limit:.0f} s")
        if code:
            raise RunFailed(f"`pydag {what}` ended with exit code {code}: {self._why()}")

    def _why(self) -> str:
        """The errors that a process told of, in one line."""
        with suppress(ValueError):
            document: Mapping[str, Any] = json.loads(self._output("out").read_bytes())
            tasks = document.get("tasks") or {}
            errors = [f"task {name}: {task['error']}" for name, task in tasks.items() if task.get("error")]
            return "; ".join(errors) or str(document.get("error") or document.get("state"))
        lines = self._output("err").read_text("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def _output(self, name: str) -> Path:
        return self.cloud.home / f"rehearsal.{name}"

    def _settled(self, since: float) -> World:
        deadline = time.monotonic() + _SETTLE
        while True:
            world = self.observer.look(since)
            if not world.running or time.monotonic() > deadline:
                return world
            time.sleep(0.1)
