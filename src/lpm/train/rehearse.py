"""A training step without memory: fake tensors go through the real network, and their bytes are counted."""

from __future__ import annotations

import weakref
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from torch.utils.weak import WeakIdKeyDictionary

from lpm.backbone import DiT
from lpm.backbone.context_parallel import share_sequence
from lpm.backbone.cost import ClipShape
from lpm.types import AudioFeatures, Conditions, References, TextFeatures


class Alive(TorchDispatchMode):
    """Count the bytes of tensors that operations make, as long as they live.

    Finished gradients of parameters are counted apart, at 4 bytes a number times ``share``: float32, of which a
    sharded process keeps a part.

    Attributes:
        gradients: bytes of the gradients that are kept.
        peak: most bytes at one time, these included.
    """

    def __init__(self, network: nn.Module, share: float = 1.0) -> None:
        super().__init__()
        self.share, self.bytes, self.gradients, self.peak = share, 0, 0.0, 0.0
        self.seen: WeakIdKeyDictionary = WeakIdKeyDictionary()
        for parameter in network.parameters():
            self.seen[parameter.untyped_storage()] = [0]
            parameter.register_post_accumulate_grad_hook(self.finish)

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        tree_map_only(Tensor, self.note, result)
        return result

    def note(self, tensor: Tensor) -> None:
        """Count a tensor's storage once, until it dies."""
        storage = tensor.untyped_storage()
        if storage in self.seen:
            return
        size = [storage.nbytes()]
        self.seen[storage] = size
        weakref.finalize(storage, self.free, size)
        self.bytes += size[0]
        self.peak = max(self.peak, self.bytes + self.gradients)

    def free(self, size: list[int]) -> None:
        """Take a dead storage off the count."""
        self.bytes -= size[0]

    def finish(self, parameter: Tensor) -> None:
        """Count a finished gradient apart, and let its tensor go."""
        assert parameter.grad is not None
        self.gradients += 4 * self.share * parameter.grad.numel()
        parameter.grad = None
        self.peak = max(self.peak, self.bytes + self.gradients)


@dataclass(frozen=True)
class Mode:
    """How a step is done.

    Attributes:
        half: in bfloat16 by autocast, as ``precision: bf16-mixed``.
        sharded: weights are gathered in the precision in which they are used, and gradients kept as shards.
        share: part of the gradients that a process keeps.
        context: processes that share a clip.
        accumulate: gradients of several batches are summed, so that they stay where they are.
    """

    half: bool = False
    sharded: bool = False
    share: float = 1.0
    context: int = 1
    accumulate: bool = False


def rehearse(network: DiT, clip: ClipShape, mode: Mode) -> tuple[float, float]:
    """Return the most bytes that activations, gradients and temporary tensors take, forward and then backward.

    Weights are not included. Lightning drops the gradients of the step before between the two.
    ``network`` must have been built under the ``FakeTensorMode`` in which this is called; it is changed.
    """
    if mode.half and mode.sharded:
        halve(network)
    if mode.context > 1:
        share_sequence(network, mode.context, 0, lambda x: x)
    noisy, t, conditions = fake_inputs(network, clip)
    alive = Alive(network, mode.share)
    alive.gradients = 4 * mode.share * sum(parameter.numel() for parameter in network.parameters())
    with alive, torch.autocast("cpu", torch.bfloat16) if mode.half else nullcontext():
        error = network(noisy, t, conditions, clip.fps).float() - noisy
        loss = error.square().mean()
    forward, alive.peak = alive.peak, 0.0
    if mode.accumulate:
        alive.share = 0.0  # what is finished is added to what is there
    else:
        alive.gradients = 0.0
    with alive:
        del error
        loss.backward()
    return forward, alive.peak


def halve(network: nn.Module) -> None:
    """Give a network new bfloat16 parameters; ``.bfloat16()`` cannot replace fake ones in place."""
    for module in network.modules():
        for name, tensor in module._parameters.items():
            if tensor is not None:
                module._parameters[name] = nn.Parameter(tensor.detach().bfloat16())


def fake_inputs(network: DiT, clip: ClipShape) -> tuple[Tensor, Tensor, Conditions]:
    """Return latents, noise levels and conditions of a clip's shape."""
    batch, kinds = clip.batch, torch.zeros(clip.batch, clip.references, dtype=torch.long)
    channels = network.embed.noisy.in_features // network.embed.patch**2
    picture = (channels, clip.height, clip.width)

    def audio(part: nn.Module | None, rate: float) -> AudioFeatures | None:
        if part is None:
            return None
        return AudioFeatures(torch.zeros(batch, clip.audio, linear_width(part)), rate, -clip.history)

    text = TextFeatures(torch.zeros(batch, clip.text, linear_width(network.text)), kinds.new_ones(batch, clip.text) > 0)
    references = References(kinds, kinds, kinds == 0, latents_BRCYX=torch.zeros(batch, clip.references, *picture))
    conditions = Conditions(
        audio(network.speak, clip.rates[0]),
        audio(network.listen, clip.rates[1]),
        text,
        references if clip.references else None,
    )
    return torch.zeros(batch, clip.frames, *picture), torch.zeros(batch, clip.frames), conditions


def linear_width(part: nn.Module) -> int:
    """Return the width of what a part of the network reads."""
    return next(layer.in_features for layer in part.modules() if isinstance(layer, nn.Linear))


__all__ = ["FakeTensorMode", "Mode", "fake_inputs", "rehearse"]
