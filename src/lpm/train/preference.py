"""Preference tuning: FlowDPO on pairs of performed clips, against the weights it began with."""

import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from lpm.objective import FlowDPO
from lpm.sample.adapter import is_adapted
from lpm.sample.performance import PerformanceModel
from lpm.sample.pretrained import load_weights, read_weights
from lpm.train.adapter import AdaptersOff
from lpm.train.base import warmup_linear
from lpm.types import Batch, Conditions


class Reference(Protocol):
    """The model as it stood before tuning. It is never part of a checkpoint: ``start`` brings it back."""

    def begin(self, model: PerformanceModel) -> None:
        """Take the model, which holds the starting weights at this moment."""
        ...

    def use(self) -> AbstractContextManager[PerformanceModel]:
        """Return a context in which the model that it gives behaves as at the beginning."""
        ...


class FrozenCopy:
    """A copy of the model, codec shared, that learns nothing."""

    def __init__(self) -> None:
        self.model: PerformanceModel | None = None

    def begin(self, model: PerformanceModel) -> None:
        """Copy the model."""
        self.model = copy.deepcopy(model, {id(model.codec): model.codec}).requires_grad_(False).eval()

    @contextmanager
    def use(self) -> Iterator[PerformanceModel]:
        """Give the copy."""
        if self.model is None:
            raise ValueError("the reference has not begun; call begin(model) with the starting weights first")
        yield self.model


def reference_of(model: PerformanceModel) -> Reference:
    """Return the reference that costs least: none of its own where adapters can be switched off."""
    return AdaptersOff() if is_adapted(model.backbone) else FrozenCopy()


class ReferenceBackbone:
    """The backbone of a reference, used for the length of one call."""

    def __init__(self, reference: Reference) -> None:
        self.reference = reference

    def forward(self, noisy_BTCYX: Tensor, t_BT: Tensor, conditions: Conditions, fps: float) -> Tensor:
        """Return the reference's prediction."""
        with self.reference.use() as model:
            return model.backbone.forward(noisy_BTCYX, t_BT, conditions, fps)


class PreferenceTraining(LightningModule):
    """Tune a ``PerformanceModel`` on pairs of preference (LPM 1.0, DPO).

    Args:
        model: what is tuned; its codec stays frozen.
        objective: the loss.
        learning_rate: peak of AdamW's learning rate.
        warmup: steps until the peak.
        weight_decay: of AdamW.
        start: checkpoint or weights folder with which both the model and the reference begin; the shipped puppet
            weights if None.
        reference: how the beginning is kept; if None ``AdaptersOff()`` for a model with an adapter, else
            ``FrozenCopy()``.
    """

    def __init__(
        self,
        model: PerformanceModel,
        objective: FlowDPO,
        learning_rate: float = 5e-5,
        warmup: int = 20,
        weight_decay: float = 0.0,
        start: str | None = None,
        reference: Reference | None = None,
    ) -> None:
        super().__init__()
        self.model, self.objective = model, objective
        self.learning_rate, self.warmup, self.weight_decay = learning_rate, warmup, weight_decay
        self.start, self.reference = start or "lpm.sample.base_puppet", reference or reference_of(model)

    def on_fit_start(self) -> None:
        """Load the weights of ``start`` and keep the reference; a resumed run takes its own weights back."""
        tuned = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
        load_weights(self.model, read_weights(self.start))
        self.reference.begin(self.model)
        if self.trainer.ckpt_path is not None:
            self.model.load_state_dict(tuned)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss, parts = self.loss(batch)
        rows = len(batch.keys)
        self.log("train/loss", loss, prog_bar=True, batch_size=rows)
        self.log("train/accuracy", parts.pop("accuracy"), prog_bar=True, batch_size=rows)
        self.log_dict({f"train/{name}": value for name, value in parts.items()}, batch_size=rows)
        return loss

    def loss(self, batch: Batch, generator: torch.Generator | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the objective's loss of a batch of pairs and its parts."""
        if batch.latents_BTCYX is None or batch.loser_BTCYX is None:
            raise ValueError("the batch holds no pairs; let lpm.train.PairData load shards of `lpm data pairs`")
        with torch.no_grad(), self.reference.use() as model:
            reference_conditions = model.conditions(batch)
        return self.objective(
            self.model.backbone,
            ReferenceBackbone(self.reference),
            batch.latents_BTCYX,
            batch.loser_BTCYX,
            self.model.conditions(batch),
            reference_conditions,
            batch.fps,
            history=1 if batch.given_B is None else batch.given_B,
            generator=generator,
        )

    def configure_optimizers(self) -> dict:
        tuned = [parameter for parameter in self.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(tuned, self.learning_rate, betas=(0.9, 0.95), weight_decay=self.weight_decay)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: warmup_linear(step, self.warmup, steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
