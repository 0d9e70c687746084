"""What an operator needs of the DAG it is defined in."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pydag_gcp.operator import Operator


class Owner(Protocol):
    """Takes tasks in, and edges between them."""

    def add(self, task: Operator) -> None:
        """Take the task in."""

    def connect(self, upstream: Operator, downstream: Operator) -> None:
        """Add an edge."""

    def free_id(self, name: str) -> str:
        """Return ``name``, or ``name__1``, ``name__2``, ...: the first that no task has."""


#: The DAG of the enclosing ``with`` block, which new tasks join.
current_dag: ContextVar[Owner | None] = ContextVar("current_dag", default=None)
