from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from lightning.fabric.utilities.apply_func import move_data_to_device
from torch.utils._python_dispatch import TorchDispatchMode

from lpm.backbone import CausalDiT, DeferredDiT, block_mask, puppet_small
from lpm.nn import EightBit, KVCache
from lpm.ops import flex
from lpm.stream import ChunkNoise
from lpm.types import Conditions
from tiny_streams import FPS, STRIDE, at, causal, clip, dit, row, stream, together

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


@contextmanager
def layers(model):
    """Collect what every block makes: tokens, and keys and values along the tokens."""
    made = []

    def keep(block, args, output):
        x_BLD, (key_BHLK, value_BHLK) = output
        made.append([x_BLD, key_BHLK.transpose(1, 2), value_BHLK.transpose(1, 2)])

    hooks = [block.register_forward_hook(keep) for block in model.blocks]
    yield made
    for hook in hooks:
        hook.remove()


@torch.no_grad()
@pytest.mark.parametrize(
    "chunk, sink, window, chunks, size, references, tokens",
    [
        (1, 0, 1, 5, (4, 4), 2, 8 * 4),
        (1, 2, 20, 24, (2, 2), 2, 27),
        (2, 3, 2, 7, (4, 8), 1, 128),
        (4, 0, 1, 4, (4, 6), 2, 19 * 6),
        (4, 3, 2, 7, (4, 4), 3, 128),
        (5, 1, 1, 4, (4, 4), 2, 23 * 4),
        (6, 1, 1, 4, (4, 6), 2, 27 * 6),
        (7, 1, 1, 4, (2, 6), 2, 31 * 3),
        (7, 1, 1, 4, (4, 8), 3, 2 * 128),
        (8, 0, 1, 3, (4, 16), 3, 28 * 16),
        (8, 1, 1, 4, (4, 4), 3, 36 * 4),
        (8, 2, 20, 3, (2, 6), 2, 27 * 3),  # nothing is forgotten
    ],
)
def test_every_layer_of_a_stream_equals_that_of_the_whole_clip(chunk, sink, window, chunks, size, references, tokens):
    model = causal(chunk, sink, window)
    latents, t, conditions = clip(1 + chunk * chunks, size=size, references=references)
    with layers(model) as whole:
        expected = model(latents, t, conditions, FPS)
    assert {x.shape[1] for layer in whole for x in layer} == {tokens}
    cache, frame = begin(model, latents, conditions), tokens // (1 + chunk * chunks + references)
    for index in range(chunks):
        part, heard = slice(1 + chunk * index, 1 + chunk * (index + 1)), at(conditions, index, chunk)
        with layers(model) as read:
            made = model(latents[:, part], t[:, part], heard, cache=cache)
        model.extend(latents[:, part], t[:, part], heard, cache)
        place = slice(part.start * frame, part.stop * frame)
        torch.testing.assert_close(read, [[x[:, place] for x in layer] for layer in whole], **EXACT)
        torch.testing.assert_close(made, expected[:, part], **EXACT)


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
    torch.testing.assert_close(
        model.forward_clip(latents, t, conditions, FPS, latents, t), model(latents, t, conditions, FPS)
    )


@torch.no_grad()
def test_the_beginning_of_a_chunk_can_be_predicted_alone():
    model = causal(chunk=3)
    latents, t, conditions = clip(6)
    cache = begin(model, latents, conditions)
    stream(model, latents[:, :4], t[:, :4], conditions, cache)
    torch.testing.assert_close(
        model(latents[:, 4:], t[:, 4:], at(conditions, 1, 3), cache=cache),
        model(latents, t, conditions, FPS)[:, 4:],
        **EXACT,
    )


@pytest.mark.parametrize("sink, window", [(0, 1), (1, 2), (2, 1)])
def test_one_block_sees_its_chunk_the_sink_and_the_window_and_nothing_else(sink, window):
    model, chunks = causal(2, sink, window, depth=1), 6
    latents, t, conditions = clip(1 + 2 * chunks, batch=1)
    latents.requires_grad_()
    made = model(latents, t, conditions, FPS)[:, 1:].unflatten(1, (chunks, 2))
    for query in range(chunks):
        weight = torch.randn_like(made[:, query])
        (gradient,) = torch.autograd.grad((made[:, query] * weight).sum(), latents, retain_graph=True)
        seen = gradient[:, 1:].unflatten(1, (chunks, 2)).abs().amax(dim=(0, 2, 3, 4, 5)) > 0
        wanted = [key <= query and (query - key <= window or key < sink) for key in range(chunks)]
        assert seen.tolist() == wanted


