"""What a task is, as one hash: its operator, parameters and files, apart from what the world holds.

A fingerprint is made of named parts, so that a plan can say what changed. Where a part cannot be told from another,
there is no fingerprint: unknown is never equal.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pydag_gcp.canonical import Canonical, Json, Unhashable, digest
from pydag_gcp.errors import PydagError
from pydag_gcp.output import Output
from pydag_gcp.resources import Table
from pydag_gcp.runtime_value import RuntimeValue

if TYPE_CHECKING:
    from pydag_gcp.context import Context
    from pydag_gcp.operator import Operator

__all__ = ["CIRCUMSTANCES", "Fingerprint", "Unhashable", "fields_of", "of", "short"]

#: Fields that say when, how often and under which name a task runs, but not what it does.
CIRCUMSTANCES: Final = frozenset(
    ("cache", "idempotent", "labels", "priority", "retry", "slots", "task_id", "teardown_of", "timeout", "trigger_rule")
)

#: Hex digits of a part's hash that are kept: enough to see a change, the digest decides.
_SHORT: Final = 16

#: What a part's name may begin with; the rest of it is a name of the author's.
_KINDS: Final = ("SQL", "argument", "code", "field", "file", "parameter", "run parameter", "value")

#: Parts that follow from others: told only if no other part tells what changed.
_DERIVED: Final = "rendered "


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """What a task is.

    Attributes:
        digest: The hash of all parts, 64 hex digits; empty if there is none.
        parts: The name of each part -> a short hash of it: ``SQL sql/load.sql``, ``parameter year``, ``field format``.
        unknown: Why there is no fingerprint; empty if there is one.
    """

    digest: str = ""
    parts: Mapping[str, str] = field(default_factory=dict)
    unknown: str = ""

    def changed(self, older: Mapping[str, str]) -> list[str]:
        """Say in words what is another than in older parts: ``SQL changed: sql/load.sql``."""
        names = sorted(name for name in {**self.parts, **older} if self.parts.get(name) != older.get(name))
        telling = [name for name in names if not name.startswith(_DERIVED)] or names
        return [_in_words(name, new=name not in older, gone=name not in self.parts) for name in telling]


def of(task: Operator, ctx: Context, outputs: Callable[[Output], Json] | None = None) -> Fingerprint:
    """Take the fingerprint of a rendered task; asks nobody, raises nothing.

    Args:
        task: The task, with every template replaced.
        ctx: Its context.
        outputs: Tells the value of an output, or of a part of one. Without it outputs count as what they refer to.
            Secrets always do: their values are never part of it.
    """
    try:
        if outputs is not None:
            given = [value for value in task.runtime_values if isinstance(value, Output)]
            known: dict[RuntimeValue, Json] = {output: outputs(output) for output in given}
            task = task.substituted(known) if known else task
        form = Canonical().form
        hashes = {name: digest(form(value)) for name, value in task.identity(ctx).items()}
    except (Unhashable, PydagError) as error:
        return Fingerprint(unknown=str(error))
    except Exception as error:  # noqa: BLE001 - an operator's own code, or that of a value's own class
        return Fingerprint(unknown=f"{type(error).__name__}: {error}".splitlines()[0])
    parts = {name: hashes[name][:_SHORT] for name in sorted(hashes)}
    return Fingerprint(digest=digest(sorted(hashes.items())), parts=parts)


def fields_of(task: Operator, ctx: Context, leave_out: Collection[str] = ()) -> dict[str, Json]:
    """Name the operator and those fields of a task that decide what it does and do not hold their default.

    Args:
        task: The task.
        ctx: Its context: tables are named in full.
        leave_out: Further fields that do not count.

    Raises:
        Unhashable: A field has no form.
    """

    def other(value: Any) -> Json:
        if isinstance(value, Table):
            return ["Table", (value.qualified(ctx.target.project) if value.dataset else value).table]
        return canonical.of_object(value)

    canonical = Canonical(other)
    kind = type(task)
    fields = canonical.fields(task, task.model_fields_set.difference(CIRCUMSTANCES, leave_out))
    written = {f"field {kind.model_fields[name].alias or name}": form for name, form in fields.items()}
    return {"operator": [kind.__qualname__, kind.revision], **written}


def short(form: Json) -> str:
    """Hash a form to so many digits as are enough to see a change."""
    return digest(form)[:_SHORT]


def _in_words(name: str, *, new: bool, gone: bool) -> str:
    verb = "added" if new else "removed" if gone else "changed"
    kind = next((kind for kind in _KINDS if name.startswith(f"{kind} ")), name)
    rest = name.removeprefix(kind).strip()
    return f"{kind} {verb}: {rest}" if rest else f"{kind} {verb}"
