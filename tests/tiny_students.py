"""A causal student around the network of tiny_streams, with all that the stages of distillation ask of a model."""

from dataclasses import replace
from types import SimpleNamespace

import torch

from lpm.codec import TinyCodec
from lpm.flow import PredictVelocity, Residual
from tiny_streams import causal, clip


def tiny_student(**settings):
    """The parts of a PerformanceModel; chunks of 2 latent frames."""
    backbone = causal(**settings)
    torch.manual_seed(2)
    codec = TinyCodec(channels=4, width=8, blocks=1).double().requires_grad_(False).eval()
    for parameter in codec.parameters():  # fresh branches add nothing
        parameter.data += 0.05 * torch.randn_like(parameter)
    return SimpleNamespace(backbone=backbone, codec=codec, prediction=PredictVelocity(), coordinates=Residual(0.5))


def hidden_somewhere(frames, **settings):
    """Latents and conditions of a clip; row 1 lacks every stream, so that null tokens are read, too."""
    latents, _, conditions = clip(frames, **settings)
    hidden = {stream: torch.tensor([True, False]) for stream in ("text", "speak", "listen")}
    return latents, replace(conditions, keep=hidden)


def without_gradient(network):
    """Names of the parameters that have no gradient, or a zero one."""
    return [name for name, x in network.named_parameters() if x.grad is None or not x.grad.abs().sum() > 0]
