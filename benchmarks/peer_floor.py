"""The floor, driven as the peers are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import sleep

import floor
from peer_driver import main
from shapes import Shape


def prepare(shape: Shape, _folder: Path) -> Callable[[], object]:
    """Make its work: a sleep, or nothing."""
    return lambda: floor.run(shape.upstream, lambda task: sleep(shape.seconds(task)) if shape.sleeps else None)


if __name__ == "__main__":
    main("pydag-gcp", prepare)
