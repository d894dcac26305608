"""Models of transformers, no tensor of which is drawn at random because their files lack it."""

from pathlib import Path
from typing import Any

from lpm.nn import check_keys, shapes


def load_whole(kind: Any, folder: Path, spare: tuple[str, ...] = (), **settings: Any) -> Any:
    """Return a model whose tensors all come from a local folder; transformers would draw what is missing, and log it.

    Tensors in the folder that the model has no place for, such as heads, are left out.

    Args:
        kind: class with ``from_pretrained``.
        folder: in transformers' format.
        spare: beginnings of keys that may be missing, since nothing reads them.
        settings: further arguments of ``from_pretrained``.

    Raises:
        KeysDiffer: tensors are missing or misshapen; the message is a table of every one.
    """
    model, report = kind.from_pretrained(
        folder, local_files_only=True, output_loading_info=True, ignore_mismatched_sizes=True, **settings
    )
    needed = {name: shape for name, shape in shapes(model.state_dict()).items() if not name.startswith(spare)}
    found = {name: shape for name, shape in needed.items() if name not in report["missing_keys"]}
    found |= {name: has for name, has, _ in report["mismatched_keys"] if name in needed}
    check_keys(needed, found, f"weights of {folder}")
    return model
