"""Low-rank adapters of the DiT, by PEFT: few numbers that adapt large weights, kept apart from them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lpm.backbone.recompute import plain_blocks
from lpm.hub import Card, fetch, is_repository, write_card
from lpm.hub.trust import is_of_lpm
from lpm.nn import KeysDiffer, check_keys, shapes

if TYPE_CHECKING:
    from lpm.sample.performance import PerformanceModel

# Every linear layer of a block.
LAYERS: tuple[str, ...] = ("attention.qkv", "attention.out", "cross.query", "cross.text.key_value", "cross.text.out")
LAYERS += ("cross.audio.key_value", "cross.audio.out", "feed_forward.0", "feed_forward.2")
ADAPTER_CONFIG = "adapter_config.json"
WRAPPERS = ("base_model.model.", "base_layer.", "original_module.", "modules_to_save.default.")  # PEFT's


class LoRA:
    """Adapt linear layers by products of two thin matrices: ``W x + alpha / rank B A x``; only A and B are trained.

    Source: Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models"; PEFT's implementation.

    Args:
        rank: width between the two matrices.
        alpha: scale of what they add; the rank if None.
        targets: ends of the names of layers, such as ``attention.qkv``; every linear layer of the blocks if None.
        train: parts of the DiT to train and store whole, such as ``speak``, ``listen`` and ``head``.
        dropout: share of a layer's inputs that the adapter misses in training.
    """

    def __init__(
        self,
        rank: int = 16,
        alpha: float | None = None,
        targets: list[str] | None = None,
        train: list[str] | None = None,
        dropout: float = 0.0,
    ) -> None:
        if rank < 1:
            raise ValueError(f"rank of {rank} is below 1; choose 8 or 16")
        self.rank, self.alpha, self.dropout = rank, float(rank if alpha is None else alpha), dropout
        self.targets, self.train = list(targets or LAYERS), list(train or [])

    def adapt(self, backbone: nn.Module) -> nn.Module:
        """Return the network with adapters that change nothing yet; all else of it is frozen.

        Raises:
            ValueError: a target or a part to train is none of the network's.
        """
        import peft

        config = peft.LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,  # type: ignore[arg-type]
            lora_dropout=self.dropout,
            target_modules=self.targets,
            modules_to_save=self.train or None,
        )
        with plain_blocks(backbone):
            self.check_names([name for name, _ in backbone.named_modules()])
            return peft.get_peft_model(backbone, config)  # type: ignore[arg-type]

    def check_names(self, names: list[str]) -> None:
        """Raise ValueError unless every target and part to train is the end of a module's name."""
        for asked in (*self.train, *(self.targets if tuple(self.targets) != LAYERS else ())):
            if not any(name == asked or name.endswith(f".{asked}") for name in names):
                raise ValueError(f"no layer of the network is named {asked}; layers are named like {', '.join(LAYERS)}")


def is_adapted(backbone: nn.Module) -> bool:
    """Tell whether a network has adapters."""
    return hasattr(backbone, "peft_config")


def is_adapter(source: Path) -> bool:
    """Tell whether a folder holds an adapter in PEFT's format."""
    return (source / ADAPTER_CONFIG).is_file()


def plain_name(name: str) -> str:
    """Return the name that a tensor of an adapted network has without adapters.

    >>> plain_name("base_model.model.blocks.0.attention.qkv.base_layer.weight")
    'blocks.0.attention.qkv.weight'
    """
    for wrapper in WRAPPERS:
        name = name.replace(wrapper, "")
    return name


