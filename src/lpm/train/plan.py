"""What a recipe will take of each GPU, before anything is bought, downloaded or started."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lpm.backbone import DeferredDiT, DiT, pretrained_dit, recomputed
from lpm.backbone.cost import ClipShape, block_flops, forward_flops, heard, picture_tokens
from lpm.backbone.pretrained import CONFIG
from lpm.build import build, locate
from lpm.data import references_of
from lpm.nn import SelfAttention
from lpm.train.average import ShardedAverage
from lpm.train.data import only_global
from lpm.train.rehearse import FakeTensorMode, Mode, rehearse
from lpm.train.shard import Sharded, check_context
from lpm.types import REFERENCE_LIMITS

RESERVE = 4e9  # bytes of a GPU that CUDA, communication and fragmentation take
GIGA = 1e9


@dataclass(frozen=True)
class Job:
    """A training as a recipe describes it, on some machine.

    Attributes:
        network: builder of the backbone, without recomputation.
        clip: what a step is given.
        gpus: processes, one per GPU.
        memory: bytes of one GPU.
        half: bfloat16 by autocast.
        sharded: by ``lpm.train.Sharded``.
        context: processes that share a clip.
        recompute: every so many blocks are computed again, 0 for none.
        accumulate: gradients of several batches are summed before a step of the optimiser.
        average: ``lpm.train.ShardedAverage`` keeps one beside the weights; ``lpm.train.Average`` keeps its own on the
            host.
        frozen: bytes of encoders and codec.
        unknown: parts whose weights are not on this machine, and so not counted.
    """

    network: Callable[[], DiT]
    clip: ClipShape
    gpus: int
    memory: float
    half: bool
    sharded: bool
    context: int
    recompute: int
    accumulate: bool = False
    average: bool = False
    frozen: float = 0.0
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True)
class Need:
    """Bytes and operations of one GPU.

    Attributes:
        parameters: of the backbone, over all GPUs.
        weights, optimiser: its share of the weights in float32, and of AdamW's two moments.
        average: its share of the weights' average.
        buckets: gradients on their way to the other processes, where each trains the whole network.
        gathered: weights of the blocks that are in use, where they are sharded.
        working: activations, gradients and temporary tensors at their highest.
        frozen: encoders and codec.
        flops: operations of a step.
    """

    parameters: int
    weights: float
    optimiser: float
    average: float
    buckets: float
    gathered: float
    working: float
    frozen: float
    flops: float

    @property
    def total(self) -> float:
        """Bytes at the highest point of a step."""
        kept = self.weights + self.optimiser + self.average + self.buckets + self.frozen
        return kept + self.gathered + self.working


def predict(job: Job) -> Need:
    """Return what a job takes of each GPU.

    Weights, moments and gathered weights are sums over the network's parameters; activations are counted by a
    rehearsal with fake tensors on networks of two and four blocks, which differ by what two blocks take.

    Raises:
        ValueError: the video is smaller than a patch.
    """
    with FakeTensorMode():
        network = job.network()
        total = sum(parameter.numel() for parameter in network.parameters())
        block = max(sum(parameter.numel() for parameter in part.parameters()) for part in network.blocks)
        depth = len(network.blocks)
    if not picture_tokens(network, job.clip):
        side = 8 * network.embed.patch
        raise ValueError(f"size is below one patch of {side}x{side} pixels; give a larger one, such as 480x832")
    count = job.gpus if job.sharded else 1
    outside = total - sum(parameter.numel() for part in network.blocks for parameter in part.parameters())
    step = 8 * total / count  # gradients, and as much again inside AdamW
    return Need(
        parameters=total,
        weights=4 * total / count,
        optimiser=8 * total / count,
        average=4 * total / count if job.average else 0.0,
        buckets=0.0 if job.sharded or job.gpus == 1 else 4 * total,
        gathered=(2 if job.half else 4) * (2 * block + outside) if job.sharded else 0.0,
        working=max(working_memory(job, depth), step),
        frozen=job.frozen,
        flops=step_flops(job, network),
    )


def working_memory(job: Job, depth: int) -> float:
    """Return the peak of activations, gradients and temporary tensors of a network of ``depth`` blocks."""
    mode = Mode(job.half, job.sharded, 1 / job.gpus if job.sharded else 1.0, job.context, job.accumulate)
    if depth <= 4:
        return max(rehearse_blocks(job, mode, depth))
    two, four = rehearse_blocks(job, mode, 2), rehearse_blocks(job, mode, 4)
    return max(high + (high - low) / 2 * (depth - 4) for low, high in zip(two, four))


def rehearse_blocks(job: Job, mode: Mode, count: int) -> tuple[float, float]:
    """Return the peaks of the network's first ``count`` blocks, forward and backward."""
    with FakeTensorMode():
        network = job.network()
        network.blocks = network.blocks[:count]
        if job.recompute:
            recomputed(network, job.recompute)
        return rehearse(network, job.clip, mode)


