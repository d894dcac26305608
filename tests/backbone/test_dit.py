from dataclasses import replace

import pytest
import torch

from lpm.backbone import DiT, puppet, puppet_small
from lpm.types import AudioFeatures, Conditions, References, TextFeatures

FPS = 24.0


def random_weights(model):
    """Move every parameter off its start, so that nothing is zero by construction."""
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
    return model


@pytest.fixture
def model():
    torch.manual_seed(0)
    return random_weights(puppet_small(channels=4).double())


def inputs(batch=2, frames=4, height=4, width=6, references=2, reference_size=(4, 6)):
    generator = torch.Generator().manual_seed(1)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    kinds = torch.arange(references).expand(batch, -1) % 3
    conditions = Conditions(
        speak=AudioFeatures(normal(batch, 100, 32).requires_grad_(), 50.0, -0.5),
        listen=AudioFeatures(normal(batch, 60, 32).requires_grad_(), 12.5, -2.5),
        text=TextFeatures(normal(batch, 3, 32).requires_grad_(), torch.ones(batch, 3, dtype=torch.bool)),
        references=References(
            kinds,
            torch.arange(references).expand(batch, -1) // 3,
            torch.ones(batch, references, dtype=torch.bool),
            latents_BRCYX=normal(batch, references, 4, *reference_size).requires_grad_(),
        ),
    )
    t = torch.rand(batch, frames, generator=generator, dtype=torch.float64)
    t[:, 0] = 0
    return normal(batch, frames, 4, height, width), t, conditions


@pytest.mark.parametrize(
    "shape",
    [
        {"frames": 1},
        {"frames": 9, "height": 2, "width": 10},
        {"references": 13},
        {"reference_size": (6, 2)},
        {"height": 6, "width": 4, "reference_size": (10, 10)},
    ],
)
def test_any_shape(model, shape):
    noisy, t, conditions = inputs(**shape)
    assert model(noisy, t, conditions, FPS).shape == noisy.shape


def test_every_stream_may_be_absent(model):
    noisy, t, _ = inputs()
    assert model(noisy, t, Conditions(), FPS).isfinite().all()


@pytest.mark.parametrize("anchor", [True, False])
def test_gradient_reaches_every_parameter(anchor):
    torch.manual_seed(0)
    model = random_weights(puppet_small(channels=4, anchor=anchor).double())
    noisy, t, conditions = inputs()
    hidden = {stream: torch.tensor([True, False]) for stream in ("text", "speak", "listen")}
    model(noisy, t, replace(conditions, keep=hidden), FPS).square().sum().backward()
    assert [name for name, parameter in model.named_parameters() if not parameter.grad.abs().sum() > 0] == []


def test_fresh_model_predicts_zero_and_learns_at_once():
    torch.manual_seed(0)
    model = puppet_small(channels=4).double()
    noisy, t, conditions = inputs()
    output = model(noisy, t, conditions, FPS)
    assert output.abs().max() == 0
    (output - 1).square().sum().backward()
    assert model.head.new.out.weight.grad.abs().sum() > 0


def output_gradient(model, conditions_of):
    noisy, t, conditions = inputs()
    output = model(noisy, t, conditions, FPS)
    return torch.autograd.grad(output.square().sum(), conditions_of(conditions), allow_unused=True)[0]


def test_even_blocks_hear_the_voice_and_odd_blocks_the_partner():
    torch.manual_seed(0)
    one_block = random_weights(puppet(4, 32, 1, 2, 32, 32).double())
    assert output_gradient(one_block, lambda c: c.speak.tokens_BAD).abs().max() > 0
    assert output_gradient(one_block, lambda c: c.listen.tokens_BAD) is None
    two_blocks = random_weights(puppet(4, 32, 2, 2, 32, 32).double())
    assert output_gradient(two_blocks, lambda c: c.listen.tokens_BAD).abs().max() > 0


@pytest.mark.parametrize("stream", ["text", "speak", "listen", "references"])
def test_hidden_stream_equals_absent_stream(model, stream):
    noisy, t, conditions = inputs()
    hidden = replace(conditions, keep={stream: torch.tensor([False, False])})
    absent = replace(conditions, **{stream: None})
    whole = model(noisy, t, conditions, FPS)
    torch.testing.assert_close(model(noisy, t, hidden, FPS), model(noisy, t, absent, FPS))
    assert not torch.allclose(whole, model(noisy, t, absent, FPS))
    one_row = model(noisy, t, replace(conditions, keep={stream: torch.tensor([True, False])}), FPS)
    torch.testing.assert_close(one_row[0], whole[0])
    torch.testing.assert_close(one_row[1], model(noisy, t, absent, FPS)[1])


