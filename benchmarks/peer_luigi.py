"""luigi: its local scheduler, tasks with a file each as target, as luigi knows by targets alone what is done.

With one worker it runs tasks in its own process, which is its fastest way for tasks that do nothing; with several it
forks one process a task. https://luigi.readthedocs.io/en/stable/execution_model.html
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import luigi
from peer_driver import main
from shapes import WORKERS, Shape

#: The shape that is being run, and where its targets lie; forked workers have them, too.
_running: list[tuple[Shape, Path]] = []


class Work(luigi.Task):
    """Sleeps, or does nothing."""

    name = luigi.Parameter()
    folder = luigi.Parameter()

    def requires(self) -> list[luigi.Task]:
        """Its upstreams."""
        shape, _ = _running[-1]
        return [Work(name=other, folder=self.folder) for other in shape.upstream[self.name]]

    def output(self) -> luigi.Target:
        """An empty file."""
        return luigi.LocalTarget(str(Path(self.folder) / self.name))

    def run(self) -> None:
        """Do it."""
        shape, folder = _running[-1]
        seconds = shape.seconds(self.name)
        if seconds:
            time.sleep(seconds)
        (folder / self.name).touch()


class All(luigi.WrapperTask):
    """The one task that is asked for: for each of several luigi would go through all upstreams again."""

    folder = luigi.Parameter()

    def requires(self) -> list[luigi.Task]:
        """The tasks that no other waits for."""
        shape, _ = _running[-1]
        waited_for = {other for above in shape.upstream.values() for other in above}
        return [Work(name=name, folder=self.folder) for name in shape.upstream if name not in waited_for]


def prepare(shape: Shape, folder: Path) -> Callable[[], object]:
    """Make its tasks; they know the folder, or luigi would take them for those of the turn before."""
    _running.append((shape, folder))
    task = All(folder=str(folder))
    workers = WORKERS if shape.sleeps else 1

    def run() -> None:
        if not luigi.build([task], workers=workers, local_scheduler=True, log_level="CRITICAL"):
            raise SystemExit("error: luigi failed")

    return run


if __name__ == "__main__":
    main("luigi", prepare)
