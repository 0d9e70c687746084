"""Values that YAML and JSON cannot write: a mapping with one telling name stands for each.

``{date: 2022-01-31}``, ``{datetime: 2022-01-31T06:00:00}``, ``{time: "06:00:00"}``, ``{decimal: "12.50"}``; where a
value may be known only at run time also ``{output: task_id.key}`` and ``{secret: "env:NAME"}``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any

from pydag_gcp.document import Document
from pydag_gcp.errors import DefinitionError, did_you_mean_one_of
from pydag_gcp.output import Output
from pydag_gcp.runtime_value import RuntimeValue
from pydag_gcp.secret import Secret

_PLAIN: dict[str, Callable[[str], Any]] = {
    "date": date.fromisoformat,
    "datetime": datetime.fromisoformat,
    "time": time.fromisoformat,
    "decimal": Decimal,
}
_AT_RUN_TIME: dict[str, Callable[[str], RuntimeValue]] = {"output": Output.parse, "secret": Secret}

_EXAMPLES = {
    "date": "2022-01-31",
    "datetime": "2022-01-31T06:00:00",
    "time": "06:00:00",
    "decimal": "12.50",
    "output": "task_id or task_id.key",
    "secret": "env:NAME or sm:NAME",
}


def is_at_run_time(value: Any) -> bool:
    """Tell whether a plain value stands for one that is known at run time."""
    return isinstance(value, dict) and len(value) == 1 and not _AT_RUN_TIME.keys().isdisjoint(value)


@dataclass(frozen=True, kw_only=True)
class Literals:
    """Reads the values of a document.

    Attributes:
        document: The document.
        tasks: The ids of its tasks.
    """

    document: Document
    tasks: Collection[str]

    def meant(self, keys: tuple[str | int, ...], value: Any, *, at_run_time: bool) -> Any:
        """Return what a plain value means, at any depth.

        Args:
            keys: The way to it in the document.
            value: It.
            at_run_time: Whether it may hold values that are known only at run time.

        Raises:
            DefinitionError: A mapping with a telling name holds something else; names the place.
        """
        if isinstance(value, list):
            return [self.meant((*keys, i), item, at_run_time=at_run_time) for i, item in enumerate(value)]
        if not isinstance(value, dict):
            return value
        known = _PLAIN | _AT_RUN_TIME if at_run_time else _PLAIN
        if len(value) == 1 and not known.keys().isdisjoint(value):
            name, text = next(iter(value.items()))
            return self._read((*keys, name), name, text, known[name])
        return {name: self.meant((*keys, name), item, at_run_time=at_run_time) for name, item in value.items()}

    def _read(self, keys: tuple[str | int, ...], name: str, text: Any, read: Callable[[str], Any]) -> Any:
        if name == "decimal" and isinstance(text, (int, float)) and not isinstance(text, bool):
            text = str(text)
        expected = f"{name}: expected {_EXAMPLES[name]}, got {text!r}"
        if not isinstance(text, str):
            raise self.document.error(expected, keys)
        try:
            found = read(text)
        except DefinitionError as error:
            raise self.document.error(error.what, keys, hint=error.hint) from None
        except ValueError as error:
            raise self.document.error(f"{expected} ({error})", keys) from None
        except InvalidOperation:
            raise self.document.error(expected, keys) from None
        if isinstance(found, Output) and found.task_id not in self.tasks:
            hint = did_you_mean_one_of(found.task_id, self.tasks)
            raise self.document.error(f"output: no task {found.task_id!r}", keys, hint=hint)
        return found
