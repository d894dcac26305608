"""Small audio encoders with fresh weights, in the true format: for trying the mechanics without a download."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from lpm.condition.pretrained_audio import PretrainedAudio

WAVE: dict[str, Any] = {
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "conv_dim": (32,) * 7,
    "num_conv_pos_embedding_groups": 4,
}


def small_wav2vec2() -> Any:
    """Return a wav2vec 2.0 of width 64."""
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    return Wav2Vec2Model(Wav2Vec2Config(**WAVE))


def small_hubert() -> Any:
    """Return a HuBERT of width 64, with the layer norm in front that its large sizes have."""
    from transformers import HubertConfig, HubertModel

    return HubertModel(HubertConfig(**WAVE, feat_extract_norm="layer", do_stable_layer_norm=True))


def small_wavlm() -> Any:
    """Return a WavLM of width 64."""
    from transformers import WavLMConfig, WavLMModel

    return WavLMModel(WavLMConfig(**WAVE))


def small_whisper() -> Any:
    """Return a Whisper of width 64 that hears 30 s."""
    from transformers import WhisperConfig, WhisperModel

    sizes: dict[str, Any] = {"d_model": 64, "encoder_layers": 3, "decoder_layers": 1, "vocab_size": 50}
    sizes |= {"encoder_attention_heads": 4, "decoder_attention_heads": 4}
    sizes |= {"encoder_ffn_dim": 128, "decoder_ffn_dim": 128}
    sizes |= {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
    return WhisperModel(WhisperConfig(**sizes))


def untrained_audio(
    folder: str,
    network: Callable[[], Any] = small_wav2vec2,
    windowed: bool = True,
    trainable: bool = False,
    seed: int = 0,
) -> PretrainedAudio:
    """Return an encoder of fresh weights, which are written into a folder as if they had been published.

    Its features are those of random convolutions and nearly even attention: they show that things work, not how well
    released weights would.

    Args:
        folder: where the weights are; written there if it does not hold any.
        network: builds the model of transformers.
        windowed: as in ``PretrainedAudio``.
        trainable: as in ``PretrainedAudio``.
        seed: of the weights.
    """
    if not (Path(folder) / "config.json").is_file():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network().save_pretrained(folder)
    return PretrainedAudio(folder, windowed=windowed, trainable=trainable)
