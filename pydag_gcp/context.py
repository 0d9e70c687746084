"""What a task may know about its run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydag_gcp.errors import TaskError
from pydag_gcp.identity import label_value

if TYPE_CHECKING:
    from pydag_gcp.gcp import Clients, Target


def _no_output(task_id: str) -> Any:
    raise TaskError(f"the output of task {task_id!r} is known only in a run")


def _not_yet(_task_id: str) -> bool:
    return False


def _no_choice(_task_id: str) -> tuple[str, ...]:
    return ()


def _common_log(_task_id: str, _try_number: int) -> logging.Logger:
    return logging.getLogger("pydag_gcp.task")


def _no_secret(reference: str) -> str:
    raise TaskError(f"secret {reference!r} is looked up only in a run")


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a task may know about its run: handed to every method of an operator.

    Before a run (validation) ``try_number`` is 0 and nobody has spoken to the cloud.
    """

    dag_id: str
    run_id: str
    task_id: str
    try_number: int
    logical_date: datetime
    data_interval_start: datetime
    data_interval_end: datetime
    params: Mapping[str, Any]
    #: Where the pipeline file lies: relative files are looked up from here.
    folder: Path
    #: The project: the folder of the nearest pydag.toml or pyproject.toml.
    project_folder: Path
    clients: Clients
    #: Answers :attr:`log`.
    logs: Callable[[str, int], logging.Logger] = field(default=_common_log, repr=False)
    #: Answers :attr:`downstream`.
    choices: Callable[[str], tuple[str, ...]] = field(default=_no_choice, repr=False)
    #: Answers :meth:`output_of`.
    outputs: Callable[[str], Any] = field(default=_no_output, repr=False)
    #: Answers :meth:`succeeded`.
    successes: Callable[[str], bool] = field(default=_not_yet, repr=False)
    #: Answers :meth:`secret`.
    secrets: Callable[[str], str] = field(default=_no_secret, repr=False)
    #: What is left for queries of the run to read, in bytes; None: as much as they want.
    max_bytes: int | None = None

    def of_try(self, task_id: str, try_number: int = 0) -> Context:
        """The context of a try of a task of the same run: there are very many, so that it is copied as it stands."""
        fields = self.__dict__.copy()
        fields["task_id"], fields["try_number"] = task_id, try_number
        fields.pop("log", None)  # that is of one try
        copy = object.__new__(Context)
        object.__setattr__(copy, "__dict__", fields)
        return copy

    @cached_property
    def log(self) -> logging.Logger:
        """The log of the try; its file is made with the first line."""
        return self.logs(self.task_id, self.try_number)

    @property
    def downstream(self) -> tuple[str, ...]:
        """The ids of the tasks directly downstream, teardowns excepted: what a branch may choose from."""
        return self.choices(self.task_id)

    @property
    def target(self) -> Target:
        """Where the run goes."""
        return self.clients.target

    @property
    def labels(self) -> dict[str, str]:
        """The labels that every remote object of this task carries."""
        return {
            "pydag-dag": label_value(self.dag_id),
            "pydag-task": label_value(self.task_id),
            "pydag-run": label_value(self.run_id),
        }

    @property
    def variables(self) -> dict[str, Any]:
        """The names that templates may use."""
        return {
            "params": dict(self.params),
            "dag_id": self.dag_id,
            "task_id": self.task_id,
            "run_id": self.run_id,
            "project": self.target.project,
            "location": self.target.location,
            "logical_date": self.logical_date,
            "data_interval_start": self.data_interval_start,
            "data_interval_end": self.data_interval_end,
            "ds": self.logical_date.date().isoformat(),
            "ds_nodash": self.logical_date.strftime("%Y%m%d"),
        }

    def output_of(self, task_id: str) -> Any:
        """What a task upstream that has ended returned, as JSON of the caller's own; None if it returned nothing.

        A task that was skipped, or failed, has returned nothing.

        Raises:
            TaskError: There is no run yet.
        """
        return self.outputs(task_id)

    def succeeded(self, task_id: str) -> bool:
        """Tell whether a task upstream has done what it should, in this run or in an earlier one."""
        return self.successes(task_id)

    def secret(self, reference: str) -> str:
        """Look up ``env:NAME`` or ``sm:NAME``; what it returns is masked in everything that is written.

        Raises:
            TaskError: There is no such secret; names the reference and how to set it.
        """
        return self.secrets(reference)
