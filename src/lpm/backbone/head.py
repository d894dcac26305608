"""Tokens -> prediction: Wan2.1's linear head, and one that moves pictures."""

import torch
from torch import Tensor, nn

from lpm.backbone.pictures import PLACES, Pictures
from lpm.nn import PatchEmbed
from lpm.ops import modulate


class Head(nn.Module):
    """Tokens -> patches, modulated by the noise level; starts at zero."""

    def __init__(self, embed: PatchEmbed) -> None:
        super().__init__()
        self.modulation = nn.Parameter(torch.empty(2, embed.width))
        self.out = nn.Linear(embed.width, embed.noisy.in_features)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Put the modulation at rest and the output at zero."""
        nn.init.zeros_(self.modulation)
        zero_(self.out)

    def forward(self, x_BLD: Tensor, time_BTD: Tensor, embed: PatchEmbed, pictures: Pictures) -> Tensor:
        """Return the prediction (B, T, C, Y, X) for the tokens of T frames, all of the size of the first frame."""
        return by_frame(self.out(self.modulated(x_BLD, time_BTD)), embed, pictures.first_BCYX)

    def modulated(self, x_BLD: Tensor, time_BTD: Tensor) -> Tensor:
        """Return the tokens (B, L, D) normed, then shifted and scaled by the noise level of their frame."""
        shift, scale = (self.modulation + time_BTD.unsqueeze(2)).unbind(dim=2)
        return modulate(x_BLD, shift, scale)


class MotionHead(nn.Module):
    """Prediction = filtered first frame and references, mixed by the tokens, + gated patches.

    A narrow network cannot carry a picture from its input to its output beside all else it has to think of: what it
    moves turns to texture. Here the content stays outside. Learnt 3 x 3 filters are applied to the clean first frame,
    and each token says how much of each filter's answer to take at its places; a small shift of a picture is such a
    sum. The same is done with the references, whose filters are shared and whose amounts are told apart by their
    places (the back, a smile), so that what the first frame does not show may come from where it is shown. What no
    picture shows, such as teeth, comes from patches, times a gate, so that a token can say that nothing new appears.
    Starts at zero.

    Source: dynamic filter networks (Jia et al. 2016), on latents.

    Args:
        embed: patch embedding; gives width, channels and patch.
        filters: number of filters of the first frame.
        reference_filters: number of filters of the references; the first begins as the identity.
    """

    def __init__(self, embed: PatchEmbed, filters: int = 16, reference_filters: int = 4) -> None:
        super().__init__()
        self.filters, self.reference_filters = filters, reference_filters
        self.new = Head(embed)
        self.gate = nn.Linear(embed.width, 1)
        channels = embed.noisy.in_features // embed.patch**2
        self.filter = nn.Conv2d(channels, filters * channels, 3, padding=1, bias=False)
        self.amount = nn.Linear(embed.width, filters * embed.patch**2)
        self.reference_filter = nn.Conv2d(channels, reference_filters * channels, 3, padding=1, bias=False)
        self.reference_amount = nn.Linear(embed.width, PLACES * reference_filters * embed.patch**2)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Let nothing move and nothing new appear."""
        zero_(self.gate)
        zero_(self.amount)
        zero_(self.reference_amount)
        nn.init.dirac_(self.reference_filter.weight[: self.reference_filter.in_channels])

    def forward(self, x_BLD: Tensor, time_BTD: Tensor, embed: PatchEmbed, pictures: Pictures) -> Tensor:
        """Return the prediction (B, T, C, Y, X) for the tokens of T frames, all of the size of the first frame."""
        first_BCYX, others_BRCYX, place_BR = pictures
        x_BLD = self.new.modulated(x_BLD, time_BTD)
        new_BLC = self.new.out(x_BLD) * (2 * self.gate(x_BLD).sigmoid())
        amount_BTKYX = by_frame(self.amount(x_BLD), embed, first_BCYX)
        made = by_frame(new_BLC, embed, first_BCYX) + mixed(amount_BTKYX, self.filter(first_BCYX))
        if not others_BRCYX.shape[1]:
            return made
        amount_BLPK = self.reference_amount(x_BLD).unflatten(-1, (PLACES, -1))
        amount_BLRK = amount_BLPK.take_along_dim(place_BR[:, None, :, None], dim=2)
        answers = self.reference_filter(others_BRCYX.flatten(0, 1)).unflatten(0, others_BRCYX.shape[:2])
        return made + mixed(by_frame(amount_BLRK.flatten(2), embed, first_BCYX), answers.flatten(1, 2))


def mixed(amount_BTKYX: Tensor, answers: Tensor) -> Tensor:
    """Return the sum of the answers of K filters, (B, K C, Y, X), in the amounts of each place: (B, T, C, Y, X)."""
    answers_BKCYX = answers.unflatten(1, (amount_BTKYX.shape[2], -1))
    return torch.einsum("btkyx,bkcyx->btcyx", amount_BTKYX, answers_BKCYX)


def by_frame(patches_BLC: Tensor, embed: PatchEmbed, like_BCYX: Tensor) -> Tensor:
    """Join patches to frames of the size of ``like_BCYX``: (B, T, C, Y, X)."""
    height, width = like_BCYX.shape[-2:]
    tokens = (height // embed.patch) * (width // embed.patch)
    return embed.join(patches_BLC.unflatten(1, (-1, tokens)), height)


def zero_(linear: nn.Linear) -> None:
    """Make the weights and biases of a linear layer zero."""
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
