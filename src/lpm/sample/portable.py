"""A performance model's spec and tensors, as someone else can use them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from lpm.hub import Spec, named_files

if TYPE_CHECKING:
    from lpm.sample.performance import PerformanceModel

SHIPPED_CODEC = "lpm.codec.tiny_codec"
ENCODERS = ("text", "speak", "listen")


def portable(model: PerformanceModel, spec: Spec) -> tuple[Spec, dict[str, Tensor]]:
    """Return a spec without the adapter and with as few paths of this machine as can be, and what to store with it.

    A backbone that came from a folder is described by that folder's own spec. The codec that ships with lpm is not
    stored, any other is, with its sizes. Frozen encoders are not stored: they need their folder, vocabulary and all.
    """
    parts = {name: value for name, value in spec["init_args"].items() if name != "adapter"}
    backbone, codec = getattr(model.backbone, "spec", None), getattr(model.codec, "spec", None)
    parts["backbone"] = backbone or parts["backbone"]
    left_out = [name for name in ENCODERS if is_frozen(parts[name])]
    if is_shipped(parts["codec"]):
        left_out.append("codec")
    else:
        parts["codec"] = codec or parts["codec"]
    tensors = {name: t for name, t in model.state_dict().items() if name.partition(".")[0] not in left_out}
    return {**spec, "init_args": parts}, tensors


def is_shipped(codec: Any) -> bool:
    """Tell whether a codec's spec is that of the weights that ship with lpm."""
    if isinstance(codec, str):
        return codec == SHIPPED_CODEC
    return codec["class_path"] == SHIPPED_CODEC and not (codec.get("init_args") or {}).get("weights")


def is_frozen(encoder: Any) -> bool:
    """Tell whether an encoder's spec names weights that were not trained further."""
    if isinstance(encoder, str):
        return False
    return any(named_files(encoder)) and not (encoder.get("init_args") or {}).get("trainable")


def carried(model: PerformanceModel, tensors: Mapping[str, Tensor]) -> Iterator[str]:
    """Yield the parts of a freshly built model that brought their own weights and are not among ``tensors``."""
    for name in ("codec", *ENCODERS):
        frozen = not any(parameter.requires_grad for parameter in getattr(model, name).parameters())
        if frozen and not any(key.startswith(f"{name}.") for key in tensors):
            yield name
