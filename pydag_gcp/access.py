"""What a task touches, as the race check and the inference of edges see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from pydag_gcp.resources import Resource, Table, normalised

if TYPE_CHECKING:
    from pydag_gcp.operator import Context, Operator


@dataclass(frozen=True, kw_only=True, slots=True)
class Access:
    """What a task touches. Tables are named in full.

    Attributes:
        reads: None if not known.
        writes: None if not known.
        uses: Services it needs while it runs.
        replaces: What of its writes it replaces as a whole.
        shapes: What of its writes it only makes, or makes sure of, without touching a row.
        views: The views it makes, and what each of them reads, as far as that is known.
        idempotent: Its author says that running it again does no harm.
    """

    reads: frozenset[Resource] | None
    writes: frozenset[Resource] | None
    uses: frozenset[Resource] | None = frozenset()
    replaces: frozenset[Resource] = frozenset()
    shapes: frozenset[Resource] = frozenset()
    views: Mapping[Table, frozenset[Resource]] = field(default_factory=dict)
    idempotent: bool = False

    @property
    def opaque(self) -> bool:
        """Whether it may touch more than it says."""
        return self.reads is None or self.writes is None or self.uses is None

    @property
    def named(self) -> bool:
        """Whether it says anything that it touches."""
        return bool(self.reads or self.writes or self.uses or self.views)


def access_of(task: Operator, ctx: Context) -> Access:
    """Ask a rendered task what it touches.

    Raises:
        DefinitionError: It names a table without a dataset.
    """
    reads, writes, uses = task.reads(ctx), task.writes(ctx), task.uses(ctx)
    replaces, shapes, views = task.replaces(ctx), task.shapes(ctx), task.views(ctx)
    if not (reads or writes or uses or replaces or shapes or views):
        return _of_nothing(reads is not None, writes is not None, uses is not None, task.idempotent)
    return Access(
        reads=_full(reads, ctx),
        writes=_full(writes, ctx),
        uses=_full(uses, ctx),
        replaces=_full(replaces, ctx) or frozenset(),
        shapes=_full(shapes, ctx) or frozenset(),
        views={view.qualified(ctx.target.project): _full(read, ctx) or frozenset() for view, read in views.items()},
        idempotent=task.idempotent,
    )


@cache
def _of_nothing(reads: bool, writes: bool, uses: bool, idempotent: bool) -> Access:  # noqa: FBT001 - which are known
    """What very many tasks have in common: they name nothing, as far as it is known at all."""
    none: frozenset[Resource] = frozenset()
    return Access(
        reads=none if reads else None,
        writes=none if writes else None,
        uses=none if uses else None,
        idempotent=idempotent,
    )


def _full(resources: frozenset[Resource] | None, ctx: Context) -> frozenset[Resource] | None:
    return normalised(resources, ctx.target.project) if resources else resources
