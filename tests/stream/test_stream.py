"""A stream equals one offline roll-out, however its voices come in and whatever else runs beside it."""

import gc
from dataclasses import asdict, is_dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn

from lpm.backbone import CausalDiT
from lpm.condition import Windows
from lpm.distill import Judged, OnPolicy
from lpm.nn import EightBit
from lpm.sample import FewSteps, backbone_steps
from lpm.stream import ChunkNoise, Guided, StreamSampler, save_session, usual_steps
from lpm.types import Batch
from tiny_streaming import CHUNK, FPS, REFINE, STEPS, offline, opening, performer, refiner, sampler, stream

EXACT, SAME = {"rtol": 0, "atol": 1e-9}, {"rtol": 0, "atol": 0}
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


@pytest.mark.parametrize("staggered", [False, True])
@pytest.mark.parametrize("cuts", [[], list(range(3_000, 50_000, 3_000))])
def test_a_refined_stream_equals_the_offline_roll_out(model, voices, staggered, cuts):
    second = refiner()
    streamer = sampler(model, refiner=second, refine=REFINE, staggered=staggered)
    made = stream(streamer, streamer.open(opening()), voices, cuts)
    torch.testing.assert_close(made, offline(streamer, opening(), voices, CHUNKS, second), **EXACT)
    assert (made - offline(streamer, opening(), voices, CHUNKS)).abs().max() > 1e-2, "the refiner does something"


@torch.no_grad()
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_order_of_the_stages_does_not_matter(model, voices, seed):
    streamer = sampler(model, refiner=refiner(), refine=REFINE)
    expected = stream(streamer, streamer.open(opening()), voices)
    session, generator = streamer.open(opening()), torch.Generator().manual_seed(seed)
    for ear, samples in zip((session.speak, session.listen), voices):
        ear.push(torch.from_numpy(samples)[None])
    queues = [[], [], [], []]
    while (work := streamer.begin(session)) is not None:
        queues[0].append(work)
    while len(queues[3]) < CHUNKS:
        stage = int(torch.randint(3, (), generator=generator))
        if queues[stage]:
            queues[stage + 1].append(streamer.pipeline.stages[stage](queues[stage].pop(0), session))
    assert torch.equal(torch.cat([work.video_BTCHW[0] for work in queues[3]]), expected)


def test_two_streams_side_by_side_equal_two_alone(streamer, voices):
    begins = [opening(seed=1), opening(seed=2, text="merry")]
    said = [voices, voices[::-1]]
    alone = [stream(streamer, streamer.open(begin), pair) for begin, pair in zip(begins, said)]
    sessions, made = [streamer.open(begin) for begin in begins], [[], []]
    for at in range(0, 53_000, 2_000):
        for session, pair, video in zip(sessions, said, made):
            for ear, samples in zip((session.speak, session.listen), pair):
                ear.push(torch.from_numpy(samples[at : at + 2_000])[None])
            video += [piece.video_BTCHW[0] for piece in streamer.advance(session)]
    for expected, video in zip(alone, made):
        assert torch.equal(torch.cat(video), expected)
    assert not torch.equal(*alone)


@pytest.mark.parametrize("half", [0, 1, 20_000])
def test_a_saved_stream_goes_on_as_if_nothing_had_happened(model, voices, tmp_path, half):
    streamer = sampler(model, refiner=refiner(), refine=REFINE)
    expected = stream(streamer, streamer.open(opening()), voices)
    session = streamer.open(opening())
    first = stream(streamer, session, [samples[:half] for samples in voices])
    torch.save(save_session(session), tmp_path / "stream.pt")
    stream(streamer, session, [samples[half:] for samples in voices])  # what is saved is a copy
    restored = streamer.restore(torch.load(tmp_path / "stream.pt", weights_only=True))
    rest = stream(streamer, restored, [samples[half:] for samples in voices])
    assert torch.equal(torch.cat([first, rest]), expected)
    torch.testing.assert_close(restored.visual.references.latents_BRCYX, session.visual.references.latents_BRCYX)


def saved_by(streamer, voices):
    session = streamer.open(opening())
    stream(streamer, session, [samples[:20_000] for samples in voices])
    return save_session(session)


