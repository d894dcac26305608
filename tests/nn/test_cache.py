import pytest
import torch

from lpm.nn import EightBit, Exact, KeyValue, KVCache
from lpm.nn.stored import put_chunk, round_to_eight_bits
from lpm.ops import Rotary, rotate

HEADS, TOKENS, WIDTH = 2, 3, 6


def new_cache(batch=2, sink=1, window=2, stored=Exact, turn_once=True, layers=2):
    place_P11 = torch.arange(sink + window + 1.0, dtype=torch.float64)[:, None, None].expand(-1, TOKENS, WIDTH // 2)
    still = KeyValue(*torch.randn(2, batch, HEADS, 4, WIDTH, dtype=torch.float64))
    return KVCache(
        sink, window, Rotary((0.3 * place_P11).cos(), (0.3 * place_P11).sin()), [still] * layers, None,
        [stored.empty(still, sink + window, TOKENS) for _ in range(layers)], torch.zeros(batch, dtype=torch.long),
        {}, 24.0, not torch.is_grad_enabled(), turn_once,
    )  # fmt: skip


def chunk(index, batch=2):
    """Keys and values that tell their chunk."""
    generator = torch.Generator().manual_seed(index)
    return KeyValue(*torch.randn(2, batch, HEADS, TOKENS, WIDTH, generator=generator, dtype=torch.float64))


def write(cache, made):
    for layer in range(len(cache.layers)):
        cache.write(layer, made)
    cache.advance()


def read(cache):
    """What an attention back end is given, for queries and keys of zero."""
    given = {}

    def attend(query, key, value, mask):
        given.update(key=key, value=value, mask=mask)
        return query

    none = torch.zeros(cache.batch, HEADS, TOKENS, WIDTH, dtype=torch.float64)
    next(iter(cache.views(TOKENS)))(none, KeyValue(none, none), attend)
    return given


@torch.no_grad()
@pytest.mark.parametrize("sink, window", [(0, 1), (0, 3), (1, 2), (3, 2), (2, 1)])
def test_slots_hold_the_first_and_the_last_chunks(sink, window):
    cache = new_cache(1, sink, window)
    for count in range(14):
        held = cache.held()[0].tolist()
        kept = [i for i in range(count) if i < sink or i >= count - window]
        assert sorted(i for i in held if i >= 0) == kept
        write(cache, chunk(count, 1))
        assert cache.held()[0, cache.held()[0].argmax()] == count
        for slot, index in enumerate(cache.held()[0].tolist()):
            if index >= 0:
                assert torch.equal(cache.layers[0].tensors[0][:, :, slot], chunk(index, 1).key)


@torch.no_grad()
@pytest.mark.parametrize("turn_once", [False, True])
def test_keys_are_turned_by_their_place_in_the_window(turn_once):
    sink, window = 1, 2
    cache = new_cache(1, sink, window, turn_once=turn_once)
    for count in range(8):
        seen, gone = read(cache), max(0, count - sink - window)
        for slot, index in enumerate(cache.held()[0].tolist()):
            part = slice(4 + slot * TOKENS, 4 + (slot + 1) * TOKENS)
            if index < 0:
                assert not seen["mask"][..., part].any()
                continue
            place = index if index < sink else index - gone
            turned = rotate(chunk(index, 1).key, Rotary(*(x[place] for x in cache.turns)))
            torch.testing.assert_close(seen["key"][:, :, part], turned)
            assert torch.equal(seen["value"][:, :, part], chunk(index, 1).value)
            assert seen["mask"] is None or seen["mask"][..., part].all()
        assert (seen["mask"] is None) == (count >= sink + window)  # a full cache needs no mask
        write(cache, chunk(count, 1))


@torch.no_grad()
@pytest.mark.parametrize("stored", [Exact, EightBit])
def test_after_10_000_chunks_it_equals_a_fresh_one_fed_the_same_last_chunks(stored):
    sink, window = 2, 3
    torch.manual_seed(0)
    old = new_cache(1, sink, window, stored, layers=1)
    torch.manual_seed(0)
    fresh = new_cache(1, sink, window, stored, layers=1)
    for index in range(sink):
        write(old, chunk(index, 1))
        write(fresh, chunk(index, 1))
    start, filler = old.bytes, chunk(999, 1)
    for _ in range(10_000 - sink - window):
        write(old, filler)
    while int(fresh.count_B) % window != (10_000 - window) % window:  # the same head of the ring
        write(fresh, filler)
    for index in range(window):
        write(old, chunk(50 + index, 1))
        write(fresh, chunk(50 + index, 1))
    assert int(old.count_B) == 10_000
    assert old.bytes <= start
    a, b = read(old), read(fresh)
    assert torch.equal(a["key"], b["key"]) and torch.equal(a["value"], b["value"])


def test_a_chunk_put_out_of_place_keeps_the_gradients_of_the_others():
    old, new = torch.randn(2, 1, 3, 2, 4, requires_grad=True), torch.randn(2, 1, 2, 4, requires_grad=True)
    row, slot, weight = torch.arange(2), torch.tensor([2, 0]), torch.randn(2, 1, 3, 2, 4)
    with torch.no_grad():  # as in a step that is made without
        made = put_chunk(old, row, slot, new, in_place=False)
    for_old, for_new = torch.autograd.grad((made * weight).sum(), (old, new))
    expected = weight.clone()
    expected[row, :, slot] = 0
    assert torch.equal(for_old, expected)
    assert torch.equal(for_new, weight[row, :, slot])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_eight_bits_are_off_by_half_a_step_at_most(dtype):
    x = torch.randn(3, 2, 50, 16).to(dtype) * torch.logspace(-3, 3, 50, dtype=torch.float32).to(dtype)[:, None]
    x[0, 0, 0] = 0
    whole, scale = round_to_eight_bits(x)
    assert whole.dtype == torch.int8
    back = whole.float() * scale.float()
    limit = x.float().abs().amax(-1, keepdim=True) / 127 * (0.51 if dtype == torch.float32 else 1.1)
    assert ((back - x.float()).abs() <= limit).all()
    assert (back[0, 0, 0] == 0).all()


@torch.no_grad()
def test_rows_are_taken_and_put_with_their_own_times():
    cache = new_cache(3)
    for index in range(5):
        write(cache, chunk(index, 3))
    cache.put(torch.tensor([1]), new_cache(1))
    assert cache.count_B.tolist() == [5, 0, 5]
    assert cache.mask_BP is not None and cache.mask_BP.all(1).tolist() == [True, False, True]
    write(cache, chunk(7, 3))
    assert cache.take(torch.tensor([1, 0])).count_B.tolist() == [1, 6]
    assert torch.equal(read(cache.take(torch.tensor([1, 0])))["key"], read(cache)["key"][[1, 0]])


def test_windows_that_show_nothing_are_refused():
    with pytest.raises(ValueError, match="sink of 1 and window of 0 chunks"):
        new_cache(window=0)
