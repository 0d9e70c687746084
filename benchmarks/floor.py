"""The floor: the least that a scheduler of graphs on threads can be. It keeps no record, retries nothing, tells nobody.

It is what the overhead of everybody else is measured against.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from graphlib import TopologicalSorter
from queue import SimpleQueue

from shapes import WORKERS, Upstream


def run(upstream: Upstream, work: Callable[[str], object], workers: int = WORKERS) -> None:
    """Do the work of every task, each as soon as those before it are done, first come, first served."""
    sorter = TopologicalSorter(upstream)
    sorter.prepare()
    done: SimpleQueue[str] = SimpleQueue()

    def do(task: str) -> None:
        work(task)
        done.put(task)

    with ThreadPoolExecutor(workers) as pool:
        while sorter.is_active():
            for task in sorter.get_ready():
                pool.submit(do, task)
            sorter.done(done.get())