@pytest.mark.parametrize(
    "settings, message",
    [
        (
            lambda: {"refiner": refiner(), "refine": REFINE},
            "with refiner none; this sampler has refiner chunk 2, sink 1, window 2, 2 layers of width 12",
        ),
        (lambda: {"chunk": 3}, "with generator chunk 2, sink 1, window 2, .* has generator chunk 3, sink 1, window 2"),
        (lambda: {"sink": 2}, "has generator chunk 2, sink 2"),
        (lambda: {"window": 3}, "has generator chunk 2, sink 1, window 3"),
        (lambda: {"history": 2.81}, "with history 2.6 s; this sampler has history 2.81 s"),
    ],
)
def test_a_stream_does_not_go_on_in_a_sampler_of_another_kind(model, streamer, voices, settings, message):
    other = sampler(model, **settings())
    with pytest.raises(ValueError, match=message):
        other.restore(saved_by(streamer, voices))
    with pytest.raises(ValueError, match="make it as it was then"):
        streamer.restore(saved_by(other, voices))


def test_a_stream_does_not_go_on_in_fewer_layers_nor_in_another_dtype(streamer, voices):
    state, other = saved_by(streamer, voices), performer()
    del other.backbone.blocks[1]
    with pytest.raises(ValueError, match=r"2 layers of width 12; this sampler has generator .*, 1 layers"):
        sampler(other).restore(state)
    with pytest.raises(ValueError, match="with dtype float64; this sampler has dtype float32"):
        sampler(performer().float()).restore(state)


def test_a_state_that_does_not_tell_what_saved_it_is_refused(streamer, voices):
    state = saved_by(streamer, voices)
    del state["made_by"]
    with pytest.raises(ValueError, match="does not tell what saved it, so an older lpm did; open the stream anew"):
        streamer.restore(state)


def tensors_of(state):
    if isinstance(state, torch.Tensor):
        return [state]
    if is_dataclass(state):
        state = vars(state)
    parts = state.values() if isinstance(state, dict) else state if isinstance(state, list | tuple) else []
    return [tensor for part in parts for tensor in tensors_of(part)]


def test_a_restored_stream_lies_on_the_device_of_its_sampler(model, voices):
    state = saved_by(sampler(model, refiner=refiner(), refine=REFINE), voices)
    elsewhere = sampler(performer(), refiner=refiner(), refine=REFINE).to("meta")
    found = tensors_of(elsewhere.restore(state))
    assert len(found) > 50 and all(tensor.is_meta for tensor in found)
    assert not any(tensor.is_meta for tensor in tensors_of(state))


class Windowed(nn.Module):
    """Stands in for pretrained encoders: every token depends on all of its window, 2 s of history and 1 s."""

    def __init__(self, rate):
        super().__init__()
        self.rate, self.width, self.windows = rate, 8, Windows(rate, 8)
        self.weight = nn.Parameter(torch.randn(self.windows.stride, 8, dtype=torch.float64))

    def encode(self, samples_BS):
        tokens_BAD = samples_BS.unfold(1, self.windows.stride, self.windows.stride) @ self.weight
        return tokens_BAD - tokens_BAD.mean(dim=1, keepdim=True)

    def forward(self, samples_BS):
        return self.windows.encode(self.encode, samples_BS)

    def init_state(self, batch):
        return self.windows.init_state(self.weight, batch)

    def step(self, samples_BS, state):
        return self.windows.step(self.encode, samples_BS, state)


@pytest.fixture
def windowed():
    model = performer()
    torch.manual_seed(0)
    model.speak, model.listen = Windowed(50.0), Windowed(12.5)
    return sampler(model)


@pytest.mark.parametrize("cuts", [[], range(160, 50_000, 7_770)])
def test_a_stream_heard_in_windows_equals_the_offline_roll_out_heard_in_the_same(windowed, voices, cuts):
    made = stream(windowed, windowed.open(opening()), voices, cuts)
    chunks = (len(made) - 1) // (4 * CHUNK)
    assert chunks == 6, "5 windows, 2.6 s of them before the first frame"
    torch.testing.assert_close(made, offline(windowed, opening(), voices, chunks), **EXACT)
    for encoder in (windowed.model.speak, windowed.model.listen):
        encoder.forward = encoder.encode
    assert (made - offline(windowed, opening(), voices, chunks)).abs().max() > 1e-3, "the windows do something"


@pytest.mark.parametrize("half", [0, 20_000, 21_700])
def test_a_saved_stream_goes_on_inside_a_window(windowed, voices, tmp_path, half):
    expected, session = stream(windowed, windowed.open(opening()), voices), windowed.open(opening())
    first = stream(windowed, session, [samples[:half] for samples in voices])
    assert (session.speak.state.waiting > 0) == (half > 0)
    torch.save(save_session(session), tmp_path / "stream.pt")
    restored = windowed.restore(torch.load(tmp_path / "stream.pt", weights_only=True))
    rest = stream(windowed, restored, [samples[half:] for samples in voices])
    assert torch.equal(torch.cat([first, rest]), expected)


