from itertools import islice, pairwise

import pytest
import torch

from listed_streams import Lists
from lpm.flow import PredictClean, PredictVelocity
from lpm.sample import FewSteps, add_noise, backbone_steps, hear, make_chunk, refiner_steps, remember, roll_out
from tiny_streams import FPS, STRIDE, at, causal, clip

STEPS = FewSteps((1.0, 0.8, 0.4), history=0.2)
SECONDS = 2 * STRIDE / FPS


class Table:
    """A network whose prediction is the noise level; it lists what it is given and asked to remember."""

    def __init__(self):
        self.seen, self.kept = [], []
        self.weight = torch.ones((), dtype=torch.float64, requires_grad=True)

    def forward(self, noisy, t, conditions, fps=None, cache=None):
        self.seen.append((noisy, t, torch.is_grad_enabled()))
        return t[:, :, None, None, None] * self.weight + noisy

    def extend(self, latents, t, conditions, cache):
        self.kept.append((latents, t))


def seeded(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return lambda like: torch.randn(like.shape, generator=generator, dtype=like.dtype)


def starts(chunks, seed=3):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(2, 2, 4, 4, 4, generator=generator, dtype=torch.float64) for _ in range(chunks)]


def test_a_chunk_is_predicted_noised_and_predicted_again():
    network, (start,), noise, again = Table(), starts(1), seeded(), seeded()
    made = make_chunk(network, start, None, None, PredictClean(), STEPS, noise)
    first = start + 1.0
    second = 0.2 * first + 0.8 * again(start) + 0.8
    third = 0.6 * second + 0.4 * again(start) + 0.4
    torch.testing.assert_close(made, third, rtol=0, atol=1e-12)
    assert [t.unique().tolist() for _, t, _ in network.seen] == [[1.0], [0.8], [0.4]]
    assert [grad for _, _, grad in network.seen] == [False, False, True]


@pytest.mark.parametrize("last", [0, 1, 2, None])
def test_gradient_is_that_of_the_last_prediction_alone(last):
    network, (start,) = Table(), starts(1)
    make_chunk(network, start, None, None, PredictClean(), STEPS, seeded(), last).sum().backward()
    level = STEPS.levels[-1 if last is None else last]
    assert len(network.seen) == (3 if last is None else last + 1)
    assert network.weight.grad.item() == pytest.approx(level * start.numel())


@pytest.mark.parametrize("history", [0.0, 0.3])
def test_history_is_remembered_at_its_noise_level(history):
    network, (clean,) = Table(), starts(1)
    remember(network, clean, None, None, FewSteps((1.0,), history), seeded(5))
    ((latents, t),) = network.kept
    assert t.unique().tolist() == [history]
    torch.testing.assert_close(latents, (1 - history) * clean + history * seeded(5)(clean))


def test_a_roll_out_equals_its_steps_by_hand():
    model, prediction = causal(), PredictVelocity()
    latents, _, conditions = clip(9)
    cache, other = (model.init_cache(latents[:, 0], conditions, FPS) for _ in range(2))
    noise, again = seeded(), seeded()
    made = list(roll_out(model, starts(4), hear(conditions, SECONDS), cache, prediction, STEPS, noise))
    for index, start in enumerate(starts(4)):
        heard = at(conditions, index, 2)
        chunk = make_chunk(model, start, heard, other, prediction, STEPS, again)
        torch.testing.assert_close(made[index], chunk, rtol=0, atol=1e-12)
        remember(model, chunk, heard, other, STEPS, again)
    assert int(cache.count_B[0]) == 4


def test_a_refiner_takes_chunks_as_they_are_made():
    events, model = [], causal()
    latents, _, conditions = clip(9)
    caches = [model.init_cache(latents[:, 0], conditions, FPS) for _ in range(2)]
    heard = list(islice(hear(conditions, SECONDS), 3))
    chunks = roll_out(model, starts(3), heard, caches[0], PredictVelocity(), backbone_steps())

    def noised():
        for chunk in chunks:
            events.append("made")
            yield add_noise(chunk, refiner_steps().levels[0])

    for chunk in roll_out(model, noised(), heard, caches[1], PredictVelocity(), refiner_steps()):
        assert chunk.shape == (2, 2, 4, 4, 4)
        events.append("refined")
    assert events == ["made", "refined"] * 3


def weight_gradient(model, latents, conditions, chunks, pick, **settings):
    """The gradient of one chunk's numbers with respect to all weights."""
    cache = model.init_cache(latents[:, 0], conditions, FPS)
    made = list(
        roll_out(
            model, starts(chunks), hear(conditions, SECONDS), cache, PredictVelocity(), STEPS, seeded(), **settings
        )
    )
    loss = (made[pick] * torch.linspace(-1, 1, made[pick].numel(), dtype=torch.float64).view_as(made[pick])).sum()
    return torch.autograd.grad(loss, list(model.parameters()), materialize_grads=True)


