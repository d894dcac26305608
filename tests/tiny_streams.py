"""A causal network at tiny size in float64, clips for it, and the same clips as a stream."""

from dataclasses import replace

import torch

from lpm.backbone import CausalDiT, puppet
from lpm.types import AudioFeatures, Conditions, References, TextFeatures

FPS, STRIDE = 24.0, 4
SPEAK, LISTEN = 48.0, 12.0  # whole numbers of tokens in a latent frame


def dit(depth=3, anchor=True, summary=2):
    """A network whose weights are nowhere at their start, so that nothing is zero by construction."""
    torch.manual_seed(0)
    network = puppet(4, 12, depth, 2, 8, 8, anchor, summary, SPEAK, LISTEN).double()
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return network


def causal(chunk=2, sink=1, window=2, depth=3, anchor=True, summary=2, **settings):
    """The same network, streaming."""
    return CausalDiT(dit(depth, anchor, summary), chunk, sink, window, **settings)


def clip(frames, batch=2, size=(4, 4), references=2, seed=1):
    """Latents, noise levels and conditions of a clip; row 1 lacks its last reference."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    conditions = Conditions(
        speak=AudioFeatures(normal(batch, 24 + 8 * frames + 48, 8), SPEAK, -0.5),
        listen=AudioFeatures(normal(batch, 30 + 2 * frames + 12, 8), LISTEN, -2.5),
        text=TextFeatures(normal(batch, 3, 8), torch.ones(batch, 3, dtype=torch.bool)),
    )
    if references:
        mask = torch.ones(batch, references, dtype=torch.bool)
        mask[1:, -1] = False
        kinds = torch.arange(references).expand(batch, -1) % 3
        latents = normal(batch, references, 4, *size)
        conditions.references = References(kinds, torch.zeros_like(kinds), mask, latents_BRCYX=latents)
    t = torch.rand(batch, frames, generator=generator, dtype=torch.float64)
    t[:, 0] = 0
    return normal(batch, frames, 4, *size), t, conditions


def at(conditions, chunk, frames):
    """The conditions of a clip as its chunk of the given index hears them."""
    seconds = chunk * frames * STRIDE / FPS

    def later(audio):
        return audio and replace(audio, start=audio.start - seconds)

    return replace(conditions, speak=later(conditions.speak), listen=later(conditions.listen))


def row(conditions, index):
    """The conditions of one row."""
    pick = slice(index, index + 1)

    def audio(x):
        return x and replace(x, tokens_BAD=x.tokens_BAD[pick])

    text, references = conditions.text, conditions.references
    return Conditions(
        audio(conditions.speak),
        audio(conditions.listen),
        text and TextFeatures(text.tokens_BLD[pick], text.mask_BL[pick]),
        references
        and References(
            references.kind_BR[pick],
            references.sub_kind_BR[pick],
            references.mask_BR[pick],
            latents_BRCYX=references.latents_BRCYX[pick],
        ),
    )


def together(conditions, chunks, frames):
    """The conditions of a clip as its rows hear them, each at a chunk of its own, one second ahead."""

    def cut(audio):
        size = round(audio.rate * (1 + frames * STRIDE / FPS - audio.start))
        firsts = [round(audio.rate * chunk * frames * STRIDE / FPS) for chunk in chunks]
        return replace(audio, tokens_BAD=torch.stack([x[i : i + size] for x, i in zip(audio.tokens_BAD, firsts)]))

    return replace(conditions, speak=cut(conditions.speak), listen=cut(conditions.listen))


def stream(model, latents, t, conditions, cache, history=None, t_history=None):
    """Predict a clip's chunks one after the other, each remembered as it stands, or as its history stands."""
    history, t_history = (latents, t) if history is None else (history, t_history)
    made = []
    for index in range((latents.shape[1] - 1) // model.chunk):
        part = slice(1 + index * model.chunk, 1 + (index + 1) * model.chunk)
        heard = at(conditions, index, model.chunk)
        made.append(model(latents[:, part], t[:, part], heard, cache=cache))
        model.extend(history[:, part], t_history[:, part], heard, cache)
    return torch.cat(made, dim=1)