@pytest.mark.parametrize("sink, window", [(1, 1), (0, 2)])
def test_the_future_cannot_change_the_past(sink, window):
    model = causal(sink=sink, window=window)
    latents, t, conditions = clip(13)
    voices = (conditions.speak, 0.15), (conditions.listen, 0.1)  # look-ahead in seconds
    inputs = [latents, t, *(voice.tokens_BAD for voice, _ in voices)]
    for x in inputs:
        x.requires_grad_()
    made = model(latents, t, conditions, FPS)
    for last in (0, 2, 6):  # the first picture, and the end of a chunk
        past = made[:, : 1 + last]
        gradients = torch.autograd.grad((past * torch.randn_like(past)).sum(), inputs, retain_graph=True)
        for gradient in gradients[:2]:
            assert gradient[:, 1 + last :].abs().max() == 0
            assert last == 0 or gradient[:, last].abs().max() > 0
        for gradient, (voice, look_ahead) in zip(gradients[2:], voices):
            ends = voice.start + torch.arange(1, 1 + gradient.shape[1]) / voice.rate
            early = ends < (1 + STRIDE * last) / FPS + look_ahead + 1e-6
            assert gradient[:, ~early].abs().max() == 0
            assert gradient[:, early][:, -1].abs().max() > 0


@torch.no_grad()
def test_references_and_first_frame_are_seen_for_ever_and_see_themselves_only():
    model = causal()
    latents, t, conditions = clip(15)
    cache = begin(model, latents, conditions)
    still = [x.clone() for pair in cache.still for x in pair]
    stream(model, latents, t, conditions, cache)
    assert all(torch.equal(a, b) for a, b in zip(still, (x for pair in cache.still for x in pair)))
    last = model(latents[:, 1:3], t[:, 1:3], conditions, cache=cache)
    for pair in cache.still:
        pair.value.zero_()
    assert (model(latents[:, 1:3], t[:, 1:3], conditions, cache=cache) - last).abs().max() > 1e-3


def contents(cache):
    state = cache.state_dict()
    return [
        *(x for layer in (*state["layers"], *state["still"]) for x in layer),
        *state["turns"],
        state["count_B"],
        *state["rows"].values(),
        *(x for x in cache.turned if x is not None),
        *cache.turn_past,
        *cache.turn_now,
    ]


@torch.no_grad()
def test_reading_never_writes():
    model = causal()
    latents, t, conditions = clip(9)
    cache = begin(model, latents, conditions, turn_once=True)
    stream(model, latents, t, conditions, cache)
    before, places = [x.clone() for x in contents(cache)], [x.data_ptr() for x in cache.layers[0].tensors]
    first = model(latents[:, 1:3], t[:, 1:3], conditions, cache=cache)
    second = model(latents[:, 1:3], t[:, 1:3], conditions, cache=cache)
    assert torch.equal(first, second)
    assert all(torch.equal(a, b) for a, b in zip(before, contents(cache)))
    assert places == [x.data_ptr() for x in cache.layers[0].tensors]


