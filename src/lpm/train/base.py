"""Training of the Base model: flow matching on clips of conversation."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import OptimizerCallable
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn

from lpm.backbone import DeferredDiT, DiT
from lpm.backbone.context import Voice
from lpm.backbone.timing import latent_states
from lpm.condition import ConditionDropout
from lpm.objective import FlowMatching
from lpm.sample.performance import PerformanceModel
from lpm.sample.pretrained import load_weights, read_weights
from lpm.train.shard import lay_out
from lpm.types import Batch, Conditions


def warmup_linear(step: int, warmup: int, total: int, hold: float = 0.5, floor: float = 0.02) -> float:
    """Return the factor on the learning rate: rise over ``warmup``, hold for a share of the run, fall to ``floor``.

    >>> [round(warmup_linear(step, 10, 100), 2) for step in (0, 9, 50, 75, 100)]
    [0.1, 1.0, 1.0, 0.5, 0.02]
    """
    rise = min(1.0, (step + 1) / max(1, warmup))
    fall = (total - step) / max(1.0, total * (1 - hold))
    return rise * max(floor, min(1.0, fall))


class BaseTraining(LightningModule):
    """Train a ``PerformanceModel`` with flow matching (LPM 1.0, Base LPM: objective and condition dropout).

    Args:
        model: what is trained; its codec stays frozen.
        objective: the loss.
        dropout: how often each condition is hidden, for guidance.
        learning_rate: peak of the learning rate.
        audio_rate: factor on the learning rate of everything that reads audio.
        warmup: steps until the peak.
        optimizer: makes the optimizer of parameter groups, such as ``lpm.train.MuonAdamW``; AdamW if None.
        start: weights that this training begins with, as a checkpoint, weights folder, repository of the Hub or builder
            (``lpm.sample.base_puppet``); None begins afresh.
        frozen: voices whose audio paths are not trained: a mute one stays mute, as the partner's in the first stage of
            the curriculum.

    Raises:
        ValueError: voices to freeze in a backbone that is no ``DiT`` or ``DeferredDiT``.
    """

    def __init__(
        self,
        model: PerformanceModel,
        objective: FlowMatching,
        dropout: ConditionDropout | None = None,
        learning_rate: float = 2e-3,
        audio_rate: float = 1.0,
        warmup: int = 100,
        optimizer: OptimizerCallable | None = None,
        start: str | None = None,
        frozen: Sequence[Voice] = (),
    ) -> None:
        super().__init__()
        self.model, self.objective = model, objective
        if frozen:
            if not isinstance(model.backbone, DiT | DeferredDiT):
                raise ValueError(f"{type(model.backbone).__name__} has no voices to freeze; leave frozen empty")
            model.backbone.freeze_voices_(frozen)
        self.dropout = dropout or ConditionDropout()
        self.learning_rate, self.audio_rate = learning_rate, audio_rate
        self.warmup, self.optimizer = warmup, optimizer or adamw
        self.start = start

    def configure_model(self) -> None:
        """Build a deferred backbone, and shard the model if the strategy is ``lpm.train.Sharded``."""
        lay_out(self, self.model)

    def on_fit_start(self) -> None:
        """Load the weights of ``start``, unless a checkpoint is given."""
        if self.start is not None and self.trainer.ckpt_path is None:
            load_weights(self.model, read_weights(self.start))

    def on_validation_start(self) -> None:
        """Load the weights of ``start`` where there was no training to do it."""
        if self.trainer.state.fn == TrainerFn.VALIDATING:
            self.on_fit_start()

    def on_test_start(self) -> None:
        """Load the weights of ``start``, unless a checkpoint is given."""
        self.on_fit_start()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        conditions = self.dropout(self.model.conditions(batch), len(batch.keys))
        loss, parts = self.loss(batch, conditions)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch.keys))
        self.log_dict({f"train/{name}": value for name, value in parts.items()}, batch_size=len(batch.keys))
        return loss

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        loss = self.held_out_loss(batch, batch_idx)
        self.log("val/loss", loss, prog_bar=True, batch_size=len(batch.keys), sync_dist=True)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self.log("test/loss", self.held_out_loss(batch, batch_idx), batch_size=len(batch.keys), sync_dist=True)

    def held_out_loss(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch with all conditions and noise that depends on its place alone."""
        generator = torch.Generator().manual_seed(batch_idx)
        return self.loss(batch, self.model.conditions(batch), generator)[0]

    def loss(
        self, batch: Batch, conditions: Conditions, generator: torch.Generator | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the objective's loss of a batch and its parts."""
        latents, states = self.model.latents(batch), latent_states(batch.state_BT)
        given = 1 if batch.given_B is None else batch.given_B
        return self.objective(
            self.model.backbone,
            latents,
            conditions,
            batch.fps,
            history=given,
            state_BT=states,
            generator=generator,
        )

    def configure_optimizers(self) -> dict:
        rates = {False: self.learning_rate, True: self.learning_rate * self.audio_rate}
        optimizer = self.optimizer(parameter_groups(self, rates))
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: warmup_linear(step, self.warmup, steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def adamw(groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """Return AdamW as flow models are usually trained."""
    return torch.optim.AdamW(groups, betas=(0.9, 0.95), weight_decay=0.01)


AUDIO_PARTS = (".speak.", ".listen.", ".cross.audio.")
MATRIX_PARTS = (".blocks.", ".summarise.")


def parameter_groups(module: nn.Module, rates: dict[bool, float]) -> list[dict[str, Any]]:
    """Return the trained parameters in groups with a learning rate; ``rates[True]`` is for what reads audio.

    ``matrices`` marks the groups of weights of linear layers inside the blocks and the audio summaries; embeddings,
    heads, gains and biases are in the others.
    """
    groups = []
    for audio, rate in rates.items():
        named = list(trainable(module, audio))
        for matrices in (True, False):
            found = [parameter for name, parameter in named if is_matrix(name, parameter) == matrices]
            if found:
                groups.append({"params": found, "lr": rate, "matrices": matrices})
    return groups


def is_matrix(name: str, parameter: nn.Parameter) -> bool:
    """Tell whether a parameter is the weight of a linear layer inside the network."""
    return parameter.ndim == 2 and name.endswith(".weight") and any(part in f".{name}" for part in MATRIX_PARTS)


def trainable(module: nn.Module, audio: bool) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield names and parameters that are trained and do, or do not, belong to the audio paths."""
    for name, parameter in module.named_parameters():
        if parameter.requires_grad and any(part in f".{name}" for part in AUDIO_PARTS) == audio:
            yield name, parameter
