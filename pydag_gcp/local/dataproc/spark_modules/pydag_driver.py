"""A job's Python driver: it attaches to the cluster's JVM, runs an unmodified main file, and leaves the JVM clean.

Started by ``pydag_gcp/local/dataproc/spark.py`` in a process group of its own, with a plan (JSON) and two pipes. On the
control pipe the daemon says ``h`` (hurry: someone waits for this JVM) or hangs up, on which the whole group dies. On
the report pipe the driver says ``clean`` once nothing of the job is left in the JVM; without it the JVM is thrown away.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import sys
import threading
import types
from pathlib import Path
from typing import Any

# PySpark has no public way to attach to a JVM that is there, nor to have the last word on a context's settings.
# ruff: noqa: SLF001

#: Set when another job waits for the JVM.
hurry = threading.Event()


def main(plan_file: str, control: int, report: int) -> None:
    """Run the job that a plan describes.

    Args:
        plan_file: JSON with ``main``, ``args``, ``properties``, ``forced`` (Spark settings that win over the
            script's) and ``python_path``.
        control: File descriptor of the control pipe.
        report: File descriptor of the report pipe.
    """
    threading.Thread(target=_listen, args=(control,), daemon=True).start()
    plan = json.loads(Path(plan_file).read_text(encoding="utf-8"))
    import pydag_bigquery_modes  # type: ignore[import-not-found]
    from pyspark import SparkContext

    SparkContext._ensure_initialized()
    before = _properties(SparkContext._jvm)
    _set_properties(SparkContext._jvm, before | plan["properties"])
    atexit.register(_leave, before, report)
    _force(plan["forced"])
    pydag_bigquery_modes.install()
    _run(plan["main"], plan["args"], plan["python_path"])


def _listen(control: int) -> None:
    while True:
        word = os.read(control, 1)
        if not word:
            os.killpg(0, signal.SIGKILL)
        hurry.set()


def _run(path: str, args: list[str], python_path: list[str]) -> None:
    """Run a file the way ``python FILE ARGS`` does."""
    sys.argv = [path, *args]
    sys.path[:0] = [str(Path(path).parent), *python_path]
    sys.excepthook = _print_from_the_main_file_on
    module = types.ModuleType("__main__")
    module.__dict__.update(__file__=path, __builtins__=__builtins__)
    sys.modules["__main__"] = module
    exec(compile(Path(path).read_bytes(), path, "exec"), module.__dict__)  # noqa: S102 running it is the job


def _print_from_the_main_file_on(
    kind: type[BaseException], error: BaseException, trace: types.TracebackType | None
) -> None:
    while trace is not None and trace.tb_frame.f_code.co_filename in (__file__, "<string>"):
        trace = trace.tb_next
    sys.__excepthook__(kind, error.with_traceback(trace), trace)


def _force(settings: dict[str, str]) -> None:
    """Let the cluster have the last word on some settings, whatever the script's builder says (``.master``)."""
    from pyspark import SparkContext

    start = SparkContext._initialize_context

    def start_forced(self: SparkContext, configuration: Any) -> Any:
        for key, value in settings.items():
            configuration.set(key, value)
        context = start(self, configuration)
        self.master = settings["spark.master"]
        return context

    SparkContext._initialize_context = start_forced  # type: ignore[method-assign, assignment]


def _properties(jvm: Any) -> dict[str, str]:
    """Read the JVM's Spark properties, which are every context's defaults."""
    system = jvm.java.lang.System
    names = system.getProperties().stringPropertyNames()
    return {name: system.getProperty(name) for name in names if name.startswith("spark.")}


def _set_properties(jvm: Any, wanted: dict[str, str]) -> None:
    system = jvm.java.lang.System
    present = _properties(jvm)
    for name in present.keys() - wanted.keys():
        system.clearProperty(name)
    for name, value in wanted.items():
        if present.get(name) != value:
            system.setProperty(name, value)


def _leave(properties: dict[str, str], report: int) -> None:
    """Take everything of this job out of the JVM, then say so."""
    from pyspark import SparkContext

    jvm: Any = SparkContext._jvm
    context = SparkContext._active_spark_context
    if context is not None:
        context.stop()
    left = getattr(getattr(jvm.org.apache.spark, "SparkContext$"), "MODULE$").getActive()
    if left.isDefined():
        left.get().stop()
    jvm.SparkSession.clearActiveSession()
    jvm.SparkSession.clearDefaultSession()
    jvm.org.apache.hadoop.fs.FileSystem.closeAll()
    jvm.org.apache.logging.log4j.core.config.Configurator.reconfigure()
    _set_properties(jvm, properties)
    _forget_objects()
    os.write(report, b"clean")


def _forget_objects() -> None:
    """Drop the JVM's references to what this driver held: a driver that is gone never asks for it again."""
    from py4j.java_gateway import JavaObject
    from pyspark import SparkContext

    gateway: Any = SparkContext._gateway
    bindings = JavaObject("GATEWAY_SERVER", gateway._gateway_client).getGateway().getBindings()
    bindings.keySet().removeAll([key for key in bindings.keySet() if key.startswith("o")])
