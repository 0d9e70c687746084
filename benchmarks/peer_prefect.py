"""prefect: a flow whose tasks run on threads, with the temporary server that prefect starts by itself.

The server is up before anything is timed. https://docs.prefect.io/v3/concepts/task-runners
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from peer_driver import main
from shapes import WORKERS, Shape

#: prefect reads these when it is imported. https://docs.prefect.io/v3/api-ref/settings-ref
SETTINGS = {
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_LEVEL": "ERROR",
    "DO_NOT_TRACK": "1",
}


def prepare(shape: Shape, _folder: Path) -> Callable[[], object]:
    """Make its flow."""
    from prefect import flow, task
    from prefect.task_runners import ThreadPoolTaskRunner

    @task
    def work(seconds: float) -> None:
        if seconds:
            time.sleep(seconds)

    @flow(name=shape.name, task_runner=ThreadPoolTaskRunner(max_workers=WORKERS))
    def run() -> None:
        futures: dict[str, Any] = {}
        for name, above in shape.upstream.items():
            futures[name] = work.submit(shape.seconds(name), wait_for=[futures[other] for other in above])
        for future in futures.values():
            future.result()

    return run


if __name__ == "__main__":
    # The server ends after this process has, and may still write there.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        os.environ.update(SETTINGS, PREFECT_HOME=home)
        main("prefect", prepare)