@torch.no_grad()
@pytest.mark.parametrize("chunks", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_after_many_chunks_a_cache_equals_a_fresh_one_fed_the_same_last_chunks(chunks):
    sink, window, depth = 1, 2, 2
    model = causal(1, sink, window, depth)
    latents, t, conditions = clip(1 + sink + window + depth * window, batch=1, size=(2, 2), references=1)
    memory, old = begin(model, latents, conditions), begin(model, latents, conditions)
    start = memory.bytes
    parts = [(latents[:, i : i + 1], t[:, i : i + 1]) for i in range(1, latents.shape[1])]
    for part in parts[: sink + window]:  # the sink, and the same distance to it
        model.extend(*part, conditions, memory)
        model.extend(*part, conditions, old)
    for index in range(chunks):
        noise = torch.full_like(latents[:, :1], (index % 17) / 17)
        model.extend(noise, t[:, 1:2], conditions, old)
    for part in parts[sink + window :]:  # each layer looks back one window further
        model.extend(*part, conditions, memory)
        model.extend(*part, conditions, old)
    assert int(old.count_B) == chunks + len(parts)
    a, b = (model(latents[:, 1:2], t[:, 1:2], conditions, cache=cache) for cache in (memory, old))
    torch.testing.assert_close(a, b, rtol=0, atol=1e-12)
    assert old.bytes == memory.bytes
    assert old.bytes <= start


@torch.no_grad()
def test_the_age_of_a_stream_does_not_matter():
    model = causal(sink=1, window=2)
    latents, t, conditions = clip(15)
    cache = begin(model, latents, conditions)
    stream(model, latents, t, conditions, cache)
    made = stream(model, latents, t, conditions, cache.take(torch.arange(2)))
    old = cache.take(torch.arange(2))
    old.count_B += 2 * 10**9  # 60 years; a multiple of the window, so that the ring's head stays
    torch.testing.assert_close(stream(model, latents, t, conditions, old), made, rtol=0, atol=0)


@torch.no_grad()
@pytest.mark.parametrize("late", [1, 4])
def test_two_streams_in_one_batch_at_different_times_equal_two_alone(late):
    model, chunks = causal(sink=1, window=2), 8
    latents, t, conditions = clip(1 + 2 * chunks)
    alone = model(latents, t, conditions, FPS)[:, 1:].unflatten(1, (chunks, 2))
    cache = begin(model, latents, conditions, turn_once=late == 1)
    stream(model, latents[:, : 1 + 2 * late], t[:, : 1 + 2 * late], conditions, cache)
    cache.put(torch.tensor([1]), begin(model, latents[1:], row(conditions, 1)))  # row 1 starts anew, row 0 goes on
    by_chunk, t_by_chunk = (x[:, 1:].unflatten(1, (chunks, 2)) for x in (latents, t))
    for index in range(chunks - late):
        now = (index + late, index)
        noisy, levels = (torch.stack([x[row][chunk] for row, chunk in enumerate(now)]) for x in (by_chunk, t_by_chunk))
        made = model(noisy, levels, together(conditions, now, 2), cache=cache)
        expected = torch.stack([alone[row, chunk] for row, chunk in enumerate(now)])
        torch.testing.assert_close(made, expected, **EXACT)
        model.extend(noisy, levels, together(conditions, now, 2), cache)


@torch.no_grad()
def test_two_streams_on_one_model_do_not_disturb_each_other():
    model = causal()
    clips = [clip(9, seed=seed) for seed in (1, 2)]
    caches = [begin(model, latents, conditions) for latents, _, conditions in clips]
    made = [[], []]
    for index in range(4):
        part = slice(1 + 2 * index, 3 + 2 * index)
        for i, (latents, t, conditions) in enumerate(clips):
            heard = at(conditions, index, 2)
            made[i].append(model(latents[:, part], t[:, part], heard, cache=caches[i]))
            model.extend(latents[:, part], t[:, part], heard, caches[i])
    for (latents, t, conditions), mine in zip(clips, made):
        torch.testing.assert_close(torch.cat(mine, dim=1), model(latents, t, conditions, FPS)[:, 1:], **EXACT)


@torch.no_grad()
@pytest.mark.parametrize("stored", [None, EightBit])
def test_a_saved_stream_goes_on_as_if_nothing_had_happened(stored, tmp_path):
    model = causal()
    latents, t, conditions = clip(13)
    cache = begin(model, latents, conditions, stored=stored, turn_once=stored is None)
    stream(model, latents, t, conditions, cache)
    snapshot = cache.state_dict()
    torch.save(snapshot, tmp_path / "stream.pt")
    expected = stream(model, latents, t, conditions, cache)
    for state in (torch.load(tmp_path / "stream.pt", weights_only=True), snapshot, snapshot):
        restored = KVCache.restore(state)
        assert torch.equal(stream(model, latents, t, conditions, restored), expected)
        assert restored.bytes == cache.bytes


@torch.no_grad()
def test_a_restored_cache_shares_no_memory_with_the_state():
    model = causal()
    latents, t, conditions = clip(13)
    cache = begin(model, latents, conditions)
    stream(model, latents, t, conditions, cache)
    state = cache.state_dict()
    before, restored = deepcopy(state), KVCache.restore(state)
    restored.put(torch.tensor([0]), cache.take(torch.tensor([1])))
    assert not torch.equal(restored.still[0].key[0], before["still"][0][0][0]), "the row is another one's now"
    torch.testing.assert_close(state, before, rtol=0, atol=0)


@torch.no_grad()
def test_a_row_moves_to_another_cache():
    model = causal()
    latents, t, conditions = clip(13)
    cache = begin(model, latents, conditions)
    stream(model, latents, t, conditions, cache)
    alone = cache.take(torch.tensor([1]))
    other = begin(model, latents[:1], row(conditions, 0))
    other.put(torch.tensor([0]), alone)
    expected = stream(model, latents, t, conditions, cache)[1:]
    for moved in (alone, other):
        torch.testing.assert_close(stream(model, latents[1:], t[1:], row(conditions, 1), moved), expected, **EXACT)


def test_the_weights_of_a_dit_load_strictly():
    torch.manual_seed(0)
    network, other = puppet_small(channels=4), puppet_small(channels=4)
    model = CausalDiT(other, chunk=2)
    assert list(model.state_dict()) == list(network.state_dict())
    model.load_state_dict(network.state_dict(), strict=True)
    network.load_state_dict(model.state_dict(), strict=True)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), network.state_dict().values()))


