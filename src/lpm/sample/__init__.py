"""From noise to clips: solvers, guidance, clips and their continuation, and the whole Base model."""

from lpm.sample.clip import ClipSampler
from lpm.sample.guidance import guide, repeat_conditions
from lpm.sample.performance import PerformanceModel
from lpm.sample.pretrained import base_puppet, load_performance, save_performance
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
from lpm.sample.solvers import Denoise, Solver, euler, heun, noise_levels

__all__ = [
    "ChunkNetwork",
    "ClipSampler",
    "Denoise",
    "FewSteps",
    "PerformanceModel",
    "Solver",
    "add_noise",
    "backbone_steps",
    "base_puppet",
    "euler",
    "guide",
    "hear",
    "heun",
    "load_performance",
    "make_chunk",
    "noise_levels",
    "online_levels",
    "refiner_steps",
    "remember",
    "repeat_conditions",
    "roll_out",
    "save_performance",
]
