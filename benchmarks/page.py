"""docs/benchmarks.md, from the JSON that lies beside it: ``python benchmarks/page.py`` writes it anew."""

from __future__ import annotations

import json
import os
import platform
import sqlite3
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import chart
from report import Report, targets_table

DOCS: Final = Path(__file__).parent.parent / "docs"
RESULTS: Final = DOCS / "benchmarks.json"
PAGE: Final = DOCS / "benchmarks.md"
CHART: Final = DOCS / "benchmarks-staging-to-fact.png"

INTRODUCTION: Final = """\
# Benchmarks

What the engine costs, measured, with the targets that it was built for and whether it meets them. Made by `make
bench`, which takes about half an hour; every part is a command of its own:

```console
$ python benchmarks/overhead.py
$ python benchmarks/bench.py overhead makespan
```

The first one prints what it finds; with `--quick` it only shows that it works. The second one also puts the figures
into this page. [benchmarks.json](benchmarks.json) has every single measurement.

Figures are medians with the least and the greatest in brackets, unless a table says otherwise. What is compared is
measured in turns, in the same run. The *floor* is the least that can run a graph on threads: graphlib,
ThreadPoolExecutor and SimpleQueue, in [15 lines](../benchmarks/floor.py). The shapes W1 to W6 are in
[shapes.py](../benchmarks/shapes.py). Two more benchmarks print only: `benchmarks/cached_run.py` and
`benchmarks/staging_to_fact.py`, which time a cached and an ordinary run of the example on the local cloud.
"""


def machine() -> dict[str, str]:
    """What it was measured on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": f"{_processor()}, {len(os.sched_getaffinity(0))} cores",
        "memory": f"{memory:.0f} GiB",
        "system": f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",
        "Python": platform.python_version(),
        "SQLite": sqlite3.sqlite_version,
        "pydag-gcp": version("pydag-gcp"),
        **{name: version(name) for name in ("SQLAlchemy", "pydantic", "duckdb", "pyspark") if _installed(name)},
    }


def write(results: Mapping[str, Any]) -> None:
    """Write the JSON, the page and the chart."""
    RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    PAGE.write_text(text(results), encoding="utf-8")
    simulated = {report.part: report for report in _reports(results)}.get("staging_table")
    if simulated is not None:
        chart.draw(simulated.samples, CHART, title=f"SIMULATED. {simulated.tables[0].title.replace(': ', chr(10))}")


def text(results: Mapping[str, Any]) -> str:
    """The page."""
    reports = _reports(results)
    about = " · ".join(f"{name} {value}" for name, value in results["machine"].items())
    sections = [_section(report) for report in reports]
    return "\n".join([INTRODUCTION, f"Measured on: {about}.\n", _summary(reports), *sections])


def _reports(results: Mapping[str, Any]) -> list[Report]:
    return [Report.from_json(found) for found in results["parts"]]


def _summary(reports: Sequence[Report]) -> str:
    targets = [target for report in reports for target in report.targets]
    if not targets:
        return "## Targets\n\nNothing was measured that a target is about.\n"
    missed = sum(not target.met for target in targets)
    verdict = f"**Targets not met: {missed} of {len(targets)}.**" if missed else f"Targets met: all {len(targets)}."
    return f"## Targets\n\n{verdict}\n\n{targets_table(targets).markdown()}\n"


def _section(report: Report) -> str:
    lines = [f"## {report.title}\n", f"{report.method}\n"]
    for table in report.tables:
        lines += [f"{table.title}:\n", f"{table.markdown()}\n"]
    if report.part == "staging_table":
        lines.append(f"![{report.title}: seconds of a run by processors, cache on and off]({CHART.name})\n")
    lines += [f"{note}\n" for note in report.notes]
    quick = " with `--quick`: **these figures only show that it works**" if report.quick else ""
    lines.append(f"*`benchmarks/{report.part}.py`{quick}, {report.began}, took {report.took / 60:.1f} minutes.*\n")
    return "\n".join(lines)


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    names = (
        line.partition(":")[2].strip()
        for line in (cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else ())
        if line.startswith("model name")
    )
    return next(names, platform.processor() or platform.machine())


def _installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


if __name__ == "__main__":
    write(json.loads(RESULTS.read_text(encoding="utf-8")))
