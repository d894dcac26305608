"""Build the objects that a spec ``{class_path, init_args}`` names, by the same rules as the command line."""

import inspect
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

from lpm.build.explain import explain, suggestion


def locate(path: str) -> Any:
    """Return the object that an import path such as ``lpm.backbone.DiT`` names.

    Raises:
        ValueError: no such module or attribute; the message suggests the closest name.

    >>> locate("fractions.Fraction").__name__
    'Fraction'
    """
    module, _, name = path.rpartition(".")
    if not module:
        raise ValueError(f"{path!r} is no import path; write it with its package, as in 'lpm.backbone.DiT'")
    try:
        return getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # the module exists but misses a dependency: that is the message to show
        raise ValueError(f"no module named {error.name!r}, in {path!r}{suggestion(path)}") from None
    except AttributeError:
        raise ValueError(f"module {module!r} has no {name!r}{suggestion(path)}") from None


def is_import_path(text: str) -> bool:
    """Tell whether a text has the form of an import path.

    >>> is_import_path("lpm.backbone.DiT"), is_import_path("DiT"), is_import_path("weights/umt5.pth")
    (True, False, False)
    """
    words = text.split(".")
    return len(words) > 1 and all(word.isidentifier() for word in words)


def build(spec: Mapping[str, Any] | str) -> Any:
    """Build the object that a spec describes, with all parts nested in its arguments.

    A class or builder function is named by its import path; each ``init_args`` value whose parameter is typed as a
    class may again be such a spec. Values are checked against the type hints before anything is built.

    Args:
        spec: ``{"class_path": str, "init_args": {...}}``, or the import path alone where no argument is needed.

    Raises:
        ValueError: unknown class or argument, or a value of the wrong type; one line with the closest valid name.

    >>> build({"class_path": "fractions.Fraction", "init_args": {"numerator": 3, "denominator": 6}})
    Fraction(1, 2)
    """
    import jsonargparse

    spec = {"class_path": spec} if isinstance(spec, str) else _plain(spec)
    if not isinstance(spec.get("class_path"), str):
        raise ValueError(f"a spec needs a class_path, but has {', '.join(map(repr, spec)) or 'nothing'}")
    extra = set(spec) - {"class_path", "init_args"}
    if extra:
        raise ValueError(f"a spec holds class_path and init_args only, not {', '.join(sorted(map(repr, extra)))}")
    part = {"class_path": spec["class_path"], "init_args": spec.get("init_args") or {}}
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(_product(locate(spec["class_path"])), "part", fail_untyped=False)
    try:
        return parser.instantiate(parser.parse_object({"part": part})).part
    except (jsonargparse.ArgumentError, ValueError) as error:
        raise ValueError(explain(str(error)).removeprefix("part.").removeprefix("part: ")) from error


def build_file(path: str | Path, key: str | None = None) -> Any:
    """Build from a YAML file, with its ``${...}`` interpolations resolved.

    Args:
        path: a recipe, or a file that holds one spec.
        key: dotted place of the spec in the file, such as ``model`` or ``model.init_args.codec``; None takes all of it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no such key, or a spec that cannot be built.
    """
    from omegaconf import OmegaConf

    config = OmegaConf.load(path)
    spec = OmegaConf.select(config, key) if key else config
    if spec is None:
        raise ValueError(f"{path} has no {key!r}; it has {', '.join(map(str, config))}")
    return build(spec if isinstance(spec, str) else OmegaConf.to_container(spec, resolve=True))  # type: ignore[arg-type]


def _plain(value: Any) -> Any:
    """Turn mappings of any kind, such as saved namespaces, into dicts."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _product(maker: Any) -> type:
    """Return the class that a class or builder function makes."""
    if inspect.isclass(maker):
        return maker
    product = get_type_hints(maker).get("return") if callable(maker) else None
    if not inspect.isclass(product):
        raise ValueError(f"{maker!r} is neither a class nor a function with a class as return annotation")
    return product
