"""What distillation costs, as the guide has it, follows from the networks: memory is rehearsed, work counted."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import mean
from types import SimpleNamespace
from unittest.mock import patch

import pytest
import torch
import yaml
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lpm.backbone import CausalDiT, causal, lpm_1b, lpm_17b, recomputed, wan
from lpm.backbone.cost import ClipShape, forward_flops, picture_tokens
from lpm.backbone.masks import STILL, Place, sees
from lpm.distill import DMD, OffPolicy, OnPolicy
from lpm.flow import Absolute, PredictVelocity
from lpm.objective import Draw, FlowMatching
from lpm.sample import backbone_steps
from lpm.sample.chunks import plan_chunks
from lpm.sample.guidance import variants
from lpm.train import TrajectorySettings
from lpm.train.pairs import half
from lpm.train.rehearse import Alive, FakeTensorMode, fake_inputs

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs/guide/distil.md"


def recipe(name):
    return yaml.safe_load((ROOT / f"recipes/online/{name}.yaml").read_text())


MODEL = recipe("on_policy")["model"]["init_args"]
RATIO, SCALES = MODEL["pace"]["ratio"], MODEL["dmd"]["init_args"]["scales"]
CLIP = ClipShape(batch=1, frames=25, height=60, width=104)  # 97 frames of 480 x 832, one reference
CHUNK, SINK, WINDOW, GIVEN, CHUNKS, EVALUATIONS = 6, 3, 2, 2, 4, 2
LENGTHS, EXITS = range(1, CHUNKS + 1), range(1, EVALUATIONS + 1)
COPIES = len(variants(SCALES))  # evaluations of a guided teacher
BATCH, PEAK, USED = 64, 989e12, 0.4  # assumed: clips in a batch; an H100's bfloat16 without sparsity; its share in use
SETTINGS = TrajectorySettings()
SIZES = [(lpm_1b, -2), (lpm_17b, -1)]  # and their columns
STAGES = {"off_policy": OffPolicy(backbone_steps()), "on_policy": OnPolicy(backbone_steps())}
WAN = SimpleNamespace(stride_t=4)
small = partial(wan, width=32, depth=4, heads=2, hidden=96, channels=4, text_width=16, waves=16, audio_width=16)


class Longest:
    """The chance of longest clips and latest exits, on whatever device."""

    def number(self, low, high):
        return high - 1

    def numbers(self, high, *shape):
        return torch.zeros(shape, dtype=torch.int64)

    def noise(self, like):
        return torch.zeros_like(like)


@pytest.fixture
def unread():
    """Whether all references exist is a number that tensors without memory do not have."""
    with patch.object(causal, "join_masks", lambda segments: None):
        yield


def networks(build, depth):
    """A student, and a network that stands for teacher and fake network, of so many blocks that are recomputed."""
    one, other = build(), build()
    one.blocks, other.blocks = one.blocks[:depth], other.blocks[:depth]
    return CausalDiT(one, CHUNK, SINK, WINDOW, mask=lambda *_: None, recompute=True), recomputed(other)


def regress(student, judge, clip):
    """A step of stage 1, but for its loss."""
    noisy, t, conditions = fake_inputs(judge, clip)
    student.forward_clip(noisy, t, conditions, clip.fps, noisy, t).float().square().mean().backward()
    yield


def distil(stage, student, judge, clip):
    """A batch of stage 2 or 3 in which both networks learn, but for the student's loss and the perceptual distance.

    It yields wherever something has been finished.
    """
    latents, _, conditions = fake_inputs(judge, clip)
    parts = {"prediction": PredictVelocity(), "coordinates": Absolute()}
    model, dmd = SimpleNamespace(backbone=student, codec=WAN, **parts), DMD(FlowMatching(**parts), SCALES)
    made = stage.forward(model, latents, conditions, clip.fps, Longest())
    yield
    later = torch.arange(made.clip_BTCYX.shape[1])[None] >= made.given
    draw = Draw(later, torch.ones(clip.batch), torch.zeros_like(made.clip_BTCYX), None)
    with torch.no_grad():
        dmd.guesses(judge, judge, made.clip_BTCYX, made.conditions, clip.fps, draw)
    yield
    made.clip_BTCYX.square().mean().backward()
    yield
    dmd.matching.errors(judge, made.clip_BTCYX.detach(), made.conditions, clip.fps, draw).mean().backward()
    yield


def peaks(build, step, clip, depth):
    """GB of activations, caches and temporary tensors at the highest points of a step, in bfloat16 by autocast."""
    found = []
    with FakeTensorMode():
        pair = networks(build, depth)
        alive = Alive(nn.ModuleList(pair), share=0.0)  # gradients have rows of their own
        with alive, torch.autocast("cpu", torch.bfloat16):
            for _ in step(*pair, clip):
                found.append(alive.peak / 1e9)
                alive.peak = alive.bytes
    return found


def working(build, step, clip):
    """GB at the highest point of a step, from networks of four and six blocks: each point grows by equal amounts.

    All 30 blocks of 1.3B, rehearsed once, gave the same; from two and four blocks it is 4 % too much in stage 3.
    """
    with torch.device("meta"):
        depth = len(build().blocks)
    points = zip(*(peaks(build, step, clip, count) for count in (4, 6)), strict=True)
    return max(six + (six - four) / 2 * (depth - 6) for four, six in points)


def memory(build):
    with torch.device("meta"):
        weights = 4 * sum(parameter.numel() for parameter in build().parameters()) / 1e9
    short = replace(CLIP, frames=1 + 2 * CHUNK)  # a cache has room for all of its chunks from the start
    ode, off_policy, on_policy = (
        working(build, regress, CLIP),
        working(build, partial(distil, STAGES["off_policy"]), CLIP),
        working(build, partial(distil, STAGES["on_policy"]), short),
    )
    both = 10 * weights
    return {
        "student: weights, gradients, two moments, average": 5 * weights,
        "fake network: weights, gradients, two moments": 4 * weights,
        "teacher, and stage 4's frozen backbone: weights of each": weights,
        "activations of stage 1": ode,
        "activations of stage 2": off_policy,
        "activations and caches of stages 3 and 4": on_policy,
        "in all, stage 1": 5 * weights + max(ode, 4 * weights),  # AdamW's step takes as much as the weights
        "in all, stage 2": both + max(off_policy, 4 * weights),
        "in all, stage 3": both + max(on_policy, 4 * weights),
        "in all, stage 4": both + weights + max(on_policy, 4 * weights),
    }


def judged(network, clip, chunks):
    """Operations of what a teacher sees of a clip: the picture, the frames before the last chunk, and that."""
    return forward_flops(network, replace(clip, frames=1 + min(GIVEN, CHUNK * (chunks - 1)) + CHUNK))


def in_cache(network, clip):
    """Operations of a chunk that looks at the pictures and at all places of a cache, empty ones too."""
    keys, tokens = 1 + clip.references + CHUNK * (SINK + WINDOW), picture_tokens(network, clip)
    past = 4 * len(network.blocks) * network.embed.width * CHUNK * keys * tokens**2
    return forward_flops(network, replace(clip, frames=CHUNK, references=0)) + past


def pictures(network, clip):
    """Operations of the pictures on their way into a cache, which of the last block wants keys and values alone."""
    return forward_flops(network, replace(clip, frames=1)) * (1 - 1 / len(network.blocks))


def rolled(network, clip, chunks, evaluations):
    """Operations of a roll-out: the pictures, each chunk's evaluations, and one more to remember it but the last."""
    remember = 1 - 1 / len(network.blocks)
    return pictures(network, clip) + (chunks * evaluations + (chunks - 1) * remember) * in_cache(network, clip)


