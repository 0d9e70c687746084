"""Amounts of bytes as people write them: ``500M``, ``1.5 GiB``. A k is 1024 bytes, as in BigQuery's prices."""

from __future__ import annotations

import re

_UNITS = "kMGTP"
_SIZE = re.compile(rf"(\d+(?:\.\d+)?)\s*(?:([{_UNITS}])(?:i?B)?|B)?", re.IGNORECASE)


def parse(text: str) -> int:
    """Read a number of bytes: ``1000``, ``500M``, ``1.5 TiB``.

    Raises:
        ValueError: It is none.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"expected a number of bytes such as 500M, 10G or 1.5T, got {text!r}")
    number, unit = found.groups()
    power = _UNITS.lower().index(unit.lower()) + 1 if unit else 0
    return int(float(number) * 1024**power) if "." in number else int(number) * 1024**power


def written_size(count: int) -> str:
    """Write a number of bytes for people: ``512 B``, ``10.0 MiB``."""
    if count < 1024:
        return f"{count} B"
    size = float(count)
    for unit in _UNITS:
        size /= 1024
        if size < 999.95 or unit == _UNITS[-1]:
            return f"{size:.1f} {'K' if unit == 'k' else unit}iB"
    raise AssertionError  # the last unit has no upper bound
