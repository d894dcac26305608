import pytest
import torch

from lpm.codec import TinyCodec
from lpm.types import Codec


def make_codec() -> TinyCodec:
    """A small codec in float64 whose residual branches are awake, as after training."""
    torch.manual_seed(0)
    codec = TinyCodec(channels=6, width=16, blocks=1).double()
    for parameter in codec.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    codec.mean.normal_()
    codec.std.uniform_(0.5, 2.0)
    return codec


def video(frames: int = 9, height: int = 32, width: int = 24, batch: int = 2) -> torch.Tensor:
    return torch.rand(batch, frames, 3, height, width, dtype=torch.float64) * 2 - 1


@pytest.mark.parametrize(("frames", "height", "width"), [(1, 8, 8), (5, 32, 24), (13, 40, 64)])
def test_any_size_and_length(frames, height, width):
    codec = make_codec()
    latents = codec.encode(video(frames, height, width))
    assert isinstance(codec, Codec)
    assert latents.shape == (2, 1 + (frames - 1) // 4, 6, height // 8, width // 8)
    assert codec.decode(latents).shape == (2, frames, 3, height, width)
    assert torch.isfinite(codec.decode(latents)).all()


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 4, 3, 16, 16), r"4 frames are not 1 \+ 4 k"),
        ((1, 0, 3, 16, 16), "0 frames"),
        ((1, 5, 3, 20, 16), "20x16 pixels do not divide by 8"),
        ((1, 5, 4, 16, 16), "pass"),
        ((5, 3, 16, 16), "pass"),
    ],
)
def test_bad_videos_raise(shape, message):
    with pytest.raises(ValueError, match=message):
        make_codec().encode(torch.zeros(shape, dtype=torch.float64))


def test_bad_latents_and_states_raise():
    codec = make_codec()
    with pytest.raises(ValueError, match="6, Y, X"):
        codec.decode(torch.zeros(1, 2, 5, 2, 2, dtype=torch.float64))
    with pytest.raises(ValueError, match="2 rows do not fit a state of batch 1"):
        codec.encode_step(video(), codec.init_encode_state(1))
    with pytest.raises(ValueError, match="2 rows do not fit a state of batch 3"):
        codec.step(codec.encode(video()), codec.init_state(3))
    with pytest.raises(ValueError, match="width 18"):
        TinyCodec(width=18)


@pytest.mark.parametrize("pieces", [(1, 4, 4, 4), (5, 8), (9, 4)])
def test_streamed_encoding_equals_whole(pieces):
    codec, clip = make_codec(), video(13)
    state, streamed = codec.init_encode_state(2), []
    for piece in clip.split(pieces, dim=1):
        latents, state = codec.encode_step(piece, state)
        streamed.append(latents)
    torch.testing.assert_close(torch.cat(streamed, 1), codec.encode(clip), rtol=0, atol=1e-9)


@pytest.mark.parametrize("pieces", [(1, 1, 1, 1), (2, 2), (1, 3)])
def test_streamed_decoding_equals_whole(pieces):
    codec = make_codec()
    latents = torch.randn(2, 4, 6, 3, 2, dtype=torch.float64)
    state, streamed = codec.init_decode_state(2), []
    for piece in latents.split(pieces, dim=1):
        frames, state = codec.decode_step(piece, state)
        streamed.append(frames)
    torch.testing.assert_close(torch.cat(streamed, 1), codec.decode(latents), rtol=0, atol=1e-9)


def test_later_pieces_need_whole_groups():
    codec = make_codec()
    _, state = codec.encode_step(video(1), codec.init_encode_state(2))
    with pytest.raises(ValueError, match="5 frames are not 4 k"):
        codec.encode_step(video(5), state)


def test_a_frame_alone_is_the_first_frame_of_a_clip():
    codec, clip = make_codec(), video(9)
    torch.testing.assert_close(codec.encode_frames(clip[:, 0]), codec.encode(clip)[:, 0])


def test_latents_of_a_window_are_a_slice_of_those_of_the_clip():
    codec, clip = make_codec(), video(17)
    torch.testing.assert_close(codec.encode(clip[:, 4:])[:, 1:], codec.encode(clip)[:, 2:])


def test_future_cannot_change_past():
    codec, clip = make_codec(), video(17).requires_grad_()
    latents = codec.encode(clip)
    (from_pixels,) = torch.autograd.grad(latents[:, 1].square().sum(), clip)
    assert from_pixels[:, 1:5].abs().sum() > 0
    assert from_pixels[:, 5:].abs().sum() == 0
    latents = latents.detach().requires_grad_()
    (from_latents,) = torch.autograd.grad(codec.decode(latents)[:, 13:].square().sum(), latents)
    # the first, the two that the frame before the group comes from, its own
    assert (from_latents.abs().sum((0, 2, 3, 4)) > 0).tolist() == [True, False, True, True, True]
    (from_latents,) = torch.autograd.grad(codec.decode(latents)[:, 5:9].square().sum(), latents)
    assert from_latents[:, 3:].abs().sum() == 0


def test_groups_are_joined_without_a_jump_and_end_as_they_were_made():
    codec, latents = make_codec(), torch.randn(1, 4, 6, 2, 2, dtype=torch.float64)
    state = codec.init_decode_state(1)
    first, state = codec.decode_step(latents[:, :1], state)
    made = codec.decoder(*(codec._raw(latents[:, n]) for n in (1, 0, 0)), first[:, 0])[0].unflatten(1, (5, 3))
    frames, _ = codec.decode_step(latents[:, 1:2], state)
    gap = first[:, 0] - made[:, 0]
    for number, left in enumerate((0.75, 0.5, 0.25, 0.0)):
        torch.testing.assert_close(frames[:, number], made[:, 1 + number] + left * gap)


def test_gradient_reaches_every_parameter():
    codec = make_codec()
    codec(video()).square().mean().backward()
    assert [name for name, p in codec.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_calibration_normalises_latents_and_keeps_the_reconstruction():
    codec, clip = make_codec(), video(9, batch=4)
    before = codec(clip)
    codec.calibrate([clip[:2], clip[2:]])
    latents = codec.encode(clip)
    torch.testing.assert_close(latents.mean((0, 1, 3, 4)), torch.zeros(6).double(), atol=1e-9, rtol=0)
    torch.testing.assert_close(latents.square().mean(), torch.tensor(1.0).double(), atol=0.01, rtol=0)
    torch.testing.assert_close(codec(clip), before)
    with pytest.raises(ValueError, match="no video"):
        codec.calibrate([])
