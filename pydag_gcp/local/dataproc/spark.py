"""The warm Spark of a cluster: its JVM, and the driver processes that run jobs on it, one after another.

One SparkContext lives in a JVM at a time, so jobs take turns. A job whose driver leaves the JVM clean hands it on warm;
after any other end (a kill, a crash) the JVM is thrown away with everything it was doing.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from pydag_gcp.errors import LocalCloudError
from pydag_gcp.local.dataproc import java
from pydag_gcp.local.dataproc.jvm import Jvm
from pydag_gcp.local.subjects import TOKEN_OF_JOBS

#: Modules on every driver's and worker's path: the driver itself and the ``bigquery`` data source.
MODULES = Path(__file__).parent / "spark_modules"

#: Variables of the daemon that its Spark processes see; nothing else of it may change what a job computes.
_INHERITED = ("HOME", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "PATH", "TMPDIR", "USER")

_CHECKPOINTS = "org.apache.spark.sql.execution.streaming.checkpointing.FileSystemBasedCheckpointFileManager"

#: What a job finds as its credentials: they are valid for ever, and only the local cloud takes them.
_CREDENTIALS = {
    "type": "authorized_user",
    "client_id": "local",
    "client_secret": "local",
    "refresh_token": "local",
    "token": TOKEN_OF_JOBS,
    "expiry": "9999-12-31T23:59:59Z",
}


@dataclass(frozen=True, kw_only=True)
class Work:
    """What one job asks of Spark.

    Attributes:
        main: The main Python file.
        args: Its arguments.
        folder: The driver's working folder.
        output: The file that the driver's output is appended to.
        properties: Spark properties; the script's own settings win over them.
        python_path: What the driver can import from.
        jars: Java archives; work that has any gets a JVM of its own.
        java_options: Options of the JVM, likewise.
    """

    main: Path
    args: tuple[str, ...] = ()
    folder: Path
    output: Path
    properties: Mapping[str, str] = field(default_factory=dict)
    python_path: tuple[Path, ...] = ()
    jars: tuple[Path, ...] = ()
    java_options: tuple[str, ...] = ()


class Run:
    """One piece of work on Spark: waiting, running, over; it can be cancelled at any of these moments."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.cancelled = False
        self._hurried = False
        self._lock = threading.Lock()
        self._driver: subprocess.Popen[bytes] | None = None
        self._jvm: Jvm | None = None
        self._control: int | None = None

    def cancel(self) -> None:
        """End it now: its processes, and what it was doing in the JVM."""
        with self._lock:
            self.cancelled = True
            if self._driver is not None and self._jvm is not None:
                _kill_group(self._driver)
                self._jvm.kill()

    def hurry(self) -> None:
        """Tell it that someone else is waiting; only a warm-up listens."""
        with self._lock:
            self._hurried = True
            if self._control is not None:
                os.write(self._control, b"h")

    def start(self, jvm: Jvm, plan: Path, environment: Mapping[str, str]) -> int:
        """Start the driver and return the pipe on which it reports.

        Raises:
            OSError: The process cannot be started.
        """
        gateway = jvm.gateway()
        told, control = os.pipe()
        report, reported = os.pipe()
        program = f"import pydag_driver; pydag_driver.main({str(plan)!r}, {told}, {reported})"
        with self._lock, self.work.output.open("ab") as output:
            try:
                if self.cancelled:
                    os.close(control)
                    return report
                self._driver = subprocess.Popen(
                    [sys.executable, "-u", "-c", program],
                    cwd=self.work.folder,
                    env={
                        **environment,
                        "PYSPARK_GATEWAY_PORT": str(gateway.port),
                        "PYSPARK_GATEWAY_SECRET": gateway.secret,
                    },
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    pass_fds=(told, reported),
                    start_new_session=True,
                )
                self._control, self._jvm = control, jvm
                if self._hurried:
                    os.write(control, b"h")
            finally:
                os.close(told)
                os.close(reported)
        return report

    def wait(self, report: int) -> tuple[int, bool]:
        """Wait for the driver's end.

        Returns:
            Its exit code (negative: the signal that killed it), and whether it left the JVM clean.
        """
        with os.fdopen(report, "rb") as pipe:
            if self._driver is None:
                return -signal.SIGKILL, True
            code = self._driver.wait()
            with self._lock:
                _kill_group(self._driver)  # whatever it has started and left behind
                if self._control is not None:
                    os.close(self._control)
                self._driver = self._control = None
            return code, pipe.read() == b"clean"


