"""gRPC services made of functions, called through a real channel."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import grpc
import pytest
from google.cloud import dataproc_v1
from google.longrunning import operations_pb2  # type: ignore[import-untyped]

from pydag_gcp.local import rpc
from pydag_gcp.local.faults import Faults

NAME = "google.cloud.dataproc.v1.JobController"


class Jobs:
    """The smallest service: it counts what it did."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def get(self, request: dataproc_v1.GetJobRequest) -> dataproc_v1.Job:
        if request.job_id == "missing":
            raise rpc.not_found("Not found: Job missing")
        self.done.append(request.job_id)
        return dataproc_v1.Job(job_uuid=request.job_id)

    def stream(self, request: dataproc_v1.GetJobRequest) -> Iterator[dataproc_v1.Job]:
        for number in range(3):
            self.done.append(str(number))
            yield dataproc_v1.Job(job_uuid=str(number))
        if request.job_id == "broken":
            raise rpc.failed_precondition("the stream broke")


@dataclass
class World:
    jobs: Jobs
    faults: Faults
    channel: grpc.Channel

    def call(self, rpc_name: str = "GetJob", job_id: str = "j") -> dataproc_v1.Job:
        stub = self.channel.unary_unary(
            f"/{NAME}/{rpc_name}",
            request_serializer=dataproc_v1.GetJobRequest.serialize,
            response_deserializer=dataproc_v1.Job.deserialize,
        )
        answer: dataproc_v1.Job = stub(dataproc_v1.GetJobRequest(job_id=job_id), timeout=10)
        return answer

    def stream(self, job_id: str = "j") -> Iterator[dataproc_v1.Job]:
        stub = self.channel.unary_stream(
            f"/{NAME}/StreamJobs",
            request_serializer=dataproc_v1.GetJobRequest.serialize,
            response_deserializer=dataproc_v1.Job.deserialize,
        )
        yield from stub(dataproc_v1.GetJobRequest(job_id=job_id), timeout=10)


@pytest.fixture
def world() -> Iterator[World]:
    jobs, faults = Jobs(), Faults()
    methods = {
        "GetJob": rpc.Method(function=jobs.get, request=dataproc_v1.GetJobRequest, response=dataproc_v1.Job),
        "StreamJobs": rpc.Method(
            function=jobs.stream,
            request=dataproc_v1.GetJobRequest,
            response=dataproc_v1.Job,
            streaming=True,
        ),
    }
    server, port = rpc.serve([rpc.service(NAME, "dataproc", methods)], "127.0.0.1", 0, faults)
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield World(jobs, faults, channel)
    server.stop(None).wait()


def status(call: Callable[[], object]) -> tuple[grpc.StatusCode, str | None]:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code(), caught.value.details()


def test_a_call_reaches_its_function_and_counts_once(world: World) -> None:
    # Given a service; When it is called
    answer = world.call(job_id="j1")

    # Then the function answered, and the hook saw the call by its short name
    assert answer.job_uuid == "j1"
    assert world.faults.calls() == {"dataproc.GetJob": 1}


def test_an_rpc_error_becomes_its_status(world: World) -> None:
    assert status(lambda: world.call(job_id="missing")) == (
        grpc.StatusCode.NOT_FOUND,
        "Not found: Job missing",
    )


def test_a_stream_yields_each_message_then_its_error(world: World) -> None:
    # Given a stream that fails after three messages
    seen: list[str] = []

    # When it is read to its end
    def read() -> None:
        seen.extend(job.job_uuid for job in world.stream("j"))
        seen.extend(job.job_uuid for job in world.stream("broken"))

    # Then the messages before the failure arrived
    assert status(read) == (grpc.StatusCode.FAILED_PRECONDITION, "the stream broke")
    assert seen == ["0", "1", "2", "0", "1", "2"]


@pytest.mark.parametrize(
    ("path", "named"),
    [
        (f"/{NAME}/CancelJob", f"{NAME}.CancelJob"),
        ("/google.cloud.dataproc.v1.BatchController/CreateBatch", "v1.BatchController.CreateBatch"),
    ],
)
def test_what_is_not_offered_is_refused_by_name(world: World, path: str, named: str) -> None:
    # https://grpc.io/docs/guides/status-codes/: UNIMPLEMENTED, the operation is not supported
    stub: grpc.UnaryUnaryMultiCallable[bytes, bytes] = world.channel.unary_unary(path)
    code, message = status(lambda: stub(b"", timeout=10))
    assert code is grpc.StatusCode.UNIMPLEMENTED
    assert named in (message or "")


@pytest.mark.parametrize(
    ("kind", "code", "done"),
    [
        ("429", grpc.StatusCode.RESOURCE_EXHAUSTED, 0),
        ("500", grpc.StatusCode.INTERNAL, 0),
        ("503", grpc.StatusCode.UNAVAILABLE, 0),
        ("unavailable", grpc.StatusCode.UNAVAILABLE, 0),
        ("reset", grpc.StatusCode.UNAVAILABLE, 0),
        ("accepted-503", grpc.StatusCode.UNAVAILABLE, 1),
        ("lost-answer", grpc.StatusCode.UNAVAILABLE, 1),
    ],
)
def test_a_fault_hides_the_answer_and_only_some_do_the_work(
    world: World, kind: str, code: grpc.StatusCode, done: int
) -> None:
    # Given one fault; When called twice
    world.faults.add("dataproc.GetJob", kind=kind)
    assert status(world.call)[0] is code

    # Then the work was done as the fault says, and the second call is as ever
    assert len(world.jobs.done) == done
    assert world.call().job_uuid == "j"


def test_a_fault_before_a_stream_stops_it(world: World) -> None:
    world.faults.add("dataproc.StreamJobs", kind="503")
    assert status(lambda: list(world.stream()))[0] is grpc.StatusCode.UNAVAILABLE
    assert world.jobs.done == []


def test_latency_waits_then_answers(world: World) -> None:
    world.faults.add("dataproc.GetJob", kind="latency", seconds=0.2)
    started = time.monotonic()
    assert world.call().job_uuid == "j"
    assert time.monotonic() - started >= 0.2


def test_a_fault_for_a_method_nobody_offers_is_refused(world: World) -> None:
    with pytest.raises(ValueError, match="GetJobs"):
        world.faults.add("dataproc.GetJobs", kind="503")


def test_a_taken_port_is_an_os_error() -> None:
    server, port = rpc.serve([], "127.0.0.1", 0)
    with pytest.raises(OSError, match=f"127.0.0.1:{port}"):
        rpc.serve([], "127.0.0.1", port)
    server.stop(None).wait()


def test_plain_protobuf_messages_are_served_too() -> None:
    # Given a service whose messages are not proto-plus
    started = threading.Event()

    def get(request: operations_pb2.GetOperationRequest) -> operations_pb2.Operation:
        started.set()
        return operations_pb2.Operation(name=request.name, done=True)

    method = rpc.Method(function=get, request=operations_pb2.GetOperationRequest, response=operations_pb2.Operation)
    server, port = rpc.serve(
        [rpc.service("google.longrunning.Operations", "dataproc", {"GetOperation": method})], "127.0.0.1", 0
    )

    # When it is called
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = channel.unary_unary(
            "/google.longrunning.Operations/GetOperation",
            request_serializer=operations_pb2.GetOperationRequest.SerializeToString,
            response_deserializer=operations_pb2.Operation.FromString,
        )
        answer = stub(operations_pb2.GetOperationRequest(name="op"), timeout=10)

    # Then
    assert answer.done
    assert started.is_set()
    server.stop(None).wait()
