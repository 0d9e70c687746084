"""Every error that pydag-gcp raises on purpose.

::

    PydagError                     exit code 1
    ├── DefinitionError            2   also ValueError: the pipeline, its SQL or its files are wrong; nothing ran
    ├── SettingsError              2   also ValueError: an option, variable or pydag.toml is wrong; nothing ran
    ├── TargetUnreachable          3   also ConnectionError: the target could not be reached
    │   └── JobUnsettled           3   it does not tell what became of a job: the run is interrupted, to be resumed
    ├── StoreError                 1   also OSError: the metadata database cannot be used
    ├── RunHeld                    1   also RuntimeError: another run of the DAG is active on the target
    ├── LeaseLost                  1   also RuntimeError: somebody else took the run over; this process leaves it alone
    ├── LocalCloudError            3   also RuntimeError: the local cloud could not be started
    ├── TaskError                  1   also RuntimeError: a task failed for a reason it can state
    │   ├── NotYet                 1   nothing was sent; it may be possible later
    │   ├── JobTaken               1   there is such a job already, but another request made it
    │   ├── JobRefused             1   a submit was refused for good, and there is no job of its id
    │   └── TaskTimeout            1   also TimeoutError
    └── RunFailed                  1   also RuntimeError: raised by RunResult.raise_for_state

Each says in one line what is wrong, where, and how to mend it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


class PydagError(Exception):
    """The root of the tree.

    Args:
        what: What is wrong, without a full stop.
        where: The place, most general part first (see :func:`place`).
        hint: How to mend it.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str | None = None, hint: str | None = None) -> None:
        self.what = what
        self.where = where
        self.hint = hint
        super().__init__(what, where, hint)

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}; {self.hint}" if self.hint else text


class DefinitionError(PydagError, ValueError):
    """The pipeline, its SQL or a file it names is wrong; nothing ran.

    Args:
        what: What is wrong, without a full stop.
        where: The place, most general part first (see :func:`place`).
        hint: How to mend it.
        excerpt: The line of the source with the wrong part underlined (see :mod:`pydag_gcp.excerpt`): shown below the
            message, never part of it.
        loc: The path of names and numbers to the wrong value inside the task, as pydantic has it.
    """

    exit_code = 2

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        hint: str | None = None,
        excerpt: str | None = None,
        loc: tuple[int | str, ...] = (),
    ) -> None:
        super().__init__(what, where=where, hint=hint)
        self.excerpt = excerpt
        self.loc = loc


class SettingsError(PydagError, ValueError):
    """An option, an environment variable or ``pydag.toml`` is wrong; nothing ran."""

    exit_code = 2


class TargetUnreachable(PydagError, ConnectionError):
    """The target's services or its credentials could not be reached."""

    exit_code = 3


class JobUnsettled(TargetUnreachable):
    """The target does not tell what became of a job, so the run is left as it is: interrupted, its try still open.

    Whoever goes on with the run, or settles it before another one, asks again under the same id.
    """


class StoreError(PydagError, OSError):
    """The metadata database cannot be read or written."""

    def __str__(self) -> str:  # OSError would format its own arguments
        return PydagError.__str__(self)


class RunHeld(PydagError, RuntimeError):
    """Another run of the same DAG is active on the same target; nothing ran."""


class LeaseLost(PydagError, RuntimeError):
    """Somebody else took over, or may have: this process must neither write nor call for the run any more."""


class LocalCloudError(PydagError, RuntimeError):
    """The local cloud could not be started, found or stopped."""

    exit_code = 3


class TaskError(PydagError, RuntimeError):
    """A task failed for a reason it can state.

    Args:
        what: The reason.
        transient: Whether the same work may well succeed when it is tried again.
        where: The place, if it is narrower than the task.
        hint: How to mend it.
    """

    def __init__(
        self, what: str, *, transient: bool = False, where: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(what, where=where, hint=hint)
        self.transient = transient


class NotYet(TaskError):
    """A submit sent nothing, because something has to end first: it is asked again later, which is no new try."""

    def __init__(self, what: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(what, transient=True, where=where, hint=hint)


class JobTaken(TaskError):
    """The id of a job is taken, but another request than ours made the job.

    Args:
        what: What was found.
        handle: What the job is followed by.
        hint: How to mend it.
    """

    def __init__(self, what: str, *, handle: Mapping[str, Any], hint: str | None = None) -> None:
        super().__init__(what, hint=hint)
        self.handle = handle


class JobRefused(TaskError):
    """A submit was refused for good, and the service shows no job of its id: that of an earlier sending neither."""


class TaskTimeout(TaskError, TimeoutError):
    """A try was still going when its ``timeout`` had passed."""


class RunFailed(PydagError, RuntimeError):
    """A run ended in another state than ``success``."""


def place(
    *,
    file: Path | str | None = None,
    line: int | None = None,
    column: int | None = None,
    task: str | None = None,
    field: str | None = None,
) -> str:
    """Name a place the way every message does: ``pipeline.yaml:12:5: task 'ingest': field 'region'``."""
    parts = []
    if file is not None:
        parts.append(":".join(str(part) for part in (file, line, column) if part is not None))
    if task is not None:
        parts.append(f"task {task!r}")
    if field is not None:
        parts.append(f"field {field!r}")
    return ": ".join(parts)


#: Known names that a hint lists, at most.
_MOST_LISTED = 30


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """Suggest the closest known name, as a hint, or None if none is close."""
    close = difflib.get_close_matches(name, sorted(known), n=1)
    return f"did you mean {close[0]!r}?" if close else None


def did_you_mean_one_of(name: str, known: Iterable[str]) -> str:
    """Suggest the closest known name, or list the known ones if none is close."""
    names = list(known)
    more = ", ..." if len(names) > _MOST_LISTED else ""
    return did_you_mean(name, names) or f"known: {', '.join(names[:_MOST_LISTED]) or 'none'}{more}"
