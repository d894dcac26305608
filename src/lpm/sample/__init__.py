"""From noise to clips: solvers, guidance, clips and their continuation, and the whole Base model."""

from lpm.sample.adapter import LoRA, load_adapter, merge_adapter, save_adapter
from lpm.sample.chunks import ChunkPlan, plan_chunks, spread, texts_at
from lpm.sample.clip import ClipSampler, fade
from lpm.sample.guidance import guide, repeat_conditions
from lpm.sample.performance import PerformanceModel
from lpm.sample.pretrained import (
    base_puppet,
    load_performance,
    online_puppet,
    refiner_puppet,
    save_performance,
    stream_puppet,
)
from lpm.sample.rollout import (
    ChunkNetwork,
    FewSteps,
    add_noise,
    backbone_steps,
    hear,
    make_chunk,
    online_levels,
    refiner_steps,
    remember,
    roll_out,
)
from lpm.sample.schedule import GuidanceInterval, Schedule
from lpm.sample.solvers import Denoise, Solver, euler, heun, noise_levels

__all__ = [
    "ChunkNetwork",
    "ChunkPlan",
    "ClipSampler",
    "Denoise",
    "FewSteps",
    "GuidanceInterval",
    "LoRA",
    "PerformanceModel",
    "Schedule",
    "Solver",
    "add_noise",
    "backbone_steps",
    "base_puppet",
    "euler",
    "fade",
    "guide",
    "hear",
    "heun",
    "load_adapter",
    "load_performance",
    "make_chunk",
    "merge_adapter",
    "noise_levels",
    "online_levels",
    "online_puppet",
    "plan_chunks",
    "refiner_puppet",
    "refiner_steps",
    "remember",
    "repeat_conditions",
    "roll_out",
    "save_adapter",
    "save_performance",
    "spread",
    "stream_puppet",
    "texts_at",
]
