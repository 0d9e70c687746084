"""The throw-away local cloud of a rehearsal: a copy of the project's, put back to its beginning before each round."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pydag_gcp.errors import LocalCloudError
from pydag_gcp.gcp import Clients, Endpoints, Target
from pydag_gcp.local import copies, daemon
from pydag_gcp.local.remote import Remote

#: It ends by itself if the rehearsal is killed, in seconds after the last call.
_IDLE = 300.0
#: Variables that would lead a run elsewhere, or let it find what others know.
_FOREIGN = ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT")


def copied(project_home: Path, seed: Path | None, folder: Path) -> Path:
    """Make the data that every round begins with; return their folder.

    Args:
        project_home: The local cloud of the project, which is copied; if a seed is given, only its secrets are.
        seed: A folder whose sub-folders are buckets.
        folder: Where to work.

    Raises:
        LocalCloudError: The data cannot be copied, or the project's local cloud cannot be stopped.
    """
    copy = folder / "beginning"
    if seed is not None:
        copies.plant(seed, copy, secrets_of=project_home)
        return copy
    daemon.down(project_home)  # its files are whole only then; it starts again when it is needed
    copies.take(project_home, copy)
    return copy


class ThrowAwayCloud:
    """A local cloud, and the home of the runs that use it.

    Args:
        home: Stands for the project's ``.pydag``; the local cloud is in its folder ``local``.
        beginning: The data that each round begins with.
        target: Where runs of the pipeline go; only what it calls the project matters.
    """

    def __init__(self, home: Path, beginning: Path, target: Target) -> None:
        self.home = home
        found = daemon.up(home / "local", copy_of=beginning, idle=_IDLE)
        endpoints = Endpoints(bigquery=found.bigquery, storage=found.storage, dataproc=found.dataproc)
        self.buckets = Path(found.buckets)
        self.clients = Clients(Target(name=target.name, project=target.project, endpoints=endpoints))
        self.remote = Remote(found.bigquery)

    def begin_again(self) -> None:
        """Put everything back to the beginning, and forget the runs.

        Raises:
            LocalCloudError: It cannot.
        """
        self.remote.close()
        daemon.put_back(self.home / "local")
        for entry in self.home.iterdir():
            if entry.name == "local":
                continue
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()

    def environment(self) -> Mapping[str, str]:
        """The variables of runs that use it, whatever the user's own say."""
        mine = {name: value for name, value in os.environ.items() if not name.endswith("_EMULATOR_HOST")}
        for name in _FOREIGN:
            mine.pop(name, None)
        return {
            **mine,
            "PYDAG_HOME": str(self.home),
            "PYDAG_STORE": f"sqlite:///{self.home / 'pydag.db'}",
            "PYDAG_CACHE": "none",
            "PYDAG_TARGET": "local",
            "PYDAG_LOG_FORMAT": "text",
        }

    def close(self) -> None:
        """Stop it."""
        self.remote.close()
        self.clients.close()
        daemon.down(self.home / "local")


@contextmanager
def thrown_away(home: Path, beginning: Path, target: Target) -> Iterator[ThrowAwayCloud]:
    """A local cloud for as long as it is needed.

    Raises:
        LocalCloudError: It cannot be started.
    """
    try:
        cloud = ThrowAwayCloud(home, beginning, target)
    except LocalCloudError:
        daemon.down(home / "local")
        raise
    try:
        yield cloud
    finally:
        cloud.close()
