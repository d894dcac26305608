"""The commands ``lpm`` and ``lightning``: one table, lazily imported, with short errors."""

import sys
from collections.abc import Sequence

from lpm.cli.errors import report
from lpm.cli.scripts import other_lightning
from lpm.cli.table import COMMANDS, TRAINER, overview, unknown

__all__ = ["lightning_main", "main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``lpm <command> ...`` and return the exit code: 0 done, 2 bad input, 130 interrupted.

    >>> main(["fti"])
    2
    """
    return _run("lpm", list(sys.argv[1:] if arguments is None else arguments))


def lightning_main(arguments: Sequence[str] | None = None) -> int:
    """Run ``lightning fit|validate|test|predict``; hand any other word to another package's ``lightning`` command."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] in TRAINER:
        return _run("lightning", words)
    other = other_lightning()
    if other is not None:
        return other.load()() or 0
    return _run("lightning", words)


def _run(program: str, words: list[str]) -> int:
    full = "--traceback" in words
    words = [word for word in words if word != "--traceback"]
    return report(lambda: _dispatch(program, words), full)


def _dispatch(program: str, words: list[str]) -> int:
    if words == ["--version"]:
        from lpm import __version__

        print(f"lpm {__version__}")
        return 0
    if not words or words[0] in ("-h", "--help"):
        print(overview(program))
        return 0
    if words[0] in TRAINER:
        from lpm.cli.trainer import run

        return run(program, words)
    if program == "lpm":
        for length in (2, 1):
            if tuple(words[:length]) in COMMANDS:
                from lpm.cli.command import run as run_command

                return run_command(tuple(words[:length]), words[length:])
    if program == "lpm" and words[0] in {path[0] for path in COMMANDS} and words[1:] in ([], ["-h"], ["--help"]):
        print(overview(program, words[0]))
        return 0
    raise ValueError(unknown(program, words))
