"""pydag-gcp, driven as its peers are: ``DAG.run`` on a store that knows the durations of earlier runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import ours
from peer_driver import main
from shapes import WORKERS, Shape


def prepare(shape: Shape, _folder: Path) -> Callable[[], object]:
    """Make its DAG."""
    dag = ours.build(shape)
    return lambda: dag.run(max_processors=WORKERS).raise_for_state()


if __name__ == "__main__":
    with ours.home():
        main("pydag-gcp", prepare)
