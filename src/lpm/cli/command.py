"""Run a typed function as a command: its signature is the options, its docstring the help."""

import argparse
import inspect
import json
import re
import sys
from collections.abc import Callable
from textwrap import indent
from typing import Any, NoReturn, get_args, get_origin

from jsonargparse import ArgumentParser, DefaultHelpFormatter

from lpm.build import explain, locate
from lpm.cli.table import COMMANDS


class Help(DefaultHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Help pages that keep the line breaks of descriptions and examples."""


class Parser(ArgumentParser):
    """A parser whose errors are one line, and whose list options take words: ``--plan a.yaml b.yaml``."""

    def parse_args(self, args: Any = None, *rest: Any, **named: Any) -> Any:
        """Parse words, those of list options joined."""
        lists = [option for action in self._actions if takes_list(action) for option in action.option_strings]
        return super().parse_args(None if args is None else join_lists(list(args), lists), *rest, **named)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print one line with a did-you-mean and leave with exit code 2."""
        if not self.exit_on_error:  # a nested parser: its owner reports
            super().error(message, ex)
        print(f"error: {explain(message, option_names(self))}; see {self.prog} --help", file=sys.stderr)
        self.exit(2)


def takes_list(action: argparse.Action) -> bool:
    """Tell whether an option's type is a list, or a list or None."""
    kind = getattr(action, "_typehint", None)
    return bool(action.option_strings) and list in (get_origin(kind), *map(get_origin, get_args(kind)))


def join_lists(words: list[str], options: list[str]) -> list[str]:
    """Write the words behind each of ``options`` as one JSON list.

    >>> join_lists(["--plan", "a.yaml", "b.yaml", "--gpus", "8x80"], ["--plan"])
    ['--plan', '["a.yaml", "b.yaml"]', '--gpus', '8x80']
    """
    joined: list[str] = []
    while words:
        word, *words = words
        joined.append(word)
        if word in options:
            count = next((i for i, value in enumerate(words) if value.startswith("--")), len(words))
            if count and not words[0].startswith("["):
                joined.append(json.dumps(words[:count]))
                words = words[count:]
    return joined


def option_names(parser: argparse.ArgumentParser) -> list[str]:
    """Return the long options of a parser and of its subcommands, without dashes."""
    names = []
    for action in parser._actions:
        names += [option[2:] for option in action.option_strings if option.startswith("--")]
        if isinstance(action.choices, dict):
            names += [name for child in action.choices.values() for name in option_names(child)]
    return names


def run(path: tuple[str, ...], words: list[str]) -> int:
    """Parse ``words`` for the function of the command at ``path``, call it, and return its exit code (None is 0)."""
    function = locate(COMMANDS[path][0].replace(":", "."))
    parser = command_parser(function, f"lpm {' '.join(path)}")
    values = parser.instantiate(parser.parse_args(words))
    return function(**{name: values[name] for name in inspect.signature(function).parameters}) or 0


def command_parser(function: Callable[..., Any], program: str) -> Parser:
    """Return the parser of a function: required parameters are positional, others ``--options``.

    The ``Example:`` section of the docstring becomes the end of the help page.
    """
    text, example = split_example(inspect.getdoc(function) or "")
    parser = Parser(
        prog=program,
        description=text,
        epilog=f"example:\n{indent(example, '  ')}" if example else None,
        formatter_class=Help,
    )
    parser.add_function_arguments(function, as_positional=True, fail_untyped=True)
    for action in parser._actions:
        if getattr(action, "_typehint", None) is bool and action.option_strings:
            action.nargs, action.const = "?", True  # `--json` alone means `--json true`
    return parser


def split_example(doc: str) -> tuple[str, str]:
    """Split a docstring into its leading paragraphs and its ``Example:`` section, without backticks.

    >>> split_example("Do it.\\n\\nExample: `lpm do --it`\\n\\nArgs:\\n    it: that.")
    ('Do it.', 'lpm do --it')
    """
    sections = re.split(r"^(Args|Returns|Raises|Example):", doc, flags=re.MULTILINE)
    found = dict(zip(sections[1::2], sections[2::2]))
    example = inspect.cleandoc(found.get("Example", "")).replace("`", "")
    return sections[0].strip(), example.strip()
