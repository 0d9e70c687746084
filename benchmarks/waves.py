"""Wave by wave, as the pyDag of 2022 ran its tasks; written anew from its description.

All tasks whose upstreams are done make a wave; a pool of threads made for that wave does them; the next
wave waits for the slowest of them.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from shapes import WORKERS, Upstream


def run(upstream: Upstream, work: Callable[[str], object], workers: int = WORKERS) -> None:
    """Do the work of every task."""
    done: set[str] = set()
    left = dict(upstream)
    while left:
        wave = [task for task, above in left.items() if done.issuperset(above)]
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(work, wave))
        done.update(wave)
        for task in wave:
            del left[task]
