"""Distillation of the Base model to a causal one of few steps, in four stages."""

from lpm.distill.chance import Chance
from lpm.distill.clip import StudentClip, last_window
from lpm.distill.dmd import DMD, dmd_gradient, loss_of_gradient
from lpm.distill.ode import OdeRegression, Recorder, record_trajectories
from lpm.distill.off_policy import OffPolicy
from lpm.distill.on_policy import OnPolicy
from lpm.distill.perceptual import CodecDistance, LpipsDistance, Perceptual
from lpm.distill.refine import Refine
from lpm.distill.stage import Judged, Stage

__all__ = [
    "Chance",
    "CodecDistance",
    "DMD",
    "Judged",
    "LpipsDistance",
    "OdeRegression",
    "OffPolicy",
    "OnPolicy",
    "Perceptual",
    "Recorder",
    "Refine",
    "Stage",
    "StudentClip",
    "dmd_gradient",
    "last_window",
    "loss_of_gradient",
    "record_trajectories",
]
