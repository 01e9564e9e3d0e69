"""The code of README and of the site runs, prints what the pages say, and names commands that exist."""

import importlib
import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
from pages import ELSEWHERE, ROOT, Block, agree, blocks, pages, run, workplace

import discoformer.cli
import discoformer_export.cli
import discoformer_training.cli

pytestmark = pytest.mark.slow

NAMES = {page: str(page.relative_to(ROOT)) for page in pages()}
PROGRAMS = {
    "discoformer": discoformer.cli.main,
    "discoformer-train": discoformer_training.cli.commands,
    "discoformer-export": discoformer_export.cli.export,
}
EXECUTED = ("anomalies", "diagnose", "doctor", "entropy", "estimate", "impute", "modes", "sample")


def with_code(language: str) -> list[Any]:
    """The pages with blocks of a language."""
    texts = {page: page.read_text(encoding="utf-8") for page in pages()}
    found = [page for page, text in texts.items() if any(b.language == language for b in blocks(text))]
    return [pytest.param(page, id=NAMES[page]) for page in found]


@pytest.mark.parametrize("page", with_code("python"))
def test_python_blocks_run_and_print_what_the_page_says(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    if elsewhere := ELSEWHERE.search(text):
        assert (ROOT / elsewhere[1]).is_file()
        return
    namespace: dict[str, Any] = {"__name__": "__main__"}
    with workplace():
        for block in blocks(text):
            if block.language == "python":
                printed = run(block, namespace, page)
                shown = block.output or ""
                is_readme = page.name == "README.md"
                assert is_readme or agree(printed, shown), (
                    f"{NAMES[page]}:{block.line} prints\n{printed}\nand the page says\n{shown}"
                )


def commands(block: Block) -> list[str]:
    """The commands of a console block: lines that begin with $, and their continuations."""
    joined = block.code.replace("\\\n", " ")
    lines = [line[2:] for line in joined.splitlines() if line.startswith("$ ")]
    return [part for line in lines for part in re.split(r"\s&&\s|\s\|\s", line)]


@pytest.mark.parametrize("page", with_code("console"))
def test_console_commands_exist_and_take_these_options(
    page: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with workplace():
        for block in blocks(page.read_text(encoding="utf-8")):
            if block.language == "console":
                for command in commands(block):
                    check(command, f"{NAMES[page]}:{block.line}", may_run=True)


def check(line: str, where: str, *, may_run: bool) -> None:
    """Parse a command of this project, or run it if it may and is cheap. Other programs are left alone."""
    words = [word for word in shlex.split(line, comments=True) if not re.match(r"[A-Z_]+=", word)]
    if not words:
        return
    if words[0] in PROGRAMS:
        program, arguments = PROGRAMS[words[0]], words[1:]
    elif words[:2] == ["python", "-m"] and words[2].partition(".")[0] in ("benchmarks", "tests"):
        program, arguments = importlib.import_module(words[2]), words[3:]
        program = getattr(program, "main", None) or importlib.import_module(f"{words[2]}.__main__").main
    else:
        return
    executed = may_run and words[0] == "discoformer" and words[1] in EXECUTED and "./" not in line
    try:
        if executed:
            program.main(arguments, standalone_mode=False)
        else:
            parse(program, arguments)
    except click.MissingParameter:
        assert not may_run, (
            f"{where}: {line} lacks an argument"
        )  # the text names commands by their name alone
    except click.exceptions.ClickException as error:
        pytest.fail(f"{where}: {line}: {error.format_message()}")


def parse(program: Any, arguments: list[str]) -> None:
    """Parse arguments as click does; files need not exist."""
    while isinstance(program, click.Group):
        assert arguments[0] in program.commands, f"no command {arguments[0]}"
        program, arguments = program.commands[arguments[0]], arguments[1:]
    if not isinstance(program, click.Command):
        assert not arguments, f"{program} takes no arguments"
        return
    try:
        program.make_context("", list(arguments))
    except click.BadParameter as error:
        if "does not exist" not in error.message:
            raise


INLINE = re.compile(
    r"`((?:OMP_NUM_THREADS=1 )?python -m (?:benchmarks|tests)\.[^`]+|discoformer[a-z-]* [^`]+)`"
)


@pytest.mark.parametrize("page", [pytest.param(page, id=NAMES[page]) for page in pages()])
def test_commands_within_the_text_exist(page: Path) -> None:
    text = " ".join(page.read_text(encoding="utf-8").split())
    for match in INLINE.finditer(text):
        if "COMMAND" not in match[1]:
            check(match[1], NAMES[page], may_run=False)
