"""Exit codes, and one line instead of a traceback where the user, not the program, is wrong."""

import os
import sys
import traceback
from collections.abc import Callable

from omegaconf.errors import OmegaConfBaseException

from lpm.build import explain
from lpm.cli.table import EXTRAS

BAD_INPUT = 2
INTERRUPTED = 130
MISCONFIGURED = "MisconfigurationException"  # of Lightning, which is too heavy to import here
KEYS_DIFFER = "KeysDiffer"  # of lpm.nn, likewise: a line, then a table
_MISSING = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)


def report(work: Callable[[], int], full: bool = False) -> int:
    """Do the work and return its exit code; print bad input as one line ``error: ...``, after the table if it has one.

    Bad input is a missing file, what Lightning calls a misconfiguration, or a ``ValueError`` or ``ImportError`` that
    our own code raises. Anything else is a bug and keeps its traceback.

    Args:
        work: what to do.
        full: show the traceback of bad input, too.

    >>> report(lambda: 0)
    0
    """
    try:
        return work()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):  # the Trainer has shut down in good order
            return INTERRUPTED
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except Exception as error:
        if not is_bad_input(error):
            raise
        if full:
            traceback.print_exc()
        if type(error).__name__ == KEYS_DIFFER:
            print(str(error).partition("\n")[2], file=sys.stderr)
        print(f"error: {one_line(error)}", file=sys.stderr)
        return BAD_INPUT


def is_bad_input(error: BaseException) -> bool:
    """Tell the user's mistakes from ours."""
    if isinstance(error, (*_MISSING, OmegaConfBaseException)) or type(error).__name__ == MISCONFIGURED:
        return True
    return isinstance(error, ValueError | ImportError) and (_raised_by_us(error) or _from_config(error))


def one_line(error: BaseException) -> str:
    """Return the message of an error without line breaks.

    >>> one_line(FileNotFoundError(2, "No such file or directory", "a.wav"))
    'no such file or directory: a.wav'
    """
    if isinstance(error, OSError) and error.filename is not None:
        return f"{(error.strerror or '').lower()}: {error.filename}"
    if isinstance(error, OmegaConfBaseException):
        return f"config: {str(error.full_key or '').partition('.')[2]}: {str(error).splitlines()[0]}"
    if isinstance(error, ModuleNotFoundError) and error.name in EXTRAS:
        return f'{error.name} is not installed; run: pip install "lpm[{EXTRAS[error.name]}]"'
    message = str(error).partition("\n")[0] if type(error).__name__ == KEYS_DIFFER else str(error)
    return explain(message) or type(error).__name__


def _raised_by_us(error: BaseException) -> bool:
    frames = list(traceback.walk_tb(error.__traceback__))
    return bool(frames) and str(frames[-1][0].f_globals.get("__name__", "")).partition(".")[0] == "lpm"


def _from_config(error: BaseException) -> bool:
    """Recognise what jsonargparse makes of a constructor's ``ValueError``."""
    return str(error).startswith("Does not validate against")
