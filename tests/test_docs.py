"""What the documents say holds: commands exist, pipelines validate, settings load, links lead somewhere."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from pydag_gcp import cli, settings

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


@dataclass(frozen=True)
class Block:
    """A fenced block of a document."""

    file: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line}"


#: Done from beginning to end by a test of its own.
DONE = ROOT / "docs" / "tutorial.md"


def blocks(language: str) -> list[Block]:
    """All blocks in a language, each of which stands for itself."""
    return [block for file in DOCUMENTS if file != DONE for block in blocks_of(file) if block.language == language]


def blocks_of(file: Path) -> Iterator[Block]:
    """All blocks of a document."""
    text = file.read_text(encoding="utf-8")
    for match in re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield Block(file, text.count("\n", 0, match.start()) + 1, match[1], match[2])


def commands() -> Iterator[tuple[Block, list[str]]]:
    """Every line of a console block, as words."""
    for block in blocks("console"):
        for line in block.text.splitlines():
            assert line.startswith("$ "), f"{block}: {line}"
            yield block, shlex.split(line.removeprefix("$ "), comments=True)


def all_commands(group: click.Group, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command below a group, with the words that call it."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from all_commands(command, (*path, name))
        else:
            yield (*path, name), command


@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_pipelines_are_valid(block: Block, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "pipeline.py").write_text(block.text)

    code = cli.main(["validate", "pipeline.py"])

    assert code == 0, capsys.readouterr().err


@pytest.mark.parametrize("block", blocks("toml"), ids=str)
def test_settings_load(block: Block, project: Path) -> None:
    (project / "pydag.toml").write_text(block.text)

    assert settings.load(project).targets.keys() == tomllib.loads(block.text)["targets"].keys()


@pytest.mark.parametrize(("block", "words"), [pair for pair in commands() if pair[1][0] == "pydag"])
def test_shown_commands_exist(block: Block, words: list[str]) -> None:
    context: click.Context | None = None
    command: click.Command = cli.pydag
    arguments = words[1:]
    while isinstance(command, click.Group):
        context = click.Context(command, parent=context, info_name="pydag")
        _, found, arguments = command.resolve_command(context, arguments)
        assert found is not None, words
        command = found
    command.make_context("pydag", arguments, parent=context)  # raises for an unknown option


@pytest.mark.parametrize("words", [words for _, words in commands() if words[0] == "make"], ids=" ".join)
def test_shown_make_targets_exist(words: list[str]) -> None:
    makefile = (ROOT / "Makefile").read_text()

    assert re.search(rf"^{words[1]}:", makefile, re.MULTILINE)


@pytest.mark.parametrize(("words", "command"), list(all_commands(cli.pydag, ("pydag",))), ids=str)
def test_every_command_and_option_is_documented(words: tuple[str, ...], command: click.Command) -> None:
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")

    assert " ".join(words) in text
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            assert f"`{parameter.opts[0]}" in text, parameter.opts[0]


def anchors(file: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\((?!https?://)([^)]+)\)", document.read_text(encoding="utf-8")):
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


def test_every_document_is_reached_from_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")

    assert {file.name for file in (ROOT / "docs").glob("*.md")} - {"index.md"} == set(
        re.findall(r"\]\((\w\S*\.md)\)", index)
    )


def test_contributing_says_why_each_dependency_is_there() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    requirements = [
        *project["dependencies"],
        *(r for extra in project["optional-dependencies"].values() for r in extra),
    ]
    names = {re.split(r"[\[<>=!~]", requirement)[0] for requirement in requirements} - {"pydag-gcp"}
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    listed = {name for cell in re.findall(r"^\| ([A-Za-z0-9, -]+) \|", text, re.MULTILINE) for name in cell.split(", ")}

    assert names == listed - {"package"}
