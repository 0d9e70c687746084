"""DAGs that run together in one process, which tells when each of their tasks ran. See sharing.py.

::

    python benchmarks/sharing_run.py SHAPE... [--quick]

Prints ``ready``; then for each line that it reads, which is the most processors of a DAG or 0, it runs a DAG in a
thread for each shape, and prints JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import ours
from shapes import Shape, chain, fan, layered

from pydag_gcp import DAG, task

#: Together 16.9 s of work: 2.1 s on 8 processors, longer than the longest path.
TOGETHER: Final[dict[str, Callable[[float], Shape]]] = {
    "wide": lambda scale: fan("wide", "160 x 50 ms", 160, 0.05 * scale),
    "chain": lambda scale: chain("chain", "30 x 50 ms, one after another", 30, 0.05 * scale),
    "layered": lambda scale: layered("layered", "12 layers of 8 x 40 ms", 96, 0.04 * scale, width=8),
    "heavy": lambda scale: fan("heavy", "24 x 150 ms", 24, 0.15 * scale),
}

#: Four of a kind, of which one is killed.
ALIKE: Final[dict[str, Callable[[float], Shape]]] = {
    f"alike{i}": lambda scale, i=i: fan(f"alike{i}", "300 x 20 ms", round(300 * scale), 0.02)  # type: ignore[misc]
    for i in range(4)
}

#: How much shorter it all is where it is only to be seen that it works.
QUICK: Final = 0.1

_naps: list[tuple[float, float]] = []


@task
def recorded(seconds: float) -> None:
    """Sleep, and note from when to when, on the clock that all processes of a machine share."""
    began = time.monotonic()
    time.sleep(seconds)
    if seconds:
        _naps.append((began, time.monotonic()))


def shapes(*, quick: bool) -> dict[str, Shape]:
    """All that may run together."""
    return {name: make(QUICK if quick else 1.0) for name, make in (TOGETHER | ALIKE).items()}


def main() -> None:
    """Wait, run, print, until there is nothing more to read."""
    parser = argparse.ArgumentParser(description="Run DAGs together.")
    parser.add_argument("shapes", nargs="+", choices=[*TOGETHER, *ALIKE])
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    known = shapes(quick=args.quick)
    dags = [ours.build(known[name], recorded) for name in args.shapes]
    # What the first run of a process loads and compiles is no part of what is measured.
    ours.build(chain(f"warm{os.getpid()}", "", 1), recorded).run().raise_for_state()
    print("ready", flush=True)
    for line in sys.stdin:
        _together(dags, most=int(line) or None)
        print(json.dumps({"ended": time.monotonic(), "naps": _naps}), flush=True)
        _naps.clear()


def _together(dags: Sequence[DAG], *, most: int | None) -> None:
    with ThreadPoolExecutor(len(dags)) as pool:
        for result in pool.map(lambda dag: dag.run(max_processors=most), dags):
            result.raise_for_state()


if __name__ == "__main__":
    main()
