"""Condition dropout: the null conditions that guidance needs are trained by hiding streams at random."""

import dataclasses

import torch
from torch import Tensor, nn

from lpm.types import Conditions


class ConditionDropout(nn.Module):
    """Hide each stream of each row with its own probability in [0, 1], in training only."""

    def __init__(self, text: float = 0.1, speak: float = 0.1, listen: float = 0.1, references: float = 0.1) -> None:
        super().__init__()
        self.rates = {"text": text, "speak": speak, "listen": listen, "references": references}
        for stream, rate in self.rates.items():
            if not 0 <= rate <= 1:
                raise ValueError(f"dropout of {rate} for {stream} is outside [0, 1]; choose for example 0.1")

    def forward(self, conditions: Conditions, batch: int, generator: torch.Generator | None = None) -> Conditions:
        """Return the conditions with new ``keep`` masks (B,); rows hidden before stay hidden."""
        if not self.training:
            return conditions
        keep = {stream: torch.rand(batch, generator=generator) >= rate for stream, rate in self.rates.items()}
        return dataclasses.replace(conditions, keep=merge_keep(keep, conditions.keep))


def merge_keep(new: dict[str, Tensor], old: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return masks that keep a row only where both keep it."""
    merged = dict(old)
    for stream, mask in new.items():
        merged[stream] = mask & old[stream].to(mask.device) if stream in old else mask
    return merged
