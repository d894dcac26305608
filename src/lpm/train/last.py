"""The last steps of a training are part of its last checkpoint."""

from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint


class SaveLast(Callback):
    """Write the last checkpoint once more when a training ends between two checkpoints.

    ``ModelCheckpoint(every_n_train_steps=n, save_last=True)`` saves at multiples of n alone: what a training learnt
    after the last multiple would be lost.
    """

    def __init__(self) -> None:
        self.saved = -1

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Note the step."""
        self.saved = trainer.global_step

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save, before averages are moved into the model."""
        savers = [saver for saver in trainer.checkpoint_callbacks if isinstance(saver, ModelCheckpoint)]
        paths = {saver.last_model_path for saver in savers if saver.save_last}
        if self.saved < trainer.global_step:
            for path in sorted(path for path in paths if path and Path(path).exists()):
                trainer.save_checkpoint(path)
