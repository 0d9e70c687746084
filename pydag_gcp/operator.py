"""Operators: a task is a frozen, typed model whose fields are its parameters.

An :class:`Operator` does local work in :meth:`~Operator.execute`. A :class:`RemoteOperator` starts a job in the cloud
and is split where the processor can be given back: :meth:`~RemoteOperator.submit` under an id chosen beforehand,
:meth:`~RemoteOperator.poll`, :meth:`~RemoteOperator.result`, :meth:`~RemoteOperator.cancel`.

Strings with ``{{ }}`` in fields are rendered with Jinja when a run begins (see :meth:`Operator.rendered`), then checked
again like any other value.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import sys
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Protocol, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pydag_gcp.errors import DefinitionError, did_you_mean, place
from pydag_gcp.resources import Resource
from pydag_gcp.retry import Retry
from pydag_gcp.states import TriggerRule

if TYPE_CHECKING:
    from pydag_gcp.gcp import Clients, Target

#: A value that JSON can hold.
Json = Any

_Downstream = TypeVar("_Downstream", bound="Operator | Sequence[Operator]")

_PACKAGE = str(Path(__file__).parent)
_OPERATORS = str(Path(__file__).parent.parent / "operators")


class Owner(Protocol):
    """What an operator needs of the DAG it is defined in."""

    def add(self, task: Operator) -> None:
        """Take the task in."""

    def connect(self, upstream: Operator, downstream: Operator) -> None:
        """Add an edge."""


#: The DAG of the enclosing ``with`` block, which new tasks join.
current_dag: ContextVar[Owner | None] = ContextVar("current_dag", default=None)


#: The task of which a rendered copy is being made: the copy stands at the same line.
_rendering: ContextVar[Operator | None] = ContextVar("_rendering", default=None)


@contextlib.contextmanager
def _copying(task: Operator) -> Iterator[None]:
    """Construct copies of a task that join no DAG."""
    dag, original = current_dag.set(None), _rendering.set(task)
    try:
        yield
    finally:
        current_dag.reset(dag)
        _rendering.reset(original)


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a task may know about its run: handed to every method of an operator.

    Before a run (validation) ``try_number`` is 0 and nobody has spoken to the cloud.
    """

    dag_id: str
    run_id: str
    task_id: str
    try_number: int
    logical_date: datetime
    data_interval_start: datetime
    data_interval_end: datetime
    params: Mapping[str, Any]
    #: Where the pipeline file lies: relative files are looked up from here.
    folder: Path
    #: The project: the folder of the nearest pydag.toml or pyproject.toml.
    project_folder: Path
    clients: Clients
    log: logging.Logger | logging.LoggerAdapter[logging.Logger] = field(
        default_factory=lambda: logging.getLogger("pydag_gcp.task")
    )

    @property
    def target(self) -> Target:
        """Where the run goes."""
        return self.clients.target

    @property
    def labels(self) -> dict[str, str]:
        """The labels that every remote object of this task carries."""
        return {
            "pydag-dag": label_value(self.dag_id),
            "pydag-task": label_value(self.task_id),
            "pydag-run": label_value(self.run_id),
        }

    @property
    def variables(self) -> dict[str, Any]:
        """The names that templates may use."""
        return {
            "params": dict(self.params),
            "dag_id": self.dag_id,
            "task_id": self.task_id,
            "run_id": self.run_id,
            "project": self.target.project,
            "location": self.target.location,
            "logical_date": self.logical_date,
            "data_interval_start": self.data_interval_start,
            "data_interval_end": self.data_interval_end,
            "ds": self.logical_date.date().isoformat(),
            "ds_nodash": self.logical_date.strftime("%Y%m%d"),
        }


@dataclass(frozen=True, kw_only=True)
class Source:
    """The line of the pipeline file that constructed a task."""

    file: str
    line: int


def calling_line() -> Source:
    """Find the nearest caller outside this package."""
    frame = sys._getframe(1)  # noqa: SLF001 - inspect.stack() would read every source file
    while frame.f_back is not None and frame.f_code.co_filename.startswith((_PACKAGE, _OPERATORS)):
        frame = frame.f_back
    return Source(file=frame.f_code.co_filename, line=frame.f_lineno)


