"""Many rows in few statements: what is executed once for each row costs a driver more than the row itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain, count
from typing import Any

import sqlalchemy as sa

#: Most rows of a statement. To prepare one takes as long as to execute it; and to execute one, as long as 50 rows do.
_MOST = 128

#: What the values of a column are: NULL, the same, or each row has its own.
_NONE, _SAME, _OWN = "none", "same", "own"
_Shape = tuple[str, ...]


class BulkInsert:
    """An INSERT into a table that takes any number of rows.

    Args:
        statement: Inserts one row; may say what to do on a conflict.
    """

    def __init__(self, statement: sa.Insert) -> None:
        self._statement = statement
        self._columns = [column.name for column in statement.table.c]
        #: The statement before, for, and after a row.
        self._compiled: dict[_Shape, tuple[str, str, str]] = {}

    def execute(self, connection: sa.Connection, rows: Sequence[Sequence[Any]]) -> None:
        """Insert rows.

        Args:
            connection: In a transaction.
            rows: The values of all columns in the order of the table; None where the default is NULL, too.
        """
        for begin in range(0, len(rows), _MOST):
            some = rows[begin : begin + _MOST]
            columns = list(zip(*some, strict=True))
            shape = tuple(map(_shape, columns))
            if _OWN not in shape:  # it is one row, or the same twice: no table of values is without a column
                shape = tuple(_OWN if kind is _SAME else kind for kind in shape)
            before, row, after = self._compiled.get(shape) or self._compile(connection.dialect, shape)
            same = [values[0] for values, kind in zip(columns, shape, strict=True) if kind is _SAME]
            own = [values for values, kind in zip(columns, shape, strict=True) if kind is _OWN]
            bound = (*same, *chain.from_iterable(zip(*own, strict=True)))
            connection.exec_driver_sql(before + ", ".join([row] * len(some)) + after, bound)

    def _compile(self, dialect: sa.Dialect, shape: _Shape) -> tuple[str, str, str]:
        """Make ``INSERT INTO t (a, b) SELECT ?, column1 FROM (VALUES (?), (?)) AS fresh WHERE true``, for any number.

        The condition parts it from what follows: https://www.sqlite.org/lang_upsert.html#parsing_ambiguity. The names
        of the columns of values are those of both databases: https://www.postgresql.org/docs/current/sql-values.html.
        """
        style: Callable[..., sa.Dialect] = type(dialect)
        positional = style(paramstyle="qmark" if dialect.paramstyle == "qmark" else "format")
        names = [name for name, kind in zip(self._columns, shape, strict=True) if kind is not _NONE]
        kinds = [kind for kind in shape if kind is not _NONE]
        text = str(self._statement.compile(dialect=positional, column_keys=names))
        into, _, rest = text.partition(" VALUES (")
        row, _, conflict = rest.partition(")")
        places, numbers = row.split(", "), count(1)
        own = [place for place, kind in zip(places, kinds, strict=True) if kind is _OWN]
        taken = [
            place if kind is _SAME else f"column{next(numbers)}" for place, kind in zip(places, kinds, strict=True)
        ]
        before = f"{into} SELECT {', '.join(taken)} FROM (VALUES "  # noqa: S608 - values are bound
        self._compiled[shape] = parts = (before, f"({', '.join(own)})", f") AS fresh WHERE true{conflict}")
        return parts


def _shape(values: Sequence[Any]) -> str:
    """What the values of a column have in common."""
    first = values[0]
    if first != values[-1] or values.count(first) < len(values):
        return _OWN
    return _NONE if first is None else _SAME
