"""Patterns of object names: ``*``, ``?`` and ``[abc]``."""

from __future__ import annotations

import fnmatch
import re

# Of a class, "]" may be the first member.
_TOKEN = re.compile(r"\*+|\[!?\]?[^\]]*\]|.", re.DOTALL)


def meet(one: str, other: str) -> bool:
    """Tell whether a name may fit both patterns. Two classes of characters are taken to share one."""
    mine, its = (["*" if token[0] == "*" else token for token in _TOKEN.findall(text)] for text in (one, other))
    seen = {(0, 0)}
    stack = [(0, 0)]
    while stack:
        here, there = stack.pop()
        if here == len(mine) and there == len(its):
            return True
        following = []
        if here < len(mine) and mine[here] == "*":
            following += [(here + 1, there), (here, there + 1)]
        if there < len(its) and its[there] == "*":
            following += [(here, there + 1), (here + 1, there)]
        if here < len(mine) and there < len(its) and _share(mine[here], its[there]):
            following.append((here + 1, there + 1))
        for state in following:
            if state not in seen and state[0] <= len(mine) and state[1] <= len(its):
                seen.add(state)
                stack.append(state)
    return False


def _share(one: str, other: str) -> bool:
    if _is_class(one):
        return _is_class(other) or fnmatch.fnmatchcase(other, one)
    return fnmatch.fnmatchcase(one, other) if _is_class(other) else one == other


def _is_class(part: str) -> bool:
    return part == "?" or len(part) > 1
