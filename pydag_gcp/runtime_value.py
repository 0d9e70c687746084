"""Values that are known only when a task starts: they stand in its fields until then.

A field that takes them is declared ``Param[T]``. There a :class:`RuntimeValue` is accepted at any depth of lists,
dicts, tuples and sets; everything else is checked as ``T``, and so is what the value turns out to be.
"""

from __future__ import annotations

import types
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, MutableSequence, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeVar, Union, get_args, get_origin

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, SchemaSerializer, core_schema

if TYPE_CHECKING:
    from pydag_gcp.context import Context


class RuntimeValue(ABC):
    """Stands for a value that is known only when the task starts. Frozen, hashable, equal by value.

    A field without ``Param`` refuses it.
    """

    #: Where pydantic knows no type, as inside ``Any``, it looks for this.
    __pydantic_serializer__: ClassVar[SchemaSerializer] = SchemaSerializer(
        core_schema.any_schema(
            serialization=core_schema.plain_serializer_function_ser_schema(lambda value: value.to_json())
        )
    )

    @property
    def upstream(self) -> str | None:
        """The id of the task that has to end before it is known."""
        return None

    @abstractmethod
    def resolve(self, ctx: Context) -> Any:
        """Return the value. Called on a worker, right before the try's work; may do I/O.

        Raises:
            TaskError: There is no such value; the try fails, and nothing was sent.
        """

    @abstractmethod
    def to_json(self) -> dict[str, str]:
        """The canonical form, as YAML has it: ``{"output": "task.key"}``, ``{"secret": "env:NAME"}``."""


def find(value: Any) -> Iterator[RuntimeValue]:
    """Find every runtime value at any depth of dicts, lists, tuples and sets."""
    if isinstance(value, RuntimeValue):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from find(part)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for part in value:
            yield from find(part)


def replaced(value: Any, by: Callable[[RuntimeValue], Any]) -> Any:
    """Return a copy with other values in the places of the runtime values."""
    if isinstance(value, RuntimeValue):
        return by(value)
    if type(value) is dict:
        return {key: replaced(part, by) for key, part in value.items()}
    if type(value) in (list, tuple, set, frozenset):
        return type(value)(replaced(part, by) for part in value)
    return value


class _Open:
    """Makes a type accept runtime values inside it; whoever validates lets one through that stands alone."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return handler(_opened(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return _or_a_reference(handler(schema))


class _OpenPart:
    """A place inside a ``Param``: a runtime value or what the type says."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_wrap_validator_function(
            let_through,
            handler(source),
            serialization=core_schema.wrap_serializer_function_ser_schema(written),
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return _or_a_reference(handler(schema))


OPEN = _Open()

_T = TypeVar("_T")

#: The type of a field that takes runtime values: ``maximum: Param[int]``. To a type checker it is ``T`` itself.
Param = Annotated[_T, OPEN]


def let_through(value: Any, check: Callable[[Any], Any]) -> Any:
    """Accept a runtime value as it is, and check any other."""
    return value if isinstance(value, RuntimeValue) else check(value)


def written(value: Any, write: Callable[[Any], Any]) -> Any:
    """Write a runtime value in its canonical form, and any other the way it is always written."""
    return value.to_json() if isinstance(value, RuntimeValue) else write(value)


def is_open(annotation: Any) -> bool:
    """Tell whether a type says ``Param`` anywhere."""
    return annotation is OPEN or any(map(is_open, (*getattr(annotation, "__metadata__", ()), *get_args(annotation))))


_CONTAINERS = (list, dict, tuple, set, frozenset, Sequence, Mapping, MutableMapping, MutableSequence, AbstractSet)


def _opened(kind: Any) -> Any:
    """Rewrite a container's type so that its parts may be runtime values."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return Annotated[(_opened(parts[0]), *kind.__metadata__)]
    if origin in (Union, types.UnionType):
        return Union[tuple(_opened(part) for part in parts)]  # noqa: UP007 - of a tuple that is made here
    if Iterable in (origin, kind):
        return _opened(list[parts or (Any,)])  # type: ignore[misc]  # pydantic would give what a second try finds used up
    if origin not in _CONTAINERS:
        return kind
    keys, values = (parts[:1], parts[1:]) if issubclass(origin, Mapping) else ((), parts)
    opened = [part if part is ... or part == () else Annotated[_opened(part), _OpenPart()] for part in values]
    return origin[(*keys, *opened)]


def _or_a_reference(schema: JsonSchemaValue) -> JsonSchemaValue:
    """https://json-schema.org/understanding-json-schema/reference/combining#anyOf."""
    references = [
        {
            "type": "object",
            "properties": {name: {"type": "string", "description": said}},
            "required": [name],
            "additionalProperties": False,
        }
        for name, said in (("output", "A task's output: task_id, task_id.key"), ("secret", "env:NAME or sm:NAME"))
    ]
    return {"anyOf": [schema, *references]}
