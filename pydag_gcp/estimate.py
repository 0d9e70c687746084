"""What a task is expected to cost."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a task would be billed for, before it runs.

    Attributes:
        bytes: The bytes that a query reads, as its dry run says.
    """

    bytes: int
