"""What tuning for windows has changed, and the tuned encoder's weights."""

from collections.abc import Iterable

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from lpm.condition import save_audio
from lpm.metric import token_cosine, token_error, token_unexplained
from lpm.metric.clips import identity_code
from lpm.train.audio_windows import SILENCE, AudioWindowTraining, voices
from lpm.train.callbacks import brought, run_folder, write_json
from lpm.train.preference_report import Change, change, print_changes
from lpm.types import Batch


class AudioWindowReport(Callback):
    """Compare windows with whole clips on held-out sound, before and after, when training ends; save the encoder.

    The first process compares all of it. Needs a data module whose ``performance_loaders()["held_out"]`` are clips
    with sound, the same for every process, such as ``AudioData``. Writes ``encoder/``, which
    ``lpm.condition.PretrainedAudio`` or ``lpm.condition.log_mel`` loads, and ``audio-windows.json`` into the logger's
    folder, and prints a table.
    """

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare, show and store."""
        folder = run_folder(trainer)
        if not trainer.is_global_zero or trainer.state.status == "interrupted":
            return
        if not isinstance(pl_module, AudioWindowTraining):
            raise ValueError(f"{type(pl_module).__name__} tunes no audio encoder; remove the audio window report")
        save_audio(pl_module.encoder, folder / "encoder")
        loader = trainer.datamodule.performance_loaders()["held_out"]  # type: ignore[attr-defined]
        found = compare_windows(pl_module, brought(pl_module, loader))
        print_changes("windows against whole clips, held out", found)
        write_json(folder / "audio-windows.json", {name: row.as_dict() for name, row in found.items()})
        print(f"figures in {folder / 'audio-windows.json'}, weights in {folder / 'encoder'}")


@torch.no_grad()
def compare_windows(training: AudioWindowTraining, batches: Iterable[Batch]) -> dict[str, Change]:
    """Return how like the whole clip's features the windows' are, without and with tuning.

    ``cosine`` and ``closeness``, one minus the relative L2 error, are means over tokens; ``explained`` is the share of
    the clip's variance over time that windows keep. Higher is better, 1 is no gap. Clips without a sound count in none.
    Intervals resample identities (``lpm.metric.estimate``).
    """
    rows: dict[str, list[tuple[float, float, int]]] = {name: [] for name in ("cosine", "closeness", "explained")}
    for batch in batches:
        for row, meta in enumerate(batch.meta):
            samples = voices(batch.speak_BS[row : row + 1], batch.listen_BS[row : row + 1])
            before, after = clip_scores(training, samples)
            for name, values in rows.items():
                values.append((before[name], after[name], identity_code(meta["identity"])))
    if not rows["cosine"]:
        raise ValueError("no clip to compare; give a split with at least one clip")
    return {name: change(torch.tensor(values, dtype=torch.float64)) for name, values in rows.items()}


def clip_scores(training: AudioWindowTraining, samples_BS: Tensor) -> tuple[dict[str, float], dict[str, float]]:
    """Return the scores of one clip's voices without and with tuning; NaN for silence."""
    whole = training.whole(samples_BS)
    silent = float("nan") if samples_BS.abs().max() <= SILENCE else 0.0

    def scores(found: Tensor) -> dict[str, float]:
        error, unexplained = token_error(found, whole).mean(), token_unexplained(found, whole).mean()
        parts = {"cosine": token_cosine(found, whole).mean(), "closeness": 1 - error, "explained": 1 - unexplained}
        return {name: float(part) + silent for name, part in parts.items()}

    return scores(training.untuned(samples_BS)), scores(training.windowed(samples_BS))
