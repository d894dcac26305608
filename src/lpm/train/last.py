"""The last steps of a training are part of its last checkpoint."""

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint


class SaveLast(Callback):
    """Write the last checkpoint once more when a training ends between two checkpoints.

    ``ModelCheckpoint(every_n_train_steps=n, save_last=True)`` saves at multiples of n, and at the end only if it never
    saved before (Lightning 2.6.6): what a training learnt after the last multiple would be lost. An epoch of our
    endless loaders ends where training does, and before averages are moved into the model.
    """

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save through every ModelCheckpoint that has not saved this step."""
        for saver in trainer.checkpoint_callbacks:
            if isinstance(saver, ModelCheckpoint) and saver._last_global_step_saved != trainer.global_step:
                candidates = saver._monitor_candidates(trainer)
                if saver.save_last == "link":  # a link needs a checkpoint of this step to point at
                    saver._save_topk_checkpoint(trainer, candidates)
                saver._save_last_checkpoint(trainer, candidates)
