"""Weights of an audio encoder alone, as a folder that ``PretrainedAudio`` or ``log_mel`` loads."""

from __future__ import annotations

import json
import shutil
from importlib.resources import as_file, files
from pathlib import Path

from safetensors.torch import load_file, save_file

from lpm.build import build
from lpm.condition.pretrained_audio import PretrainedAudio
from lpm.condition.speech import LogMelEncoder
from lpm.nn import check_keys, shapes

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "preprocessor_config.json"


def save_audio(encoder: PretrainedAudio | LogMelEncoder, folder: Path | str) -> None:
    """Write an encoder's weights: in transformers' format what came in it, else for ``log_mel``."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(encoder, PretrainedAudio):
        save_pretrained(encoder, folder)
        return
    numbers = {"width": encoder.width, "rate": encoder.rate, "mels": encoder.mels, "blocks": len(encoder.blocks)}
    save_file({name: tensor.contiguous().cpu() for name, tensor in encoder.state_dict().items()}, folder / WEIGHTS)
    spec = {"class_path": "lpm.condition.LogMelEncoder", "init_args": numbers}
    (folder / CONFIG).write_text(json.dumps(spec, indent=1) + "\n")


def save_pretrained(encoder: PretrainedAudio, folder: Path) -> None:
    """Write the model that an encoder came from, a decoder and all, with the encoder's weights as they are now."""
    from transformers import AutoModel

    model = AutoModel.from_pretrained(encoder.folder, local_files_only=True)
    part = model.get_encoder() if encoder.is_whisper else model
    part.load_state_dict(encoder.network.state_dict())
    model.save_pretrained(folder)
    if (encoder.folder / CARD).is_file():
        shutil.copy(encoder.folder / CARD, folder)


def puppet_speech(rate: float = 50.0, trainable: bool = False) -> LogMelEncoder:
    """Return the audio encoder that ships with the package and knows puppets' speech (``weights/speech.md``).

    ``rate`` is 50 for lips or 12.5 for a listener. Frozen unless ``trainable``.

    Raises:
        ValueError: another rate.
    """
    with as_file(files("lpm.condition") / "weights" / f"speech-{rate:g}") as folder:
        if not folder.is_dir():
            raise ValueError(f"no encoder of {rate:g} tokens a second ships with lpm; choose 50 or 12.5")
        return log_mel(str(folder)).requires_grad_(trainable)


def log_mel(folder: str) -> LogMelEncoder:
    """Return the ``LogMelEncoder`` that ``save_audio`` wrote.

    Raises:
        ValueError: no such folder, or another encoder's.
        KeysDiffer: weights that do not fit its config; the message is a table.
    """
    where = Path(folder)
    if not (where / CONFIG).is_file():
        raise ValueError(f"{where} holds no {CONFIG}; give a folder of lpm.condition.save_audio")
    spec = json.loads((where / CONFIG).read_text())
    encoder = build(spec) if "class_path" in spec else None
    if not isinstance(encoder, LogMelEncoder):
        raise ValueError(f"{where} holds no LogMelEncoder; lpm.condition.PretrainedAudio loads models of transformers")
    tensors = load_file(where / WEIGHTS)
    check_keys(shapes(encoder.state_dict()), shapes(tensors), f"weights of {where}")
    encoder.load_state_dict(tensors)
    return encoder
