"""A stream equals one offline roll-out, however its voices come in and whatever else runs beside it."""

from dataclasses import replace

import pytest
import torch
from tiny_streaming import CHUNK, FPS, REFINE, offline, opening, refiner, sampler, stream

EXACT = {"rtol": 0, "atol": 1e-9}
CHUNKS = 8  # of a third of a second


@pytest.mark.parametrize("cuts", [[], list(range(160, 50_000, 777)), [1, 20_000, 20_001, 47_000]])
def test_a_stream_equals_the_offline_roll_out(streamer, voices, cuts):
    begin = opening()
    made = stream(streamer, streamer.open(begin), voices, cuts)
    assert len(made) == 1 + 4 * CHUNK * CHUNKS
    torch.testing.assert_close(made, offline(streamer, begin, voices, CHUNKS), **EXACT)
    assert made.diff(dim=0).abs().amax(dim=(1, 2, 3)).min() > 1e-3, "every frame differs from the one before"


def test_every_cut_gives_the_same_bits(streamer, voices):
    first, second = (stream(streamer, streamer.open(opening()), voices, cuts) for cuts in ([], range(100, 50_000, 999)))
    assert torch.equal(first, second)
