"""Turn jsonargparse's nested reports into one line that names the place, the fault and the closest valid name."""

import difflib
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

_KEY = re.compile(r'^(?:Parser|Configuration) key "([^"]+)":?(.*)$')
_CLASS = re.compile(r"^Problem with given class_path '([^']+)':?")
_NESTED = re.compile(r"Parser key|Configuration key|Problem with given|Does not validate against")
_FRAME = re.compile(r"^(Does not validate against|Subtypes:|Errors:|Given value|Expected a path but )")
_TYPE = re.compile(r"Expected an? <class '(?:\w+\.)*(\w+)'>(?:\. Got value: (.*))?$")


@dataclass(frozen=True)
class _Fault:
    """One innermost line of a report, with the keys and the class around it."""

    keys: tuple[str, ...]
    class_path: str
    text: str

    def line(self, known: Iterable[str], bases: Iterable[type]) -> str:
        text = self.text[0].lower() + self.text[1:] if self.text[:2].istitle() else self.text
        place = ".".join(self.keys)
        return f"{place}: {text}{_hint(self, known, bases)}" if place else f"{text}{_hint(self, known, bases)}"


def closest(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for the closest known word, or nothing.

    >>> closest("fti", ["fit", "test"])
    "; did you mean 'fit'?"
    """
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {found[0]!r}?" if found else ""


def suggestion(path: str) -> str:
    """Return a did-you-mean for an import path whose module or attribute does not exist."""
    *parents, name = path.split(".")
    for depth in range(len(parents), 0, -1):
        try:
            module = import_module(".".join(parents[:depth]))
        except ImportError:
            continue
        wrong = [*parents, name][depth]
        inside = [found.name for found in pkgutil.iter_modules(getattr(module, "__path__", []))]
        return closest(wrong, {*inside, *(n for n in dir(module) if not n.startswith("_"))})
    return closest(path.split(".")[0], {"lpm", "torch", "lightning", *(n for n in sys.modules if "." not in n)})


def explain(report: str, known: Iterable[str] = ()) -> str:
    """Return the one line of a jsonargparse report that a user needs.

    Args:
        report: the message of an ``ArgumentError``, often twenty lines of nested unions.
        known: the option names of the parser, for did-you-mean on unrecognised ones.

    >>> explain("unrecognized arguments: --trainer.max_stepss=3", ["trainer.max_steps"])
    "unrecognised option --trainer.max_stepss; did you mean '--trainer.max_steps'?"
    """
    if found := re.search(r"unrecognized arguments: (\S+)", report):
        word = found[1].split("=")[0]
        return f"unrecognised option {word}{closest(word, [f'--{name}' for name in known])}"
    if found := re.search(r"Subcommand '\w+' does not accept option '([^']+)'", report):
        return f"config: option {found[1]!r} is not accepted{closest(found[1], known)}"
    if report.startswith("Unexpected config:"):
        return "config: expected lines 'key: value', found none"
    faults = _faults(report)
    if not faults or not _NESTED.search(report):
        return " ".join(report.split())
    deepest = max(len(fault.keys) for fault in faults)
    faults = [fault for fault in faults if len(fault.keys) == deepest]
    types = [_TYPE.match(fault.text) for fault in faults]
    if all(types):
        return f"{'.'.join(faults[0].keys)}: expected {_either(types)}{_got(report, types)}"
    fault = next(fault for fault, kind in zip(faults, types) if not kind)
    return fault.line(known, _bases(report))


def _faults(report: str) -> list[_Fault]:
    """Walk the indented report; keep its leaves."""
    stack: list[tuple[int, str, str]] = []  # indent, key, class
    faults = []
    for line in report.splitlines():
        text = line.strip()
        indent = len(line) - len(line.lstrip())
        while stack and stack[-1][0] >= indent and text:
            stack.pop()
        while found := _KEY.match(text.removeprefix("- ")):
            stack.append((indent, found[1], ""))
            text = found[2].strip()
        text = text.removeprefix("- ")
        if found := _CLASS.match(text):
            stack.append((indent, "", found[1]))
        elif text and not _FRAME.match(text):
            keys = tuple(key for _, key, _ in stack if key)
            faults.append(_Fault(keys, next((name for *_, name in reversed(stack) if name), ""), text))
    return faults


def _hint(fault: _Fault, known: Iterable[str], bases: Iterable[type]) -> str:
    """Return a did-you-mean, chosen by the kind of fault."""
    if found := re.match(r"Option '([^']+)' is not accepted", fault.text):
        prefix = "".join(f"{key}." for key in fault.keys)
        return closest(found[1], _arguments(fault.class_path) or [n.removeprefix(prefix) for n in known])
    if re.match(r"(module '.*' has no attribute|No module named)", fault.text):
        return suggestion(fault.class_path)
    if found := re.match(r"Expected a dot import path string: (\S+)", fault.text):
        return closest(found[1], {child.__name__ for base in bases for child in _children(base)})
    if found := re.match(r"File does not exist: '([^']+)'", fault.text):
        path = Path(found[1])
        return closest(path.name, (item.name for item in path.parent.glob("*"))) if path.parent.is_dir() else ""
    return ""


def _arguments(class_path: str) -> list[str]:
    module, _, name = class_path.rpartition(".")
    return list(inspect.signature(getattr(import_module(module), name)).parameters) if module else []


def _bases(report: str) -> list[type]:
    """Return the classes that the report's unions would have accepted."""
    names = {name for line in re.findall(r"Subtypes: (.*)", report) for name in re.findall(r"[\w.]+\.\w+", line)}
    places = [name.rpartition(".") for name in names]
    found = [getattr(sys.modules.get(module), name, None) for module, _, name in places]
    return [item for item in found if inspect.isclass(item)]


def _children(base: type[Any]) -> set[type]:
    found = {base}
    children: list[type[Any]] = type.__subclasses__(base)
    for child in children:
        found |= _children(child)
    return found


def _either(types: list[re.Match[str] | None]) -> str:
    names = ["None" if kind[1] == "NoneType" else kind[1] for kind in types if kind]
    return " or ".join(dict.fromkeys(names))


def _got(report: str, types: list[re.Match[str] | None]) -> str:
    value = next((kind[2] for kind in types if kind and kind[2]), None)
    if value is None:
        found = re.search(r"Given value: (.*)", report)
        value = found[1] if found else None
    return f", got {value!r}" if value else ""
