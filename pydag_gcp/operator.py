"""Operators: a task is a frozen, typed model whose fields are its parameters.

An :class:`Operator` does local work in :meth:`~Operator.execute`. A :class:`RemoteOperator` starts a job in the cloud
and is split where the processor can be given back: :meth:`~RemoteOperator.submit` under an id chosen beforehand,
:meth:`~RemoteOperator.poll`, :meth:`~RemoteOperator.result`, :meth:`~RemoteOperator.cancel`.

Strings with ``{{ }}`` in fields are rendered with Jinja when a run begins (see :meth:`Operator.rendered`), then checked
again like any other value.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_serializer,
    field_validator,
)

from pydag_gcp.construction import one_of_equal, param_names, taken
from pydag_gcp.context import Context
from pydag_gcp.copying import holds_template, rendered, substituted
from pydag_gcp.duration import SPAN, Duration
from pydag_gcp.errors import DefinitionError
from pydag_gcp.estimate import Estimate
from pydag_gcp.identity import ID, ID_IN_WORDS
from pydag_gcp.model import complaint, dotted, names
from pydag_gcp.output import Output
from pydag_gcp.owner import Owner, current_dag
from pydag_gcp.resources import Resource, Table
from pydag_gcp.retry import Retry
from pydag_gcp.runtime_value import RuntimeValue, let_through, written
from pydag_gcp.source import Source, calling_line
from pydag_gcp.states import TriggerRule
from pydag_gcp.status import Done, Failed, Running, Status
from pydag_gcp.teardown import Setups

__all__ = [
    "Context",
    "Done",
    "Failed",
    "Json",
    "Operator",
    "Owner",
    "RemoteOperator",
    "Running",
    "Status",
    "current_dag",
]

#: A value that JSON can hold.
Json = Any

#: The services of our own operators.
ServiceName = Literal["bigquery", "dataproc"]
SERVICES: tuple[str, ...] = get_args(ServiceName)

_Downstream = TypeVar("_Downstream", bound="Operator | Sequence[Operator]")


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
    #: Whether others may see what stands in its fields, so that a secret must not.
    shows_secrets: ClassVar[bool] = False
    #: Whether an earlier result is reused although the task's ``cache`` does not say so.
    cached_by_default: ClassVar[bool] = True

    task_id: str = Field(
        pattern=f"^{ID}$",
        description=f"Unique in the DAG: {ID_IN_WORDS}",
    )
    retry: Retry | None = Field(default=None, description="How often and when to try again; default: the DAG's")
    timeout: Annotated[timedelta, Field(gt=timedelta(0)), SPAN] | None = Field(
        default=None, description="Longest time one try may take, in seconds or as a timedelta"
    )
    trigger_rule: TriggerRule = Field(default=TriggerRule.ALL_SUCCESS, description="When to start, by upstream states")
    priority: int = Field(default=0, description="Of two ready tasks the one with the higher priority starts first")
    slots: int = Field(default=1, ge=1, description="Processors that local work of this task holds at once")
    cache: bool | Duration | None = Field(default=None, description="Whether, or for how long, a result may be reused")
    idempotent: bool = Field(default=False, description="Running it again after a partial effect does no harm")
    teardown_of: Setups = Field(
        default=(),
        description="The task, or tasks, that it cleans up after: if one of them was started, it runs when all its "
        "upstreams have ended, whatever came of them",
    )

    def __init__(self, /, **fields: Any) -> None:
        source, dag = calling_line(), current_dag.get()
        try:
            given, values = taken(type(self), fields, base=Operator, dag=dag)
            super().__init__(**given)
        except (DefinitionError, ValidationError) as error:
            raise _mistake(error, type(self), fields, source) from None
        object.__setattr__(self, "_source", source)
        object.__setattr__(self, "_values", values)
        object.__setattr__(self, "__pydantic_fields_set__", one_of_equal(self.__pydantic_fields_set__))
        if dag is not None:
            dag.add(self)

    @field_validator("*", mode="wrap")
    @classmethod
    def _let_runtime_values_through(cls, value: Any, check: Callable[[Any], Any]) -> Any:
        return let_through(value, check)

    @field_serializer("*", mode="wrap")
    def _write_runtime_values(self, value: Any, write: Callable[[Any], Any]) -> Any:
        return written(value, write)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __rshift__(self, downstream: _Downstream) -> _Downstream:
        connect = _dag_of(self).connect
        kind: Any = type(downstream)
        tasks: Any = downstream if _is_many(kind) else (downstream,)
        for task in tasks:
            connect(self, task)
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

    @property
    def output(self) -> Any:
        """What the task will return, for fields that are declared ``Param``; ``output["key"][0]`` is a part of it."""
        return Output(self.task_id, task=self)

    @property
    def runtime_values(self) -> tuple[RuntimeValue, ...]:
        """The values in its fields that are known only when it starts, each once."""
        values: tuple[RuntimeValue, ...] = self.__dict__["_values"]
        return values

    @classmethod
    def param_fields(cls) -> frozenset[str]:
        """The names, as authors write them, of the fields that take outputs and secrets."""
        return param_names(cls)

    def rendered(self, ctx: Context) -> Self:
        """Return a copy, in no DAG, with every ``{{ }}`` in its fields replaced and all fields checked again.

        A task without any is its own copy, unless its class keeps what it learns in private attributes.

        Raises:
            DefinitionError: A template is wrong, names an unknown variable, or its value does not fit the field.
        """
        return self if _is_constant(type(self)) and not holds_template(self) else rendered(self, ctx)

    def resolved(self, ctx: Context) -> Self:
        """Return a copy, in no DAG, with every runtime value replaced and all fields checked again.

        Called on the rendered task, on a worker, once for each try. A task without runtime values returns itself.

        Raises:
            TaskError: A value is not there, or does not fit the field.
        """
        if not self.runtime_values:
            return self
        return self.substituted({value: value.resolve(ctx) for value in self.runtime_values})

    def substituted(self, known: Mapping[RuntimeValue, Any]) -> Self:
        """Return a copy, in no DAG, with these values in the places of runtime values, and all fields checked again.

        Raises:
            TaskError: A value does not fit the field.
        """
        return substituted(self, known)

    def check(self, ctx: Context) -> None:
        """Check, before anything runs, what construction could not: that files exist, that SQL parses.

        Called on the rendered task. Asks nothing of the cloud.

        Raises:
            DefinitionError: It would fail for a reason that can be seen now.
        """

    def fetch(self, ctx: Context) -> bool:
        """Read what lies in the cloud and decides what the task does, and check it; tell whether there is any.

        Called on the rendered task, once, when the run has reached its target and before anything runs.

        Raises:
            DefinitionError: It is not there, or is wrong.
            google.api_core.exceptions.GoogleAPICallError: As the client raised it.
        """
        return False

    def reads(self, ctx: Context) -> frozenset[Resource] | None:
        """Name what the task reads; None if that is not known."""
        return None

    def writes(self, ctx: Context) -> frozenset[Resource] | None:
        """Name what the task writes; None if that is not known."""
        return None

    def uses(self, ctx: Context) -> frozenset[Resource] | None:
        """Name the services the task needs while it runs, such as its cluster."""
        return frozenset()

    def replaces(self, ctx: Context) -> frozenset[Resource]:
        """Name what of its writes the task replaces as a whole: nothing is left of what it held before."""
        return frozenset()

    def views(self, ctx: Context) -> Mapping[Table, frozenset[Resource]]:
        """Name the views the task makes, and what each of them reads, as far as that is known."""
        return {}

    def atomic(self, ctx: Context) -> bool:
        """Tell whether a failed try is known to have had no effect, so that trying again is safe."""
        return True

    def identity(self, ctx: Context) -> Mapping[str, Json]:
        """Name what makes the task the one it is: two of the same identity do the same to the same data.

        Called on the rendered task; asks nobody. Values may be whatever :mod:`pydag_gcp.canonical` writes.

        Raises:
            Unhashable: A part of it cannot be told from another.
        """
        from pydag_gcp.fingerprint import fields_of

        return fields_of(self, ctx)

    def shapes(self, ctx: Context) -> frozenset[Resource]:
        """Name what of its writes the task only makes, or makes sure of, without touching a row."""
        return frozenset()

    def deterministic(self, ctx: Context) -> bool:
        """Tell whether the same data gives the same result: no clock, chance or session decides it."""
        return True

    def fulfilled(self, ctx: Context) -> bool:
        """Ask the cloud whether the service that the task starts is there already, as the task would make it.

        Raises:
            TaskError: The cloud refused to say.
            google.api_core.exceptions.GoogleAPICallError: A transient one.
        """
        return False

    def estimate(self, ctx: Context) -> Estimate | None:
        """Ask the cloud what the task would be billed for; None where nothing is billed by bytes.

        Raises:
            TaskError: It cannot be told now; says why.
            google.api_core.exceptions.GoogleAPICallError: A transient one.
        """
        return None

    @abstractmethod
    def execute(self, ctx: Context) -> Json:
        """Do the work on one processor and return its result.

        Raises:
            Exception: Whatever is raised fails the try; :class:`~pydag_gcp.errors.TaskError` says why in one line.
        """


class RemoteOperator(Operator):
    """An operator whose work is a job in the cloud. None of its methods waits for the job."""

    shows_secrets: ClassVar[bool] = True
    #: What takes its jobs, as a DAG's ``limits`` name it; by default the name of the class: ``my_service``.
    service: ClassVar[str]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if not hasattr(cls, "service"):
            cls.service = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", cls.__name__).lower()

    @abstractmethod
    def submit(self, ctx: Context, job_id: str) -> dict[str, Json]:
        """Start the job under ``job_id``, or attach to the one this very request started before; return its handle.

        Called again with the same ``job_id`` when an answer was lost or refused as transient
        (:func:`pydag_gcp.retry.is_transient`), so it makes each call once, with no retries of the client's own. When
        the service says the id is taken, it gets that job and returns its handle if the job's ``pydag-request`` label
        equals :func:`~pydag_gcp.identity.request_label` of this request.

        Returns:
            JSON that suffices to poll, cancel and fetch the result, also in another process.

        Raises:
            TaskError: The job was definitely not accepted, or the id belongs to another request.
            google.api_core.exceptions.GoogleAPICallError: As the client raised it; if transient, the job may exist.
        """

    @abstractmethod
    def poll(self, ctx: Context, handle: Mapping[str, Json]) -> Status:
        """Look once whether the job is over."""

    def listing(self, handle: Mapping[str, Json]) -> Hashable | None:
        """Name the list of its service in which the job stands while it goes on; None: there is none.

        Jobs of which this is equal can be looked at together, by one call of :meth:`listed` of any of them.
        """
        return None

    def listed(
        self, ctx: Context, handle: Mapping[str, Json], job_ids: frozenset[str], since: datetime
    ) -> Mapping[str, Running]:
        """List, by id, those of some jobs that are not over. Whoever is missing is looked at with :meth:`poll`.

        Args:
            ctx: The context of any of the jobs.
            handle: Its handle.
            job_ids: The jobs that are asked for; there may be others in the answer.
            since: No job was sent before, by the clock of this machine.

        Raises:
            TaskError: The service refuses to list: it is not asked again, and all jobs are looked at with :meth:`poll`.
            google.api_core.exceptions.GoogleAPICallError: A transient one.
        """
        return {}

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


@cache
def _is_many(kind: Any) -> bool:
    return issubclass(kind, Sequence)


@cache
def _is_constant(kind: type[Operator]) -> bool:
    """Whether what a task of this class is does not change when it is rendered, checked, fetched."""
    return not kind.__private_attributes__ and kind.rendered is Operator.rendered


def _mistake(
    error: DefinitionError | ValidationError, kind: type[Operator], fields: Mapping[str, Any], source: Source
) -> DefinitionError:
    """Say what is wrong with what was given, and where."""
    bare = complaint(error, given=fields, known=names(kind)) if isinstance(error, ValidationError) else error
    task = fields["task_id"] if isinstance(fields.get("task_id"), str) else None
    where = source.place(task=task, field=dotted(bare.loc) or None)
    return DefinitionError(bare.what, where=where, hint=bare.hint, loc=bare.loc)


def _dag_of(task: Operator) -> Owner:
    owner: Owner | None = task.__dict__.get("_dag") or current_dag.get()
    if owner is None:
        where = task.source.place(task=task.task_id)
        raise DefinitionError("is in no DAG", where=where, hint="construct it inside `with DAG(...)`")
    return owner
