"""Gradients of roll-outs through a cache, against a stream written with lists and concatenation only."""

from dataclasses import replace

import pytest
import torch

from listed_streams import Lists
from tiny_streams import FPS, at, causal, clip, stream


class Cached:
    """The same interface on the model's own cache."""

    def __init__(self, model, picture, conditions, turn_once):
        self.model, self.cache = model, model.init_cache(picture, conditions, FPS, turn_once=turn_once)

    def __call__(self, latents, levels, conditions):
        return self.model(latents, levels, conditions, cache=self.cache)

    def extend(self, latents, levels, conditions):
        self.model.extend(latents, levels, conditions, self.cache)


def roll_out(state, chunk, inputs, kept):
    """Generate six chunks, each from noise and what became of the ones before; ``kept`` says who keeps a gradient."""
    noise, t, conditions = inputs
    total = 0
    for index in range(6):
        part = slice(1 + index * chunk, 1 + (index + 1) * chunk)
        heard = at(conditions, index, chunk)
        clean = state(noise[:, part], t[:, part], heard)
        total = total + (clean * torch.linspace(-1, 1, clean.numel(), dtype=clean.dtype).view_as(clean)).sum() / (
            1 + index
        )
        history = 0.8 * clean + 0.2 * noise[:, part].flip(1)
        with torch.set_grad_enabled(kept(index)):
            state.extend(history if kept(index) else history.detach(), 0.2 * torch.ones_like(t[:, part]), heard)
    return total


PATTERNS = {"all": lambda index: True, "none": lambda index: False, "some": lambda index: index % 2 == 0}


@pytest.mark.parametrize("kept", PATTERNS)
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("sink, window, turn_once", [(0, 1, True), (1, 2, True), (1, 2, False), (2, 1, True)])
def test_gradients_of_a_roll_out_equal_those_of_lists(sink, window, turn_once, recompute, kept):
    chunk = 2
    model = causal(chunk, sink, window, depth=2, recompute=recompute)
    noise, t, conditions = clip(1 + 6 * chunk, size=(2, 4))
    noise.requires_grad_()
    wanted = {"noise": noise, **dict(model.named_parameters())}
    results = []
    for state in (
        Lists(model, noise[:, 0], conditions),
        Cached(model, noise[:, 0], conditions, turn_once),
    ):
        total = roll_out(state, chunk, (noise, t, conditions), PATTERNS[kept])
        results.append((total, torch.autograd.grad(total, list(wanted.values()), allow_unused=True)))
    (expected, expected_gradients), (found, gradients) = results
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
    for name, a, b in zip(wanted, gradients, expected_gradients):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9, msg=lambda text, name=name: f"{name}: {text}")


def test_the_sink_is_seen_and_trained_after_the_window_has_moved_on():
    model = causal(2, sink=1, window=1)
    latents, t, conditions = clip(1 + 2 * 6)
    latents.requires_grad_()
    made = model(latents, t, conditions, FPS)[:, -2:]
    cache = model.init_cache(latents[:, 0], conditions, FPS)
    for index in range(5):
        model.extend(latents[:, 1 + 2 * index :][:, :2], t[:, 1 + 2 * index :][:, :2], at(conditions, index, 2), cache)
    rolled = model(latents[:, -2:], t[:, -2:], at(conditions, 5, 2), cache=cache)
    whole, streamed = (torch.autograd.grad((x * x.detach()).sum(), latents)[0] for x in (made, rolled))
    torch.testing.assert_close(streamed, whole, rtol=1e-9, atol=1e-9)
    assert streamed[:, 1:3].abs().max() > 1e-6


@pytest.mark.parametrize("recompute", [False, True])
def test_training_sees_what_serving_sees(recompute):
    model = causal(recompute=recompute)
    latents, t, conditions = clip(15)
    made = []
    for training in (True, False):
        with torch.set_grad_enabled(training):
            cache = model.init_cache(latents[:, 0], conditions, FPS)
            assert cache.in_place is not training
            outputs = []
            for index in range(7):
                part, heard = slice(1 + 2 * index, 3 + 2 * index), at(conditions, index, 2)
                outputs.append(model(latents[:, part], t[:, part], heard, cache=cache))
                with torch.no_grad():
                    model.extend(outputs[-1].detach(), t[:, part], heard, cache)
            made.append(torch.cat(outputs, dim=1))
    assert torch.equal(*made)


@pytest.mark.parametrize("anchor", [True, False])
@pytest.mark.parametrize("way", ["roll-out", "clip", "teacher forcing"])
def test_gradient_reaches_every_parameter(anchor, way):
    model = causal(anchor=anchor)
    latents, t, conditions = clip(13)
    hidden = {stream: torch.tensor([True, False]) for stream in ("text", "speak", "listen")}
    conditions = replace(conditions, keep=hidden)
    if way == "roll-out":
        roll_out(
            Cached(model, latents[:, 0], conditions, True), 2, (latents, t, conditions), PATTERNS["all"]
        ).backward()
    else:
        history = (latents.flip(1), t) if way == "teacher forcing" else (None, None)
        model.forward_clip(latents, t, conditions, FPS, *history).square().sum().backward()
    assert [name for name, parameter in model.named_parameters() if not parameter.grad.abs().sum() > 0] == []


def test_a_copy_of_a_served_stream_can_be_trained_through():
    model = causal()
    latents, t, conditions = clip(9)
    with torch.no_grad():
        cache = model.init_cache(latents[:, 0], conditions, FPS)
        stream(model, latents, t, conditions, cache)
    copy = cache.take(torch.arange(2))
    stream(model, latents, t, conditions, copy).square().sum().backward()
    assert model.blocks[0].attention.qkv.weight.grad.abs().sum() > 0
    assert cache.count_B.tolist() == [4, 4] and copy.count_B.tolist() == [8, 8]
