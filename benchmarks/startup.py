"""How long it takes to start: `pydag --version`, the import, templates and analysis, beside a bare Python.

    .venv/bin/python benchmarks/startup.py

Prints medians of 11 and the ratio to a bare Python, measured in the same run.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

RUNS = 11
PYDAG = str(Path(sys.executable).with_name("pydag"))
SQL = "INSERT INTO {{ target }} (id, n) SELECT id, {{ n }} FROM {{ source }} WHERE year = @year"


def median(work: Callable[[], object]) -> float:
    """Median time of several calls, in milliseconds, the first one not counted."""
    seconds = []
    work()
    for _ in range(RUNS):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return 1000 * statistics.median(seconds)


def process(*command: str) -> Callable[[], object]:
    """Run a process to its end."""
    return lambda: subprocess.run(command, check=True, capture_output=True)


def statement() -> None:
    """Render and analyse one ordinary statement."""
    from pydag_gcp import Table
    from pydag_gcp.sql import Template, analyse, render_sql

    params = {"target": Table("d.t"), "source": Table("d.s"), "n": 1, "year": 2022}
    query = render_sql(Template(text=SQL, file=None), params, {}, project="my-project", dataset=None, where="benchmark")
    analyse(query, project="my-project", dataset=None)


def main() -> None:
    """Measure and print."""
    bare = median(process(sys.executable, "-c", "pass"))
    print(f"{'':32} median   to bare Python")
    for name, work in (
        ("bare Python", process(sys.executable, "-c", "pass")),
        ("import pydag_gcp", process(sys.executable, "-c", "import pydag_gcp")),
        ("pydag --version", process(PYDAG, "--version")),
        ("render and analyse, warm", statement),
    ):
        took = median(work)
        print(f"{name:32} {took:5.1f} ms  {took / bare:5.2f}")


if __name__ == "__main__":
    main()
