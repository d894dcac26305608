"""Stages 2 to 4 of distillation: a student and a fake network learn in turn."""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor, nn

from lpm.distill import DMD, Chance, Stage, StudentClip
from lpm.sample import PerformanceModel
from lpm.train.base import parameter_groups
from lpm.train.student import load_start, load_teacher, rates_of, share_encoders, student
from lpm.types import Batch


@dataclass(frozen=True)
class Pace:
    """How fast the two networks learn.

    Attributes:
        student: learning rate of the student.
        fake: learning rate of the fake network.
        audio: factor on the rate of what reads audio, in both.
        ratio: steps of the fake network for one of the student; 5 in DMD2.
        clip: largest norm of a network's gradient.
    """

    student: float = 2e-5
    fake: float = 2e-5
    audio: float = 1.0
    ratio: int = 5
    clip: float = 1.0

    def __post_init__(self) -> None:
        if self.ratio < 1 or not self.clip > 0:
            raise ValueError(
                f"ratio of {self.ratio} and clip of {self.clip}; choose a ratio of 1 or more, clip above 0"
            )


class DistributionTraining(LightningModule):
    """Train a causal student by distribution matching (LPM 1.0, Online LPM, stages 2 to 4).

    In each batch the fake network learns what the student makes; in every ``pace.ratio``-th, the student learns first.
    Lightning counts the steps of both: ratio + 1 in ratio batches. Keep ``max_steps`` and checkpoints at its multiples.

    The teacher is no part of checkpoints. The fake network begins as the teacher. Several processes need the strategy
    ``ddp_find_unused_parameters_true``, since only one of the two networks has gradients at a time.

    Args:
        model: the student; its backbone is a ``lpm.backbone.CausalDiT``.
        stage: how the student makes clips: ``lpm.distill.OffPolicy``, ``OnPolicy`` or ``Refine``.
        dmd: the losses.
        pace: learning rates and turns; ``Pace()`` if None.
        optimizer: makes the optimizer of parameter groups; AdamW without momentum if None.
        teacher: checkpoint or weights folder of the Base model; the shipped puppet weights if None.
        start: checkpoint or weights folder that the student begins with; the shipped puppet weights if None.
        seed: of noise, lengths and exits.
    """

    keeps_whole = True  # in every process: lpm.train.Sharded refuses it

    def __init__(
        self,
        model: PerformanceModel,
        stage: Stage,
        dmd: DMD,
        pace: Pace | None = None,
        optimizer: OptimizerCallable | None = None,
        teacher: str | None = None,
        start: str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model, self.stage, self.dmd = student(model), stage, dmd
        self.pace, self.optimizer = pace or Pace(), optimizer or adamw_without_momentum
        self.teacher, self.start, self.seed = teacher, start, seed
        self.student_moved = False
        self._rates: list[list[float]] = []  # of the optimizers' groups, as the recipe has them
        self.batches: Tensor
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))
        self._teacher: list[PerformanceModel] = []  # in lists: no part of checkpoints
        self._frozen: list[nn.Module] = []

    def configure_model(self) -> None:
        """Load the teacher and let the fake network begin as its copy."""
        if not self._frozen:
            self._teacher = [load_teacher(self.teacher)]
            self._frozen = [self._teacher[0].backbone]
            self.fake = copy.deepcopy(self._frozen[0]).requires_grad_(True).train()

    def on_fit_start(self) -> None:
        """Load the weights of ``start`` and begin the stage; a resumed run takes its own weights back.

        Raises:
            ValueError: DDP waits for gradients of both networks, or the student cannot be one of the teacher.
        """
        if not getattr(self.trainer.model, "find_unused_parameters", True):
            raise ValueError(
                "DDP waits for gradients of student and fake network, which learn in turns; set trainer.strategy to "
                "ddp_find_unused_parameters_true"
            )
        learnt = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
        load_start(self.model, self.start)
        self.stage.begin(self.model)
        share_encoders(self.model, self._teacher.pop() if self._teacher else load_teacher(self.teacher))
        self._frozen[0].to(self.device)  # the network alone: the student has the encoders now
        if self.trainer.ckpt_path is not None:
            self.model.load_state_dict(learnt)

    def on_train_start(self) -> None:
        """Take the recipe's learning rates, where a checkpoint has brought others."""
        for optimizer, rates in zip(self.trainer.optimizers, self._rates, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        chance = Chance(self.seed, int(self.batches), self.global_rank)
        self.student_moved = int(self.batches) % self.pace.ratio == 0
        with torch.set_grad_enabled(self.student_moved):
            made = self.make(batch, chance)
        if self.student_moved:
            self.step_student(made, batch, chance)
        self.step_fake(made, batch, chance)
        self.batches += 1

    def make(self, batch: Batch, chance: Chance) -> StudentClip:
        """Return what the student makes for a batch."""
        if batch.latents_BTCYX is None:
            raise ValueError("the batch holds no latents; let lpm.train.TrajectoryData load them")
        with torch.no_grad():
            conditions = self.model.conditions(batch)
        return self.stage.forward(self.model, batch.latents_BTCYX, conditions, batch.fps, chance)

    def step_student(self, made: StudentClip, batch: Batch, chance: Chance) -> None:
        """Move the student to where the teacher would rather be."""
        (teacher,) = self._frozen
        loss, parts = self.dmd(teacher, self.fake, made.clip_BTCYX, made.conditions, batch.fps, made.given, chance.own)
        self._step(0, loss + sum(made.terms.values()))
        self._log({"student_loss": loss, **parts, **made.terms}, batch)

    def step_fake(self, made: StudentClip, batch: Batch, chance: Chance) -> None:
        """Let the fake network learn what the student made."""
        loss = self.dmd.fake_loss(self.fake, made.clip_BTCYX, made.conditions, batch.fps, made.given, chance.own)
        self._step(1, loss)
        self._log({"fake_loss": loss}, batch)

    def _step(self, index: int, loss: Tensor) -> None:
        optimizer = self.optimizers()[index]  # type: ignore[index]
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Clip the gradients of the network that steps; with ``16-mixed`` their scale is off by now."""
        network = self.model.backbone if optimizer is self.trainer.optimizers[0] else self.fake
        nn.utils.clip_grad_norm_(network.parameters(), self.pace.clip)

    def _log(self, values: dict[str, Tensor], batch: Batch) -> None:
        shown = {f"train/{name}": value.detach() for name, value in values.items()}
        self.log_dict(shown, prog_bar=True, batch_size=len(batch.keys))

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Return the optimizers of student and fake network."""
        pace = self.pace
        networks = ((self.model.backbone, pace.student), (self.fake, pace.fake))
        optimizers = [
            self.optimizer(parameter_groups(network, {False: rate, True: rate * pace.audio}))
            for network, rate in networks
        ]
        self._rates = [rates_of(optimizer) for optimizer in optimizers]
        return optimizers


def adamw_without_momentum(groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """Return AdamW as for adversaries, whose gradients turn, with the betas of Self Forcing; DMD2 has (.9, .999)."""
    return torch.optim.AdamW(groups, betas=(0.0, 0.999), weight_decay=0.01)
