import pytest
import torch

from lpm.condition import LogMelEncoder
from lpm.stream import Chunks, Hearing


class Windowed:
    """Stands in for encoders that give tokens by whole windows: nothing until half a second is there."""

    rate, width, window = 50.0, 1, 8_000

    def forward(self, samples_BS):
        return samples_BS[:, : samples_BS.shape[1] // 320 * 320].unflatten(1, (-1, 320)).sum(-1, keepdim=True)

    def init_state(self, batch):
        return torch.zeros(batch, 0, dtype=torch.float64)

    def step(self, samples_BS, state):
        heard = torch.cat([state, samples_BS], dim=1)
        whole = heard.shape[1] // self.window * self.window
        return self.forward(heard[:, :whole]), heard[:, whole:]


def hearing(encoder, length=0.5, future=0.15, fps=24.0, history=0.9):
    return Hearing(encoder, length, future, Chunks(8, fps, 4), history)


def windows(audio, chunk, ears, fps=24.0):
    """The tokens in the window of each latent frame of a chunk."""
    found = []
    for frame in range(2):
        end = ((frame + 1) * 4 + 1) / fps + ears.future  # from the last video frame before the chunk
        last = int((end - audio.start) * audio.rate + 1e-6)
        first = last - round(ears.length * audio.rate)
        found.append(audio.tokens_BAD[:, first:last])
        assert first >= 0 and last <= audio.tokens_BAD.shape[1], "all of it is there"
    return torch.cat(found, dim=1)


@pytest.mark.parametrize(
    "encoder", [Windowed(), LogMelEncoder(4, 50.0, mels=8).double(), LogMelEncoder(4, 6.25, mels=8).double()]
)
@pytest.mark.parametrize("fps", [24.0, 25.0, 29.97])
@torch.no_grad()
def test_a_chunk_hears_what_it_would_hear_of_the_whole_stream(encoder, fps):
    ears, samples = hearing(encoder, fps=fps), torch.randn(1, 60_000, dtype=torch.float64)
    ear = ears.init_ear(1, samples)
    ear.push(samples)
    whole = encoder.forward(torch.cat([torch.zeros(1, 14_400, dtype=torch.float64), samples], dim=1))
    for chunk in range(1, 8):
        heard = ears.hear(ear, chunk)
        start = -0.9 - chunk * 8 / fps
        expected = windows(type(heard)(whole, encoder.rate, start), chunk, ears, fps)
        torch.testing.assert_close(windows(heard, chunk, ears, fps), expected, rtol=0, atol=1e-9)
        assert heard.tokens_BAD.shape[1] <= (0.5 + 8 / fps) * encoder.rate + 30, "and little more"


def test_what_is_missing_is_exactly_what_a_chunk_waits_for():
    ears = hearing(LogMelEncoder(4, 50.0, mels=8))
    ear = ears.init_ear(1, torch.zeros(1))
    for chunk in range(5):
        missing = ears.missing(ear, chunk)
        ear.push(torch.zeros(1, missing - 1))
        assert (ears.hear(ear, chunk), ears.missing(ear, chunk)) == (None, 1)
        ear.push(torch.zeros(1, 1))
        assert ears.missing(ear, chunk) == 0
        assert ears.hear(ear, chunk) is not None
        heard = ears.last_sample(chunk) / 16_000
        assert 0 <= ears.chunks.ends(chunk) + 0.15 - heard < 1 / 50, "no more than the look-ahead of the network"


def test_an_encoder_that_gives_tokens_late_is_waited_for():
    ears = hearing(Windowed())
    ear = ears.init_ear(1, torch.zeros(1, dtype=torch.float64))
    pushed = 0
    while ears.hear(ear, 0) is None:
        ear.push(torch.zeros(1, 160, dtype=torch.float64))
        pushed += 160
    assert (14_400 + pushed) % 8_000 < 160, "until its window is whole"


def test_samples_that_wait_are_forgotten_when_told():
    ears = hearing(LogMelEncoder(4, 50.0, mels=8))
    ear = ears.init_ear(1, torch.zeros(1))
    ear.push(torch.ones(1, 100_000))
    ears.hear(ear, 0)
    ear.clear()
    assert ears.missing(ear, 1) > 0


@pytest.mark.parametrize("encoder", [Windowed(), LogMelEncoder(4, 50.0, mels=8).double()])
@torch.no_grad()
def test_forgetting_before_the_first_chunk_does_not_shift_what_follows(encoder):
    ears, samples = hearing(encoder), torch.randn(1, 60_000, dtype=torch.float64)
    plain, cleared = (ears.init_ear(1, samples) for _ in range(2))
    cleared.push(torch.ones(1, 5_000))
    cleared.clear()
    assert ears.missing(cleared, 0) == ears.missing(plain, 0)
    for ear in (plain, cleared):
        ear.push(samples)
    heard, again = (ears.hear(ear, 0) for ear in (plain, cleared))
    assert torch.equal(again.tokens_BAD, heard.tokens_BAD)
    cleared.clear()
    assert cleared.waiting_BS.shape[1] == 0, "the history has been heard by now"