@torch.no_grad()
@pytest.mark.parametrize("anchor", [True, False])
def test_one_chunk_through_one_block_equals_the_dit(anchor):
    network = dit(depth=1, anchor=anchor)
    latents, t, conditions = clip(5)
    made = CausalDiT(network, chunk=4)(latents, t, conditions, FPS)
    torch.testing.assert_close(made[:, 1:], network(latents, t, conditions, FPS)[:, 1:], **EXACT)


@torch.no_grad()
@pytest.mark.parametrize("turn_once", [False, True])
@pytest.mark.parametrize("stored", [None, EightBit])
def test_nothing_in_the_loop_waits_for_the_host(stored, turn_once):
    """On the meta device, whose tensors hold no numbers, all that would read one raises."""
    model, (latents, t, conditions) = causal(depth=1), clip(9)
    cache = begin(model, latents, conditions, stored=stored, turn_once=turn_once)
    cache, model = KVCache.restore(on_meta(cache.state_dict())), model.to("meta")
    latents, t, conditions, first = on_meta([latents, t, conditions, torch.zeros(1, dtype=torch.int64)])
    stream(model, latents, t, conditions, cache)
    assert cache.least == 3, "the window is full"
    cache.put(first, cache.take(first))
    stream(model, latents[:, :3], t[:, :3], conditions, cache)
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        cache.count_B[0].item()


