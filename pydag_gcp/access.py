"""What a task touches, as the race check and the inference of edges see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydag_gcp.resources import Resource, Table, normalised

if TYPE_CHECKING:
    from pydag_gcp.operator import Context, Operator


@dataclass(frozen=True, kw_only=True)
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


def access_of(task: Operator, ctx: Context) -> Access:
    """Ask a rendered task what it touches.

    Raises:
        DefinitionError: It names a table without a dataset.
    """
    return Access(
        reads=_named(task.reads(ctx), ctx),
        writes=_named(task.writes(ctx), ctx),
        uses=_named(task.uses(ctx), ctx),
        replaces=_named(task.replaces(ctx), ctx) or frozenset(),
        shapes=_named(task.shapes(ctx), ctx) or frozenset(),
        views={
            view.qualified(ctx.target.project): _named(reads, ctx) or frozenset()
            for view, reads in task.views(ctx).items()
        },
        idempotent=task.idempotent,
    )


def _named(resources: frozenset[Resource] | None, ctx: Context) -> frozenset[Resource] | None:
    return None if resources is None else normalised(resources, ctx.target.project)
