"""What can happen to a call: the disturbances of a rehearsal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydag_gcp.rehearsal.boundary import Boundary


@dataclass(frozen=True, kw_only=True)
class Disturbance:
    """One thing that can happen to a call.

    Attributes:
        name: How it is called in options and documents.
        title: The head of its column.
        fault: What the local cloud is asked to do.
        meaning: What happens.
        same_when_reading: What comes to the same for a call that changes nothing, if anything does.
        same_over_rpc: What a gRPC client cannot tell from it, if anything.
    """

    name: str
    title: str
    fault: str
    meaning: str
    same_when_reading: str | None = None
    same_over_rpc: str | None = None

    @property
    def kills(self) -> bool:
        """Whether the process is killed, and the run resumed."""
        return self.fault.endswith("hold")

    def differs_at(self, boundary: Boundary) -> bool:
        """Tell whether it is at this call another thing than all other disturbances."""
        return not (
            (boundary.reads and self.same_when_reading is not None)
            or (boundary.over_rpc and self.same_over_rpc is not None)
        )


DISTURBANCES: Final = (
    Disturbance(name="429", title="429", fault="429", meaning="refused: too many requests"),
    Disturbance(name="503", title="503", fault="503", meaning="refused: service unavailable"),
    Disturbance(
        name="accepted-503",
        title="503 done",
        fault="accepted-503",
        meaning="done, but answered with 503",
        same_when_reading="503",
    ),
    Disturbance(
        name="lost-answer",
        title="lost",
        fault="lost-answer",
        meaning="done, but the answer was lost",
        same_when_reading="reset",
        same_over_rpc="accepted-503",
    ),
    Disturbance(name="reset", title="reset", fault="reset", meaning="connection reset", same_over_rpc="503"),
    Disturbance(name="kill-before", title="kill <", fault="hold", meaning="process killed before the call"),
    Disturbance(
        name="kill-after",
        title="kill >",
        fault="accepted-hold",
        meaning="process killed after the call, before the answer",
        same_when_reading="kill-before",
    ),
)
