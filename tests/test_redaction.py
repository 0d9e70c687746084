"""Secrets in text: whatever way a revealed value is written, it does not pass."""

from __future__ import annotations

import base64
import json
import logging
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pydag_gcp.logs import TryLog
from pydag_gcp.redaction import SHORTEST, Redactor, forms, learn

KEY = '{\n  "type": "service_account",\n  "private": "-BEGIN-\\nMIIEv+Q/=\\n-END-\\n",\n  "naïve": "it\'s"\n}\n'

WRITTEN: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "in JSON": json.dumps,
    "in JSON with letters as they are": lambda text: json.dumps(text, ensure_ascii=False),
    "in JSON in JSON": lambda text: json.dumps(json.dumps({"a": text})),
    "in Python": repr,
    "in a list in Python": lambda text: repr([text, "'"]),
    "in an error of Python": lambda text: repr(ValueError(text)),
    "in the message of a KeyError": lambda text: str(KeyError(repr(text))),
    "as bytes": lambda text: repr(text.encode()),
    "in base64": lambda text: base64.b64encode(text.encode()).decode(),
    "in base64 for URLs": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "in basic authentication": lambda text: base64.b64encode(b"ann:" + text.encode()).decode(),
    "in base64 of JSON": lambda text: base64.b64encode(json.dumps({"k": text}).encode()).decode(),
    "in a URL": lambda text: quote(text, safe=""),
    "in a path": quote,
    "in a form": lambda text: urlencode({"p": text}),
    "in a form with small letters": lambda text: re.sub("%..", lambda found: found[0].lower(), quote_plus(text)),
    "without the white space around it": str.strip,
    "in one line": lambda text: " ".join(text.split()),
}

SECRETS = ["s3cr3t-v4lue", "two  words", "p+/=&'\"\\x", "ünïcödé", "ab\tcd", KEY, "x" * 300 + "-end", "abcd"]


@pytest.mark.parametrize("secret", SECRETS, ids=ascii)
@pytest.mark.parametrize("way", WRITTEN)
def test_a_revealed_value_is_masked_in_whatever_way_it_is_written(secret: str, way: str) -> None:
    learn(secret)
    text = WRITTEN[way](secret)
    redacted = Redactor({})(f"before {text} after")
    assert redacted.startswith("before ")
    assert redacted.endswith(" after")
    assert "[redacted]" in redacted
    # and of the secret no more remains than what base64 makes of its neighbours
    assert len(redacted.replace("[redacted]", "")) <= len(f"before {WRITTEN[way]('')} after") + 6


def test_each_line_of_a_value_is_masked_alone() -> None:
    learn("first line of it\nshort\n    second line of it\n")
    assert Redactor({})("> second line of it <") == "> [redacted] <"
    assert Redactor({})("short") == "short"


@pytest.mark.parametrize("dots", ["...", "\u2026"])
@pytest.mark.parametrize("ends", [(25, 24), (38, 38), (8, 8), (90, 0), (0, 90)])
def test_a_value_that_a_message_cuts_in_the_middle_is_masked_at_both_ends(dots: str, ends: tuple[int, int]) -> None:
    secret = "".join(f"{number:x}-" for number in range(1000, 1040))
    learn(secret)
    begin, end = secret[: ends[0]], secret[len(secret) - ends[1] :]
    masked = [part and "[redacted]" for part in (begin, end)]
    assert Redactor({})(f"a... b='{begin}{dots}{end}' c...") == f"a... b='{masked[0]}{dots}{masked[1]}' c..."


def test_those_who_redact_already_learn_too(tmp_path: Path) -> None:
    # Given a log that is open, and a redactor that was used
    redact = Redactor({})
    assert redact("learned-later-1") == "learned-later-1"
    log = TryLog(tmp_path / "1.log", redact)
    # When a value is revealed
    learn("learned-later-1")
    # Then both know it
    log.logger.info("%s", {"key": "learned-later-1"})
    log.logger.log(logging.ERROR, "failed", exc_info=ValueError("learned-later-1"))
    log.close()
    assert redact("learned-later-1") == "[redacted]"
    assert "learned-later-1" not in log.file.read_text()


def test_keys_are_texts_too() -> None:
    learn("a-secret-key")
    assert Redactor({}).within({"a-secret-key": [{"x": ("a-secret-key", 1)}]}) == {
        "[redacted]": [{"x": ["[redacted]", 1]}]
    }


@given(st.text(min_size=SHORTEST).filter(lambda text: len(text.strip()) >= SHORTEST))
def test_every_value_is_among_its_own_forms(value: str) -> None:
    found = set(forms(value))
    assert {value, value.strip(), json.dumps(value)[1:-1]} <= found
    assert "" not in found


def test_nothing_is_known_before_it_is_revealed() -> None:
    code = "from pydag_gcp.redaction import Redactor; print(Redactor({})('s3cr3t-v4lue'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "s3cr3t-v4lue\n"


def test_a_text_that_comes_again_is_masked_once_it_is_known_for_a_secret() -> None:
    redact = Redactor({})
    assert [redact.often("upstream often-1 will run") for _ in range(2)] == ["upstream often-1 will run"] * 2
    learn("often-1")
    assert redact.often("upstream often-1 will run") == "upstream [redacted] will run"
    assert {redact.often(f"text {number}") for number in range(1000)} == {f"text {number}" for number in range(1000)}