def definition_error(
    error: ValidationError, *, source: Source, task_id: object, known: Sequence[str]
) -> DefinitionError:
    """Say pydantic's first complaint in our one style."""
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    where = place(
        file=source.file, line=source.line, task=task_id if isinstance(task_id, str) else None, field=name or None
    )
    if first["type"] == "extra_forbidden":
        return DefinitionError(
            "no such field", where=where, hint=did_you_mean(name, known) or f"known: {', '.join(known)}"
        )
    if first["type"] == "missing":
        return DefinitionError("is required", where=where)
    message = first["msg"].removeprefix("Value error, ")
    got = "" if "got" in message else f", got {first['input']!r}"
    return DefinitionError(f"{message[:1].lower()}{message[1:]}{got}", where=where)


class Operator(BaseModel):
    """A unit of work: subclass it, declare fields, write :meth:`execute`.

    Frozen; compared by identity. Constructed inside ``with DAG(...)`` it joins that DAG.

    Raises:
        DefinitionError: A field is unknown, missing or of the wrong type; names the file, line, task and field.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        arbitrary_types_allowed=True,
        ser_json_bytes="base64",
        coerce_numbers_to_str=True,  # "{{ params.year }}" gives a number, also where text is wanted
    )

    #: Part of the fingerprint: raise it when the operator's code changes what it produces.
    revision: ClassVar[int] = 1

    task_id: str = Field(
        pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,199}$",
        description="Unique in the DAG: a letter, then letters, digits, - or _ (at most 200)",
    )
    retry: Retry | None = Field(default=None, description="How often and when to try again; default: the DAG's")
    timeout: Annotated[timedelta, Field(gt=timedelta(0))] | None = Field(
        default=None, description="Longest time one try may take, in seconds or as a timedelta"
    )
    trigger_rule: TriggerRule = Field(default=TriggerRule.ALL_SUCCESS, description="When to start, by upstream states")
    priority: int = Field(default=0, description="Of two ready tasks the one with the higher priority starts first")
    slots: int = Field(default=1, ge=1, description="Processors that local work of this task holds at once")
    cache: bool | timedelta | None = Field(default=None, description="Whether, or for how long, a result may be reused")
    idempotent: bool = Field(default=False, description="Running it again after a partial effect does no harm")

    def __init__(self, /, **fields: Any) -> None:
        original = _rendering.get()
        source = original.source if original else calling_line()
        try:
            super().__init__(**fields)
        except ValidationError as error:
            known = [info.alias or name for name, info in type(self).model_fields.items()]
            raise definition_error(error, source=source, task_id=fields.get("task_id"), known=known) from None
        object.__setattr__(self, "_source", source)
        dag = current_dag.get()
        if dag is not None:
            dag.add(self)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __rshift__(self, downstream: _Downstream) -> _Downstream:
        for task in downstream if isinstance(downstream, Sequence) else [downstream]:
            _dag_of(self).connect(self, task)
        return downstream

    def __rrshift__(self, upstream: Sequence[Operator]) -> Self:
        for task in upstream:
            _dag_of(task).connect(task, self)
        return self

    @property
    def source(self) -> Source:
        """The line of the pipeline file that constructed this task."""
        source: Source = self.__dict__["_source"]
        return source

    def rendered(self, ctx: Context) -> Self:
        """Return a copy, in no DAG, with every ``{{ }}`` in its fields replaced and all fields checked again.

        Raises:
            DefinitionError: A template is wrong, names an unknown variable, or its value does not fit the field.
        """
        from pydag_gcp.sql import render_value

        given: dict[str, Any] = {}
        for name in sorted(self.model_fields_set):
            field = type(self).model_fields[name].alias or name
            where = place(file=self.source.file, line=self.source.line, task=self.task_id, field=field)
            given[field] = render_value(getattr(self, name), ctx.variables, where=where)
        with _copying(self):
            return type(self)(**given)

    def check(self, ctx: Context) -> None:
        """Check, before anything runs, what construction could not: that files exist, that SQL parses.

        Called on the rendered task. Asks nothing of the cloud.

        Raises:
            DefinitionError: It would fail for a reason that can be seen now.
        """

    def reads(self, ctx: Context) -> frozenset[Resource] | None:
        """Name what the task reads; None if that is not known."""
        return None

    def writes(self, ctx: Context) -> frozenset[Resource] | None:
        """Name what the task writes; None if that is not known."""
        return None

    def uses(self, ctx: Context) -> frozenset[Resource] | None:
        """Name the services the task needs while it runs, such as its cluster."""
        return frozenset()

    def atomic(self, ctx: Context) -> bool:
        """Tell whether a failed try is known to have had no effect, so that trying again is safe."""
        return True

    @abstractmethod
    def execute(self, ctx: Context) -> Json:
        """Do the work on one processor and return its result.

        Raises:
            Exception: Whatever is raised fails the try; :class:`~pydag_gcp.errors.TaskError` says why in one line.
        """


@dataclass(frozen=True, kw_only=True)
class Running:
    """The job is not finished. ``detail`` is shown to who watches the run."""

    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Done:
    """The job finished well."""


@dataclass(frozen=True, kw_only=True)
class Failed:
    """The job finished badly: it is over and changes nothing any more."""

    reason: str
    transient: bool = False


Status = Running | Done | Failed


class RemoteOperator(Operator):
    """An operator whose work is a job in the cloud. None of its methods waits for the job."""

    @abstractmethod
    def submit(self, ctx: Context, job_id: str) -> dict[str, Json]:
        """Start the job under ``job_id``, or attach to the one this very request started before; return its handle.

        Called again with the same ``job_id`` when an answer was lost or refused as transient
        (:func:`pydag_gcp.retry.is_transient`), so it makes each call once, with no retries of the client's own. When
        the service says the id is taken, it gets that job and returns its handle if the job's ``pydag-request`` label
        equals :func:`request_label` of this request.

        Returns:
            JSON that suffices to poll, cancel and fetch the result, also in another process.

        Raises:
            TaskError: The job was definitely not accepted, or the id belongs to another request.
            google.api_core.exceptions.GoogleAPICallError: As the client raised it; if transient, the job may exist.
        """

    @abstractmethod
    def poll(self, ctx: Context, handle: Mapping[str, Json]) -> Status:
        """Look once whether the job is over."""

    @abstractmethod
    def result(self, ctx: Context, handle: Mapping[str, Json]) -> Json:
        """Return what downstream tasks may want to know of a finished job."""

    @abstractmethod
    def cancel(self, ctx: Context, handle: Mapping[str, Json]) -> None:
        """Request that the job stops; returns at once. The job is over only when :meth:`poll` says so."""

    def execute(self, ctx: Context) -> Json:
        """Not for remote work: the executor submits and polls.

        Raises:
            TypeError: Always.
        """
        raise TypeError(f"{type(self).__name__} is remote: it is submitted and polled, not executed")


def _dag_of(task: Operator) -> Owner:
    owner: Owner | None = task.__dict__.get("_dag") or current_dag.get()
    if owner is None:
        where = place(file=task.source.file, line=task.source.line, task=task.task_id)
        raise DefinitionError("is in no DAG", where=where, hint="construct it inside `with DAG(...)`")
    return owner


def request_label(request: Mapping[str, Json]) -> str:
    """Hash a request, without ids and labels, to the value of its ``pydag-request`` label (40 hex digits)."""
    text = json.dumps(request, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:40]


def remote_id(run_id: str, task_id: str, try_number: int) -> str:
    """Derive the id of a try's remote job: it fits the limits of every service and never repeats."""
    digest = hashlib.sha256(json.dumps([run_id, task_id, try_number]).encode()).hexdigest()
    return f"pydag-{digest[:32]}"


def label_value(text: str) -> str:
    """Make a label value: lower-case, at most 63 of ``[a-z0-9_-]``.

    https://cloud.google.com/resource-manager/docs/labels-overview#requirements
    """
    return "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "-" for c in text.lower())[:63]
