"""A network that is described now and built later, block by block, so that no process ever holds the whole of it."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from lpm.backbone.block import MultiModalAttention
from lpm.backbone.context import Voice
from lpm.backbone.dit import DiT
from lpm.backbone.pretrained import WeightFolder
from lpm.backbone.recompute import RECOMPUTED, recomputed
from lpm.build import locate
from lpm.hub import Spec

Finish = Callable[[nn.Module], Any]
"""What is done with each block, and in the end with the network, as soon as it has its weights."""


class DeferredDiT(nn.Module):
    """Stands for a DiT until ``configure_model`` builds it; costs nothing.

    Args:
        network: builder, such as ``lpm.backbone.lpm_17b``; in a recipe its import path as a plain string.
        weights: folder written by ``lpm weights convert``; a voice of which it has nothing starts fresh and mute. None
            starts everything fresh.
        recompute: every ``recompute``-th block is computed again in the backward pass, see ``recomputed``; 0 for none.
    """

    def __init__(self, network: Callable[[], DiT], weights: str | None = None, recompute: int = 0) -> None:
        super().__init__()
        self.network, self.weights, self.recompute = network, weights, recompute
        self.frozen: tuple[Voice, ...] = ()

    def freeze_voices_(self, voices: Sequence[Voice]) -> None:
        """Do not train what reads these voices in the network that will be built."""
        self.frozen = tuple(voices)

    def on_meta(self) -> DiT:
        """Return the network without storage."""
        with torch.device("meta"):
            network = self.network()
        network.freeze_voices_(self.frozen)
        return recomputed(network, self.recompute) if self.recompute else network

    def build(self, prepare: Callable[[DiT], Any] | None = None, finish: Finish | None = None) -> DiT:
        """Return the network with its weights, on the CPU unless ``finish`` moves its parts.

        Args:
            prepare: called with the network before it has weights.
            finish: called with each block and then with the network, when their weights are there. One that shards
                them keeps the largest block the most that a process holds.

        Raises:
            ValueError: no such folder, or weights that do not fit the network.
        """
        network = self.on_meta()
        folder = None if self.weights is None else WeightFolder(self.weights)
        if folder is not None:
            folder.check(network)
        if prepare is not None:
            prepare(network)
        done: set[nn.Module] = set()
        for prefix, part in [*((f"blocks.{i}", block) for i, block in enumerate(network.blocks)), ("", network)]:
            new = {join(prefix, name): module for name, module in part.named_modules() if module not in done}
            materialise(list(new.values()))
            if folder is not None:
                fill(new, folder)
            done.update(new.values())
            if finish is not None:
                finish(part)
        return network


def join(*names: str) -> str:
    """Return the name under which files hold a part, without the marks of recomputed blocks.

    >>> join("blocks.0", "_checkpoint_wrapped_module.cross", "weight")
    'blocks.0.cross.weight'
    """
    return ".".join(name for name in names if name).replace(f"{RECOMPUTED}.", "").removesuffix(f".{RECOMPUTED}")


def materialise(modules: list[nn.Module]) -> None:
    """Give modules their storage and their initial values, inner ones first.

    Raises:
        ValueError: a module has parameters of its own and no ``reset_parameters``.
    """
    for module in reversed(modules):
        own = [(name, tensor) for name, tensor in module._parameters.items() if tensor is not None]
        for name, tensor in own:
            module._parameters[name] = nn.Parameter(torch.empty_like(tensor, device="cpu"), tensor.requires_grad)
        # of the type, since the wrapper of a recomputed block passes on the block's methods
        reset = getattr(type(module), "reset_parameters", None)
        if reset is not None:
            reset(module)
        elif own:
            raise ValueError(f"{type(module).__name__} cannot be built late; give it a method reset_parameters()")


@torch.no_grad()
def fill(modules: dict[str, nn.Module], folder: WeightFolder) -> None:
    """Copy the weights of modules from a folder; mute audio that it does not have."""
    for module in modules.values():
        if isinstance(module, MultiModalAttention):
            for reader in module.voices:
                reader.zero_value_()
    for prefix, module in modules.items():
        for name, tensor in module.named_parameters(recurse=False):
            if join(prefix, name) in folder.files:
                tensor.copy_(folder.read(join(prefix, name)))


def realise(model: nn.Module) -> None:
    """Build the deferred backbone of a model whose weights will be loaded next, without reading its weights folder."""
    backbone = getattr(model, "backbone", None)
    if isinstance(backbone, DeferredDiT):
        model.backbone = DeferredDiT(backbone.network).build()


def realised_spec(spec: Spec | str) -> Spec:
    """Return the spec of the network that a backbone's spec stands for: what DeferredDiT builds later, or itself.

    >>> realised_spec({"class_path": "lpm.backbone.DeferredDiT", "init_args": {"network": "lpm.backbone.puppet"}})
    {'class_path': 'lpm.backbone.puppet'}
    """
    whole: Spec = {"class_path": spec} if isinstance(spec, str) else spec
    return realised_spec(whole["init_args"]["network"]) if locate(whole["class_path"]) is DeferredDiT else whole