def by_hand(model, latents, conditions, pick):
    """The same, with a history that was made beforehand, without gradients, and nothing but one prediction after it."""
    noise = seeded()
    with torch.no_grad():
        cache = model.init_cache(latents[:, 0], conditions, FPS)
        chunks = list(
            roll_out(model, starts(pick + 1), hear(conditions, SECONDS), cache, PredictVelocity(), STEPS, noise)
        )
    cache, noise = model.init_cache(latents[:, 0], conditions, FPS), seeded()
    for index, start in enumerate(starts(pick)):
        with torch.no_grad():
            make_chunk(model, start, at(conditions, index, 2), cache, PredictVelocity(), STEPS, noise)
            remember(model, chunks[index], at(conditions, index, 2), cache, STEPS, noise)
    made = make_chunk(model, starts(pick + 1)[pick], at(conditions, pick, 2), cache, PredictVelocity(), STEPS, noise)
    loss = (made * torch.linspace(-1, 1, made.numel(), dtype=torch.float64).view_as(made)).sum()
    return torch.autograd.grad(loss, list(model.parameters()), materialize_grads=True)


@pytest.mark.parametrize("pick", [0, 2, 4])
def test_no_gradient_leaks_from_chunk_to_chunk(pick):
    """Also where later chunks were written into the cache before the gradient is asked for."""
    model = causal(sink=1, window=1)
    latents, _, conditions = clip(9)
    found = weight_gradient(model, latents, conditions, 6, pick)
    for a, b in zip(found, by_hand(model, latents, conditions, pick)):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)
    through = weight_gradient(model, latents, conditions, 6, pick, through_history=True)
    differs = any((a - b).abs().max() > 1e-6 for a, b in zip(found, through))
    assert differs is (pick > 0)


def by_lists(model, latents, conditions, pick):
    """The gradient of one chunk's numbers through all that came before it, where nothing is ever overwritten."""
    memory, noise = Lists(model, latents[:, 0], conditions), seeded()

    def clean(noisy, level, heard):
        return noisy - level * memory(noisy, levels(level), heard)

    def levels(level):
        return torch.full((2, 2), level, dtype=torch.float64)

    for index, noisy in enumerate(starts(pick + 1)):
        heard = at(conditions, index, 2)
        with torch.no_grad():
            for level, lower in pairwise(STEPS.levels):
                noisy = (1 - lower) * clean(noisy, level, heard) + lower * noise(noisy)
        made = clean(noisy, STEPS.levels[-1], heard)
        history = (1 - STEPS.history) * made + STEPS.history * noise(noisy)
        memory.extend(history, levels(STEPS.history), heard)
    loss = (made * torch.linspace(-1, 1, made.numel(), dtype=torch.float64).view_as(made)).sum()
    return torch.autograd.grad(loss, list(model.parameters()), materialize_grads=True)


@pytest.mark.parametrize("pick", [2, 4])
def test_the_gradient_through_the_history_equals_that_of_lists(pick):
    """Of a chunk whose memory was overwritten later, and of one that sees the sink after the window has moved on."""
    model = causal(sink=1, window=1, depth=2)
    latents, _, conditions = clip(9)
    found = weight_gradient(model, latents, conditions, 5, pick, through_history=True)
    for a, b in zip(found, by_lists(model, latents, conditions, pick)):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_the_gradient_can_be_truncated():
    model = causal()
    latents, _, conditions = clip(9)
    cache = model.init_cache(latents[:, 0], conditions, FPS)
    whole = list(roll_out(model, starts(4), hear(conditions, SECONDS), cache, PredictVelocity(), STEPS, seeded()))
    cache = model.init_cache(latents[:, 0], conditions, FPS)
    cut = list(
        roll_out(model, starts(4), hear(conditions, SECONDS), cache, PredictVelocity(), STEPS, seeded(), learn_from=2)
    )
    assert all(torch.equal(a, b) for a, b in zip(whole, cut))
    assert [chunk.requires_grad for chunk in whole] == [True] * 4
    assert [chunk.requires_grad for chunk in cut] == [False, False, True, True]


def test_unusable_steps_are_named():
    for levels in ((), (0.5, 0.5), (0.5, 0.8), (1.2, 0.4), (1.0, 0.0)):
        with pytest.raises(ValueError, match="levels"):
            FewSteps(levels, 0.0)
    for history in (-0.1, 1.0):
        with pytest.raises(ValueError, match="history at noise level"):
            FewSteps((1.0,), history)
