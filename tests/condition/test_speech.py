import numpy as np
import pytest
import torch

from lpm.condition.speech import FRAME, HOP, LogMelEncoder, audio_features, log_mel


def voice(seconds, batch=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, int(16_000 * seconds), generator=generator, dtype=torch.float64) * 0.1


def log_mel_by_the_formula(frame, mels):
    """Mel energies of one frame, one band and one bin at a time."""
    n = np.arange(FRAME)
    power = np.abs(np.fft.rfft(frame * (0.5 - 0.5 * np.cos(2 * np.pi * n / FRAME)))) ** 2
    to_mel, to_hz = lambda f: 2595 * np.log10(1 + f / 700), lambda m: 700 * (10 ** (m / 2595) - 1)
    corners = [to_hz(m) for m in np.linspace(to_mel(20), to_mel(8000), mels + 2)]
    energies = []
    for left, peak, right in zip(corners, corners[1:], corners[2:]):
        energy = 0.0
        for k, p in enumerate(power):
            f = k * 16_000 / FRAME
            energy += p * max(0, min((f - left) / (peak - left), (right - f) / (right - peak)))
        energies.append(energy)
    return np.log(np.array(energies) + 1e-5) / 4 + 1


def test_log_mel_matches_the_formula():
    frame = voice(0.025)
    np.testing.assert_allclose(
        log_mel(frame[:, None], 20)[0, 0], log_mel_by_the_formula(frame[0].numpy(), 20), rtol=1e-9
    )


def test_silence_and_loud_speech_stay_in_a_small_range():
    silence, loud = log_mel(torch.zeros(1, 1, FRAME), 64), log_mel(torch.randn(1, 1, FRAME), 64)
    assert silence.min() == silence.max() == pytest.approx(-1.88, abs=0.01)
    assert loud.max() < 4


@pytest.mark.parametrize("rate", [100, 50, 12.5])
def test_streamed_equals_whole_for_any_pieces(rate):
    torch.manual_seed(0)
    encoder = LogMelEncoder(8, rate, mels=16, blocks=2).double()
    samples = voice(1.0, batch=2)
    state, tokens, start = encoder.init_state(2), [], 0
    for size in (1, 159, 160, 700, 3, 4999, 2, 8000, 20_000):
        piece, state = encoder.step(samples[:, start : start + size], state)
        tokens.append(piece)
        start += size
    whole = encoder(samples)
    assert whole.shape == (2, int(rate), 8)
    torch.testing.assert_close(torch.cat(tokens, 1), whole, rtol=0, atol=1e-9)


@pytest.mark.parametrize("rate", [50, 12.5])
def test_token_hears_nothing_after_its_end(rate):
    torch.manual_seed(0)
    encoder = LogMelEncoder(8, rate, mels=16, blocks=2).double()
    samples = voice(0.8).requires_grad_()
    token = 6
    gradient = torch.autograd.grad(encoder(samples)[0, token].square().sum(), samples)[0][0]
    end = int((token + 1) / rate * 16_000)
    assert gradient[end:].abs().max() == 0
    assert gradient[end - HOP : end].abs().max() > 0


def test_state_is_a_value():
    encoder = LogMelEncoder(8, 50).double()
    state = encoder.init_state(1)
    first, _ = encoder.step(voice(0.1), state)
    again, _ = encoder.step(voice(0.1), state)
    assert torch.equal(first, again)


def test_gradient_reaches_every_parameter():
    encoder = LogMelEncoder(8, 12.5)
    encoder(voice(0.5).float()).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in encoder.parameters())


def test_features_know_their_time():
    features = audio_features(LogMelEncoder(8, 50), voice(1.0).float(), history=0.25)
    assert (features.rate, features.start, features.tokens_BAD.shape[1]) == (50, -0.25, 50)


@pytest.mark.parametrize("rate", [50.0, 12.5])
def test_long_voice_is_encoded_piece_by_piece_to_the_same_features(rate):
    encoder, samples = LogMelEncoder(8, rate).double(), voice(31.7, batch=2)
    heard = []
    encoder.convs[0].conv.register_forward_hook(lambda _, inputs, output: heard.append(inputs[0].shape[-1]))
    features = audio_features(encoder, samples, history=0.25)
    assert len(heard) == 4 and max(heard) < 1100
    torch.testing.assert_close(features.tokens_BAD, encoder(samples), rtol=1e-12, atol=1e-12)


def test_impossible_rate_is_refused():
    with pytest.raises(ValueError, match="rate of 30 Hz"):
        LogMelEncoder(8, 30)
