"""Parity with diffusers' ``AutoencoderKLWan``, on random weights in the true format."""

import pytest
import torch
from safetensors.torch import save_file

from lpm.codec import WanCodec, wan_codec
from lpm.codec.wan import DEVIATION, MEAN
from lpm.codec.wan_weights import core, pairs, wan_codec_from
from lpm.types import Codec
from tiny_weights import wan_autoencoder

diffusers = pytest.importorskip("diffusers")
from diffusers.loaders.single_file_utils import convert_wan_vae_to_diffusers  # noqa: E402

reference = wan_autoencoder


def original(model):
    """The weights under their original names, which diffusers' own conversion must bring back to its own."""
    codec = wan_codec_from(model.state_dict())
    ours_to_original, ours_to_diffusers = dict(pairs(codec, 1)), dict(pairs(codec, 2))
    back = {ours_to_diffusers[name]: ours_to_original[name] for name in ours_to_original}
    tensors = {back[name]: tensor for name, tensor in model.state_dict().items()}
    renamed = convert_wan_vae_to_diffusers(dict(tensors))
    assert renamed.keys() == model.state_dict().keys()
    assert all(torch.equal(renamed[name], tensor) for name, tensor in model.state_dict().items())
    return tensors


def video(frames=9, height=32, width=24, batch=2):
    return torch.rand(batch, frames, 3, height, width, generator=torch.Generator().manual_seed(1)) * 2 - 1


def theirs_encode(model, pixels):
    with torch.no_grad():
        return model.encode(pixels.transpose(1, 2)).latent_dist.mode().transpose(1, 2)


@pytest.mark.parametrize("layout", ["diffusers", "original"])
@pytest.mark.parametrize("frames", [1, 5, 9])
def test_encode_and_decode_equal_diffusers(layout, frames):
    model = reference()
    ours = wan_codec_from(model.state_dict() if layout == "diffusers" else original(model)).eval()
    mean, deviation = (torch.tensor(values)[:, None, None] for values in (MEAN, DEVIATION))
    pixels = video(frames)
    with torch.no_grad():
        latents, truth = ours.encode(pixels), theirs_encode(model, pixels)
        torch.testing.assert_close(latents, (truth - mean) / deviation, atol=1e-5, rtol=0)
        decoded = ours.decode(latents)
        expected = model.decode(truth.transpose(1, 2)).sample.transpose(1, 2)
    torch.testing.assert_close(decoded.clamp(-1, 1), expected, atol=1e-5, rtol=0)
    assert isinstance(ours, Codec)


def test_numbers_of_the_latents_are_those_of_diffusers():
    config = reference().config
    assert config.latents_mean == list(MEAN) and config.latents_std == list(DEVIATION)


