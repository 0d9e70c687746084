"""Unmodified PySpark programs on a cluster's warm Spark."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from google.cloud import dataproc_v1

from tests.conftest import reaped

if TYPE_CHECKING:
    from tests.local.dataproc.service import DataprocService

pytest_plugins = ("tests.local.dataproc.service",)
pytestmark = [pytest.mark.spark, pytest.mark.slow]

State = dataproc_v1.JobStatus.State

SESSION = """
from pyspark.sql import SparkSession, functions as F
spark = SparkSession.builder.appName("test").getOrCreate()
"""


@pytest.fixture(scope="module")
def dataproc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataprocService]:
    """A service with one cluster, whose Spark is real."""
    from tests.local.dataproc.service import DataprocService

    service = DataprocService(tmp_path_factory.mktemp("home"))
    service.create("c1", config={"software_config": {"properties": {"spark:spark.cluster.word": "set"}}})
    service.put("gs://data/in.csv", "id,category\n" + "".join(f"{n},c{n % 3}\n" for n in range(30)))
    yield service
    service.stop()


def succeeds(dataproc: DataprocService, program: str, **pyspark: object) -> str:
    """Run a program to its good end, and return what it printed."""
    job = dataproc.run(program, **pyspark)
    assert State(job.status.state) == State.DONE, dataproc.output(job)
    return dataproc.output(job)


def objects(dataproc: DataprocService, prefix: str) -> list[str]:
    return [stored.name for stored in dataproc.objects.list("data", prefix)]


def test_the_cluster_decides_the_master(dataproc: DataprocService) -> None:
    printed = succeeds(
        dataproc,
        """
from pyspark.sql import SparkSession
spark = SparkSession.builder.master("yarn").appName("a").getOrCreate()
print(spark.sparkContext.master, spark.range(10).count())
""",
    )
    assert printed == f"local[{os.cpu_count()}] 10\n"


def test_arguments_properties_and_settings_reach_the_program(dataproc: DataprocService) -> None:
    printed = succeeds(
        dataproc,
        """
import sys
from pyspark import SparkConf
print(SparkConf().get("spark.job.word"))
from pyspark.sql import SparkSession
spark = SparkSession.builder.config("spark.job.other", "script").getOrCreate()
keys = ("spark.job.word", "spark.job.other", "spark.cluster.word", "spark.sql.session.timeZone")
print(sys.argv[1:], __name__, *(spark.conf.get(key) for key in keys))
""",
        args=["--date", "2024 01"],
        properties={"spark.job.word": "job", "spark.job.other": "job"},
    )
    assert printed == "job\n['--date', '2024 01'] __main__ job script set UTC\n"


def test_nothing_of_a_job_is_left_for_the_next_one(dataproc: DataprocService) -> None:
    # Given a job with a property, a setting, a view and a context that it does not stop
    succeeds(
        dataproc,
        SESSION + 'spark.range(3).createGlobalTempView("v")\nspark.sparkContext.setLogLevel("OFF")\n',
        properties={"spark.job.leak": "yes"},
    )

    # When another one looks; Then it finds none of it
    printed = succeeds(
        dataproc,
        SESSION + 'print(spark.conf.get("spark.job.leak", None), spark.catalog.tableExists("global_temp.v"))\n',
    )
    assert printed == "None False\n"


def test_gs_paths_are_objects(dataproc: DataprocService) -> None:
    # Given a CSV object; When a program reads it, and writes it elsewhere twice
    printed = succeeds(
        dataproc,
        SESSION
        + """
rows = spark.read.option("header", True).schema("id INT, category STRING").csv("gs://data/in.csv")
for _ in range(2):
    rows.repartition(2).write.mode("overwrite").partitionBy("category").parquet("gs://data/out/rows")
print(spark.read.parquet("gs://data/out/rows").count(), spark.sparkContext.textFile("gs://data/in.csv").count())
print(spark.read.csv("gs://data/i*.csv").select(F.input_file_name()).first()[0])
""",
    )

    # Then the rows are there once, with _SUCCESS, and nothing besides
    assert printed == "30 31\ngs://data/in.csv\n"
    written = objects(dataproc, "out/")
    assert "out/rows/_SUCCESS" in written
    assert len([name for name in written if name.endswith(".parquet")]) == 6
    assert [name for name in written if "crc" in name or "_temporary" in name] == []


def test_a_stream_with_its_checkpoints_in_a_bucket(dataproc: DataprocService) -> None:
    printed = succeeds(
        dataproc,
        SESSION
        + """
