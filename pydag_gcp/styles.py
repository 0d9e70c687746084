"""How the states of tasks look on a terminal."""

from __future__ import annotations

from pydag_gcp.states import TaskState

STYLES = {
    TaskState.SCHEDULED: "dim",
    TaskState.QUEUED: "dim",
    TaskState.RUNNING: "cyan",
    TaskState.DEFERRED: "cyan",
    TaskState.UP_FOR_RETRY: "yellow",
    TaskState.SUCCESS: "green",
    TaskState.CACHED: "green",
    TaskState.FAILED: "bold red",
    TaskState.UPSTREAM_FAILED: "red",
    TaskState.SKIPPED: "dim",
    TaskState.CANCELLED: "yellow",
}
