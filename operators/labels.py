"""The labels that an author may add to what a task makes in the cloud."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from pydag_gcp.resources import is_template


def _checked(labels: dict[str, str]) -> dict[str, str]:
    for key, value in labels.items():
        if key.startswith("pydag-"):
            raise ValueError(f"label {key!r}: names that begin with 'pydag-' are ours")
        if not _fits(key) or not key[:1].isalpha():
            raise ValueError(f"label {key!r}: a name is a lower-case letter, then letters, digits, - or _ (at most 63)")
        if not is_template(value) and not _fits(value):
            raise ValueError(f"label {key!r}: a value has at most 63 of a-z, 0-9, - and _, got {value!r}")
    return labels


def _fits(text: str) -> bool:
    """https://cloud.google.com/resource-manager/docs/labels-overview#requirements."""
    return len(text) <= 63 and text == text.lower() and all(c.isalnum() or c in "-_" for c in text)


#: Labels of the author's.
Labels = Annotated[
    dict[str, str],
    AfterValidator(_checked),
]
