"""Operators for tests: local work, and jobs of a service in memory, which is what the cloud is to the executor."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from pydag_gcp.operator import Context, Done, Failed, Operator, RemoteOperator, Running, Status


class Call(Operator):
    """Local work: calls a function with its context."""

    function: Callable[[Context], Any] = lambda _: None

    def execute(self, ctx: Context) -> Any:
        return self.function(ctx)


class Service:
    """A service that runs jobs for a while: what the cloud is to the executor."""

    def __init__(self) -> None:
        self.jobs: dict[str, float] = {}
        self.cancelled: set[str] = set()
        self.submits: list[str] = []
        self.faults: list[Exception | None] = []
        self.accept_before_fault = True

    def submit(self, job_id: str) -> None:
        self.submits.append(job_id)
        fault = self.faults.pop(0) if self.faults else None
        if fault is None or self.accept_before_fault:
            self.jobs.setdefault(job_id, time.monotonic())
        if fault is not None:
            raise fault

    def end_jobs(self) -> None:
        """Let every job have run long enough."""
        self.jobs = dict.fromkeys(self.jobs, float("-inf"))


class Job(RemoteOperator):
    """A remote job that takes ``seconds``; every failed one of ``outcomes`` is used up by one try."""

    cloud: ClassVar[Service]
    seconds: float = 0.0
    outcomes: tuple[Status, ...] = ()
    partial: bool = False

    def submit(self, ctx: Context, job_id: str) -> dict[str, Any]:
        self.cloud.submit(job_id)
        return {"job_id": job_id, "try": ctx.try_number}

    def poll(self, ctx: Context, handle: Mapping[str, Any]) -> Status:
        if handle["job_id"] in self.cloud.cancelled:
            return Failed(reason="stopped")
        if time.monotonic() - self.cloud.jobs[handle["job_id"]] < self.seconds:
            return Running(detail="stage 1")
        return self.outcomes[handle["try"] - 1] if handle["try"] <= len(self.outcomes) else Done()

    def result(self, ctx: Context, handle: Mapping[str, Any]) -> Any:
        return {"job_id": handle["job_id"]}

    def cancel(self, ctx: Context, handle: Mapping[str, Any]) -> None:
        self.cloud.cancelled.add(handle["job_id"])

    def atomic(self, ctx: Context) -> bool:
        return not self.partial
