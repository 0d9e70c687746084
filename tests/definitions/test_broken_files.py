"""Files that are no definitions at all, given to real processes too."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pydag_gcp.document import read
from pydag_gcp.errors import DefinitionError

if TYPE_CHECKING:
    from tests.definitions.conftest import Refused

TEXT = "dag: x\ntasks:\n  a: {operator: BigQueryQuery, sql: SELECT 1}\n"
FORMS = (".py", ".yaml", ".json")

#: What is there instead of a definition, and what is said of it.
ODD: dict[str, tuple[Callable[[Path], object], str]] = {
    "bytes": (lambda path: path.write_bytes(bytes(range(256)) * 16), r"null byte|no UTF-8|no text"),
    "an image": (lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"), r"UTF-8|utf-8|null byte"),
    "a zip": (lambda path: path.write_bytes(b"PK\x03\x04\x14\0\0\0"), r"null byte|is no text"),
    "UTF-16": (lambda path: path.write_text(TEXT, encoding="utf-16"), r"UTF-8|null byte"),
    "UTF-16 without a mark": (lambda path: path.write_text(TEXT, encoding="utf-16-le"), r"null byte|is no text"),
    "Latin-1": (lambda path: path.write_text(f"é: 1\n{TEXT}", encoding="latin-1"), r"UTF-8|utf-8"),
    "50 MB": (lambda path: path.write_bytes(b"# nothing but this\n" * 2_800_000), r"is 51 MB large; .* at most 4 MB"),
    "a folder": (lambda path: path.mkdir(), r"is no file; name a pipeline inside this folder"),
    "a pipe": (lambda path: os.mkfifo(path), r"is no file"),
    "a device": (lambda path: path.symlink_to("/dev/zero"), r"is no file"),
    "a link in circles": (lambda path: path.symlink_to(path.name), r"cannot be read: Too many levels of symbolic link"),
    "a link to nothing": (lambda path: path.symlink_to("nothing"), r"cannot be read: No such file or directory"),
    "what cannot be read": (lambda path: path.symlink_to("/proc/self/mem"), r"cannot be read: "),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", ODD)
def test_no_definition_at_all(case: str, form: str, refused: Refused) -> None:
    make, message = ODD[case]
    make(Path(f"p{form}"))

    refused(f"p{form}", message)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("form", FORMS)
def test_a_file_that_may_not_be_read(form: str, refused: Refused) -> None:
    Path(f"p{form}").write_text(TEXT)
    Path(f"p{form}").chmod(0)

    refused(f"p{form}", "cannot be read: Permission denied")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.yaml", "no such file"),
        ("missing/p.yaml", "no such file"),
        (f"{'x' * 300}.yaml", "no such file"),
        ("p.txt", "is no pipeline: cannot load .txt"),
        ("p", "is no pipeline: cannot load a file without ending"),
        ("p.yaml/p.yaml", "no such file"),
    ],
)
def test_a_name_of_no_definition(name: str, message: str, refused: Refused) -> None:
    for there in ("p.txt", "p", "p.yaml"):
        Path(there).write_text(TEXT)

    refused(name, message)


@pytest.mark.parametrize("command", ["validate", "run"])
def test_a_name_that_two_files_have(command: str, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from pydag_gcp import cli

    Path("pipelines").mkdir()
    for ending in ("json", "yaml"):
        Path(f"pipelines/daily.{ending}").write_text("")

    assert cli.main([command, "daily"]) == 2
    assert "'daily' may be pipelines/daily.json and pipelines/daily.yaml; give the path" in capsys.readouterr().err


REAL = {
    "bytes.yaml": bytes(range(256)),
    "large.json": b" " * 50_000_000,
    "bomb.yaml": b"a: &a [x]\n" + b"".join(b"b%d: &a [%s]\n" % (n, b",".join([b"*a"] * 9)) for n in range(30)),
    "tag.yaml": b'dag: !!python/object/apply:os.system ["touch executed"]\n',
    "exit.py": b"import sys\nsys.exit(0)\n",
    "deep.json": b"[" * 1_000_000,
    "deep.py": b"x = " + b"(" * 1_000_000,
    "recursion.py": b"def f(): return f()\nf()\n",
}


@pytest.mark.parametrize("name", REAL)
def test_a_real_process_ends_with_one_line(name: str, project: Path) -> None:
    Path(name).write_bytes(REAL[name])
    pydag = Path(sys.executable).with_name("pydag")

    done = subprocess.run([pydag, "run", name], capture_output=True, text=True, check=False, timeout=60)

    assert (done.returncode, done.stdout) == (2, "")
    first, *shown = done.stderr.splitlines()
    assert first.startswith(f"error: {name}")
    assert len(shown) in (0, 2)
    assert all(line.startswith("  ") for line in shown)
    assert {path.name for path in project.iterdir()} == {"pydag.toml", name}


def test_an_error_in_json_is_one_document(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from pydag_gcp import cli

    Path("p.yaml").write_text("dag: [x\n")

    assert cli.main(["run", "p.yaml", "--json"]) == 2
    said = capsys.readouterr()
    assert '"error": "p.yaml:2:1: is no YAML: ' in said.out
    assert "^" not in said.out


def test_a_mark_at_the_beginning_is_no_part_of_the_text(project: Path) -> None:
    Path("p.yaml").write_bytes(b"\xef\xbb\xbf" + TEXT.encode())

    assert read(Path("p.yaml")).value["dag"] == "x"


def test_windows_line_ends_keep_their_lines(project: Path) -> None:
    Path("p.yaml").write_bytes(b"dag: x\r\ntasks:\r\n  a: *b\r\n")

    with pytest.raises(DefinitionError, match=r"p.yaml:3:6: no anchor &b above") as caught:
        read(Path("p.yaml"))
    assert caught.value.excerpt == "  a: *b\n     ^^"
