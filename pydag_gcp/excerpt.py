"""The line of a source file with the part underlined that an error is about."""

from __future__ import annotations

import unicodedata

#: Columns of a terminal that an excerpt may take.
_WIDTH = 100
#: Characters shown before the underlined part of a long line.
_BEFORE = 40


def excerpt(line: str, column: int, length: int) -> str:
    """Show a line, and below it ``^^^^`` under the part that is meant.

    Args:
        line: The line, of any length, without its end.
        column: The part's first character, from 1.
        length: How many characters it has.
    """
    first = min(max(column - 1, 0), len(line))
    start = 0 if len(line) <= _WIDTH else max(0, first - _BEFORE)
    shown = line[start : start + _WIDTH]
    before, part = shown[: first - start], shown[first - start : first - start + max(length, 1)]
    visible = "".join(character if character.isprintable() else " " for character in shown)
    return f"{visible.rstrip()}\n{' ' * _columns(before)}{'^' * max(_columns(part.rstrip()), 1)}"


def _columns(text: str) -> int:
    """How many columns of a terminal a text takes: https://www.unicode.org/reports/tr11/."""
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )
