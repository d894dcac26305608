"""Fine-tuning of an audio encoder for streaming windows: in a window it shall say what it says of the whole clip."""

import copy
from collections.abc import Callable

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from lpm.condition import LogMelEncoder, PretrainedAudio, Windows
from lpm.objective import FeatureDistance
from lpm.train.codec import warmup_cosine
from lpm.types import Batch

SILENCE = 1e-3  # no sample of a silent voice is larger


class AudioWindowTraining(LightningModule):
    """Teach an audio encoder that reads streaming windows the features of its frozen copy that hears the whole clip.

    (LPM 1.0, streaming: encoders are fine-tuned on 3 s windows.) Both stay in evaluation mode: dropout and masked time
    would only blur what is to be equal.

    Args:
        encoder: what is tuned; a ``PretrainedAudio`` has to be ``trainable``.
        history: seconds of a window that were encoded before.
        fresh: seconds of a window that are new.
        objective: the loss; ``FeatureDistance()`` if None.
        learning_rate: peak of AdamW's learning rate.
        warmup: steps until the peak; half a cosine to 0 follows.

    Raises:
        ValueError: an encoder of which nothing is trainable.
    """

    def __init__(
        self,
        encoder: PretrainedAudio | LogMelEncoder,
        history: float = 2.0,
        fresh: float = 1.0,
        objective: FeatureDistance | None = None,
        learning_rate: float = 1e-4,
        warmup: int = 10,
    ) -> None:
        super().__init__()
        if not any(parameter.requires_grad for parameter in encoder.parameters()):
            raise ValueError("0 parameters of the encoder are trainable; give it the argument trainable: true")
        self.encoder, self.teacher = encoder, copy.deepcopy(encoder).requires_grad_(False)
        self.windows = Windows(encoder.rate, encoder.width, history, fresh)
        self.objective = objective or FeatureDistance()
        self.learning_rate, self.warmup = learning_rate, warmup

    def train(self, mode: bool = True) -> "AudioWindowTraining":
        """Set the mode; both encoders stay in evaluation mode."""
        super().train(mode)
        self.encoder.eval()
        self.teacher.eval()
        return self

    def whole(self, samples_BS: Tensor) -> Tensor:
        """Return the teacher's features of whole clips, (B, A, D)."""
        with torch.no_grad():
            return whole_clip(self.teacher)(samples_BS)

    def windowed(self, samples_BS: Tensor) -> Tensor:
        """Return the features of the encoder that is tuned, as a stream would have them, (B, A, D)."""
        return self.windows.encode(whole_clip(self.encoder), samples_BS)

    def untuned(self, samples_BS: Tensor) -> Tensor:
        """Return what the stream would have without tuning, (B, A, D)."""
        with torch.no_grad():
            return self.windows.encode(whole_clip(self.teacher), samples_BS)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        samples = voices(batch.speak_BS, batch.listen_BS)
        loss: Tensor = self.objective(self.windowed(samples), self.whole(samples))
        self.log("train/loss", loss, prog_bar=True, batch_size=len(samples))
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        samples = voices(batch.speak_BS, batch.listen_BS)
        loss = self.objective(self.windowed(samples), self.whole(samples))
        self.log("val/loss", loss, prog_bar=True, batch_size=len(samples), sync_dist=True)

    def configure_optimizers(self) -> dict:
        tuned = [parameter for parameter in self.encoder.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(tuned, self.learning_rate, betas=(0.9, 0.98), weight_decay=0.0)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: warmup_cosine(step, self.warmup, steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def whole_clip(encoder: PretrainedAudio | LogMelEncoder) -> Callable[[Tensor], Tensor]:
    """Return the function that encodes a clip at once."""
    return encoder.encode if isinstance(encoder, PretrainedAudio) else encoder.forward


def voices(speak_BS: Tensor, listen_BS: Tensor) -> Tensor:
    """Return all voices that are not silent throughout, (B, S); all of them if every one is silent."""
    both = torch.cat([speak_BS, listen_BS])
    heard = both.abs().amax(dim=1) > SILENCE
    return both[heard] if heard.any() else both
