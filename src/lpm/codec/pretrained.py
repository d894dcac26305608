"""Codec weights as one safetensors file that carries its own sizes."""

from __future__ import annotations

from importlib.resources import as_file, files
from importlib.resources.abc import Traversable
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from lpm.codec.tiny import TinyCodec
from lpm.hub import is_repository
from lpm.nn import check_keys, shapes

SIZES = ("channels", "width", "blocks")


def save_codec(codec: TinyCodec, path: str | Path, half: bool = False) -> None:
    """Write weights and sizes to ``path``; ``half`` stores float16, which no picture shows, in half the bytes."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in codec.state_dict().items()}
    if half:
        tensors = {name: value.half() if name not in ("mean", "std") else value for name, value in tensors.items()}
    path = Path(path)
    part = path.with_name(path.name + ".part")
    save_file(tensors, part, metadata={name: str(getattr(codec, name)) for name in SIZES})
    part.replace(path)


def load_codec(path: str | Path) -> TinyCodec:
    """Return the codec stored by ``save_codec``, float32, in evaluation mode.

    ``path`` may also be a folder written by ``TinyCodec.save_pretrained``, or a repository ``owner/name`` of the Hub.

    Raises:
        ValueError: the file is missing or is not a codec's.
        KeysDiffer: it is of a codec that lpm has no more; the message is a table.
    """
    path = Path(path)
    if path.is_dir() or (path.suffix != ".safetensors" and is_repository(str(path))):
        return TinyCodec.from_pretrained(path)
    if not path.is_file():
        raise ValueError(
            f"codec weights {path} do not exist; train them with `lightning fit --config recipes/codec.yaml`"
        )
    try:
        with safe_open(path, framework="pt") as file:
            sizes = {name: int(value) for name, value in (file.metadata() or {}).items() if name in SIZES}
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 - not a dict
    except SafetensorError as error:
        raise ValueError(
            f"codec weights {path} are not a safetensors file ({error}); download or train them again"
        ) from None
    if set(sizes) != set(SIZES):
        raise ValueError(
            f"codec weights {path} lack the sizes {', '.join(SIZES)}; write them with lpm.codec.save_codec"
        )
    codec = TinyCodec(**sizes)
    check_keys(shapes(codec.state_dict()), shapes(tensors), f"{path} is of another version of lpm, train it again")
    codec.load_state_dict(tensors)
    return codec.eval()


def shipped_codec() -> Traversable:
    """Return the file of the codec that ships with the package, which folders of performance models leave out."""
    return files("lpm.codec") / "weights" / "tiny.safetensors"


def tiny_codec(weights: str | Path | None = None, trainable: bool = False) -> TinyCodec:
    """Return the tiny codec with the weights that ship with the package, or with those at ``weights``.

    Frozen unless ``trainable``. See ``weights/tiny.md`` for how they were trained.
    """
    if weights is None:
        with as_file(shipped_codec()) as path:
            codec = load_codec(path)
    else:
        codec = load_codec(weights)
    return codec.requires_grad_(trainable)
