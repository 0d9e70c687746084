"""Small real servers that answer what the services document, also where no emulator would: lost answers, odd states."""

from __future__ import annotations

import json
import logging
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import grpc
import pytest
import requests
from google.cloud import dataproc_v1
from google.cloud.bigquery import QueryJobConfig
from google.longrunning import operations_pb2  # type: ignore[import-untyped]
from google.protobuf import empty_pb2

from pydag_gcp.gcp import Clients, Endpoints, Target
from pydag_gcp.local import daemon
from pydag_gcp.operator import Context, Done, Failed, RemoteOperator, Running
from pydag_gcp.retry import is_transient
from tests.contexts import first_try

# HTTP -----------------------------------------------------------------------------------------------------------------


class LostAnswer(Exception):
    """The work is done, then the connection is closed without an answer."""


@dataclass(frozen=True, kw_only=True)
class Request:
    method: str
    path: str
    query: dict[str, list[str]]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.body)
        return content


Answer = tuple[int, dict[str, Any] | bytes]


def api_error(status: int, reason: str, message: str) -> Answer:
    """https://cloud.google.com/bigquery/docs/error-messages#errortable."""
    errors = [{"reason": reason, "message": message, "domain": "global"}]
    return status, {"error": {"code": status, "message": message, "errors": errors}}