class Engine(Protocol):
    """What a cluster needs of its Spark."""

    def start(self) -> None:
        """Return when it takes work."""

    def warm_up(self) -> None:
        """Make the first work quick; ends early once someone hurries."""

    def recover(self) -> None:
        """Start and warm up again if the last work took it along."""

    def hurry(self) -> None:
        """Cut a warm-up short, because work is there."""

    def run(self, run: Run) -> int:
        """Do a piece of work when its turn comes, and return its exit code."""

    def close(self) -> None:
        """End everything, whatever it is doing."""

    def remove(self) -> None:
        """Close, and leave nothing on disk."""


class Spark:
    """A cluster's Spark: an :class:`Engine`.

    Args:
        folder: For everything it writes beside objects: logs, scratch files, the warehouse.
        buckets: The folder of buckets.
        temporary_bucket: The bucket for what jobs write on their way elsewhere.
        environment: Variables for jobs, such as ``STORAGE_EMULATOR_HOST``.
        properties: The cluster's own Spark properties, which jobs start from.
    """

    def __init__(
        self,
        *,
        folder: Path,
        buckets: Path,
        temporary_bucket: str,
        environment: Mapping[str, str],
        properties: Mapping[str, str] | None = None,
    ) -> None:
        self._folder = folder
        self._buckets = buckets
        self._temporary_bucket = temporary_bucket
        self._given = dict(environment)
        self._properties = dict(properties or {})
        self._turn = threading.Lock()
        self._jvm: Jvm | None = None
        self._used: Jvm | None = None
        self._warming: Run | None = None
        self._awaited = threading.Event()
        self._closed = False

    def start(self) -> None:
        """Start the JVM, and return when it answers; it is still cold then.

        Raises:
            LocalCloudError: There is no Java, or the JVM does not start.
        """
        with self._turn:
            self._warm_jvm().gateway()

    def warm_up(self) -> None:
        """Run something small, so that the first job does not pay for Spark's first steps; ends early if one waits."""
        if self._closed or (self._jvm is not None and self._jvm is self._used):
            return
        scratch = self._folder / "warm-up"
        scratch.mkdir(parents=True, exist_ok=True)
        work = Work(
            main=MODULES / "pydag_warm_up.py",
            args=(str(scratch),),
            folder=scratch,
            output=self._folder / "warm-up.log",
        )
        self._warming = warming = Run(work)
        if not self._awaited.is_set():
            self.run(warming)
        self._warming = None

    def recover(self) -> None:
        """Start and warm the JVM again if the last job took it along."""
        if not self._closed and (self._jvm is None or not self._jvm.alive):
            self.start()
            self.warm_up()

    def hurry(self) -> None:
        """Cut a warm-up short, because a job is there."""
        self._awaited.set()
        warming = self._warming
        if warming is not None:
            warming.hurry()

    def run(self, run: Run) -> int:
        """Run a piece of work when its turn comes, and return its driver's exit code.

        Raises:
            LocalCloudError: There is no Java, or the JVM does not start.
            OSError: The driver cannot be started.
        """
        with self._turn:
            if run is not self._warming:
                self._awaited.clear()
            own = bool(run.work.jars or run.work.java_options)
            jvm = self._new_jvm(run.work) if own else self._warm_jvm()
            jvm.gateway()  # what a starting JVM prints is none of the job's business
            jvm.output.send_to(run.work.output)
            try:
                report = run.start(jvm, self._plan(run.work), self._environment())
                code, clean = run.wait(report)
            finally:
                jvm.output.send_to(None)
            self._used = jvm
            if own or not clean:
                jvm.kill()
            return code

    def rest(self) -> bool:
        """Wait for the work under way, forget what it left behind, and tell whether the JVM can do more."""
        self.hurry()
        with self._turn:
            self._awaited.clear()
            shutil.rmtree(self._folder / "warehouse", ignore_errors=True)
            return not self._closed and self._jvm is not None and self._jvm.alive

    def close(self) -> None:
        """End every process, whatever it is doing."""
        self._closed = True
        if self._warming is not None:
            self._warming.cancel()
        with self._turn:
            if self._jvm is not None:
                self._jvm.kill()

    def remove(self) -> None:
        """Close, and leave nothing on disk."""
        self.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _warm_jvm(self) -> Jvm:
        if self._jvm is None or not self._jvm.alive:
            for left_by_the_last in ("scratch", "tmp"):
                shutil.rmtree(self._folder / left_by_the_last, ignore_errors=True)
            self._jvm = self._new_jvm(None)
        return self._jvm

    def _new_jvm(self, work: Work | None) -> Jvm:
        if self._closed:
            raise LocalCloudError("this cluster's Spark has been closed")
        self._folder.mkdir(parents=True, exist_ok=True)
        return Jvm(
            java=java.find(os.environ),
            folder=self._folder,
            settings={**self._settings(), **self._properties, **self._forced()},
            environment=self._environment(),
            jars=work.jars if work else (),
            options=work.java_options if work else (),
        )

    def _plan(self, work: Work) -> Path:
        plan = work.folder / ".pydag-plan.json"
        content = {
            "main": str(work.main),
            "args": list(work.args),
            "properties": {"spark.app.name": work.main.name, **work.properties},
            "forced": self._forced(),
            "python_path": [str(entry) for entry in work.python_path],
        }
        plan.write_text(json.dumps(content), encoding="utf-8")
        return plan

    def _settings(self) -> dict[str, str]:
        cores = os.cpu_count() or 1
        # Where pandas is missing, Spark would warn at each Python function that it cannot use Arrow.
        arrow = "true" if find_spec("pandas") else "false"
        return {
            "spark.sql.execution.pythonUDF.arrow.enabled": arrow,
            "spark.sql.session.timeZone": "UTC",
            "spark.sql.shuffle.partitions": str(cores),
            "spark.sql.warehouse.dir": (self._folder / "warehouse").as_uri(),
            # Hadoop knows no AbstractFileSystem for gs:// here, and streaming would look for one.
            "spark.sql.streaming.checkpointFileManagerClass": _CHECKPOINTS,
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
        }

    def _forced(self) -> dict[str, str]:
        """The settings on which the cluster has the last word."""
        return {
            "spark.master": f"local[{os.cpu_count() or 1}]",
            "spark.submit.deployMode": "client",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.driver.host": "127.0.0.1",
            "spark.hadoop.fs.gs.impl": "pydag.GsFileSystem",
            "spark.hadoop.fs.gs.pydag.buckets": str(self._buckets),
            # Beside the buckets, objects.py keeps those whose names no file system can hold.
            "spark.hadoop.fs.gs.pydag.escaped": str(self._buckets.parent / "objects" / "escaped"),
            "spark.local.dir": str(self._folder / "scratch"),
        }

    def _environment(self) -> dict[str, str]:
        credentials = self._folder / "credentials.json"
        credentials.write_text(json.dumps(_CREDENTIALS), encoding="utf-8")
        # SPARK_HOME stays unset: with it, workers would import pyspark from Spark's zip file, compiling it each time.
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        return {
            **inherited,
            "GOOGLE_APPLICATION_CREDENTIALS": str(credentials),
            "PYDAG_BUCKETS": str(self._buckets),
            "PYDAG_TEMPORARY_BUCKET": self._temporary_bucket,
            "PYSPARK_DRIVER_PYTHON": sys.executable,
            "PYSPARK_PYTHON": sys.executable,
            "PYTHONHASHSEED": "0",
            "PYTHONPATH": str(MODULES),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "TZ": "UTC",
            **self._given,
        }


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # it is gone; macOS says so with the second one
        return
