"""How long it takes to start: `pydag run` of a DAG with one task, the import, and more, beside a bare Python.

::

    python benchmarks/startup.py [--quick]
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import ours
from report import Report, Table, Target, main
from samples import interleaved, timed

PYDAG = str(Path(sys.executable).with_name("pydag"))
SQL = "INSERT INTO {{ target }} (id, n) SELECT id, {{ n }} FROM {{ source }} WHERE year = @year"
PIPELINE = """\
from pydag_gcp import DAG, task


@task
def hello() -> str:
    return "hello"


with DAG("hello") as dag:
    hello()
"""

METHOD = """\
Processes from their start to their exit, not pinned, in turns; their modules are compiled beforehand, as they are
wherever somebody works. `pydag run` runs a Python file with one task that returns a string, in an existing store:
the run, its try and its result are recorded."""

#: Milliseconds that a run of one task may take.
MOST_RUN = 500

RUN = "pydag run, one task"


def measure(quick: bool) -> Report:  # noqa: FBT001 - what report.main calls
    """Start processes in turns."""
    with ours.home(), tempfile.TemporaryDirectory() as folder:
        pipeline = Path(folder) / "hello.py"
        pipeline.write_text(PIPELINE, encoding="utf-8")
        works: Mapping[str, Callable[[], object]] = {
            "bare Python": _process(sys.executable, "-c", "pass"),
            "import pydag_gcp": _process(sys.executable, "-c", "import pydag_gcp"),
            "pydag --version": _process(PYDAG, "--version"),
            RUN: _process(PYDAG, "run", str(pipeline)),
            "render and analyse a statement, warm": _statement,
        }
        found = interleaved({name: partial(timed, work) for name, work in works.items()}, 2 if quick else 15)
    bare = found["bare Python"].median
    rows = [(name, s.scaled(1000).text(1), f"{s.median / bare:.2f}") for name, s in found.items()]
    title = "Milliseconds: median (least-greatest)"
    return Report(
        part="startup",
        title="Start-up",
        method=METHOD,
        tables=[Table(title=title, columns=("", "ms", "to bare Python"), rows=tuple(rows))],
        targets=[Target(what=RUN, found=1000 * found[RUN].median, most=MOST_RUN, unit="ms")],
        samples={f"{name} s": samples.values for name, samples in found.items()},
    )


def _process(*command: str) -> Callable[[], object]:
    """Make something that runs a process to its end."""

    def run() -> None:
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
        ended = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
        if ended.returncode:
            raise SystemExit(f"error: {' '.join(command)} failed:\n{ended.stdout}{ended.stderr}")

    return run


def _statement() -> None:
    """Render and analyse one ordinary statement."""
    from pydag_gcp import Table as Destination
    from pydag_gcp.sql import Template, analyse, render_sql

    params = {"target": Destination("d.t"), "source": Destination("d.s"), "n": 1, "year": 2022}
    query = render_sql(Template(text=SQL, file=None), params, {}, project="my-project", dataset=None, where="benchmark")
    analyse(query, project="my-project", dataset=None)


if __name__ == "__main__":
    main(measure, __doc__)
