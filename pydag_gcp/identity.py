"""Ids and labels: of DAGs and tasks, and of what a run makes in the cloud."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, Final

#: What the id of a DAG or a task looks like, as a pattern and in words.
ID: Final = r"[A-Za-z_][A-Za-z0-9_-]{0,199}"
ID_IN_WORDS: Final = "a letter, then letters, digits, - or _ (at most 200)"
#: Matches where a text is such an id.
is_id: Final = re.compile(ID).fullmatch


def request_label(request: Mapping[str, Any]) -> str:
    """Hash a request, without ids and labels, to the value of its ``pydag-request`` label (40 hex digits)."""
    text = json.dumps(request, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:40]


def remote_id(run_id: str, task_id: str, try_number: int) -> str:
    """Derive the id of a try's remote job: it fits the limits of every service and never repeats."""
    digest = hashlib.sha256(json.dumps([run_id, task_id, try_number]).encode()).hexdigest()
    return f"pydag-{digest[:32]}"


def label_value(text: str) -> str:
    """Make a label value: lower-case, at most 63 of ``[a-z0-9_-]``.

    https://cloud.google.com/resource-manager/docs/labels-overview#requirements
    """
    return "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "-" for c in text.lower())[:63]
