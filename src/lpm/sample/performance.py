"""The whole Base model: a picture, references, two voices and a prompt in; a video of the character out."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from lpm.condition import audio_features, encode_references
from lpm.flow import Coordinates, Prediction
from lpm.hub import Spec, check_fit, from_pretrained, push_to_hub, save_pretrained
from lpm.sample.adapter import is_adapted
from lpm.sample.clip import ClipSampler
from lpm.sample.portable import carried, portable
from lpm.types import Adapter, AudioEncoder, AudioFeatures, Batch, Codec, Conditions, TextEncoder


class PerformanceModel(LightningModule):
    """Encoders, backbone and codec, wired as in LPM 1.0's Base model.

    Args:
        backbone: the denoiser, such as ``lpm.backbone.puppet()``.
        codec: frozen video codec, such as ``lpm.codec.tiny_codec()``.
        text: prompt encoder.
        speak: encoder of the character's own voice.
        listen: encoder of the partner's voice.
        prediction: how the backbone's output is read.
        coordinates: where noise is added.
        adapter: trains little of the backbone and leaves all else as it is, such as ``lpm.sample.LoRA()``.
    """

    pipeline_tag = "image-to-video"
    spec: Spec | None = None
    from_pretrained = classmethod(from_pretrained)  # type: ignore[var-annotated]
    save_pretrained, push_to_hub = save_pretrained, push_to_hub

    def __init__(
        self,
        backbone: nn.Module,
        codec: Codec,
        text: TextEncoder,
        speak: AudioEncoder,
        listen: AudioEncoder,
        prediction: Prediction,
        coordinates: Coordinates,
        adapter: Adapter | None = None,
    ) -> None:
        super().__init__()
        assert isinstance(codec, nn.Module)
        self.backbone, self.codec = backbone, codec.requires_grad_(False).eval()
        self.text, self.speak, self.listen = text, speak, listen
        self.prediction, self.coordinates = prediction, coordinates
        if adapter is not None:
            self.requires_grad_(False)
            self.backbone = adapter.adapt(backbone)

    def shared(self, spec: Spec) -> tuple[Spec, dict[str, Tensor]]:
        """Return the spec without paths of this machine where that can be, and the tensors that no one else has."""
        if is_adapted(self.backbone):
            raise ValueError(
                "the model has an adapter; share that alone with lpm.sample.save_adapter, or merge it first"
            )
        return portable(self, spec)

    def load_shared(self, tensors: Mapping[str, Tensor]) -> None:
        """Load shared tensors; parts that bring their own weights may be absent."""
        expected = self.state_dict()
        for name in carried(self, tensors):
            expected = {key: tensor for key, tensor in expected.items() if not key.startswith(f"{name}.")}
        check_fit(expected, tensors)
        self.load_state_dict(tensors, strict=False)

    def train(self, mode: bool = True) -> "PerformanceModel":
        """Set the mode of everything but the codec, which stays in evaluation mode."""
        super().train(mode)
        self.codec.eval()
        return self

    def conditions(self, batch: Batch) -> Conditions:
        """Encode what steers the clip; references are encoded by the codec unless the batch has their latents."""
        return Conditions(
            speak=audio_features(self.speak, batch.speak_BS, batch.history),
            listen=audio_features(self.listen, batch.listen_BS, batch.history),
            text=self.text.forward(batch.text),
            references=encode_references(self.codec.encode, batch.references),
        )

    def latents(self, batch: Batch) -> Tensor:
        """Return the clip's latents (B, T', C, Y, X), encoded now unless the batch has them."""
        if batch.latents_BTCYX is not None:
            return batch.latents_BTCYX
        if batch.video_BTCHW is None:
            raise ValueError("the batch has neither video nor latents; let the data module load one of them")
        with torch.no_grad():
            return self.codec.encode(batch.video_BTCHW)

    @torch.no_grad()
    def perform(
        self,
        batch: Batch,
        frames: int | None = None,
        steps: int = 2,
        chunk: int = 24,
        history: int = 2,
        scales: dict[str, float] | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Generate a clip chunk by chunk; each chunk is made from the first picture and the latent frames before it.

        Args:
            batch: conditions and, in ``video_BTCHW[:, 0]``, the first frame; later frames are not read.
            frames: length of the result, 1 + 4k; that of ``video_BTCHW`` if None.
            steps: solver steps per chunk.
            chunk: new frames per chunk, divisible by 4.
            history: latent frames that a chunk sees of the one before, at least 1; as many as in training.
            scales: guidance per stream, see ``lpm.sample.guide``.
            generator: of the noise.

        Returns:
            Video (B, frames, 3, H, W) in [-1, 1], frame 0 as the codec shows it.
        """
        clip = self.perform_latents(batch, frames, steps, chunk, history, scales, generator)
        pixels, state = self.codec.decode_step(clip[:, :1], self.codec.init_decode_state(len(clip)))
        video = [pixels]
        for piece in clip[:, 1:].split(chunk // self.codec.stride_t, dim=1):
            pixels, state = self.codec.decode_step(piece, state)
            video.append(pixels)
        return torch.cat(video, dim=1).clamp(-1, 1)

    @torch.no_grad()
    def perform_latents(
        self,
        batch: Batch,
        frames: int | None = None,
        steps: int = 2,
        chunk: int = 24,
        history: int = 2,
        scales: dict[str, float] | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return the latents (B, 1 + (frames - 1) / 4, C, Y, X) of what ``perform`` shows."""
        if batch.video_BTCHW is None:
            raise ValueError("performing needs the first frame's pixels; load video, not latents alone")
        frames = frames or batch.video_BTCHW.shape[1]
        if chunk < 4 or chunk % 4:
            raise ValueError(f"chunk of {chunk} frames is not a positive multiple of 4; choose 24")
        if history < 1:
            raise ValueError(f"history of {history} latent frames; a chunk needs 1 or more to go on from")
        if frames % 4 != 1:
            raise ValueError(f"{frames} frames are not 1 + 4k; choose {frames - (frames - 1) % 4}")
        conditions = self.conditions(batch)
        sampler = ClipSampler(self.prediction, self.coordinates, steps=steps, scales=scales)
        stride = self.codec.stride_t
        clip = self.codec.encode_frames(batch.video_BTCHW[:, 0])[:, None]
        while (made := clip.shape[1]) < 1 + (frames - 1) // stride:
            keep = min(history, made - 1)
            more = min(chunk, frames - 1 - stride * (made - 1)) // stride
            heard = shift_audio(conditions, stride * (made - 1 - keep) / batch.fps)
            clip = sampler.extend(self.backbone, clip, keep, more, heard, batch.fps, generator)
        return clip


def shift_audio(conditions: Conditions, seconds: float) -> Conditions:
    """Return the conditions as heard by a chunk that begins ``seconds`` later."""
    return replace(conditions, speak=_later(conditions.speak, seconds), listen=_later(conditions.listen, seconds))


def _later(audio: AudioFeatures | None, seconds: float) -> AudioFeatures | None:
    return audio and replace(audio, start=audio.start - seconds)
