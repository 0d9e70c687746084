"""The Java virtual machine of a cluster: one Spark gateway process, started directly, with no shell around it."""

from __future__ import annotations

import hashlib
import os
import select
import shutil
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from pydag_gcp.errors import LocalCloudError
from pydag_gcp.local.dataproc.java import Java

#: How long a JVM may take until it answers, in seconds; a busy two-core machine takes 3.
START_TIMEOUT = 120

#: What Spark's own launcher opens to unnamed modules
#: (https://github.com/apache/spark/blob/master/launcher/src/main/java/org/apache/spark/launcher/JavaModuleOptions.java).
_OPENED = (
    "java.base/java.lang",
    "java.base/java.lang.invoke",
    "java.base/java.lang.reflect",
    "java.base/java.io",
    "java.base/java.net",
    "java.base/java.nio",
    "java.base/java.util",
    "java.base/java.util.concurrent",
    "java.base/java.util.concurrent.atomic",
    "java.base/jdk.internal.ref",
    "java.base/sun.nio.ch",
    "java.base/sun.nio.cs",
    "java.base/sun.security.action",
    "java.base/sun.util.calendar",
    "java.security.jgss/sun.security.krb5",
)

#: Warnings only, and not the ones that say nothing about the job: at every start, and at every path with a wildcard.
_LOGGING = """\
rootLogger.level = warn
rootLogger.appenderRef.stderr.ref = stderr
appender.stderr.type = Console
appender.stderr.name = stderr
appender.stderr.target = SYSTEM_ERR
appender.stderr.layout.type = PatternLayout
appender.stderr.layout.pattern = %d{yy/MM/dd HH:mm:ss} %p %c{1}: %m%n%ex
logger.native.name = org.apache.hadoop.util.NativeCodeLoader
logger.native.level = error
logger.conf.name = org.apache.spark.SparkConf
logger.conf.level = error
logger.utils.name = org.apache.spark.util.Utils
logger.utils.level = error
logger.sink.name = org.apache.spark.sql.execution.streaming.sinks.FileStreamSink
logger.sink.level = error
"""


def spark_home() -> Path:
    """Find the Spark that the ``pyspark`` package carries.

    Raises:
        LocalCloudError: The package is not installed.
    """
    spec = find_spec("pyspark")
    if spec is None or spec.origin is None:
        raise LocalCloudError("pyspark is not installed", hint="pip install 'pydag-gcp[local]'")
    return Path(spec.origin).parent


@dataclass(frozen=True, kw_only=True)
class Gateway:
    """Where a JVM listens for Python drivers.

    Attributes:
        port: On 127.0.0.1.
        secret: What a driver must know to attach.
    """

    port: int
    secret: str


