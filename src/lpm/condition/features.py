"""What an image network sees in a picture: reference features of real people, whom the puppets' reader cannot read."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize


class ImageFeatures(nn.Module):
    """Features of pictures by a network of timm, of length 1.

    They serve ``lpm.metric``'s identity metrics in place of the identity that is read from puppets. timm is imported on
    use.

    Args:
        name: timm's name of the architecture, such as ``vit_small_patch14_dinov2.lvd142m``.
        weights: file of its weights, safetensors or PyTorch; random weights if None, which is for tests. Nothing is
            downloaded.

    Raises:
        ValueError: timm knows no such architecture.
        FileNotFoundError: no file is at ``weights``.
    """

    def __init__(self, name: str, weights: str | Path | None = None) -> None:
        super().__init__()
        import timm

        if not timm.is_model(name):
            near = ", ".join(get_close_matches(name, timm.list_models())) or "what timm.list_models() shows"
            raise ValueError(f"timm has no model {name!r}; it has {near}")
        if weights is not None and not Path(weights).is_file():
            raise FileNotFoundError(f"no weights of {name} at {weights}; save a model's state_dict there")
        path = "" if weights is None else str(weights)
        self.network = timm.create_model(name, num_classes=0, checkpoint_path=path).eval().requires_grad_(False)
        settings = timm.data.resolve_model_data_config(self.network)
        self.size: tuple[int, int] = settings["input_size"][1:]
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("mean", torch.tensor(settings["mean"])[:, None, None], persistent=False)
        self.register_buffer("deviation", torch.tensor(settings["std"])[:, None, None], persistent=False)

    @torch.no_grad()
    def forward(self, pictures_BCHW: Tensor) -> Tensor:
        """Return the features (B, N) of RGB pictures in [-1, 1], which are resized to the network's size."""
        pictures = interpolate(pictures_BCHW, self.size, mode="bicubic", antialias=True, align_corners=False)
        return normalize(self.network(((pictures + 1) / 2 - self.mean) / self.deviation), dim=-1)
