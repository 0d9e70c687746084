"""Many rows in few statements: what is executed once for each row costs a driver more than the row itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any

import sqlalchemy as sa

#: Most rows of a statement; others have half of it, a quarter and so on, so that few statements are ever prepared.
_MOST = 512


class BulkInsert:
    """An INSERT into a table that takes any number of rows.

    Args:
        statement: Inserts one row; may say what to do on a conflict.
    """

    def __init__(self, statement: sa.Insert) -> None:
        self._statement = statement
        self._columns = [column.name for column in statement.table.c]
        #: Columns that are given -> the statement before, for, and after a row.
        self._compiled: dict[tuple[int, ...], tuple[str, str, str]] = {}

    def execute(self, connection: sa.Connection, rows: Sequence[Sequence[Any]]) -> None:
        """Insert rows.

        Args:
            connection: In a transaction.
            rows: The values of all columns in the order of the table; None where the default is NULL, too.
        """
        for some in _parts(rows):
            # A column that has no value in any of them need not be bound: as a rule that is half of them.
            columns = list(zip(*some, strict=True))
            given = tuple(place for place, values in enumerate(columns) if values.count(None) < len(some))
            bound = chain.from_iterable(zip(*(columns[place] for place in given), strict=True))
            before, row, after = self._compiled.get(given) or self._compile(connection.dialect, given)
            connection.exec_driver_sql(before + ", ".join([row] * len(some)) + after, tuple(bound))

    def _compile(self, dialect: sa.Dialect, given: tuple[int, ...]) -> tuple[str, str, str]:
        kind: Callable[..., sa.Dialect] = type(dialect)
        positional = kind(paramstyle="qmark" if dialect.paramstyle == "qmark" else "format")
        names = [self._columns[place] for place in given]
        text = str(self._statement.compile(dialect=positional, column_keys=names))
        begin = text.index("VALUES (") + len("VALUES ")
        end = text.index(")", begin) + 1
        self._compiled[given] = parts = (text[:begin], text[begin:end], text[end:])
        return parts


def _parts(rows: Sequence[Sequence[Any]]) -> Iterator[Sequence[Sequence[Any]]]:
    begin, size = 0, _MOST
    while begin < len(rows):
        while size > len(rows) - begin:
            size //= 2
        yield rows[begin : begin + size]
        begin += size
