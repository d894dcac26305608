"""From noise to clips: solvers, guidance, clips and their continuation, and the whole Base model."""

from lpm.sample.adapter import LoRA, load_adapter, merge_adapter, save_adapter
from lpm.sample.chunks import ChunkPlan, plan_chunks, spread, texts_at
from lpm.sample.clip import ClipSampler, fade
from lpm.sample.guidance import guide, repeat_conditions
from lpm.sample.performance import PerformanceModel
from lpm.sample.pretrained import base_puppet, load_performance, save_performance
from lpm.sample.schedule import GuidanceInterval, Schedule
from lpm.sample.solvers import Denoise, Solver, euler, heun, noise_levels

__all__ = [
    "ChunkPlan",
    "ClipSampler",
    "Denoise",
    "GuidanceInterval",
    "LoRA",
    "PerformanceModel",
    "Schedule",
    "Solver",
    "base_puppet",
    "euler",
    "fade",
    "guide",
    "heun",
    "load_adapter",
    "load_performance",
    "merge_adapter",
    "noise_levels",
    "plan_chunks",
    "repeat_conditions",
    "save_adapter",
    "save_performance",
    "spread",
    "texts_at",
]
