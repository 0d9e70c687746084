"""Tasks from Python functions: ``@task`` and ``@task.branch``."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Self, TypedDict, Unpack, overload

from pydantic import Field, PlainSerializer, field_validator

from pydag_gcp.branch import picked
from pydag_gcp.errors import DefinitionError, did_you_mean_one_of
from pydag_gcp.identity import is_id
from pydag_gcp.operator import Context, Json, Operator, current_dag
from pydag_gcp.operators.declared import Declared, qualified
from pydag_gcp.resources import Cluster, Resource
from pydag_gcp.retry import Retry
from pydag_gcp.runtime_value import Param
from pydag_gcp.signature import Signature
from pydag_gcp.source import calling_line
from pydag_gcp.states import TriggerRule


class Options(TypedDict, total=False):
    """What ``@task(...)`` and ``.options(...)`` take: fields of the task.

    Attributes:
        task_id: By default the function's name; a second call makes ``name__1``.
        reads: What the function reads, writes, uses: None if not known; an empty list says "nothing".
    """

    task_id: str
    retry: Retry | Mapping[str, Any] | None
    timeout: timedelta | float | None
    trigger_rule: TriggerRule | str
    priority: int
    slots: int
    cache: bool | timedelta | None
    idempotent: bool
    teardown_of: Operator | str | Sequence[Operator | str]
    reads: Sequence[Resource | str] | None
    writes: Sequence[Resource | str] | None
    uses: Sequence[Cluster]


class Function:
    """A function that makes a task when it is called inside ``with DAG(...)``; elsewhere it is itself.

    Args:
        function: A plain function.
        kind: The class of its tasks.
        options: Their fields.

    Raises:
        DefinitionError: It is no plain function, or there is no such option.
    """

    def __init__(self, function: Callable[..., Any], kind: type[FunctionTask], options: Options) -> None:
        _check_function(function)
        _check_options(options)
        functools.update_wrapper(self, function)
        self.signature = Signature(function)
        self._kind = kind
        self._options = options
        #: What its tasks refer to: the function itself, whatever options one of them was made with.
        self._plain = self
        #: The first task that was made without arguments, of which the next ones are twins.
        self._first: list[FunctionTask] = []

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Make a task of the current DAG; where there is none, call the function.

        Raises:
            DefinitionError: The arguments do not fit; names the function, the argument and the line.
        """
        dag = current_dag.get()
        if dag is None:
            return self.signature.function(*args, **kwargs)
        task_id = self._options["task_id"] if "task_id" in self._options else dag.free_id(self.signature.name)
        if self._first and not args and not kwargs and isinstance(task_id, str) and is_id(task_id):
            return self._first[0].twin(task_id)
        try:
            arguments = self.signature.bind(args, kwargs)
        except DefinitionError as error:
            where = calling_line().place(task=task_id)
            raise DefinitionError(error.what, where=where, hint=error.hint) from None
        options: Options = {**self._options, "task_id": task_id}
        made = self._kind(**options, function=self._plain, arguments=arguments)
        if not arguments and not made.teardown_of and not self._first:
            self._first.append(made.prototype())
        return made

    def options(self, **options: Unpack[Options]) -> Function:
        """Return the same function with other options for its tasks: ``load.options(task_id="load_eu")(...)``."""
        _check_options(options)
        other = object.__new__(Function)
        other.__dict__.update(self.__dict__, _options={**self._options, **options})
        if options.keys() != {"task_id"}:
            other._first = []
        return other

    def __str__(self) -> str:
        return f"{self.signature.function.__module__}:{self.signature.function.__qualname__}"


def _check_function(function: Callable[..., Any]) -> None:
    if not inspect.isfunction(function):
        raise DefinitionError(f"@task is for functions, got {function!r}", where=calling_line().place())
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        what, hint = f"{function.__name__}() is async", "write a plain function"
        raise DefinitionError(what, where=calling_line().place(), hint=hint)
    if inspect.isgeneratorfunction(function):
        what = f"{function.__name__}() is a generator"
        raise DefinitionError(what, where=calling_line().place(), hint="return a list")


def _check_options(options: Options) -> None:
    known = Options.__annotations__
    for name in options.keys() - known.keys():
        hint = did_you_mean_one_of(name, known)
        raise DefinitionError(f"@task has no option {name!r}", where=calling_line().place(), hint=hint)


