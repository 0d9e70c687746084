"""What a task returns, as a value for other tasks: ``task.output``, ``task.output["rows"][0]``."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from pydantic import BaseModel

from pydag_gcp.errors import DefinitionError, TaskError, did_you_mean_one_of
from pydag_gcp.runtime_value import RuntimeValue, find
from pydag_gcp.source import calling_line

if TYPE_CHECKING:
    from pydag_gcp.context import Context
    from pydag_gcp.operator import Operator


@dataclass(frozen=True, repr=False)
class Output(RuntimeValue):
    """A task's result, or a part of it.

    Attributes:
        task_id: Whose.
        path: The keys and positions that lead to the part.
        task: The task itself, where it is at hand: another one of the same id is not meant.
    """

    task_id: str
    path: tuple[str | int, ...] = ()
    task: Operator | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        for key in self.path:
            if not isinstance(key, (str, int)) or isinstance(key, bool) or "." in str(key) or not str(key):
                raise DefinitionError(f"{key!r} is no key of an output", hint="take that part where the output is used")

    @classmethod
    def parse(cls, text: str) -> Output:
        """Read ``task_id``, ``task_id.key`` or ``task_id.key.0``.

        Raises:
            DefinitionError: A part is empty; without a place.
        """
        task_id, *path = text.split(".")
        return cls(task_id, tuple(int(key) if re.fullmatch(r"0|[1-9][0-9]*", key) else key for key in path))

    @property
    def upstream(self) -> str:
        """The task whose end it waits for."""
        return self.task_id

    def __repr__(self) -> str:
        return f"{self.task_id}.output{''.join(f'[{key!r}]' for key in self.path)}"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, RuntimeValue):
            return isinstance(other, Output) and (self.task_id, self.path) == (other.task_id, other.path)
        raise self._not_yet(hint="compare inside a task, or decide in a @task.branch")

    def __getitem__(self, key: str | int) -> Output:
        return Output(self.task_id, (*self.path, key), self.task)

    def resolve(self, ctx: Context) -> Any:
        """Return what the task came to; None if it came to nothing, because it was skipped or failed.

        Raises:
            TaskError: The result has no such part; names the ones it has.
        """
        value = ctx.output_of(self.task_id)
        nothing_came = value is None and self.path and not ctx.succeeded(self.task_id)
        for number, key in enumerate(() if nothing_came else self.path):
            value = self._part(value, key, number)
        return value

    def to_json(self) -> dict[str, str]:
        """``{"output": "task_id.key.0"}``."""
        return {"output": ".".join([self.task_id, *map(str, self.path)])}

    def _part(self, value: Any, key: str | int, depth: int) -> Any:
        if isinstance(value, dict):
            if str(key) in value:
                return value[str(key)]
            raise self._missing(depth, f"has no {key!r}", did_you_mean_one_of(str(key), value))
        if isinstance(value, list) and re.fullmatch(r"-?\d+", str(key)):
            if -len(value) <= int(key) < len(value):
                return value[int(key)]
            raise self._missing(depth, f"has {len(value)} elements, so none at {key}", None)
        raise self._missing(depth, f"is {_kind(value)}, which has no {key!r}", None)

    def _missing(self, depth: int, what: str, hint: str | None) -> TaskError:
        parts = "".join(f"[{key!r}]" for key in self.path[:depth])
        return TaskError(f"the output{parts} of task {self.task_id!r} {what}", hint=hint)

    # What Python would do with it in silence, and never mean:

    def __iter__(self) -> Iterator[NoReturn]:
        raise self._not_yet(hint="pass it to a task whole, and go through it there")

    def __bool__(self) -> NoReturn:
        raise self._not_yet(hint="decide in a @task.branch")

    def __str__(self) -> NoReturn:
        raise self._not_yet(hint="pass it as a parameter instead of writing it into text")

    def _not_yet(self, *, hint: str) -> DefinitionError:
        what = f"the output of task {self.task_id!r} is not known before the run"
        return DefinitionError(what, where=calling_line().place(), hint=hint)


def _kind(value: object) -> str:
    names = {type(None): "None", bool: "true or false", str: "text", list: "a list", int: "a number", float: "a number"}
    return names.get(type(value), f"a {type(value).__name__}")


def with_outputs(value: Any, kind: type[Any]) -> Any:
    """Put outputs in the places of tasks, at any depth of dicts, lists, tuples and sets."""
    if isinstance(value, kind):
        return value.output
    if type(value) is dict:
        return {key: with_outputs(part, kind) for key, part in value.items()}
    if type(value) in (list, tuple, set, frozenset):
        return type(value)(with_outputs(part, kind) for part in value)
    return value


def hides_output(value: Any, kind: type[Any]) -> bool:
    """Tell whether a runtime value or a task stands where it is never resolved: in a key, an object or an iterator."""
    if isinstance(value, Mapping):
        return any(_is_late(key, kind) for key in value) or any(hides_output(part, kind) for part in value.values())
    if isinstance(value, (list, tuple, set, frozenset)):
        return any(hides_output(part, kind) for part in value)
    if isinstance(value, Iterator):
        return True  # the next try would find it used up
    if _is_late(value, kind) or not (dataclasses.is_dataclass(value) or isinstance(value, BaseModel)):
        return False
    parts = list(getattr(value, "__dict__", {}).values())
    return next(find(with_outputs(parts, kind)), None) is not None or hides_output(parts, kind)


def _is_late(value: object, kind: type[Any]) -> bool:
    return isinstance(value, (RuntimeValue, kind))
