"""From a Dataproc job to work for Spark: what is refused, what is fetched, which properties hold.

Contract: https://cloud.google.com/dataproc/docs/reference/rpc/google.cloud.dataproc.v1#google.cloud.dataproc.v1.PySparkJob
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from google.cloud import dataproc_v1

from pydag_gcp.local import rpc
from pydag_gcp.local.dataproc.spark import Work
from pydag_gcp.local.storage.objects import Objects, StorageError

_TYPE = "type_job"

#: The connector's own archives: the local cloud brings its own ``bigquery`` data source.
_CONNECTOR = re.compile(r"(.*/)?spark(-[\d.]+)?-bigquery[^/]*\.jar")
_CONNECTOR_PACKAGE = re.compile(r"com\.google\.cloud\.spark:spark-[\d.]*-?bigquery[^:]*:[^:]+")

#: Properties that would make a job compute something else if they were ignored.
_REFUSED_PROPERTIES = frozenset(
    {
        "spark.archives",
        "spark.driver.extraClassPath",
        "spark.driver.extraLibraryPath",
        "spark.executor.extraClassPath",
        "spark.executor.extraJavaOptions",
        "spark.executor.extraLibraryPath",
        "spark.jars.ivySettings",
        "spark.pyspark.driver.python",
        "spark.pyspark.python",
        "spark.yarn.dist.archives",
        "spark.yarn.dist.files",
        "spark.yarn.dist.jars",
    }
)


class Unfit(Exception):
    """A job was accepted, and then something that it names was not there or not usable."""


def check(job: dataproc_v1.Job) -> None:
    """Refuse by name what the local cloud does not run.

    Raises:
        RpcError: UNIMPLEMENTED or INVALID_ARGUMENT.
    """
    kind = dataproc_v1.Job.pb(job).WhichOneof(_TYPE)
    if kind is None:
        raise rpc.invalid_argument("Job has no type: set pyspark_job")
    if kind != "pyspark_job":
        raise rpc.unimplemented(f"The local cloud runs PySpark jobs only, not {kind}")
    if not job.pyspark_job.main_python_file_uri:
        raise rpc.invalid_argument("Required field pyspark_job.main_python_file_uri is empty")
    if job.pyspark_job.archive_uris:
        raise rpc.unimplemented("The local cloud does not unpack pyspark_job.archive_uris")
    for name in ("max_failures_per_hour", "max_failures_total"):
        if getattr(job.scheduling, name):
            raise rpc.unimplemented(f"The local cloud does not restart jobs: scheduling.{name}")
    if "driver_scheduling_config" in job:
        raise rpc.unimplemented("The local cloud has no driver pools: driver_scheduling_config")
    _check_properties(job.pyspark_job.properties)


def _check_properties(properties: Mapping[str, str]) -> None:
    for name in sorted(_REFUSED_PROPERTIES & properties.keys()):
        raise rpc.unimplemented(f"The local cloud does not apply the property {name}")
    packages = [name for name in _listed(properties, "spark.jars.packages") if not _CONNECTOR_PACKAGE.fullmatch(name)]
    if packages:
        raise rpc.unimplemented(f"The local cloud does not download packages: spark.jars.packages {packages[0]}")


def prepare(job: dataproc_v1.Job, *, objects: Objects, folder: Path, output: Path) -> Work:
    """Fetch what a job names, and say what Spark is to do.

    Args:
        job: A checked job.
        objects: Where ``gs://`` names are looked up.
        folder: The driver's working folder; made anew.
        output: Where the driver's output goes.

    Raises:
        Unfit: Something that the job names is missing.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    pyspark, properties = job.pyspark_job, dict(job.pyspark_job.properties)
    fetch = _Fetch(objects)
    files = fetch.all([*pyspark.file_uris, *_listed(properties, "spark.files")], folder)
    main = fetch.one(pyspark.main_python_file_uri, folder)
    modules = folder / ".python-files"
    python_files = fetch.all([*pyspark.python_file_uris, *_listed(properties, "spark.submit.pyFiles")], modules)
    wanted = [*pyspark.jar_file_uris, *_listed(properties, "spark.jars")]
    jars = fetch.all([uri for uri in wanted if not _CONNECTOR.fullmatch(uri)], folder / ".jars")
    for name in ("spark.jars", "spark.jars.packages"):
        properties.pop(name, None)
    shipped = {
        "spark.files": [*files, *python_files],
        "spark.submit.pyFiles": python_files,
        "spark.jars": jars,
    }
    properties |= {name: ",".join(map(str, paths)) for name, paths in shipped.items() if paths}
    archives = [file for file in python_files if file.suffix != ".py"]
    return Work(
        main=main,
        args=tuple(pyspark.args),
        folder=folder,
        output=output,
        properties=properties,
        python_path=(modules, *archives) if python_files else (),
        jars=tuple(jars),
        java_options=tuple(shlex.split(properties.pop("spark.driver.extraJavaOptions", ""))),
    )


def _listed(properties: Mapping[str, str], name: str) -> list[str]:
    return [part.strip() for part in properties.get(name, "").split(",") if part.strip()]


class _Fetch:
    """Copies what URIs name into folders."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def all(self, uris: Iterable[str], folder: Path) -> list[Path]:
        return [self.one(uri, folder) for uri in uris]

    def one(self, uri: str, folder: Path) -> Path:
        parts = urlsplit(uri)
        target = folder / Path(parts.path).name
        if target.exists():
            raise Unfit(f"{uri}: the job names two files {target.name}")
        folder.mkdir(exist_ok=True)
        try:
            if parts.scheme == "gs":
                # Not parts.path: "?" and "#" are letters like any other in an object's name.
                bucket, _, name = uri.removeprefix("gs://").partition("/")
                target = folder / Path(name).name
                with self._objects.open(bucket, name) as source, target.open("wb") as copy:
                    shutil.copyfileobj(source, copy)
            elif parts.scheme in ("", "file"):
                shutil.copyfile(unquote(parts.path), target)
            else:
                raise Unfit(f"{uri}: the local cloud fetches gs:// and file:// only")
        except (StorageError, OSError) as error:
            raise Unfit(f"File not found: {uri} ({error})") from error
        return target