class HttpService:
    """BigQuery and Cloud Storage over HTTP, as far as a test writes it down."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[Request] = []
        self.jobs: dict[str, dict[str, Any]] = {}
        self.objects: dict[tuple[str, str], bytes] = {}
        #: Faults of the next inserts: ``503`` (accepted all the same), ``lost``, ``refused-503``.
        self.faults: list[str] = []
        #: How often jobs.get answers 404 although the job is there.
        self.hidden = 0
        #: Errors that every call of a ``METHOD path`` pattern gets.
        self.refusals: dict[str, Answer] = {}
        #: ``METHOD path`` patterns of calls that get no answer.
        self.silent: list[str] = []

    def answer(self, request: Request) -> Answer:
        self.requests.append(request)
        for pattern, refusal in self.refusals.items():
            if re.fullmatch(pattern, f"{request.method} {request.path}"):
                return refusal
        if any(re.fullmatch(pattern, f"{request.method} {request.path}") for pattern in self.silent):
            raise LostAnswer
        for method, pattern, function in self._routes():
            found = re.fullmatch(pattern, request.path)
            if method == request.method and found:
                return function(request, *map(unquote, found.groups()))
        return api_error(404, "notFound", f"no route {request.method} {request.path}")

    def sent(self, method: str, pattern: str) -> list[Request]:
        return [r for r in self.requests if r.method == method and re.fullmatch(pattern, r.path)]

    def end(self, job_id: str, *, error: dict[str, Any] | None = None, **statistics: Any) -> None:
        job = self.jobs[job_id]
        job["status"] = {"state": "DONE"}
        if error is not None:
            job["status"] |= {"errorResult": error["errors"][0] if "errors" in error else error}
            job["status"]["errors"] = error.get("errors", [error])
        job["statistics"] |= statistics

    def _routes(self) -> list[tuple[str, str, Callable[..., Answer]]]:
        jobs, objects = "/bigquery/v2/projects/([^/]+)/jobs", "/storage/v1/b/([^/]+)/o"
        return [
            ("POST", jobs, self._insert),
            ("GET", jobs, self._list_jobs),
            ("GET", f"{jobs}/([^/]+)", self._get),
            ("POST", f"{jobs}/([^/]+)/cancel", self._cancel),
            ("GET", "/bigquery/v2/projects/([^/]+)/queries/([^/]+)", self._results),
            ("GET", objects, self._list),
            ("GET", f"{objects}/([^/]+)", self._object),
            ("DELETE", f"{objects}/([^/]+)", self._delete),
            ("POST", f"/upload{objects}", self._upload),
            ("GET", f"/download{objects}/([^/]+)", self._download),
        ]

    def _insert(self, request: Request, project: str) -> Answer:
        job = request.json
        job_id = job["jobReference"]["jobId"]
        fault = self.faults.pop(0) if self.faults else None
        if fault == "refused-503":
            return api_error(503, "backendError", "try again")
        if job_id in self.jobs:
            return api_error(409, "duplicate", f"Already Exists: Job {project}:US.{job_id}")
        job |= {"id": f"{project}:US.{job_id}", "status": {"state": "RUNNING"}, "statistics": {"creationTime": "1"}}
        self.jobs[job_id] = job
        if fault == "503":
            return api_error(503, "backendError", "try again")
        if fault == "lost":
            raise LostAnswer
        return 200, job

    def _get(self, request: Request, project: str, job_id: str) -> Answer:
        if self.hidden or job_id not in self.jobs:
            self.hidden -= bool(self.hidden)
            return api_error(404, "notFound", f"Not found: Job {project}:US.{job_id}")
        return 200, self.jobs[job_id]

    def _list_jobs(self, request: Request, project: str) -> Answer:
        """One job on a page: https://cloud.google.com/bigquery/docs/reference/rest/v2/jobs/list."""
        (state,) = request.query["stateFilter"]
        found = [job for job in reversed(self.jobs.values()) if job["status"]["state"] == state.upper()]
        start = int(request.query.get("pageToken", ["0"])[0])
        more = {"nextPageToken": str(start + 1)} if len(found) > start + 1 else {}
        return 200, {"jobs": found[start : start + 1], **more}

    def _cancel(self, request: Request, project: str, job_id: str) -> Answer:
        self.end(job_id, error={"reason": "stopped", "message": "Job execution was cancelled"})
        return 200, {"job": self.jobs[job_id]}

    def _results(self, request: Request, project: str, job_id: str) -> Answer:
        return 200, {
            "jobComplete": True,
            "totalRows": "7",
            "jobReference": self.jobs[job_id]["jobReference"],
            "schema": {"fields": [{"name": "n", "type": "INTEGER"}]},
            "rows": [],
        }

    def _list(self, request: Request, bucket: str) -> Answer:
        prefix = request.query.get("prefix", [""])[0]
        names = sorted(n for b, n in self.objects if b == bucket and n.startswith(prefix))
        return 200, {"items": [self._described(bucket, name) for name in names]}

    def _object(self, request: Request, bucket: str, name: str) -> Answer:
        if (bucket, name) not in self.objects:
            return api_error(404, "notFound", f"No such object: {bucket}/{name}")
        return 200, self._described(bucket, name)

    def _described(self, bucket: str, name: str) -> dict[str, Any]:
        size = str(len(self.objects[bucket, name]))
        created = "2022-01-31T00:00:00.000Z"
        return {"bucket": bucket, "name": name, "size": size, "generation": "1", "timeCreated": created}

    def _delete(self, request: Request, bucket: str, name: str) -> Answer:
        assert request.query["ifGenerationMatch"] == ["1"]
        del self.objects[bucket, name]
        return 204, b""

    def _upload(self, request: Request, bucket: str) -> Answer:
        """https://cloud.google.com/storage/docs/request-preconditions: ifGenerationMatch=0 means: it must not exist."""
        assert request.query["uploadType"] == ["multipart"]
        boundary = re.match(rb"--(\S+)\r\n", request.body)
        assert boundary is not None
        _, head, content, _ = request.body.split(b"--" + boundary[1])
        name = json.loads(head.split(b"\r\n\r\n", 1)[1])["name"]
        if request.query.get("ifGenerationMatch") == ["0"] and (bucket, name) in self.objects:
            return api_error(412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold.")
        self.objects[bucket, name] = content.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n")
        return 200, self._described(bucket, name)

    def _download(self, request: Request, bucket: str, name: str) -> Answer:
        return 200, self.objects[bucket, name]


def _handler(service: HttpService) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            request = Request(method=self.command, path=parts.path, query=parse_qs(parts.query), body=body)
            try:
                status, content = service.answer(request)
            except LostAnswer:
                self.close_connection = True
                return
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            start = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            if start and status == 200:
                status, data = 206, data[int(start[1]) :]
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_DELETE = do_GET = do_POST = _serve  # noqa: N815  the base class names them so

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class names it so
            pass

    return Handler


@pytest.fixture
def http() -> Iterator[HttpService]:
    service = HttpService()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(service))
    service.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield service
    server.shutdown()
    server.server_close()


# gRPC -----------------------------------------------------------------------------------------------------------------


class Refused(Exception):
    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        self.code = code
        self.message = message


def not_found(what: str) -> Refused:
    return Refused(grpc.StatusCode.NOT_FOUND, f"Not found: {what}")


