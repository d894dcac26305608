"""What tuning for windows has changed, and the tuned encoder's weights."""

from collections.abc import Iterable
from pathlib import Path

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from lpm.condition import save_audio
from lpm.metric import token_cosine, token_unexplained
from lpm.metric.clips import identity_code
from lpm.train.audio_windows import AudioWindowTraining, voices
from lpm.train.callbacks import write_json
from lpm.train.preference_report import Change, change, print_changes
from lpm.types import Batch


class AudioWindowReport(Callback):
    """Compare windows with whole clips on held-out sound, before and after, when training ends; save the encoder.

    Writes ``encoder/``, which ``lpm.condition.PretrainedAudio`` or ``lpm.condition.log_mel`` loads, and
    ``audio-windows.json`` into the logger's folder, and prints a table.
    """

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare, show and store."""
        if not trainer.is_global_zero or trainer.state.status == "interrupted":
            return
        if not isinstance(pl_module, AudioWindowTraining):
            raise ValueError(f"{type(pl_module).__name__} tunes no audio encoder; remove the audio window report")
        folder, loader = Path(trainer.log_dir or trainer.default_root_dir), trainer.datamodule.val_dataloader()  # type: ignore[attr-defined]
        found = compare_windows(
            pl_module, (pl_module.transfer_batch_to_device(batch, pl_module.device, 0) for batch in loader)
        )
        print_changes("windows against whole clips, held out", found)
        write_json(folder / "audio-windows.json", {name: row.as_dict() for name, row in found.items()})
        save_audio(pl_module.encoder, folder / "encoder")
        print(f"figures in {folder / 'audio-windows.json'}, weights in {folder / 'encoder'}")


@torch.no_grad()
def compare_windows(training: AudioWindowTraining, batches: Iterable[Batch]) -> dict[str, Change]:
    """Return how like the whole clip's features the windows' are, without and with tuning.

    ``cosine`` is the mean over tokens; ``explained`` is the share of the variance over time that windows keep. Higher
    is better, 1 is no gap. Intervals resample identities (``lpm.metric.estimate``).
    """
    rows: dict[str, list[tuple[float, float, int]]] = {"cosine": [], "explained": []}
    for batch in batches:
        for row, meta in enumerate(batch.meta):
            samples = voices(batch.speak_BS[row : row + 1], batch.listen_BS[row : row + 1])
            whole, before, after = (encode(samples) for encode in (training.whole, training.untuned, training.windowed))
            code = identity_code(meta["identity"])
            rows["cosine"].append((mean(token_cosine(before, whole)), mean(token_cosine(after, whole)), code))
            kept = (1 - mean(token_unexplained(found, whole)) for found in (before, after))
            rows["explained"].append((*kept, code))  # type: ignore[arg-type]
    if not rows["cosine"]:
        raise ValueError("no clip to compare; give a split with at least one clip")
    return {name: change(torch.tensor(values, dtype=torch.float64)) for name, values in rows.items()}


def mean(values_BA: Tensor) -> float:
    """Return the mean over voices and tokens."""
    return float(values_BA.mean())
