"""``save_pretrained``, ``from_pretrained``, ``push_to_hub``: functions that a model's class takes as its methods."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol, TypeVar, runtime_checkable

from torch import Tensor, nn

from lpm.build import build
from lpm.hub.card import CARD, Card, write_card
from lpm.hub.folder import Spec, read_spec, read_tensors, write_folder
from lpm.hub.remote import fetch, push_folder
from lpm.nn import check_keys, shapes

Part = TypeVar("Part", bound=nn.Module)


@runtime_checkable
class Shareable(Protocol):
    """What a class tells of itself to be shared."""

    spec: Spec | None
    """What this object was built from, if that is known."""
    pipeline_tag: str
    """The Hub's name of what it does."""

    def shared(self, spec: Spec) -> tuple[Spec, dict[str, Tensor]]:
        """Return the spec as others can build it, and the tensors to share with it."""
        ...

    def load_shared(self, tensors: Mapping[str, Tensor]) -> None:
        """Load the tensors that ``shared`` gave; ValueError if they do not fit."""
        ...


def save_pretrained(
    part: Any, folder: Path | str, spec: Spec | None = None, card: Card | None = None, shard: str = "5GB"
) -> None:
    """Write a model as a folder: ``config.json``, safetensors and a card; a ``README.md`` that is there stays.

    Args:
        part: the model.
        folder: to write into.
        spec: what the model was built from, ``{"class_path": ..., "init_args": ...}``; what the model knows if None.
        card: what is to be said of it.
        shard: the largest file; larger models are split.

    Raises:
        ValueError: the spec is not known.
    """
    known = spec or part.spec
    if known is None:
        raise ValueError(
            f"this {type(part).__name__} does not know what it was built from; give spec={{'class_path': ..., "
            "'init_args': ...}, or use `lpm weights export` on a checkpoint"
        )
    known, tensors = part.shared(known)
    write_folder(tensors, known, folder, shard)
    if card is not None or not (Path(folder) / CARD).is_file():
        kind = public_path(type(part))
        write_card(card or Card(), folder, kind, part.pipeline_tag, how_to_load(kind), known)


def from_pretrained(kind: type[Part], source: Path | str, revision: str | None = None) -> Part:
    """Build a model from a folder, or from a repository of the Hub, in evaluation mode.

    Args:
        kind: the class.
        source: folder, or ``owner/name``.
        revision: branch, tag or commit of a repository.

    Raises:
        ValueError: no such folder or repository, another kind of model, or weights that do not fit their spec. A
            repository may name classes of lpm only, since building a class runs it; a folder may name any.
    """
    folder = fetch(source, revision)
    spec = read_spec(folder, only_lpm=not Path(source).is_dir())
    tensors = read_tensors(folder)
    part = build(spec)
    if not isinstance(part, kind):
        raise ValueError(f"{source} holds a {type(part).__name__}, not a {kind.__name__}; load it with that class")
    assert isinstance(part, Shareable)
    part.load_shared(tensors)
    part.spec = spec
    return part.eval()


def push_to_hub(
    part: Any,
    repository: str,
    spec: Spec | None = None,
    card: Card | None = None,
    private: bool | None = None,
    message: str = "Add model",
) -> str:
    """Upload a model into a repository ``owner/name`` of the Hub; return the commit's address.

    Arguments as in ``save_pretrained`` and ``push_folder``.
    """
    with TemporaryDirectory() as folder:
        save_pretrained(part, folder, spec, card)
        return push_folder(folder, repository, private, message)


def check_fit(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """Raise ``lpm.nn.KeysDiffer`` with a table of all names that are missing, unknown or of another shape."""
    what = "weights do not fit the spec, use the config.json they were saved with"
    check_keys(shapes(expected), shapes(found), what)


def share_all(part: nn.Module, spec: Spec) -> tuple[Spec, dict[str, Tensor]]:
    """Return the spec as it is and every tensor."""
    return spec, part.state_dict()


def load_fitting(part: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Load all tensors of a module; ValueError if they do not fit."""
    check_fit(part.state_dict(), tensors)
    part.load_state_dict(tensors)


def public_path(kind: type) -> str:
    """Return a class as users import it, from its package.

    >>> public_path(nn.Linear)
    'torch.nn.modules.Linear'
    """
    return f"{kind.__module__.rpartition('.')[0]}.{kind.__name__}"


def how_to_load(kind: str) -> str:
    """Return the Python that loads a shared model of a class."""
    package, _, name = kind.rpartition(".")
    return f'from {package} import {name}\n\nmodel = {name}.from_pretrained("owner/name")  # or the folder'