@dataclass
class DataprocService:
    """Dataproc over gRPC: clusters and jobs change only when a test says so."""

    address: str = ""
    clusters: dict[str, dataproc_v1.Cluster] = field(default_factory=dict)
    jobs: dict[str, dataproc_v1.Job] = field(default_factory=dict)
    operations: dict[str, Any] = field(default_factory=dict)
    calls: list[tuple[str, Any]] = field(default_factory=list)
    #: Method -> faults of its next calls: ``accepted`` (done, but UNAVAILABLE), ``hidden`` (NOT_FOUND).
    faults: dict[str, list[str]] = field(default_factory=dict)
    refusals: dict[str, Refused] = field(default_factory=dict)
    #: Whether a request_id seen before gives the first answer back.
    remembers: bool = True
    _answers: dict[str, Any] = field(default_factory=dict)

    def called(self, method: str) -> list[Any]:
        return [request for name, request in self.calls if name == method]

    def refuse(self, method: str, code: str, message: str) -> None:
        self.refusals[method] = Refused(grpc.StatusCode[code], message)

    def add_cluster(self, name: str = "c", state: str = "RUNNING", **fields: Any) -> dataproc_v1.Cluster:
        cluster = dataproc_v1.Cluster(
            cluster_name=name, project_id="p", cluster_uuid=fields.pop("uuid", f"uuid-{len(self.calls)}"), **fields
        )
        cluster.config.config_bucket = "staging"
        self.clusters[name] = cluster
        self.set_state(name, state)
        return cluster

    def set_state(self, name: str, state: str, detail: str = "") -> None:
        self.clusters[name].status = dataproc_v1.ClusterStatus(
            state=getattr(dataproc_v1.ClusterStatus.State, state), detail=detail
        )

    def set_job(self, job_id: str, state: str, details: str = "", output: str = "") -> None:
        job = self.jobs[job_id]
        job.status = dataproc_v1.JobStatus(state=getattr(dataproc_v1.JobStatus.State, state), details=details)
        job.driver_output_resource_uri = output

    def end_operation(self, *, code: int = 0, message: str = "") -> None:
        """End the newest operation."""
        operation = self.operations[list(self.operations)[-1]]
        operation.done = True
        if code:
            operation.error.code, operation.error.message = code, message
        else:
            operation.response.Pack(empty_pb2.Empty())

    def answer(self, method: str, request: Any) -> Any:
        self.calls.append((method, request))
        if method in self.refusals:
            raise self.refusals[method]
        pending = self.faults.get(method) or []
        fault = pending.pop(0) if pending else None
        if fault == "hidden":
            raise not_found(method)
        request_id = getattr(request, "request_id", "")
        if request_id and self.remembers and request_id in self._answers:
            return self._answers[request_id]
        answer = getattr(self, re.sub("([A-Z])", r"_\1", method).lower())(request)
        if request_id:
            self._answers[request_id] = answer
        if fault == "accepted":
            raise Refused(grpc.StatusCode.UNAVAILABLE, "try again")
        return answer

    def _operation(self, kind: str, cluster: dataproc_v1.Cluster) -> Any:
        operation = operations_pb2.Operation(name=f"projects/p/regions/r/operations/{len(self.operations)}")
        metadata = dataproc_v1.ClusterOperationMetadata(operation_type=kind, cluster_uuid=cluster.cluster_uuid)
        operation.metadata.Pack(dataproc_v1.ClusterOperationMetadata.pb(metadata))
        self.operations[operation.name] = operation
        return operation

    def _create_cluster(self, request: dataproc_v1.CreateClusterRequest) -> Any:
        name = request.cluster.cluster_name
        if name in self.clusters:
            raise Refused(grpc.StatusCode.ALREADY_EXISTS, f"Already exists: Failed to create cluster: Cluster {name}")
        cluster = self.add_cluster(name, "CREATING", labels=request.cluster.labels, config=request.cluster.config)
        return self._operation("CREATE", cluster)

    def _get_cluster(self, request: dataproc_v1.GetClusterRequest) -> dataproc_v1.Cluster:
        if request.cluster_name not in self.clusters:
            raise not_found(f"Cluster {request.cluster_name}")
        return self.clusters[request.cluster_name]

    def _delete_cluster(self, request: dataproc_v1.DeleteClusterRequest) -> Any:
        cluster = self._get_cluster(dataproc_v1.GetClusterRequest(cluster_name=request.cluster_name))
        if request.cluster_uuid not in {"", cluster.cluster_uuid}:
            raise not_found(f"Cluster of uuid {request.cluster_uuid}")
        self.set_state(request.cluster_name, "DELETING")
        return self._operation("DELETE", cluster)

    def _submit_job(self, request: dataproc_v1.SubmitJobRequest) -> dataproc_v1.Job:
        job_id = request.job.reference.job_id
        if job_id in self.jobs:
            raise Refused(
                grpc.StatusCode.ALREADY_EXISTS, f"Already exists: Failed to submit job: Job projects/p/{job_id}"
            )
        self.jobs[job_id] = request.job
        self.set_job(job_id, "PENDING")
        return request.job

    def _get_job(self, request: dataproc_v1.GetJobRequest) -> dataproc_v1.Job:
        if request.job_id not in self.jobs:
            raise not_found(f"Job {request.job_id}")
        return self.jobs[request.job_id]

    def _list_jobs(self, request: dataproc_v1.ListJobsRequest) -> dataproc_v1.ListJobsResponse:
        """One job on a page, whatever its state is."""
        jobs, start = list(self.jobs.values()), int(request.page_token or 0)
        token = str(start + 1) if len(jobs) > start + 1 else ""
        return dataproc_v1.ListJobsResponse(jobs=jobs[start : start + 1], next_page_token=token)

    def _cancel_job(self, request: dataproc_v1.CancelJobRequest) -> dataproc_v1.Job:
        self.set_job(request.job_id, "CANCEL_PENDING")
        return self.jobs[request.job_id]

    def _get_operation(self, request: Any) -> Any:
        if request.name not in self.operations:
            raise not_found(f"Operation {request.name}")
        return self.operations[request.name]


