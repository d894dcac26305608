from dataclasses import replace

import pytest
import torch
from tiny_streams import FPS, at, causal, clip, row, stream

from lpm.backbone import CausalDiT, block_mask, puppet_small
from lpm.nn import EightBit, KVCache
from lpm.ops import flex
from lpm.types import Conditions

EXACT = {"rtol": 0, "atol": 1e-9}


def begin(model, latents, conditions, **settings):
    return model.init_cache(latents[:, 0], conditions, FPS, **settings)


@torch.no_grad()
@pytest.mark.parametrize("chunk, size", [(1, (4, 4)), (2, (4, 6)), (3, (2, 2)), (4, (8, 16)), (8, (2, 6))])
@pytest.mark.parametrize("sink, window", [(0, 1), (0, 2), (1, 1), (3, 2), (2, 20)])
def test_a_stream_equals_the_whole_clip(chunk, size, sink, window):
    model = causal(chunk, sink, window)
    chunks = 3 if chunk == 4 else sink + window + 4 if window < 20 else 4
    latents, t, conditions = clip(1 + chunk * chunks, size=size)
    streamed = stream(model, latents, t, conditions, begin(model, latents, conditions))
    torch.testing.assert_close(streamed, model(latents, t, conditions, FPS)[:, 1:], **EXACT)


@torch.no_grad()
@pytest.mark.parametrize("anchor", [True, False])
@pytest.mark.parametrize("summary", [0, 2])
@pytest.mark.parametrize("turn_once", [True, False])
def test_a_stream_equals_the_whole_clip_for_every_part(anchor, summary, turn_once):
    model = causal(anchor=anchor, summary=summary)
    latents, t, conditions = clip(13)
    for known in (conditions, replace(conditions, references=None), Conditions()):
        streamed = stream(model, latents, t, known, begin(model, latents, known, turn_once=turn_once))
        torch.testing.assert_close(streamed, model(latents, t, known, FPS)[:, 1:], **EXACT)


@torch.no_grad()
def test_a_stream_with_its_own_history_equals_teacher_forcing():
    model = causal()
    latents, t, conditions = clip(15)
    history, t_history, _ = clip(15, seed=2)
    history[:, 0] = latents[:, 0]
    streamed = stream(model, latents, t, conditions, begin(model, latents, conditions), history, t_history)
    whole = model.forward_clip(latents, t, conditions, FPS, history, t_history)
    torch.testing.assert_close(streamed, whole[:, 1:], **EXACT)
    assert not torch.allclose(whole, model(latents, t, conditions, FPS))
    torch.testing.assert_close(model.forward_clip(latents, t, conditions, FPS, latents, t), model(latents, t, conditions, FPS))


@torch.no_grad()
def test_the_beginning_of_a_chunk_can_be_predicted_alone():
    model = causal(chunk=3)
    latents, t, conditions = clip(6)
    cache = begin(model, latents, conditions)
    stream(model, latents[:, :4], t[:, :4], conditions, cache)
    torch.testing.assert_close(
        model(latents[:, 4:], t[:, 4:], at(conditions, 1, 3), cache=cache), model(latents, t, conditions, FPS)[:, 4:], **EXACT
    )
