"""Definitions of the 2022 pyDag: JSON as it was, made a DAG of today's operators.

https://github.com/Wittline/pyDag: a task's ``script`` is ``gcs.<bucket>.<folder>.<engine>.<name>``, where the engine is
``bq`` (a SQL object), ``spark`` (a PySpark object) or ``iac`` (Python that was downloaded and executed; here only the
one that created a cluster is known, by its name). Its ``params`` are a dict written as text.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pydag_gcp import settings
from pydag_gcp.dag import DAG
from pydag_gcp.document import Document
from pydag_gcp.errors import DefinitionError, did_you_mean, did_you_mean_one_of
from pydag_gcp.identity import ID, ID_IN_WORDS
from pydag_gcp.model import complaint, names
from pydag_gcp.operator import Operator
from pydag_gcp.pydag2022.params import as_argument, parse, verbatim
from pydag_gcp.resources import Cluster
from pydag_gcp.retry import Retry
from pydag_gcp.source import Source, defined_at

#: The only script of the engine ``iac`` that is known; none is ever executed.
CREATE_CLUSTER: Final = "dataproc_create_cluster"

_CLUSTER_PARAMS: Final = ("cluster_name", "project_name", "region")
_ENGINES: Final = ("bq", "spark", "iac")
_STORAGES: Final = ("gcs", "local", "s3", "database")

# https://airflow.apache.org/docs/apache-airflow/stable/authoring-and-scheduling/cron.html#cron-presets
_PRESETS: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@once": None,
    "": None,
}

_Keys = tuple[str | int, ...]
_Model = TypeVar("_Model", bound=BaseModel)
_Text = Annotated[str, Field(min_length=1)]


class _Task(BaseModel):
    """One task as it was written."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    task_id: _Text
    script: _Text
    params: str | dict[str, Any] = ""
    dependencies: list[str] = []


