"""Many rows in few statements."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa

from pydag_gcp import engines
from pydag_gcp.bulk import BulkInsert
from pydag_gcp.database import Database
from pydag_gcp.errors import StoreError

METADATA = sa.MetaData()
TABLE = sa.Table(
    "things",
    METADATA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer),
    sa.Column("text", sa.Text),
    sa.Column("flag", sa.Boolean),
)
#: Text that must not be taken for part of a statement.
ODD = "100 % of :this, ?, %s, %(x)s; ''DROP"


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database of each kind, with an empty table."""
    sqlite = f"sqlite:///{tmp_path / 'things.db'}"
    url = sqlite if request.param == "sqlite" else request.getfixturevalue("postgresql_url")
    found = Database(engines.parse(url))
    found.transact(METADATA.create_all)
    yield found
    found.close()


def stored(database: Database) -> set[tuple[object, ...]]:
    return {tuple(row) for row in database.rows(sa.select(TABLE))}


def statements(database: Database) -> list[str]:
    """Where the text of each statement goes that is executed from now on."""
    sent: list[str] = []

    def listener(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        sent.append(statement)

    sa.event.listen(database._engine, "before_cursor_execute", listener)
    return sent


@pytest.mark.parametrize("number", [0, 1, 2, 3, 127, 128, 129, 300])
def test_each_row_is_there_once_however_many_there_are(database: Database, number: int) -> None:
    rows = [(f"n{place}", place, ODD if place % 3 else None, place % 2 == 0) for place in range(number)]
    bulk = BulkInsert(sa.insert(TABLE))
    database.transact(partial(bulk.execute, rows=rows))
    assert stored(database) == set(rows)


@pytest.mark.parametrize(
    "rows",
    [
        [("a", None, None, None), ("b", None, None, None)],
        [("a", 1, None, None), ("b", None, None, True)],
        [("a", None, ODD, None), ("b", None, None, False), ("c", 7, "", None)],
        [("a", 7, "same", True), ("b", 7, "same", True), ("c", 7, "same", True)],
        [("a", 7, "x", True), ("b", 7, "y", True), ("c", 8, "x", False), ("d", 7, "x", True)],
        [("a", 2**30, "", False), ("b", 0, None, False)],
        [("a", 1, "x", True)],
    ],
)
def test_rows_are_as_they_were_given_whatever_they_have_in_common(
    database: Database, rows: list[tuple[object, ...]]
) -> None:
    bulk = BulkInsert(sa.insert(TABLE))
    database.transact(partial(bulk.execute, rows=rows))
    assert stored(database) == set(rows)


def test_a_row_takes_the_place_of_another_as_a_whole(database: Database) -> None:
    insert = database.insert(TABLE)
    new = {column.name: column for column in insert.excluded if not column.primary_key}
    bulk = BulkInsert(insert.on_conflict_do_update(index_elements=TABLE.primary_key, set_=new))
    for rows in ([("a", 1, "x", True), ("b", 1, "x", True)], [("a", None, "y", None), ("c", None, None, None)]):
        database.transact(partial(bulk.execute, rows=rows))
    assert stored(database) == {("a", None, "y", None), ("b", 1, "x", True), ("c", None, None, None)}


def test_the_same_row_twice_is_refused(database: Database) -> None:
    bulk = BulkInsert(sa.insert(TABLE))
    with pytest.raises(StoreError, match=r"(?i)unique"):
        database.transact(partial(bulk.execute, rows=[("a", 1, None, True)] * 2))
    assert stored(database) == set()


def test_few_statements_are_sent(database: Database) -> None:
    sent = statements(database)
    rows = [(f"n{place}", None, None, None) for place in range(1000)]
    bulk = BulkInsert(sa.insert(TABLE))
    database.transact(partial(bulk.execute, rows=rows))
    inserts = [text for text in sent if text.startswith("INSERT")]
    assert [text.count("), (") + 1 for text in inserts] == [*[128] * 7, 104]
