from dataclasses import replace

import pytest
import torch

from lpm.backbone import DiT, SegmentOffsets, muted, puppet, puppet_small, wan
from lpm.build import build
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


def picked(references, rows):
    names = ("kind_BR", "sub_kind_BR", "mask_BR", "latents_BRCYX")
    return References(**{name: getattr(references, name)[:, rows] for name in names})


def all_thirteen():
    """Conditions of one row with 1 global, 4 body and 8 expression references."""
    noisy, t, conditions = inputs(batch=1, references=13)
    kinds = torch.tensor([[0] + [1] * 4 + [2] * 8])
    sub_kinds = torch.tensor([[0, *range(4), *range(8)]])
    references = replace(conditions.references, kind_BR=kinds, sub_kind_BR=sub_kinds)
    return noisy, t, conditions, references


@pytest.mark.parametrize("rows", [[0], [0, 3], [0, 1, 2, 3, 4], [0, *range(5, 13)], [12], list(range(13))])
def test_any_subset_of_references_runs_and_a_masked_one_equals_an_absent_one(model, rows):
    noisy, t, conditions, references = all_thirteen()
    masked = replace(references, mask_BR=torch.tensor([[row in rows for row in range(13)]]))
    seen, left = (model(noisy, t, replace(conditions, references=r), FPS) for r in (masked, picked(references, rows)))
    torch.testing.assert_close(seen, left)
    other = model(noisy, t, replace(conditions, references=picked(references, [1, 5])), FPS)
    assert (seen - other).abs().max() > 1e-6


def test_references_with_their_places_may_come_in_any_order(model):
    noisy, t, conditions, references = all_thirteen()
    mixed = picked(references, torch.randperm(13, generator=torch.Generator().manual_seed(3)))
    outputs = [model(noisy, t, replace(conditions, references=r), FPS) for r in (references, mixed)]
    torch.testing.assert_close(*outputs)
    displaced = replace(mixed, kind_BR=references.kind_BR, sub_kind_BR=references.sub_kind_BR)
    assert (model(noisy, t, replace(conditions, references=displaced), FPS) - outputs[0]).abs().max() > 1e-6


def test_offsets_of_references_matter():
    outputs = []
    for offsets in (None, SegmentOffsets(global_=-6.0)):
        torch.manual_seed(0)
        network = random_weights(puppet(4, 32, 2, 2, 32, 32, offsets=offsets).double())
        outputs.append(network(*inputs(), FPS))
    assert (outputs[0] - outputs[1]).abs().max() > 1e-6


def test_noise_level_of_a_frame_matters(model):
    noisy, t, conditions = inputs()
    other = t.clone()
    other[:, 2] += 0.3
    assert (model(noisy, t, conditions, FPS) - model(noisy, other, conditions, FPS))[:, 2].abs().max() > 1e-6


def wan_tiny(audio_width: int | None = 32):
    return wan(width=32, depth=4, heads=2, hidden=48, channels=4, text_width=32, waves=32, audio_width=audio_width)


def with_audio_or_without(model):
    noisy, t, conditions = inputs()
    silent = replace(conditions, speak=None, listen=None)
    return model(noisy, t, conditions, FPS), model(noisy, t, silent, FPS)


@pytest.mark.parametrize("make", [lambda: puppet(4, 32, 4, 2, 32, 32), wan_tiny], ids=["puppet", "wan"])
def test_a_mute_model_equals_the_text_to_video_model_until_it_is_trained(make):
    torch.manual_seed(0)
    model = random_weights(make().double())
    before = with_audio_or_without(model)
    assert not torch.equal(*before)
    loud, silent = with_audio_or_without(muted(model))
    assert torch.equal(loud, silent) and not torch.equal(loud, before[0])
    (loud - 1).square().sum().backward()
    torch.optim.SGD(model.parameters(), 1e-3).step()
    assert not torch.equal(*with_audio_or_without(model))


def test_a_mute_model_equals_wan_with_the_same_weights():
    torch.manual_seed(0)
    model = muted(random_weights(wan_tiny().double()))
    text_to_video = wan_tiny(audio_width=None).double()
    text_to_video.load_state_dict({name: model.state_dict()[name] for name in text_to_video.state_dict()})
    noisy, t, conditions = inputs()
    assert torch.equal(model(noisy, t, conditions, FPS), text_to_video(noisy, t, conditions, FPS))


def test_a_frozen_voice_stays_mute_while_the_other_learns():
    torch.manual_seed(0)
    model = muted(random_weights(puppet(4, 32, 4, 2, 32, 32).double()))
    model.freeze_voices_(["listen"])
    noisy, t, conditions = inputs()
    for _ in range(2):
        model.zero_grad()
        (model(noisy, t, conditions, FPS) - 1).square().sum().backward()
        torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 1e-3).step()
    output = model(noisy, t, conditions, FPS)
    assert torch.equal(output, model(noisy, t, replace(conditions, listen=None), FPS))
    assert not torch.equal(output, model(noisy, t, replace(conditions, speak=None), FPS))
    still = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    odd = {name for name in model.state_dict() if name.startswith(("blocks.1.cross.audio.", "blocks.3.cross.audio."))}
    assert still == odd | {name for name in model.state_dict() if name.startswith("listen.")}


def test_every_block_may_hear_both_voices_at_twice_the_parameters():
    torch.manual_seed(0)
    apart, both = (puppet(4, 32, 2, 2, 32, 32, hears=hears) for hears in (None, [["speak", "listen"]]))
    audio = [sum(v.numel() for n, v in m.named_parameters() if ".cross.audio." in n) for m in (apart, both)]
    assert audio[1] == 2 * audio[0] > 0
    one_block = random_weights(puppet(4, 32, 1, 2, 32, 32, hears=[["speak", "listen"]]).double())
    for stream in ("speak", "listen"):
        assert output_gradient(one_block, lambda c: getattr(c, stream).tokens_BAD).abs().max() > 0  # noqa: B023
    assert [len(both.audio_path(voice)) for voice in ("speak", "listen")] == [3, 3]
    assert torch.equal(*with_audio_or_without(muted(one_block)))
    swapped = random_weights(puppet(4, 32, 1, 2, 32, 32, hears=[["listen"]]).double())
    assert output_gradient(swapped, lambda c: c.speak.tokens_BAD) is None


def test_names_of_weights_do_not_tell_how_voices_could_have_been_heard():
    """Weights saved when each block heard one voice still fit."""
    names = set(puppet_small().state_dict())
    assert {"blocks.0.cross.audio.key_value.weight", "blocks.1.cross.audio.out.weight"} <= names


@pytest.mark.parametrize("make", ["lpm.backbone.puppet", "lpm.backbone.wan"])
def test_builders_are_told_offsets_and_voices_in_a_spec(make):
    sizes = {"width": 32, "depth": 2, "heads": 2, "channels": 4, "text_width": 32, "audio_width": 32}
    extra = {"hidden": 48} if make.endswith("wan") else {}
    arguments = {**sizes, **extra, "offsets": {"global_": -5.0}, "hears": [["speak"], ["speak", "listen"]]}
    network = build({"class_path": make, "init_args": arguments})
    assert network.offsets == SegmentOffsets(global_=-5.0)
    assert [len(block.cross.voices) for block in network.blocks] == [1, 2]
    quiet = build(
        {
            "class_path": "lpm.backbone.muted",
            "init_args": {"network": {"class_path": make, "init_args": arguments}},
        }
    )
    assert not quiet.blocks[0].cross.audio.key_value.weight[32:].any()


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
