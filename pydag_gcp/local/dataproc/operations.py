"""Long-running operations of Dataproc.

Contract: https://cloud.google.com/dataproc/docs/reference/rest/v1/projects.regions.operations
"""

from __future__ import annotations

import re
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from google.longrunning import operations_pb2  # type: ignore[import-untyped]
from google.protobuf import empty_pb2

from pydag_gcp.local import rpc
from pydag_gcp.local.dataproc.listing import page
from pydag_gcp.local.dataproc.records import Record, Records

_NAME = re.compile(r"projects/([^/]+)/regions/([^/]+)/operations(?:/([^/]+))?")


class Operations:
    """Every operation that was started and not deleted, finished or not.

    Args:
        folder: Where they are kept.
    """

    def __init__(self, folder: Path) -> None:
        self._records: Records[Any] = Records(folder, operations_pb2.Operation)
        self._lock = threading.RLock()
        self._known = {record.message.name: record for record in self._records.load()}
        self._cancel: Callable[[Any], None] = lambda _: None

    def start(self, *, project: str, region: str, metadata: Any, request_id: str = "") -> Any:
        """Begin an operation; it is stored when this returns.

        Args:
            project: The project it belongs to.
            region: The region it belongs to.
            metadata: Its proto-plus metadata, which says what it does.
            request_id: The id by which a client that sends again finds it.
        """
        name = f"projects/{project}/regions/{region}/operations/{uuid.uuid4()}"
        operation = operations_pb2.Operation(name=name)
        operation.metadata.Pack(type(metadata).pb(metadata))
        self._save(Record(project=project, region=region, request_id=request_id, message=operation))
        return operation

    def requested(self, project: str, region: str, request_id: str) -> Any | None:
        """Return the operation that a client's ``request_id`` started before, or None."""
        if not request_id:
            return None
        with self._lock:
            for record in self._known.values():
                if (record.project, record.region, record.request_id) == (project, region, request_id):
                    return record.message
        return None

    def finish(self, name: str, response: Any = None) -> None:
        """End an operation well, with a proto-plus message as its response, or with an empty one."""
        packed = empty_pb2.Empty() if response is None else type(response).pb(response)

        def end(operation: Any) -> None:
            operation.response.Pack(packed)

        self._end(name, end)

    def fail(self, name: str, code: int, message: str) -> None:
        """End an operation badly.

        Args:
            name: The operation.
            code: A number of https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto.
            message: What went wrong.
        """

        def end(operation: Any) -> None:
            operation.error.code = code
            operation.error.message = message

        self._end(name, end)

    def unfinished(self) -> list[Any]:
        """Return the operations that are not done."""
        with self._lock:
            return [record.message for record in self._known.values() if not record.message.done]

    def on_cancel(self, cancel: Callable[[Any], None]) -> None:
        """Call ``cancel`` with each unfinished operation that a client wants cancelled."""
        self._cancel = cancel

    def service(self) -> rpc.Service:
        """Offer them over gRPC."""
        methods = {
            "GetOperation": (self._get, operations_pb2.GetOperationRequest, operations_pb2.Operation),
            "ListOperations": (
                self._list,
                operations_pb2.ListOperationsRequest,
                operations_pb2.ListOperationsResponse,
            ),
            "CancelOperation": (self._cancel_one, operations_pb2.CancelOperationRequest, empty_pb2.Empty),
            "DeleteOperation": (self._delete, operations_pb2.DeleteOperationRequest, empty_pb2.Empty),
        }
        return rpc.service(
            "google.longrunning.Operations",
            "dataproc",
            {
                name: rpc.Method(function=function, request=request, response=response)
                for name, (function, request, response) in methods.items()
            },
        )

    def _save(self, record: Record[Any]) -> None:
        with self._lock:
            self._records.save(record.message.name, record)
            self._known[record.message.name] = record

    def _end(self, name: str, end: Callable[[Any], None]) -> None:
        with self._lock:
            record = self._known.get(name)
            if record is None or record.message.done:  # deleted by its client, or ended already
                return
            operation = operations_pb2.Operation()
            operation.CopyFrom(record.message)
            end(operation)
            operation.done = True
            self._save(
                Record(
                    project=record.project,
                    region=record.region,
                    request_id=record.request_id,
                    message=operation,
                )
            )

    def _find(self, name: str) -> Any:
        with self._lock:
            if name not in self._known:
                raise rpc.not_found(f"Operation not found: {name}")
            return self._known[name].message

    def _get(self, request: Any) -> Any:
        return self._find(request.name)

    def _list(self, request: Any) -> Any:
        match = _NAME.fullmatch(request.name)
        if match is None or match.group(3):
            raise rpc.invalid_argument(f"Invalid name of operations: '{request.name}'")
        if request.filter:
            raise rpc.unimplemented(f"The local cloud does not filter operations: '{request.filter}'")
        with self._lock:
            found = [name for name in sorted(self._known) if name.startswith(f"{request.name}/")]
            names, token = page(found, size=request.page_size, token=request.page_token)
            operations = [self._known[name].message for name in names]
        return operations_pb2.ListOperationsResponse(operations=operations, next_page_token=token)

    def _cancel_one(self, request: Any) -> empty_pb2.Empty:
        operation = self._find(request.name)
        if not operation.done:
            self._cancel(operation)
        return empty_pb2.Empty()

    def _delete(self, request: Any) -> empty_pb2.Empty:
        self._find(request.name)
        with self._lock:
            self._known.pop(request.name, None)
            self._records.forget(request.name)
        return empty_pb2.Empty()