def step_flops(job: Job, network: DiT) -> float:
    """Return the operations of a step: forward, twice that backward, and the blocks that are computed again."""
    again = 0.0
    if job.recompute:
        picture = picture_tokens(network, job.clip)
        for index in range(0, len(network.blocks), job.recompute):
            block: Any = network.blocks[index]
            again += block_flops(block, job.clip, picture, heard(network, index, job.clip), job.context)
    return 3 * forward_flops(network, job.clip, job.context) + again


def fits(job: Job, need: Need) -> bool:
    """Tell whether a job fits, with ``RESERVE`` to spare."""
    return need.total + RESERVE <= job.memory


def cures(job: Job) -> Iterator[tuple[str, Job]]:
    """Yield changes of a job that take less memory, the mildest first, and how a recipe says them."""
    with FakeTensorMode():
        heads = next(part.heads for part in job.network().modules() if isinstance(part, SelfAttention))
    contexts = [n for n in range(job.context, job.gpus + 1) if job.gpus % n == 0 and heads % n == 0]
    for sharded in dict.fromkeys((job.sharded, job.gpus > 1)):
        for recompute in dict.fromkeys((job.recompute, 1)):
            for context in contexts if sharded else [1]:
                changed = replace(job, sharded=sharded, recompute=recompute, context=context)
                if changed == job:
                    continue
                words = ["recompute: 1"] * (recompute != job.recompute)
                if sharded and (not job.sharded or context != job.context):
                    words.append(f"trainer.strategy lpm.train.Sharded with context: {context}")
                yield " and ".join(words), changed


def advise(job: Job) -> str:
    """Return the mildest change that makes a job fit."""
    for words, changed in cures(job):
        need = predict(changed)
        if fits(changed, need):
            return f"{words}: {need.total / GIGA:.1f} GB"
    return "neither recomputing nor sharing is enough: fewer frames, smaller pictures, a smaller batch or more GPUs"