def whole(network, clip, chunks, skip=True):
    """Operations of a clip and its history apart, with what the mask hides skipped by FlexAttention."""
    chunk = torch.arange(CHUNK * chunks) // CHUNK
    chunk_L = torch.cat([torch.full((1 + clip.references,), STILL), chunk, chunk])
    copy_L = (torch.arange(len(chunk_L)) >= len(chunk_L) - len(chunk)).long()
    query, key = (Place(*(x.unsqueeze(side) for x in (chunk_L, copy_L))) for side in (1, 0))
    hidden = int((~sees(query, key, SINK, WINDOW)).sum()) if skip else 0
    skipped = 4 * len(network.blocks) * network.embed.width * hidden * picture_tokens(network, clip) ** 2
    return forward_flops(network, replace(clip, frames=1 + 2 * CHUNK * chunks)) - skipped


def batch(made, learnt, judge, ratio):
    """Operations of a batch; backward is twice a forward, and recomputed blocks are one more."""
    return made + 4 * judge + (3 * learnt + (COPIES + 1) * judge) / ratio


def trajectory(network, clip):
    parts = plan_chunks(1 + (SETTINGS.frames - 1) // 4, SETTINGS.piece // 4, SETTINGS.keep)
    once = sum(forward_flops(network, replace(clip, frames=1 + part.keep + part.more)) for part in parts)
    return SETTINGS.points * SETTINGS.substeps * COPIES * once


def clips(name):
    """Clips in all batches of a stage; Lightning counts ratio + 1 steps in ratio batches."""
    steps, model = recipe(name)["trainer"]["max_steps"], recipe(name)["model"]["init_args"]
    ratio = model["pace"]["ratio"] if "pace" in model else None
    assert ratio in (None, RATIO)
    return BATCH * (steps if ratio is None else steps * ratio // (ratio + 1))


def trajectories():
    """Clips of the recipes, more by as much as the batch is larger."""
    data = recipe("ode")["data"]["init_args"]
    return data["settings"]["clips"] * BATCH // data["batch_size"]


def work(network):
    """Operations of a clip: the mean over lengths, exits and turns."""
    judge = {n: judged(network, CLIP, n) for n in LENGTHS}
    clip = {n: whole(network, CLIP, n) for n in LENGTHS}
    last = in_cache(network, CLIP) + pictures(network, CLIP)
    starts = mean(rolled(network, CLIP, n, EVALUATIONS) for n in LENGTHS)
    return {
        "trajectories": trajectory(network, CLIP),
        "stage 1": 4 * clip[CHUNKS],
        "stage 2": mean(batch(clip[n], clip[n], judge[n], RATIO) for n in LENGTHS),
        "stage 3": mean(batch(rolled(network, CLIP, n, e), last, judge[n], RATIO) for n in LENGTHS for e in EXITS),
        "stage 4": starts + mean(batch(rolled(network, CLIP, n, 1), last, judge[n], RATIO) for n in LENGTHS),
    }


def row(part):
    """Return the cells of a row of the guide's tables."""
    (line,) = (line for line in GUIDE.read_text().splitlines() if line.startswith(f"| {part} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def said(number):
    return f"{number:.3g}" if number < 999.5 else f"{number:.0f}"


@pytest.mark.parametrize("build, column", SIZES)
def test_memory_is_that_of_the_guide(build, column, unread):
    found = memory(build)
    assert {part: row(part)[column] for part in found} == {part: said(size) for part, size in found.items()}


@pytest.mark.parametrize("build, column", SIZES)
def test_work_and_hours_are_those_of_the_guide(build, column):
    with torch.device("meta"):
        network = build()
    found = work(network)
    count = {
        "trajectories": trajectories(),
        **{f"stage {i}": clips(name) for i, name in enumerate(("ode", "off_policy", "on_policy", "refiner"), start=1)},
    }
    wanted = {part: [str(count[part]), said(flops / 1e15)] for part, flops in found.items()}
    assert {part: [row(part)[1], row(part)[column]] for part in found} == wanted
    hours = sum(count[part] * flops for part, flops in found.items()) / (PEAK * USED) / 3600
    assert row("GPU hours")[column] == f"{round(hours, -1):.0f}"


def test_disk_is_that_of_the_guide():
    points = half(torch.zeros(SETTINGS.points + 1, CLIP.frames, 16, CLIP.height, CLIP.width))
    mask = ((1 + CLIP.references + 2 * CHUNK * CHUNKS) * picture_tokens(small(), CLIP)) ** 2
    for told in (
        f"{points.nbytes / 1e6:.3g} MB",
        f"{trajectories() * points.nbytes / 1e9:.3g} GB",
        f"{mask / 1e9:.3g} GB",
    ):
        assert told in GUIDE.read_text()


@pytest.mark.parametrize("name", ["ode", *STAGES])
def test_operations_are_those_that_pytorch_counts_in_a_step(name, unread):
    clip = replace(CLIP, frames=1 + 2 * CHUNK, height=16, width=16, text=8)
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        student, judge = networks(small, None)
        for _ in regress(student, judge, clip) if name == "ode" else distil(STAGES[name], student, judge, clip):
            pass
        network = small()
    if name == "on_policy":
        made, learnt = rolled(network, clip, 2, EVALUATIONS), in_cache(network, clip) + pictures(network, clip)
    else:
        made = learnt = whole(network, clip, 2, skip=False)  # PyTorch skips nothing without FlexAttention
    wanted = 4 * made if name == "ode" else batch(made, learnt, judged(network, clip, 2), ratio=1)
    assert counter.get_total_flops() == pytest.approx(wanted, rel=0.01)