spark.range(3).write.parquet("gs://data/stream/in")
lines = spark.readStream.schema("id LONG").parquet("gs://data/stream/in")
query = lines.writeStream.format("parquet").option("checkpointLocation", "gs://data/stream/checkpoints")
query.trigger(availableNow=True).start("gs://data/stream/out").awaitTermination()
print(spark.read.parquet("gs://data/stream/out").count())
""",
    )
    assert printed.splitlines()[-1] == "3"


def test_a_bucket_made_while_the_job_runs_is_there(dataproc: DataprocService) -> None:
    bucket = dataproc.objects.root / "made.later_on"
    printed = succeeds(
        dataproc,
        SESSION
        + f"""
import os
os.mkdir({str(bucket)!r})
spark.range(5).write.json("gs://made.later_on/x")
print(spark.read.json("gs://made.later_on/x").count())
""",
    )
    assert printed == "5\n"


def test_an_object_that_spark_cannot_see_is_not_passed_over(dataproc: DataprocService) -> None:
    # Given objects "x" and "x/y" side by side, which no file system can hold; and a folder's placeholder
    dataproc.put("gs://data/odd/x", "1\n")
    dataproc.put("gs://data/odd/x/y", "2\n")
    dataproc.put("gs://data/even/", "")
    dataproc.put("gs://data/even/x", "1\n")

    # When a program lists them; Then it fails, where leaving one out would be wrong
    assert "odd/x/y" in dataproc.run(SESSION + 'spark.read.text("gs://data/odd/").count()').status.details
    assert succeeds(dataproc, SESSION + 'print(spark.read.text("gs://data/even/").count())') == "1\n"


def test_a_java_archive_is_on_the_class_path_of_its_job(dataproc: DataprocService) -> None:
    # Given an archive that Spark does not carry
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("word.txt", "found")
    dataproc.put("gs://code/words.jar", content.getvalue())
    program = SESSION + 'print(spark._jvm.java.lang.ClassLoader.getSystemResource("word.txt") is not None)'

    # When one job names it and the next one does not; Then only the first one sees it
    assert succeeds(dataproc, program, jar_file_uris=["gs://code/words.jar"]) == "True\n"
    assert succeeds(dataproc, program) == "False\n"


def test_a_missing_bucket_is_named(dataproc: DataprocService) -> None:
    job = dataproc.run(SESSION + 'spark.read.csv("gs://nobody/x.csv").count()')
    assert State(job.status.state) == State.ERROR
    assert "The specified bucket does not exist: gs://nobody" in job.status.details


def test_python_on_the_executors_finds_the_jobs_modules(dataproc: DataprocService) -> None:
    dataproc.put("gs://code/greeting.py", "def of(name):\n    return f'hello {name}'\n")
    dataproc.put("gs://code/names.txt", "ann\nbob\n")
    printed = succeeds(
        dataproc,
        """
import greeting
from pyspark import SparkFiles
from pyspark.sql import SparkSession, functions as F
spark = SparkSession.builder.getOrCreate()
names = open("names.txt").read().split()
assert open(SparkFiles.get("names.txt")).read().split() == names
rows = spark.createDataFrame([(name,) for name in names], "name STRING")
print([row.g for row in rows.select(F.udf(greeting.of)("name").alias("g")).collect()])
""",
        python_file_uris=["gs://code/greeting.py"],
        file_uris=["gs://code/names.txt"],
    )
    assert printed == "['hello ann', 'hello bob']\n"


@pytest.mark.parametrize(
    ("ending", "message"),
    [
        ("raise ValueError('boom')", "ValueError: boom"),
        ("import sys; sys.exit(3)", "(exit code 3)"),
        ("import os; os._exit(4)", "(exit code 4)"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "(killed by signal 9)"),
    ],
)
def test_a_driver_that_ends_badly_fails_its_job_and_not_the_next(
    dataproc: DataprocService, ending: str, message: str
) -> None:
    # Given a program that dies with its context open, in one of several ways
    job = dataproc.run(SESSION + ending)

    # Then its job says how, and the next one succeeds
    assert State(job.status.state) == State.ERROR
    assert message in job.status.details
    assert succeeds(dataproc, SESSION + "print(spark.range(7).count())") == "7\n"


def test_a_traceback_begins_in_the_main_file(dataproc: DataprocService) -> None:
    job = dataproc.run("def f():\n    raise KeyError('k')\nf()")
    assert "pydag_driver" not in dataproc.output(job)
    assert dataproc.output(job).count('File "') == 2


def test_cancel_ends_the_driver_its_children_and_the_work_in_the_jvm_quickly(dataproc: DataprocService) -> None:
    # Given a job whose task would sleep for long, and which has started a process
    job = dataproc.submit(
        dataproc.job(
            SESSION
            + """
