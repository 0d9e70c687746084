"""Secrets in text: found by their shape, by the variable they stand in, or because they were revealed, and masked.

A value that a run reveals is known to every :class:`Redactor` of the process at once, in whatever way it is written:
as it is, escaped as in JSON or Python, in base64, in a URL, or one of its lines alone.
"""

from __future__ import annotations

import base64
import json
import os
import re
import threading
from collections.abc import Collection, Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

from pydag_gcp.errors import PydagError

MASK = "[redacted]"

#: A shorter value would be found where it does not stand for the secret.
SHORTEST = 4
#: A line or an end of a secret that is shorter than this says too little to be looked for by itself.
_SHORTEST_PART = 8
#: Most texts whose redacted forms are kept.
_MOST_REMEMBERED = 100
#: Messages cut long values in the middle. What they leave of an end, in characters, and what they write instead.
_LONGEST_END = 2000
_CUT = re.compile(r"\.\.\.|\u2026")

# Shapes of secrets that reach messages by accident: key files, OAuth and bearer tokens, passwords in URLs and options.
# What a shape needs in front of a secret, but is none, is its first group.
_NAMES = r"(?:password|passwd|secret|token|api[_-]?key|private[_-]?key)"
_SHAPES = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|\bya29\.[\w.-]+"
    r"|(?<=AIza)[\w-]{35}"
    r"|(?<=bearer )[\w.~+/=-]{8,}"
    r"|(?P<scheme>authorization\\?[\"']?\s*[:=]\s*\\?[\"']?basic\s+)[\w~+/=-]+"
    r"|(?<=://)[^/\s:@]*:[^/\s\"']+(?=@)"
    # A slash in a password; digits before a slash are rather a port, and a bracket begins an IPv6 address.
    r"|(?<=://)[^/\s:@\[]*:(?!\d+/)[^\s\"'<>]+(?=@)"
    rf"|(?P<key>\\?[\"'][\w-]*{_NAMES}\\?[\"']\s*:\s*)(?P<quote>\\?[\"'])(?:\\.|(?!(?P=quote)).)*?(?:(?P=quote)|\Z)"
    rf"|(?P<option>{_NAMES}=)(?:\"[^\"]*\"?|'[^']*'?|[^\s&;,'\"]+)",
    re.IGNORECASE | re.DOTALL,
)
_SECRET_NAME = re.compile(r"PASSWORD|PASSWD|SECRET|TOKEN|API_?KEY|PRIVATE_?KEY", re.IGNORECASE)


class _Revealed:
    """The values that this process has revealed, as they may be written."""

    def __init__(self) -> None:
        self.forms: frozenset[str] = frozenset()
        self.cuttable: frozenset[str] = frozenset()
        self._lock = threading.Lock()

    def add(self, value: str) -> None:
        with self._lock:
            self.cuttable |= {form for form in _escaped(value, levels=1) if len(form) > 2 * _SHORTEST_PART}
            self.forms |= frozenset(forms(value))


_revealed = _Revealed()


def learn(value: str) -> None:
    """Make a secret's value known to every :class:`Redactor` of this process, in all its written forms.

    Args:
        value: At least :data:`SHORTEST` characters.
    """
    _revealed.add(value)


def forms(value: str) -> Iterator[str]:
    """Yield the texts that give a secret's value away."""
    parts = {value, value.strip(), " ".join(value.split())}
    parts.update(line for line in map(str.strip, value.splitlines()) if len(line) >= _SHORTEST_PART)
    for part in parts:
        if len(part) < SHORTEST:
            continue
        yield from _escaped(part, levels=2)
        yield from _in_urls(part)
        for text in set(_escaped(part, levels=1)):
            yield from _in_base64(text.encode(errors="surrogatepass"))


def _escaped(text: str, *, levels: int) -> Iterator[str]:
    """Yield a text as it is, and as it stands within a string of JSON or Python, or such a string within another."""
    yield text
    if not levels:
        return
    written = {
        json.dumps(text)[1:-1],
        json.dumps(text, ensure_ascii=False)[1:-1],
        repr(text)[1:-1],
        repr(text + "'")[1:-1].removesuffix("'").removesuffix("\\"),
        repr(text.encode(errors="surrogatepass"))[2:-1],
    }
    for form in written - {text}:
        yield from _escaped(form, levels=levels - 1)