class Jvm:
    """A gateway process. It exits by itself when its standard input is closed, so it never outlives the daemon.

    Args:
        java: The Java to run.
        folder: Its working folder: temporary files, logs, compiled classes.
        settings: Spark properties that every context starts from.
        environment: The process's whole environment.
        jars: Further class path entries.
        options: Further options of ``java``.
    """

    def __init__(
        self,
        *,
        java: Java,
        folder: Path,
        settings: Mapping[str, str],
        environment: Mapping[str, str],
        jars: Sequence[Path] = (),
        options: Sequence[str] = (),
    ) -> None:
        self._java = java
        self._folder = folder
        self._connection = folder / f"gateway-{os.urandom(8).hex()}"
        classes = _classes(java, folder.parent / "classes")
        class_path = os.pathsep.join([str(classes), f"{spark_home() / 'jars'}/*", *map(str, jars)])
        command = [str(java.executable), *_java_options(folder), *options, "-cp", class_path]
        command += [f"-D{key}={value}" for key, value in settings.items()]
        command.append("org.apache.spark.api.python.PythonGatewayServer")
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            env={**environment, "_PYSPARK_DRIVER_CONN_INFO_PATH": str(self._connection)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.output = Output(self._process, folder / "jvm.log")

    @property
    def alive(self) -> bool:
        """Whether the process is still there."""
        return self._process.poll() is None

    def gateway(self) -> Gateway:
        """Wait until the JVM answers.

        Raises:
            LocalCloudError: It ended, or did not answer in time; with the last lines it printed.
        """
        deadline = time.monotonic() + START_TIMEOUT
        while not self._connection.exists():
            if not self.alive or time.monotonic() > deadline:
                self.kill()
                lines = " | ".join(self.output.last_lines(3))
                raise LocalCloudError(f"Spark's JVM did not start on {self._java.executable}: {lines}")
            time.sleep(0.01)
        # PythonGatewayServer writes its file under another name first, so what is there is whole.
        content = self._connection.read_bytes()
        port, length = struct.unpack_from(">ii", content)
        return Gateway(port=port, secret=content[8 : 8 + length].decode())

    def kill(self) -> None:
        """End the process now, and everything it was doing."""
        self._process.kill()
        self._process.wait()
        if self._process.stdin:
            self._process.stdin.close()
        self.output.close()
        self._connection.unlink(missing_ok=True)


class Output:
    """What a JVM prints: to its log, or to the output of the job that it works for."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log
        self._target = log
        self._bell, self._rope = os.pipe()
        self._arrived = threading.Event()
        self._thread = threading.Thread(target=self._pump, name="jvm-output", daemon=True)
        self._thread.start()

    def send_to(self, target: Path | None) -> None:
        """Append what comes from now on to ``target``, or to the JVM's own log; what came before arrives first."""
        self._arrived.clear()
        os.write(self._rope, b".")
        self._arrived.wait(timeout=1)
        self._target = target or self._log

    def last_lines(self, count: int) -> list[str]:
        """Return the last lines of the JVM's own log."""
        if not self._log.exists():
            return []
        return self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:]

    def close(self) -> None:
        """Wait until everything is written; the process has ended."""
        self._thread.join(timeout=5)

    def _pump(self) -> None:
        source = self._process.stdout
        if source is None:
            return
        with source:
            while True:
                ready, _, _ = select.select([source.fileno(), self._bell], [], [])
                if source.fileno() not in ready:
                    os.read(self._bell, 1)
                    self._arrived.set()
                    continue
                text = os.read(source.fileno(), 65536)
                if not text:
                    break
                self._append(text)
        self._arrived.set()
        os.close(self._bell)

    def _append(self, text: bytes) -> None:
        try:
            with self._target.open("ab") as target:
                target.write(text)
        except FileNotFoundError:  # someone has removed the output of a running job
            with self._log.open("ab") as log:
                log.write(text)


def _java_options(folder: Path) -> list[str]:
    logging = folder / "log4j2.properties"
    logging.write_text(_LOGGING, encoding="utf-8")
    scratch = folder / "tmp"
    scratch.mkdir(exist_ok=True)
    return [
        # A laptop with two cores gains from a collector without threads; from four on they pay.
        "-XX:+UseSerialGC" if (os.cpu_count() or 1) < 4 else "-XX:+UseParallelGC",
        "-XX:+ExitOnOutOfMemoryError",
        "-XX:+IgnoreUnrecognizedVMOptions",
        *(f"--add-opens={name}=ALL-UNNAMED" for name in _OPENED),
        "--enable-native-access=ALL-UNNAMED",
        "-Dio.netty.tryReflectionSetAccessible=true",
        "-Duser.timezone=UTC",
        "-Dfile.encoding=UTF-8",
        f"-Djava.io.tmpdir={scratch}",
        f"-Dderby.system.home={folder}",
        f"-Dlog4j2.configurationFile={logging.as_uri()}",
    ]


def _classes(java: Java, folder: Path) -> Path:
    """Compile the ``gs://`` file system, once per version, with the compiler that Spark itself carries.

    Raises:
        LocalCloudError: It does not compile against this Spark.
    """
    source = Path(__file__).parent / "spark_modules" / "GsFileSystem.java"
    jars = spark_home() / "jars"
    identity = source.read_bytes() + "".join(sorted(jar.name for jar in jars.glob("hadoop-*.jar"))).encode()
    target = folder / hashlib.sha256(identity).hexdigest()[:16]
    if target.exists():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        made = Path(scratch) / "made"
        made.mkdir()
        command = [str(java.executable), "-XX:TieredStopAtLevel=1", "-cp", f"{jars}/*"]
        command += ["org.codehaus.commons.compiler.samples.CompilerDemo", "-d", str(made)]
        command += ["-classpath", os.pathsep.join(map(str, jars.glob("*.jar"))), str(source)]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        if not list(made.rglob("GsFileSystem.class")):
            raise LocalCloudError(f"cannot compile {source} for Spark: {answer.stderr.strip()}")
        if not target.exists():
            shutil.move(made, target)
    return target
