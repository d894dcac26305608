"""Batches of clips as streams in step."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lpm.stream import stream_batch
from lpm.types import Batch, Prompt
from tiny_streaming import CHUNK, FPS, opening, refiner, sampler, stream

FRAMES = 1 + 4 * CHUNK * 5


def batch_of(begin, voices, frames=FRAMES, history=0.5):
    """The clip that begins as a stream does, its voices after silence."""
    still = np.zeros(round(history * 16_000), np.float32)
    speak, listen = (torch.from_numpy(np.concatenate([still, voice]))[None].double() for voice in voices)
    video = begin.picture_B3HW[:, None].repeat(1, frames, 1, 1, 1)
    states = torch.zeros(1, frames, dtype=torch.int64)
    return Batch(["a"], FPS, speak, listen, history, begin.text, states, begin.references, video_BTCHW=video)


def two(batch):
    """The clip twice, the second time with its voices exchanged."""
    twice = {name: torch.cat([x, x]) for name, x in vars(batch.references).items() if x is not None}
    return replace(
        batch,
        keys=["a", "b"],
        text=batch.text * 2,
        speak_BS=torch.cat([batch.speak_BS, batch.listen_BS]),
        listen_BS=torch.cat([batch.listen_BS, batch.speak_BS]),
        video_BTCHW=batch.video_BTCHW.repeat(2, 1, 1, 1, 1),
        references=replace(batch.references, **twice),
    )


@pytest.fixture
def even(voices):
    return [voice[:50_000] for voice in voices]


@pytest.mark.parametrize("staggered", [False, True])
def test_a_clip_is_the_stream_of_its_voices(model, even, staggered):
    streamer = sampler(model, refiner=refiner(), staggered=staggered)
    begin = opening(seed=3)
    expected = stream(streamer, streamer.open(begin), even, range(500, 50_000, 700))[:FRAMES]
    pieces = list(stream_batch(streamer, batch_of(begin, even), seed=3))
    assert torch.equal(torch.cat(pieces, dim=1)[0], expected)
    assert len(pieces) == 5
    cut = batch_of(begin, even, FRAMES - 3)
    assert torch.equal(torch.cat(list(stream_batch(streamer, cut, seed=3)), dim=1)[0], expected[:-3])


def test_rows_are_apart_and_hear_what_is_theirs(streamer, even):
    batch = two(batch_of(opening(), even))
    made, again = (
        torch.cat(list(stream_batch(streamer, replace(batch, listen_BS=listen))), dim=1)
        for listen in (batch.listen_BS, torch.cat([batch.listen_BS[:1], 0 * batch.listen_BS[1:]]))
    )
    assert made.shape == (2, FRAMES, 3, 16, 16)
    torch.testing.assert_close(made[0], again[0], rtol=0, atol=1e-9)
    assert (made[1] - again[1]).abs().max() > 1e-3


def test_later_frames_are_not_read_references_are_and_the_end_is_silent(streamer, even):
    batch = batch_of(opening(), even)
    whole = torch.cat(list(stream_batch(streamer, batch)), dim=1)
    dark = batch.video_BTCHW.clone()
    dark[:, 1:] = -1
    assert torch.equal(torch.cat(list(stream_batch(streamer, replace(batch, video_BTCHW=dark))), dim=1), whole)
    alone = torch.cat(list(stream_batch(streamer, batch, references=False)), dim=1)
    assert (alone - whole).abs().max() > 1e-3
    longer = torch.cat(list(stream_batch(streamer, batch, frames=2 * FRAMES)), dim=1)
    padded = [np.pad(voice, (0, 50_000)) for voice in even]
    assert torch.equal(longer, torch.cat(list(stream_batch(streamer, batch_of(opening(), padded, 2 * FRAMES))), dim=1))


def test_what_cannot_be_streamed_is_refused(streamer, even):
    batch = batch_of(opening(), even)
    with pytest.raises(ValueError, match="first frame's pixels"):
        next(stream_batch(streamer, replace(batch, video_BTCHW=None)))
    with pytest.raises(ValueError, match="prompts that change"):
        next(stream_batch(streamer, replace(batch, prompts=[[Prompt(1.0, "merry")]])))