def _grpc_handlers(service: DataprocService) -> list[grpc.GenericRpcHandler]:
    operation = operations_pb2.Operation.SerializeToString
    methods: dict[str, dict[str, tuple[Callable[[bytes], Any], Callable[[Any], bytes]]]] = {
        "google.cloud.dataproc.v1.ClusterController": {
            "CreateCluster": (dataproc_v1.CreateClusterRequest.deserialize, operation),
            "GetCluster": (dataproc_v1.GetClusterRequest.deserialize, dataproc_v1.Cluster.serialize),
            "DeleteCluster": (dataproc_v1.DeleteClusterRequest.deserialize, operation),
        },
        "google.cloud.dataproc.v1.JobController": {
            "SubmitJob": (dataproc_v1.SubmitJobRequest.deserialize, dataproc_v1.Job.serialize),
            "GetJob": (dataproc_v1.GetJobRequest.deserialize, dataproc_v1.Job.serialize),
            "ListJobs": (dataproc_v1.ListJobsRequest.deserialize, dataproc_v1.ListJobsResponse.serialize),
            "CancelJob": (dataproc_v1.CancelJobRequest.deserialize, dataproc_v1.Job.serialize),
        },
        "google.longrunning.Operations": {"GetOperation": (operations_pb2.GetOperationRequest.FromString, operation)},
    }

    def behaviour(method: str) -> Callable[[Any, grpc.ServicerContext], Any]:
        def call(request: Any, context: grpc.ServicerContext) -> Any:
            try:
                return service.answer(method, request)
            except Refused as refused:
                context.abort(refused.code, refused.message)

        return call

    return [
        grpc.method_handlers_generic_handler(
            name,
            {
                method: grpc.unary_unary_rpc_method_handler(
                    behaviour(method), request_deserializer=i, response_serializer=o
                )
                for method, (i, o) in group.items()
            },
        )
        for name, group in methods.items()
    ]


