"""A stream with pretrained encoders, on tiny random weights in the true format, hears what they hear offline.

Each second is encoded as the end of a window of itself and the two seconds before it; the stream's first 2.6 s are
silent.
"""

import pytest
import torch

from lpm.backbone import puppet
from lpm.condition import LogMelEncoder, PretrainedAudio
from tiny_streaming import CHUNK, FPS, offline, opening, performer, sampler, shaken, stream
from tiny_weights import AUDIO, save_audio

pytest.importorskip("transformers")
SECOND, WIDTH = 16_000, AUDIO["hidden_size"]
CUTS = range(160, 50_000, 7_770)


def ear(kind, folder, rate):
    """A pretrained encoder of a kind, or one that streams without windows."""
    if kind is None:
        return LogMelEncoder(WIDTH, rate, mels=8).double()
    save_audio(kind, folder)
    return PretrainedAudio(folder).double()


@pytest.fixture(params=[("wav2vec2", None), (None, "wav2vec2-large"), ("whisper", "wav2vec2")], ids=str)
def streamer(request, tmp_path):
    model = performer()
    model.speak, model.listen = (
        ear(kind, tmp_path / name, rate) for kind, name, rate in zip(request.param, ("speak", "listen"), (50.0, 12.5))
    )
    network = puppet(8, 12, 2, 2, WIDTH, 8, summary=2, listen_rate=model.listen.rate)
    model.backbone = shaken(network).double()
    return sampler(model)


def pretrained(streamer):
    encoders = {"speak": streamer.model.speak, "listen": streamer.model.listen}
    return {name: encoder for name, encoder in encoders.items() if isinstance(encoder, PretrainedAudio)}


def heard_in_windows(encoder, samples_BS):
    """The tokens of every whole second, each of a window of three seconds."""
    ends = range(SECOND, samples_BS.shape[1] + 1, SECOND)
    windows = [encoder.encode(samples_BS[:, max(0, end - 3 * SECOND) : end]) for end in ends]
    return torch.cat([tokens[:, -50:] for tokens in windows], dim=1)


def test_it_equals_the_offline_roll_out(streamer, voices):
    made = stream(streamer, streamer.open(opening()), voices, CUTS)
    chunks = (len(made) - 1) // (4 * CHUNK)
    assert chunks == 6 and made.isfinite().all()
    torch.testing.assert_close(made, offline(streamer, opening(), voices, chunks), rtol=0, atol=1e-9)
    for encoder in pretrained(streamer).values():
        encoder.windowed = False
    assert (made - offline(streamer, opening(), voices, chunks)).abs().max() > 1e-6, "the windows do something"


@torch.no_grad()
def test_a_chunk_hears_the_windows_of_the_whole_voice(streamer, voices):
    silence = torch.zeros(round(streamer.history * SECOND), dtype=torch.float64)
    session, works = streamer.open(opening()), []
    spoken = {name: torch.from_numpy(voice).double() for name, voice in zip(("speak", "listen"), voices)}
    for begin, end in zip([0, *CUTS], [*CUTS, None]):
        for name, voice in spoken.items():
            getattr(session, name).push(voice[None, begin:end])
        while (work := streamer.begin(session)) is not None:
            works.append(work)
    assert [work.chunk for work in works] == list(range(6))
    for name, encoder in pretrained(streamer).items():
        samples = torch.cat([silence, spoken[name]])[None]
        expected = heard_in_windows(encoder, samples)
        torch.testing.assert_close(encoder(samples)[:, : expected.shape[1]], expected, rtol=0, atol=1e-9)
        for work in works:
            heard = getattr(work.conditions, name)
            start = heard.start + streamer.history + streamer.chunks(FPS).begins(work.chunk)
            first = round(start * heard.rate)
            assert start * heard.rate == pytest.approx(first)
            wanted = expected[:, first : first + heard.tokens_BAD.shape[1]]
            torch.testing.assert_close(heard.tokens_BAD, wanted, rtol=0, atol=1e-9)
