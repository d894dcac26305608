"""Stage 1 of distillation: the causal student learns where its teacher's trajectories end."""

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from lpm.distill import Chance, OdeRegression
from lpm.sample import PerformanceModel, noise_levels
from lpm.train.base import adamw, parameter_groups, warmup_linear
from lpm.train.student import load_start, load_teacher, rates_of, share_encoders, student
from lpm.types import Batch


class OdeTraining(LightningModule):
    """Train a causal student on trajectories (LPM 1.0, Online LPM, stage 1).

    Args:
        model: the student; its backbone is a ``lpm.backbone.CausalDiT``.
        objective: the loss; ``OdeRegression()`` if None.
        learning_rate: peak of the learning rate.
        audio_rate: factor on the learning rate of everything that reads audio.
        warmup: steps until the peak.
        optimizer: makes the optimizer of parameter groups, such as ``lpm.train.MuonAdamW``; AdamW if None.
        start: checkpoint or weights folder of the Base model; the shipped puppet weights if None.
        seed: of points and noise.
    """

    student_moved = True  # in every step, for StudentAverage

    def __init__(
        self,
        model: PerformanceModel,
        objective: OdeRegression | None = None,
        learning_rate: float = 2e-4,
        audio_rate: float = 1.0,
        warmup: int = 20,
        optimizer: OptimizerCallable | None = None,
        start: str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.model, self.objective = student(model), objective or OdeRegression()
        self.learning_rate, self.audio_rate, self.warmup = learning_rate, audio_rate, warmup
        self.optimizer, self.start, self.seed = optimizer or adamw, start, seed
        self._rates: list[float] = []  # of the optimizer's groups at their peak, as the recipe has them

    def on_fit_start(self) -> None:
        """Load the weights of ``start``, unless this run is being resumed."""
        if self.trainer.ckpt_path is None:
            load_start(self.model, self.start)
            share_encoders(self.model, load_teacher(self.start))

    def on_train_start(self) -> None:
        """Take the recipe's learning rate, where a checkpoint has brought another."""
        schedule = self.lr_schedulers()
        assert isinstance(schedule, LambdaLR)
        schedule.base_lrs = list(self._rates)
        for group, rate, factor in zip(schedule.optimizer.param_groups, self._rates, schedule.lr_lambdas, strict=True):
            group.update(initial_lr=rate, lr=rate * factor(schedule.last_epoch))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss, parts = self.loss(batch, Chance(self.seed, self.count(batch_idx), self.global_rank))
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch.keys))
        self.log_dict({f"train/{name}": value for name, value in parts.items()}, batch_size=len(batch.keys))
        return loss

    def count(self, batch_idx: int) -> int:
        """Return how many batches came before, also in a resumed run."""
        batches = self.trainer.accumulate_grad_batches
        return self.trainer.global_step * batches + batch_idx % batches

    def loss(self, batch: Batch, chance: Chance) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the objective's loss of a batch of trajectories and its parts."""
        if batch.points_BSTCYX is None:
            raise ValueError("the batch holds no trajectories; let lpm.train.TrajectoryData load them")
        levels = read_levels(batch, self.model.shift)
        with torch.no_grad():
            conditions = self.model.conditions(batch)
        return self.objective(self.model, batch.points_BSTCYX, levels, conditions, batch.fps, chance)

    def configure_optimizers(self) -> dict:
        rates = {False: self.learning_rate, True: self.learning_rate * self.audio_rate}
        optimizer = self.optimizer(parameter_groups(self.model.backbone, rates))
        self._rates = rates_of(optimizer)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = LambdaLR(optimizer, lambda step: warmup_linear(step, self.warmup, steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def read_levels(batch: Batch, shift: float) -> tuple[float, ...]:
    """Return the noise levels of a batch's points but the last.

    Raises:
        ValueError: they are not those of ``lpm.sample.noise_levels`` at the student's shift.
    """
    levels = batch.meta[0]["trajectory"]["levels"]
    wanted = noise_levels(len(levels) - 1, shift)
    if any(abs(a - b) > 1e-6 for a, b in zip(levels, wanted)):
        raise ValueError(
            f"trajectories at noise levels {[round(x, 3) for x in levels]}, but a shift of {shift:g} gives "
            f"{[round(x, 3) for x in wanted]}; set the teacher's shift, or make them again"
        )
    return tuple(levels[:-1])