@pytest.fixture
def dataproc() -> Iterator[DataprocService]:
    service = DataprocService()
    server = grpc.server(futures.ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers(tuple(_grpc_handlers(service)))
    service.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield service
    server.stop(0).wait()


# what operators are called with ---------------------------------------------------------------------------------------


class Lines(logging.Handler):
    """Keeps what a task logs."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture
def log() -> Iterator[Lines]:
    lines = Lines()
    logger = logging.getLogger("pydag_gcp.task")
    logger.addHandler(lines)
    logger.setLevel(logging.INFO)
    yield lines
    logger.removeHandler(lines)


@pytest.fixture
def ctx(http: HttpService, dataproc: DataprocService, log: Lines, tmp_path: Path) -> Iterator[Context]:
    """The context of a try that talks to the small servers."""
    endpoints = Endpoints(bigquery=http.url, storage=http.url, dataproc=dataproc.address)
    clients = Clients(Target(name="local", project="acme-1", location="US", endpoints=endpoints))
    yield _context(clients, tmp_path)
    clients.close()


@pytest.fixture(scope="session")
def local_clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clients]:
    """Clients of a local cloud that all tests of a session share."""
    home = tmp_path_factory.mktemp("cloud")
    found = daemon.up(home, idle=600)
    endpoints = Endpoints(bigquery=found.bigquery, storage=found.storage, dataproc=found.dataproc)
    clients = Clients(Target(name="local", project=found.project, location="US", endpoints=endpoints))
    yield clients
    clients.close()
    daemon.down(home)


@pytest.fixture
def local_ctx(local_clients: Clients, log: Lines, tmp_path: Path) -> Context:
    """The context of a try that talks to the local cloud."""
    return _context(local_clients, tmp_path)


@pytest.fixture
def cloud(local_ctx: Context) -> Iterator[Cloud]:
    name = secrets.token_hex(4)
    found = Cloud(ctx=local_ctx, dataset=f"d{name}", bucket=f"bucket-{name}")
    local_ctx.clients.bigquery().create_dataset(found.dataset)
    local_ctx.clients.storage().create_bucket(found.bucket)
    yield found
    found.clear()


@dataclass
class Cloud:
    """What the executor does with a task, against the local cloud, in a dataset and a bucket of its own."""

    ctx: Context
    dataset: str
    bucket: str

    def run(self, task: RemoteOperator, job_id: str | None = None) -> tuple[Done | Failed, Any]:
        """Send again what is transient, poll to the end; return how it ended and its result."""
        job_id = job_id or f"pydag-{secrets.token_hex(16)}"
        task.check(self.ctx)
        handle = self._insisting(lambda: task.submit(self.ctx, job_id))
        deadline = time.monotonic() + 60
        while isinstance(status := task.poll(self.ctx, handle), Running):
            assert time.monotonic() < deadline, status
            time.sleep(0.02)
        if isinstance(status, Failed):
            return status, None
        return status, self._insisting(lambda: task.result(self.ctx, handle))

    def sql(self, sql: str) -> list[tuple[Any, ...]]:
        """Run SQL on tables of the dataset."""
        client = self.ctx.clients.bigquery()
        config = QueryJobConfig(default_dataset=f"{client.project}.{self.dataset}")
        return [tuple(row.values()) for row in client.query_and_wait(sql, job_config=config)]

    def put(self, **objects: str) -> None:
        """Make objects of a folder ``out`` in the bucket."""
        for name, content in objects.items():
            self.ctx.clients.storage().bucket(self.bucket).blob(f"out/{name}").upload_from_string(content)

    def objects(self) -> dict[str, bytes]:
        """What is in the bucket."""
        return {blob.name: blob.download_as_bytes() for blob in self.ctx.clients.storage().list_blobs(self.bucket)}

    def on_next(self, method: str, fault: str) -> None:
        """Let the next call of a method go wrong, counting from now."""
        self._control("DELETE", "calls")
        self._control("POST", "faults", json={"method": method, "call": 1, "fault": fault})

    def calls(self, method: str) -> int:
        """How often a method was called since :meth:`on_next`."""
        return int(self._control("GET", "calls").json().get(method, 0))

    def clear(self) -> None:
        """Let nothing go wrong any more."""
        self._control("DELETE", "faults")
        self._control("DELETE", "calls")

    def _control(self, verb: str, path: str, **content: Any) -> requests.Response:
        endpoints = self.ctx.target.endpoints
        assert endpoints is not None
        return requests.request(verb, f"{endpoints.storage}/_pydag/{path}", timeout=10, **content)

    @staticmethod
    def _insisting(call: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + 60
        while True:
            try:
                return call()
            except Exception as error:
                if not is_transient(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)


def _context(clients: Clients, folder: Path) -> Context:
    ctx = first_try(folder, clients, datetime(2022, 1, 31, tzinfo=UTC))
    return replace(ctx, dag_id="Daily Sales", run_id="r1", task_id="t")
