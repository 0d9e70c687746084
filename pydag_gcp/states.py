"""The states of runs and tasks."""

from __future__ import annotations

from enum import StrEnum


class RunState(StrEnum):
    """Where a run stands; all but ``running`` are final."""

    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"


class TaskState(StrEnum):
    """Where a task stands in a run."""

    SCHEDULED = "scheduled"
    QUEUED = "queued"
    RUNNING = "running"
    DEFERRED = "deferred"
    UP_FOR_RETRY = "up_for_retry"
    SUCCESS = "success"
    CACHED = "cached"
    FAILED = "failed"
    UPSTREAM_FAILED = "upstream_failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether the task has ended."""
        return self in FINAL

    @property
    def good(self) -> bool:
        """Whether the task has done what it should, now or in an earlier run."""
        return self in _GOOD


#: The states of tasks that have ended.
FINAL = frozenset(
    {
        TaskState.SUCCESS,
        TaskState.CACHED,
        TaskState.FAILED,
        TaskState.UPSTREAM_FAILED,
        TaskState.SKIPPED,
        TaskState.CANCELLED,
    }
)


_GOOD = frozenset({TaskState.SUCCESS, TaskState.CACHED})

#: The final states of tasks that did not do what they should; a run has failed if any but a teardown ends so.
BAD = (TaskState.FAILED, TaskState.UPSTREAM_FAILED, TaskState.CANCELLED)


class TriggerRule(StrEnum):
    """When a task starts, by the states of its upstreams.

    The names and meanings of Airflow's:
    https://airflow.apache.org/docs/apache-airflow/stable/core-concepts/dags.html#trigger-rules
    """

    ALL_SUCCESS = "all_success"
    ALL_DONE = "all_done"
    ONE_SUCCESS = "one_success"
    ONE_FAILED = "one_failed"
    NONE_FAILED = "none_failed"
    NONE_FAILED_MIN_ONE_SUCCESS = "none_failed_min_one_success"
    ALWAYS = "always"
