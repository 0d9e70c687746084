"""How long a run takes in which everything is cached, from the start of the process to its end.

::

    python benchmarks/cached_run.py [--repeat 11]

Prints medians over real `pydag run --json` processes of the staging-to-fact pipeline on a warm local cloud, beside a
Python that only imports the two clients which such a run needs: below that floor nobody gets who talks to Google.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PIPELINES = Path(__file__).parent.parent / "pipelines"
PIPELINE = PIPELINES / "staging_to_fact.py"
PYDAG = str(Path(sys.executable).with_name("pydag"))

#: Seconds and API calls that it should not exceed.
AIM = 1.5
MOST_CALLS = 29

FLOOR = "import google.cloud.bigquery, google.cloud.storage"


@dataclass(frozen=True, kw_only=True)
class Cloud:
    """A local cloud that has run the pipeline once."""

    home: Path
    url: str

    def calls(self) -> int:
        """How many API calls it has answered."""
        with urllib.request.urlopen(f"{self.url}/_pydag/calls", timeout=10) as answer:
            counts: dict[str, int] = json.load(answer)
        return sum(counts.values())

    def run(self) -> dict[str, Any]:
        """Run the pipeline in a process of its own."""
        document: dict[str, Any] = json.loads(pydag(self.home, "run", str(PIPELINE), "--json"))
        return document

    def cached_run(self) -> None:
        """Run it where there is nothing to do.

        Raises:
            SystemExit: Something was executed.
        """
        states = {task_id: task["state"] for task_id, task in self.run()["tasks"].items()}
        if set(states.values()) != {"cached"}:
            raise SystemExit(f"error: not everything is cached: {states}")


def pydag(home: Path, *arguments: str) -> str:
    """Run a command and return what it prints.

    Raises:
        SystemExit: It failed.
    """
    # With the modules compiled beforehand, as they are wherever somebody works.
    environment = {**os.environ, "PYDAG_HOME": str(home), "PYTHONDONTWRITEBYTECODE": ""}
    ended = subprocess.run([PYDAG, *arguments], env=environment, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise SystemExit(f"error: pydag {' '.join(arguments)} failed:\n{ended.stdout}{ended.stderr}")
    return ended.stdout


@contextmanager
def warm_cloud() -> Iterator[Cloud]:
    """A cloud of our own, which is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / ".pydag"
        try:
            started = json.loads(pydag(home, "local", "up", "--seed", str(PIPELINES / "data"), "--json"))
            cloud = Cloud(home=home, url=started["bigquery"])
            cloud.run()
            yield cloud
        finally:
            pydag(home, "local", "down")


def medians(repeat: int, *works: Callable[[], object]) -> list[float]:
    """Median times in seconds of several things, done in turns, the first turn not counted."""
    seconds: list[list[float]] = []
    for _ in range(repeat + 1):
        seconds.append([])
        for work in works:
            began = time.perf_counter()
            work()
            seconds[-1].append(time.perf_counter() - began)
    return [statistics.median(times) for times in zip(*seconds[1:], strict=True)]


def import_clients() -> None:
    """Start a Python that does nothing else."""
    subprocess.run([sys.executable, "-c", FLOOR], check=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Time a run in which everything is cached.")
    parser.add_argument("--repeat", type=int, default=11, help="runs (default: 11)")
    repeat = parser.parse_args().repeat
    with warm_cloud() as cloud:
        floor, took = medians(repeat, import_clients, cloud.cached_run)
        before = cloud.calls()
        cloud.cached_run()
        calls = cloud.calls() - before
    print(f"{'':34} median   to the floor    aim")
    print(f"{'Python, imports the clients':34} {floor:5.2f} s  {1:12.2f}")
    print(f"{'pydag run, everything cached':34} {took:5.2f} s  {took / floor:12.2f}  {AIM:5.2f}")
    print(f"{'its API calls':34} {calls:5}  {'':14}  {MOST_CALLS:5}")


if __name__ == "__main__":
    main()
