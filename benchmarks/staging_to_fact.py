"""How long the staging-to-fact pipeline takes, from the start of `pydag run` to the fact table.

::

    python benchmarks/staging_to_fact.py [--repeat 5] [--rows 1000000]

Prints medians over real `pydag run --json` processes: with a cold local cloud (started by the run itself), with a warm
one, and with a warm one on many rows. Every run's fact table is counted against pipelines/expected_fact.py.
"""

from __future__ import annotations

import argparse
import json
import os
import runpy
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PIPELINES = Path(__file__).parent.parent / "pipelines"
PIPELINE = PIPELINES / "staging_to_fact.py"
SAMPLE = PIPELINES / "data" / "project-pydag" / "input" / "test.csv"
PYDAG = str(Path(sys.executable).with_name("pydag"))


@dataclass(frozen=True, kw_only=True)
class Case:
    """One column of the table.

    Attributes:
        aim: Seconds that it should not exceed.
    """

    name: str
    aim: float
    file: Path
    cold: bool


@dataclass(frozen=True, kw_only=True)
class Timing:
    """One run: seconds from the start of the process to its end, and what each task took."""

    total: float
    makespan: float
    tasks: dict[str, float]


class Cloud:
    """A local cloud in a folder of its own."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._environment = {**os.environ, "PYDAG_HOME": str(home)}
        self._dataset = 0

    def up(self, file: Path) -> None:
        """Start it, with ``file`` as the pipeline's input."""
        self._call("local", "up", "--seed", str(self._seed(file)))

    def down(self, file: Path | None = None) -> None:
        """Stop it; with ``file`` leave that as the pipeline's input for whoever starts it."""
        self._call("local", "down")
        if file is not None:
            self.up(file)
            self._call("local", "down")

    def run(self, expected: int) -> Timing:
        """Run the pipeline in a process of its own, into a new dataset."""
        self._dataset += 1
        began = time.perf_counter()
        document = json.loads(self._call("run", str(PIPELINE), "--json", "--param", f"dataset=run{self._dataset}"))
        total = time.perf_counter() - began
        found = document["tasks"]["insert_to_fact"]["result"]["rows"]
        if found != expected:
            raise SystemExit(f"error: the fact table has {found} rows, expected {expected}")
        return Timing(total=total, makespan=document["makespan"], tasks=_seconds(document["tasks"]))

    def _seed(self, file: Path) -> Path:
        seed = self._home.parent / "seed"
        target = seed / "project-pydag" / "input" / "test.csv"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
        return seed

    def _call(self, *arguments: str) -> str:
        ended = subprocess.run([PYDAG, *arguments], env=self._environment, capture_output=True, text=True, check=False)
        if ended.returncode:
            raise SystemExit(f"error: pydag {' '.join(arguments)} failed:\n{ended.stdout}{ended.stderr}")
        return ended.stdout


def _seconds(tasks: dict[str, Any]) -> dict[str, float]:
    return {task_id: float(task["seconds"]) for task_id, task in tasks.items()}


@contextmanager
def own_cloud() -> Iterator[Cloud]:
    """A cloud that is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        cloud = Cloud(Path(folder) / ".pydag")
        try:
            yield cloud
        finally:
            cloud.down()


def measure(case: Case, repeat: int) -> list[Timing]:
    """Run a case ``repeat`` times; a warm cloud has run the sample once before."""
    expected = sum(1 for _ in runpy.run_path(str(PIPELINES / "expected_fact.py"))["fact_rows"](case.file))
    timings = []
    with own_cloud() as cloud:
        if not case.cold:
            cloud.up(case.file)
            cloud.run(expected)
        for _ in range(repeat):
            if case.cold:
                cloud.down(case.file)
            timings.append(cloud.run(expected))
            print(f"  {case.name}: {timings[-1].total:.1f} s", file=sys.stderr)
    return timings


def table(cases: Sequence[Case], measured: Sequence[Sequence[Timing]]) -> str:
    """Lay out the medians, one column a case."""

    def row(name: str, cells: Sequence[str]) -> str:
        return f"{name:<22}" + "".join(f"{cell:>18}" for cell in cells)

    def median(values: Iterator[float]) -> str:
        return f"{statistics.median(values):.2f}"

    lines = [
        row("seconds, medians", [case.name for case in cases]),
        *(row(task, [median(t.tasks[task] for t in timings) for timings in measured]) for task in measured[0][0].tasks),
        row("run", [median(t.makespan for t in timings) for timings in measured]),
        row("process", [median(t.total for t in timings) for timings in measured]),
        row("aim", [f"{case.aim:.2f}" for case in cases]),
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Time the staging-to-fact pipeline.")
    parser.add_argument("--repeat", type=int, default=5, help="runs per case (default: 5)")
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the large input (default: 1000000)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        large = Path(folder) / "large.csv"
        options = ("--rows", str(args.rows), "--output", str(large))
        subprocess.run([sys.executable, str(PIPELINES / "sample_data.py"), *options], check=True)
        cases = (
            Case(name="sample, cold", aim=20, file=SAMPLE, cold=True),
            Case(name="sample, warm", aim=6, file=SAMPLE, cold=False),
            Case(name=f"{args.rows:,}, warm", aim=10, file=large, cold=False),
        )
        print(table(cases, [measure(case, args.repeat) for case in cases]))


if __name__ == "__main__":
    main()
