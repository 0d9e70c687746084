"""What stands in a SQL template, before the run, for a value that is known only then."""

from __future__ import annotations

from typing import Any, NoReturn

from pydag_gcp.errors import DefinitionError
from pydag_gcp.runtime_value import RuntimeValue, find


class Unresolved:
    """Can be written as a whole, and nothing else: what a statement reads and writes must not depend on it.

    Args:
        value: What it stands for.
    """

    def __init__(self, value: RuntimeValue) -> None:
        self._value = value

    def refuse(self, *_: object) -> NoReturn:
        """Refuse to be looked at.

        Raises:
            DefinitionError: Always; without a place.
        """
        raise DefinitionError(
            f"{self._value!r} is not known before the run",
            hint="write it as a whole, {{ name }} or @name, and compute with it in SQL",
        )

    __bool__ = __iter__ = __len__ = __str__ = __int__ = __float__ = __hash__ = __abs__ = __neg__ = __pos__ = refuse
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __contains__ = __getitem__ = refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = refuse


def stand_in(value: Any) -> Any:
    """Return a value that is known, or what stands for one of which any part is not."""
    unknown = next(find(value), None)
    return value if unknown is None else Unresolved(unknown)
