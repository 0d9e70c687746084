"""Where a pipeline meets the cloud: the calls of an undisturbed run, at each of which a rehearsal disturbs one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from pydag_gcp.local.calls import Call

#: What is another from run to run in the names of objects, tables and operations: ids and hashes.
VARIES: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|(?<![0-9a-f])[0-9a-f]{32,}")
#: Of calls that write, are about the same thing and belong to no task, only so many are disturbed.
_MOST_ALIKE = 20
#: These move no data of the pipeline's, or only rows that are read.
_LEFT_OUT = ("bigquerystorage.", "storage.batch")
_READING = re.compile(r"\.(get|list|Get|List|Access)[A-Za-z]*$")
_OVER_RPC = ("dataproc.", "secretmanager.")


@dataclass(frozen=True, kw_only=True)
class Boundary:
    """One call that the pipeline makes.

    Attributes:
        method: The API method.
        task: The task whose job it is about, or "".
        resource: Else what it is about; ``*`` stands for what is another in each run.
        over: Whether what it is about has been seen to be over: the look that reads what a job came to.
        call: Which of the calls that are alike, from 1.
    """

    method: str
    task: str = ""
    resource: str = ""
    over: bool = False
    call: int = 1

    @property
    def reads(self) -> bool:
        """Whether it changes nothing in the cloud."""
        return _READING.search(self.method) is not None

    @property
    def over_rpc(self) -> bool:
        """Whether it is a gRPC call."""
        return self.method.startswith(_OVER_RPC)

    @property
    def about(self) -> str:
        """The task, or the resource, in words."""
        return self.task or self.resource.rpartition("/projects/")[2] or "-"

    @property
    def kind(self) -> str:
        """The method, and which of its calls."""
        which = " at the end" if self.over and self.reads else ""
        return f"{self.method}{which}{f' ({self.call})' if self.call > 1 else ''}"

    def __str__(self) -> str:
        return f"{self.about} {self.kind}"

    def order(self, fault: str) -> dict[str, Any]:
        """Return what asks the local cloud to disturb it: see ``POST /_pydag/faults``."""
        wanted: dict[str, Any] = {"method": self.method, "fault": fault, "call": self.call, "over": self.over}
        if self.task:
            return {**wanted, "task": self.task}
        pattern = re.sub(r"([\[?])", r"[\1]", self.resource)
        return {**wanted, "task": "", "resource": pattern}


def boundaries(calls: Iterable[Call]) -> tuple[Boundary, ...]:
    """Find the boundaries of a run, in the order in which it came to what they are about.

    Looks at the same thing count as one, whether it goes on or has ended. What jobs on clusters call is theirs.
    """
    found: dict[Boundary, None] = {}
    alike: Counter[Boundary] = Counter()
    for call in calls:
        if call.subject.by_job or call.method.startswith(_LEFT_OUT) or call.method == "unknown":
            continue
        about = call.subject
        resource = "" if about.task else VARIES.sub("*", about.resource)
        first = Boundary(method=call.method, task=about.task, resource=resource, over=about.over)
        alike[first] += 1
        if first.reads or alike[first] > _MOST_ALIKE:
            found.setdefault(first)
        else:
            number = alike[first]
            found[Boundary(method=call.method, task=about.task, resource=resource, over=about.over, call=number)] = None
    order = list(dict.fromkeys(boundary.about for boundary in found))
    return tuple(sorted(found, key=lambda boundary: order.index(boundary.about)))
