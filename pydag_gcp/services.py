"""Tasks that start and end clusters, and the tasks that use these."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydag_gcp.access import Access
from pydag_gcp.edges import downstream_of
from pydag_gcp.selection import clusters, is_service, reach


@dataclass(frozen=True, kw_only=True)
class Service:
    """What binds a task that starts or ends clusters to others.

    Attributes:
        users: The tasks that use these, before it or after it.
        before: The tasks before it that start or end them.
        starts: Some users come after it.
    """

    users: tuple[str, ...]
    before: tuple[str, ...]
    starts: bool


def services_of(accesses: Mapping[str, Access], upstream: Mapping[str, Sequence[str]]) -> dict[str, Service]:
    """Find the tasks that write clusters and nothing else.

    Args:
        accesses: What each task touches.
        upstream: The edges.
    """
    written = {task: clusters(access.writes) for task, access in accesses.items() if is_service(access.writes)}
    users: dict[object, list[str]] = defaultdict(list)
    for task, access in accesses.items():
        for cluster in clusters(access.uses) if task not in written else ():
            users[cluster].append(task)
    downstream = downstream_of(upstream) if written else {}
    found = {}
    for task, own in written.items():
        above, below = reach([task], upstream) - {task}, reach([task], downstream) - {task}
        using = [user for cluster in own for user in users[cluster]]
        found[task] = Service(
            users=tuple(user for user in dict.fromkeys(using) if user in above or user in below),
            before=tuple(other for other in written if other in above and own & written[other]),
            starts=any(user in below for user in using),
        )
    return found
