"""Training of the tiny codec: reconstruct clips through slightly noisy latents."""

import math
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from lpm.codec import TinyCodec, save_codec
from lpm.codec.loss import moving_loss, reconstruction_loss
from lpm.types import Batch


def warmup_cosine(step: int, warmup: int, total: int) -> float:
    """Return the factor on the learning rate: a straight rise over ``warmup`` steps, then half a cosine down to 0.

    >>> [round(warmup_cosine(step, 10, 110), 2) for step in (0, 9, 60, 110)]
    [0.1, 1.0, 0.5, 0.0]
    """
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 + 0.5 * math.cos(math.pi * min(1.0, (step - warmup) / max(1, total - warmup)))


class CodecTraining(LightningModule):
    """Train a ``TinyCodec`` on ``Batch.video_BTCHW``.

    Noise of a random strength up to ``latent_noise`` (latents have unit deviation) is added between encoder and
    decoder, except to the first frame, which is never generated: generated latents are not exact, and a decoder that
    has seen errors forgives them.

    Args:
        codec: the codec to train; None builds the default. ``lpm.codec.tiny_codec(trainable=True)`` goes on from the
            shipped weights (with ``start_batches`` 0).
        learning_rate: peak of AdamW's learning rate.
        warmup: steps until the peak; half a cosine to 0 follows.
        latent_noise: largest standard deviation of the noise on the latents.
        start_batches: batches whose principal components the codec starts from; 0 starts from ``codec`` as it is.
        encoder: train both halves; False trains the decoder alone, and latents stay what they were.
        pace: weight of the squared error of temporal steps, see ``lpm.codec.loss.reconstruction_loss``.
        moving: weight of the error of the moved first picture alone, see ``lpm.codec.loss.moving_loss``: painting would
            else make up for a flow that has not been learnt yet.
    """

    def __init__(
        self,
        codec: TinyCodec | None = None,
        learning_rate: float = 1.5e-3,
        warmup: int = 100,
        latent_noise: float = 0.05,
        start_batches: int = 16,
        encoder: bool = True,
        pace: float = 0.0,
        moving: float = 1.0,
    ) -> None:
        super().__init__()
        self.codec = TinyCodec() if codec is None else codec
        self.learning_rate, self.warmup = learning_rate, warmup
        self.latent_noise, self.start_batches = latent_noise, start_batches
        self.encoder, self.pace, self.moving = encoder, pace, moving
        self.codec.encoder.requires_grad_(encoder)

    def forward(self, video_BTCHW: Tensor) -> Tensor:
        """Return the reconstruction, (B, T, 3, H, W)."""
        return self.codec(video_BTCHW)

    def on_train_start(self) -> None:
        """Start a fresh codec from the principal components of a few batches."""
        if self.global_step == 0 and self.start_batches:
            loader = self.trainer.train_dataloader
            assert loader is not None
            batches = islice(iter(loader), self.start_batches)
            self.codec.start_linear(torch.cat([video_of(batch) for batch in batches]).to(self.device))

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        video = video_of(batch)
        latents = self.codec.encode(video)
        strength = self.latent_noise * torch.rand(len(latents), 1, 1, 1, 1, device=latents.device)
        noise = strength * torch.randn_like(latents)
        noise[:, 0] = 0
        output, moved, _ = self.codec.decode_and_move(latents + noise, self.codec.init_decode_state(len(latents)))
        loss = reconstruction_loss(output, video, pace=self.pace) + self.moving * moving_loss(moved, video)
        self.log("train/loss", loss, prog_bar=True)
        return {"loss": loss, "latents": latents.detach()}

    def on_train_batch_end(self, outputs: dict[str, Tensor], batch: Batch, batch_idx: int) -> None:
        if self.encoder:
            self.codec.follow(outputs["latents"], rate=max(0.01, 1 / max(1, self.global_step)))

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        video = video_of(batch)
        output, shown = self(video).clamp(-1, 1).flatten(0, 1), video.flatten(0, 1)
        scores: dict[str, Any] = {
            "val/psnr": peak_signal_noise_ratio(output, shown, data_range=(-1.0, 1.0), dim=(1, 2, 3)),
            "val/ssim": structural_similarity_index_measure(output, shown, data_range=(-1.0, 1.0)),
        }
        self.log_dict(scores, prog_bar=True, batch_size=len(video), sync_dist=True)

    def configure_optimizers(self) -> dict:
        optimizer = torch.optim.AdamW(
            [p for p in self.codec.parameters() if p.requires_grad],
            lr=self.learning_rate,
            betas=(0.9, 0.99),
            weight_decay=1e-3,
        )
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: warmup_cosine(step, self.warmup, steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class ExportCodec(Callback):
    """Write the codec's weights to ``path`` after every validation.

    Args:
        path: file to write, ``*.safetensors``.
        half: store float16.
    """

    def __init__(self, path: str, half: bool = True) -> None:
        self.path, self.half = Path(path), half

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero and not trainer.sanity_checking:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            save_codec(codec_of(pl_module), self.path, self.half)


def codec_of(module: LightningModule) -> TinyCodec:
    """Return the codec that a training module trains; raise ValueError when it trains none."""
    if not isinstance(module.codec, TinyCodec):
        raise ValueError(f"{type(module).__name__} trains no TinyCodec; remove ExportCodec from the callbacks")
    return module.codec


def video_of(batch: Batch) -> Tensor:
    """Return the batch's pixels; raise ValueError when the data module loads latents only."""
    if batch.video_BTCHW is None:
        raise ValueError("the batch holds latents only, but a codec learns from pixels; let the data module load video")
    return batch.video_BTCHW
