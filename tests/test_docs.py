"""The docs stay true: their Python compiles, what it imports exists, and the commands they show are commands."""

import ast
import re
from importlib import import_module
from pathlib import Path

import pytest

from lpm.build import locate
from lpm.cli.command import command_parser, option_names
from lpm.cli.table import COMMANDS, TRAINER

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_python_compiles_and_its_imports_exist(page):
    for block in blocks(page, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("lpm"):
                module = import_module(node.module)
                assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_exist(page):
    for block in blocks(page, "bash"):
        for words in re.findall(r"^(?:lpm|lightning) (.*)", block, flags=re.MULTILINE):
            first = words.split()
            if first[0] in TRAINER:
                continue
            path = next((path for path in (tuple(first[:2]), tuple(first[:1])) if path in COMMANDS), None)
            assert path, words
            known = {*option_names(command_parser(locate(COMMANDS[path][0].replace(":", ".")), "lpm")), "help"}
            shown = {name.split(".")[0] for name in re.findall(r" --([\w.-]+)", words.split("#")[0])}
            assert shown <= known | {name.split(".")[0] for name in known}, words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_recipes_exist(page):
    for name in re.findall(r"recipes/[\w/-]+\.yaml", page.read_text()):
        assert (ROOT / name).is_file(), name