def test_a_stream_with_chunks_on_their_way_is_not_saved(model, voices):
    streamer = sampler(model, staggered=True)
    session = streamer.open(opening())
    for ear, samples in zip((session.speak, session.listen), voices):
        ear.push(torch.from_numpy(samples)[None])
    next(streamer.advance(session))
    with pytest.raises(ValueError, match="1 chunks are between the stages"):
        save_session(session)


def frames_until(chunk):
    return 1 + 4 * CHUNK * chunk


@pytest.mark.parametrize(
    "change",
    [
        lambda streamer, session: streamer.steer(session, text=["merry and loud"]),
        lambda streamer, session: streamer.steer(session, scales={"speak": 2.0}),
        lambda streamer, session: session.interrupt(),
    ],
)
def test_a_change_takes_effect_with_the_next_chunk_and_not_before(streamer, voices, change):
    expected = stream(streamer, streamer.open(opening()), voices)
    session = streamer.open(opening())
    for ear, samples in zip((session.speak, session.listen), voices):
        ear.push(torch.from_numpy(samples)[None])
    chunks = streamer.advance(session)
    made = [next(chunks).video_BTCHW[0] for _ in range(3)]
    change(streamer, session)
    waiting = session.speak.waiting_BS.shape[1]
    session.speak.push(torch.zeros(1, 50_000 if waiting == 0 else 0))  # after an interruption, silence
    made += [piece.video_BTCHW[0] for piece in chunks]
    differs = (torch.cat(made)[: len(expected)] - expected).abs().amax(dim=(1, 2, 3)) > 1e-9
    assert differs.nonzero()[0].item() == frames_until(3)


def test_a_prompt_given_twice_before_a_chunk_is_the_last_one(streamer):
    session = streamer.open(opening())
    streamer.steer(session, text=["merry"])
    streamer.steer(session, scales={"text": 2.0})
    assert session.steering.scales == {}
    session.turn()
    assert session.steering.scales == {"text": 2.0}
    torch.testing.assert_close(session.steering.text.tokens_BLD, streamer.model.text(["merry"]).tokens_BLD)


def test_steering_leaves_what_persists_and_changes_prompt_and_guidance_alone(streamer, voices):
    steered, other = (streamer.open(opening()) for _ in range(2))
    for session in (steered, other):
        for ear, samples in zip((session.speak, session.listen), voices):
            ear.push(torch.from_numpy(samples)[None])
        list(zip(range(4), streamer.advance(session)))
    before = save_session(steered)
    streamer.steer(steered, text=["merry and loud"], scales={"speak": 2.0})
    after = save_session(steered)
    changed = {"pending": None, "made_by": None}  # words are compared by themselves
    torch.testing.assert_close(after | changed, before | changed, **SAME)
    assert after["made_by"] == before["made_by"]
    work, same = (streamer.begin(session) for session in (steered, other))
    torch.testing.assert_close(save_session(steered)["visual"], before["visual"], **SAME)
    text = asdict(streamer.model.text(["merry and loud"]))
    torch.testing.assert_close(asdict(work.conditions), asdict(same.conditions) | {"text": text}, **SAME)
    assert work.scales == {"speak": 2.0} and same.scales == {}
    assert text["tokens_BLD"].shape != same.conditions.text.tokens_BLD.shape


def test_every_stream_of_a_session_has_its_prompt(streamer):
    alone = opening()
    pair = replace(alone, picture_B3HW=alone.picture_B3HW.repeat(2, 1, 1, 1), references=None, text=["calm", "merry"])
    session = streamer.open(pair)
    with pytest.raises(ValueError, match="1 prompts for a session of 2 streams in step; give one for each"):
        streamer.steer(session, text=["loud"])
    assert session.chunk == 0 and session.pending is session.steering
    with pytest.raises(ValueError, match="1 prompts for a session of 2"):
        streamer.open(replace(pair, text=["calm"]))
    with pytest.raises(ValueError, match="1 rows of references for a session of 2"):
        streamer.open(replace(pair, references=alone.references))
    for ear in (session.speak, session.listen):
        ear.push(torch.zeros(2, 50_000))
    streamer.steer(session, text=["loud", "low"])
    assert next(streamer.advance(session)).video_BTCHW.shape[0] == 2


