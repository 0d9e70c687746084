"""Where the tasks of a run changed the version of something although nothing of it is new.

To write one partition gives all others of its table another version. Whatever is recorded with the old one then holds
for the new one, whether it was recorded by this run or long before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pydag_gcp.equivalence import left_by, substance
from pydag_gcp.record import Record


class Moves:
    """Old versions, and those that now stand for them."""

    def __init__(self) -> None:
        self._next: dict[tuple[str, str], str] = {}

    def add(self, key: str, old: str | None, new: str | None) -> bool:
        """Take note of a new version; tell whether it is another one."""
        if old is None or new is None or old == new:
            return False
        self._next[key, old] = new
        self._next.pop((key, new), None)  # what is there now leads nowhere
        return True

    def of_versions(self, versions: Mapping[str, str | None]) -> Mapping[str, str | None]:
        """The same versions, as they are now; the very same mapping if none has changed."""
        if self._next.keys().isdisjoint(versions.items()):
            return versions
        return {key: version and self._now(key, version) for key, version in versions.items()}

    def of_record(self, record: Record, *, opaque: bool) -> Record:
        """The same record, with the versions as they are now; the very same if none has changed.

        What was built on it has to know it by what it now says: that is taken note of, too.
        """
        reads, writes = self.of_versions(record.reads), record.writes and self.of_versions(record.writes)
        if reads is record.reads and writes is record.writes:
            return record
        now = replace(record, reads=reads, writes=writes)
        self.add(left_by(record.task_id), substance(record, opaque=opaque), substance(now, opaque=opaque))
        return now

    def _now(self, key: str, version: str) -> str:
        while (key, version) in self._next:
            version = self._next[key, version]
        return version
