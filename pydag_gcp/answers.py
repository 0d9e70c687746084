"""How a service answers the calls about one job: it does, it is silent, or it refuses."""

from __future__ import annotations

from pydag_gcp.errors import LocalCloudError, NotYet
from pydag_gcp.outages import Patience
from pydag_gcp.retry import is_transient

#: How often in a row looking at a job may be refused for good before the job is cancelled unseen. As often in a row the
#: local cloud may fail to start.
REFUSED_LOOKS = 5
#: How often in a row a submit that may have been accepted before is refused for good, its job not to be found, before
#: it was never accepted: for some seconds a service may not show what it has just accepted.
REFUSED_SENDS = 8


class Answers:
    """What came of the last calls.

    Args:
        patience: Has the user told of a long silence.

    Attributes:
        missed: Calls in a row that came to nothing.
        refused: Of these, the last ones for which there is no hope in asking again.
    """

    __slots__ = ("_patience", "missed", "refused")

    def __init__(self, patience: Patience) -> None:
        self.missed = self.refused = 0
        self._patience = patience

    def heard(self) -> None:
        """Take in that a call was answered."""
        self.missed = self.refused = 0
        self._patience.end()

    def miss(self, error: BaseException) -> bool:
        """Take in that a call came to nothing; tell whether the same call may well be answered the next time."""
        self.missed += 1
        self.refused = 0 if is_transient(error) else self.refused + 1
        down = isinstance(error, LocalCloudError)
        if isinstance(error, NotYet) or (self.refused and not down):
            self._patience.end()  # there was an answer, and that is it
        else:
            self._patience.wait(error)
        return not self.refused or (down and self.refused < REFUSED_LOOKS)

    def expect_no_more(self) -> None:
        """Take in that nobody waits for an answer any more."""
        self._patience.end()