@torch.no_grad()
def test_guidance_is_full_plus_scaled_differences(streamer, voices):
    session = streamer.open(opening())
    for ear, samples in zip((session.speak, session.listen), voices):
        ear.push(torch.from_numpy(samples)[None])
    list(zip(range(2), streamer.advance(session)))
    work, cache = streamer.begin(session), session.visual.cache
    noisy, t = torch.randn(1, CHUNK, 8, 2, 2).double(), torch.full((1, CHUNK), 0.8).double()
    full, deaf, mute = (
        streamer.backbone(noisy, t, replace(work.conditions, **dict.fromkeys(without)), cache=cache)
        for without in ([], ["speak"], ["text"])
    )
    guided = Guided(streamer.backbone, {"speak": 3.0, "text": 0.5, "listen": 1.0})
    made = guided.forward(noisy, t, work.conditions, cache=cache)
    torch.testing.assert_close(made, full + 2 * (full - deaf) - 0.5 * (full - mute), **EXACT)


def test_a_stream_performs_with_the_model_s_own_guidance_unless_told_else(voices):
    model, own = performer(), {"speak": 3.0, "listen": 2.0}
    plain = stream(streamer := sampler(model), streamer.open(opening()), voices)
    asked = stream(streamer, streamer.open(opening(scales=own)), voices)
    model.guidance = own | {"references": 2.0}
    assert torch.equal(stream(streamer, streamer.open(opening()), voices), asked)
    assert torch.equal(stream(streamer, streamer.open(opening(scales=dict.fromkeys(own, 1.0))), voices), plain)
    session = streamer.open(opening())
    for scales in ({"speak": 1.0, "listen": 1.0}, {"text": 2.0, "listen": 1.0}, {}):
        streamer.steer(session, scales=scales)
        assert session.pending.scales == own | scales
    assert (asked - plain).abs().max() > 1e-3


def test_pictures_cannot_be_guided(streamer):
    with pytest.raises(ValueError, match="guidance of references; a stream guides text, speak, listen"):
        streamer.open(opening(scales={"references": 2.0}))


def test_chunks_are_made_when_they_are_asked_for(streamer, voices):
    session = streamer.open(opening())
    for ear, samples in zip((session.speak, session.listen), voices):
        ear.push(torch.from_numpy(samples)[None])
    chunks = streamer.advance(session)
    assert session.chunk == 0
    for asked in range(1, 4):
        next(chunks)
        assert session.chunk == asked
        assert int(session.visual.cache.count_B) == asked


def test_a_stream_waits_for_the_slower_voice(streamer, voices):
    session = streamer.open(opening())
    session.speak.push(torch.from_numpy(voices[0])[None])
    assert list(streamer.advance(session)) == []
    speak, listen = streamer.missing(session)
    assert speak == 0 < listen
    session.listen.push(torch.zeros(1, listen - 1))
    assert list(streamer.advance(session)) == []
    session.listen.push(torch.zeros(1, 1))
    assert [piece.chunk for piece in streamer.advance(session)] == [0]


@pytest.mark.parametrize("fps, side", [(25.0, 16), (12.5, 32), (30.0, 16)])
def test_other_frame_rates_and_sizes(streamer, voices, fps, side):
    begin = replace(opening(side=side), fps=fps)
    made = stream(streamer, streamer.open(begin), voices, range(500, 50_000, 5_000))
    chunks = (len(made) - 1) // (4 * CHUNK)
    assert chunks >= 3
    torch.testing.assert_close(made, offline(streamer, begin, voices, chunks), **EXACT)


def test_generator_and_refiner_have_chunks_of_one_length(model):
    with pytest.raises(ValueError, match="chunks of 2 latent frames, the refiner of 1"):
        sampler(model, refiner=refiner(chunk=1))


def test_a_student_streams_as_it_was_distilled(model):
    assert usual_steps(model).history == 0
    student = performer()
    student.backbone = CausalDiT(student.backbone, 3, 2, 1)
    assert vars(usual_steps(student)) == vars(backbone_steps(student.shift))
    streamer = StreamSampler(student)
    assert (streamer.backbone.chunk, streamer.backbone.sink, streamer.chunks(24.0).frames) == (3, 2, 12)
    assert vars(streamer.pipeline.stages[0].steps) == vars(backbone_steps(student.shift))


class ServedChance:
    """Chance of a training step that draws a stream's noise, and never leaves early."""

    def __init__(self, seed, chunks, again):
        each = [ChunkNoise(seed, chunk, 0) for chunk in range(chunks)]
        self.draws = iter([*each, *(noise for noise in each for _ in range(again))])  # all starts come first

    def number(self, low, high):
        return high - 1

    def noise(self, like):
        return next(self.draws)(like)


