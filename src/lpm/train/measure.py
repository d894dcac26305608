"""How well a model performs on puppets: lips, listening and identity, read from pixels, against truth and controls.

Videos are generated from the first frame, the references and the audio of clips with ground truth. Beside them stand
the ground truth through the codec (the best a latent model can do) and controls: the same clip with another clip's
audio and with no audio at all.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from lpm.metric import (
    ApertureAgreement,
    ContingencyZ,
    EnergyRatio,
    Estimate,
    FalseLipMotion,
    IdentityDistance,
    IdentityVerification,
    SharpnessDrift,
    cue_train,
    reaction,
    sharpness,
)
from lpm.sample.performance import PerformanceModel
from lpm.train.frames import to_uint8
from lpm.types import Batch

SOURCES = ("codec", "generated", "shuffled", "silent")


class Reading(Protocol):
    """What a reader tells of a video: one number per frame, (T,), and the identity per frame, (T, N)."""

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
    clips = [clip for batch in batches for clip in measure_batch(model, batch, read, sources, steps, chunk, seed)]
    if not clips:
        raise ValueError("no clip to measure; give a split with at least one clip")
    return summarise(clips, float(clips[0].meta["fps"]))


def measure_batch(
    model: PerformanceModel, batch: Batch, read: Reader, sources: tuple[str, ...], steps: int, chunk: int, seed: int
) -> list[Clip]:
    """Return the measured clips of one batch."""
    if batch.video_BTCHW is None or "aperture" not in batch.truth:
        raise ValueError("measuring needs pixels and ground truth; load clips with video and truth.npz")
    videos = {source: to_uint8(video_from(model, batch, source, steps, chunk, seed)) for source in sources}
    references = reference_identities(batch, read)
    clips = []
    for row, meta in enumerate(batch.meta):
        mine = {source: video[row] for source, video in videos.items()}
        clips.append(
            Clip(
                readings={source: read(video) for source, video in mine.items()},
                sharpness={source: sharpness(torch.from_numpy(video)) for source, video in mine.items()},
                truth={name: track[row] for name, track in batch.truth.items()},
                state_T=batch.state_BT[row],
                meta=meta,
                start=float(meta.get("start", 0)) / batch.fps,
                reference=references[row],
            )
        )
    return clips


def video_from(model: PerformanceModel, batch: Batch, source: str, steps: int, chunk: int, seed: int) -> Tensor:
    """Return the video (B, T, 3, H, W) of one source."""
    assert batch.video_BTCHW is not None
    if source == "codec":
        return model.codec.decode(model.codec.encode(batch.video_BTCHW))
    generator = torch.Generator().manual_seed(seed)
    heard = hear(batch, source)
    return model.perform(heard, steps=steps, chunk=chunk, generator=generator)


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

    >>> exchange(torch.tensor([[1.0], [0.0], [2.0]])).flatten().tolist()
    [2.0, 0.0, 1.0]
    """
    heard = voice_BS.abs().amax(dim=1).nonzero()[:, 0]
    other = voice_BS.clone()
    other[heard] = voice_BS[heard.roll(1)]
    return other


def reference_identities(batch: Batch, read: Reader) -> list[np.ndarray]:
    """Return the identity that the reader sees in each row's global reference, (N,) each."""
    pixels = batch.references.pixels_BRCHW
    if pixels is None:
        raise ValueError("measuring identity needs reference pixels; load clips with ref.NN.png")
    pictures = to_uint8(pixels[:, :1])
    return [read(row).identity[0] for row in pictures]


def summarise(clips: list[Clip], fps: float) -> Report:
    """Turn measured clips into estimates per metric and source."""
    frames = len(clips[0].state_T)
    report = Report(len(clips), len(clips) * frames / fps)
    for source in clips[0].readings:
        for name, metric in score(clips, source, fps).items():
            report.scores.setdefault(name, {})[source] = metric
    return report


def score(clips: list[Clip], source: str, fps: float) -> dict[str, Estimate]:
    """Return the estimates of one source."""
    lips, flapping, energy = ApertureAgreement(), FalseLipMotion(), EnergyRatio()
    contingency, distance, verification, sharp = (
        ContingencyZ(fps),
        IdentityDistance(),
        IdentityVerification(),
        SharpnessDrift(),
    )
    references = {clip.meta["identity"]: clip.reference for clip in clips}
    for clip in clips:
        reading, who = clip.readings[source], clip.meta["identity"]
        speaking, listening = clip.state_T == 0, clip.state_T == 1
        valid = torch.as_tensor(reading.valid)
        if int(speaking.sum()) >= 12:
            lips.update(reading.aperture, clip.truth["aperture"], speaking, valid, identity=who)
        if listening.any():
            flapping.update(reading.aperture, listening, clip.truth["aperture"], identity=who)
            cues = cue_train(cue_times(clip), len(listening), fps)
            moves = reaction(reading.yaw, reading.pitch, reading.roll, reading.smile, fps)
            contingency.update(cues, moves, listening, identity=who)
        others = [row for name, row in references.items() if name != who]
        if others:
            verification.update(reading.identity, clip.reference, np.stack(others), valid_T=valid, identity=who)
        distance.update(reading.identity, clip.reference, valid_T=valid, identity=who)
        sharp.update(clip.sharpness[source], identity=who)
        truth_head = np.stack([clip.truth[name].numpy() for name in ("yaw", "pitch", "roll")], 1)
        energy.update(np.stack([reading.yaw, reading.pitch, reading.roll], 1), truth_head, identity=who)
    metrics: dict[str, Any] = {
        "lip_correlation": lips,
        "false_lip_motion": flapping,
        "reaction_z": contingency,
        "identity_distance": distance,
        "identity_verified": verification,
        "head_energy_ratio": energy,
        "sharpness_drift": sharp,
    }
    return {name: metric.compute() for name, metric in metrics.items() if metric.update_count}


def cue_times(clip: Clip) -> Tensor:
    """Return when the partner's phrases end, in seconds from the window's first frame."""
    events = (event for event in clip.meta.get("events", []) if event["who"] == "partner")
    times = [event["t"] - clip.start for event in events if event["type"] in CUES]
    return torch.tensor(times, dtype=torch.float64)


CUES = ("phrase_end", "turn_end", "question")
