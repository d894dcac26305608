"""How well a model performs on puppets: lips, listening and identity, read from pixels, against truth and controls.

Videos are generated from the first frame, the references and the audio of clips with ground truth. Beside them stand
the ground truth through the codec (the best a latent model can do) and controls: the same clip with another clip's
audio and with no audio at all.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from lpm.metric import (
    ApertureAgreement,
    ColourDrift,
    ContingencyZ,
    EnergyRatio,
    Estimate,
    FalseLipMotion,
    IdentityDistance,
    IdentityVerification,
    MeanSpeed,
    SharpnessDrift,
    cue_train,
    reaction,
    sharpness,
)
from lpm.sample.performance import PerformanceModel
from lpm.train.frames import to_uint8
from lpm.types import Batch, Codec

SOURCES = ("codec", "generated", "shuffled", "silent")
Performer = Callable[[Batch], Tensor]
"""Makes the videos (B, T, 3, H, W), in [-1, 1], of clips from their first frames and conditions."""


class Reading(Protocol):
    """What a reader tells of a video: one number per frame, (T,), the identity, (T, N), and the background's colour in
    CIE Lab, (T, 3).
    """

    @property
    def aperture(self) -> np.ndarray: ...

    @property
    def yaw(self) -> np.ndarray: ...

    @property
    def pitch(self) -> np.ndarray: ...

    @property
    def roll(self) -> np.ndarray: ...

    @property
    def smile(self) -> np.ndarray: ...

    @property
    def identity(self) -> np.ndarray: ...

    @property
    def background(self) -> np.ndarray: ...

    @property
    def valid(self) -> np.ndarray: ...


Reader = Callable[..., Reading]


@dataclass
class Clip:
    """One measured clip: readings by source, truth by control name (T,) and what is known of it."""

    readings: dict[str, Reading]
    sharpness: dict[str, Tensor]
    truth: dict[str, Tensor]
    state_T: Tensor
    meta: dict[str, Any]
    start: float
    reference: np.ndarray


@dataclass
class Report:
    """Estimates by name of metric and source, for one set of clips."""

    clips: int
    seconds: float
    scores: dict[str, dict[str, Estimate]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return plain numbers: value, low, high (95 % interval over identities), n."""
        rows = {
            metric: {
                source: {key: float(x) for key, x in estimate._asdict().items()} for source, estimate in by.items()
            }
            for metric, by in self.scores.items()
        }
        return {"clips": self.clips, "seconds": self.seconds, "scores": rows}


@torch.no_grad()
def measure(
    model: PerformanceModel,
    batches: Iterable[Batch],
    read: Reader,
    sources: tuple[str, ...] = SOURCES,
    steps: int = 2,
    chunk: int = 24,
    seed: int = 0,
) -> Report:
    """Generate every clip of the batches (with pixels and truth) from each source and measure it.

    Args:
        model: what performs.
        batches: clips of equal length with ``video_BTCHW`` and ``truth``.
        read: pixel reader, uint8 (T, H, W, 3) -> ``Reading``.
        sources: which of ``SOURCES``.
        steps: solver steps.
        chunk: new frames per generated chunk.
        seed: of the noise; equal for all sources.
    """
    return summarise(measure_clips(performers(model, sources, steps, chunk, seed), batches, read))


def performers(
    model: PerformanceModel, sources: Iterable[str], steps: int, chunk: int, seed: int
) -> dict[str, Performer]:
    """Return what makes the videos of each source: the codec, or the model from what the source hears."""

    def perform(source: str, batch: Batch) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return model.perform(hear(batch, source), steps=steps, chunk=chunk, generator=generator)

    through = partial(through_codec, model.codec)
    return {source: through if source == "codec" else partial(perform, source) for source in sources}


@torch.no_grad()
def through_codec(codec: Codec, batch: Batch) -> Tensor:
    """Return the true video, encoded and decoded."""
    assert batch.video_BTCHW is not None
    return codec.decode(codec.encode(batch.video_BTCHW))


def measure_clips(performers: Mapping[str, Performer], batches: Iterable[Batch], read: Reader) -> list[Clip]:
    """Return what is read of every clip as each performer makes it; ``summarise`` turns it into scores.

    Args:
        performers: by the name under which they are reported.
        batches: as in ``measure``.
        read: pixel reader.
    """
    return [clip for batch in batches for clip in measure_batch(performers, batch, read)]


def measure_batch(performers: Mapping[str, Performer], batch: Batch, read: Reader) -> list[Clip]:
    """Return the measured clips of one batch."""
    if batch.video_BTCHW is None or "aperture" not in batch.truth:
        raise ValueError("measuring needs pixels and ground truth; load clips with video and truth.npz")
    videos = {name: to_uint8(perform(batch)) for name, perform in performers.items()}
    references = reference_identities(batch, read)
    clips = []
    for row, meta in enumerate(batch.meta):
        mine = {source: video[row] for source, video in videos.items()}
        clips.append(
            Clip(
                readings={source: read(video) for source, video in mine.items()},
                sharpness={source: sharpness(torch.from_numpy(video)) for source, video in mine.items()},
                truth={name: track[row].cpu() for name, track in batch.truth.items()},
                state_T=batch.state_BT[row].cpu(),
                meta=meta,
                start=float(meta.get("start", 0)) / batch.fps,
                reference=references[row],
            )
        )
    return clips


