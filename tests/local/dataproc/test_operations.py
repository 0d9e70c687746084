"""Long-running operations, through Google's own client.

Contract: https://cloud.google.com/dataproc/docs/reference/rest/v1/projects.regions.operations
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.api_core import exceptions, operations_v1
from google.cloud import dataproc_v1
from google.rpc import code_pb2  # type: ignore[import-untyped]

from pydag_gcp.local import rpc
from pydag_gcp.local.dataproc.operations import Operations

PARENT = "projects/p/regions/us-central1/operations"


@pytest.fixture
def operations(tmp_path: Path) -> Operations:
    return Operations(tmp_path / "operations")


@pytest.fixture
def client(operations: Operations) -> Iterator[operations_v1.OperationsClient]:
    server, port = rpc.serve([operations.service()], "127.0.0.1", 0)
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield operations_v1.OperationsClient(channel)
    server.stop(None).wait()


def start(operations: Operations, request_id: str = "") -> Any:
    metadata = dataproc_v1.ClusterOperationMetadata(cluster_name="c1", operation_type="CREATE")
    return operations.start(project="p", region="us-central1", metadata=metadata, request_id=request_id)


def test_an_operation_is_seen_running_then_done(operations: Operations, client: operations_v1.OperationsClient) -> None:
    # Given a started operation
    started = start(operations)
    assert not client.get_operation(started.name).done

    # When it ends well
    operations.finish(started.name, dataproc_v1.Cluster(cluster_name="c1"))

    # Then a client finds its response, and its metadata
    seen = client.get_operation(started.name)
    cluster = dataproc_v1.Cluster()
    assert seen.done
    assert seen.response.Unpack(dataproc_v1.Cluster.pb(cluster))
    assert cluster.cluster_name == "c1"
    assert seen.metadata.Is(dataproc_v1.ClusterOperationMetadata.pb().DESCRIPTOR)


def test_a_failed_operation_carries_its_error(operations: Operations, client: operations_v1.OperationsClient) -> None:
    started = start(operations)
    operations.fail(started.name, code_pb2.ABORTED, "it broke")
    seen = client.get_operation(started.name)
    assert (seen.done, seen.error.code, seen.error.message) == (True, code_pb2.ABORTED, "it broke")


def test_an_end_is_final(operations: Operations, client: operations_v1.OperationsClient) -> None:
    started = start(operations)
    operations.finish(started.name)
    operations.fail(started.name, code_pb2.ABORTED, "too late")
    assert client.get_operation(started.name).WhichOneof("result") == "response"


def test_operations_survive_a_restart(tmp_path: Path, operations: Operations) -> None:
    started = start(operations, request_id="r1")
    operations.finish(started.name)
    again = Operations(tmp_path / "operations")
    found = again.requested("p", "us-central1", "r1")
    assert found is not None
    assert found.done
    assert again.unfinished() == []


def test_a_request_id_counts_within_its_project_and_region(operations: Operations) -> None:
    started = start(operations, request_id="r1")
    found = operations.requested("p", "us-central1", "r1")
    assert found is not None
    assert found.name == started.name
    assert operations.requested("q", "us-central1", "r1") is None
    assert operations.requested("p", "us-central1", "") is None


def test_operations_are_listed_by_region(operations: Operations, client: operations_v1.OperationsClient) -> None:
    started = {start(operations).name, start(operations).name}
    operations.start(project="p", region="europe-west1", metadata=dataproc_v1.ClusterOperationMetadata())
    assert {operation.name for operation in client.list_operations(PARENT, "")} == started


@pytest.mark.parametrize(
    ("name", "text", "error"),
    [("projects/p", "", exceptions.InvalidArgument), (PARENT, "done = true", exceptions.MethodNotImplemented)],
)
def test_what_cannot_be_listed_is_refused(
    client: operations_v1.OperationsClient, name: str, text: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        list(client.list_operations(name, text))


def test_a_deleted_operation_is_not_found(operations: Operations, client: operations_v1.OperationsClient) -> None:
    started = start(operations)
    client.delete_operation(started.name)
    with pytest.raises(exceptions.NotFound, match=started.name):
        client.get_operation(started.name)
    operations.finish(started.name)  # its end no longer interests anyone


def test_only_what_runs_is_cancelled(operations: Operations, client: operations_v1.OperationsClient) -> None:
    # Given one operation that runs and one that is done
    cancelled: list[str] = []
    operations.on_cancel(lambda operation: cancelled.append(operation.name))
    running, done = start(operations), start(operations)
    operations.finish(done.name)

    # When both are cancelled
    client.cancel_operation(running.name)
    client.cancel_operation(done.name)

    # Then only the first one is
    assert cancelled == [running.name]
