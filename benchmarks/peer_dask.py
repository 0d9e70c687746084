"""dask: its threaded scheduler on a graph of plain tasks, which is the least of dask that runs a graph.

https://docs.dask.org/en/stable/scheduling.html#local-threads
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from dask.threaded import get
from peer_driver import main
from shapes import WORKERS, Shape


def work(seconds: float, _above: list[object]) -> None:
    """Sleep, or do nothing."""
    if seconds:
        time.sleep(seconds)


def prepare(shape: Shape, _folder: Path) -> Callable[[], object]:
    """Make its graph: key -> (function, arguments), where a key among the arguments is an edge."""
    graph = {task: (work, shape.seconds(task), list(above)) for task, above in shape.upstream.items()}
    last = list(graph.keys() - {other for above in shape.upstream.values() for other in above})
    return lambda: get(graph, last, num_workers=WORKERS)


if __name__ == "__main__":
    main("dask", prepare)
