"""Parity of the text-to-video path with diffusers' ``WanTransformer3DModel``, on random weights in the true format."""

import pytest
import torch

from lpm.backbone import from_wan, lpm_1b, lpm_17b, to_wan, wan, wan_1b, wan_14b, wan_shape
from lpm.nn import KeysDiffer
from lpm.types import Conditions, TextFeatures
from tiny_weights import HEAD_WIDTH, HEADS, original_wan, wan_transformer

diffusers = pytest.importorskip("diffusers")

DEPTH, CHANNELS, TEXT = 2, 4, 24
# Parameters of the published text-to-video files: 4 bytes each of ``total_size`` in the index of the 14 B shards, and
# the tensors of the 1.3 B file as others count them. For I2V-14B, diffusers' network of its published config.
PUBLISHED = {"T2V-1.3B": 1_418_996_800, "T2V-14B": 57_153_966_336 // 4, "I2V-14B": 16_394_878_784}
SIZES = {"width": HEADS * HEAD_WIDTH, "depth": DEPTH, "heads": HEADS, "hidden": 40, "channels": CHANNELS}


reference = wan_transformer


def loaded(tensors, audio_width=None):
    torch.manual_seed(1)
    ours = wan(**SIZES, text_width=TEXT, waves=32, audio_width=audio_width).eval()
    converted, left_out = from_wan(tensors, HEADS, CHANNELS)
    missing, unexpected = ours.load_state_dict(converted, strict=False)
    assert not unexpected
    assert all(name == "text.null" or ".audio." in name or name.startswith(("speak.", "listen.")) for name in missing)
    return ours, left_out


def inputs(frames=3, height=6, width=8):
    generator = torch.Generator().manual_seed(2)
    video = torch.randn(2, CHANNELS, frames, height, width, generator=generator)
    text = torch.randn(2, 7, TEXT, generator=generator)
    return video, text, torch.tensor([0.3, 0.9])


def run(ours, video, text, t):
    conditions = Conditions(text=TextFeatures(text, torch.ones(text.shape[:2], dtype=torch.bool)))
    with torch.no_grad():
        made = ours(video.transpose(1, 2), t[:, None].expand(-1, video.shape[2]), conditions, fps=16.0)
    return made.transpose(1, 2)


def expected(theirs, video, text, t):
    with torch.no_grad():
        return theirs(video, t * 1000, text).sample


@pytest.mark.parametrize("layout", ["diffusers", "original"])
def test_text_to_video_equals_diffusers(layout):
    theirs = reference()
    tensors = theirs.state_dict()
    ours, left_out = loaded(tensors if layout == "diffusers" else original_wan(tensors))
    video, text, t = inputs()
    torch.testing.assert_close(run(ours, video, text, t), expected(theirs, video, text, t), atol=1e-5, rtol=0)
    assert left_out == {}


def test_an_lpm_with_mute_audio_equals_the_loaded_wan():
    theirs = reference()
    ours, _ = loaded(theirs.state_dict(), audio_width=8)
    video, text, t = inputs()
    truth = expected(theirs, video, text, t)
    assert (run(ours, video, text, t) - truth).abs().max() > 1e-3
    torch.testing.assert_close(run(ours.zero_audio_(), video, text, t), truth, atol=1e-5, rtol=0)


def test_image_to_video_weights_lose_their_image_path_and_say_so():
    theirs = reference(in_channels=2 * CHANNELS + 4, image_dim=12, added_kv_proj_dim=HEADS * HEAD_WIDTH)
    tensors = theirs.state_dict()
    assert wan_shape(tensors, HEAD_WIDTH).image and wan_shape(tensors, HEAD_WIDTH).channels == CHANNELS
    ours, left_out = loaded(tensors)
    assert any("image_embedder" in name for name in left_out) and any("add_k_proj" in name for name in left_out)
    plain = reference()
    plain.load_state_dict({k: v for k, v in tensors.items() if k in plain.state_dict()} | {
        "patch_embedding.weight": tensors["patch_embedding.weight"][:, :CHANNELS]
    })  # fmt: skip
    video, text, t = inputs()
    torch.testing.assert_close(run(ours, video, text, t), expected(plain, video, text, t), atol=1e-5, rtol=0)


@pytest.mark.parametrize("layout", ["diffusers", "original"])
def test_there_and_back_is_the_same(layout):
    tensors = reference().state_dict()
    ours, _ = loaded(tensors, audio_width=8)
    back, left_out = to_wan(ours.state_dict(), HEADS, layout)
    truth = tensors if layout == "diffusers" else original_wan(tensors)
    assert back.keys() == truth.keys()
    assert all(torch.equal(back[name], truth[name]) for name in truth)
    assert "text.null" in left_out and "blocks.0.cross.audio.out.weight" in left_out


def test_shape_is_read_from_the_weights():
    shape = wan_shape(original_wan(reference().state_dict()), HEAD_WIDTH)
    numbers = {name: getattr(shape, name) for name in SIZES}
    assert numbers == SIZES and shape.text_width == TEXT and shape.waves == 32 and not shape.image


def test_keys_that_do_not_fit_are_all_in_one_table():
    tensors = dict(reference().state_dict())
    del tensors["blocks.1.ffn.net.2.bias"], tensors["blocks.0.attn1.to_q.weight"]
    tensors["blocks.0.surprise"] = torch.zeros(1)
    tensors["blocks.1.attn2.to_out.0.bias"] = torch.zeros(31)
    with pytest.raises(ValueError) as caught:
        from_wan(tensors, HEADS, CHANNELS)
    lines = str(caught.value).splitlines()
    assert lines == [
        "Wan2.1 transformer (diffusers layout): 2 missing, 1 unknown, 1 misshapen",
        "key                           is         needs     has",
        "blocks.0.attn1.to_q.weight    missing    (32, 32)  -",
        "blocks.1.ffn.net.2.bias       missing    (32,)     -",
        "blocks.0.surprise             unknown    -         (1,)",
        "blocks.1.attn2.to_out.0.bias  misshapen  (32,)     (31,)",
    ]
    del tensors["proj_out.bias"], tensors["blocks.0.ffn.net.0.proj.weight"]  # the latter tells a width
    with pytest.raises(KeysDiffer, match=r"1 missing\nkey .*\nblocks\.0\.ffn\.net\.0\.proj\.weight  missing"):
        from_wan(tensors, HEADS, CHANNELS)
    with pytest.raises(ValueError, match=r"not the weights of a Wan2\.1 transformer: they begin with a"):
        from_wan({"a": torch.zeros(1)}, HEADS, CHANNELS)


@pytest.mark.parametrize(("absent", "depth"), [(1, None), (1, 3), (2, 3)])
def test_blocks_that_are_missing_are_in_the_table(absent, depth):
    """A hole is seen; whether there were blocks behind the last one only a config tells."""
    tensors = reference(num_layers=3).state_dict()
    lost = {name for name in tensors if name.startswith(f"blocks.{absent}.")}
    with pytest.raises(KeysDiffer) as caught:
        from_wan({name: tensor for name, tensor in tensors.items() if name not in lost}, HEADS, CHANNELS, depth)
    assert {(fault.name, fault.kind) for fault in caught.value.faults} == {(name, "missing") for name in lost}


def test_prefixes_of_other_programs_are_taken_off():
    tensors = reference().state_dict()
    prefixed = {f"model.diffusion_model.{name}": tensor for name, tensor in tensors.items()}
    ours, theirs = (from_wan(weights, HEADS, CHANNELS)[0] for weights in (prefixed, tensors))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("layout", ["diffusers", "original"])
@pytest.mark.parametrize("name", ["T2V-1.3B", "T2V-14B", "I2V-14B"])
def test_published_sizes_fit_key_by_key(name, layout):
    """On the meta device: the published networks' keys and shapes are all converted, left out by name, or refused."""
    heads, hidden, depth, build = (12, 8960, 30, wan_1b) if name == "T2V-1.3B" else (40, 13824, 40, wan_14b)
    image = {"in_channels": 36, "image_dim": 1280, "added_kv_proj_dim": 5120} if name == "I2V-14B" else {}
    with torch.device("meta"):
        theirs = diffusers.WanTransformer3DModel(num_attention_heads=heads, ffn_dim=hidden, num_layers=depth, **image)
        ours = build()
    tensors = theirs.state_dict() if layout == "diffusers" else original_wan(theirs.state_dict())
    converted, left_out = from_wan(tensors, heads, 16)
    needed = {name: tensor.shape for name, tensor in ours.state_dict().items() if name != "text.null"}
    assert {name: tensor.shape for name, tensor in converted.items()} == needed
    assert sum(t.numel() for t in (*converted.values(), *left_out.values())) == count(theirs) == PUBLISHED[name]
    assert len(left_out) == (5 * 40 + 8 + 1 if image else 0)
    assert count(ours) == pytest.approx(PUBLISHED[name.replace("I2V", "T2V")], rel=0.005)


def test_audio_adds_about_three_billion_to_fourteen():
    with torch.device("meta"):
        whole, text_video = count(lpm_17b()), count(wan_14b())
        small, small_text_video = count(lpm_1b()), count(wan_1b())
    assert whole - text_video == pytest.approx(3.2e9, rel=0.01)
    assert whole == 17_498_470_464  # as in docs/guide/wan.md; the paper says 17 B, no more digits
    assert small - small_text_video == pytest.approx(0.22e9, rel=0.02)