def test_what_training_rolls_out_is_what_a_stream_serves(voices):
    student, begin = performer(), opening()
    student.backbone = CausalDiT(student.backbone, CHUNK, sink=1, window=1)
    heard = [torch.from_numpy(np.pad(samples, (41_600, 0)))[None].double() for samples in voices]
    batch = Batch(["a"], FPS, *heard, 2.6, begin.text, None, begin.references)
    picture = student.codec.encode_frames(begin.picture_B3HW)[:, None]
    teachers = torch.cat([picture, torch.zeros_like(picture).expand(-1, CHUNK * CHUNKS, -1, -1, -1)], dim=1)
    stage, chance = OnPolicy(STEPS, Judged(None)), ServedChance(begin.seed, CHUNKS, len(STEPS.levels))
    made = stage.forward(student, teachers, student.conditions(batch), FPS, chance)
    assert made.clip_BTCYX.requires_grad and made.given == 1
    streamer = StreamSampler(student, steps=STEPS)
    session, served = streamer.open(begin), [picture]
    for ear, samples in zip((session.speak, session.listen), voices):
        ear.push(torch.from_numpy(samples)[None])
    with torch.no_grad():
        while (work := streamer.begin(session)) is not None:
            served.append(streamer.pipeline.push(work, session).latents_BTCYX)
    torch.testing.assert_close(made.clip_BTCYX, torch.cat(served, dim=1), **EXACT)


@pytest.mark.parametrize("name, own", [("chunk", 3), ("sink", 2), ("window", 1)])
def test_a_student_does_not_stream_otherwise_than_it_was_distilled(model, name, own):
    student = performer()
    student.backbone = CausalDiT(student.backbone, 3, 2, 1)
    assert StreamSampler(student, **{name: own}).backbone is student.backbone
    with pytest.raises(ValueError, match=f"{name} of 5, but the network was distilled with {own}; leave {name} out"):
        StreamSampler(student, **{name: 5})
    assert getattr(StreamSampler(model, **{name: 5}).backbone, name) == 5


def tensors(session):
    """How many numbers a session holds."""
    state = save_session(session)

    def count(x):
        if isinstance(x, torch.Tensor):
            return x.numel()
        parts = x.values() if isinstance(x, dict) else x if isinstance(x, list) else []
        return sum(count(part) for part in parts)

    return count(state)


def test_keys_turned_once_give_the_same_bits(model, voices):
    once, each = (sampler(model, refiner=refiner(), refine=REFINE, turn_once=turned) for turned in (True, False))
    assert torch.equal(*(stream(streamer, streamer.open(opening()), voices) for streamer in (once, each)))
    assert once.cache_bytes(opening()) > each.cache_bytes(opening())


@pytest.mark.parametrize("turn_once", [False, True])
@pytest.mark.parametrize("stored", [None, EightBit])
def test_keys_and_values_take_what_was_predicted(model, voices, stored, turn_once):
    streamer = sampler(model, refiner=refiner(), refine=REFINE, stored=stored, turn_once=turn_once)
    begin = opening(side=32)
    session = streamer.open(begin)
    stream(streamer, session, voices)
    caches = session.visual.cache, session.visual.refiner_cache
    kept = [x for cache in caches for part in (*cache.still, *(layer.tensors for layer in cache.layers)) for x in part]
    kept += [x for cache in caches for x in cache.turned if x is not None]
    assert sum(x.nbytes for x in kept) == streamer.cache_bytes(begin)
    assert session.cache_bytes == sum(cache.bytes for cache in caches) > streamer.cache_bytes(begin)


def test_memory_stays_the_same(model):
    streamer = sampler(model, refiner=refiner(chunk=1), refine=REFINE, steps=FewSteps((1.0,), 0.0), chunk=1)
    session = streamer.open(opening())
    sizes, memory = [], []
    for chunk in range(320):
        for ear in (session.speak, session.listen):
            ear.push(torch.zeros(1, 6_000 if chunk == 0 else 2_667 - (chunk % 3 == 0)))
        made = sum(1 for _ in streamer.advance(session))
        assert made == 1
        sizes.append(tensors(session))
        gc.collect() if chunk % 20 == 0 else None
        memory.append(sum(type(x) is torch.Tensor for x in gc.get_objects()) if chunk % 20 == 0 else memory[-1])
    assert session.chunk == 320
    assert max(sizes[20:]) - min(sizes[20:]) < 4_000, "but for the samples of a token, which wait"
    assert memory[-1] - memory[2] <= 2, "tensors in all of Python, after 40 chunks and after 300"
