"""What the scripts of all peers have in common: options in, JSON out. It needs nothing but Python.

Each ``peer_X.py`` runs with that peer's own interpreter, and hands :func:`main` one function: given a shape and an
empty folder, it prepares a run and returns what is then timed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from shapes import SHAPES, Shape, shape

Prepare = Callable[[Shape, Path], Callable[[], object]]


def main(package: str, prepare: Prepare) -> None:
    """Run a shape several times, after a small one of its kind that is not counted, and print the seconds.

    Args:
        package: The peer's name on PyPI.
        prepare: Makes what is timed.
    """
    parser = argparse.ArgumentParser(description=f"Run a shape with {package}.")
    parser.add_argument("shape", choices=list(SHAPES))
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    measured = shape(args.shape, quick=args.quick)
    if not measured.sleeps:  # overhead is measured on one core
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    _once(prepare, shape(args.shape, quick=True))
    seconds = [_once(prepare, measured) for _ in range(args.repeat)]
    # Peers print to stdout, too: the result is its last line.
    sys.stdout.write("\n" + json.dumps({"seconds": seconds}) + "\n")


def _once(prepare: Prepare, measured: Shape) -> float:
    with tempfile.TemporaryDirectory() as folder:
        run = prepare(measured, Path(folder))
        began = time.perf_counter()
        run()
        return time.perf_counter() - began