def job_of(recipe: Mapping[str, Any], gpus: int, memory: float, size: tuple[int, int] | None = None) -> Job:
    """Read a resolved recipe of the Base model, as ``lightning fit --print_config`` shows it.

    Args:
        recipe: trainer, model and data.
        gpus: processes.
        memory: bytes of one GPU.
        size: height and width of the video in pixels; those of the puppet corpus if None.

    Raises:
        ValueError: a recipe of something else.
    """
    try:
        model = recipe["model"]["init_args"]["model"]["init_args"]
        backbone, clip = model["backbone"], clip_of(model, recipe["data"]["init_args"], size)
    except (KeyError, TypeError):
        raise ValueError(
            f"{recipe['model']['class_path']}: the plan is for recipes of the Base model, such as recipes/base.yaml; "
            "what distillation costs stands in docs/guide/distil.md"
        ) from None
    network, recompute = network_of(backbone)
    if model.get("adapter"):
        raise ValueError("the plan is for training of all weights; leave the adapter (recipes/overlay/lora.yaml) out")
    trainer = recipe["trainer"]
    strategy = trainer.get("strategy")
    spec = strategy if isinstance(strategy, Mapping) else {}
    sharded = bool(spec) and locate(str(spec["class_path"])) is Sharded
    context = int(spec.get("init_args", {}).get("context", 1)) if sharded else 1
    check_context(context, gpus)
    frozen, unknown = frozen_bytes(model)
    return Job(
        network=network,
        clip=clip,
        gpus=gpus,
        memory=memory,
        half=str(trainer.get("precision")).startswith("bf16"),
        sharded=sharded,
        context=context,
        recompute=recompute,
        accumulate=trainer.get("accumulate_grad_batches", 1) > 1,
        average=any(locate(spec["class_path"]) is ShardedAverage for spec in trainer.get("callbacks") or ()),
        frozen=frozen,
        unknown=unknown,
    )


def network_of(spec: Mapping[str, Any] | str) -> tuple[Callable[[], DiT], int]:
    """Return the builder that a backbone's spec names, without reading weights, and how often it recomputes."""
    spec = {"class_path": spec} if isinstance(spec, str) else spec
    maker, given = locate(spec["class_path"]), spec.get("init_args") or {}
    if maker is DeferredDiT:
        deferred: DeferredDiT = build(spec)
        return deferred.network, deferred.recompute
    if maker is recomputed:
        return network_of(given["network"])[0], int(given.get("every") or 1)
    if maker is pretrained_dit:
        config = Path(given["folder"]) / CONFIG
        if not config.is_file():
            raise ValueError(f"{config} is missing; run `lpm weights convert`, or name a size with DeferredDiT")
        return network_of(json.loads(config.read_text()))
    return lambda: build(spec), 0


def clip_of(model: Mapping[str, Any], data: Mapping[str, Any], size: tuple[int, int] | None) -> ClipShape:
    """Return the shape of a training clip's latents and conditions."""
    corpus = data.get("corpus") or {}
    pixels = corpus.get("init_args", corpus).get("size", 96)
    height, width = size or (pixels, pixels)
    frames, fps = int(data["frames"]), 24.0
    rates = tuple(float((model[name].get("init_args") or {}).get("rate", 50.0)) for name in ("speak", "listen"))
    seconds = data["history"] + frames / fps + data["lookahead"]
    return ClipShape(
        batch=int(data["batch_size"]),
        frames=1 + (frames - 1) // 4,
        height=height // 8,
        width=width // 8,
        references=most_references(data),
        text=int((model["text"].get("init_args") or {}).get("length", 64)),
        audio=round(seconds * max(rates)),
        rates=(rates[0], rates[1]),
        history=data["history"],
        fps=fps,
    )


def most_references(data: Mapping[str, Any]) -> int:
    """Return the most references that a clip may be given: 1 where the data's settings allow the global one alone."""
    drawn = data.get("references")
    if drawn is None:
        alone = data.get("extra_references") == 0
    else:
        alone = isinstance(drawn, str) and locate(drawn) in (only_global, references_of)
    return 1 if alone else sum(REFERENCE_LIMITS.values())


def frozen_bytes(model: Mapping[str, Any]) -> tuple[float, tuple[str, ...]]:
    """Return the bytes of encoders and codec whose weights are files, and which of these are not there."""
    total, unknown = 0.0, []
    for name in ("codec", "text", "speak", "listen"):
        given = model[name].get("init_args") or {} if isinstance(model[name], Mapping) else {}
        if not given.get("weights"):
            continue
        path = Path(given["weights"])
        if not path.exists():
            unknown.append(f"{name} ({path})")
            continue
        files = [path] if path.is_file() else [*path.rglob("*.safetensors"), *path.rglob("*.bin")]
        total += sum(file.stat().st_size for file in files)
    return total, tuple(unknown)
