"""Training of a small audio encoder to understand speech before it hears for a Base model."""

from pathlib import Path

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torchmetrics.functional.classification import binary_auroc

from lpm.condition import LogMelEncoder, save_audio
from lpm.train.codec import warmup_cosine
from lpm.types import Batch

MOUTH = ("aperture", "width", "round", "tongue")
LAGS = (0.0, 0.06, 0.12, 0.18)
CUES = ("phrase_end", "turn_end", "question", "energy_peak")
SPANS = ((0.0, 0.2), (0.2, 0.5), (0.5, 1.0))


class SpeechTraining(LightningModule):
    """Teach an audio encoder what a voice does: how its mouth moves, and when its phrases end.

    LPM 1.0 hears through encoders that were trained on speech alone (wav2vec 2.0 and its like). At puppet size the
    corpus itself tells what there is to understand. A linear layer on each token, thrown away afterwards, reads

    - the mouth of the voice (``MOUTH``) ``LAGS`` seconds before the token's end, in squared error;
    - how likely a cue (``CUES``) of the voice lies in each of ``SPANS``, in seconds before the token's end.

    Args:
        encoder: what is trained.
        learning_rate: peak of AdamW's learning rate.
        warmup: steps until the peak; half a cosine to 0 follows.
        mouth: weight of the squared error against that of the probabilities.
    """

    def __init__(
        self, encoder: LogMelEncoder, learning_rate: float = 2e-3, warmup: int = 50, mouth: float = 20.0
    ) -> None:
        super().__init__()
        self.encoder, self.mouth = encoder, mouth
        self.learning_rate, self.warmup = learning_rate, warmup
        self.lips = nn.Linear(encoder.width, len(MOUTH) * len(LAGS))
        self.cues = nn.Linear(encoder.width, len(CUES) * len(SPANS))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        mine, partner = (self.encoder.forward(voice) for voice in (batch.speak_BS, batch.listen_BS))
        ends = self.ends(batch, mine.shape[1])
        wanted, known = mouth_targets(batch, ends)
        error = (self.lips(mine) - wanted).square().mean(dim=-1)[:, known].mean()
        heard = [(mine, cue_targets(batch, ends, "self")), (partner, cue_targets(batch, ends, "partner"))]
        unsure = torch.stack([binary_cross_entropy_with_logits(self.cues(x), y) for x, y in heard]).mean()
        self.log_dict({"train/mouth": error, "train/cues": unsure}, prog_bar=True, batch_size=len(mine))
        return self.mouth * error + unsure

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        mine, partner = (self.encoder.forward(voice) for voice in (batch.speak_BS, batch.listen_BS))
        ends = self.ends(batch, mine.shape[1])
        wanted, known = mouth_targets(batch, ends)
        opening = torch.stack([self.lips(mine)[:, known, 0].flatten(), wanted[:, known, 0].flatten()])
        ended = binary_auroc(
            self.cues(partner)[..., 1].flatten(), cue_targets(batch, ends, "partner")[..., 1].flatten().long()
        )
        scores = {"val/aperture": torch.corrcoef(opening)[0, 1], "val/phrase_end": ended}
        self.log_dict(scores, prog_bar=True, batch_size=len(mine), sync_dist=True)

    def ends(self, batch: Batch, tokens: int) -> Tensor:
        """Return the end of each token in seconds after frame 0, (A,)."""
        return torch.arange(1, tokens + 1, device=self.device) / self.encoder.rate - batch.history

    def configure_optimizers(self) -> dict:
        optimizer = torch.optim.AdamW(self.parameters(), self.learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: warmup_cosine(step, self.warmup, steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def mouth_targets(batch: Batch, ends_A: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``MOUTH`` at every lag before each token's end, (B, A, lags * mouth), and where it is known, (A,)."""
    tracks_BTM = torch.stack([batch.truth[name] for name in MOUTH], dim=-1)
    frames = tracks_BTM.shape[1]
    at_AL = ((ends_A[:, None] - ends_A.new_tensor(LAGS)) * batch.fps - 0.5).round().long()
    known = ((at_AL >= 0) & (at_AL < frames)).all(dim=1)
    return tracks_BTM[:, at_AL.clamp(0, frames - 1)].flatten(2), known


def cue_targets(batch: Batch, ends_A: Tensor, who: str) -> Tensor:
    """Return 1 where a cue of ``who`` lies in a span before a token's end, else 0: (B, A, cues * spans)."""
    rows = [row_targets(meta, ends_A + float(meta.get("start", 0)) / batch.fps, who) for meta in batch.meta]
    return torch.stack(rows)


def row_targets(meta: dict, ends_A: Tensor, who: str) -> Tensor:
    """Return the targets of one clip, (A, cues * spans); ``ends_A`` in seconds of the whole clip."""
    columns = []
    for cue in CUES:
        times = [event["t"] for event in meta.get("events", []) if event["who"] == who and event["type"] == cue]
        ago_AN = ends_A[:, None] - ends_A.new_tensor(times)
        columns += [((ago_AN >= low) & (ago_AN < high)).any(dim=1) for low, high in SPANS]
    return torch.stack(columns, dim=1).float()


class ExportSpeech(Callback):
    """Write the encoder to ``folder`` after every validation, for ``lpm.condition.log_mel``."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero and not trainer.sanity_checking and isinstance(pl_module, SpeechTraining):
            save_audio(pl_module.encoder, self.folder)
