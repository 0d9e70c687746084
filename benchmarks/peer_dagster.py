"""dagster: a job in its own process, one op after another, with an instance in memory.

That is its fastest way by far: its multiprocess executor starts a process an op, about a second and a half each.
https://docs.dagster.io/guides/test/unit-testing-assets-and-ops

Its annotations are not postponed: dagster looks at that of an op's context.
"""

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dagster import (
    DependencyDefinition,
    GraphDefinition,
    In,
    MultiDependencyDefinition,
    NodeInvocation,
    Nothing,
    OpDefinition,
    OpExecutionContext,
    op,
)
from peer_driver import main
from shapes import Shape


def prepare(shape: Shape, _folder: Path) -> Callable[[], object]:
    """Make its job: one op, invoked once for each task."""
    nodes = {NodeInvocation("work", alias=task): _above(above) for task, above in shape.upstream.items()}
    graph = GraphDefinition(name=shape.name, node_defs=[_op(shape)], dependencies=nodes)
    job = graph.to_job(logger_defs={})
    logging.disable(logging.CRITICAL)

    def run() -> None:
        if not job.execute_in_process(raise_on_error=True).success:
            raise SystemExit("error: dagster failed")

    return run


def _op(shape: Shape) -> OpDefinition:
    @op(name="work", ins={"start": In(Nothing)})
    def work(context: OpExecutionContext) -> None:
        seconds = shape.seconds(context.op_handle.name)
        if seconds:
            time.sleep(seconds)

    return work


def _above(above: tuple[str, ...]) -> Mapping[str, Any]:
    if not above:
        return {}
    return {"start": MultiDependencyDefinition([DependencyDefinition(other) for other in above])}


if __name__ == "__main__":
    main("dagster", prepare)
