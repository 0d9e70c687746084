"""What is refused when a task is constructed, and no single field's check can see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydag_gcp.errors import DefinitionError
from pydag_gcp.output import hides_output
from pydag_gcp.runtime_value import RuntimeValue
from pydag_gcp.secret import Secret

if TYPE_CHECKING:
    from pydag_gcp.operator import Operator


def refuse(
    kind: type[Operator],
    fields: Mapping[str, Any],
    values: Mapping[str, Sequence[RuntimeValue]],
    *,
    where: str,
    base: type[Any],
    dag: object,
) -> None:
    """Refuse outputs and secrets where they cannot stand, and a teardown that cannot be one.

    Args:
        kind: The task's class.
        fields: What the author gave.
        values: Field -> the runtime values in it.
        where: The task's place, for messages.
        base: The class of all tasks: one that stands for its output is found like the output.
        dag: The DAG that the task joins, or None.

    Raises:
        DefinitionError: Names the field.
    """
    params = kind.param_fields()
    for name in [name for name, found in values.items() if found and name not in params]:
        hint = f"they may stand in {', '.join(sorted(params))}" if params else f"{kind.__name__} takes none"
        what = f"an output or a secret cannot stand here, got {values[name][0]!r}"
        raise DefinitionError(what, where=f"{where}: field {name!r}", hint=hint, loc=(name,))
    for name in [name for name in params if hides_output(fields.get(name), base)]:
        what = "outputs and secrets are not found in a key of a dict, in an object or in an iterator"
        hint = "write a list or the values of a dict, or give an argument of its own"
        raise DefinitionError(what, where=f"{where}: field {name!r}", hint=hint, loc=(name,))
    for name, found in values.items() if kind.shows_secrets else ():
        if any(isinstance(value, Secret) for value in found):
            what = "a secret cannot stand here, as whoever may see the job would see it"
            hint = "use it in a @task, or pass its name and let the job look it up"
            raise DefinitionError(what, where=f"{where}: field {name!r}", hint=hint, loc=(name,))
    _refuse_teardown(fields, where, base, dag)


def _refuse_teardown(fields: Mapping[str, Any], where: str, base: type[Any], dag: object) -> None:
    setups = fields.get("teardown_of")
    for setup in setups if isinstance(setups, (list, tuple)) else [setups]:
        if dag is not None and isinstance(setup, base) and setup.__dict__.get("_dag") is not dag:
            what = f"cannot clean up after {setup.task_id!r}, which is not in this DAG"
            raise DefinitionError(what, where=f"{where}: field 'teardown_of'", loc=("teardown_of",))
    if setups and "trigger_rule" in fields:
        what = "a teardown has no trigger rule: it starts when all its upstreams have ended"
        there = f"{where}: field 'trigger_rule'"
        raise DefinitionError(what, where=there, hint="leave it out", loc=("trigger_rule",))
