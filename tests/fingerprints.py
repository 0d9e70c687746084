"""Taking fingerprints, and telling two apart."""

from __future__ import annotations

from collections.abc import Callable

from pydag_gcp import Context, fingerprint
from pydag_gcp.operator import Json, Operator
from pydag_gcp.output import Output


def taken(defined: Operator, ctx: Context, outputs: Callable[[Output], Json] | None = None) -> fingerprint.Fingerprint:
    return fingerprint.of(defined.rendered(ctx), ctx, outputs)


def known(defined: Operator, ctx: Context) -> fingerprint.Fingerprint:
    found = taken(defined, ctx)
    assert not found.unknown
    return found


def changes(before: Operator, after: Operator, ctx: Context, later: Context | None = None) -> list[str]:
    """What a plan would say of a task that was another one."""
    older, newer = known(before, ctx), known(after, later or ctx)
    assert (older.digest == newer.digest) == (older.parts == newer.parts)
    return newer.changed(older.parts)
