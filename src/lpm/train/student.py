"""What the four stages of distillation share: a student that begins as its teacher, and its average."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from lpm.distill.clip import causal_backbone
from lpm.sample import PerformanceModel, base_puppet
from lpm.sample.pretrained import load_weights, own_weights, read_weights
from lpm.train.average import clean
from lpm.train.checkpoint import load_model


def student(model: PerformanceModel) -> PerformanceModel:
    """Return the model with nothing to train but its causal backbone.

    The encoders stay the teacher's: student, teacher and fake network then hear the same, encoded once.
    """
    model.requires_grad_(False)
    causal_backbone(model).requires_grad_(True)
    return model


def load_start(model: PerformanceModel, start: str | None) -> None:
    """Load the weights of a checkpoint or folder; the Base weights that ship with the package if None."""
    load_weights(model, own_weights(base_puppet()) if start is None else read_weights(start))


def load_teacher(source: str | None) -> PerformanceModel:
    """Return the Base model of a checkpoint or folder, frozen; the one that ships with the package if None."""
    teacher = base_puppet() if source is None else load_model(source)
    return teacher.requires_grad_(False).eval()


def share_encoders(model: PerformanceModel, teacher: PerformanceModel) -> None:
    """Give the student its teacher's encoders and codec, which it must have already, if rounded to half precision.

    Weights that were exported in half precision can thus be trained on.

    Raises:
        ValueError: the student encodes conditions, adds noise or reads its network otherwise than its teacher.
    """
    if model.shift != teacher.shift:
        raise ValueError(f"shift {model.shift:g} of the student, {teacher.shift:g} of its teacher; set the teacher's")
    for name in ("prediction", "coordinates"):
        mine, its = getattr(model, name), getattr(teacher, name)
        if type(mine) is not type(its) or vars(mine) != vars(its):
            raise ValueError(f"{name} {told(mine)} of the student, {told(its)} of its teacher; set the teacher's")
    for name in ("text", "speak", "listen"):
        if not alike(getattr(model, name), getattr(teacher, name)):
            raise ValueError(f"encoder of {name} differs from the teacher's; start from weights distilled from it")
        getattr(model, name).load_state_dict(getattr(teacher, name).state_dict())
    if not alike(model.codec, teacher.codec):
        raise ValueError("the student's codec makes other latents than its teacher's; give it the teacher's codec")
    model.codec.load_state_dict(encoding(teacher.codec), strict=False)


def encoding(part: Any) -> dict[str, Tensor]:
    """Return the tensors of an encoder, or of a codec without its decoder."""
    return {name: x for name, x in part.state_dict().items() if not name.startswith("decoder.")}


def alike(one: Any, other: Any) -> bool:
    """Return whether two modules encode alike: their tensors are equal, or rounded to float16."""
    mine, its = encoding(one), encoding(other)
    return mine.keys() == its.keys() and all(
        x.shape == its[name].shape and torch.allclose(x.float(), its[name].to(x).float(), rtol=2**-10, atol=2**-24)
        for name, x in mine.items()
    )


def told(part: object) -> str:
    """Return the name and numbers of a part.

    >>> from lpm.flow import Residual
    >>> told(Residual(2.0))
    'Residual(scale=2.0)'
    """
    return f"{type(part).__name__}({', '.join(f'{name}={value}' for name, value in vars(part).items())})"


def rates_of(optimizer: Optimizer) -> list[float]:
    """Return the learning rates of an optimizer's groups."""
    return [group["lr"] for group in optimizer.param_groups]


class StudentAverage(Callback):
    """Average the student over its steps, exponentially; checkpoints and the end of training hold the average.

    Nothing else is averaged: ``lpm.train.Average`` would average the fake network, too. A resumed run goes on with
    both, exactly.

    Args:
        decay: share of the old average that is kept in each of the student's steps.
    """

    def __init__(self, decay: float = 0.99) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay of {decay} is outside [0, 1); .99 averages about 100 steps")
        self.decay, self.steps = decay, 0
        self.average: dict[str, Tensor] | None = None
        self.student: dict[str, Tensor] | None = None  # once the average stands in its place

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin with the student as it is, unless a checkpoint brought an average."""
        now = trained(pl_module)
        before = now if self.average is None else self.average
        self.average = {name: before[name].detach().to(tensor, copy=True) for name, tensor in now.items()}
        self.steps, self.student = trainer.global_step, None

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Follow the student if it has moved: not in batches whose gradients are only accumulated."""
        stepped, self.steps = trainer.global_step > self.steps, trainer.global_step
        if self.average is not None and stepped and pl_module.student_moved:
            for name, tensor in trained(pl_module).items():
                self.average[name].lerp_(tensor, 1 - self.decay)

    @torch.no_grad()
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the average in the student's place, and keep the student for checkpoints that are still to come."""
        if self.average is not None:
            self.student = {name: tensor.detach().clone() for name, tensor in trained(pl_module).items()}
            for name, tensor in trained(pl_module).items():
                tensor.copy_(self.average[name])

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Put the average among the weights, and the student beside them."""
        if self.average is not None:
            checkpoint["student"] = self.student or {name: checkpoint["state_dict"][name] for name in self.average}
            checkpoint["state_dict"] = {**checkpoint["state_dict"], **self.average}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Take both back."""
        if "student" in checkpoint:
            self.average = {name: checkpoint["state_dict"][name].clone() for name in checkpoint["student"]}
            pl_module.load_state_dict(checkpoint["student"], strict=False)


def trained(module: LightningModule) -> dict[str, Tensor]:
    """Return the student's trained parameters by name, as ``state_dict`` has it."""
    return {clean(name): x for name, x in module.named_parameters() if name.startswith("model.") and x.requires_grad}