class _Head(BaseModel):
    """What holds for all tasks; ``owner``, ``start_date`` and ``tags`` were notes, and still are."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    dag_id: Annotated[str, Field(pattern=f"^{ID}$", description=ID_IN_WORDS)]
    tasks: Annotated[list[dict[str, Any]], Field(min_length=1)]
    script_cache: bool | None = None
    expire_cache: Annotated[int, Field(ge=0, le=10**10)] | None = None
    schedule_interval: str | None = None
    tags: list[str] = []
    description: str | None = None
    processors: Annotated[int, Field(ge=1)] | None = None
    retries: Annotated[int, Field(ge=0)] | None = None
    owner: str | None = None
    start_date: str | None = None

    @property
    def cache(self) -> bool | timedelta | None:
        """How long results may be reused; 0 seconds meant without end."""
        if self.script_cache and self.expire_cache:
            return timedelta(seconds=self.expire_cache)
        return self.script_cache


def is_2022(value: Any) -> bool:
    """Tell whether a JSON document has the shape of 2022: all below ``dag``."""
    return isinstance(value, dict) and isinstance(value.get("dag"), dict)


def load(document: Document) -> DAG:
    """Make the DAG that a definition of 2022 describes.

    Raises:
        DefinitionError: Something in it is wrong, or was executed code; names file, line, column, task and key.
        SettingsError: ``pydag.toml`` is wrong.
    """
    return _Definition(document, settings.load(document.file).spark).dag()


@dataclass(frozen=True, kw_only=True)
class _Script:
    """A ``script``, taken apart."""

    bucket: str
    folder: str
    engine: str
    name: str

    def uri(self, ending: str) -> str:
        return f"gs://{self.bucket}/{self.folder}/{self.name}{ending}"


class _Definition:
    def __init__(self, document: Document, spark: Mapping[str, str]) -> None:
        self._document = document
        self._spark = spark
        self._makers: dict[str, Callable[[_Task, _Script, dict[str, Any], _Keys], Operator]] = {
            "bq": self._query,
            "spark": self._job,
            "iac": self._cluster,
        }
        #: The project that tasks name, and the task that named it first.
        self._project: tuple[str, str] | None = None

    def dag(self) -> DAG:
        """Make the DAG."""
        given = self._document.value
        for name in given:
            if name != "dag":
                raise self._document.error(f"{name!r} stands beside 'dag'", (name,), hint="remove it", of_key=True)
        self._head = head = self._checked(_Head, given["dag"], ("dag",))
        with self._placed(("dag", "schedule_interval")), self._source(("dag", "dag_id")):
            dag = DAG(
                head.dag_id,
                retry=Retry(attempts=(head.retries or 0) + 1),
                description=head.description or "",
                max_processors=head.processors,
                schedule=self._schedule(),
            )
        tasks = self._tasks()
        with dag:
            for task, keys in tasks.values():
                with self._placed(keys, task=task.task_id), self._source(keys):
                    self._make(task, keys)
        dag.project = self._project[0] if self._project else None
        for task, keys in tasks.values():
            self._connect(dag, task, (*keys, "dependencies"))
        return dag

    def _schedule(self) -> str | None:
        written = (self._head.schedule_interval or "").strip()
        return _PRESETS.get(written, written)

    def _tasks(self) -> dict[str, tuple[_Task, _Keys]]:
        tasks: dict[str, tuple[_Task, _Keys]] = {}
        for index, given in enumerate(self._head.tasks):
            keys: _Keys = ("dag", "tasks", index)
            task = self._checked(_Task, given, keys)
            if task.task_id in tasks:
                first = self._document.place((*tasks[task.task_id][1], "task_id")).line
                what = f"another task has this id, in line {first}"
                raise self._error(what, (*keys, "task_id"), task=task.task_id)
            tasks[task.task_id] = task, keys
        return tasks

    def _connect(self, dag: DAG, task: _Task, keys: _Keys) -> None:
        joined: set[str] = set()
        for index, above in enumerate(task.dependencies):
            if above not in dag.tasks:
                hint = did_you_mean_one_of(above, dag.tasks)
                raise self._error(f"no task {above!r}", (*keys, index), task=task.task_id, hint=hint)
            if above in joined:
                raise self._error(f"{above!r} is repeated", (*keys, index), task=task.task_id, hint="remove it")
            joined.add(above)
            dag.connect(dag.tasks[above], dag.tasks[task.task_id])

    # tasks -------------------------------------------------------------------------------------------------------

    def _make(self, task: _Task, keys: _Keys) -> Operator:
        script = self._script(task, (*keys, "script"))
        with self._placed((*keys, "params"), task=task.task_id):
            params = parse(task.params)
        return self._makers[script.engine](task, script, params, keys)

    def _script(self, task: _Task, keys: _Keys) -> _Script:
        parts = task.script.split(".")
        if len(parts) != 5:
            what = f"expected gcs.<bucket>.<folder>.<bq|spark|iac>.<name>, got {task.script!r}"
            raise self._error(what, keys, task=task.task_id)
        storage, bucket, folder, engine, name = parts
        if storage != "gcs":
            hint = "put the script into a bucket" if storage in _STORAGES else did_you_mean(storage, ["gcs"])
            raise self._error(f"scripts lie in gcs, not {storage!r}", keys, task=task.task_id, hint=hint)
        if engine not in _ENGINES:
            hint = did_you_mean_one_of(engine, _ENGINES)
            raise self._error(f"no engine {engine!r}", keys, task=task.task_id, hint=hint)
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]+", bucket) or not re.fullmatch(r"[\w/-]+\.[\w-]+", f"{folder}.{name}"):
            what = f"{task.script!r} names no object"
            hint = (
                "a bucket is 3 to 63 lower-case letters, digits, _ and -; folder and name are letters, digits, _ and -"
            )
            raise self._error(what, keys, task=task.task_id, hint=hint)
        return _Script(bucket=bucket, folder=folder, engine=engine, name=name)

    def _query(self, task: _Task, script: _Script, params: dict[str, Any], _: _Keys) -> Operator:
        from pydag_gcp.operators.formatted_query import FormattedQuery

        texts = {name: verbatim(str(value)) for name, value in params.items()}  # as str.format did
        return FormattedQuery(task_id=task.task_id, sql=script.uri(".sql"), params=texts, cache=self._head.cache)

    def _job(self, task: _Task, script: _Script, params: dict[str, Any], keys: _Keys) -> Operator:
        from pydag_gcp.operators import DataprocPySparkJob

        sent = {**params, **self._spark, "id": f"{self._head.dag_id}_{task.task_id}"}
        jars = [jar.strip() for jar in self._spark.get("spark.jars", "").split(",") if jar.strip()]
        return DataprocPySparkJob(
            task_id=task.task_id,
            cluster=self._named_cluster(task, params, keys),
            main=script.uri(".py"),
            args=("--params", as_argument(sent)),
            jars=jars,
            # What it reads is not known, so no change of it would be noticed: reuse is only ever switched off.
            cache=False if self._head.script_cache is False else None,
        )

    def _cluster(self, task: _Task, script: _Script, params: dict[str, Any], keys: _Keys) -> Operator:
        from pydag_gcp.operators import DataprocCreateCluster

        if script.name != CREATE_CLUSTER:
            hint = did_you_mean_one_of(script.name, [CREATE_CLUSTER])
            what = (
                f"iac script {script.name!r} is Python that would be downloaded and executed, which pydag does not do"
            )
            raise self._error(what, (*keys, "script"), task=task.task_id, hint=hint)
        for name in params:
            if name not in _CLUSTER_PARAMS:
                hint = did_you_mean_one_of(name, _CLUSTER_PARAMS)
                raise self._error(f"{CREATE_CLUSTER} has no {name!r}", (*keys, "params"), task=task.task_id, hint=hint)
        return DataprocCreateCluster(task_id=task.task_id, cluster=self._named_cluster(task, params, keys))

    def _named_cluster(self, task: _Task, params: Mapping[str, Any], keys: _Keys) -> Cluster:
        """The cluster that params name, after a look at the project they name."""
        for name in ("cluster_name", "region"):
            if not isinstance(params.get(name), str):
                hint = None if name in params else did_you_mean(name, params)
                raise self._error(f"params need a text {name!r}", (*keys, "params"), task=task.task_id, hint=hint)
        self._take_project(params.get("project_name"), task, (*keys, "params"))
        with self._placed((*keys, "params"), task=task.task_id):
            return Cluster(params["cluster_name"], region=params["region"])

    def _take_project(self, project: Any, task: _Task, keys: _Keys) -> None:
        if project is None:
            return
        first = self._project or (project, task.task_id)
        if not isinstance(project, str) or project != first[0]:
            what = f"project_name is {project!r}, but task {first[1]!r} names {first[0]!r}"
            raise self._error(what, keys, task=task.task_id, hint="a run goes to one project")
        self._project = first

    # errors ------------------------------------------------------------------------------------------------------

    def _checked(self, model: type[_Model], given: Any, keys: _Keys) -> _Model:
        try:
            return model.model_validate(given)
        except ValidationError as error:
            bare = complaint(error, given=given, known=names(model))
            task = given.get("task_id") if model is _Task else None
            shown = task if isinstance(task, str) else None
            of_key = bare.what == "no such field"
            raise self._error(bare.what, (*keys, *bare.loc), task=shown, hint=bare.hint, of_key=of_key) from None

    @contextlib.contextmanager
    def _placed(self, keys: _Keys, *, task: str | None = None) -> Iterator[None]:
        """Give errors from elsewhere their place in the document."""
        try:
            yield
        except DefinitionError as error:
            if error.excerpt is not None:
                raise
            raise self._error(error.what, keys, task=task, hint=error.hint) from None

    def _source(self, keys: _Keys) -> contextlib.AbstractContextManager[None]:
        return defined_at(Source(file=str(self._document.file), line=self._document.place(keys).line))

    def _error(
        self, what: str, keys: _Keys, *, task: str | None = None, hint: str | None = None, of_key: bool = False
    ) -> DefinitionError:
        names = [key for key in keys if isinstance(key, str)]
        field = names[-1] if len(names) > 1 and (task is None or names[-1] != "tasks") else None
        return self._document.error(what, keys, hint=hint, task=task, field=field, of_key=of_key)
