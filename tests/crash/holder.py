"""A process that takes processors and gives them back, until it is killed.

Whatever it holds it locks, too, in a file that has one byte for each processor: if the pool lets it have one for which
no byte is left, then more are held than there are. That file is opened before the pool's, so that the kernel gives its
locks back first when the process dies.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import random
import sys
import threading
import time
from pathlib import Path

from pydag_gcp import processors


class Bytes:
    """The bytes that stand for processors."""

    def __init__(self, file: Path, size: int) -> None:
        self._descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
        self._size = size
        self._ours: list[int] = []

    def lock(self, count: int) -> bool:
        """Lock so many more; False if there are not as many."""
        for byte in range(self._size):
            if count and byte not in self._ours and self._locked(byte):
                self._ours.append(byte)
                count -= 1
        return not count

    def unlock(self, count: int) -> None:
        """Unlock so many."""
        for _ in range(count):
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, self._ours.pop())

    def _locked(self, byte: int) -> bool:
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
        except BlockingIOError:
            return False
        return True


def main() -> None:
    """Hold and give back at random, or hold all and say so."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("size", type=int)
    parser.add_argument("seed", type=int)
    parser.add_argument("--hold", action="store_true")
    options = parser.parse_args()
    observed = Bytes(options.folder / "held", options.size)
    rung = threading.Semaphore(0)
    share = processors.join(
        f"holder {options.seed}",
        run_id=f"run{options.seed}",
        size=options.size,
        granted=rung.release,
        weight=1 + options.seed % 3,
        folder=options.folder,
    )
    if share.warnings:
        sys.exit(str(share.warnings))
    if options.hold:
        print(sum(share.take(1, options.size) for _ in range(options.size)), flush=True)
        share.rest()
        threading.Event().wait()
    chance = random.Random(options.seed)
    held: list[int] = []
    print("begun", flush=True)
    while True:
        while held and (len(held) > 2 or chance.random() < 0.5):
            observed.unlock(held[-1])
            share.give(held.pop())
        for slots in chance.sample([1, 1, 1, 2, options.size], k=2):
            if share.take(slots, chance.randint(1, 4)):
                held.append(min(slots, share.size))
                if not observed.lock(held[-1]):
                    sys.exit(f"holder {options.seed} got {held[-1]} processors that others hold")
        share.rest()
        assert share.held == sum(held)
        if held:
            time.sleep(chance.choice([0, 0, 0.0005, 0.002]))
        else:
            rung.acquire(timeout=0.2)
        if chance.random() < 0.02:
            with (options.folder / "progress").open("a") as file:
                file.write(".")


if __name__ == "__main__":
    main()