def at_rest(model: nn.Module, plain: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors of a plain model under an adapted model's names, with adapters that change nothing.

    Tensors that ``plain`` does not have are left out; unknown ones keep their names.
    """
    state = {name: tensor for name, tensor in model.state_dict().items() if name.startswith("backbone.")}
    tensors = {name: plain[plain_name(name)] for name in state if plain_name(name) in plain}
    adapters = {name: tensor for name, tensor in state.items() if ".lora_" in name}
    tensors |= {name: torch.zeros_like(t) if ".lora_B." in name else t for name, t in adapters.items()}
    used = {plain_name(name) for name in tensors}
    return tensors | {name: tensor for name, tensor in plain.items() if name not in used}


def is_at_rest(backbone: nn.Module) -> bool:
    """Tell whether adapters change nothing: B is zero, and parts that are trained whole equal their originals."""
    state = backbone.state_dict()
    zero = all(not tensor.any() for name, tensor in state.items() if ".lora_B." in name)
    copies = {name: name.replace("modules_to_save.default.", "original_module.") for name in state}
    return zero and all(torch.equal(state[name], state[original]) for name, original in copies.items())


def save_adapter(model: PerformanceModel, folder: Path | str, base: str | None, card: Card | None = None) -> None:
    """Write a model's adapter in PEFT's own format, with a card.

    Args:
        model: an adapted one.
        folder: to write ``adapter_config.json`` and ``adapter_model.safetensors`` into.
        base: the weights that were adapted: a repository, a folder, a checkpoint or the path of a builder.
        card: what is to be said of it.

    Raises:
        ValueError: the model has no adapter, or it is in modules that PEFT does not see through.
    """
    network: Any = model.backbone
    if not is_adapted(network):
        raise ValueError("the model has no adapter; train it with recipes/overlay/lora.yaml, or export the whole model")
    import peft

    network.peft_config["default"].base_model_name_or_path = base
    with plain_blocks(network):
        if not peft.get_peft_model_state_dict(network, save_embedding_layers=False):
            raise ValueError("PEFT finds no tensor of the adapter; take its layers out of modules that wrap them")
        network.save_pretrained(str(folder), save_embedding_layers=False)
    load = "from lpm.sample import load_adapter, load_performance\n\n"
    load += f'model = load_adapter(load_performance("{base or "owner/base"}"), "owner/name")  # or the folder'
    write_card(card or Card(base=base), folder, "lpm.sample.LoRA", model.pipeline_tag, load, library="peft")


def load_adapter(model: PerformanceModel, source: Path | str, merge: bool = True) -> PerformanceModel:
    """Put an adapter onto a model, in place, and return it.

    Args:
        model: the base that the adapter was trained on.
        source: folder in PEFT's format, or a repository ``owner/name`` of the Hub.
        merge: add it to the weights, as fast as without; False keeps it apart, in evaluation mode.

    Raises:
        ValueError: no adapter there, or one of another kind of network.
        KeysDiffer: tensors are missing, unknown or misshapen; the message is a table of every one.
    """
    folder = adapter_folder(source)
    with plain_blocks(model.backbone):
        model.backbone = fit_adapter(model.backbone, folder, source)
    return merge_adapter(model) if merge else model.eval()


def fit_adapter(network: nn.Module, folder: Path, source: Path | str) -> nn.Module:
    """Return a network with the adapter of a folder, or leave it as it is and raise ValueError.

    The steps of ``PeftModel.from_pretrained``, which warns at most where some tensors do not fit.
    """
    import peft

    try:
        config = peft.PeftConfig.from_pretrained(str(folder))
        config.inference_mode = True
        found = peft.load_peft_weights(str(folder), device="cpu")
        adapted = peft.PeftModel(network, config)  # type: ignore[arg-type]
    except ValueError as error:
        first = str(error).strip().splitlines()[0]
        raise ValueError(f"adapter {source} does not fit this model ({first}); give the model it was made on") from None
    needed = peft.get_peft_model_state_dict(adapted, save_embedding_layers=False)
    what = f"adapter {source} does not fit this model, give the model it was made on"
    try:
        check_keys(shapes(needed), shapes(found), what)
    except KeysDiffer:
        adapted.unload()
        raise
    adapted.load_adapter(str(folder), "default")
    return adapted


def merge_adapter(model: PerformanceModel) -> PerformanceModel:
    """Add a model's adapter to its weights, in place, and return the model, plain again and in evaluation mode."""
    network: Any = model.backbone
    model.backbone = network.merge_and_unload(safe_merge=True)
    return model.eval()


def base_of(source: Path | str) -> str | None:
    """Return the weights that an adapter was trained on, as its configuration names them.

    Raises:
        ValueError: no adapter there, or one of the Hub that names neither a repository nor a builder of lpm.
    """
    base = json.loads((adapter_folder(source) / ADAPTER_CONFIG).read_text()).get("base_model_name_or_path") or None
    if base and not Path(source).is_dir() and not is_repository(base) and not is_of_lpm(base):
        raise ValueError(
            f"adapter {source} is of {base}, which is neither a repository nor a builder of lpm and could run code of "
            "its own; give the weights yourself if you trust them"
        )
    return base


def adapter_folder(source: Path | str) -> Path:
    """Return the folder of an adapter or of a repository that holds one; ValueError if it does not."""
    folder = fetch(source)
    if not is_adapter(folder):
        raise ValueError(f"{source} holds no {ADAPTER_CONFIG}; give an adapter in PEFT's format")
    return folder
