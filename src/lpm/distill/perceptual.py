"""How different two clips look: distances in the features of a network that sees pixels."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from lpm.types import Codec


class Perceptual(Protocol):
    """A distance between clips, per latent frame."""

    def forward(self, codec: Codec, made_BTCYX: Tensor, wanted_BTCYX: Tensor) -> Tensor:
        """Return (B, T) for codec latents; the gradient goes to ``made_BTCYX``."""
        ...


class CodecDistance(nn.Module):
    """Mean squared distance of unit features inside the codec's own encoder, on decoded pixels.

    Needs no weights but the codec's, which must code latent frames side by side, as ``lpm.codec.TinyCodec`` does.
    Features are scaled to unit length per place, as in LPIPS, whose learnt weights it lacks.

    Args:
        layers: names of the codec's modules whose outputs are compared; of ``lpm.codec.TinyCodec`` by default.
    """

    def __init__(self, layers: Sequence[str] = ("encoder.at_quarter", "encoder.at_eighth")) -> None:
        super().__init__()
        self.layers = tuple(layers)

    def forward(self, codec: Codec, made_BTCYX: Tensor, wanted_BTCYX: Tensor) -> Tensor:
        """Return the distance of each latent frame, (B, T)."""
        batch, frames = made_BTCYX.shape[:2]
        made = self.features(codec, codec.decode(made_BTCYX))
        with torch.no_grad():
            wanted = self.features(codec, codec.decode(wanted_BTCYX))
        errors = [(unit(a) - unit(b)).square().sum(dim=1).mean(dim=(-2, -1)) for a, b in zip(made, wanted)]
        if any(error.numel() != batch * frames for error in errors):
            raise ValueError(f"{type(codec).__name__} does not code its latent frames side by side; use LpipsDistance")
        return torch.stack([error.reshape(batch, frames) for error in errors]).mean(dim=0)

    def features(self, codec: Codec, video_BTCHW: Tensor) -> list[Tensor]:
        """Return the outputs of the layers, each (B T, C, Y, X) for T latent frames.

        Raises:
            ValueError: the codec has no such layer.
        """
        assert isinstance(codec, nn.Module)
        with outputs(codec, self.layers) as found:
            codec.encode(video_BTCHW)
        return found


class LpipsDistance(nn.Module):
    """LPIPS with VGG16, on decoded pixels.

    The learnt weights of the distance come with torchmetrics; those of VGG16 do not, and nothing is downloaded.

    Args:
        weights: file of torchvision's VGG16 (``vgg16-397923af.pth``, or safetensors with the same names).

    Source: Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric".
    """

    def __init__(self, weights: str) -> None:
        super().__init__()
        from torchmetrics.functional.image.lpips import _LPIPS

        self.network = _LPIPS(net="vgg", pnet_rand=True).requires_grad_(False).eval()
        load_vgg(self.network.net, weights)

    def train(self, mode: bool = True) -> "LpipsDistance":
        """Stay in evaluation mode."""
        return super().train(False)

    def forward(self, codec: Codec, made_BTCYX: Tensor, wanted_BTCYX: Tensor) -> Tensor:
        """Return the distance of each latent frame, the mean of its video frames': (B, T)."""
        made, wanted = codec.decode(made_BTCYX), codec.decode(wanted_BTCYX).detach()
        distance_BT = self.network(made.flatten(0, 1), wanted.flatten(0, 1)).reshape(made.shape[:2])
        later = distance_BT[:, 1:].unflatten(1, (-1, codec.stride_t)).mean(dim=2)
        return torch.cat([distance_BT[:, :1], later], dim=1)


def unit(features_NCYX: Tensor) -> Tensor:
    """Scale the features of each place to unit length."""
    return features_NCYX / features_NCYX.square().sum(dim=1, keepdim=True).add(1e-8).sqrt()


@contextmanager
def outputs(module: nn.Module, names: Sequence[str]) -> Iterator[list[Tensor]]:
    """Collect what the named parts of a module return while the context is open."""
    found: list[Tensor] = []
    try:
        parts = [module.get_submodule(name) for name in names]
    except AttributeError as error:
        raise ValueError(f"{type(module).__name__} has no layer to compare: {error}; name others in layers") from None
    hooks = [part.register_forward_hook(lambda _, __, output: found.append(output)) for part in parts]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def load_vgg(network: nn.Module, weights: str) -> None:
    """Load torchvision's VGG16 into the slices of LPIPS; ValueError if the file is not that."""
    path = Path(weights)
    if not path.is_file():
        raise ValueError(f"weights {path} are missing; give torchvision's VGG16, or use lpm.distill.CodecDistance")
    safe = path.suffix == ".safetensors"
    found = load_file(path) if safe else torch.load(path, map_location="cpu", weights_only=True)
    own = network.state_dict()
    wanted = {name: f"features.{name.partition('.')[2]}" for name in own}  # slice2.5.weight is features.5.weight
    wrong = [name for ours, name in wanted.items() if name not in found or found[name].shape != own[ours].shape]
    if wrong:
        raise ValueError(
            f"{path} is not torchvision's VGG16: {wrong[0]} is missing or of another shape; fetch it again"
        )
    network.load_state_dict({ours: found[name] for ours, name in wanted.items()})
