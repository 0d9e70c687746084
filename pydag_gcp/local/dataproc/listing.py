"""Filters and pages of Dataproc's list calls.

Contract: the ``filter`` fields of
https://cloud.google.com/dataproc/docs/reference/rpc/google.cloud.dataproc.v1#google.cloud.dataproc.v1.ListClustersRequest
and of ``ListJobsRequest`` there.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from pydag_gcp.local.rpc import invalid_argument, unimplemented

T = TypeVar("T")

#: Returns whether a resource fits the filter that it was made of.
Filter = Callable[[Mapping[str, str], Mapping[str, str]], bool]

_TERM = re.compile(r'(?:AND\s+)?([A-Za-z][\w.-]*)(?:\s*=\s*("[^"]*"|[^\s"]+))?(?:\s+|$)', re.ASCII)


def parse(text: str, fields: Sequence[str]) -> Filter:
    """Read a filter: ``field = value [AND [field = value]] ...``; between two terms AND may be left out.

    Args:
        text: The filter; an empty one fits everything.
        fields: The fields beside ``labels.KEY`` that it may name.

    Returns:
        A function of a resource's fields and its labels.

    Raises:
        RpcError: INVALID_ARGUMENT or UNIMPLEMENTED, naming the part that is.
    """
    terms = []
    rest = text.strip()
    while rest:
        match = _TERM.match(rest)
        if match is None:
            raise invalid_argument(f"Invalid list filter: '{text}': expected field = value at '{rest}'")
        terms.append(_term(match.group(1), match.group(2), fields))
        rest = rest[match.end() :]

    def fits(values: Mapping[str, str], labels: Mapping[str, str]) -> bool:
        return all(_fits(field, value, values, labels) for field, value in terms)

    return fits


def _term(field: str, value: str | None, fields: Sequence[str]) -> tuple[str, str]:
    if not field.startswith("labels."):
        if field not in fields:
            known = ", ".join([*fields, "labels.KEY"])
            raise unimplemented(f"The local cloud does not filter by '{field}', only by {known}")
        if value is None:
            raise invalid_argument(f"Invalid list filter: field '{field}' needs a value")
    return field, (value or "*").strip('"')


def _fits(field: str, value: str, values: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    if field.startswith("labels."):
        key = field.removeprefix("labels.")
        return key in labels and value in {"*", labels[key]}
    # A state may be of several kinds at once: RUNNING is also ACTIVE.
    return value == "*" or value in values[field].split("|")


def page(items: Sequence[T], *, size: int, token: str) -> tuple[Sequence[T], str]:
    """Cut one page.

    Args:
        items: Everything, in a stable order.
        size: The most to return; 0 for all.
        token: What the last page said, or an empty string.

    Returns:
        The page, and the token of the next one (empty after the last).

    Raises:
        RpcError: INVALID_ARGUMENT: the token or the size is none.
    """
    if size < 0:
        raise invalid_argument(f"Page size {size} is negative")
    try:
        start = int(base64.urlsafe_b64decode(token)) if token else 0
    except (ValueError, binascii.Error):
        raise invalid_argument(f"Invalid page token: '{token}'") from None
    end = start + size if size else len(items)
    following = base64.urlsafe_b64encode(str(end).encode()).decode() if end < len(items) else ""
    return items[start:end], following
