"""umT5, the text encoder of Wan2.1, and other T5 encoders of transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lpm.condition.loading import load_whole
from lpm.types import TextFeatures


class PretrainedText(nn.Module):
    """Prompts -> tokens of a frozen T5 encoder, padded with zeros to a fixed length.

    Wan2.1 reads the padding, too, so the mask is True everywhere. Source: Wan2.1's text-to-video pipeline.

    Args:
        weights: local folder in transformers' format with its tokenizer, or a diffusers model with the folders
            ``text_encoder`` and ``tokenizer``; nothing is downloaded.
        length: tokens of every prompt; 512 in Wan2.1.
        half: keep the weights in bfloat16: umT5-XXL's 5.7 B parameters take 11 GB.

    Raises:
        ValueError: no such folder, or another kind of model.
        KeysDiffer: the folder lacks weights, or has some of another shape; the message is a table of every one.
    """

    def __init__(self, weights: str | Path, length: int = 512, half: bool = False) -> None:
        super().__init__()
        from transformers import AutoConfig, AutoTokenizer, T5EncoderModel, UMT5EncoderModel

        root = Path(weights)
        inside = (root / "text_encoder" / "config.json").is_file()
        folder, words = (root / "text_encoder", root / "tokenizer") if inside else (root, root)
        if not (folder / "config.json").is_file():
            raise ValueError(f"{root} holds no config.json; give the folder of a text encoder saved by transformers")
        kind = AutoConfig.from_pretrained(folder, local_files_only=True).model_type
        classes: dict[str, Any] = {"umt5": UMT5EncoderModel, "t5": T5EncoderModel}
        if kind not in classes:
            raise ValueError(f"{folder} is a {kind}; text encoders are {', '.join(classes)}")
        dtype = torch.bfloat16 if half else torch.float32
        self.network = load_whole(classes[kind], folder, dtype=dtype)
        self.tokenizer = AutoTokenizer.from_pretrained(words, local_files_only=True)
        self.width, self.length = int(self.network.config.d_model), length
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> PretrainedText:
        """Stay in evaluation mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, text: list[str]) -> TextFeatures:
        """Return tokens (B, length, D), zero after each prompt's end, and a mask that is True everywhere.

        Raises:
            ValueError: a prompt is longer than ``length`` tokens.
        """
        device = next(self.network.parameters()).device
        plain = [" ".join(row.split()) for row in text]
        found = self.tokenizer(plain, padding="longest", return_tensors="pt")
        ids_BL, real_BL = found.input_ids.to(device), found.attention_mask.to(device)
        if ids_BL.shape[1] > self.length:
            raise ValueError(f"prompt of {ids_BL.shape[1]} tokens is above the limit of {self.length}; shorten it")
        tokens = self.network(ids_BL, real_BL).last_hidden_state * real_BL[..., None]
        padded: Tensor = tokens.new_zeros(len(text), self.length, self.width)
        padded[:, : tokens.shape[1]] = tokens
        return TextFeatures(padded, torch.ones(len(text), self.length, dtype=torch.bool, device=device))
