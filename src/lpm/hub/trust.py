"""What a spec from others names that could run code: all of it must be lpm's own."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from huggingface_hub.constants import HF_HUB_CACHE

from lpm.build import locate
from lpm.build.spec import is_import_path

PLACES = ("weights", "folder")  # arguments that name files or folders, never classes
FILES = (".safetensors", ".ckpt", ".pth", ".pt")


def foreign_names(spec: Any) -> Iterator[str]:
    """Yield what a spec names from outside lpm that ``lpm.build`` could run.

    >>> list(foreign_names({"class_path": "lpm.flow.Residual", "init_args": {"scale": "os.getcwd"}}))
    ['os.getcwd']
    """
    return (name for name in code_names(spec) if not is_of_lpm(name))


def code_names(spec: Any, argument: str = "") -> Iterator[str]:
    """Yield all that ``lpm.build`` may import or read for a spec, also what plain strings, JSON and YAML in them name.

    >>> list(code_names({"class_path": "a.B", "init_args": {"c": "d.E", "f": '{"class_path": "g.H"}', "i": "mean"}}))
    ['a.B', 'd.E', 'g.H']
    >>> list(code_names({"class_path": "a.B", "init_args": {"weights": "tiny.safetensors"}}))
    ['a.B']
    """
    content = parsed(spec) if isinstance(spec, str) else spec
    if isinstance(content, dict):
        for key, value in content.items():
            yield from code_names(value, str(key).rpartition(".")[2])  # jsonargparse reads "a.class_path" as two keys
    elif isinstance(content, list | tuple | set):
        for value in content:
            yield from code_names(value, argument)
    elif argument == "class_path" or (isinstance(spec, str) and names_code(spec, argument)):
        yield str(spec)


def parsed(text: str) -> Any:
    """Return what ``lpm.build`` would find in a text: dicts and lists of JSON or YAML, or the text itself."""
    from jsonargparse import get_loader
    from yaml import YAMLError

    try:
        return get_loader("yaml")(text)
    except YAMLError:
        return text


def names_code(text: str, argument: str) -> bool:
    """Tell whether the value of an argument may be an import path, or a file with the spec of something to build."""
    is_place = argument in PLACES
    if is_import_path(text):
        return not (is_place and Path(text).suffix in FILES)
    path = os.path.realpath(os.path.expanduser(text))  # noqa: PTH111 - pathlib refuses unknown users and long texts
    in_cache = Path(path).is_relative_to(os.path.realpath(HF_HUB_CACHE))
    return "://" in text or in_cache or (os.path.isfile(path) and not is_place)  # noqa: PTH113


def is_of_lpm(name: str) -> bool:
    """Tell whether a name is the import path of what lpm itself defines, which its modules' own imports are not.

    >>> is_of_lpm("lpm.hub.Card"), is_of_lpm("lpm.hub.card.Path"), is_of_lpm("pathlib.Path")
    (True, False, False)
    """
    ours = name.startswith("lpm.") and is_import_path(name)
    return ours and str(getattr(locate(name), "__module__", "")).startswith("lpm.")