def _in_urls(text: str) -> Iterator[str]:
    for form in (quote(text, "", errors="replace"), quote(text, errors="replace"), quote_plus(text, errors="replace")):
        yield form
        yield re.sub(r"%[0-9A-F]{2}", lambda found: found[0].lower(), form)


def _in_base64(data: bytes) -> Iterator[str]:
    """Yield what stays the same in base64 whatever stands before and after, for instance ``user:`` in basic auth.

    https://datatracker.ietf.org/doc/html/rfc4648#section-4
    """
    for before in range(3):
        first = (before * 8 + 5) // 6
        last = (before + len(data)) * 8 // 6
        text = base64.b64encode(bytes(before) + data).decode()[first:last]
        if len(text) >= SHORTEST:
            yield text
            yield text.translate(str.maketrans("+/", "-_"))


class Redactor:
    """Masks secrets in text: revealed values, well-known shapes, and variables with a telling name.

    Args:
        environ: The variables; values under six characters are not taken for secrets.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        telling = filter(_SECRET_NAME.search, environ)  # to read a variable takes longer than to look at its name
        self._own = {value for name in telling if len(value := environ[name]) >= 6}
        self._values: tuple[frozenset[str], re.Pattern[str] | None] = (frozenset(), _any_of(self._own))
        self._remembered: tuple[frozenset[str], dict[str, str]] = (frozenset(), {})

    def __call__(self, text: str) -> str:
        """Return ``text`` without its secrets."""
        values = self._pattern()
        if values is not None:
            text = values.sub(MASK, text)
        if _revealed.cuttable:
            text = _without_ends(text, _revealed.cuttable)
        return _SHAPES.sub(_masked, text)

    def often(self, text: str) -> str:
        """The same for a text that may well come again and again."""
        known, remembered = self._remembered
        if known is not _revealed.forms or len(remembered) > _MOST_REMEMBERED:
            self._remembered = _revealed.forms, (remembered := {})
        if text not in remembered:
            remembered[text] = self(text)
        return remembered[text]

    def within(self, value: Any) -> Any:
        """Return a JSON value without the secrets in its texts."""
        if value is None:
            return None
        match value:
            case str():
                return self(value)
            case dict():
                telling = {
                    key for key, item in value.items() if isinstance(item, str) and _SECRET_NAME.search(str(key))
                }
                return {self.within(key): MASK if key in telling else self.within(item) for key, item in value.items()}
            case list() | tuple():
                return [self.within(item) for item in value]
        return value

    def said(self, error: BaseException) -> str:
        """Say an error of any kind in one line, without secrets and without what cannot be written down."""
        text = " ".join(self(str(error)).encode(errors="backslashreplace").decode().split())
        if isinstance(error, PydagError):
            return text
        return f"{type(error).__name__}: {text}" if text else type(error).__name__

    def _pattern(self) -> re.Pattern[str] | None:
        known, pattern = self._values
        if known is not _revealed.forms:
            known = _revealed.forms
            pattern = _any_of(self._own | known)
            self._values = known, pattern
        return pattern


def _without_ends(text: str, values: Collection[str]) -> str:
    """Mask what a message leaves of a value that it cuts: ``abcdefgh...stuvwxyz``."""
    pieces, done = [], 0
    for cut in _CUT.finditer(text):
        if cut.start() < done:
            continue
        before, after = text[done : cut.start()][-_LONGEST_END:], text[cut.end() : cut.end() + _LONGEST_END]
        head = max(_overlap(before, value) for value in values)
        tail = max(_overlap(value, after) for value in values)
        pieces += [text[done : cut.start() - head], MASK * bool(head), cut.group(), MASK * bool(tail)]
        done = cut.end() + tail
    return "".join([*pieces, text[done:]])


def _overlap(first: str, second: str) -> int:
    """Return the length of the end of one text that the other one begins with; 0 if it says too little."""
    probe = second[:_SHORTEST_PART]
    at = first.find(probe) if len(probe) == _SHORTEST_PART else -1
    while at >= 0 and not second.startswith(first[at:]):
        at = first.find(probe, at + 1)
    return len(first) - at if at >= 0 else 0


def _any_of(values: Collection[str]) -> re.Pattern[str] | None:
    longest_first = sorted(values, key=lambda value: (-len(value), value))
    return re.compile("|".join(map(re.escape, longest_first))) if values else None


def _masked(found: re.Match[str]) -> str:
    before = found["scheme"] or found["key"] or found["option"] or ""
    quote_mark = found["quote"] or ""
    return f"{before}{quote_mark}{MASK}{quote_mark}"
