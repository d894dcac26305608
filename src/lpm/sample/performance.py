"""The whole Base model: a picture, references, two voices and a prompt in; a video of the character out."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from lpm.backbone import realise
from lpm.condition import audio_features, encode_references
from lpm.flow import Coordinates, Prediction
from lpm.hub import Spec, check_fit, from_pretrained, push_to_hub, save_pretrained
from lpm.sample.adapter import is_adapted
from lpm.sample.chunks import plan_chunks, texts_at
from lpm.sample.clip import ClipSampler
from lpm.sample.portable import carried, portable
from lpm.sample.schedule import Schedule
from lpm.sample.solvers import Solver
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
        shift: time shift of the solver's noise levels; the smaller the data stand against the noise, the smaller.
        adapter: trains little of the backbone and leaves all else as it is, such as ``lpm.sample.LoRA()``.
        guidance: scale by stream (text, speak, listen, references) with which it performs unless told else; absent
            is 1. Training ignores it.
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
        shift: float = 3.0,
        adapter: Adapter | None = None,
        guidance: dict[str, float] | None = None,
    ) -> None:
        super().__init__()
        assert isinstance(codec, nn.Module)
        self.backbone, self.codec = backbone, codec.requires_grad_(False).eval()
        self.text, self.speak, self.listen = text, speak, listen
        self.prediction, self.coordinates, self.shift = prediction, coordinates, shift
        self.guidance = guidance or {}
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
        realise(self)
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
            negative=None if batch.negative is None else self.text.forward(batch.negative),
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
        overlap: int = 0,
        schedule: Schedule | None = None,
    ) -> Tensor:
        """Generate a clip chunk by chunk; each chunk is made from the first picture and the latent frames before it.

        Every chunk sees the references, clean. It holds the whole video; ``perform_chunks`` gives it piece by piece.

        Args:
            batch: conditions and, in ``video_BTCHW[:, 0]``, the first frame; later frames are not read. Its
                ``prompts`` take over at the first chunk that begins at their start or after it.
            frames: length of the result, 1 + 4k; that of ``video_BTCHW`` if None.
            steps: solver steps per chunk.
            chunk: new frames per chunk, divisible by 4.
            history: latent frames that a chunk sees of the one before, at least 1; as many as in training.
            scales: guidance per stream, see ``lpm.sample.guide``, in place of the model's own; 1 is none.
            generator: of the noise.
            overlap: latent frames at the end of a chunk that the next one makes once more and fades into.
            schedule: where on the noise path guidance is on, such as ``GuidanceInterval(0.8, 1.0)``.

        Returns:
            Video (B, frames, 3, H, W) in [-1, 1], frame 0 as the codec shows it.
        """
        pieces = self.perform_chunks(batch, frames, steps, chunk, history, scales, generator, overlap, schedule)
        return torch.cat(list(pieces), dim=1)

    @torch.no_grad()
    def perform_chunks(
        self,
        batch: Batch,
        frames: int | None = None,
        steps: int = 2,
        chunk: int = 24,
        history: int = 2,
        scales: dict[str, float] | None = None,
        generator: torch.Generator | None = None,
        overlap: int = 0,
        schedule: Schedule | None = None,
    ) -> Iterator[Tensor]:
        """Yield what ``perform`` returns as it is made: frame 0, then the frames of chunk after chunk.

        Memory does not grow with what has been made; only the sound is held for the whole length.
        """
        state = None
        for latents in self.latent_chunks(batch, frames, steps, chunk, history, scales, generator, overlap, schedule):
            state = self.codec.init_decode_state(len(latents)) if state is None else state
            pixels, state = self.codec.decode_step(latents, state)
            yield pixels.clamp(-1, 1)

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
        overlap: int = 0,
        schedule: Schedule | None = None,
        solver: Solver | None = None,
    ) -> Tensor:
        """Return the latents (B, 1 + (frames - 1) / 4, C, Y, X) of what ``perform`` shows; ``euler`` solves if None."""
        pieces = self.latent_chunks(batch, frames, steps, chunk, history, scales, generator, overlap, schedule, solver)
        return torch.cat(list(pieces), dim=1)

    @torch.no_grad()
    def latent_chunks(
        self,
        batch: Batch,
        frames: int | None,
        steps: int,
        chunk: int,
        history: int,
        scales: dict[str, float] | None,
        generator: torch.Generator | None,
        overlap: int,
        schedule: Schedule | None,
        solver: Solver | None = None,
    ) -> Iterator[Tensor]:
        """Yield the latents of what ``perform_chunks`` shows: frame 0, then what each chunk makes final."""
        if batch.video_BTCHW is None:
            raise ValueError("performing needs the first frame's pixels; load video, not latents alone")
        frames, stride = frames or batch.video_BTCHW.shape[1], self.codec.stride_t
        check_lengths(frames, chunk)
        scales = self.guidance | (scales or {})
        sampler = ClipSampler(self.prediction, self.coordinates, steps, self.shift, scales, solver, schedule)
        conditions, texts = self.conditions(batch), batch.text
        self.check_prompts(batch, frames)
        clip = self.codec.encode_frames(batch.video_BTCHW[:, 0])[:, None]
        yield clip
        for part in plan_chunks(1 + (frames - 1) // stride, chunk // stride, history, overlap):
            now = texts_at(batch, (1 + stride * (part.made - 1)) / batch.fps)
            if now != texts:
                conditions, texts = replace(conditions, text=self.text.forward(now)), now
            heard = shift_audio(conditions, stride * (part.made - part.again - part.keep - 1) / batch.fps)
            clip = sampler.extend(self.backbone, clip, part.keep, part.more, heard, batch.fps, generator, part.again)
            end = clip.shape[1] - part.held
            yield clip[:, end - part.ready : end]
            clip = torch.cat([clip[:, :1], clip[:, 1:][:, -(history + overlap) :]], dim=1)

    def check_prompts(self, batch: Batch, frames: int) -> None:
        """Encode every later prompt once, so that a bad one stops a video before it is begun.

        Raises:
            ValueError: a prompt cannot be encoded, or would begin when the video has ended.
        """
        for row in batch.prompts or []:
            for prompt in row:
                if prompt.start >= frames / batch.fps:
                    raise ValueError(
                        f"prompt {prompt.text!r} begins at {prompt.start:g} s, when the video of "
                        f"{frames / batch.fps:g} s has ended; leave it out or make the video longer"
                    )
                self.text.forward([prompt.text])


def check_lengths(frames: int, chunk: int) -> None:
    """Raise ValueError for a video or a chunk that is no whole number of latent frames."""
    if chunk < 4 or chunk % 4:
        raise ValueError(f"chunk of {chunk} frames is not a positive multiple of 4; choose 24")
    if frames % 4 != 1:
        raise ValueError(f"{frames} frames are not 1 + 4k; choose {frames - (frames - 1) % 4}")


def shift_audio(conditions: Conditions, seconds: float) -> Conditions:
    """Return the conditions as heard by a chunk that begins ``seconds`` later."""
    return replace(conditions, speak=_later(conditions.speak, seconds), listen=_later(conditions.listen, seconds))


def _later(audio: AudioFeatures | None, seconds: float) -> AudioFeatures | None:
    return audio and replace(audio, start=audio.start - seconds)