def test_padded_references_are_not_seen(model):
    noisy, t, conditions = inputs()
    masked = replace(conditions.references, mask_BR=torch.tensor([[True, False], [True, False]]))
    first = {
        name: getattr(conditions.references, name)[:, :1]
        for name in ("kind_BR", "sub_kind_BR", "mask_BR", "latents_BRCYX")
    }
    outputs = [model(noisy, t, replace(conditions, references=r), FPS) for r in (masked, References(**first))]
    torch.testing.assert_close(*outputs)


def test_kinds_of_references_are_told_apart(model):
    noisy, t, conditions = inputs()
    references = conditions.references
    swapped = replace(references, kind_BR=references.kind_BR.flip(1))
    sub_kind = replace(references, sub_kind_BR=references.sub_kind_BR + 1)
    output = model(noisy, t, conditions, FPS)
    for other in (swapped, sub_kind):
        assert (model(noisy, t, replace(conditions, references=other), FPS) - output).abs().max() > 1e-6


def test_order_of_references_does_not_matter(model):
    noisy, t, conditions = inputs(references=3)
    names = ("kind_BR", "sub_kind_BR", "mask_BR", "latents_BRCYX")
    flipped = References(**{name: getattr(conditions.references, name).flip(1) for name in names})
    outputs = [model(noisy, t, replace(conditions, references=r), FPS) for r in (conditions.references, flipped)]
    torch.testing.assert_close(*outputs)


def test_noise_level_of_a_frame_matters(model):
    noisy, t, conditions = inputs()
    other = t.clone()
    other[:, 2] += 0.3
    assert (model(noisy, t, conditions, FPS) - model(noisy, other, conditions, FPS))[:, 2].abs().max() > 1e-6


def test_muted_audio_changes_nothing_until_it_is_trained(model):
    model.zero_audio_()
    noisy, t, conditions = inputs()
    silent = replace(conditions, speak=None, listen=None)
    torch.testing.assert_close(model(noisy, t, conditions, FPS), model(noisy, t, silent, FPS))


def test_weights_save_and_load(model, tmp_path):
    torch.save(model.state_dict(), tmp_path / "dit.pt")
    torch.manual_seed(9)
    other = puppet_small(channels=4).double()
    other.load_state_dict(torch.load(tmp_path / "dit.pt", weights_only=True))
    noisy, t, conditions = inputs()
    torch.testing.assert_close(model(noisy, t, conditions, FPS), other(noisy, t, conditions, FPS))


def test_references_without_latents_are_refused(model):
    noisy, t, conditions = inputs()
    with pytest.raises(ValueError, match="references without latents"):
        model(noisy, t, replace(conditions, references=replace(conditions.references, latents_BRCYX=None)), FPS)


def test_default_size():
    model = puppet()
    assert isinstance(model, DiT)
    assert 2.5e6 < sum(parameter.numel() for parameter in model.parameters()) < 3e6


@pytest.mark.parametrize("autocast", [True, False])
def test_half_precision_stays_close(autocast):
    torch.manual_seed(0)
    model = random_weights(puppet_small(channels=4)).eval()
    noisy, t, conditions = in_dtype(inputs(), torch.float32)
    expected = model(noisy, t, conditions, FPS)
    if autocast:
        with torch.autocast("cpu", torch.bfloat16):
            output = model(noisy, t, conditions, FPS)
    else:
        noisy, _, conditions = in_dtype(inputs(), torch.bfloat16)
        output = model.bfloat16()(noisy, t, conditions, FPS)
    assert (output.float() - expected).norm() < 0.1 * expected.norm()


def in_dtype(values, dtype):
    noisy, t, conditions = values
    streams = (conditions.speak, conditions.listen)
    speak, listen = (replace(stream, tokens_BAD=stream.tokens_BAD.to(dtype)) for stream in streams)
    text = replace(conditions.text, tokens_BLD=conditions.text.tokens_BLD.to(dtype))
    references = replace(conditions.references, latents_BRCYX=conditions.references.latents_BRCYX.to(dtype))
    return noisy.to(dtype), t.float(), Conditions(speak, listen, text, references)
