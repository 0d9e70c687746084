"""What a SQL text reads and writes: the answer's shape. :mod:`pydag_gcp.statements` finds it out, with sqlglot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydag_gcp.rendering import Query
    from pydag_gcp.resources import Resource, Table


@dataclass(frozen=True, kw_only=True)
class StatementInfo:
    """What one statement does.

    Attributes:
        kind: BigQuery's statementType: ``SELECT``, ``INSERT``, ``UPDATE``, ``DELETE``, ``MERGE``, ``TRUNCATE_TABLE``,
            ``CREATE_TABLE``, ``CREATE_TABLE_AS_SELECT``, ``CREATE_VIEW``, ``DROP_TABLE``, ``ALTER_TABLE``, ...;
            ``SCRIPT`` for what cannot be analysed.
        reads: Fully qualified tables, and objects; None if not known.
        writes: Fully qualified tables, ``dataset.*`` for a whole dataset, and objects; None if not known. A table is
            ``shared`` only where the statement does no more than append to it.
        replaces: Nothing is left of what its tables held before.
        shapes: It makes its tables, or makes sure of them, without touching a row.
    """

    kind: str
    reads: frozenset[Resource] | None
    writes: frozenset[Resource] | None
    replaces: bool = False
    shapes: bool = False


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """What a SQL text does.

    Attributes:
        statements: One by one.
        reads: Fully qualified tables, without temporary ones, and objects; None if not known.
        writes: The same of what is written.
        replaces: What of its writes it replaces as a whole.
        views: The views and external tables it makes, and what each of them reads, as far as that is known.
        shapes: What of its writes no statement touches a row of.
        single_atomic: It is one statement that takes effect wholly or not at all.
        deterministic: The same data gives the same result: no clock, chance, session or unknown function in it.
    """

    statements: tuple[StatementInfo, ...]
    reads: frozenset[Resource] | None
    writes: frozenset[Resource] | None
    single_atomic: bool
    deterministic: bool
    replaces: frozenset[Resource] = frozenset()
    views: Mapping[Table, frozenset[Resource]] = field(default_factory=dict)
    shapes: frozenset[Resource] = frozenset()


def analyse(query: Query, *, project: str, dataset: str | None) -> Analysis:
    """Find out what a query reads and writes.

    Args:
        query: Rendered SQL.
        project: Of tables that name none.
        dataset: Of tables that name none; None: such tables are an error.

    Raises:
        DefinitionError: sqlglot cannot parse it, with file, line and column of the template.
    """
    from pydag_gcp.statements import examine

    return examine(query, project=project, dataset=dataset)
