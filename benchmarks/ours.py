"""The shapes as pipelines of pydag-gcp: made, planned and run as a user's are, with the store on and a listener."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shapes import WORKERS, Shape

from pydag_gcp import DAG, task

if TYPE_CHECKING:
    from pydag_gcp.events import Listener
    from pydag_gcp.planner import Plan

ROOT = Path(__file__).parent.parent
#: Where everything that is measured lies: on the disk of the checkout, as temporary folders may be memory.
BUILD = ROOT / "build" / "benchmarks"


@task
def noop() -> None:
    """Do nothing."""


@task
def nap(seconds: float) -> None:
    """Sleep."""
    time.sleep(seconds)


@contextmanager
def home() -> Iterator[Path]:
    """A new ``.pydag`` for this process and those that it starts, with a pool of processors that nobody else shares."""
    BUILD.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=BUILD) as folder,
        tempfile.TemporaryDirectory() as runtime,
        environment(PYDAG_HOME=folder, PYDAG_PROCESSORS=str(WORKERS), XDG_RUNTIME_DIR=runtime),
    ):
        yield Path(folder)


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Set variables for this process and those that it starts; put back what was there before."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def build(shape: Shape, work: Callable[[float], Any] | None = None) -> DAG:
    """Make a DAG of a shape.

    Args:
        shape: Its tasks and edges.
        work: Makes a task that takes so many seconds; default: one that sleeps, or does nothing.
    """
    make = work or (lambda seconds: nap(seconds) if seconds else noop())
    with DAG(f"{shape.name}-{len(shape.upstream)}") as dag:
        made = {name: make(shape.seconds(name)) for name in shape.upstream}
        for name, above in shape.upstream.items():
            for other in above:
                made[other] >> made[name]
    return dag


def plan(dag: DAG) -> Plan:
    """Check and plan a DAG, as :meth:`DAG.run` does first."""
    from pydag_gcp import planner, settings

    return planner.plan(dag, settings.load(dag.file))


def execute(plan: Plan, listener: Listener) -> None:
    """Run what is planned, as :meth:`DAG.run` does then, with somebody who listens.

    Raises:
        RunFailed: A task failed, so there is nothing to measure.
    """
    from pydag_gcp.executor import execute

    execute(plan, max_processors=WORKERS, listeners=[listener]).raise_for_state()