def hear(batch: Batch, source: str) -> Batch:
    """Return the batch with its own audio, that of another clip of its kind, or silence."""
    if source == "generated":
        return batch
    if source == "shuffled":
        return replace(batch, speak_BS=exchange(batch.speak_BS), listen_BS=exchange(batch.listen_BS))
    if source == "silent":
        return replace(batch, speak_BS=torch.zeros_like(batch.speak_BS), listen_BS=torch.zeros_like(batch.listen_BS))
    raise ValueError(f"source {source!r} is unknown; choose from {', '.join(SOURCES)}")


def exchange(voice_BS: Tensor) -> Tensor:
    """Give every row that is not silent the voice of the next such row, so that a control hears as much speech.

    The only row that is not silent hears its own voice from the middle on, then from the beginning.

    >>> exchange(torch.tensor([[1.0], [0.0], [2.0]])).flatten().tolist()
    [2.0, 0.0, 1.0]
    >>> exchange(torch.tensor([[1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 0.0, 0.0]])).tolist()
    [[3.0, 4.0, 1.0, 2.0], [0.0, 0.0, 0.0, 0.0]]
    """
    heard = voice_BS.abs().amax(dim=1).nonzero()[:, 0]
    other = voice_BS.clone()
    only = len(heard) == 1
    other[heard] = voice_BS[heard].roll(voice_BS.shape[1] // 2, dims=1) if only else voice_BS[heard.roll(1)]
    return other


def reference_identities(batch: Batch, read: Reader) -> list[np.ndarray]:
    """Return the identity that the reader sees in each row's global reference, (N,) each."""
    pixels = batch.references.pixels_BRCHW
    if pixels is None:
        raise ValueError("measuring identity needs reference pixels; load clips with ref.NN.png")
    pictures = to_uint8(pixels[:, :1])
    return [read(row).identity[0] for row in pictures]


def summarise(clips: list[Clip]) -> Report:
    """Turn measured clips into estimates per metric and source; one process alone may do it."""
    if not clips:
        raise ValueError("no clip to measure; give a split with at least one clip")
    fps = float(clips[0].meta["fps"])
    report = Report(len(clips), sum(len(clip.state_T) for clip in clips) / fps)
    for source in clips[0].readings:
        for name, metric in score(clips, source, fps).items():
            report.scores.setdefault(name, {})[source] = metric.compute()
    return report


def score(clips: list[Clip], source: str, fps: float) -> dict[str, Metric]:
    """Return the metrics of one source, which have seen all clips, each in its place."""
    lips, flapping, energy = ApertureAgreement(), FalseLipMotion(), EnergyRatio()
    speed, colour, sharp = MeanSpeed(fps), ColourDrift(), SharpnessDrift()
    contingency, distance, verification = ContingencyZ(fps), IdentityDistance(), IdentityVerification()
    references = {clip.meta["identity"]: clip.reference for clip in clips}
    for clip in clips:
        reading, who = clip.readings[source], clip.meta["identity"]
        speaking, listening = clip.state_T == 0, clip.state_T == 1
        valid, head = torch.as_tensor(reading.valid), np.stack([reading.yaw, reading.pitch, reading.roll], 1)
        if int(speaking.sum()) >= 12:
            lips.update(reading.aperture, clip.truth["aperture"], speaking, valid, identity=who)
        if listening.any():
            flapping.update(reading.aperture, listening, clip.truth["aperture"], identity=who)
            cues = cue_train(cue_times(clip), len(listening), fps)
            moves = reaction(reading.yaw, reading.pitch, reading.roll, reading.smile, fps)
            contingency.update(cues, moves, listening, identity=who)
            speed.update(head, listening, identity=who)
        others = [row for name, row in references.items() if name != who]
        if others:
            verification.update(reading.identity, clip.reference, np.stack(others), valid_T=valid, identity=who)
        distance.update(reading.identity, clip.reference, valid_T=valid, identity=who)
        sharp.update(clip.sharpness[source], identity=who)
        truth_head = np.stack([clip.truth[name].numpy() for name in ("yaw", "pitch", "roll")], 1)
        energy.update(head, truth_head, identity=who)
        colour.update(reading.background, identity=who)
    metrics: dict[str, Metric] = {
        "lip_correlation": lips,
        "false_lip_motion": flapping,
        "reaction_z": contingency,
        "identity_distance": distance,
        "identity_verified": verification,
        "head_energy_ratio": energy,
        "listening_speed": speed,
        "colour_drift": colour,
        "sharpness_drift": sharp,
    }
    for metric in metrics.values():
        metric.distributed_available_fn = alone
    return {name: metric for name, metric in metrics.items() if metric.update_count}


def alone() -> bool:
    """Tell a metric that no other process has a part in it: the first one measures while the others are done."""
    return False


def cue_times(clip: Clip) -> Tensor:
    """Return when the partner's phrases end, in seconds from the window's first frame."""
    events = (event for event in clip.meta.get("events", []) if event["who"] == "partner")
    times = [event["t"] - clip.start for event in events if event["type"] in CUES]
    return torch.tensor(times, dtype=torch.float64)


CUES = ("phrase_end", "turn_end", "question")