class FunctionTask(Operator):
    """Call a Python function; what it returns, as JSON, is its output. Made by ``@task``."""

    cached_by_default: ClassVar[bool] = False

    function: Annotated[Function, PlainSerializer(str)] = Field(description="The function")
    arguments: Param[dict[str, Any]] = Field(default={}, description="Its arguments, by name")
    declared_reads: tuple[Declared, ...] | None = Field(
        default=None, alias="reads", description="Tables and objects that it reads; default: not known"
    )
    declared_writes: tuple[Declared, ...] | None = Field(
        default=None, alias="writes", description="Tables and objects that it writes; default: not known"
    )
    declared_uses: tuple[Cluster, ...] = Field(default=(), alias="uses", description="Clusters that it needs")

    @field_validator("arguments")
    @classmethod
    def _fitting(cls, arguments: dict[str, Any], info: Any) -> dict[str, Any]:
        function: Function | None = info.data.get("function")
        return arguments if function is None else function.signature.checked(arguments)

    def prototype(self) -> Self:
        """Return a copy, in no DAG, that :meth:`twin` makes small tasks of.

        Its attributes are set one after another: of such an instance Python keeps the names with the class, and copies
        share them, which more than halves the memory of a task.
        """
        copy = object.__new__(type(self))
        for name, value in {**self.__dict__, "_dag": None, "_twin_of": copy}.items():
            object.__setattr__(copy, name, value)
        self._share_with(copy)
        return copy

    def twin(self, task_id: str) -> Self:
        """Make the same task under another id, in the DAG of the ``with`` block; all the rest has been checked before.

        A loop that makes 100,000 tasks of a function checks their fields once.
        """
        twin = object.__new__(type(self))
        attributes = self.__dict__.copy()
        attributes["task_id"], attributes["_source"] = task_id, calling_line()
        object.__setattr__(twin, "__dict__", attributes)
        self._share_with(twin)
        dag = current_dag.get()
        if dag is not None:
            dag.add(twin)
        return twin

    def _share_with(self, other: Self) -> None:
        """Have another one say of its fields what this one says: which of them were given."""
        object.__setattr__(other, "__pydantic_fields_set__", self.__pydantic_fields_set__)
        object.__setattr__(other, "__pydantic_extra__", None)
        object.__setattr__(other, "__pydantic_private__", None)

    def reads(self, ctx: Context) -> frozenset[Resource] | None:
        """What the author declared."""
        return None if self.declared_reads is None else qualified(self.declared_reads, ctx)

    def writes(self, ctx: Context) -> frozenset[Resource] | None:
        """What the author declared."""
        return None if self.declared_writes is None else qualified(self.declared_writes, ctx)

    def uses(self, ctx: Context) -> frozenset[Resource]:
        """What the author declared."""
        return frozenset(self.declared_uses)

    def identity(self, ctx: Context) -> Mapping[str, Json]:
        """The function's code with all that it refers to of the project's, its arguments, and what it is told.

        Raises:
            Unhashable: A part of the code or an argument cannot be told from another, or cannot be seen.
        """
        from pydag_gcp.code_identity import identify
        from pydag_gcp.fingerprint import Unhashable, fields_of

        signature = self.function.signature
        found = identify(signature.function, self.arguments, folder=ctx.project_folder)
        parts = {**fields_of(self, ctx, leave_out=("function", "arguments")), **found.parts}
        if not signature.takes_context:
            return parts
        if "output_of" in found.names:
            raise Unhashable(f"{signature.name}() looks up outputs with context.output_of(); pass them as arguments")
        interval = (ctx.data_interval_start, ctx.data_interval_end)
        told = {"logical date": ctx.logical_date, "data interval": interval, "project": ctx.target.project}
        return {**parts, **told, **{f"run parameter {name}": value for name, value in ctx.params.items()}}

    def execute(self, ctx: Context) -> Json:
        """Call the function."""
        return self.function.signature.call(self.arguments, ctx)


def twin_of(task: Operator) -> FunctionTask | None:
    """The task that this one is a twin of, if it is any: what only fields decide is the same for all twins of one."""
    first: FunctionTask | None = task.__dict__.get("_twin_of")
    return first


class BranchTask(FunctionTask):
    """Call a Python function that picks which of the tasks directly downstream run. Made by ``@task.branch``."""

    def identity(self, ctx: Context) -> Mapping[str, Json]:
        """That of any function, and what it may pick from."""
        return {**super().identity(ctx), "choices": sorted(ctx.downstream)}

    def execute(self, ctx: Context) -> Json:
        """Call the function; return the ids that it picked.

        Raises:
            TaskError: It returned something else, or what is not directly downstream.
        """
        return picked(super().execute(ctx), ctx.downstream, by=self.function.signature.name)


class Decorator:
    """Makes a :class:`Function` of a function, with or without options."""

    def __init__(self, kind: type[FunctionTask]) -> None:
        self._kind = kind

    @overload
    def __call__(self, function: Callable[..., Any], /) -> Function: ...
    @overload
    def __call__(self, /, **options: Unpack[Options]) -> Callable[[Callable[..., Any]], Function]: ...
    def __call__(
        self, function: Callable[..., Any] | None = None, /, **options: Unpack[Options]
    ) -> Function | Callable[[Callable[..., Any]], Function]:
        """Use it as ``@task`` or as ``@task(retry=Retry(attempts=3), ...)``; see :class:`Options`."""
        if function is not None:
            return Function(function, self._kind, options)
        return lambda function: Function(function, self._kind, options)


class TaskDecorator(Decorator):
    """``@task``, and ``@task.branch``."""

    branch = Decorator(BranchTask)


#: Makes a task of a Python function: called inside ``with DAG(...)`` it joins the DAG, elsewhere it is a plain call.
task = TaskDecorator(FunctionTask)
