"""Which tensors of a performance model are its own, and loading them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict

from lpm.hub import check_fit
from lpm.sample.adapter import at_rest, is_adapted

if TYPE_CHECKING:
    from lpm.sample.performance import PerformanceModel


def own_weights(model: PerformanceModel) -> dict[str, Tensor]:
    """Return the model's tensors without the codec's, which are shared by all models and travel with the codec."""
    return {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("codec.")}


def load_weights(model: PerformanceModel, tensors: Mapping[str, Tensor]) -> None:
    """Load all own weights of a model; ValueError names the keys that are missing, unexpected or of another shape.

    Weights of a plain model make an adapted one equal to it: its adapters change nothing afterwards.
    """
    if is_adapted(model.backbone) and not any(".lora_" in name for name in tensors):
        tensors = at_rest(model, tensors)
    check_fit(own_weights(model), tensors)
    set_model_state_dict(model, dict(tensors), options=StateDictOptions(full_state_dict=True, strict=False))
