"""What an author gives to a task, and what of it is refused that no single field's check can see."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from pydag_gcp.errors import DefinitionError
from pydag_gcp.output import hides_output, with_outputs
from pydag_gcp.runtime_value import RuntimeValue, find, is_open
from pydag_gcp.secret import Secret

if TYPE_CHECKING:
    from pydag_gcp.operator import Operator

#: Values in which nothing can stand that is known at run time only.
_PLAIN = frozenset({bool, float, int, str, timedelta, type(None)})


@cache
def param_names(kind: type[Operator]) -> frozenset[str]:
    """The names, as authors write them, of the fields of a class that take outputs and secrets."""
    return frozenset(
        info.alias or name
        for name, info in kind.model_fields.items()
        if any(map(is_open, (info.annotation, *info.metadata)))
    )


def taken(
    kind: type[Operator], fields: Mapping[str, Any], *, base: type[Any], dag: object
) -> tuple[dict[str, Any], tuple[RuntimeValue, ...]]:
    """Put outputs in the places of tasks; also return the runtime values, each once.

    Args:
        kind: The task's class.
        fields: What the author gave.
        base: The class of all tasks: one that stands for its output is found like the output.
        dag: The DAG that the task joins, or None.

    Raises:
        DefinitionError: An output or a secret is where it cannot stand, or a teardown cannot be one; its ``loc`` names
            the field, the place is up to the caller.
    """
    if fields.get("teardown_of"):
        _refuse_teardown(fields, base, dag)
    given, found = dict(fields), dict[RuntimeValue, None]()
    for name, value in fields.items():
        if type(value) not in _PLAIN:
            given[name], values = _one(kind, name, value, base)
            found.update(values)
    return given, tuple(found)


def _one(kind: type[Operator], name: str, value: Any, base: type[Any]) -> tuple[Any, Mapping[RuntimeValue, None]]:
    """A field's value with outputs in the places of tasks, and the runtime values in it."""
    params = param_names(kind)
    if name not in params:
        refused = next(find(value), None)
        if refused is not None:
            hint = f"they may stand in {', '.join(sorted(params))}" if params else f"{kind.__name__} takes none"
            what = f"an output or a secret cannot stand here, got {refused!r}"
            raise DefinitionError(what, hint=hint, loc=(name,))
        return value, {}
    if hides_output(value, base):
        what = "outputs and secrets are not found in a key of a dict, in an object or in an iterator"
        hint = "write a list or the values of a dict, or give an argument of its own"
        raise DefinitionError(what, hint=hint, loc=(name,))
    value = with_outputs(value, base)
    values = dict.fromkeys(find(value))
    if kind.shows_secrets and any(isinstance(one, Secret) for one in values):
        what = "a secret cannot stand here, as whoever may see the job would see it"
        hint = "use it in a @task, or pass its name and let the job look it up"
        raise DefinitionError(what, hint=hint, loc=(name,))
    return value, values


def _refuse_teardown(fields: Mapping[str, Any], base: type[Any], dag: object) -> None:
    setups = fields["teardown_of"]
    for setup in setups if isinstance(setups, (list, tuple)) else [setups]:
        if dag is not None and isinstance(setup, base) and setup.__dict__.get("_dag") is not dag:
            what = f"cannot clean up after {setup.task_id!r}, which is not in this DAG"
            raise DefinitionError(what, loc=("teardown_of",))
    if "trigger_rule" in fields:
        what = "a teardown has no trigger rule: it starts when all its upstreams have ended"
        raise DefinitionError(what, hint="leave it out", loc=("trigger_rule",))


def one_of_equal(names: set[str]) -> set[str]:
    """Return the same object for equal sets of names: of the fields that were given, which nobody changes.

    It would be an eighth of the memory of a task.
    """
    return _names.setdefault(frozenset(names), names)


_names: dict[frozenset[str], set[str]] = {}
