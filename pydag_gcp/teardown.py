"""Tasks that clean up after others, their setups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator

from pydag_gcp.states import TriggerRule

if TYPE_CHECKING:
    from pydag_gcp.operator import Operator


def _ids(value: Any) -> Any:
    tasks = value if isinstance(value, (list, tuple)) else [] if value is None else [value]
    return [getattr(task, "task_id", task) for task in tasks]


#: Ids of tasks; given as a task, an id, or several of these.
Setups = Annotated[tuple[str, ...], BeforeValidator(_ids, json_schema_input_type=str | list[str])]


def teardowns_of(tasks: Mapping[str, Operator]) -> dict[str, tuple[str, ...]]:
    """Teardown -> its setups, as far as they are among the tasks; a teardown without any is a task like others."""
    found = {
        task_id: tuple(setup for setup in task.teardown_of if setup in tasks)
        for task_id, task in tasks.items()
        if task.teardown_of
    }
    return {task_id: setups for task_id, setups in found.items() if setups}


def rules_of(tasks: Mapping[str, Operator]) -> dict[str, TriggerRule]:
    """Task id -> its trigger rule; a teardown waits for all."""
    return {task_id: TriggerRule.ALL_DONE if task.teardown_of else task.trigger_rule for task_id, task in tasks.items()}


def special_rules_of(tasks: Mapping[str, Operator]) -> dict[str, TriggerRule]:
    """The same of those tasks only, few as a rule, whose rule is not ``all_success``."""
    usual = TriggerRule.ALL_SUCCESS
    return rules_of({name: task for name, task in tasks.items() if task.teardown_of or task.trigger_rule is not usual})
