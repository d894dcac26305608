"""The example that each command's help shows is one that the command accepts."""

import inspect
import shlex

import pytest

from lpm.build import locate
from lpm.cli.command import command_parser, split_example
from lpm.cli.table import COMMANDS


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_example_parses(path):
    function = locate(COMMANDS[path][0].replace(":", "."))
    lines = split_example(inspect.getdoc(function) or "")[1].splitlines()
    assert lines, "a command needs an Example: in its docstring"
    for line in lines:
        program, *words = shlex.split(line)
        assert (program, *words[: len(path)]) == ("lpm", *path)
        command_parser(function, line).parse_args(words[len(path) :])
