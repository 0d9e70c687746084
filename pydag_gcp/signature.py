"""What a function may be called with: its arguments by name, checked against its annotations."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from functools import cached_property
from types import SimpleNamespace
from typing import Annotated, Any

from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError

from pydag_gcp.context import Context
from pydag_gcp.errors import DefinitionError, did_you_mean
from pydag_gcp.model import complaint
from pydag_gcp.runtime_value import OPEN, RuntimeValue
from pydag_gcp.templates import holds_template

_Parameter = inspect.Parameter


class Signature:
    """The signature of a function, in which a parameter annotated ``Context``, or named ``context``, gets the context.

    Args:
        function: A plain function.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.name = getattr(function, "__name__", "function")
        self._signature = inspect.signature(function)
        self._adapters: dict[str, TypeAdapter[Any]] = {}

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Give every argument its name.

        Raises:
            DefinitionError: One is missing, or there is one too many; without a place.
        """
        for name in kwargs.keys() & self._contexts:
            raise DefinitionError(f"{self.name}(): argument {name!r} is not yours to give", hint="the run gives it")
        expected = self._expected
        try:
            return dict(expected.bind(*args, **kwargs).arguments)
        except TypeError as error:
            unknown = next((name for name in kwargs if name not in expected.parameters), "")
            hint = (unknown and did_you_mean(unknown, expected.parameters)) or f"it is {self.name}{expected}"
            raise DefinitionError(f"{self.name}(): {error}", hint=hint) from None

    def checked(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Convert arguments to their annotated types. What is known only at run time is left as it is.

        Raises:
            DefinitionError: One does not fit; its ``loc`` begins with the argument's name.
        """
        return {name: self._checked(name, value) for name, value in arguments.items()}

    def call(self, arguments: Mapping[str, Any], ctx: Context) -> Any:
        """Call the function."""
        if not arguments and not self._contexts:
            return self.function()
        given = {**arguments, **dict.fromkeys(self._contexts, ctx)}
        bound = inspect.BoundArguments(self._signature, typing.cast("Any", given))
        return self.function(*bound.args, **bound.kwargs)

    def _checked(self, name: str, value: Any) -> Any:
        if name not in self._signature.parameters:
            raise DefinitionError(f"{self.name}() has no such argument", loc=(name,))
        adapter = self._adapter(name)  # a wrong annotation is told now, also if the value is known later
        if isinstance(value, RuntimeValue) or holds_template(value):
            return value
        try:
            return adapter.validate_python(value)
        except ValidationError as error:
            bare = complaint(error, given=value, known={})
            shown = self._signature.parameters[name]
            what = f"{self.name}({shown}): {bare.what}"
            raise DefinitionError(what, hint=bare.hint, loc=(name, *bare.loc)) from None

    def _adapter(self, name: str) -> TypeAdapter[Any]:
        if name not in self._adapters:
            self._adapters[name] = _adapter(self._types[name])
        return self._adapters[name]

    @property
    def takes_context(self) -> bool:
        """Whether the function is told of its run."""
        return bool(self._contexts)

    @cached_property
    def _contexts(self) -> frozenset[str]:
        """The parameters that get the context."""
        return frozenset(
            name
            for name, parameter in self._signature.parameters.items()
            if _is_context(parameter.annotation)
            or (name == "context" and parameter.annotation in (_Parameter.empty, Any, "Any"))
        )

    @cached_property
    def _expected(self) -> inspect.Signature:
        """What is given when a task is made."""
        given = [p for name, p in self._signature.parameters.items() if name not in self._contexts]
        return self._signature.replace(parameters=given)

    @cached_property
    def _types(self) -> Mapping[str, Any]:
        """The type of each argument; of ``*args`` and ``**kwargs`` that of all of them together."""
        types: dict[str, Any] = {}
        for name, parameter in self._signature.parameters.items():
            if name in self._contexts:
                continue
            kind = Any if parameter.annotation is _Parameter.empty else self._evaluated(name, parameter.annotation)
            if parameter.kind is _Parameter.VAR_POSITIONAL:
                kind = tuple[kind, ...]  # type: ignore[valid-type]  # a type that is made here
            elif parameter.kind is _Parameter.VAR_KEYWORD:
                kind = dict[str, kind]  # type: ignore[valid-type]  # likewise
            types[name] = kind
        return types

    def _evaluated(self, name: str, annotation: Any) -> Any:
        function = inspect.unwrap(self.function)
        around = inspect.getclosurevars(function).nonlocals
        try:
            return typing.get_type_hints(
                SimpleNamespace(__annotations__={name: annotation}),
                globalns=getattr(function, "__globals__", {}),
                localns=dict(around),
                include_extras=True,
            )[name]
        except (NameError, AttributeError, SyntaxError, TypeError) as error:
            what = f"{self.name}({name}: {annotation}): the annotation cannot be evaluated: {error}"
            hint = "define or import it at the top of the file, not only `if TYPE_CHECKING`"
            raise DefinitionError(what, hint=hint, loc=(name,)) from None


def _is_context(annotation: Any) -> bool:
    """Whether it is the context: also by name, as it may be imported for type checkers only."""
    if isinstance(annotation, str):
        return annotation.strip("'\"").rpartition(".")[2] == Context.__name__
    return annotation is Context


def _adapter(kind: Any) -> TypeAdapter[Any]:
    kind = Annotated[kind, OPEN]
    try:
        return TypeAdapter(kind, config=ConfigDict(arbitrary_types_allowed=True, coerce_numbers_to_str=True))
    except PydanticUserError as error:
        if error.code != "type-adapter-config-unused":  # a model has a configuration of its own
            raise
        return TypeAdapter(kind)
