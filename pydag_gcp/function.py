"""Tasks from Python functions: ``@task`` and ``@task.branch``."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any, ClassVar, TypedDict, Unpack, overload

from pydantic import Field, PlainSerializer, field_validator

from pydag_gcp.branch import picked
from pydag_gcp.errors import DefinitionError, did_you_mean_one_of
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
        where = calling_line().place()
        if not inspect.isfunction(function):
            raise DefinitionError(f"@task is for functions, got {function!r}", where=where)
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            raise DefinitionError(f"{function.__name__}() is async", where=where, hint="write a plain function")
        if inspect.isgeneratorfunction(function):
            hint = "return a list"
            raise DefinitionError(f"{function.__name__}() is a generator", where=where, hint=hint)
        known = Options.__annotations__
        for name in options.keys() - known.keys():
            hint = did_you_mean_one_of(name, known)
            raise DefinitionError(f"@task has no option {name!r}", where=where, hint=hint)
        functools.update_wrapper(self, function)
        self.signature = Signature(function)
        self._kind = kind
        self._options = options

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Make a task of the current DAG; where there is none, call the function.

        Raises:
            DefinitionError: The arguments do not fit; names the function, the argument and the line.
        """
        dag = current_dag.get()
        if dag is None:
            return self.signature.function(*args, **kwargs)
        options: Options = {**self._options}
        if "task_id" not in options:
            options["task_id"] = dag.free_id(self.signature.name)
        try:
            arguments = self.signature.bind(args, kwargs)
        except DefinitionError as error:
            where = calling_line().place(task=options["task_id"])
            raise DefinitionError(error.what, where=where, hint=error.hint) from None
        return self._kind(**options, function=self, arguments=arguments)

    def options(self, **options: Unpack[Options]) -> Function:
        """Return the same function with other options for its tasks: ``load.options(task_id="load_eu")(...)``."""
        return Function(self.signature.function, self._kind, {**self._options, **options})

    def __str__(self) -> str:
        return f"{self.signature.function.__module__}:{self.signature.function.__qualname__}"


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