class Unwaited(TorchDispatchMode):
    """Fails where numbers of the host are copied to another device and the host waits for the copy."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        if function is torch.ops.aten._to_copy.default and args[0].device.type == "cpu" != made.device.type:
            assert kwargs.get("non_blocking"), f"{tuple(made.shape)} is sent, and waited for"
        return made


@torch.no_grad()
@pytest.mark.parametrize("summary", [0, 2])
def test_what_the_host_works_out_is_sent_without_waiting(summary):
    model, (latents, t, conditions) = causal(depth=1, summary=summary), clip(9)
    cache = KVCache.restore(on_meta(begin(model, latents, conditions).state_dict()))
    model, (latents, t, conditions) = model.to("meta"), on_meta([latents, t, conditions])
    with Unwaited():
        stream(model, latents, t, conditions, cache)
        ChunkNoise(0, 0, 0)(latents)
    with pytest.raises(AssertionError, match="waited for"), Unwaited():
        torch.zeros(3).to("meta")


def on_meta(parts):
    """The same tensors without their numbers, in whatever holds them."""
    return move_data_to_device(parts, torch.device("meta"))


@torch.no_grad()
def test_writing_touches_one_slot_and_copies_nothing():
    model = causal(chunk=2, sink=1, window=2)
    latents, t, conditions = clip(3)
    cache = begin(model, latents, conditions)
    slots = []
    for _ in range(6):
        before = [[x.clone() for x in layer.tensors] for layer in cache.layers]
        places = [[x.data_ptr() for x in layer.tensors] for layer in cache.layers]
        latents = latents + 1
        model.extend(latents[:, 1:], t[:, 1:], conditions, cache)
        assert places == [[x.data_ptr() for x in layer.tensors] for layer in cache.layers]
        changed = {
            slot
            for old, layer in zip(before, cache.layers)
            for a, b in zip(old, layer.tensors)
            for slot in range(3)
            if not torch.equal(a[:, :, slot], b[:, :, slot])
        }
        slots.append(changed)
    assert slots == [{0}, {1}, {2}, {1}, {2}, {1}]


@torch.no_grad()
def test_eight_bits_cost_little():
    model = causal().float()
    latents, t, conditions = clip(21, size=(4, 4))
    latents, t = latents.float(), t.float()
    conditions = single(conditions)
    exact, rounded = (
        stream(model, latents, t, conditions, begin(model, latents, conditions, stored=stored))
        for stored in (None, EightBit)
    )
    error = (rounded - exact).norm() / exact.norm()
    assert 0 < error < 0.01


def single(conditions):
    """The conditions in single precision."""
    speak, listen = (replace(x, tokens_BAD=x.tokens_BAD.float()) for x in (conditions.speak, conditions.listen))
    text = replace(conditions.text, tokens_BLD=conditions.text.tokens_BLD.float())
    references = replace(conditions.references, latents_BRCYX=conditions.references.latents_BRCYX.float())
    return replace(conditions, speak=speak, listen=listen, text=text, references=references)


@torch.no_grad()
@pytest.mark.parametrize("autocast", [True, False])
def test_half_precision_stays_close(autocast):
    model = causal()
    latents, t, conditions = clip(13)
    expected = stream(model, latents, t, conditions, begin(model, latents, conditions))
    model, latents, t, conditions = model.float(), latents.float(), t.float(), single(conditions)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        cache = begin(model, latents, conditions)
        made = stream(model, latents, t, conditions, cache)
    limit = 0.1 if autocast else 1e-4
    assert (made.double() - expected).norm() < limit * expected.norm()


@torch.no_grad()
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("size", [(4, 4), (8, 16)])
def test_blocks_for_flex_attention_equal_the_dense_mask(size):
    dense, sparse = causal(), causal(mask=block_mask)
    for block in sparse.blocks:
        block.attention.attend = flex
    latents, t, conditions = clip(13, size=size)
    args = latents, t, conditions, FPS
    torch.testing.assert_close(sparse(*args), dense(*args), **EXACT)


def test_what_does_not_fit_is_refused():
    model = causal()
    latents, t, conditions = clip(5)
    with torch.no_grad():
        cache = begin(model, latents, conditions)
    with pytest.raises(ValueError, match="network DeferredDiT is no DiT; give CausalDiT a"):
        CausalDiT(DeferredDiT(puppet_small))
    with pytest.raises(ValueError, match="written in place"):
        model(latents[:, 1:3], t[:, 1:3], conditions, cache=cache)
    with pytest.raises(ValueError, match="whole chunk of 2"):
        model.extend(latents[:, 1:2], t[:, 1:2], conditions, cache)
    with pytest.raises(ValueError, match="1 to 2 latent frames"):
        model(latents[:, 1:4], t[:, 1:4], conditions, cache=cache)
    with pytest.raises(ValueError, match="neither cache nor fps"):
        model(latents, t, conditions)
    with pytest.raises(ValueError, match="give the same shape"):
        model.forward_clip(latents, t, conditions, FPS, latents[:, :3], t[:, :3])
    with pytest.raises(ValueError, match="window 1 or more"):
        causal(window=0)
    with pytest.raises(ValueError, match="8-bit keys carry no gradient"):
        model.extend(latents[:, 1:3], t[:, 1:3], conditions, begin(model, latents, conditions, stored=EightBit))
    with pytest.raises(ValueError, match="cannot enter"):
        cache.put(torch.tensor([0]), begin(causal(window=3), latents[:1], row(conditions, 0)))
