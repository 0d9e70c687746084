"""All benchmarks, and the page that tells what they found: ``make bench``.

::

    python benchmarks/bench.py [PART...] [--quick]

What is measured anew replaces what the page said of it; the other parts stay. A part that fails keeps its old
figures, and makes the exit code 1.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import page

#: In the order of the page.
PARTS: Final = ("overhead", "large", "makespan", "sharing", "pending", "startup", "staging_table", "peers")


def measured(part: str, *, quick: bool) -> dict[str, Any] | None:
    """Measure one part in a process of its own; None if it failed, which it has said."""
    print(f"== {part}", flush=True)
    began = time.perf_counter()
    script = Path(__file__).with_name(f"{part}.py")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "report.json"
        options = ["--json", str(file), *(["--quick"] if quick else [])]
        ended = subprocess.run([sys.executable, str(script), *options], check=False)
        print(f"   {part} took {time.perf_counter() - began:.0f} s", flush=True)
        if ended.returncode:
            print(f"   {part} FAILED: its old figures stay", flush=True)
            return None
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return found


def main() -> int:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description="Run benchmarks and write docs/benchmarks.md.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; default: all")
    parser.add_argument("--quick", action="store_true", help="few and small: to see that everything works")
    args = parser.parse_args()
    for part in args.parts:
        if part not in PARTS:
            parser.error(f"no part {part!r}: expected some of {', '.join(PARTS)}")
    known = json.loads(page.RESULTS.read_text(encoding="utf-8"))["parts"] if page.RESULTS.exists() else []
    found = {report["part"]: report for report in known}
    failed = False
    for part in args.parts or PARTS:
        report = measured(part, quick=args.quick)
        failed |= report is None
        if report is not None:
            found[part] = report
        page.write({"machine": page.machine(), "parts": [found[name] for name in PARTS if name in found]})
    print(f"== {page.PAGE}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