import subprocess, time
print(subprocess.Popen(["sleep", "300"]).pid, flush=True)
spark.sparkContext.parallelize(range(2)).foreach(lambda _: time.sleep(300))
"""
        )
    )
    while not (printed := _output_so_far(dataproc, job)):
        time.sleep(0.02)
    child = int(printed)
    time.sleep(0.5)

    # When it is cancelled
    started = time.monotonic()
    dataproc.cancel(job)
    ended = dataproc.until(job)

    # Then it is over long before its sleep is, and so is what it started
    assert time.monotonic() - started < 60
    assert State(ended.status.state) == State.CANCELLED
    assert not _alive(child)
    assert succeeds(dataproc, SESSION + "print(spark.range(3).count())") == "3\n"


def test_two_jobs_at_once_both_succeed(dataproc: DataprocService) -> None:
    jobs = [dataproc.submit(dataproc.job(SESSION + f"print(spark.range({n}).count())")) for n in (5, 6)]
    assert [dataproc.output(dataproc.until(job)) for job in jobs] == ["5\n", "6\n"]


def test_google_clients_in_a_program_have_credentials(dataproc: DataprocService) -> None:
    printed = succeeds(dataproc, "import google.auth\nprint(google.auth.default()[0].valid)")
    assert printed == "True\n"


def test_spark_listens_on_loopback_only(dataproc: DataprocService) -> None:
    if not Path("/proc/net/tcp").exists():
        pytest.skip("reads /proc")
    printed = succeeds(
        dataproc,
        SESSION
        + """
sockets = set()
for table in ("tcp", "tcp6"):
    for line in open(f"/proc/net/{table}").read().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A":
            sockets.add((fields[9], fields[1].split(":")[0]))
import os
pid = spark.sparkContext._jvm.java.lang.ProcessHandle.current().pid()
held = {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
print({address for inode, address in sockets if f"socket:[{inode}]" in held})
""",
    )
    loopback = {"0100007F", "0000000000000000FFFF00000100007F"}
    assert set(eval(printed)) <= loopback


def test_spark_dies_with_the_daemon(tmp_path: Path) -> None:
    # Given a process with a cluster whose job runs
    program = f"""
import sys, time
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parents[3])!r})
from tests.local.dataproc.service import DataprocService, State
service = DataprocService(Path({str(tmp_path)!r}))
service.create()
job = service.submit(service.job("import os, time; print(os.getpid(), flush=True); time.sleep(300)"))
while not (service.get(job).status.state == State.RUNNING and (text := service.output(job))):
    time.sleep(0.05)
jvm = next(iter(service.dataproc._clusters._sparks.values()))._jvm._process.pid
print(int(text), jvm, flush=True)
time.sleep(300)
"""
    daemon = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    with reaped(daemon):
        assert daemon.stdout is not None
        processes = [int(word) for word in daemon.stdout.readline().split()]
        assert len(processes) == 2

        # When it is killed
        daemon.send_signal(signal.SIGKILL)

    # Then nothing of it is left
    deadline = time.monotonic() + 15
    while any(_alive(process) for process in processes) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [process for process in processes if _alive(process)] == []


def _output_so_far(dataproc: DataprocService, job: dataproc_v1.Job) -> str:
    return dataproc.output(job) if dataproc.get(job).status.state == State.RUNNING else ""


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{process}/stat")
    return not (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")
