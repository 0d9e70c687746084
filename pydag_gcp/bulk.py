"""Many rows in few statements: what is executed once for each row costs a driver more than the row itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain, compress, count
from typing import Any

import sqlalchemy as sa

#: Most rows of a statement. To prepare one takes as long as to execute it; and to execute one, as long as 50 rows do.
_MOST = 128

#: Of each column, whether its values differ; those that do not are bound once.
_Shape = tuple[bool, ...]


class BulkInsert:
    """An INSERT into a table that takes any number of rows.

    Args:
        statement: Inserts one row; may say what to do on a conflict.
    """

    def __init__(self, statement: sa.Insert) -> None:
        self._statement = statement
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
            shape = tuple(map(_differ, columns))
            if not any(shape):  # it is one row, or the same twice: no table of values is without a column
                shape = (True, *shape[1:])
            before, row, after = self._compiled.get(shape) or self._compile(connection.dialect, shape)
            same = [values[0] for values, differ in zip(columns, shape, strict=True) if not differ]
            bound = (*same, *chain.from_iterable(zip(*compress(columns, shape), strict=True)))
            connection.exec_driver_sql(before + ", ".join([row] * len(some)) + after, bound)

    def _compile(self, dialect: sa.Dialect, shape: _Shape) -> tuple[str, str, str]:
        """Make ``INSERT INTO t (a, b) SELECT ?, column1 FROM (VALUES (?), (?)) AS fresh WHERE true``, for any number.

        The condition parts it from what follows: https://www.sqlite.org/lang_upsert.html#parsing_ambiguity. The names
        of the columns of values are those of both databases: https://www.postgresql.org/docs/current/sql-values.html.
        """
        style: Callable[..., sa.Dialect] = type(dialect)
        positional = style(paramstyle="qmark" if dialect.paramstyle == "qmark" else "format")
        into, _, rest = str(self._statement.compile(dialect=positional)).partition(" VALUES (")
        row, _, conflict = rest.partition(")")
        places, numbers = row.split(", "), count(1)
        taken = [f"column{next(numbers)}" if differ else place for place, differ in zip(places, shape, strict=True)]
        before = f"{into} SELECT {', '.join(taken)} FROM (VALUES "  # noqa: S608 - values are bound
        own = ", ".join(compress(places, shape))
        self._compiled[shape] = parts = (before, f"({own})", f") AS fresh WHERE true{conflict}")
        return parts


def _differ(values: Sequence[Any]) -> bool:
    """Whether the values of a column are not all the same."""
    return values[0] != values[-1] or values.count(values[0]) < len(values)
