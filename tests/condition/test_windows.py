"""One contract for every audio encoder: any cut, first window, end, and the time of each token, whole or in windows."""

import pytest
import torch

from lpm.condition import LogMelEncoder, PretrainedAudio, Windows
from lpm.types import AudioEncoder
from tiny_weights import save_audio

SECOND = 16_000
PRETRAINED = ["wav2vec2", "wav2vec2-large", "hubert", "wavlm", "whisper"]
ENCODERS = ["log-mel-50", "log-mel-12.5", *PRETRAINED]
CUTS = {
    "whole": (72_300,),
    "samples of a token and less": (1, 319, 320, 5, 71_655),
    "seconds": (16_000,) * 4 + (8_300,),
    "odd": (7_001, 30_000, 0, 35_299),
}


def voice(seconds, batch=2):
    generator = torch.Generator().manual_seed(3)
    return torch.randn(batch, round(seconds * SECOND), generator=generator) * 0.1


@pytest.fixture
def make(tmp_path):
    def encoder(name, **settings):
        torch.manual_seed(0)
        if name.startswith("log-mel"):
            return LogMelEncoder(8, float(name.removeprefix("log-mel-")), mels=16).requires_grad_(False)
        pytest.importorskip("transformers")
        save_audio(name, tmp_path)
        return PretrainedAudio(tmp_path, **settings)

    return encoder


def stream(encoder, samples, cut):
    """Tokens of each step, then those of the end."""
    state, parts = encoder.init_state(len(samples)), []
    for piece in samples.split(cut, dim=1):
        tokens, state = encoder.step(piece, state)
        parts.append(tokens)
    return parts, encoder.finish(state)


def mean_square(samples):
    """An encoder whose tokens hear their own 20 ms and nothing else."""
    return samples[:, : samples.shape[1] // 320 * 320].unflatten(1, (-1, 320)).square().mean(-1, keepdim=True)


@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
@pytest.mark.parametrize("name", ENCODERS)
def test_forward_is_the_streamed_steps_and_the_end(name, cut, make):
    encoder, samples = make(name), voice(72_300 / SECOND)
    assert isinstance(encoder, AudioEncoder)
    parts, end = stream(encoder, samples, cut)
    whole = encoder(samples)
    assert whole.shape == (2, int(72_300 * encoder.rate // SECOND), encoder.width)
    torch.testing.assert_close(torch.cat([*parts, end], dim=1), whole, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("name", ["wav2vec2", "whisper"])
def test_steps_give_whole_seconds_and_the_end_gives_the_rest(name, make):
    parts, end = stream(make(name), voice(2.51), (15_999, 1, 24_160))
    assert [part.shape[1] for part in parts] == [0, 50, 50] and end.shape == (2, 25, 24)


@pytest.mark.parametrize("name", ENCODERS)
def test_streams_shorter_than_a_token_give_none(name, make):
    encoder = make(name)
    for samples in (voice(0.019), voice(0)):
        parts, end = stream(encoder, samples, samples.shape[1] or 1)
        assert encoder(samples).shape == torch.cat([*parts, end], dim=1).shape == (2, 0, encoder.width)


@pytest.mark.parametrize("name", PRETRAINED)
def test_the_first_window_has_no_history(name, make):
    encoder, samples = make(name), voice(1.7)
    tokens = encoder(samples)
    torch.testing.assert_close(tokens[:, :50], encoder.encode(samples[:, :SECOND]))
    torch.testing.assert_close(tokens[:, 50:], encoder.encode(samples)[:, 50:])


def test_state_is_a_value(make):
    encoder = make("wav2vec2")
    state = encoder.step(voice(1.5), encoder.init_state(2))[1]
    again = [(encoder.step(voice(1.0), state)[0], encoder.finish(state)) for _ in range(2)]
    assert all(torch.equal(a, b) for a, b in zip(*again, strict=True))


@pytest.mark.parametrize("seconds", [0.5, 2.99, 7.33])
@pytest.mark.parametrize("fresh", [0.02, 0.31, 1.0])
@pytest.mark.parametrize("history", [0.0, 0.333, 2.0])
def test_windows_keep_the_time_of_each_token(history, fresh, seconds):
    samples = voice(seconds)
    windows = Windows(50.0, 1, history, fresh)
    torch.testing.assert_close(windows.encode(mean_square, samples), mean_square(samples), atol=0, rtol=0)


def test_slow_tokens_come_with_the_window_in_which_they_end(make):
    encoder, samples = make("log-mel-12.5"), voice(7.3)  # 12.5 tokens a second: windows end inside tokens
    windows = Windows(encoder.rate, encoder.width)
    torch.testing.assert_close(windows.encode(encoder.forward, samples), encoder(samples), atol=1e-5, rtol=1e-5)
    counts = [windows.step(encoder.forward, samples[:, : s * SECOND], windows.init_state(samples, 2))[0].shape[1]
              for s in range(4)]  # fmt: skip
    assert counts == [0, 12, 25, 37]


@pytest.mark.parametrize("name", PRETRAINED)
@pytest.mark.parametrize("token", [20, 72, 149, 150, 226])
def test_an_impulse_moves_the_same_token_whole_and_in_windows(name, token, make):
    encoder, samples = make(name), voice(5.0, batch=1)
    struck = samples.clone()
    centre = token * 320 + (0 if name == "whisper" else 160)
    struck[:, centre - 20 : centre + 20] += 0.02
    for encode in (encoder.encode, encoder):
        moved = (encode(struck) - encode(samples)).norm(dim=-1)[0]
        assert int(moved.argmax()) == token


def test_history_shorter_than_what_a_causal_encoder_hears_is_a_loss(make):
    encoder, samples = make("log-mel-50"), voice(4.0)
    far, near = (Windows(50.0, 8, history).encode(encoder.forward, samples) for history in (0.2, 0.02))
    torch.testing.assert_close(far, encoder(samples), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(near, encoder(samples), atol=1e-3)
    assert torch.allclose(near[:, :50], encoder(samples)[:, :50], atol=1e-5)  # silence came before the first window


def test_windows_that_cannot_be_are_told():
    for settings, message in (
        ({"history": -1.0}, "history of -1.0 s is below 0"),
        ({"fresh": 0.01}, "fresh of 0.01 s is below a token of 0.02 s"),
        ({"rate": 30.0}, "30.0 tokens a second are not whole samples"),
    ):
        with pytest.raises(ValueError, match=message):
            Windows(**{"rate": 50.0, "width": 1} | settings)
