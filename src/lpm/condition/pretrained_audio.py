"""Pretrained audio encoders of transformers: wav2vec 2.0, HuBERT, WavLM and Whisper, whole or in streaming windows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lpm.condition.loading import load_whole
from lpm.condition.windows import AudioWindow, Windows
from lpm.types import SAMPLE_RATE

STRIDE = 320  # samples of a token: 50 tokens a second in all of these encoders
WAVE_KINDS = ("wav2vec2", "hubert", "wavlm")
WHISPER = "whisper"
SPARE = ("masked_spec_embed", "decoder.")  # what hides tokens in pretraining, and Whisper's words


class PretrainedAudio(nn.Module):
    """16 kHz samples -> 50 tokens a second of a pretrained encoder, which sees 3-second windows as it will when live.

    Such encoders look at the whole clip. Live, each second is encoded as the end of a window of itself and the two
    seconds before it (``lpm.condition.Windows``), and a model should be trained on what it will hear: so ``forward``
    encodes in these windows, too, unless ``windowed`` is False.

    Token ``a`` belongs to ``a / 50`` to ``(a + 1) / 50`` seconds, whole or in windows. Before attention, a wave encoder
    makes it of the 25 ms that end at ``(a + 1) / 50`` seconds; Whisper of about 65 ms around ``a / 50`` seconds.

    Args:
        weights: local folder in transformers' format (config.json and weights); nothing is downloaded.
        layer: hidden state to return, 0 the embedding, -1 the last; None the encoder's output.
        windowed: ``forward`` encodes in streaming windows; False sees the whole clip (Whisper: 30 s at a time), which
            no stream can: ``step`` goes in windows all the same.
        history: seconds of a window that were encoded before.
        fresh: seconds of a window that are new.
        trainable: let gradients into the weights; else they are frozen.

    Raises:
        ValueError: no such folder, another kind of model, negative history, or less than a token that is new.
        KeysDiffer: the folder lacks weights, or has some of another shape; the message is a table of every one.
    """

    rate = SAMPLE_RATE / STRIDE

    def __init__(
        self,
        weights: str | Path,
        layer: int | None = None,
        windowed: bool = True,
        history: float = 2.0,
        fresh: float = 1.0,
        trainable: bool = False,
    ) -> None:
        super().__init__()
        from transformers import AutoConfig, AutoModel

        folder = Path(weights)
        if not (folder / "config.json").is_file():
            raise ValueError(f"{folder} holds no config.json; give the folder of a model saved by transformers")
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        if config.model_type not in (*WAVE_KINDS, WHISPER):
            kinds = ", ".join((*WAVE_KINDS, WHISPER))
            raise ValueError(f"{folder} is a {config.model_type}; audio encoders are {kinds}")
        model = load_whole(AutoModel, folder, SPARE)
        self.is_whisper = config.model_type == WHISPER
        self.network = model.get_encoder() if self.is_whisper else model
        self.extractor = whisper_extractor(config) if self.is_whisper else None
        self.normalise = not self.is_whisper and asks_to_normalise(folder, config)
        self.width = int(config.d_model if self.is_whisper else config.hidden_size)
        self.folder, self.layer, self.windowed, self.trainable = folder, layer, windowed, trainable
        self.windows = Windows(self.rate, self.width, history, fresh)
        self.requires_grad_(trainable).eval()

    def train(self, mode: bool = True) -> PretrainedAudio:
        """Set the mode; a frozen encoder stays in evaluation mode."""
        return super().train(mode and self.trainable)

    def forward(self, samples_BS: Tensor) -> Tensor:
        """Encode samples (B, S) in [-1, 1] to tokens (B, floor(S / 320), D)."""
        return self.windows.encode(self.encode, samples_BS) if self.windowed else self.encode(samples_BS)

    def init_state(self, batch: int) -> AudioWindow:
        """Return the state before the first sample."""
        return self.windows.init_state(next(self.network.parameters()), batch)

    def step(self, samples_BS: Tensor, state: AudioWindow) -> tuple[Tensor, AudioWindow]:
        """Encode the next samples, any number; return the tokens of seconds that became whole, and the next state."""
        return self.windows.step(self.encode, samples_BS, state)

    def finish(self, state: AudioWindow) -> Tensor:
        """Return the tokens of the second that the stream ends in; what does not fill a token is dropped."""
        return self.windows.finish(self.encode, state)

    def encode(self, samples_BS: Tensor) -> Tensor:
        """Encode samples as one window: (B, floor(S / 320), D)."""
        samples_BS = samples_BS.to(next(self.network.parameters()))
        with torch.set_grad_enabled(self.trainable and torch.is_grad_enabled()):
            return self._encode_mel(samples_BS) if self.is_whisper else self._encode_waves(samples_BS)

    def _encode_waves(self, samples_BS: Tensor) -> Tensor:
        samples = samples_BS
        if self.normalise:
            samples = F.layer_norm(samples, samples.shape[1:], eps=1e-7)
        # Convolutions see 400 samples; 80 zeros in front let a token end where its 20 ms end.
        return self._pick(self.network(F.pad(samples, (80, 0)), output_hidden_states=self.layer is not None))

    def _encode_mel(self, samples_BS: Tensor) -> Tensor:
        assert self.extractor is not None
        pieces = []
        for piece in samples_BS.split(self.extractor.n_samples, dim=1):
            numbers = [row.numpy() for row in piece.detach().float().cpu()]
            mel = self.extractor(numbers, sampling_rate=SAMPLE_RATE, return_tensors="pt").input_features
            found = self.network(mel.to(piece), output_hidden_states=self.layer is not None)
            pieces.append(self._pick(found)[:, : piece.shape[1] // STRIDE])
        return torch.cat(pieces, dim=1)

    def _pick(self, output: Any) -> Tensor:
        return output.last_hidden_state if self.layer is None else output.hidden_states[self.layer]


def whisper_extractor(config: Any) -> Any:
    """Return the mel extractor that fits a Whisper encoder: its bands, and the seconds that it was made for."""
    from transformers import WhisperFeatureExtractor

    seconds = config.max_source_positions * STRIDE // SAMPLE_RATE
    return WhisperFeatureExtractor(feature_size=config.num_mel_bins, chunk_length=seconds)


def asks_to_normalise(folder: Path, config: Any) -> bool:
    """Tell whether a wave encoder wants zero mean and unit variance: models with layer norm in front do."""
    card = folder / "preprocessor_config.json"
    if card.is_file():
        return bool(json.loads(card.read_text()).get("do_normalize", True))
    return getattr(config, "feat_extract_norm", "group") == "layer"
