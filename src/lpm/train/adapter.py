"""Adapters in training: saved when it ends, and switched off for the reference of preference tuning."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from lpm.sample.adapter import is_adapted, is_at_rest, save_adapter
from lpm.sample.performance import PerformanceModel
from lpm.train.callbacks import model_of, run_folder


class SaveAdapter(Callback):
    """Write the adapter in PEFT's format when training ends, into ``adapter/`` of the run's folder.

    Weights are those that the run ends with: averaged ones if an averaging callback stands before this one.
    """

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the folder."""
        folder = run_folder(trainer) / "adapter"
        if not trainer.is_global_zero or trainer.state.status == "interrupted":
            return
        start: Any = getattr(pl_module, "start", None)
        save_adapter(model_of(pl_module), folder, start)
        print(f"adapter in {folder}")


class AdaptersOff:
    """The model itself with its adapters switched off: the reference of preference tuning, without a second copy.

    Needs adapters that change nothing when training begins, since what is off must be the start.
    """

    def __init__(self) -> None:
        self.model: PerformanceModel | None = None

    def begin(self, model: PerformanceModel) -> None:
        """Take the model.

        Raises:
            ValueError: it has no adapters, or they are in use.
        """
        if not is_adapted(model.backbone):
            raise ValueError("the model has no adapters to switch off; give it one, or take lpm.train.FrozenCopy")
        if not is_at_rest(model.backbone):
            raise ValueError(
                "the adapters of the start are in use, so the model without them is not the start; merge them with "
                "`lpm weights export --form model` and start from that"
            )
        self.model = model

    @contextmanager
    def use(self) -> Iterator[PerformanceModel]:
        """Give the model, in evaluation mode and without adapters until the context ends."""
        if self.model is None:
            raise ValueError("the reference has not begun; call begin(model) with the starting weights first")
        network: Any = self.model.backbone
        mode = self.model.training
        try:
            with network.disable_adapter():
                yield self.model.eval()
        finally:
            self.model.train(mode)
