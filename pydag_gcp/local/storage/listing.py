"""Listing objects the way ``storage.objects.list`` does: prefixes, delimiters, offsets, globs, pages.

Contract: https://cloud.google.com/storage/docs/json_api/v1/objects/list
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from werkzeug.wrappers import Request

from pydag_gcp.local.http import ApiError, not_implemented
from pydag_gcp.local.storage.objects import Objects, StoredObject
from pydag_gcp.local.storage.resources import accept, integer

_MOST_RESULTS = 1000

#: How many names under one prefix are passed over one by one before the walk starts anew behind them.
_PATIENCE = 200

#: Sorts after every name that begins with what stands before it.
_LAST = chr(0x10FFFF)


@dataclass(frozen=True, kw_only=True)
class Page:
    """One page of a listing; ``next_token`` is None on the last one."""

    objects: Sequence[StoredObject]
    prefixes: list[str]
    next_token: str | None


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What is to be listed; the names are those of the request's parameters."""

    prefix: str = ""
    delimiter: str = ""
    start_offset: str = ""
    end_offset: str = ""
    include_trailing_delimiter: bool = False
    glob: re.Pattern[str] | None = None
    after: str = ""
    max_results: int = _MOST_RESULTS

    @classmethod
    def of(cls, request: Request) -> Listing:
        """Read a request.

        Raises:
            ApiError: A parameter is wrong or not implemented.
        """
        accept(
            request,
            *("delimiter", "endOffset", "includeFoldersAsPrefixes", "includeTrailingDelimiter", "matchGlob"),
            *("maxResults", "pageToken", "prefix", "softDeleted", "startOffset", "versions"),
        )
        if _flag(request, "softDeleted"):
            raise not_implemented("softDeleted=true: what is deleted is gone")
        # versions=true changes nothing: versioning cannot be switched on, so every object is a live one.
        glob = request.args.get("matchGlob")
        return cls(
            prefix=request.args.get("prefix", ""),
            delimiter=request.args.get("delimiter", ""),
            start_offset=request.args.get("startOffset", ""),
            end_offset=request.args.get("endOffset", ""),
            include_trailing_delimiter=_flag(request, "includeTrailingDelimiter"),
            glob=compile_glob(glob) if glob else None,
            after=_from_token(request.args.get("pageToken", "")),
            max_results=min(integer(request, "maxResults") or _MOST_RESULTS, _MOST_RESULTS),
        )

    def page(self, objects: Objects, bucket: str) -> Page:
        """Return the page that begins after ``after``.

        Raises:
            BucketNotFound: There is no such bucket.
        """
        names: list[str] = []
        prefixes: list[str] = []
        last = None
        for name, rolled in self._entries(objects, bucket):
            if len(names) + len(prefixes) >= self.max_results:
                break
            if rolled is not None:
                prefixes.append(rolled)
            if rolled is None or (self.include_trailing_delimiter and name == rolled):
                names.append(name)
            last = name if rolled is None else rolled
        else:
            last = None
        return Page(
            objects=objects.select(bucket, names), prefixes=prefixes, next_token=None if last is None else _token(last)
        )

    def _entries(self, objects: Objects, bucket: str) -> Iterator[tuple[str, str | None]]:
        """Yield each object's name with None, and each prefix once with the first name that has it."""
        start, done = max(self.start_offset, self.after), self.after
        again = True
        while again:
            again, passed = False, 0
            for name in objects.names(bucket, self.prefix, start=start):
                if self.end_offset and name >= self.end_offset:
                    return
                rolled = self._rolled(name)
                if (name if rolled is None else rolled) == done:
                    passed += 1
                    if rolled is not None and passed > _PATIENCE:
                        start, again = rolled + _LAST, True
                        break
                elif self.glob is None or self.glob.fullmatch(name):
                    done, passed = name if rolled is None else rolled, 0
                    yield name, rolled

    def _rolled(self, name: str) -> str | None:
        """Return the prefix that stands for a name, if one does."""
        if not self.delimiter:
            return None
        end = name.find(self.delimiter, len(self.prefix))
        return None if end < 0 else name[: end + len(self.delimiter)]


def compile_glob(glob: str) -> re.Pattern[str]:
    """Return the expression that matches what a glob does.

    Contract: https://cloud.google.com/storage/docs/json_api/v1/objects/list#list-objects-and-prefixes-using-glob

    Raises:
        ApiError: It has a form that is not implemented, or is malformed.
    """
    if re.search(r"(^|/)\*\*/", glob) or "\\" in glob or "[!" in glob or "[^" in glob:
        raise not_implemented(f"the glob {glob!r}: '**/' as a folder of its own, escapes and negated sets")
    pieces, depth = [], 0
    for piece in re.findall(r"\*\*|\[[^\]/]+\]|.", glob, re.DOTALL):
        depth += {"{": 1, "}": -1}.get(piece, 0)
        if piece == "," and depth:
            pieces.append("|")
        elif piece.startswith("[") and len(piece) > 1:
            pieces.append(piece.replace("\\", "\\\\"))
        else:
            pieces.append(_GLOB.get(piece, re.escape(piece)))
    try:
        return re.compile("".join(pieces), re.DOTALL)
    except re.error as error:
        raise ApiError(400, "invalid", f"Invalid glob pattern '{glob}': {error}") from None


_GLOB = {"**": ".*", "*": "[^/]*", "?": "[^/]", "{": "(?:", "}": ")"}


def _flag(request: Request, name: str) -> bool:
    return request.args.get(name, "").lower() == "true"


def _token(after: str) -> str:
    return base64.urlsafe_b64encode(json.dumps({"after": after}).encode()).decode()


def _from_token(token: str) -> str:
    if not token:
        return ""
    try:
        return str(json.loads(base64.urlsafe_b64decode(token))["after"])
    except (ValueError, KeyError, TypeError):
        message = f"Invalid pageToken: {token}"
        raise ApiError(400, "invalid", message, location="pageToken", location_type="parameter") from None