@pytest.mark.parametrize("pieces", [(1, 4, 4, 4), (5, 8), (9, 4)])
def test_streamed_equals_whole(pieces):
    codec = wan_codec_from(reference().state_dict()).double()
    codec.mean, codec.deviation = codec.mean.double(), codec.deviation.double()
    pixels, state, parts = video(13).double(), codec.init_encode_state(2), []
    with torch.no_grad():
        for piece in pixels.split(pieces, dim=1):
            latents, state = codec.encode_step(piece, state)
            parts.append(latents)
        whole = codec.encode(pixels)
        torch.testing.assert_close(torch.cat(parts, dim=1), whole, atol=1e-12, rtol=0)
        state, parts = codec.init_state(2), []
        for piece in whole.split([1 + pieces[0] // 4, *(piece // 4 for piece in pieces[1:])], dim=1):
            frames, state = codec.step(piece, state)
            parts.append(frames)
        torch.testing.assert_close(torch.cat(parts, dim=1), codec.decode(whole), atol=1e-12, rtol=0)


def test_the_whole_clip_in_one_pass_equals_pieces():
    """The pieces that bound memory change nothing: a causal layer sees a clip or its pieces alike."""
    from lpm.codec.wan import Tape

    codec = wan_codec_from(reference().state_dict()).double()
    pixels = video(9).double().transpose(1, 2)
    with torch.no_grad():
        whole = codec.encoder(pixels, Tape(codec.init_encode_state(2)))
        state, parts = codec.init_encode_state(2), []
        for piece in pixels.split([1, 4, 4], dim=2):
            tape = Tape(state)
            parts.append(codec.encoder(piece, tape))
            state = tape.state()
        torch.testing.assert_close(torch.cat(parts, dim=2), whole, atol=1e-12, rtol=0)
        latents = torch.randn(2, 16, 3, 4, 3, dtype=torch.float64)
        whole = codec.decoder(latents, Tape(codec.init_decode_state(2)))
        state, parts = codec.init_decode_state(2), []
        for piece in latents.split([1, 2], dim=2):
            tape = Tape(state)
            parts.append(codec.decoder(piece, tape))
            state = tape.state()
        torch.testing.assert_close(torch.cat(parts, dim=2), whole, atol=1e-12, rtol=0)


@torch.no_grad()
def test_half_precision_stays_close_whole_and_streamed(tmp_path):
    torch.save(reference().state_dict(), tmp_path / "vae.pth")
    exact, half = (wan_codec(tmp_path / "vae.pth", half=half) for half in (False, True))
    assert {parameter.dtype for parameter in half.parameters()} == {torch.bfloat16}
    assert torch.equal(half.mean, exact.mean) and torch.equal(half.deviation, exact.deviation)
    pixels = video(5, 16, 16, batch=1)
    latents = exact.encode(pixels)
    clip = exact.decode(latents)
    first, state = half.encode_step(pixels[:, :1], half.init_encode_state(1))
    rest, _ = half.encode_step(pixels[:, 1:], state)
    picture, state = half.decode_step(latents[:, :1], half.init_decode_state(1))
    others, _ = half.decode_step(latents[:, 1:], state)
    for made in (half.encode(pixels), torch.cat([first, rest], dim=1)):
        assert made.dtype == torch.float32 and (made - latents).norm() < 0.02 * latents.norm()
    for made in (half.decode(latents), torch.cat([picture, others], dim=1)):
        assert made.dtype == torch.float32 and (made - clip).norm() < 0.02 * clip.norm()
    assert half.decode(half.encode(pixels.bfloat16())).dtype == torch.bfloat16
    with pytest.raises(ValueError, match=r"pixels are torch\.uint8; pass floats"):
        half.encode(pixels.byte())


def test_the_future_does_not_change_the_past():
    codec = wan_codec_from(reference().state_dict())
    pixels = video(9).requires_grad_()
    codec.encode(pixels)[:, 1].sum().backward()
    assert (pixels.grad[:, 5:] == 0).all() and (pixels.grad[:, :5] != 0).any()


def test_weights_are_read_from_files_and_folders(tmp_path):
    model = reference()
    model.save_pretrained(tmp_path / "vae")
    torch.save(original(model), tmp_path / "Wan2.1_VAE.pth")
    save_file({k: v.contiguous() for k, v in original(model).items()}, tmp_path / "vae.safetensors")
    found = [wan_codec(tmp_path / name).state_dict() for name in ("vae", "Wan2.1_VAE.pth", "vae.safetensors")]
    assert all(torch.equal(found[0][k], other[k]) for other in found[1:] for k in found[0])
    with pytest.raises(ValueError, match="do not exist; give"):
        wan_codec(tmp_path / "absent.pth")
    torch.save([torch.zeros(2)], tmp_path / "list.pth")
    with pytest.raises(ValueError, match="hold a list, not tensors by name"):
        wan_codec(tmp_path / "list.pth")
    for name in ("cut.pth", "cut.safetensors"):
        (tmp_path / name).write_bytes(b"nothing")
        with pytest.raises(ValueError, match=r"cannot be read \(.*fetch them again$"):
            wan_codec(tmp_path / name)


def test_wrong_weights_are_all_listed():
    tensors = dict(reference().state_dict())
    del tensors["decoder.conv_in.bias"]
    tensors["surprise"] = torch.zeros(1)
    tensors["quant_conv.bias"] = torch.zeros(3)
    del tensors["post_quant_conv.bias"]  # tells the latent channels
    qkv, kernel = "encoder.mid_block.attentions.0.to_qkv.weight", "decoder.mid_block.resnets.0.conv1.weight"
    tensors[qkv] = tensors[qkv].transpose(0, 1)
    tensors[kernel] = tensors[kernel].movedim(1, -1)  # channels last
    with pytest.raises(ValueError) as caught:
        wan_codec_from(tensors)
    assert str(caught.value).splitlines() == [
        "Wan2.1's autoencoder: 2 missing, 1 unknown, 3 misshapen",
        "key                                           is         needs              has",
        "decoder.conv_in.bias                          missing    (32,)              -",
        "post_quant_conv.bias                          missing    (16,)              -",
        "surprise                                      unknown    -                  (1,)",
        "decoder.mid_block.resnets.0.conv1.weight      misshapen  (32, 32, 3, 3, 3)  (32, 3, 3, 3, 32)",
        "encoder.mid_block.attentions.0.to_qkv.weight  misshapen  (96, 32)           (32, 96, 1, 1)",
        "quant_conv.bias                               misshapen  (32,)              (3,)",
    ]
    with pytest.raises(ValueError, match="begin with a"):
        wan_codec_from({"a": torch.zeros(1)})
    with pytest.raises(ValueError, match="16 numbers as mean of 4 latent channels"):
        WanCodec(8, channels=4)


def test_ones_at_the_end_of_a_shape_may_be_there_or_not():
    tensors = reference().state_dict()
    plain = {name: tensor.reshape(core(tensor.shape)) for name, tensor in tensors.items()}
    assert plain["encoder.norm_out.gamma"].ndim == 1 and tensors["encoder.norm_out.gamma"].ndim == 4
    ours, theirs = (wan_codec_from(weights).state_dict() for weights in (plain, tensors))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_parameter_count_is_that_of_wan():
    with torch.device("meta"):
        ours, theirs = WanCodec(), diffusers.AutoencoderKLWan()
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())
